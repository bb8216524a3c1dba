"""A list of equal items as a table: one row each, one column per knob, seldom-used knobs below the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QGridLayout, QLabel, QMenu, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, column, label, row
from aegui.gui.widgets.editors import ChoiceEditor, Editor, NumberEditor, SwitchEditor
from aegui.gui.widgets.fields import Fields, make_editor
from aegui.gui.widgets.knobs import Knob, choice_title, knobs
from aegui.gui.widgets.lists import ListEditor
from aegui.gui.widgets.rows import Cell, Fold, Place

NUMBER, TEXT, SELDOM = 84, 92, 104  # least widths of cells


def _editor(knob: Knob) -> Editor:
    """Narrower ones than beside a label."""
    match knob.kind:
        case "switch":
            return SwitchEditor(knob)
        case "choice":
            return ChoiceEditor(knob, combo=True)
        case "number" if knob.unit:
            return NumberEditor(knob, stepper=False)  # the unit needs its room; arrow keys step as well
    return make_editor(knob)


class _Line:
    """One row of the table: its fields, what is known about it, its menu."""

    def __init__(self, owner: TableEditor) -> None:
        self.owner = owner
        self.fields = Fields(owner.spec, "", owner, None, self._place, lambda knob: knob.advanced, _editor)
        self.fact = label("", "ter")
        self.mark = label("", "link")
        self.fold = Fold(self._rest, more="")
        self.fields.completed.connect(self.fold.fill)
        self.menu = QMenu(owner)
        self.tools = button(kind="icon", icon="ellipsis", size="s")
        self.tools.setMenu(self.menu)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.changed = False

    def _place(self, editor: Editor, name: str) -> Place:
        return Cell(editor, name, self.owner.message)

    def _rest(self) -> list[Any]:
        """The seldom-used fields side by side, with their names above them."""
        self.fields.complete()
        self.owner.name_cells()
        cells = [place for place in self.fields.rows.values() if place.editor.knob.advanced]
        boxes = []
        for cell in cells:
            cell.editor.setToolTip(cell.editor.knob.help)
            cell.editor.setFixedWidth(theme.scaled(SELDOM))
            head = label(cell.editor.knob.title, "cap", buddy=cell.editor.inputs()[0])
            head.setToolTip(cell.editor.knob.help)
            boxes.append(column(head, cell.editor, gap=4))
        return [row(*boxes, STRETCH, margins=(0, 0, 0, 6), gap=12)]

    def show(self, on: bool) -> None:
        """Use it, or keep it for later."""
        for widget in (*self.fields.editors.values(), self.fact, self.mark, self.tools):
            widget.setVisible(on)
        if not on:
            self.fold.unfold(False)

    def _fill_menu(self) -> None:
        self.menu.clear()
        owner, place, count = self.owner, self.owner.lines.index(self), len(self.owner.lines)
        hidden = self.fold.body.isHidden()
        self.menu.addAction("More settings" if hidden else "Fewer settings", lambda: self.fold.unfold(hidden))
        if owner.knob.ordered:
            up = self.menu.addAction("Move up", lambda: owner.shift(self.fields, -1))
            up.setEnabled(place > 0)
            down = self.menu.addAction("Move down", lambda: owner.shift(self.fields, 1))
            down.setEnabled(place + 1 < count)
        self.menu.addSeparator()
        remove = self.menu.addAction("Remove", lambda: owner.remove(self.fields))
        if not owner.enough:
            remove.setEnabled(False)
            remove.setText(f"Remove ({owner.least[:1].lower()}{owner.least[1:]})")


class TableEditor(ListEditor):
    """facts: a read-only column beside the first one."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.spec = knob.choices[0]
        self.columns = [column for column in knobs(self.spec) if not column.advanced]
        self.lines: list[_Line] = []
        self._facts: Mapping[str, str] = {}
        self._made: list[_Line] = []
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(0, 1)
        self._facts_head = self._head(1, "", "")
        for place, knob_ in enumerate(self.columns):
            self._head(place + bool(place), knob_.title, knob_.help)
        self.setLayout(column(self._grid, self.message))
        self.add_button.clicked.connect(lambda: self.append(self.spec))

    def set_facts(self, title: str, facts: Mapping[str, str]) -> None:
        """What is known about each item, by the first column's value."""
        self._facts = facts
        self._facts_head.setText(title if facts else "")
        self._refresh()

    def _head(self, place: int, title: str, help: str) -> QLabel:
        head = label(title, "th")
        head.setToolTip(help)
        self._grid.addWidget(head, 0, place)
        return head

    @property
    def facts(self) -> list[str]:
        """As shown."""
        return [line.fact.text() for line in self.lines]

    def _rebuild(self, classes: list[Any]) -> None:
        """Rows are kept: those too many are hidden until they are wanted again."""
        while len(self._made) < len(classes):
            line = _Line(self)
            self._listen(line.fields)
            self._put(line, 2 * len(self._made) + 1)
            self._made.append(line)
        self.lines = self._made[: len(classes)]
        self.items = [line.fields for line in self.lines]
        for line in self._made:
            line.show(line in self.lines)

    def _put(self, line: _Line, at: int) -> None:
        for place, editor in enumerate(line.fields.editors.values()):
            if isinstance(editor, NumberEditor):
                editor.setFixedWidth(theme.scaled(NUMBER))
            elif not isinstance(editor, SwitchEditor):
                editor.setMinimumWidth(theme.scaled(TEXT))
            self._grid.addWidget(editor, at, place + bool(place))
        self._grid.addLayout(row(line.fact, line.mark, gap=4), at, 1)
        self._grid.addWidget(line.tools, at, len(self.columns) + 1)
        self._grid.addWidget(line.fold, at + 1, 0, 1, len(self.columns) + 2)

    def name_cells(self) -> None:
        """Names of the fields for screen readers and messages: each begins with its row's."""
        first = self.columns[0].name
        for number, fields in enumerate(self.items, 1):
            key = choice_title(str(fields.raw()[first])) or f"{self.word.capitalize()} {number}"
            for cell in fields.rows.values():
                name = f"{key}, {cell.editor.knob.title.lower()}"
                if cell.name != name:
                    cell.name = name
                    cell.editor.name_inputs(name)
                if isinstance(cell, Cell):
                    cell.words = name

    def _refresh(self) -> None:
        self.name_cells()
        first = self.columns[0].name
        for line in self.lines:
            key = str(line.fields.raw()[first])
            words = self._facts.get(key, "")
            line.fact.setText(words)
            line.mark.setText("•" if line.changed else "")
            line.mark.setToolTip("Changed from the preset" if line.changed else "")
            name = f"More for {choice_title(key)}"
            line.tools.setAccessibleName(name)
            line.tools.setToolTip(name)

    def _mark_item(self, fields: Fields, changed: bool) -> None:
        self.lines[self.items.index(fields)].changed = changed
        self._refresh()

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()
