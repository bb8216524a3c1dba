"""Editors for lists of Specs: terms of different kinds below each other, or equal items as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import button
from aegui.gui.widgets.editors import ChoiceEditor, Editor, NumberEditor, SwitchEditor
from aegui.gui.widgets.forms import Fields
from aegui.gui.widgets.knobs import Knob, choice_help, choice_title, humanise, knobs, tag_of
from aegui.gui.widgets.rows import Cell, Composite, Message, Place, Where
from aegui.spec import Spec

SERIES = ("c_den", "c_pre", "c_ref", "c_cls", "c_verm", "c_alt")


class Dot(QLabel):
    """A round mark in a series colour."""

    def __init__(self, role: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.role = role
        self.setFixedSize(10, 10)
        theme.changed().connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour(self.role))
        painter.drawEllipse(self.rect())


class ShareBar(QWidget):
    """How the weights of the terms compare."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shares: list[tuple[float, str]] = []
        self.setFixedHeight(8)
        theme.changed().connect(self.update)

    def show_shares(self, shares: list[tuple[float, str]], words: str) -> None:
        self.shares = shares
        self.setToolTip(words)
        self.setAccessibleName("Share of each term")
        self.setAccessibleDescription(words)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        total = sum(share for share, _ in self.shares)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        path = QPainterPath()
        path.addRoundedRect(QRectF(self.rect()), 4, 4)
        painter.setClipPath(path)
        painter.fillRect(self.rect(), theme.colour("track"))
        left = 0.0
        for share, role in self.shares:
            width = self.width() * share / total if total else 0
            painter.fillRect(
                QRectF(left, 0, max(0.0, width - (2 if left + width < self.width() - 1 else 0)), 8), theme.colour(role)
            )
            left += width


