"""Small building blocks in the looks of the design: labels, buttons, rows, cards, notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from aegui.gui import theme

STRETCH = "stretch"
_ICON_ROLE = {"primary": "onAccent", "danger": "err", "link": "accentText", "chip": "text2"}
_RIGHT_ICONS = ("arrow-right", "chevron-down", "chevron-right")


def fill(layout: QBoxLayout, *items: Any) -> QBoxLayout:
    """Add widgets, layouts, (item, stretch) pairs, gaps (int) and STRETCH to a layout."""
    for item in items:
        stretch = 0
        if isinstance(item, tuple):
            item, stretch = item
        if item is None:
            continue
        if item == STRETCH:
            layout.addStretch(1)
        elif isinstance(item, int):
            layout.addSpacing(item)
        elif isinstance(item, QLayout):
            layout.addLayout(item, stretch)
        else:
            layout.addWidget(item, stretch)
    return layout


def row(*items: Any, margins: tuple[int, int, int, int] = (0, 0, 0, 0), gap: int = 8) -> QHBoxLayout:
    """A horizontal layout."""
    layout = QHBoxLayout()
    layout.setContentsMargins(*margins)
    layout.setSpacing(gap)
    fill(layout, *items)
    return layout


def column(*items: Any, margins: tuple[int, int, int, int] = (0, 0, 0, 0), gap: int = 8) -> QVBoxLayout:
    """A vertical layout."""
    layout = QVBoxLayout()
    layout.setContentsMargins(*margins)
    layout.setSpacing(gap)
    fill(layout, *items)
    return layout


def holder(layout: QLayout) -> QWidget:
    """A plain widget around a layout."""
    widget = QWidget()
    widget.setLayout(layout)
    return widget


def frame(layout: QLayout, **properties: object) -> QFrame:
    """A frame that style.qss dresses by its properties: card="plain", panel="left", row="1" …"""
    made = QFrame()
    made.setLayout(layout)
    for key, value in properties.items():
        made.setProperty(key, value)
    return made


def card(*items: Any, kind: str = "plain", padding: int = 16, gap: int = 8) -> QFrame:
    """A card with a column of items."""
    return frame(column(*items, margins=(padding, padding, padding, padding), gap=gap), card=kind)


def label(text: str = "", t: str = "", wrap: bool = False, buddy: QWidget | None = None) -> QLabel:
    """A label in a style of the type scale (`t` of style.qss)."""
    made = QLabel(text)
    made.setProperty("t", t)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if wrap:
        made.setWordWrap(True)
        made.setMinimumWidth(40)
    if buddy is not None:
        made.setBuddy(buddy)
    return made


def icon_label(name: str, size: int = 16, role: str = "text2") -> QLabel:
    """An icon that follows the theme."""
    made = QLabel()
    made.setFixedSize(size, size)
    theme.set_icon(made, name, role, size)
    return made


def button(
    text: str = "",
    kind: str = "default",
    icon: str = "",
    size: str = "",
    tip: str = "",
    name: str = "",
    clicked: Callable[[], Any] | None = None,
) -> QPushButton:
    """A push button. kind: primary, default, ghost, link, danger, icon, chip. size: "", "s", "l"."""
    made = QPushButton(text)
    made.setProperty("kind", kind)
    made.setProperty("size", size)
    made.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    made.setAutoDefault(False)
    made.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    if icon:
        theme.set_icon(made, icon, _ICON_ROLE.get(kind, "text2"))
        if icon in _RIGHT_ICONS and text:
            made.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
            made.setText(f"{text} ")
        elif text:
            made.setText(f" {text}")
    if tip:
        made.setToolTip(tip)
    made.setAccessibleName(name or text.replace("&", "").rstrip("…") or tip)
    if clicked is not None:
        made.clicked.connect(lambda _checked=False: clicked())
    return made


def chip(text: str, checked: bool = False, size: str = "", tip: str = "") -> QPushButton:
    """A choice among a few; put several into a QButtonGroup."""
    made = button(text, "chip", size=size, tip=tip)
    made.setCheckable(True)
    made.setChecked(checked)
    return made


def rule(vertical: bool = False, length: int = 20) -> QFrame:
    """A 1 px line; a vertical one has a length."""
    made = QFrame()
    made.setProperty("rule", "v" if vertical else "h")
    if vertical:
        made.setFixedHeight(length)
    return made


def scroll(widget: QWidget) -> QScrollArea:
    """A vertical scroll area around a widget."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(widget)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area


class ElidedLabel(QLabel):
    """A label that elides (in the middle by default) and then shows the full text as its tooltip."""

    def __init__(self, text: str = "", t: str = "", mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle) -> None:
        super().__init__()
        self._mode = mode
        self.setProperty("t", t)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setAccessibleName(text)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        room = self.contentsRect()
        shown = QFontMetrics(self.font()).elidedText(self.text(), self._mode, room.width())
        self.setToolTip(self.text() if shown != self.text() else "")
        painter.setFont(self.font())
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(room, int(self.alignment()), shown)

    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())


class ClickCard(QFrame):
    """A card that is one button: mouse, Space, Enter."""

    clicked = Signal()

    def __init__(self, layout: QLayout, name: str, kind: str = "plain", description: str = "") -> None:
        super().__init__()
        self.setLayout(layout)
        self.setProperty("card", kind)
        self.setProperty("click", "1")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(name)
        self.setAccessibleDescription(description)

    def set_selected(self, selected: bool) -> None:
        """Tint and accent border."""
        theme.set_property(self, card="selected" if selected else "plain")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit()
        super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)


_NOTE_ICONS = {"info": "info", "ok": "circle-check", "warn": "triangle-alert", "err": "circle-x"}


class Note(QFrame):
    """A tinted note in place. tone: info, ok, warn, err. It stays as long as its cause does."""

    def __init__(self, tone: str = "info", text: str = "", title: str = "", icon: str = "") -> None:
        super().__init__()
        self._icon = QLabel()
        self._icon.setFixedSize(16, 16)
        self._title = label(title, "med", wrap=True)
        self._text = label(text, "cap1", wrap=True)
        # A layout without items would cap the width of the column it lies in, a hidden widget does not.
        self._links = holder(row(STRETCH, gap=12))
        self._links.hide()
        words = column(self._title, self._text, self._links, gap=4)
        self.setLayout(row(column(self._icon, STRETCH), (words, 1), margins=(12, 10, 12, 10), gap=10))
        self.show_text(tone, text, title, icon)

    def show_text(self, tone: str, text: str, title: str = "", icon: str = "") -> None:
        """Say something else."""
        theme.set_property(self, card=tone)
        theme.set_icon(self._icon, icon or _NOTE_ICONS[tone], tone)
        self._title.setText(title)
        self._title.setVisible(bool(title))
        self._text.setText(text)
        theme.set_property(self._text, t="cap" if title else "cap1")
        self._text.setVisible(bool(text))
        self.setAccessibleName(f"{title} {text}".strip())

    def add_action(self, widget: QWidget) -> None:
        """A link under the text."""
        layout = self._links.layout()
        assert isinstance(layout, QHBoxLayout)
        layout.insertWidget(layout.count() - 1, widget)
        self._links.show()
