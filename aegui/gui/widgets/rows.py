"""Rows of a form: label, editor, and the message line where help gives way to a problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, column, fill, label, row
from aegui.gui.widgets.editors import CheckEditor, ChoiceEditor, Editor, NumberEditor
from aegui.gui.widgets.field import Tone

Where = tuple[str | int, ...]
LABEL = 136
ICONS = {"err": "circle-alert", "warn": "triangle-alert", "info": "info"}


class Message(QWidget):
    """Help below a field, or the problem that replaces it."""

    def __init__(self, help: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.help = help
        self._told: dict[Cell, tuple[Tone, str]] = {}
        self.icon = QLabel(self)
        self.icon.setFixedWidth(14)
        self.text = QLabel(self)
        self.text.setWordWrap(True)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.icon, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.text, 1)
        self.show_text("", "")

    def tell(self, who: Cell, tone: Tone, text: str) -> None:
        """What one of several fields has to say; the worst is shown, with the field's name."""
        self._told[who] = (tone, text)
        for wanted in ("err", "warn"):
            for cell, (its_tone, its_text) in self._told.items():
                if its_tone == wanted:
                    name = cell.words
                    self.show_text(its_tone, f"{name}: {its_text[:1].lower()}{its_text[1:]}" if name else its_text)
                    return
        self.show_text("", "")

    def forget(self) -> None:
        """The fields that spoke are gone."""
        self._told.clear()
        self.show_text("", "")

    def show_text(self, tone: Tone, text: str) -> None:
        self.icon.setVisible(bool(tone))
        if tone:
            theme.set_icon(self.icon, ICONS[tone], tone, 14)
        self.text.setText(text or self.help)
        theme.set_property(self.text, t=tone or "ter")
        self.setVisible(bool(text or self.help))


class Composite(Editor):
    """An editor that holds further rows.

    choice: what stands beside the label, the rest being below. described: one line about what was chosen.
    """

    described = Signal(str)

    add_button: QPushButton
    choice: ChoiceEditor | None = None

    def locate(self, where: Where) -> tuple[Place, Where] | None:
        """The innermost row for the rest of an address, or None: this editor's own row."""
        raise NotImplementedError

    def inner_rows(self) -> Iterator[Place]:
        """Every row inside."""
        raise NotImplementedError

    def mark(self, preset: Any) -> None:
        """Show which parts differ from the preset's plain value."""


class Fold(QWidget):
    """Seldom-used rows behind a link. Given a function, it makes them when they are first wanted.

    more: the link's words; without any, something else unfolds it.
    """

    unfolded = Signal(bool)

    def __init__(
        self, rows: Sequence[Any] | Callable[[], Sequence[Any]], more: str = "More", fewer: str = "Fewer"
    ) -> None:
        super().__init__()
        self._more, self._fewer = more, fewer
        self._make = rows if callable(rows) else lambda: rows
        self._made = False
        self.body = QWidget()
        self._rows = column(gap=10)
        self.body.setLayout(self._rows)
        self.link = button(more, "link", "chevron-down", clicked=lambda: self.unfold(self.body.isHidden()))
        if more:
            self.setLayout(column(row(self.link, STRETCH), self.body, gap=10))
        else:
            self.setLayout(column(self.body))
        self.unfold(False)
        if not callable(rows):
            self.fill()

    def fill(self) -> None:
        """Make the rows, unless that was done."""
        if not self._made:
            self._made = True
            fill(self._rows, *self._make())

    def unfold(self, on: bool) -> None:
        if on:
            self.fill()
        self.body.setHidden(not on)
        if not self._more:
            self.setHidden(not on)
        self.unfolded.emit(on)
        self.link.setText(f"{self._fewer if on else self._more} ")
        theme.set_icon(self.link, "chevron-up" if on else "chevron-down", "accentText")


