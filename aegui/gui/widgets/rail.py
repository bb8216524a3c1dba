"""The five steps at the left edge, with a state line under each."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QVBoxLayout

from aegui.gui import theme
from aegui.gui.widgets.painted import animated

WIDTH = 104
# rail state: (icon, role of the icon and its words)
_MARKS = {
    "done": ("check", "ok"),
    "ready": ("circle", "text3"),
    "blocked": ("lock", "text3"),
    "run": ("loader-circle", "accentText"),
    "warn": ("triangle-alert", "warn"),
}


class RailItem(QAbstractButton):
    """One step. A blocked one can be opened too: its page shows the reasons."""

    def __init__(self, number: int, name: str, icon: str) -> None:
        super().__init__()
        self._number, self._name, self._icon = number, name, icon
        self.kind, self.note = "ready", ""
        self._angle = 0
        self._timer = QTimer(self)
        self._timer.setInterval(100)
        self._timer.timeout.connect(self._turn)
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(f"{name} (Ctrl+{number})")
        self.setFixedWidth(WIDTH - 1)
        theme.changed().connect(self._refit)
        self.show_state("ready", "")
        self._refit()

    def _refit(self) -> None:
        self.setFixedHeight(max(80, theme.scaled(76)))
        self.update()

    def show_state(self, kind: str, note: str) -> None:
        """The line under the name."""
        self.kind, self.note = kind, note
        self.setAccessibleName(f"Step {self._number}, {self._name}, {note}")
        if kind == "run" and animated(self):
            self._timer.start()
        else:
            self._timer.stop()
        self.update()

    def _turn(self) -> None:
        self._angle = (self._angle + 30) % 360
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        area, active = QRectF(self.rect()), self.isChecked()
        painter.setPen(Qt.PenStyle.NoPen)
        if active or self.underMouse():
            painter.setBrush(theme.colour("selected" if active else "hover"))
            painter.drawRoundedRect(area.adjusted(8, 4, -8, -4), 8, 8)
        if active:
            painter.setBrush(theme.colour("accent"))
            painter.drawRoundedRect(QRectF(0, 20, 3, area.height() - 40), 1.5, 1.5)
        ink = "text" if active else "text3" if self.kind == "blocked" else "text2"
        picture = theme.pixmap(self._icon, "accentText" if active else ink, 20, 1.6)
        painter.drawPixmap(QPointF(area.width() / 2 - 10, 12), picture)
        painter.setFont(theme.font(13, 600 if active else 500))
        painter.setPen(theme.colour(ink))
        line = theme.scaled(18)
        name = QRectF(0, 35, area.width(), line)
        painter.drawText(name, int(Qt.AlignmentFlag.AlignCenter), f"{self._number}  {self._name}")
        self._paint_note(painter, 35 + line, area.width())

    def _paint_note(self, painter: QPainter, top: float, room: float) -> None:
        icon, role = _MARKS[self.kind]
        font = theme.font(11)
        metrics = QFontMetrics(font)
        words = metrics.elidedText(self.note, Qt.TextElideMode.ElideRight, int(room) - 26)
        left = (room - metrics.horizontalAdvance(words) - 15) / 2
        line = theme.scaled(17)
        centre = QPointF(left + 5.5, top + line / 2)
        painter.save()
        painter.translate(centre)
        if self.kind == "run":
            painter.rotate(self._angle)
        painter.drawPixmap(QPointF(-5.5, -5.5), theme.pixmap(icon, role, 11, 2.4))
        painter.restore()
        painter.setFont(font)
        painter.setPen(QColor(theme.colour(role)))
        painter.drawText(QRectF(left + 15, top, room, line), int(Qt.AlignmentFlag.AlignVCenter), words)

    def sizeHint(self) -> QSize:
        return self.minimumSize()


class Rail(QFrame):
    """The column of steps; arrows move between them."""

    chosen = Signal(int)

    def __init__(self, steps: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.setObjectName("rail")
        self.setFixedWidth(WIDTH)
        self.setAccessibleName("Steps")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 8)
        layout.setSpacing(0)
        self._group = QButtonGroup(self)
        self.items: list[RailItem] = []
        for index, (name, icon) in enumerate(steps):
            item = RailItem(index + 1, name, icon)
            self._group.addButton(item, index)
            self.items.append(item)
            layout.addWidget(item)
        layout.addStretch(1)
        self._group.idClicked.connect(self.chosen)

    def set_current(self, index: int) -> None:
        """Mark the shown step."""
        self.items[index].setChecked(True)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
        focused = [index for index, item in enumerate(self.items) if item.hasFocus()]
        if step and focused:
            self.items[(focused[0] + step) % len(self.items)].setFocus(Qt.FocusReason.TabFocusReason)
        else:
            super().keyPressEvent(event)
