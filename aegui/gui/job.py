"""A thread that runs one event generator, and the two lanes of such threads."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal, Slot

from aegui.errors import Cancelled, UserError
from aegui.events import Done, Epoch, Event, Step, Stop

_log = logging.getLogger(__name__)

STEP_GAP = 0.05  # seconds between the Step events that are passed on
NICE = 5

Work = Iterator[Event] | Callable[[], Iterator[Event]]


def _step_back(thread: QThread) -> None:
    """The window's thread goes first; torch's own threads inherit this from the one that makes them."""
    if sys.platform == "linux":  # where Qt's priorities do nothing, and each thread has a nice value of its own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    else:
        thread.setPriority(QThread.Priority.LowPriority)


class Job(QThread):
    """Runs a generator of events; only its own thread ever touches the generator.

    work: the generator, or a function that makes it (slow imports then happen in the thread). resumable: once
    abandoned it can be gone on with.
    event: every event except Done. done: what Done holds. failed: the exception (UserError or a bug).
    cancelled: stopped or abandoned without a result. Exactly one of the last three, then `finished`.
    """

    event = Signal(object)  # type: ignore[assignment]
    done = Signal(object)
    failed = Signal(object)
    cancelled = Signal()
    state_changed = Signal(str)

    def __init__(self, work: Work, title: str = "", resumable: bool = False, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self.resumable = resumable
        self.result: Any = None
        self.over = False  # its last signal was sent; the thread is about to end
        self._work: Work | None = work
        self._wake = threading.Condition()
        self._paused = False
        self._request = ""  # "", "stop", "abandon"

    @property
    def paused(self) -> bool:
        """Whether the job waits for `resume`."""
        return self._paused

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return bool(self._request)

    def pause(self) -> None:
        """Do not advance after the current step."""
        with self._wake:
            self._paused = True
        self.state_changed.emit("paused")

    def resume(self) -> None:
        """Go on."""
        with self._wake:
            self._paused = False
            self._wake.notify()
        self.state_changed.emit("running")

    def stop(self) -> None:
        """Finish early, keep the best so far; `done` still comes."""
        self._ask("stop")

    def abandon(self) -> None:
        """Release everything and leave the run resumable; `cancelled` comes."""
        self._ask("abandon")

    def _ask(self, request: str) -> None:
        with self._wake:
            if self._request != "abandon":
                self._request = request
            self._wake.notify()
        self.state_changed.emit("stopping")

    def _await_permission(self) -> str:
        with self._wake:
            while self._paused and not self._request:
                self._wake.wait()
            return self._request

    def _advance(self, work: Iterator[Event]) -> None:
        pending: Step | None = None
        last = -STEP_GAP
        thrown = False
        while True:
            if self._paused and pending is not None:
                self.event.emit(pending)
                pending = None
            request = self._await_permission()
            if request == "abandon":
                raise Cancelled
            try:
                if request == "stop" and not thrown:
                    thrown = True
                    event = work.throw(Stop())  # type: ignore[attr-defined]
                else:
                    event = next(work)
            except StopIteration:
                event = Done()
            if isinstance(event, Step):
                now = time.monotonic()
                if now - last < STEP_GAP:
                    pending = event
                    continue
                last, pending = now, None
            elif pending is not None and isinstance(event, Epoch | Done):
                self.event.emit(pending)
                pending = None
            if isinstance(event, Done):
                if self._await_permission() == "abandon":  # asked while the last step was under way
                    raise Cancelled
                self.result = event.result
                self.over = True
                self.done.emit(event.result)
                return
            self.event.emit(event)

    def run(self) -> None:
        _step_back(self)
        work: Iterator[Event] | None = None
        try:
            made, self._work = self._work, None
            work = made() if callable(made) else made
            assert work is not None
            self._advance(work)
        except (Cancelled, Stop):
            # Stop comes back from work that has nothing to finish.
            self.over = True
            self.cancelled.emit()
        except UserError as error:
            self.over = True
            self.failed.emit(error)
        except Exception as error:  # noqa: BLE001 - whatever escapes goes to the crash dialog
            _log.exception("%s failed", self.title or "job")
            self.over = True
            self.failed.emit(error)
        finally:
            if work is not None and hasattr(work, "close"):
                try:
                    work.close()
                except Exception:  # noqa: BLE001 - the result is out; a failing clean-up only goes to the log
                    _log.exception("%s could not be released", self.title or "job")


class Lanes(QObject):
    """One job at a time on the work lane (train, denoise, export), one on the scan lane beside it.

    Holds every Job until it has finished: a dropped running QThread aborts the process.
    """

    started = Signal(object)
    ended = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._running: dict[str, Job] = {}

    def job(self, lane: str = "work") -> Job | None:
        """The job on a lane."""
        return self._running.get(lane)

    def busy(self, lane: str = "work") -> bool:
        """Whether a lane has a running job."""
        return lane in self._running

    def running(self) -> list[Job]:
        """All running jobs."""
        return list(self._running.values())

    def create(self, work: Work, title: str, lane: str = "work", resumable: bool = False) -> Job:
        """A job on a lane, not started yet, so that its signals can be connected; then call `job.start()`."""
        before = self._running.get(lane)
        if before is not None and not before.over:  # a `done` slot may start the next job at once
            raise UserError(f"“{before.title}” is still running.", "Wait until it ends, or stop it first.")
        job = Job(work, title, resumable)
        self._running[lane] = job  # before anybody hears that the lane was left, and takes it
        job.started.connect(self._on_started)
        job.finished.connect(self._on_finished)
        if before is not None:
            self._let_go(before)
        return job

    def wait_all(self, milliseconds: int) -> bool:
        """Wait for the threads to end, after they were asked to."""
        limit = time.monotonic() + milliseconds / 1000
        return all(job.wait(max(0, int((limit - time.monotonic()) * 1000))) for job in self.running())

    @Slot()
    def _on_started(self) -> None:
        job = self.sender()
        if job in self._running.values():  # else its end was told already
            self.started.emit(job)

    @Slot()
    def _on_finished(self) -> None:
        for lane, job in list(self._running.items()):
            if job is self.sender():
                del self._running[lane]
                self._let_go(job)

    def _let_go(self, job: Job) -> None:
        # `finished` is emitted just before the thread ends: wait for its last steps.
        job.wait()
        self.ended.emit(job)
        job.deleteLater()
