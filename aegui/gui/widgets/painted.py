"""The few controls that style sheets cannot draw: badge, key cap, switch, segmented control, spinner, line key."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from aegui.gui import theme

TONES = ("neutral", "info", "ok", "warn", "err", "outline")


def badge_size(text: str, icon: str = "") -> QSize:
    """How much room a badge takes."""
    width = QFontMetrics(theme.font(11, 500)).horizontalAdvance(text)
    return QSize(width + 14 + (16 if icon else 0), max(20, theme.scaled(18)))


def draw_badge(painter: QPainter, rect: QRect, text: str, tone: str = "neutral", icon: str = "") -> None:
    """Paint a badge; delegates use this too."""
    ink = theme.colour(tone) if tone in ("info", "ok", "warn", "err") else theme.colour("text2")
    ground = theme.colour(f"{tone}Bg") if tone in ("info", "ok", "warn", "err") else theme.colour("hover")
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if tone == "outline":
        painter.setPen(QPen(theme.colour("line2"), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
    else:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
    painter.drawRoundedRect(QRectF(rect).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
    left = rect.x() + 7
    if icon:
        painter.drawPixmap(rect.x() + 6, rect.center().y() - 5, theme.pixmap(icon, ink.name(), 12, 2))
        left = rect.x() + 22
    painter.setPen(ink)
    painter.setFont(theme.font(11, 500))
    painter.drawText(QRect(left, rect.y(), rect.right() - left + 1, rect.height()), Qt.AlignmentFlag.AlignVCenter, text)
    painter.restore()


class Badge(QWidget):
    """States a fact; never clickable. tone: neutral, info, ok, warn, err, outline."""

    def __init__(self, text: str = "", tone: str = "neutral", icon: str = "") -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.changed().connect(self._refit)
        self.show_text(text, tone, icon)

    def show_text(self, text: str, tone: str = "neutral", icon: str = "") -> None:
        """Say something else."""
        self.text, self.tone, self.icon = text, tone, icon
        self.setAccessibleName(text)
        self._refit()

    def _refit(self) -> None:
        self.setFixedSize(badge_size(self.text, self.icon))
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        draw_badge(QPainter(self), self.rect(), self.text, self.tone, self.icon)


class KeyCap(QWidget):
    """A key's name in a small box."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.setAccessibleName(text)
        width = QFontMetrics(theme.font(11, 500)).horizontalAdvance(text) + 10
        self.setFixedSize(max(18, width), max(18, theme.scaled(18)))
        theme.changed().connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.colour("line2"), 1))
        painter.setBrush(theme.colour("inset"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setPen(theme.colour("text3"))
        painter.setFont(theme.font(11, 500))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text)


class Switch(QAbstractButton):
    """Acts at once. The text stands right of it; the whole row is the target."""

    def __init__(self, text: str = "", checked: bool = False) -> None:
        super().__init__()
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(checked)
        self.setAccessibleName(text)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.changed().connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        on, middle = self.isChecked(), self.height() / 2
        if self.isEnabled():
            edge, ground = ("accent", "accent") if on else ("field", "inset")
            knob, ink = "onAccent" if on else "text2", "text"
        else:
            edge, ground, knob, ink = "line2", "panel", "disabled", "disabled"
        painter.setPen(QPen(theme.colour(edge), 1))
        painter.setBrush(theme.colour(ground))
        painter.drawRoundedRect(QRectF(1, middle - 9, 32, 18), 9, 9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour(knob))
        painter.drawEllipse(QPointF(24 if on else 10, middle), 6, 6)
        painter.setPen(theme.colour(ink))
        painter.setFont(theme.font(13))
        painter.drawText(self.rect().adjusted(42, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self.text())

    def sizeHint(self) -> QSize:
        words = QFontMetrics(theme.font(13)).horizontalAdvance(self.text())
        return QSize(34 + (8 + words + 2 if self.text() else 0), 28)


class Segmented(QFrame):
    """Two to four views, one of them shown."""

    changed = Signal(int)

    def __init__(self, texts: Sequence[str], icons: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        super().__init__()
        self.setProperty("seg", "1")
        self.setFixedHeight(32)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(1, 1, 1, 1)
        layout.setSpacing(2)
        self.group = QButtonGroup(self)
        for index, text in enumerate(texts):
            item = QPushButton(f" {text}" if icons and text else text)
            item.setCheckable(True)
            item.setAutoDefault(False)
            item.setAccessibleName(names[index] if names else text)
            if names:
                item.setToolTip(names[index])
            if icons:
                theme.set_icon(item, icons[index])
            self.group.addButton(item, index)
            layout.addWidget(item)
        self.group.button(0).setChecked(True)
        self.group.idClicked.connect(self.changed)

    @property
    def current(self) -> int:
        """Index of the shown view."""
        return self.group.checkedId()

    def set_current(self, index: int) -> None:
        """Show another view, silently."""
        self.group.button(index).setChecked(True)

    def button(self, index: int) -> QAbstractButton:
        """One of its buttons."""
        return self.group.button(index)


class Spinner(QWidget):
    """Turning while something of unknown length runs; still when animations are off."""

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.setFixedSize(size, size)
        self.setAccessibleName("Working")
        self._angle = 0
        self._timer = QTimer(self)
        self._timer.setInterval(80)
        self._timer.timeout.connect(self._turn)

    def _turn(self) -> None:
        self._angle = (self._angle + 30) % 360
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.colour("accentText"), 1.75, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawArc(QRectF(self.rect()).adjusted(2, 2, -2, -2), -self._angle * 16, 270 * 16)

    def showEvent(self, event: object) -> None:
        if animated(self):
            self._timer.start()

    def hideEvent(self, event: object) -> None:
        self._timer.stop()


def animated(widget: QWidget) -> bool:
    """Whether the system lets things move."""
    return bool(widget.style().styleHint(widget.style().StyleHint.SH_Widget_Animation_Duration, None, widget))


class LineKey(QWidget):
    """A legend swatch: a line in a plot colour with its dash pattern."""

    def __init__(self, role: str, dash: Sequence[float] = (), width: int = 18) -> None:
        super().__init__()
        self._role, self._dash = role, list(dash)
        self.setFixedSize(width, 12)
        theme.changed().connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pen = QPen(QColor(theme.colour(self._role)), 2)
        if self._dash:
            pen.setDashPattern(self._dash)
        painter.setPen(pen)
        painter.drawLine(QPointF(0, 6), QPointF(self.width(), 6))