class Row(QWidget):
    """Label, editor and message of one knob. dot: shown when the value differs from the preset's."""

    def __init__(self, editor: Editor, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        knob = editor.knob
        self.editor = editor
        self.name = name
        self.label = label("" if isinstance(editor, CheckEditor) else knob.title, "sec")
        self.dot = label("", "link")
        self.dot.setFixedWidth(12)
        self.message = Message(knob.help, self)
        self.tone: Tone = ""
        self.unavailable = ""
        self._told: tuple[Tone, str] | None = None
        editor.name_inputs(name)
        if inputs := editor.inputs():
            self.label.setBuddy(inputs[0])
        self.setLayout(self._list() if knob.kind == "list" else self._line())

    def _list(self) -> QVBoxLayout:
        """A list has a heading with its “Add” button, and the width of the form."""
        assert isinstance(self.editor, Composite)
        theme.set_property(self.label, t="h2")
        self.message.help = ""
        self.message.show_text("", "")
        self.head = row(self.label, self.dot, STRETCH, self.editor.add_button)
        return column(self.head, self.editor, self.message)

    def _line(self) -> QVBoxLayout:
        self.label.setMinimumWidth(theme.scaled(LABEL) - 12)
        self.label.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        control: Any = (self.editor, 1)
        body: QWidget | None = None
        if isinstance(self.editor, NumberEditor):
            self.editor.setFixedWidth(theme.scaled(140))
            control = row(self.editor, STRETCH)
        elif isinstance(self.editor, Composite) and self.editor.choice is not None:
            # Its own rows stand below at full width, so that all labels of a card line up.
            control, body = (self.editor.choice, 1), self.editor
            self.editor.described.connect(self._describe)
        self.inset = theme.scaled(LABEL) + 8
        below = row((self.message, 1), margins=(self.inset, 0, 0, 0))
        return column(row(row(self.label, self.dot, gap=0), control), below, body, gap=4)

    def _describe(self, help: str) -> None:
        self.message.help = help
        if not self.tone:
            self.message.show_text("", "")

    def set_changed(self, on: bool) -> None:
        if on == self.changed_from_preset():
            return
        self.dot.setText("•" if on else "")
        self.dot.setToolTip("Changed from the preset" if on else "")
        self.dot.setAccessibleName("Changed from the preset" if on else "")

    def changed_from_preset(self) -> bool:
        return bool(self.dot.text())

    def set_unavailable(self, reason: str) -> None:
        """Switch it off, saying why in place of its help; with no reason, on again. Then let the form refresh."""
        self.unavailable = reason
        for widget in (self.label, self.editor):
            widget.setEnabled(not reason)
        self.setToolTip(reason)
        self.message.help = reason or self.editor.knob.help
        self._told = None
        self.show_problem("", "")

    def show_problem(self, tone: Tone, text: str) -> None:
        if (tone, text) == self._told:
            return
        self._told = (tone, text)
        self.tone = tone
        self.message.show_text(tone, text)
        self.editor.set_tone(tone)
        for widget in self.editor.inputs():
            description = text or self.unavailable or self.editor.knob.help
            if widget.accessibleDescription() != description:
                widget.setAccessibleDescription(description)


class Cell:
    """A knob shown without its label, in a list; its problems go to a message line that it shares."""

    def __init__(self, editor: Editor, name: str, message: Message, words: str = "") -> None:
        self.editor = editor
        self.name = name
        self.message = message
        self.words = words or name
        self.tone: Tone = ""
        self.changed = False
        self._told: tuple[str, Tone, str] | None = None
        editor.name_inputs(name)

    def set_changed(self, on: bool) -> None:
        self.changed = on

    def show_problem(self, tone: Tone, text: str) -> None:
        if (self.words, tone, text) == self._told:
            return
        self._told = (self.words, tone, text)
        self.tone = tone
        self.editor.set_tone(tone)
        self.message.tell(self, tone, text)
        for widget in self.editor.inputs():
            widget.setAccessibleDescription(text or self.editor.knob.help)


class Whole(Cell):
    """An item of a list as a whole: its problems name no field and mark none. editor: where the focus goes."""

    def __init__(self, editor: Editor, name: str, message: Message) -> None:
        self.editor, self.name, self.words, self.message = editor, name, "", message
        self.tone: Tone = ""

    def show_problem(self, tone: Tone, text: str) -> None:
        self.tone = tone
        self.message.tell(self, tone, text)


Place = Row | Cell


class CheckRow(QWidget):
    """The yes-or-no knobs of one nested Spec side by side, under its title."""

    def __init__(self, title: str, rows: Sequence[Row]) -> None:
        super().__init__()
        head = label(title, "sec")
        head.setMinimumWidth(theme.scaled(LABEL))
        self.setAccessibleName(title)
        self.setLayout(row(head, *(place.editor for place in rows), STRETCH, gap=8))
        for place in rows:
            place.hide()


def into_view(widget: QWidget) -> None:
    """Scroll the page to it."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QScrollArea):
        parent = parent.parentWidget()
    if parent is not None:
        QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)  # what was added or unfolded has its place
        parent.ensureWidgetVisible(widget, 0, 48)
