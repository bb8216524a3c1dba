"""Editors for single values. Each shows and returns plain values; checking is the form's work."""

from __future__ import annotations

from typing import Any, Literal

from PySide6.QtCore import QEvent, QPoint, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QValidator, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QWidget,
)

from aegui.gui import theme
from aegui.gui.widgets.knobs import Knob, choice_help, choice_title, format_number, read_number, step_number
from aegui.gui.widgets.painted import Segmented, Switch

Tone = Literal["", "err", "warn"]


class Editor(QWidget):
    """Base of all editors. changed: another value; ended: the user left the field or pressed Return."""

    changed = Signal()
    ended = Signal()

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.knob = knob
        self.typing = False

    def raw(self) -> Any:
        """The plain value, or the text that could not be read as one."""
        raise NotImplementedError

    def set_raw(self, value: Any) -> None:
        """Show a plain value without telling that it changed."""
        raise NotImplementedError

    def inputs(self) -> list[QWidget]:
        """The widgets that take focus; the first is the label's buddy."""
        raise NotImplementedError

    def set_tone(self, tone: Tone) -> None:
        """Show by the border that something is wrong."""

    def suggestion(self) -> str:
        """A value that works, in words for “Try …”."""
        return ""

    def name_inputs(self, name: str) -> None:
        """Give the inputs their accessible names and descriptions."""
        unit = f" Unit: {self.knob.unit}." if self.knob.unit else ""
        for widget in self.inputs():
            widget.setAccessibleName(name)
            widget.setAccessibleDescription(f"{self.knob.help}.{unit}" if self.knob.help else unit.strip())


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
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 0, 0 if stepper else 10, 0)
        layout.setSpacing(4)
        layout.addWidget(self.line, 1)
        if unit:
            label = QLabel(unit)
            label.setProperty("t", "ter")
            layout.addWidget(label)
        self.stepper = _Stepper(self) if stepper else None
        if self.stepper:
            layout.addWidget(self.stepper)
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
        # A wheel over a field that was not clicked scrolls the page; it must never change a value.
        if self.stepper and self.line.hasFocus() and event.angleDelta().y():
            self.line.stepped.emit(event.angleDelta().y() > 0)
            event.accept()
        else:
            event.ignore()


class NumberEditor(Editor):
    """A number as text, so that 1e-4 stays 1e-4; empty where the field is optional."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.frame = FieldFrame(knob.unit, stepper=True, parent=self)
        self.line = self.frame.line
        self.line.setValidator(NumberValidator(self.line))
        if knob.optional:
            self.line.setPlaceholderText("–")
        self._good: float | int | None = knob.default
        self._shown = ""
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.frame)
        self.line.textEdited.connect(self._on_typed)
        self.line.left.connect(self._on_left)
        self.line.stepped.connect(self.step)
        if self.frame.stepper:
            self.frame.stepper.stepped.connect(self.step)

    def raw(self) -> Any:
        text = self.line.text()
        if not text.strip():
            return None if self.knob.optional else ""
        return read_number(text, self.knob.whole)

    def set_raw(self, value: Any) -> None:
        text = value if isinstance(value, str) else format_number(value)
        if not isinstance(value, str) and value is not None:
            self._good = value
        self.typing = False
        if text != self.line.text():
            self.line.setText(text)
            self.line.setCursorPosition(0)
        self._shown = text

    def inputs(self) -> list[QWidget]:
        return [self.line]

    def set_tone(self, tone: Tone) -> None:
        self.frame.set_tone(tone)

    def suggestion(self) -> str:
        return format_number(self._good)

    def step(self, up: bool) -> None:
        """One step up or down from the value shown, kept inside the limits."""
        value = self.raw()
        if not isinstance(value, int | float):
            value = self._good
        elif (stepped := step_number(value, up, self.knob)) != value:
            value = stepped
        if value is None:
            value = self.knob.low if self.knob.whole and self.knob.low is not None else 1.0
        self.line.setText(format_number(value))
        self.typing = False
        self._shown = self.line.text()
        self.changed.emit()

    def _on_typed(self) -> None:
        self.typing = True
        self.changed.emit()

    def _on_left(self) -> None:
        self.typing = False
        if self.line.text() != self._shown:
            self._shown = self.line.text()
            self.ended.emit()


class TextEditor(Editor):
    """A line of text."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.frame = FieldFrame(knob.unit, stepper=False, parent=self)
        self.line = self.frame.line
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.frame)
        self.line.textEdited.connect(self._on_typed)
        self.line.left.connect(self._on_left)

    def raw(self) -> Any:
        text = self.line.text()
        return None if self.knob.optional and not text.strip() else text

    def set_raw(self, value: Any) -> None:
        self.typing = False
        if (value or "") != self.line.text():
            self.line.setText(value or "")
            self.line.setCursorPosition(0)

    def inputs(self) -> list[QWidget]:
        return [self.line]

    def set_tone(self, tone: Tone) -> None:
        self.frame.set_tone(tone)

    def _on_typed(self) -> None:
        self.typing = True
        self.changed.emit()

    def _on_left(self) -> None:
        if self.typing:
            self.typing = False
            self.ended.emit()


