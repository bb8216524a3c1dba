"""Help for a page, the keyboard table, and what the program is made of."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QGridLayout, QTextBrowser, QWidget

from aegui import __version__, paths
from aegui.gui.bars import RESEARCH
from aegui.gui.dialogs import Answer, Dialog
from aegui.gui.pages.base import Page
from aegui.gui.widgets.basic import STRETCH, holder, label, row
from aegui.gui.widgets.painted import KeyCap

KEYS = (
    ("Everywhere", ""),
    ("Ctrl 1 … 5", "go to a step"),
    ("Ctrl O", "open a folder"),
    ("Ctrl S", "save the project"),
    ("Ctrl Z", "undo roles, recipe, regions"),
    ("Ctrl Enter", "the page's main action"),
    ("Ctrl .", "pause or resume"),
    ("F6", "next region of the window"),
    ("F1", "help for this page"),
    ("In an image", ""),
    ("1 … 9", "window presets"),
    ("↑ ↓ · wheel", "one slice"),
    ("PgUp PgDn", "ten slices"),
    ("Home End", "first, last slice"),
    ("Right-drag", "window and level"),
    ("Middle-drag", "move the picture"),
    ("Ctrl wheel", "zoom"),
    ("R", "whole picture"),
)


def help_dialog(window: QWidget, page: Page, guide: Callable[[], object]) -> Dialog:
    """What this page is for. guide: opens the user guide."""
    dialog = Dialog(window, page.title, "circle-question-mark")
    for part in (page.help or "This page has no help text.").split("\n\n"):
        dialog.body.addWidget(label(part, "sec", wrap=True))
    dialog.body.addWidget(label(RESEARCH, "ter"))
    keys = Answer("Keyboard", lambda: keyboard_dialog(window), "ghost")
    dialog.add_answers([Answer("Close"), Answer("User guide", guide), keys])
    dialog.open()
    return dialog


def keyboard_dialog(window: QWidget) -> Dialog:
    """The keys."""
    dialog = Dialog(window, "Keyboard", "keyboard")
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(6)
    column, line = -2, 0
    for keys, words in KEYS:
        if not words:
            column, line = column + 2, 0
            grid.addWidget(label(keys, "h3"), line, column, 1, 2)
        else:
            grid.addWidget(holder(row(KeyCap(keys), STRETCH)), line, column)
            grid.addWidget(label(words, "cap"), line, column + 1)
        line += 1
    dialog.body.addLayout(grid)
    dialog.body.addWidget(label("Single keys work only while an image has the focus.", "ter"))
    dialog.add_answers([Answer("Close")])
    dialog.open()
    return dialog


def about_dialog(window: QWidget) -> Dialog:
    """Version and licences."""
    dialog = Dialog(window, f"aegui {__version__}", "aperture")
    dialog.body.addWidget(label(f"Apache-2.0. {RESEARCH}.", "sec", wrap=True))
    texts = []
    for part, title in (("fonts", "Inter (SIL OFL 1.1)"), ("icons", "Lucide (ISC, part MIT)")):
        texts.append(f"{title}\n\n{paths.resource(part, 'LICENSE').read_text(encoding='utf-8')}")
    view = QTextBrowser()
    view.setPlainText("\n\n".join(texts))
    view.setAccessibleName("Licences")
    view.setFixedHeight(280)
    dialog.body.addWidget(view)
    dialog.add_answers([Answer("Close")])
    dialog.open()
    return dialog
