"""What the left button does on the Scans viewer: a ruler drawn over the image, and the probe's numbers."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from aegui.gui import theme
from aegui.gui.widgets import overlay
from aegui.gui.widgets.view_link import number
from aegui.gui.widgets.viewport import Viewport


class Ruler(QObject):
    """One line between two points, with its length."""

    def __init__(self, view: Viewport, unit: str = "mm") -> None:
        super().__init__(view)
        self.unit = unit
        self.ends: tuple[QPointF, QPointF] | None = None
        self._view = view
        self._on = False
        view.pressed.connect(self._press)
        view.dragged.connect(self._drag)
        view.layers.append(self._paint)

    def set_on(self, on: bool) -> None:
        """Whether the left button measures."""
        self._on = on

    def clear(self) -> None:
        """Remove the line."""
        self.ends = None
        self._view.update()

    def _press(self, x: float, y: float) -> None:
        if self._on:
            self.ends = (QPointF(x, y), QPointF(x, y))
            self._view.update()

    def _drag(self, x: float, y: float) -> None:
        if self._on and self.ends is not None:
            self.ends = (self.ends[0], QPointF(x, y))
            self._view.update()

    def length(self) -> float:
        """In the unit of the spacing."""
        if self.ends is None:
            return 0.0
        across, (rows, columns) = self.ends[1] - self.ends[0], self._view.spacing
        return math.hypot(across.x() * columns, across.y() * rows)

    def _paint(self, painter: QPainter, view: Viewport) -> None:
        if self.ends is None:
            return
        a, b = (view.to_widget(end.x(), end.y()) for end in self.ends)
        for ink, wide in ((QColor(0, 0, 0, 200), 3.2), (QColor(overlay.AMBER), 1.6)):
            painter.setPen(QPen(ink, wide))
            painter.drawLine(a, b)
        painter.setFont(theme.font(12, 600))
        words = f"{self.length():.1f} {self.unit}"
        overlay.halo_text(painter, QRectF(b.x() + 8, b.y() - 8, 90, 16), Qt.AlignmentFlag.AlignLeft, words)


def probe_words(pixels: np.ndarray, column: int, row: int, unit: str) -> tuple[str, str] | None:
    """(value, “5 × 5 mean m ± s”) at a voxel; None outside."""
    rows, columns = pixels.shape[:2]
    if not (0 <= row < rows and 0 <= column < columns):
        return None
    around = pixels[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
    if pixels.ndim == 3:
        here = " ".join(number(float(v)) for v in pixels[row, column])
    else:
        here = number(float(pixels[row, column]))
    spread = number(float(np.std(around)))
    return f"{here} {unit}".strip(), f"5 × 5 mean {number(float(np.mean(around)))} ± {spread}"
