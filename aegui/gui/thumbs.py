"""Small pictures of queued series, drawn off the window's thread and only for rows that are to be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QImage, QPixmap

from aegui.gui import slices
from aegui.gui.widgets.queue import Entry, QueueModel

SIZE = 64  # twice what is drawn, for screens with small pixels


class Thumbnails(QObject):
    """Fills in the pictures of a queue."""

    def __init__(self, model: QueueModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._lane: slices.SliceLane | None = None
        self._wanted: list[str] = []
        self._asked: set[str] = set()  # whatever came of it: what has no picture is not asked again

    @Slot(list)
    def load(self, entries: Sequence[Entry]) -> None:
        """Draw these next; what was asked for before and is not among them can wait."""
        series = [entry.series for entry in entries if entry.series.uid not in self._asked]
        uids = [one.uid for one in series]
        if uids == self._wanted:
            return
        self.release()
        self._wanted = uids
        if not series:
            return

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            from aegui import imaging

            yield lambda index: imaging.thumbnail(series[index], SIZE)

        lane = slices.SliceLane(opened, len(series), keep=0)
        lane.ready.connect(self._on_ready)
        lane.failed.connect(self._on_failed)
        lane.sweep()
        self._lane = slices.start(lane)

    def forget(self, uid: str) -> None:
        """Its files may read differently now."""
        self._asked.discard(uid)

    def release(self) -> None:
        """End the thread."""
        if self._lane is not None:
            self._lane.end()
        self._lane, self._wanted = None, []

    @Slot(int, object)
    def _on_ready(self, index: int, pixels: Any) -> None:
        if self.sender() is not self._lane:  # sent before it was told to end
            return
        uid = self._wanted[index]
        self._asked.add(uid)
        entry = self._model.find(uid)
        if entry is not None:
            self._model.update_entry(entry, thumb=to_pixmap(pixels))

    @Slot(int, object)
    def _on_failed(self, index: int, _error: object) -> None:
        if self.sender() is self._lane:
            self._asked.update(self._wanted if index < 0 else [self._wanted[index]])


def to_pixmap(pixels: np.ndarray) -> QPixmap:
    """Grey or RGB bytes, (rows, columns) or (rows, columns, 3), padded to a square."""
    side = max(pixels.shape[:2])
    square = np.zeros((side, side, *pixels.shape[2:]), np.uint8)
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    kind = QImage.Format.Format_RGB888 if square.ndim == 3 else QImage.Format.Format_Grayscale8
    image = QImage(square.tobytes(), side, side, side * (3 if square.ndim == 3 else 1), kind)
    return QPixmap.fromImage(image.copy())
