"""One ring that follows the keyboard focus; the mouse never shows it."""

from __future__ import annotations

from collections.abc import Iterator

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QLineEdit, QWidget

from aegui.gui import theme
from aegui.gui.widgets.viewport import Viewport

_KEYS = (Qt.Key.Key_Tab, Qt.Key.Key_Backtab, Qt.Key.Key_F6)
_ARROWS = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Right)


class FocusRing(QWidget):
    """2 px ring with a 2 px gap around the focused widget of a window."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()
        self._by_keyboard = False
        self._target: QWidget | None = None
        self._follow = QTimer(self)  # scrolling moves a widget without telling it
        self._follow.setInterval(60)
        self._follow.timeout.connect(self._place)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._focus_changed)

    def watch(self) -> None:
        """Listen to the window's input, once it is on the screen (a filter on the application sees every event)."""
        handle = self.window().windowHandle()
        if handle is not None:
            handle.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.KeyPress:
            key = event.key()  # type: ignore[attr-defined]
            if key in _KEYS or key in _ARROWS:
                self._by_keyboard = True
        elif kind == QEvent.Type.MouseButtonPress:
            self._by_keyboard = False
            self.hide()
            self._follow.stop()
        return False

    def _focus_changed(self, _old: QWidget | None, new: QWidget | None) -> None:
        # A viewport has its own frame and a field its own border.
        wanted = (
            self._by_keyboard
            and new is not None
            and new.window() is self.window()
            and not isinstance(new, Viewport | QLineEdit)
        )
        self._target = new if wanted else None
        if wanted:
            self._place()
            self._follow.start()
        else:
            self.hide()
            self._follow.stop()

    def _place(self) -> None:
        target = self._target
        if target is None or not target.isVisible():
            self.hide()
            return
        window = self.window()
        place = QRect(target.mapTo(window, QPoint(0, 0)), target.size()).adjusted(-4, -4, 4, 4)
        for part in _ancestors(target):
            if isinstance(part.parentWidget(), QAbstractScrollArea):  # its viewport: beyond it stand other things
                place &= QRect(part.mapTo(window, QPoint(0, 0)), part.size())
        if place.isEmpty():
            self.hide()
            return
        self.setGeometry(place & window.rect())
        self.show()
        self.raise_()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.colour("focus"), 2))
        chip = self._target is not None and self._target.property("kind") == "chip"
        round_ = 18 if chip else 9
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), round_, round_)


def _ancestors(widget: QWidget) -> Iterator[QWidget]:
    parent = widget.parentWidget()
    while parent is not None:
        yield parent
        parent = parent.parentWidget()
