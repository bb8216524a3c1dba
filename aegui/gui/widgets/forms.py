"""A form made from the fields of a Spec class. It knows no field by name.

`Fields` holds one editor and one row per knob; plain nested Specs are flattened, so that a page can put the rows
wherever it likes. `Form` is the root: it checks all values at once and sends every problem to the innermost row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QWidget

from aegui.gui.widgets.basic import column
from aegui.gui.widgets.editors import CheckEditor, ChoiceEditor, Editor, NumberEditor, TextEditor
from aegui.gui.widgets.field import Tone
from aegui.gui.widgets.knobs import Address, Knob, choice_help, tag_of, walk
from aegui.gui.widgets.rows import CheckRow, Composite, Fold, Place, Row, Where
from aegui.spec import Spec, SpecError, problems


class Problem(Protocol):
    """What a check outside the form finds (workflow.Problem)."""

    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...
    @property
    def where(self) -> Where: ...
    @property
    def blocking(self) -> bool: ...


class Fields(QObject):
    """The editors and rows of one Spec class, without checks. changed, ended: from any editor.

    wanted: which knobs to show; None all. The others keep their values. place: what stands around an editor.
    """

    changed = Signal()
    ended = Signal()

    def __init__(
        self,
        spec: type[Spec],
        prefix: str = "",
        parent: QObject | None = None,
        wanted: Callable[[Knob], bool] | None = None,
        place: Callable[[Editor, str], Place] = Row,
    ) -> None:
        super().__init__(parent)
        self.spec = spec
        self.editors: dict[Address, Editor] = {}
        self.rows: dict[Address, Place] = {}
        for address, knob in walk(spec):
            if wanted is not None and not wanted(knob):
                continue
            editor = make_editor(knob)
            name = f"{prefix}, {knob.title.lower()}" if prefix else knob.title
            self.editors[address] = editor
            self.rows[address] = place(editor, name)
            editor.changed.connect(self.changed)
            editor.ended.connect(self.ended)

    def raw(self) -> dict[str, Any]:
        """Plain values, nested as the Spec is."""
        values: dict[str, Any] = {}
        for address, editor in self.editors.items():
            node = values
            for step in address[:-1]:
                node = node.setdefault(step, {})
            node[address[-1]] = editor.raw()
        return values

    def set_raw(self, values: dict[str, Any]) -> None:
        for address, editor in self.editors.items():
            node: Any = values
            for step in address:
                node = node[step]
            editor.set_raw(node)

    def locate(self, where: Where) -> tuple[Place, Where] | None:
        """The innermost row for a problem's address, and what is left of the address."""
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


