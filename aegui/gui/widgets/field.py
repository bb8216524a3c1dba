"""The field that numbers and words are typed into: a line edit in a frame, with its unit and steppers."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QValidator, QWheelEvent
from PySide6.QtWidgets import QFrame, QLineEdit, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import label, row
from aegui.gui.widgets.knobs import read_number

Tone = Literal["", "err", "warn"]


class NumberValidator(QValidator):
    """Lets numbers be typed in the C locale, with an exponent; a comma becomes a point."""

    def validate(self, text: str, position: int) -> object:
        """See QValidator; only foreign characters are refused, the form explains the rest."""
        text = text.replace(",", ".")
        if not all(char in "0123456789.+-eE\u2212 " for char in text):
            return QValidator.State.Invalid, text, position
        acceptable = not text.strip() or not isinstance(read_number(text, whole=False), str)
        return QValidator.State.Acceptable if acceptable else QValidator.State.Intermediate, text, position


class _Line(QLineEdit):
    left = Signal()
    stepped = Signal(bool)
    focused = Signal(bool)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.focused.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.focused.emit(False)
        # QLineEdit.editingFinished stays silent when a validator is not satisfied, so it cannot be used.
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self.left.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.stepped.emit(event.key() == Qt.Key.Key_Up)
            event.accept()
            return
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not event.modifiers():
            self.left.emit()
        super().keyPressEvent(event)


class _Stepper(QWidget):
    """Two arrows: the upper half steps up, the lower half down."""

    stepped = Signal(bool)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedSize(28, 30)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        self._hover: bool | None = None
        self.setMouseTracking(True)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        role = "text3" if self.isEnabled() else "disabled"
        for up, name, top in ((True, "chevron-up", 4), (False, "chevron-down", 14)):
            shade = "text" if self._hover is up and self.isEnabled() else role
            painter.drawPixmap(8, top, theme.pixmap(name, shade, 12))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.stepped.emit(event.position().y() < self.height() / 2)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover = event.position().y() < self.height() / 2
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hover = None
        self.update()


class FieldFrame(QFrame):
    """The box around a line edit, with a unit and steppers inside it."""

    def __init__(self, unit: str, stepper: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self.line = _Line(self)
        self.line.setFrame(False)
        self.line.setMinimumWidth(20)
        self._tone: Tone = ""
        self._focus = False
        self.stepper = _Stepper(self) if stepper else None
        words = label(unit, "ter") if unit else None
        self.setLayout(row((self.line, 1), words, self.stepper, margins=(10, 0, 0 if stepper else 10, 0), gap=4))
        self.setFixedHeight(32)
        self.line.focused.connect(self._on_focus)
        self._restyle()

    def set_tone(self, tone: Tone) -> None:
        self._tone = tone
        self._restyle()

    def _on_focus(self, on: bool) -> None:
        self._focus = on
        self._restyle()

    def _restyle(self) -> None:
        state = "off" if not self.isEnabled() else self._tone or ("focus" if self._focus else "1")
        theme.set_property(self, fld=state)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.EnabledChange:
            self._restyle()
        super().changeEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        # Not even with the focus: a page that is scrolled brings the field under the mouse.
        event.ignore()
