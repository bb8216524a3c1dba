"""Editors for text that names something: any text with suggestions, or a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFileDialog, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import row
from aegui.gui.widgets.editors import Combo, Editor
from aegui.gui.widgets.field import Tone
from aegui.gui.widgets.knobs import Knob, choice_title

MODELS = "Models (*.aegui *.safetensors *.pt *.pth)"
ANOTHER = "Choose file…"


class SuggestEditor(Editor):
    """Suggestions in a combo box into which anything else can be typed."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.box = Combo(self)
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.addItems([choice_title(text) for text in knob.suggested])
        line = self.box.lineEdit()
        assert line is not None
        self.line = line
        self._good = knob.suggested[0] if knob.suggested else ""
        self.setLayout(row(self.box))
        self.line.textEdited.connect(self._on_typed)
        self.line.editingFinished.connect(self._on_left)
        self.box.activated.connect(self._on_chosen)

    def raw(self) -> Any:
        text = self.line.text().strip()
        place = self.box.findText(text, Qt.MatchFlag.MatchFixedString)
        return self.knob.suggested[place] if place >= 0 else text

    def set_raw(self, value: Any) -> None:
        self.typing = False
        self._good = value or self._good
        shown = choice_title(value) if value in self.knob.suggested else value
        if shown != self.line.text():
            self.box.setCurrentIndex(self.box.findText(shown, Qt.MatchFlag.MatchFixedString))
            self.box.setEditText(shown)
            self.line.deselect()
            self.line.setCursorPosition(0)
        self.box.setToolTip("" if value in self.knob.suggested else str(value))

    def suggestion(self) -> str:
        return self._good

    def inputs(self) -> list[QWidget]:
        return [self.box]

    def name_inputs(self, name: str) -> None:
        super().name_inputs(name)
        self.line.setAccessibleName(name)

    def set_tone(self, tone: Tone) -> None:
        theme.set_property(self.box, fld=tone)

    def _on_typed(self) -> None:
        self.typing = True
        self.changed.emit()

    def _on_left(self) -> None:
        if self.typing:
            self.typing = False
            self.ended.emit()

    def _on_chosen(self) -> None:
        self.typing = False
        self.changed.emit()
        self.ended.emit()


class ModelEditor(Editor):
    """A shipped model by its title, or a file."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        from aegui import models

        super().__init__(knob, parent)
        self.box = Combo(self)
        for card in models.cards():
            self.box.addItem(card.title, card.id)
        self.box.insertSeparator(self.box.count())
        self.box.addItem(ANOTHER)
        self._value = ""
        self.setLayout(row(self.box))
        self.box.activated.connect(self._on_chosen)

    def raw(self) -> Any:
        return self._value

    def set_raw(self, value: Any) -> None:
        self._value = str(value)
        place = self.box.findData(self._value)
        if place < 0:
            # Another file goes above the separator, with its name; the whole path is in the tooltip.
            place = self.box.count() - 2
            self.box.insertItem(place, Path(self._value).name, self._value)
            self.box.setItemData(place, self._value, Qt.ItemDataRole.ToolTipRole)
        self.box.setCurrentIndex(place)
        self.box.setToolTip(self._value if "/" in self._value or "\\" in self._value else "")

    def inputs(self) -> list[QWidget]:
        return [self.box]

    def set_tone(self, tone: Tone) -> None:
        theme.set_property(self.box, fld=tone)

    def ask(self) -> str:
        """A model file of the user's choice, or nothing."""
        start = str(Path(self._value).parent) if Path(self._value).is_absolute() else str(Path.home())
        return QFileDialog.getOpenFileName(self, self.knob.title, start, MODELS)[0]

    def _on_chosen(self) -> None:
        chosen = self.box.currentData() or self.ask()
        before = self._value
        self.set_raw(chosen or before)
        if self._value != before:
            self.changed.emit()
            self.ended.emit()


PICKERS = {"model": ModelEditor}
