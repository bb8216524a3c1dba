"""A form made from the fields of a Spec class. It knows no field by name.

`Fields` holds one editor and one row per knob; plain nested Specs are flattened, so that a page can put the rows
wherever it likes. `Form` is the root: it checks all values at once and sends every problem to the innermost row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pydantic import ValidationError
from PySide6.QtCore import QObject, Qt, Signal

from aegui.gui.widgets.editors import CheckEditor, Editor
from aegui.gui.widgets.field import Tone
from aegui.gui.widgets.fields import Fields
from aegui.gui.widgets.knobs import Knob
from aegui.gui.widgets.rows import CheckRow, Fold, Place, Row, Where, into_view
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
        self._preset_values: Any = None
        self._hidden: dict[str, Any] = {}
        self.changed.connect(self._check)
        self.ended.connect(self._check)

    def value(self) -> Any:
        """The Spec as edited, or None."""
        return self._value

    def set_value(self, value: Spec, preset: Spec | None = None) -> None:
        """Show a Spec; preset: what changes are marked against."""
        self._preset = preset or self._preset
        self._preset_values = self._preset.model_dump(mode="json") if self._preset else None
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
        title = str(self.spec.model_fields[prefix[0]].title)
        inside = [a for a in self.rows if a[: len(prefix)] == prefix and isinstance(self.editors[a], CheckEditor)]
        return CheckRow(title, [self.row(*address) for address in inside])

    def say(self, error: Problem | SpecError) -> str:
        """A problem in a few words with the name of its field, for a link."""
        found = self.locate(error.where)
        if not found:
            return error.message
        words = self._words(error, found[0])
        if f"“{found[0].name}”" in words:
            return words
        return f"{found[0].name}: {words[:1].lower()}{words[1:]}"

    def reveal(self, where: Where) -> None:
        """Scroll to a problem's field and put the focus into it."""
        found = self.locate(where)
        if not found:
            return
        row = found[0]
        self._unfold(row)
        into_view(row.editor)
        if inputs := row.editor.inputs():
            inputs[0].setFocus(Qt.FocusReason.ShortcutFocusReason)

    @staticmethod
    def _unfold(row: Place) -> None:
        parent = row.editor.parentWidget()
        while parent is not None:
            if isinstance(parent, Fold):
                parent.unfold(True)
            parent = parent.parentWidget()

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
        tip = f" Try {good}." if good else " Or leave it empty." if row.editor.knob.optional else ""
        return own[:1].upper() + own[1:] + tip

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
            if tone == "err" and row.tone != "err":
                self._unfold(row)
            row.show_problem(tone, words)
        self._mark()

    def _mark(self) -> None:
        if self._preset_values is not None:
            self.mark(self._preset_values)
