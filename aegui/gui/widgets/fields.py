"""The editors and rows of one Spec class, and the choice among several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import column
from aegui.gui.widgets.editors import CheckEditor, ChoiceEditor, Editor, NumberEditor, TextEditor
from aegui.gui.widgets.knobs import Address, Knob, choice_help, choice_title, tag_of, walk
from aegui.gui.widgets.pickers import PICKERS, SuggestEditor
from aegui.gui.widgets.rows import Composite, Fold, Place, Row, Where
from aegui.spec import Spec


def _at(values: Any, address: Sequence[str]) -> Any:
    for step in address:
        values = values[step]
    return values


class Fields(QObject):
    """The editors and rows of one Spec class, without checks. changed, ended: from any editor.

    wanted: which knobs to show; None all. The others keep their values. place: what stands around an editor.
    make: another way to editors. later: knobs whose editors are made only by `complete`; until then their values are
    kept as they came.
    """

    changed = Signal()
    ended = Signal()
    completed = Signal()

    def __init__(
        self,
        spec: type[Spec],
        prefix: str = "",
        parent: QObject | None = None,
        wanted: Callable[[Knob], bool] | None = None,
        place: Callable[[Editor, str], Place] = Row,
        later: Callable[[Knob], bool] | None = None,
        make: Callable[[Knob], Editor] | None = None,
    ) -> None:
        super().__init__(parent)
        self.spec = spec
        self.prefix = prefix
        self.editors: dict[Address, Editor] = {}
        self.rows: dict[Address, Place] = {}
        self._place = place
        self._editor = make or make_editor
        self._later: dict[Address, Knob] = {}
        self._values: dict[Address, Any] = {}  # of knobs without an editor yet
        self._order: list[Address] = []
        for address, knob in walk(spec):
            if wanted is not None and not wanted(knob):
                continue
            self._order.append(address)
            if later is not None and later(knob):
                self._later[address] = knob
            else:
                self._make(address, knob)

    def _make(self, address: Address, knob: Knob) -> None:
        editor = self._editor(knob)
        name = f"{self.prefix}, {knob.title.lower()}" if self.prefix else knob.title
        self.editors[address] = editor
        self.rows[address] = self._place(editor, name)
        editor.changed.connect(self.changed)
        editor.ended.connect(self.ended)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to edit."""
        return not self._order

    @property
    def whole(self) -> bool:
        """Whether every knob has its editor."""
        return not self._later

    def complete(self) -> None:
        """Make the editors that were left for later."""
        later, self._later = self._later, {}
        for address, knob in later.items():
            self._make(address, knob)
            self.editors[address].set_raw(self._values[address])
        if later:
            self.completed.emit()

    def raw(self) -> dict[str, Any]:
        """Plain values, nested as the Spec is."""
        values: dict[str, Any] = {}
        for address in self._order:
            node = values
            for step in address[:-1]:
                node = node.setdefault(step, {})
            node[address[-1]] = self._values[address] if address in self._later else self.editors[address].raw()
        return values

    def set_raw(self, values: dict[str, Any]) -> None:
        for address, editor in self.editors.items():
            editor.set_raw(_at(values, address))
        self._values = {address: _at(values, address) for address in self._later}

    def locate(self, where: Where) -> tuple[Place, Where] | None:
        """The innermost row for a problem's address, and what is left of the address."""
        if any(where[: len(address)] == address for address in self._later):
            self.complete()
        for address, row in self.rows.items():
            if where[: len(address)] == address:
                rest = where[len(address) :]
                inner = row.editor.locate(rest) if isinstance(row.editor, Composite) else None
                return inner or (row, rest)
        return None

    def all_rows(self) -> Iterator[Place]:
        """Every row, inner ones included."""
        for row in self.rows.values():
            yield row
            if isinstance(row.editor, Composite):
                yield from row.editor.inner_rows()

    def mark(self, preset: Any) -> None:
        """Mark what differs from a preset's plain values."""
        mine = self.raw()
        for address, row in self.rows.items():
            row.set_changed(differs(mine, preset, address))
            if isinstance(row.editor, Composite):
                row.editor.mark(_at(preset, address))


