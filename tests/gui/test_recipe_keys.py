"""The Recipe page by keyboard: what Ctrl+Z takes back, whose it is while a field has the focus, and Tab."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLineEdit

from aegui.gui.pages.recipe import RecipePage
from aegui.gui.window import Window
from tests.gui import generated

BATCH, PATCH = ("run", "batch_size"), ("run", "patch_size")


@pytest.fixture
def page(opened: Callable[..., Window], tmp_path) -> RecipePage:
    """In the whole window, whose keys these are."""
    generated.write_ct(tmp_path / "scans")
    window = opened(tmp_path / "scans")
    window.show_page_named("recipe")
    made = window.page
    assert isinstance(made, RecipePage)
    return made


def line(page: RecipePage, address: tuple[str, str]) -> QLineEdit:
    return page.editor.form.editors[address].line


def put(qtbot, page: RecipePage, address: tuple[str, str], text: str) -> None:
    """Typed over what is there, and left with Tab."""
    field = line(page, address)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Tab)


def undo(qtbot) -> None:
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)


def values(page: RecipePage) -> tuple[str, str]:
    return line(page, PATCH).text(), line(page, BATCH).text()


def test_a_field_that_was_only_entered_leaves_undo_to_the_window(page, qtbot):
    put(qtbot, page, PATCH, "96")
    assert line(page, BATCH).hasFocus()
    undo(qtbot)
    assert values(page) == ("64", "16")
    assert page.session.recipe.run.patch_size == 64


def test_what_was_typed_before_a_field_was_left_is_not_its_own_to_take_back(page, qtbot):
    put(qtbot, page, BATCH, "8")
    put(qtbot, page, PATCH, "96")
    assert line(page, BATCH).hasFocus()
    undo(qtbot)
    assert values(page) == ("64", "8")


def test_what_is_being_typed_is_taken_back_in_its_field(page, qtbot):
    put(qtbot, page, BATCH, "8")
    field = line(page, PATCH)
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, "96")
    undo(qtbot)
    assert values(page) == ("64", "8")


def test_a_wrong_value_is_taken_back_alone_with_what_was_right_on_the_way_to_it(page, qtbot):
    put(qtbot, page, BATCH, "8")
    put(qtbot, page, PATCH, "99999")
    undo(qtbot)
    assert values(page) == ("64", "8")
    assert not page.editor.form.errors()
    undo(qtbot)
    assert values(page) == ("64", "16")


def test_every_choice_is_a_step_of_its_own(page, qtbot):
    box = page.editor.form.editors[("targets",)].choice.control
    seen = [box.currentText()]
    for words in ("Neighbouring slices", "Repeats"):
        box.setCurrentText(words)
        box.activated.emit(box.currentIndex())
        seen.append(box.currentText())
    for words in reversed(seen[:-1]):
        page.session.undo.undo()
        assert box.currentText() == words


def test_every_term_that_is_added_is_a_step_of_its_own(page):
    losses = page.editor.form.editors[("losses",)]
    before = len(losses.terms)
    losses.offer("Huber").trigger()
    losses.offer("Charbonnier").trigger()
    page.session.undo.undo()
    assert len(losses.terms) == before + 1


def test_tab_leads_from_the_last_field_to_the_problem_and_back(page, qtbot):
    page.editor.more.unfold(True)
    QApplication.processEvents()
    put(qtbot, page, PATCH, "99999")
    last = page.editor.stops()[-1]
    last.setFocus()
    qtbot.keyClick(last, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is page.foot.first
    assert page.foot.first.text() == "Patch: must be at most 4096. Try 64."
    qtbot.keyClick(page.foot.first, Qt.Key.Key_Backtab)
    assert last.hasFocus()
    undo(qtbot)
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert page.foot.save.hasFocus()
    qtbot.keyClick(page.foot.save, Qt.Key.Key_Backtab)
    assert page.editor.stops()[-1].hasFocus()