class UnionEditor(Composite):
    """A choice among Specs; the chosen one's own rows stand below and are rebuilt when it changes."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.choice: ChoiceEditor = ChoiceEditor(knob)
        self.fields: Fields | None = None
        # What was typed under another choice comes back when that choice does.
        self._kept: dict[int, dict[str, Any]] = {}
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
        mine = self.raw()
        for address, row in self.fields.rows.items() if self.fields else ():
            row.set_changed(mine[self.knob.tag] == preset.get(self.knob.tag) and differs(mine, preset, address))

    def _on_choice(self) -> None:
        if self.fields:
            self._kept[self._index] = self.fields.raw()
        index = self.choice.index()
        chosen = self.knob.choices[index]
        self._show(index, self._kept.get(index) or chosen().model_dump(mode="json"))
        self.changed.emit()

    def _show(self, index: int, value: dict[str, Any]) -> None:
        if index != self._index:
            # Rebuilt, not stacked: a stack keeps the height of its tallest page.
            if self._body is not None:
                self._body.hide()
                self._body.deleteLater()
            chosen = self.knob.choices[index]
            self._index = index
            self.fields = Fields(chosen, self._name, self)
            self.fields.changed.connect(self.changed)
            self.fields.ended.connect(self.ended)
            self._body = QWidget(self)
            rows = self.fields.rows.values()
            seldom = [row for row in rows if row.editor.knob.advanced]
            often = [row for row in rows if not row.editor.knob.advanced]
            self._body.setLayout(column(*often, Fold(seldom) if seldom else None, gap=10))
            self._outer.addWidget(self._body)
            self.setVisible(bool(self.fields.rows))
            self.described.emit(choice_help(chosen))
        assert self.fields is not None
        self.fields.set_raw(value)


def differs(mine: Any, preset: Any, address: Sequence[str]) -> bool:
    """Whether the values at an address are not the same."""
    for step in address:
        mine, preset = mine[step], preset.get(step) if isinstance(preset, dict) else None
    return bool(mine != preset)


def make_editor(knob: Knob) -> Editor:
    """The editor for a knob."""
    from aegui.gui.widgets.lists import TableEditor, TermsEditor

    match knob.kind:
        case "number":
            return NumberEditor(knob)
        case "switch":
            return CheckEditor(knob)
        case "choice":
            return ChoiceEditor(knob)
        case "text":
            return TextEditor(knob)
        case "union":
            return UnionEditor(knob)
        case "list":
            return TermsEditor(knob) if knob.tag else TableEditor(knob)
        case "spec":
            raise TypeError(f"{knob.name} is flattened by walk()")


class Form(Fields):
    """The whole form. checked: after every change, when value() (None while something is wrong) is up to date."""

    checked = Signal()

    def __init__(
        self,
        spec: type[Spec],
        parent: QObject | None = None,
        wanted: Callable[[Knob], bool] | None = None,
        place: Callable[[Editor, str], Place] = Row,
    ) -> None:
        super().__init__(spec, "", parent, wanted, place)
        self._value: Spec | None = None
        self._errors: list[SpecError] = []
        self._outside: list[Problem] = []
        self._preset: Spec | None = None
        self._hidden: dict[str, Any] = {}
        self.changed.connect(self._check)
        self.ended.connect(self._check)

    def value(self) -> Any:
        """The Spec as edited, or None."""
        return self._value

    def set_value(self, value: Spec, preset: Spec | None = None) -> None:
        """Show a Spec; preset: what changes are marked against."""
        self._preset = preset or self._preset
        values = value.model_dump(mode="json")
        # Fields without an editor keep the value they came with.
        self._hidden = {name: values[name] for name in values if name not in {a[0] for a in self.editors}}
        self.set_raw(values)
        self._outside = []
        self._check()

    def set_problems(self, found: Sequence[Problem]) -> None:
        """Show what checks outside the form found; they replace those of the last call."""
        self._outside = list(found)
        self._show()

    def errors(self) -> list[SpecError]:
        """What is wrong with the values themselves."""
        return self._errors

    def row(self, *address: str) -> Row:
        """The row of a knob, for placing it in a layout."""
        row = self.rows[address]
        assert isinstance(row, Row)
        return row

    def check_row(self, *prefix: str) -> CheckRow:
        """The check boxes of a nested Spec as one row."""
        spec: Any = self.spec
        for name in prefix:
            title, spec = spec.model_fields[name].title, spec.model_fields[name].annotation
        inside = [a for a in self.rows if a[: len(prefix)] == prefix and isinstance(self.editors[a], CheckEditor)]
        return CheckRow(title, [self.row(*address) for address in inside])

    def say(self, error: Problem | SpecError) -> str:
        """A problem in a few words with the name of its field, for a link."""
        found = self.locate(error.where)
        if not found:
            return error.message
        words = self._words(error, found[0])
        return f"{found[0].name}: {words[:1].lower()}{words[1:]}"

    def reveal(self, where: Where) -> None:
        """Scroll to a problem's field and put the focus into it."""
        found = self.locate(where)
        if not found:
            return
        row = found[0]
        parent = row.editor.parentWidget()
        while parent is not None:
            if isinstance(parent, Fold):
                parent.unfold(True)
            if hasattr(parent, "ensureWidgetVisible"):
                parent.ensureWidgetVisible(row.editor, 0, 48)
                break
            parent = parent.parentWidget()
        if inputs := row.editor.inputs():
            inputs[0].setFocus(Qt.FocusReason.ShortcutFocusReason)

    def refresh(self) -> None:
        """Show problems and marks again, after a row was rebuilt."""
        self._show()

    def _check(self) -> None:
        try:
            self._value = self.spec.model_validate(self._hidden | self.raw())
            self._errors = []
        except ValidationError as error:
            self._value = None
            found = problems(error)
            # A bad item makes its list too short as well; only the item is worth telling.
            inner = {e.where[:depth] for e in found for depth in range(len(e.where))}
            self._errors = [e for e in found if e.where not in inner] or found
        self._show()
        self.checked.emit()

    def _words(self, error: Problem | SpecError, row: Place) -> str:
        dotted = ".".join(str(part) for part in error.where)
        own = error.message.removeprefix(f"“{dotted}” ")
        if own == error.message:
            return f"{error.message} {error.hint}".strip()
        good = row.editor.suggestion()
        return own[:1].upper() + own[1:] + (f" Try {good}." if good else "")

    def _show(self) -> None:
        shown: dict[int, tuple[Place, Tone, str]] = {}
        for error in self._errors:
            found = self.locate(error.where)
            if found and id(found[0]) not in shown and not (found[0].editor.typing and found[0].tone != "err"):
                shown[id(found[0])] = (found[0], "err", self._words(error, found[0]))
        for problem in self._outside:
            found = self.locate(problem.where) if problem.where else None
            if found and id(found[0]) not in shown:
                words = f"{problem.message} {problem.hint}".strip()
                shown[id(found[0])] = (found[0], "err" if problem.blocking else "warn", words)
        for row in self.all_rows():
            _, tone, words = shown.get(id(row), (row, "", ""))
            row.show_problem(tone, words)
        self._mark()

    def _mark(self) -> None:
        if self._preset is None:
            return
        preset, mine = self._preset.model_dump(mode="json"), self.raw()
        for address, row in self.rows.items():
            row.set_changed(differs(mine, preset, address))
            if isinstance(row.editor, Composite):
                there: Any = preset
                for step in address:
                    there = there[step]
                row.editor.mark(there)
