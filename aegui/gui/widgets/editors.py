"""Editors for single values. Each shows and returns plain values; checking is the form's work."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QStandardItem, QStandardItemModel, QWheelEvent
from PySide6.QtWidgets import QAbstractButton, QCheckBox, QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import row
from aegui.gui.widgets.field import FieldFrame, NumberValidator, Tone
from aegui.gui.widgets.knobs import (
    Knob,
    by_family,
    choice_help,
    choice_title,
    format_number,
    read_number,
    step_number,
)
from aegui.gui.widgets.painted import Segmented, Switch


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


class _LineEditor(Editor):
    """Base of what is typed. typing: not yet left."""

    def __init__(self, knob: Knob, parent: QWidget | None, *, stepper: bool) -> None:
        super().__init__(knob, parent)
        self.frame = FieldFrame(knob.unit, stepper, self)
        self.line = self.frame.line
        self.setLayout(row(self.frame))
        self.line.textEdited.connect(self._on_typed)
        self.line.left.connect(self._on_left)

    def inputs(self) -> list[QWidget]:
        return [self.line]

    def set_tone(self, tone: Tone) -> None:
        self.frame.set_tone(tone)

    def _show(self, text: str) -> None:
        self.typing = False
        if text != self.line.text():
            self.line.setText(text)
            self.line.setCursorPosition(0)

    def _on_typed(self) -> None:
        self.typing = True
        self.changed.emit()

    def _on_left(self) -> None:
        raise NotImplementedError


class NumberEditor(_LineEditor):
    """A number as text, so that 1e-4 stays 1e-4; empty where the field is optional."""

    def __init__(self, knob: Knob, parent: QWidget | None = None, *, stepper: bool = True) -> None:
        super().__init__(knob, parent, stepper=stepper)
        self.line.setValidator(NumberValidator(self.line))
        if knob.optional:
            self.line.setPlaceholderText("–")
        self._good: float | int | None = knob.default
        self._shown = ""
        self.line.stepped.connect(self.step)
        if self.frame.stepper:
            self.frame.stepper.stepped.connect(self.step)

    def raw(self) -> Any:
        text = self.line.text()
        if not text.strip():
            return None if self.knob.optional else ""
        return read_number(text, self.knob.whole)

    def set_raw(self, value: Any) -> None:
        if not isinstance(value, str) and value is not None:
            self._good = value
        self._shown = value if isinstance(value, str) else format_number(value)
        self._show(self._shown)

    def suggestion(self) -> str:
        return format_number(self._good)

    def step(self, up: bool) -> None:
        """One step up or down from the value shown, kept inside the limits."""
        value = self.raw()
        value = step_number(value, up, self.knob) if isinstance(value, int | float) else self._good
        if value is None:
            value = self.knob.low if self.knob.whole and self.knob.low is not None else 1.0
        self.line.setText(format_number(value))
        self.typing = False
        self._shown = self.line.text()
        self.changed.emit()

    def _on_left(self) -> None:
        self.typing = False
        if self.line.text() != self._shown:
            self._shown = self.line.text()
            self.ended.emit()


class TextEditor(_LineEditor):
    """A line of text."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent, stepper=False)

    def raw(self) -> Any:
        text = self.line.text()
        return None if self.knob.optional and not text.strip() else text

    def set_raw(self, value: Any) -> None:
        self._show(value or "")

    def suggestion(self) -> str:
        return str(self.knob.default or "")

    def _on_left(self) -> None:
        if self.typing:
            self.typing = False
            self.ended.emit()


class Combo(QComboBox):
    """A combo box that the wheel never changes; where its words have no room they end in dots."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)

    def add_heading(self, text: str) -> None:
        """Words above the entries that belong together; they cannot be chosen."""
        item = QStandardItem(text)
        item.setFlags(Qt.ItemFlag.NoItemFlags)
        item.setFont(theme.font(11, 600))
        model = self.model()
        assert isinstance(model, QStandardItemModel)
        model.appendRow(item)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # the page is scrolled, and brings the box under the mouse

    def initStyleOption(self, option: QStyleOptionComboBox) -> None:
        super().initStyleOption(option)
        box, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(box, option, field, self).width()
        option.currentText = self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideRight, room)


class ChoiceEditor(Editor):
    """One of a few: side by side when the words are short, else in a combo box."""

    def __init__(self, knob: Knob, parent: QWidget | None = None, *, combo: bool = False) -> None:
        super().__init__(knob, parent)
        titles = [knob.titles.get(str(choice)) or choice_title(choice) for choice in knob.choices]
        self.control: Combo | Segmented
        if not combo and len(titles) <= 3 and sum(map(len, titles)) <= 34:
            self.control = Segmented(titles)
            self.control.setFixedHeight(32)
            self.control.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            for place, choice in enumerate(knob.choices):
                self.control.button(place).setToolTip(choice_help(choice))
            self.control.changed.connect(self._on_chosen)
        else:
            self.control = Combo(self)
            for family, places in by_family(knob.choices):
                if family:
                    self.control.add_heading(family)
                for place in places:
                    self.control.addItem(titles[place], place)
                    tip = choice_help(knob.choices[place])
                    self.control.setItemData(self.control.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
            self.control.activated.connect(self._on_chosen)
        self.setLayout(row(self.control))

    def index(self) -> int:
        return self.control.current if isinstance(self.control, Segmented) else int(self.control.currentData())

    def set_index(self, index: int) -> None:
        if isinstance(self.control, Segmented):
            self.control.set_current(index)
        else:
            self.control.setCurrentIndex(self.control.findData(index))

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
        self.ended.emit()


class CheckBox(QCheckBox):
    """A check box whose whole row is the target."""

    def hitButton(self, position: QPoint) -> bool:
        return self.rect().contains(position)


class CheckEditor(Editor):
    """Yes or no, as a check box whose own words are the label."""

    def __init__(self, knob: Knob, parent: QWidget | None = None, *, box: QAbstractButton | None = None) -> None:
        super().__init__(knob, parent)
        self.box = box or CheckBox(knob.title)
        self.box.setToolTip(knob.help)
        self.setLayout(row(self.box))
        self.box.clicked.connect(self.changed)
        self.box.clicked.connect(self.ended)

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