class UnionEditor(Composite):
    """A choice among Specs; the chosen one's own rows stand below and are rebuilt when it changes."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.choice: ChoiceEditor = ChoiceEditor(knob)
        self.fields: Fields | None = None
        # What was typed under another choice comes back when that choice does, and so do its rows.
        self._kept: dict[int, dict[str, Any]] = {}
        self._made: dict[int, tuple[Fields, QWidget]] = {}
        self._body: QWidget | None = None
        self._index = -1
        self._name = knob.title
        self._outer = column(margins=(0, 6, 0, 0))
        self.setLayout(self._outer)
        self.choice.changed.connect(self._on_choice)

    def raw(self) -> Any:
        values = self.fields.raw() if self.fields else {}
        return {self.knob.tag: tag_of(self.knob.choices[self._index], self.knob.tag), **values}

    def set_raw(self, value: Any) -> None:
        tags = [tag_of(choice, self.knob.tag) for choice in self.knob.choices]
        index = tags.index(value[self.knob.tag])
        self._kept.clear()
        self.choice.set_index(index)
        self._show(index, value)

    def inputs(self) -> list[QWidget]:
        return self.choice.inputs()

    def name_inputs(self, name: str) -> None:
        self._name = name
        self.choice.name_inputs(name)

    def locate(self, where: Where) -> tuple[Place, Where] | None:
        rest = where[1:] if where and where[0] == self.raw()[self.knob.tag] else where
        return self.fields.locate(rest) if self.fields and rest else None

    def inner_rows(self) -> Iterator[Place]:
        if self.fields:
            yield from self.fields.all_rows()

    def mark(self, preset: Any) -> None:
        if self.fields is None:
            return
        if self.raw()[self.knob.tag] == preset.get(self.knob.tag):
            self.fields.mark(preset)
        else:
            self.fields.mark(self.fields.raw())  # another kind is one change, marked at the choice

    def _on_choice(self) -> None:
        if self.fields:
            self._kept[self._index] = self.fields.raw()
        index = self.choice.index()
        chosen = self.knob.choices[index]
        self._show(index, self._kept.get(index) or chosen().model_dump(mode="json"))
        self.changed.emit()
        self.ended.emit()

    def _show(self, index: int, value: dict[str, Any]) -> None:
        if index != self._index:
            # Hidden, not stacked: a stack keeps the height of its tallest page.
            if self._body is not None:
                self._body.hide()
            self._index = index
            if index not in self._made:
                self._made[index] = self._make(self.knob.choices[index])
            self.fields, self._body = self._made[index]
            self._body.show()
            self.setVisible(not self.fields.empty)
            self.described.emit(choice_help(self.knob.choices[index]))
        assert self.fields is not None
        self.fields.set_raw(value)

    def _make(self, chosen: Any) -> tuple[Fields, QWidget]:
        fields = Fields(chosen, self._name, self, later=lambda knob: knob.advanced)
        fields.changed.connect(self.changed)
        fields.ended.connect(self.ended)
        body = QWidget(self)
        often = list(fields.rows.values())
        for place in often:
            if isinstance(place, Row) and place.editor.knob.kind == "list":
                theme.set_property(place.label, t="h3")

        def rest() -> list[Place]:
            fields.complete()
            return [row for row in fields.rows.values() if row not in often]

        fold = None if fields.whole else Fold(rest, f"More on {choice_title(chosen)}", "Fewer")
        if fold is not None:
            fields.completed.connect(fold.fill)
        body.setLayout(column(*often, fold, gap=10))
        self._outer.addWidget(body)
        return fields, body


def differs(mine: Any, preset: Any, address: Sequence[str]) -> bool:
    """Whether the values at an address are not the same."""
    for step in address:
        mine, preset = mine[step], preset.get(step) if isinstance(preset, dict) else None
    return bool(mine != preset)


def make_editor(knob: Knob) -> Editor:
    """The editor for a knob."""
    from aegui.gui.widgets.table import TableEditor
    from aegui.gui.widgets.terms import TermsEditor

    match knob.kind:
        case "number":
            return NumberEditor(knob)
        case "switch":
            return CheckEditor(knob)
        case "choice":
            return ChoiceEditor(knob)
        case "text" if knob.pick:
            return PICKERS[knob.pick](knob)
        case "text":
            return SuggestEditor(knob) if knob.suggested else TextEditor(knob)
        case "union":
            return UnionEditor(knob)
        case "list":
            return TermsEditor(knob) if knob.tag else TableEditor(knob)
        case "spec":
            raise TypeError(f"{knob.name} is flattened by walk()")
