"""Slices fetched off the window's thread: the latest wish first, then its neighbours, then all others."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from PySide6.QtCore import QThread, Signal

from aegui.errors import UserError

_log = logging.getLogger(__name__)
_alive: set[SliceLane] = set()

Fetch = Callable[[int], Any]


class SliceLane(QThread):
    """One thread that calls fetch(index), with a cache.

    opened: makes the context that yields `fetch`; entered in the thread, so that opening may be slow.
    ready: (index, value). failed: (index, UserError or bug); index −1 if the context did not open.
    """

    ready = Signal(int, object)
    failed = Signal(int, object)
    swept = Signal()

    def __init__(
        self, opened: Callable[[], AbstractContextManager[Fetch]], count: int, *, keep: int = 48, reach: int = 1
    ) -> None:
        super().__init__()
        self.count = count
        self._opened, self._keep, self._reach = opened, keep, reach
        self._news = threading.Condition()
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._wish: int | None = None
        self._around: int | None = None
        self._sweeping = False
        self._ended = False
        self._waiting = coarse_to_fine(count)
        self._bad: set[int] = set()

    def value(self, index: int) -> Any:
        """What is known of a slice, or None."""
        with self._news:
            if index in self._cache:
                self._cache.move_to_end(index)
            return self._cache.get(index)

    def want(self, index: int) -> None:
        """Fetch this slice next; a wish not yet begun is forgotten."""
        with self._news:
            self._wish = self._around = index
            self._bad.discard(index)
            self._news.notify()

    def sweep(self, on: bool = True) -> None:
        """Whether to fetch every slice once while there is nothing better to do."""
        with self._news:
            self._sweeping = on
            self._news.notify()

    def end(self) -> None:
        """Leave after the slice in work; nothing is emitted any more."""
        with self._news:
            self._ended = True
            self._news.notify()

    def _next(self) -> tuple[int, bool] | None:
        """(slice, whether it is a sweep's), waiting for one; None to leave."""
        with self._news:
            while not self._ended:
                if self._wish is not None:
                    index, self._wish = self._wish, None
                    if index not in self._cache:
                        return index, False
                near = self._near()
                if near is not None:
                    return near, False
                if self._sweeping and self._waiting:
                    return self._waiting[0], True
                self._news.wait()
        return None

    def _near(self) -> int | None:
        if self._around is None:
            return None
        steps = [sign * step for step in range(1, self._reach + 1) for sign in (1, -1)]
        near = [self._around + step for step in steps]
        return next((i for i in near if 0 <= i < self.count and i not in self._cache and i not in self._bad), None)

    def _keep_value(self, index: int, value: Any, swept: bool) -> bool:
        with self._news:
            if index in self._waiting:
                self._waiting.remove(index)
            if not swept or len(self._cache) < self._keep:
                self._cache[index] = value
                # What a sweep brought goes first when room is needed.
                self._cache.move_to_end(index, last=not swept)
            while len(self._cache) > self._keep:
                self._cache.popitem(last=False)
            return not self._ended

    def run(self) -> None:
        try:
            with self._opened() as fetch:
                self._serve(fetch)
        except UserError as error:
            self._tell(-1, error)
        except Exception as error:  # noqa: BLE001 - whatever escapes goes to the crash dialog
            _log.exception("slices could not be opened")
            self._tell(-1, error)

    def _tell(self, index: int, error: Exception) -> None:
        if not self._ended:
            self.failed.emit(index, error)

    def _serve(self, fetch: Fetch) -> None:
        while (task := self._next()) is not None:
            index, swept = task
            try:
                value = fetch(index)
            except Exception as error:  # noqa: BLE001 - one bad slice must not end the others
                if not isinstance(error, UserError):
                    _log.exception("slice %d failed", index)
                with self._news:
                    self._bad.add(index)
                    if index in self._waiting:
                        self._waiting.remove(index)
                    done = not self._waiting
                self._tell(index, error)
            else:
                if self._keep_value(index, value, swept):
                    self.ready.emit(index, value)
                done = not self._waiting
            if done and not self._ended:
                self.swept.emit()


def coarse_to_fine(count: int) -> list[int]:
    """Every index once, evenly spread from the start: a strip filled in this order shows its shape early."""
    order: list[int] = []
    seen: set[int] = set()
    step = 1 << max(0, (count - 1).bit_length())
    while step >= 1:
        for index in range(step // 2, count, step):
            if index not in seen:
                seen.add(index)
                order.append(index)
        step //= 2
    return order + [index for index in range(count) if index not in seen]


def start(lane: SliceLane) -> SliceLane:
    """Start a lane and hold it until its thread has ended: a dropped running QThread aborts the process."""
    _alive.add(lane)
    lane.finished.connect(_let_go)
    lane.start()
    return lane


def _let_go() -> None:
    for lane in [lane for lane in _alive if lane.isFinished()]:
        lane.wait()
        _alive.discard(lane)


def end_all(milliseconds: int = 10_000) -> None:
    """Before the program leaves: end every lane and wait for it."""
    for lane in list(_alive):
        lane.end()
    for lane in list(_alive):
        if lane.wait(milliseconds):
            _alive.discard(lane)