class _ListEditor(Composite):
    """What both lists share: items, add, remove."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.items: list[Fields] = []
        self.message = Message("", self)
        self._name = knob.title
        word = knob.title.split()[-1].lower().removesuffix("s")
        self.add_button = button(f"Add {word}", "link", "plus")
        self.word = word

    def inputs(self) -> list[QWidget]:
        return []

    def name_inputs(self, name: str) -> None:
        self._name = name

    def set_tone(self, tone: Any) -> None:
        """The list itself has no border; its message line speaks."""

    def inner_rows(self) -> Iterator[Place]:
        for fields in self.items:
            yield from fields.all_rows()

    def locate(self, where: Where) -> tuple[Place, Where] | None:
        if where and isinstance(where[0], int) and where[0] < len(self.items):
            fields, rest = self.items[where[0]], where[1:]
            tag = self.raw()[where[0]].get(self.knob.tag)
            return fields.locate(rest[1:] if rest and tag is not None and rest[0] == tag else rest)
        return None

    def raw(self) -> Any:
        return [self._item_raw(fields) for fields in self.items]

    def _item_raw(self, fields: Fields) -> dict[str, Any]:
        tag = {self.knob.tag: tag_of(fields.spec, self.knob.tag)} if self.knob.tag else {}
        return {**tag, **fields.raw()}

    def set_raw(self, value: Any) -> None:
        classes = [self._class(item) for item in value]
        if [fields.spec for fields in self.items] != classes:
            self._rebuild(classes)
        for fields, item in zip(self.items, value, strict=True):
            fields.set_raw(item)
        self._refresh()

    def mark(self, preset: Any) -> None:
        for fields in self.items:
            mine = self._item_raw(fields)
            self._mark_item(fields, mine not in preset)

    def append(self, spec: Any) -> None:
        """Add an item with its defaults."""
        fresh = spec.another(self._present())
        if fresh is not None:
            self.set_raw([*self.raw(), fresh.model_dump(mode="json")])
            self.changed.emit()

    def remove(self, index: int) -> None:
        values = self.raw()
        del values[index]
        self.set_raw(values)
        self.changed.emit()

    def _class(self, item: Mapping[str, Any]) -> Any:
        for choice in self.knob.choices:
            if not self.knob.tag or tag_of(choice, self.knob.tag) == item[self.knob.tag]:
                return choice
        raise KeyError(item)

    def _present(self) -> list[Spec]:
        """The items that are right as they stand."""
        found: list[Spec] = []
        for fields in self.items:
            with suppress(ValidationError):
                found.append(fields.spec.model_validate(self._item_raw(fields)))
        return found

    def _listen(self, fields: Fields) -> None:
        fields.changed.connect(self._on_changed)
        fields.ended.connect(self.ended)

    def _on_changed(self) -> None:
        self._refresh()
        self.changed.emit()

    def _remover(self, name: str, index: int) -> QPushButton:
        made = button(kind="icon", icon="x", name=f"Remove {name}")
        enough = len(self.items) > self.knob.minimum
        made.setEnabled(enough)
        made.setToolTip(f"Remove {name}" if enough else f"At least {self.knob.minimum} {self.word} is needed")
        made.clicked.connect(lambda: self.remove(index))
        return made

    def _rebuild(self, classes: list[Any]) -> None:
        raise NotImplementedError

    def _refresh(self) -> None:
        raise NotImplementedError

    def _mark_item(self, fields: Fields, changed: bool) -> None:
        raise NotImplementedError


class TermsEditor(_ListEditor):
    """Terms of different kinds: name and meaning, the first number in line, its further knobs below."""

    reordered = Signal()

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self._body: QWidget | None = None
        self._dots: dict[Fields, QLabel] = {}
        self.bar = ShareBar(self)
        self.menu = QMenu(self)
        self.add_button.setMenu(self.menu)
        self._outer = QVBoxLayout(self)
        self._outer.setContentsMargins(0, 0, 0, 0)
        self._outer.setSpacing(8)
        self._outer.addWidget(self.bar)
        self._outer.addWidget(self.message)

    def _rebuild(self, classes: list[Any]) -> None:
        if self._body is not None:
            self._body.hide()
            self._body.deleteLater()
        self.message.forget()
        self._body = QWidget(self)
        self.items = [Fields(choice, choice_title(choice), self._body) for choice in classes]
        self._dots = {}
        layout = QVBoxLayout(self._body)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for index, fields in enumerate(self.items):
            self._listen(fields)
            layout.addWidget(self._term(fields, index))
        self._outer.insertWidget(0, self._body)
        self.menu.clear()
        for choice in self.knob.choices:
            if choice not in classes:
                action = self.menu.addAction(choice_title(choice))
                action.setToolTip(choice_help(choice))
                action.triggered.connect(lambda _=False, choice=choice: self.append(choice))
        self.add_button.setEnabled(not self.menu.isEmpty())
        self.add_button.setToolTip("" if self.add_button.isEnabled() else "All terms are in use")

    def _term(self, fields: Fields, index: int) -> QWidget:
        box = QWidget(self._body)
        title = choice_title(fields.spec)
        name = QLabel(title, box)
        name.setProperty("t", "med")
        mark = QLabel(box)
        mark.setProperty("t", "link")
        mark.setFixedWidth(12)
        self._dots[fields] = mark
        sub = QLabel(choice_help(fields.spec), box)
        sub.setProperty("t", "ter")
        sub.setWordWrap(True)
        heading = QHBoxLayout()
        heading.setSpacing(4)
        heading.addWidget(name)
        heading.addWidget(mark)
        heading.addStretch(1)
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addLayout(heading)
        words.addWidget(sub)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(10)
        head.addWidget(Dot(SERIES[index % len(SERIES)], box))
        head.addLayout(words, 1)
        outer = QVBoxLayout(box)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(6)
        outer.addLayout(head)
        first = next((a for a, editor in fields.editors.items() if isinstance(editor, NumberEditor)), None)
        for address, row in list(fields.rows.items()):
            if address == first:
                editor = row.editor
                editor.setParent(box)
                editor.setFixedWidth(theme.scaled(104))
                name.setBuddy(editor.inputs()[0])
                fields.rows[address] = Cell(editor, f"{title}, {editor.knob.title.lower()}", self.message, title)
                head.addWidget(editor)
                if isinstance(row, QWidget):
                    row.deleteLater()
            else:
                assert isinstance(row, QWidget)
                below = QHBoxLayout()
                below.setContentsMargins(20, 0, 40, 0)
                below.addWidget(row)
                outer.addLayout(below)
        head.addWidget(self._remover(title, index))
        return box

    def _refresh(self) -> None:
        shares, words = [], []
        for index, fields in enumerate(self.items):
            first = next((e for e in fields.editors.values() if isinstance(e, NumberEditor)), None)
            number = first.raw() if first else None
            if isinstance(number, int | float) and number > 0:
                shares.append((float(number), SERIES[index % len(SERIES)]))
                words.append((choice_title(fields.spec), float(number)))
        total = sum(number for _, number in words) or 1.0
        self.bar.show_shares(shares, ", ".join(f"{name} {number / total:.0%}" for name, number in words))

    def _mark_item(self, fields: Fields, changed: bool) -> None:
        self._dots[fields].setText("•" if changed else "")
        self._dots[fields].setToolTip("Changed from the preset" if changed else "")


class TableEditor(_ListEditor):
    """Equal items as rows of a small table, one column per knob."""

    def __init__(self, knob: Knob, parent: QWidget | None = None) -> None:
        super().__init__(knob, parent)
        self.spec = knob.choices[0]
        self.columns = knobs(self.spec)
        self._facts_title = ""
        self._facts: Mapping[str, str] = {}
        self._facts_labels: list[QLabel] = []
        self._marks: list[QLabel] = []
        self._body: QWidget | None = None
        self._outer = QVBoxLayout(self)
        self._outer.setContentsMargins(0, 0, 0, 0)
        self._outer.setSpacing(8)
        self._outer.addWidget(self.message)
        self.add_button.clicked.connect(lambda: self.append(self.spec))

    def set_facts(self, title: str, facts: Mapping[str, str]) -> None:
        """A read-only column beside the first one, by the first column's value."""
        self._facts_title, self._facts = title, facts
        values = self.raw()
        self._rebuild([self.spec] * len(values))
        self.set_raw(values)

    def _rebuild(self, classes: list[Any]) -> None:
        if self._body is not None:
            self._body.hide()
            self._body.deleteLater()
        self.message.forget()
        self._body = QWidget(self)
        self.items = [Fields(choice, "", self._body) for choice in classes]
        self._facts_labels, self._marks = [], []
        grid = QGridLayout(self._body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(8)
        heads: list[tuple[str, str]] = [(column.title, column.help) for column in self.columns]
        if self._facts:
            heads.insert(1, (self._facts_title, ""))
        for place, (title, help) in enumerate(heads):
            head = QLabel(title, self._body)
            head.setProperty("t", "th")
            head.setToolTip(help)
            grid.addWidget(head, 0, place)
        for index, fields in enumerate(self.items):
            self._listen(fields)
            self._fill(grid, fields, index, len(heads))
        grid.setColumnStretch(len(heads) + 1, 1)
        self._outer.insertWidget(0, self._body)

    def _fill(self, grid: QGridLayout, fields: Fields, index: int, width: int) -> None:
        place = 0
        for address, row in list(fields.rows.items()):
            editor: Editor = row.editor
            if editor.knob.kind == "switch":
                editor = SwitchEditor(editor.knob)
            elif editor.knob.kind == "choice":
                editor = ChoiceEditor(editor.knob, combo=True)
            if editor is not row.editor:
                editor.changed.connect(fields.changed)
                fields.editors[address] = editor
            editor.setParent(self._body)
            if isinstance(editor, NumberEditor):
                editor.setMinimumWidth(theme.scaled(104))
                editor.setMaximumWidth(theme.scaled(150))
            elif editor.knob.kind == "choice":
                editor.setMinimumWidth(theme.scaled(104))
            fields.rows[address] = Cell(editor, editor.knob.title, self.message)
            if isinstance(row, QWidget):
                row.deleteLater()
            grid.addWidget(editor, index + 1, place)
            place += 1
            if place == 1 and self._facts:
                fact = QLabel(self._body)
                fact.setProperty("t", "ter")
                self._facts_labels.append(fact)
                grid.addWidget(fact, index + 1, place)
                place += 1
        mark = QLabel(self._body)
        mark.setProperty("t", "link")
        mark.setFixedWidth(12)
        self._marks.append(mark)
        grid.addWidget(mark, index + 1, width)
        grid.addWidget(self._remover(f"{self.word} {index + 1}", index), index + 1, width + 2)

    def _refresh(self) -> None:
        first = self.columns[0].name
        for index, fields in enumerate(self.items):
            key = str(fields.raw()[first])
            for row in fields.rows.values():
                row.name = f"{humanise(key)}, {row.editor.knob.title.lower()}"
                row.editor.name_inputs(row.name)
                if isinstance(row, Cell):
                    row.words = row.name
            if self._facts_labels:
                self._facts_labels[index].setText(self._facts.get(key, ""))

    def _mark_item(self, fields: Fields, changed: bool) -> None:
        mark = self._marks[self.items.index(fields)]
        mark.setText("•" if changed else "")
        mark.setToolTip("Changed from the preset" if changed else "")

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()