class Combo(QComboBox):
    """A combo box that the wheel changes only while it has the focus."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class ChoiceEditor(Editor):
    """One of a few: side by side when the words are short, else in a combo box."""

    def __init__(self, knob: Knob, parent: QWidget | None = None, *, combo: bool = False) -> None:
        super().__init__(knob, parent)
        titles = [knob.titles.get(str(choice)) or choice_title(choice) for choice in knob.choices]
        self.control: Combo | Segmented
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        if not combo and len(titles) <= 3 and sum(map(len, titles)) <= 34:
            self.control = Segmented(titles)
            self.control.setFixedHeight(32)
            self.control.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            for place, choice in enumerate(knob.choices):
                self.control.button(place).setToolTip(choice_help(choice))
            self.control.changed.connect(self._on_chosen)
        else:
            self.control = Combo(self)
            for row, (choice, title) in enumerate(zip(knob.choices, titles, strict=True)):
                self.control.addItem(title)
                self.control.setItemData(row, choice_help(choice), Qt.ItemDataRole.ToolTipRole)
            self.control.activated.connect(self._on_chosen)
        layout.addWidget(self.control)

    def index(self) -> int:
        return self.control.current if isinstance(self.control, Segmented) else self.control.currentIndex()

    def set_index(self, index: int) -> None:
        if isinstance(self.control, Segmented):
            self.control.set_current(index)
        else:
            self.control.setCurrentIndex(index)

    def raw(self) -> Any:
        return self.knob.choices[self.index()]

    def set_raw(self, value: Any) -> None:
        self.set_index(self.knob.choices.index(value))

    def inputs(self) -> list[QWidget]:
        return [*self.control.group.buttons()] if isinstance(self.control, Segmented) else [self.control]

    def name_inputs(self, name: str) -> None:
        super().name_inputs(name)
        if isinstance(self.control, Segmented):
            self.control.setAccessibleName(name)
            for button in self.control.group.buttons():
                button.setAccessibleName(f"{name}: {button.text()}")

    def _on_chosen(self) -> None:
        self.changed.emit()


class _Check(QCheckBox):
    """A check box whose whole row is the target."""

    def hitButton(self, position: QPoint) -> bool:
        return self.rect().contains(position)


class CheckEditor(Editor):
    """Yes or no, as a check box whose own words are the label."""

    def __init__(self, knob: Knob, parent: QWidget | None = None, *, box: QAbstractButton | None = None) -> None:
        super().__init__(knob, parent)
        self.box = box or _Check(knob.title)
        self.box.setToolTip(knob.help)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        self.box.clicked.connect(self.changed)

    def raw(self) -> Any:
        return self.box.isChecked()

    def set_raw(self, value: Any) -> None:
        self.box.setChecked(bool(value))

    def inputs(self) -> list[QWidget]:
        return [self.box]


class SwitchEditor(CheckEditor):
    """Yes or no in a table cell."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent, box=Switch())
