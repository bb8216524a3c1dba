"""The slices Review shows: noisy at once, the network's output and the reference when they are ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from aegui.gui import slices
from aegui.imaging.series import Mask, Pixels, Series


@dataclass(frozen=True)
class Read:
    """A slice as it is in the files."""

    pixels: Pixels
    valid: Mask


@dataclass(frozen=True)
class Cleaned:
    """The network's output at full strength, and how much structure it took away."""

    pixels: Pixels
    score: float


def mix(noisy: Pixels, net: Pixels, strength: float) -> Pixels:
    """in + s·(net − in); 0 and 1 give either exactly."""
    if strength == 0:
        return noisy
    if strength == 1:
        return net
    out = np.subtract(net, noisy, dtype=np.float32)
    out *= np.float32(strength)
    out += noisy
    return out


@contextmanager
def _source(series: Series) -> Iterator[Any]:
    """A series opened in the thread that reads it."""
    from aegui import imaging

    source = imaging.open_series(series)
    try:
        yield source
    finally:
        source.close()


class _Once:
    """A source that remembers the slice it read last: the preview and the score both need it."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.series = source.series
        self._last: tuple[int, Pixels] | None = None

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> Pixels:
        if self._last is None or self._last[0] != index:
            self._last = (index, self._source.read(index))
        return self._last[1]

    def valid(self, index: int) -> Mask:
        mask: Mask = self._source.valid(index)
        return mask

    def close(self) -> None:
        self._source.close()


class ReviewSlices(QObject):
    """One open series with one model. read, cleaned, referenced, doubted: a slice is there.

    failed: (what, index, error).
    """

    read = Signal(int)
    cleaned = Signal(int)
    scored = Signal(int, float)
    referenced = Signal(int)
    doubted = Signal(int)
    failed = Signal(str, int, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.series: Series | None = None
        self._reader: slices.SliceLane | None = None
        self._cleaner: slices.SliceLane | None = None
        self._referee: slices.SliceLane | None = None
        self._doubter: slices.SliceLane | None = None
        self._match: Mapping[int, int] = {}

    def open(self, series: Series) -> None:
        """Read another series; model and reference are opened after it."""
        self.close()
        self.series = series

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            with _source(series) as source:
                yield lambda index: Read(source.read(index), source.valid(index))

        self._reader = self._start(opened, series.slices, self._on_read, "scan")

    def open_model(self, model: str | Path, device: str = "auto", noise_level: float | None = None) -> None:
        """Run a model on the series."""
        self._end(self._cleaner)
        self._cleaner = None
        series = self.series
        if series is None or not model:
            return

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            from aegui import workflow
            from aegui.analysis import structure_score

            def fetch(index: int) -> Cleaned:
                noisy, valid = source.read(index), source.valid(index)
                pixels = workflow.preview(str(model), source, index, noise_level, device)
                return Cleaned(pixels, structure_score(noisy, pixels, valid))

            with _source(series) as opened_source:
                source = _Once(opened_source)
                yield fetch

        self._cleaner = self._start(opened, series.slices, self._on_cleaned, "model")

    def open_doubt(self, model: str | Path, device: str = "auto") -> None:
        """How sure the model is of what it shows; no model: that is not asked."""
        self._end(self._doubter)
        self._doubter = None
        series = self.series
        if series is None or not model:
            return

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            from aegui import workflow

            with _source(series) as source:
                yield lambda index: workflow.uncertainty(str(model), source, index, device)

        self._doubter = self._start(opened, series.slices, self._on_doubted, "uncertainty")

    def open_reference(self, reference: Series | None, match: Mapping[int, int]) -> None:
        """Show a clean series beside. match: slice of the noisy series → slice of the reference."""
        self._end(self._referee)
        self._referee, self._match = None, dict(match)
        if reference is None:
            return

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            with _source(reference) as source:
                yield source.read

        self._referee = self._start(opened, reference.slices, self._on_reference, "reference")

    def _start(self, opened: Any, count: int, arrived: Any, what: str) -> slices.SliceLane:
        lane = slices.SliceLane(opened, count, keep=40)
        lane.setObjectName(what)
        lane.ready.connect(arrived)
        lane.failed.connect(self._on_failed)
        return slices.start(lane)

    @staticmethod
    def _end(lane: slices.SliceLane | None) -> None:
        if lane is not None:
            lane.ready.disconnect()
            lane.failed.disconnect()
            lane.end()

    def close(self) -> None:
        """Leave the series; threads end after the slice in work."""
        for lane in (self._reader, self._cleaner, self._referee, self._doubter):
            self._end(lane)
        self.series = self._reader = self._cleaner = self._referee = self._doubter = None
        self._match = {}

    def want(self, index: int) -> None:
        """Fetch a slice in every lane, before anything else."""
        for lane in (self._reader, self._cleaner, self._doubter):
            if lane is not None:
                lane.want(index)
        if self._referee is not None and index in self._match:
            self._referee.want(self._match[index])

    def sweep(self, on: bool) -> None:
        """Score every slice while nothing else is wanted."""
        if self._cleaner is not None:
            self._cleaner.sweep(on)

    def noisy(self, index: int) -> Read | None:
        return self._reader.value(index) if self._reader is not None else None

    def net(self, index: int) -> Pixels | None:
        """The network's output at full strength."""
        value = self._cleaner.value(index) if self._cleaner is not None else None
        return value.pixels if value is not None else None

    def doubt(self, index: int) -> Pixels | None:
        """SD over the views of the slice, at full strength."""
        return self._doubter.value(index) if self._doubter is not None else None

    def reference(self, index: int) -> Pixels | None:
        """The clean slice that shows the same as slice `index`."""
        known = self._referee is not None and index in self._match
        return self._referee.value(self._match[index]) if known else None  # type: ignore[union-attr]

    def has_reference(self, index: int) -> bool:
        """Whether a clean slice belongs to this one."""
        return self._referee is not None and index in self._match

    @Slot(int, object)
    def _on_read(self, index: int, _value: Any) -> None:
        if self.sender() is self._reader:  # what was on its way from the lane before is not wanted any more
            self.read.emit(index)

    @Slot(int, object)
    def _on_cleaned(self, index: int, value: Cleaned) -> None:
        if self.sender() is self._cleaner:
            self.cleaned.emit(index)
            self.scored.emit(index, value.score)

    @Slot(int, object)
    def _on_doubted(self, index: int, _value: Any) -> None:
        if self.sender() is self._doubter:
            self.doubted.emit(index)

    @Slot(int, object)
    def _on_reference(self, index: int, _value: Any) -> None:
        for mine, theirs in self._match.items():
            if theirs == index and self.sender() is self._referee:
                self.referenced.emit(mine)

    @Slot(int, object)
    def _on_failed(self, index: int, error: Exception) -> None:
        lane = self.sender()
        if lane is not None and lane in (self._reader, self._cleaner, self._doubter, self._referee):
            self.failed.emit(lane.objectName(), index, error)
