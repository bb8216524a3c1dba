"""The batch queue at work: one denoise job over all waiting series, and what its events say."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtGui import QImage, QPixmap

from aegui.events import Event, SeriesDone, SeriesStarted, SliceDone, Warned
from aegui.gui import slices
from aegui.gui.job import Job
from aegui.gui.session import Session
from aegui.gui.widgets.model_chooser import unfit
from aegui.gui.widgets.queue import Entry, QueueModel
from aegui.imaging import OutputRules
from aegui.imaging.series import Series, Skipped
from aegui.models import Card

if TYPE_CHECKING:
    from aegui.workflow import SeriesResult

THUMB = 32
SURE = 3  # slices before a time left is shown


@dataclass(frozen=True)
class Options:
    """How the waiting series are denoised. noise_level None: measured."""

    model: str | Path
    output: Path
    strength: float = 1.0
    noise_level: float | None = None
    rules: OutputRules = field(default_factory=OutputRules)
    device: str = "auto"


class Batch(QObject):
    """Owns the queue. changed: counts, progress or state. ended: the report. failed: why nothing could run."""

    changed = Signal()
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = QueueModel(self)
        self.stopped = False
        self._session = session
        self._card: Card | None = None
        self._job: Job | None = None
        self._options: Options | None = None
        self._skipped: tuple[Skipped, ...] = ()
        self._results: dict[str, SeriesResult] = {}
        self._added: dict[str, Series] = {}
        self._gaps: deque[float] = deque(maxlen=40)
        self._last = 0.0
        self._thumbs: slices.SliceLane | None = None

    # ---- the queue
    def set_series(self, series: Iterable[Series]) -> None:
        """What the project holds; series added by hand stay, known ones keep their state."""
        wanted = {one.uid: one for one in series} | self._added
        known = {entry.series.uid: entry for entry in self.model.entries}
        if list(wanted) == list(known):
            return
        self.model.set_entries([known.get(uid) or Entry(one) for uid, one in wanted.items()])
        self._judge()
        self._load_thumbs()

    def add_series(self, series: Iterable[Series], skipped: Iterable[Skipped] = ()) -> None:
        """Queue the series of another folder."""
        fresh = [one for one in series if self.model.find(one.uid) is None]
        self._added |= {one.uid: one for one in fresh}
        self._skipped += tuple(skipped)
        self.model.add([Entry(one) for one in fresh])
        self._judge()
        self._load_thumbs()

    def remove(self, entries: Iterable[Entry]) -> None:
        """Take rows out; the running one stays, and so do rows whose turn is planned."""
        for entry in list(entries):
            if entry.status != "running" and not (self.running and entry.status == "waiting"):
                self._added.pop(entry.series.uid, None)
                self.model.remove(entry)
        self.changed.emit()

    def set_card(self, card: Card | None) -> None:
        """The model changed: decide again who is skipped, and run everything anew."""
        self._card = card
        if not self.running:
            for entry in self.model.entries:
                entry.included = False
                if entry.status in ("done", "flagged", "failed"):
                    entry.status, entry.reason, entry.done, entry.flagged = "waiting", "", 0, ()
        self._judge()

    def include(self, entry: Entry) -> None:
        """Denoise it although the model was made for something else."""
        self.model.update_entry(entry, included=True, status="waiting", reason="Included by you")
        self.changed.emit()

    def retry(self, entry: Entry) -> None:
        """Queue a failed series again."""
        self.model.update_entry(entry, status="waiting", reason="", done=0, flagged=())
        self.changed.emit()
        if not self.running and self._options is not None:
            self.start(self._options)

    def _judge(self) -> None:
        for entry in self.model.entries:
            if entry.status not in ("waiting", "skipped") or entry.included:
                continue
            series = entry.series
            if series.treat != "denoise":
                entry.status, entry.reason, entry.can_include = "skipped", series.reason or "Not for denoising", False
                continue
            reason = unfit(self._card, series.modality)
            entry.status, entry.reason, entry.can_include = "skipped" if reason else "waiting", reason, bool(reason)
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
        """Denoise what waits. False if nothing does, or another job runs (said by a notice)."""
        waiting = tuple(entry.series for entry in self.model.entries if entry.status == "waiting")
        if not waiting or self.running:
            return False
        included = frozenset(entry.series.uid for entry in self.model.entries if entry.included)
        if self._options is not None and options.output != self._options.output:
            self._results.clear()
        earlier = tuple(self._results.values())

        def work() -> Iterator[Event]:
            from aegui import workflow

            job = workflow.DenoiseJob(
                model=str(options.model),
                series=waiting,
                output=options.output,
                strength=options.strength,
                noise_level=options.noise_level,
                rules=options.rules,
                device=options.device,
                skipped=self._skipped,
                include=included,
                earlier=earlier,
            )
            yield from workflow.denoise(job)

        title = f"Denoising {len(waiting)} series"
        job: Job | None = self._session.attempt(lambda: self._session.lanes.create(work, title))
        if job is None:
            return False
        self._job, self._options, self.stopped = job, options, False
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
                self._update(uid, status="running", done=0, reason="")
                self.changed.emit()
            case SliceDone(uid=uid, index=index):
                now = time.monotonic()
                if self._last:
                    self._gaps.append(now - self._last)
                self._last = now
                if len(self._gaps) >= SURE:
                    self.model.pace = float(np.mean(self._gaps))
                entry = self.model.find(uid)
                self._update(uid, done=max(index + 1, entry.done if entry else 0))
                self.changed.emit()
            case SeriesDone(uid=uid, result=result):
                self._results[uid] = result
                self._take(uid, result)
                self.changed.emit()
            case Warned(message=message, hint=hint):
                self._session.toast.emit("warn", message, hint)

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
            output=result.output,
            done=entry.series.slices if ok else entry.done,
        )

    def _close(self) -> None:
        self._job = None
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
        if self._options is not None and not self.stopped and not self.running:
            self.start(self._options)

    # ---- figures
    def progress(self) -> tuple[int, int]:
        """Slices denoised and slices in all, of what is not skipped or failed."""
        counted = [entry for entry in self.model.entries if entry.status not in ("skipped", "failed")]
        return sum(entry.done for entry in counted), sum(entry.series.slices for entry in counted)

    def seconds_left(self) -> float | None:
        """None until it can be told."""
        done, total = self.progress()
        return None if self.model.pace is None or not self.running else (total - done) * self.model.pace

    # ---- pictures
    def _load_thumbs(self) -> None:
        entries = [entry for entry in self.model.entries if entry.thumb is None]
        if self._thumbs is not None:
            self._thumbs.end()
            self._thumbs = None
        if not entries:
            return
        series = [entry.series for entry in entries]

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            from aegui import imaging

            yield lambda index: (series[index].uid, imaging.thumbnail(series[index], THUMB * 2))

        lane = slices.SliceLane(opened, len(series), keep=0)
        lane.ready.connect(self._on_thumb)
        lane.sweep()
        self._thumbs = slices.start(lane)

    @Slot(int, object)
    def _on_thumb(self, _index: int, value: Any) -> None:
        uid, pixels = value
        entry = self.model.find(uid)
        if entry is not None:
            self.model.update_entry(entry, thumb=to_pixmap(pixels))

    def release(self) -> None:
        """End the thread that draws thumbnails."""
        if self._thumbs is not None:
            self._thumbs.end()


def to_pixmap(pixels: np.ndarray) -> QPixmap:
    """Grey or RGB bytes, (rows, columns) or (rows, columns, 3), padded to a square."""
    side = max(pixels.shape[:2])
    square = np.zeros((side, side, *pixels.shape[2:]), np.uint8)
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    kind = QImage.Format.Format_RGB888 if square.ndim == 3 else QImage.Format.Format_Grayscale8
    image = QImage(square.tobytes(), side, side, side * (3 if square.ndim == 3 else 1), kind)
    return QPixmap.fromImage(image.copy())
