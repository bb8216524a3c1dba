"""The batch queue at work: one denoise job over all waiting series, and what its events say."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtGui import QUndoCommand

from aegui.events import Event, Progress, SeriesDone, SeriesStarted, SliceDone, Warned
from aegui.gui.delivery import Delivery
from aegui.gui.job import Job
from aegui.gui.session import Session
from aegui.gui.widgets.model_chooser import unfit
from aegui.gui.widgets.queue import Entry, QueueModel
from aegui.imaging import OutputRules
from aegui.imaging.series import Series, Skipped
from aegui.models import Card

if TYPE_CHECKING:
    from aegui.workflow import SeriesResult

SURE = 3  # slices before a time left is shown


@dataclass(frozen=True)
class Options:
    """How the waiting series are denoised."""

    model: str | Path
    output: Path
    delivery: Delivery
    rules: OutputRules
    device: str


class _Removal(QUndoCommand):
    """Rows that were taken out of the queue by hand."""

    def __init__(self, batch: Batch, entries: list[Entry]) -> None:
        count = len(entries)
        super().__init__(f"Removal of {f'{count} series' if count != 1 else 'a series'} from the queue")
        self._batch, self._entries = batch, entries

    def redo(self) -> None:
        self._batch.take_out(self._entries)

    def undo(self) -> None:
        self._batch.put_back(self._entries)


class Batch(QObject):
    """Owns the queue.

    changed: rows, counts or state. advanced: one more slice. series_done: an entry. ended: the report.
    failed: why nothing could run.
    """

    changed = Signal()
    advanced = Signal()
    series_done = Signal(object)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = QueueModel(self)
        self.stopped = False
        self._more = False  # whether series came to the queue while it ran
        self._session = session
        self._card: Card | None = None
        self._job: Job | None = None
        self._options: Options | None = None
        self._skipped: tuple[Skipped, ...] = ()
        self._results: dict[str, SeriesResult] = {}
        self._added: dict[str, Series] = {}
        self._removed: dict[str, Series] = {}  # what was taken out by hand, as it was read then
        self._planned: frozenset[str] = frozenset()  # what the running job will come to
        self._gaps: deque[float] = deque(maxlen=40)
        self._last = 0.0
        self._at = ""  # uid of the series that is under way
        session.insisted_changed.connect(self._judge)
        session.renewed.connect(self._on_renewed)

    # ---- the queue
    def set_series(self, series: Iterable[Series]) -> None:
        """What the project holds; series added by hand stay, known ones keep their state.

        What was taken out stays out until its folder is opened anew.
        """
        wanted = {one.uid: one for one in series if self._removed.get(one.uid) is not one} | self._added
        known = {entry.series.uid: entry for entry in self.model.entries}
        if list(wanted) == list(known) and all(known[uid].series is one for uid, one in wanted.items()):
            return
        entries = [known.get(uid) or Entry(one) for uid, one in wanted.items()]
        for entry in entries:
            entry.series = wanted[entry.series.uid]  # scanned anew, it may read differently
        self.model.set_entries(entries)
        self._judge()

    def add_series(self, series: Iterable[Series], skipped: Iterable[Skipped] = ()) -> None:
        """Queue the series of another folder."""
        self._more = self.running
        fresh = [one for one in series if self.model.find(one.uid) is None]
        self._added |= {one.uid: one for one in fresh}
        self._skipped += tuple(skipped)
        self.model.add([Entry(one) for one in fresh])
        self._judge()

    @Slot()
    def _on_renewed(self) -> None:
        """Another project: what a running job works on leaves the queue when it ends."""
        self._added, self._skipped, self._more = {}, (), False
        self._removed.clear()
        self._results.clear()
        if not self.running:
            self.model.set_entries([])

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Files of the project and of folders added here that are in no series."""
        return tuple({one.file: one for one in (*self._session.skipped, *self._skipped)}.values())

    def remove(self, entries: Iterable[Entry]) -> None:
        """Take rows out (undoable); the running one stays, and so do rows whose turn is planned."""
        gone = [entry for entry in entries if not self.planned(entry)]
        if gone:
            self._session.undo.push(_Removal(self, gone))

    def take_out(self, entries: Iterable[Entry]) -> None:
        """As `remove` does, and again when that is done again."""
        known = [found for entry in entries if (found := self.model.find(entry.series.uid)) is not None]
        gone = [entry for entry in known if not self.planned(entry)]
        for entry in gone:
            self._added.pop(entry.series.uid, None)
            self._removed[entry.series.uid] = entry.series
        self.model.remove(gone)
        self.changed.emit()

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Undo a removal: at the end, as they were, and only what the queue has not got since."""
        self._more = self.running
        gone = [entry for entry in entries if self.model.find(entry.series.uid) is None]
        for entry in gone:
            uid = entry.series.uid
            self._removed.pop(uid, None)
            if self._session.find(uid) is None:
                self._added[uid] = entry.series
        self.model.add(gone)
        self._judge()

    def planned(self, entry: Entry) -> bool:
        """Whether the running job works on it or will."""
        return entry.series.uid in self._planned and entry.status in ("running", "waiting")

    def set_card(self, card: Card | None) -> None:
        """The model changed: decide again who is skipped, and run everything anew."""
        self._card = card
        if not self.running:
            self._more = False
            for entry in self.model.entries:
                if entry.series.treat == "denoise":
                    entry.included = False
                if entry.status in ("done", "flagged", "failed"):
                    entry.reset()
        self._judge()

    def include(self, entries: Iterable[Entry], on: bool = True) -> None:
        """Denoise them although they are left out by default; or leave them out again."""
        chosen = list(entries)
        if on:
            self._more = self.running
        for entry in chosen:
            entry.included = on
        # What the project holds it also remembers, and shows on Scans.
        self._session.insist([entry.series.uid for entry in chosen], on)
        self._judge()

    def retry(self, entries: Iterable[Entry]) -> None:
        """Queue failed series again."""
        self._more = self.running
        for entry in entries:
            entry.reset()
        self._judge()

    @Slot()
    def _judge(self) -> None:
        """Who waits and who is left out, and why."""
        ours = {series.uid for series in self._session.series}
        for entry in self.model.entries:
            series = entry.series
            if series.treat == "view" and series.uid in ours:
                entry.included = series.uid in self._session.insisted
            if entry.status not in ("waiting", "skipped") or series.uid in self._planned:
                continue
            if series.treat == "denoise":
                why = unfit(self._card, series.modality)
            else:
                why = series.reason or "Not an image to denoise"
            entry.can_include = bool(why) and series.treat != "list"
            entry.included = entry.included and entry.can_include
            if why and not entry.included:
                entry.status, entry.reason = "skipped", why
            elif why:
                entry.status, entry.reason = "waiting", f"{why}; included by you"
            elif entry.status == "skipped":
                entry.reset()
        self.model.refresh()
        self.changed.emit()

    # ---- the job
    @property
    def running(self) -> bool:
        """Whether series are being denoised (paused or not)."""
        return self._job is not None

    @property
    def paused(self) -> bool:
        return self._job is not None and self._job.paused

    def start(self, options: Options) -> bool:
        """Denoise what waits; where nothing does, what was denoised once more.

        False if there is nothing, or another job runs (said by a notice).
        """
        entries = [entry for entry in self.model.entries if entry.status == "waiting"]
        again = [] if entries else [entry for entry in self.model.entries if entry.status in ("done", "flagged")]
        waiting = tuple(entry.series for entry in (*entries, *again))
        if not waiting or self.running:
            return False
        included = frozenset(entry.series.uid for entry in self.model.entries if entry.included)
        elsewhere = self._options is not None and options.output != self._options.output
        earlier, skipped = () if elsewhere else tuple(self._results.values()), self.skipped

        def work() -> Iterator[Event]:
            from aegui import workflow

            job = workflow.DenoiseJob(
                model=str(options.model),
                series=waiting,
                output=options.output,
                strength=options.delivery.strength,
                noise_level=options.delivery.noise_level,
                rules=options.rules,
                device=options.device,
                average=options.delivery.average,
                skipped=skipped,
                include=included,
                earlier=earlier,
            )
            yield from workflow.denoise(job)

        title = f"Denoising {len(waiting)} series"
        job: Job | None = self._session.attempt(lambda: self._session.lanes.create(work, title))
        if job is None:
            return False
        if elsewhere:
            self._results.clear()
        for entry in again:
            entry.reset()
        if again:
            self._judge()
        self._job, self._options, self.stopped = job, options, False
        self._planned = frozenset(series.uid for series in waiting)
        self._gaps.clear()
        self.model.pace = None
        job.event.connect(self._on_event)
        job.done.connect(self._on_done)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        self._last = time.monotonic()
        job.start()
        self.changed.emit()
        return True

    def toggle_pause(self) -> None:
        """Pause after the current slice, or go on."""
        if self._job is None:
            return
        if self._job.paused:
            self._last = 0.0
            self._job.resume()
        else:
            self._job.pause()
        self.changed.emit()

    def stop(self) -> None:
        """End after the current slice; finished series stay, the one in work is left out."""
        if self._job is not None:
            self.stopped = True
            self._job.stop()
            self.changed.emit()

    @Slot(object)
    def _on_event(self, event: Event) -> None:
        match event:
            case SeriesStarted(uid=uid):
                self._last = time.monotonic()  # loading the model is no slice
                self._at = uid
                self._update(uid, status="running", done=0, reason="")
                self.changed.emit()
            case Progress(what=what):
                self._last = time.monotonic()  # nor is looking for the fastest engine
                self._update(self._at, reason=what)
            case SliceDone(uid=uid, index=index):
                now = time.monotonic()
                if self._last:
                    self._gaps.append(now - self._last)
                self._last = now
                if len(self._gaps) >= SURE:
                    self.model.pace = float(np.mean(self._gaps))
                entry = self.model.find(uid)
                self._update(uid, done=max(index + 1, entry.done if entry else 0), reason="")
                self.advanced.emit()
            case SeriesDone(uid=uid, result=result):
                self._results[uid] = result
                self._at = ""
                self._take(uid, result)
                self.changed.emit()
                entry = self.model.find(uid)
                if entry is not None:
                    self.series_done.emit(entry)
            case Warned(message=message, hint=hint):
                self._session.toast.emit("warn", message, hint)

    def show_results(self, results: Iterable[SeriesResult]) -> None:
        """Show what a job did elsewhere, as if it had been this queue's."""
        for result in results:
            self._take(result.uid, result)
        self.changed.emit()

    def _update(self, uid: str, **values: Any) -> None:
        entry = self.model.find(uid)
        if entry is not None:
            self.model.update_entry(entry, **values)

    def _take(self, uid: str, result: Any) -> None:
        entry = self.model.find(uid)
        if entry is None:
            return
        ok = result.status in ("done", "flagged")
        self.model.update_entry(
            entry,
            status=result.status,
            reason=result.reason,
            seconds=result.seconds,
            flagged=tuple(result.flagged_slices),
            clipped=result.clipped,
            output=result.output,
            engine=". ".join(part for part in (result.engine, result.engine_note) if part),
            done=entry.series.slices if ok else entry.done,
        )

    def _close(self) -> None:
        self._job, self._planned = None, frozenset()
        for entry in self.model.entries:
            if entry.status == "running":
                reason = "Stopped, not written" if self.stopped else "Not finished, not written"
                self.model.update_entry(entry, status="waiting", done=0, reason=reason)

    @Slot(object)
    def _on_done(self, report: Any) -> None:
        for result in report.series if report is not None else ():
            entry = self.model.find(result.uid)
            # A stop lists what it did not reach as skipped; here it simply waits on.
            if entry is not None and entry.status == "running" and not self.stopped:
                self._take(result.uid, result)
        self._close()
        self.ended.emit(report)
        self.changed.emit()

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        self._close()
        self.failed.emit(error)
        self.changed.emit()

    @Slot()
    def _on_cancelled(self) -> None:
        self._close()
        self.changed.emit()

    def go_on(self) -> None:
        """After a job: start the series that came while it ran."""
        if self.running or self._session.lanes.busy():
            return
        more, self._more = self._more, False
        if more and self._options is not None and not self.stopped and self.model.count("waiting"):
            self.start(self._options)

    # ---- figures
    def progress(self) -> tuple[int, int]:
        """Slices denoised and slices in all, of what is neither skipped nor failed."""
        return self.model.progress()

    def seconds_left(self) -> float | None:
        """None until it can be told."""
        done, total = self.progress()
        return None if self.model.pace is None or not self.running else (total - done) * self.model.pace
