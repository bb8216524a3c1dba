"""One bar per slice: how much structure the residual holds, and which slices to look at."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QSizePolicy, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, column, icon_label, label, row


class StructureStrip(QWidget):
    """Scores arrive in any order; a slice without one yet is a small tick. picked: a slice was clicked."""

    picked = Signal(int)
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scores: list[float] = []
        self._current = 0
        self._alert = 1.0
        self.setFixedHeight(48)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Structure left in residual, per slice")
        theme.changed().connect(self.update)

    def reset(self, count: int, alert: float) -> None:
        """A new series of `count` slices; bars above `alert` are flagged."""
        self._scores = [math.nan] * count
        self._alert = alert
        self._current = min(self._current, max(0, count - 1))
        self._tell()

    def set_score(self, index: int, score: float) -> None:
        if 0 <= index < len(self._scores) and self._scores[index] != score:
            self._scores[index] = score
            self._tell()

    def set_current(self, index: int) -> None:
        self._current = index
        self.update()

    def score(self, index: int) -> float:
        """nan until it is known."""
        return self._scores[index] if 0 <= index < len(self._scores) else math.nan

    def known(self) -> int:
        """How many slices have a score."""
        return sum(not math.isnan(score) for score in self._scores)

    def flags(self) -> list[int]:
        """Slices above the alert level."""
        return [index for index, score in enumerate(self._scores) if score > self._alert]

    def places(self) -> list[int]:
        """The first slice of each run of flagged neighbours."""
        flags = self.flags()
        return [index for index in flags if index - 1 not in flags]

    def step(self, start: int, direction: int) -> int | None:
        """The next (+1) or previous (−1) place that is flagged, seen from a slice."""
        places = self.places()
        if direction > 0:
            return next((index for index in places if index > start), None)
        return next((index for index in reversed(places) if index < start), None)

    def words(self) -> str:
        """“6 slices flagged in 3 places”, or how far the scoring is."""
        flags, places, known = len(self.flags()), len(self.places()), self.known()
        if not flags:
            return "No slice flagged" if known == len(self._scores) else f"{known} of {len(self._scores)} slices scored"
        slices = "1 slice flagged" if flags == 1 else f"{flags} slices flagged"
        return slices if flags == 1 else f"{slices} in {places} place{'s' if places > 1 else ''}"

    def _tell(self) -> None:
        self.setAccessibleDescription(self.words())
        self.changed.emit()
        self.update()

    def _at(self, x: float) -> int:
        count = max(1, len(self._scores))
        return max(0, min(count - 1, int(x / max(1, self.width()) * count)))

    def sizeHint(self) -> QSize:
        return QSize(400, 48)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._scores:
            self.picked.emit(self._at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if not self._scores:
            return
        index = self._at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.picked.emit(index)
        score = self._scores[index]
        state = "not scored yet" if math.isnan(score) else f"{score:.2f}, alert level {self._alert:.2f}"
        self.setToolTip(f"Slice {index + 1}: {state}")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in moves and self._scores and not event.modifiers():
            self.picked.emit(max(0, min(len(self._scores) - 1, self._current + moves[Qt.Key(event.key())])))
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        count = len(self._scores)
        if not count:
            return
        step, height, bottom = self.width() / count, self.height() - 12.0, float(self.height())
        painter.setPen(Qt.PenStyle.NoPen)
        plain, flagged, empty = theme.colour("field"), theme.colour("warn"), theme.colour("line2")
        places = set(self.places())
        wide = step >= 3
        for index, score in enumerate(self._scores):
            known = not math.isnan(score)
            tall = max(2.0, height * min(1.0, score / (2 * self._alert))) if known else 2.0
            painter.setBrush((flagged if score > self._alert else plain) if known else empty)
            painter.drawRect(QRectF(index * step, bottom - tall, max(1.0, step - (1.5 if wide else 0)), tall))
        for index in places:
            tall = height * min(1.0, self._scores[index] / (2 * self._alert))
            middle = (index + 0.5) * step - 5
            painter.drawPixmap(QPointF(middle, bottom - tall - 12), theme.pixmap("triangle-alert", "warn", 10, 2.4))
        painter.setPen(QPen(theme.colour("text3"), 1, Qt.PenStyle.DashLine))
        level = bottom - height / 2
        painter.drawLine(QPointF(0, level), QPointF(self.width(), level))
        painter.setPen(QPen(theme.colour("text"), 1.5))
        here = (self._current + 0.5) * step
        painter.drawLine(QPointF(here, 0), QPointF(here, bottom))


class StripPanel(QFrame):
    """The strip with its words, and the way from flag to flag. stepped: −1 or 1."""

    stepped = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "foot")
        self.setFixedHeight(96)
        self.strip = StructureStrip()
        self.words = label("", "ter")
        self._icon = icon_label("triangle-alert", 14, "warn")
        self.previous = button("Previous", "ghost", "chevron-left", "s", tip="P", clicked=lambda: self.stepped.emit(-1))
        self.next = button("Next", "ghost", "chevron-right", "s", tip="N", clicked=lambda: self.stepped.emit(1))
        title = label("Structure left in residual, per slice", "h3")
        level = label("dashed line: alert level", "ter")
        head = row(title, level, STRETCH, self._icon, self.words, self.previous, self.next)
        self.setLayout(column(head, self.strip, margins=(16, 6, 16, 8), gap=4))
        self.strip.changed.connect(self._say)
        self._say()

    def _say(self) -> None:
        flags = bool(self.strip.flags())
        self.words.setText(self.strip.words())
        theme.set_property(self.words, t="warn" if flags else "ter")
        self._icon.setVisible(flags)
        self.previous.setEnabled(flags)
        self.next.setEnabled(flags)
