"""Before and after in one viewport: a curtain between them, or one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPen

from aegui.gui import theme
from aegui.gui.widgets import overlay
from aegui.gui.widgets.view_link import ViewLink
from aegui.gui.widgets.viewport import Viewport

RADIUS = 16
FLICKER_MS = 500  # half a turn: 1 Hz


class CurtainViewport(Viewport):
    """`pixels` is before, `set_after` its other side. moved: where the curtain stands, 0 … 1 of the width."""

    moved = Signal(float)

    def __init__(self, title: str, link: ViewLink) -> None:
        super().__init__(title, link)
        self.mode = "curtain"  # "curtain", "before", "after"
        self.position = 0.5
        self.after_title = "Denoised"
        self.before_lines: tuple[str, ...] = ()
        self.after_lines: tuple[str, ...] = ()
        self._after: np.ndarray | None = None
        self._grabbed = False
        self.layers.append(self._paint_after)
        self._timer = QTimer(self)
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self.flip)

    @property
    def after(self) -> np.ndarray | None:
        """The right side's pixels."""
        return self._after

    def set_after(self, pixels: np.ndarray | None) -> None:
        self._after = pixels
        self.update()

    def set_mode(self, mode: str) -> None:
        """Show the curtain, or one side alone."""
        self.mode = mode
        self._tell()
        self.update()

    def flip(self) -> None:
        """From before to after and back."""
        self.set_mode("before" if self.mode == "after" else "after")

    @property
    def flickering(self) -> bool:
        return self._timer.isActive()

    def flicker(self, on: bool) -> None:
        """Alternate at 1 Hz."""
        if on:
            self._timer.start()
        else:
            self._timer.stop()

    def move_curtain(self, position: float) -> None:
        """To a fraction of the width."""
        position = max(0.0, min(1.0, position))
        if position != self.position:
            self.position = position
            self.moved.emit(position)
            self.update()

    def _tell(self) -> None:
        super()._tell()
        side = {"before": self.title, "after": getattr(self, "after_title", "")}.get(getattr(self, "mode", ""), "")
        self.setAccessibleDescription(f"Shows {side}" if side else "Before left of the curtain, after right of it")

    def corner_words(self) -> tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]:
        _, _, low, right = super().corner_words()
        if self.pixels is None:
            return (self.title,), (), (), ()
        index, count = self.axis()
        place = f"Slice {index + 1} / {count}"
        before, after = (self.title, *self.before_lines), (self.after_title, *self.after_lines)
        if self.mode == "curtain":
            return before, after, low, (*right, place)
        return (before if self.mode == "before" else after), (place,), low, right

    def _paint_after(self, painter: QPainter, _view: Viewport) -> None:
        if self._after is None or self.mode == "before":
            return
        picture = self.colours(self._after, self.link.width, self.link.level)
        x = self.width() * self.position if self.mode == "curtain" else 0.0
        painter.save()
        painter.setClipRect(QRectF(x, 0, self.width() - x, self.height()))
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        painter.setOpacity(0.6 if self.busy else 1.0)
        self.draw_picture(painter, picture)
        painter.restore()
        if self.mode == "curtain":
            self._paint_handle(painter, x)

    def _paint_handle(self, painter: QPainter, x: float) -> None:
        middle = self.height() / 2
        painter.setPen(QPen(QColor(255, 255, 255, 230), 1.5))
        painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
        painter.setBrush(QColor(244, 245, 246))
        painter.setPen(QPen(overlay.HALO, 1))
        painter.drawEllipse(QPointF(x, middle), RADIUS, RADIUS)
        painter.drawPixmap(QPointF(x - 8, middle - 8), theme.pixmap("chevrons-left-right", "#15181B", 16, 2))

    def _near(self, event: QMouseEvent) -> bool:
        x = self.width() * self.position
        return self.mode == "curtain" and abs(event.position().x() - x) <= (RADIUS if self.tool != "point" else 6)

    # Qt overrides

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._near(event):
            self.setFocus(Qt.FocusReason.MouseFocusReason)
            self._grabbed = True
        else:
            super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._grabbed:
            self.move_curtain(event.position().x() / max(1, self.width()))
            return
        if not event.buttons():
            wide = Qt.CursorShape.SplitHCursor
            plain = Qt.CursorShape.CrossCursor if self.tool == "point" else Qt.CursorShape.ArrowCursor
            self.setCursor(wide if self._near(event) else plain)
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._grabbed = False
        super().mouseReleaseEvent(event)
