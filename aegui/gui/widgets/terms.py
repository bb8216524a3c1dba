"""A list of terms of different kinds: name and meaning, the most important numbers in line, the rest folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from pydantic import ValidationError
from PySide6.QtWidgets import QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, column, label, row
from aegui.gui.widgets.editors import Editor
from aegui.gui.widgets.fields import Fields
from aegui.gui.widgets.knobs import Knob, by_family, choice_help, choice_title, knobs
from aegui.gui.widgets.lists import ListEditor
from aegui.gui.widgets.rows import Cell, Fold, Message, Place, Row, Whole
from aegui.gui.widgets.shares import SERIES, Dot, ShareBar

INDENT = 22
FIELD = 104


def inline(spec: Any) -> tuple[str, ...]:
    """The fields that stand beside the name: those the Spec names, else its first number."""
    first = next((knob.name for knob in knobs(spec) if knob.kind == "number"), None)
    return tuple(spec.inline) or ((first,) if first else ())


class Term(QWidget):
    """One item of the list."""

    def __init__(self, spec: Any, owner: TermsEditor) -> None:
        super().__init__(owner)
        self.owner = owner
        self.title = choice_title(spec)
        self.message = Message("", self)
        beside = inline(spec)

        def place(editor: Editor, name: str) -> Place:
            if editor.knob.name in beside:
                words = f"{self.title}, {editor.knob.title.lower()}"
                return Cell(editor, name, self.message, editor.knob.title if len(beside) > 1 else words)
            return Row(editor, name)

        self.fields = Fields(spec, self.title, self, place=place, later=lambda knob: knob.name not in beside)
        self.whole = Whole(next(iter(self.fields.editors.values())), self.title, self.message)
        self.fold = Fold(self._rest, more="")
        self.fields.completed.connect(self.fold.fill)
        self.mark = label("", "link")
        self.mark.setFixedWidth(12)
        self.help = label(choice_help(spec), "ter", wrap=True)
        self.badge: QLabel = label("", "cap") if owner.knob.ordered else Dot(SERIES[0])
        self.more = self._tool("sliders-horizontal", "Settings of", self._toggle)
        self.more.setCheckable(True)
        self.fold.unfolded.connect(self.more.setChecked)
        self.up = self._tool("chevron-up", "Move up", lambda: owner.shift(self.fields, -1))
        self.down = self._tool("chevron-down", "Move down", lambda: owner.shift(self.fields, 1))
        self.drop = self._tool("x", "Remove", lambda: owner.remove(self.fields))
        self._arrange()

    def _tool(self, icon: str, words: str, clicked: Callable[[], Any]) -> QPushButton:
        name = f"{words} {self.title}"
        return button(kind="icon", icon=icon, size="s", name=name, tip=name, clicked=clicked)

    def _arrange(self) -> None:
        name = label(self.title, "med")
        editors = list(self.fields.editors.values())
        words = column(row(name, self.mark, STRETCH, gap=4), self.help, gap=0)
        only: QWidget | None = None
        second = None
        if len(editors) == 1:
            only = editors[0]
            name.setBuddy(editors[0].inputs()[0])
            editors[0].setFixedWidth(theme.scaled(FIELD))
        elif editors:
            parts: list[Any] = []
            for editor in editors:
                parts.append(label(editor.knob.title, "sec", buddy=editor.inputs()[0]))
                editor.setMaximumWidth(theme.scaled(140))
                parts.append((editor, 1))
            second = row(*parts, margins=(INDENT, 0, 0, 0))
            second.addStretch()
        head = row(self.badge, (words, 1), only, row(self.more, self.up, self.down, self.drop, gap=0))
        below = row((column(self.message, self.fold, gap=8), 1), margins=(INDENT, 0, 0, 0))
        self.setLayout(column(head, second, below, gap=6))
        self.more.setHidden(self.fields.whole)

    def _rest(self) -> list[Place]:
        self.fields.complete()
        return [place for place in self.fields.rows.values() if isinstance(place, Row)]

    def _toggle(self) -> None:
        self.fold.unfold(self.fold.body.isHidden())

    def show_place(self, index: int, count: int, enough: bool, least: str) -> None:
        """Where it stands in the list, and what can be done with it."""
        if isinstance(self.badge, Dot):
            self.badge.set_role(SERIES[index % len(SERIES)])
        else:
            self.badge.setText(f"{index + 1}.")
        self.up.setHidden(not self.owner.knob.ordered or count < 2)
        self.down.setHidden(not self.owner.knob.ordered or count < 2)
        self.up.setEnabled(index > 0)
        self.down.setEnabled(index + 1 < count)
        self.drop.setEnabled(enough)
        self.drop.setToolTip(f"Remove {self.title}" if enough else least)

    def describe(self) -> None:
        """Say in words which of the folded settings are not the usual ones."""
        words = choice_help(self.fields.spec)
        try:
            value = self.fields.spec.model_validate(self.fields.raw())
        except ValidationError:
            pass
        else:
            shown = {address[0] for address, place in self.fields.rows.items() if isinstance(place, Cell)}
            special = [said for name, said in value.changes().items() if name not in shown]
            words = " · ".join([words, *special])
        self.help.setText(words)


class TermsEditor(ListEditor):
    """Terms below each other. One bar compares them, unless it is their order that counts."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.terms: list[Term] = []
        self._spare: dict[Any, list[Term]] = {}  # taken out, to be used again
        self.bar = ShareBar(self)
        self.bar.setHidden(knob.ordered)
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.add_button.setMenu(self.menu)
        self._outer = QVBoxLayout(self)
        self._outer.setContentsMargins(0, 0, 0, 0)
        self._outer.setSpacing(8)
        self._outer.addWidget(self.bar)
        self._outer.addWidget(self.message)

    def _rebuild(self, classes: list[Any]) -> None:
        for term in self.terms:
            self._outer.removeWidget(term)
            self._spare.setdefault(term.fields.spec, []).append(term)
        self.terms = []
        for index, spec in enumerate(classes):
            spare = self._spare.get(spec)
            term = spare.pop(0) if spare else self._make(spec)
            self._outer.insertWidget(index, term)
            term.show()
            self.terms.append(term)
        for left in self._spare.values():
            for term in left:
                term.hide()
                term.fold.unfold(False)
        self.items = [term.fields for term in self.terms]
        for index, term in enumerate(self.terms):
            term.show_place(index, len(self.terms), self.enough, self.least)
        order: list[QWidget] = [control for term in self.terms for control in _controls(term)]
        for before, after in pairwise(order):
            QWidget.setTabOrder(before, after)

    def inner_rows(self) -> Iterator[Place]:
        for term in self.terms:
            yield from (term.whole, *term.fields.all_rows())

    def _whole(self, fields: Fields) -> Place:
        return self.terms[self.items.index(fields)].whole

    def _make(self, spec: Any) -> Term:
        term = Term(spec, self)
        self._listen(term.fields)
        return term

    def _fill_menu(self) -> None:
        self.menu.clear()
        present = self.present()
        for family, places in by_family(self.knob.choices):
            if family:
                self.menu.addAction(family).setEnabled(False)
            for choice in (self.knob.choices[place] for place in places):
                action = self.menu.addAction(f"{choice_title(choice)}\t{choice_help(choice)}")
                action.setData(choice)
                action.setEnabled(choice.another(present) is not None)
                if not action.isEnabled():
                    action.setText(f"{choice_title(choice)}\tIn the list already")
                action.triggered.connect(lambda _=False, choice=choice: self.append(choice))

    def offer(self, title: str) -> Any:
        """The menu's entry for a kind, as it stands when the menu opens."""
        self._fill_menu()
        return next(action for action in self.menu.actions() if action.text().partition("\t")[0] == title)

    def _refresh(self) -> None:
        shares, words = [], []
        for index, term in enumerate(self.terms):
            term.describe()
            number = next(iter(term.fields.editors.values())).raw() if term.fields.editors else None
            if isinstance(number, int | float) and number > 0:
                shares.append((float(number), SERIES[index % len(SERIES)]))
                words.append((term.title, float(number)))
        if not self.knob.ordered:
            total = sum(number for _, number in words) or 1.0
            self.bar.show_shares(shares, ", ".join(f"{name} {number / total:.0%}" for name, number in words))

    def _mark_item(self, fields: Fields, changed: bool) -> None:
        mark = self.terms[self.items.index(fields)].mark
        mark.setText("•" if changed else "")
        mark.setToolTip("Changed from the preset" if changed else "")


def _controls(term: Term) -> list[QWidget]:
    fields = [widget for editor in term.fields.editors.values() for widget in editor.inputs()]
    return [*fields, term.more, term.up, term.down, term.drop]
