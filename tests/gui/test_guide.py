"""The user guide: its tables are made from what the program does, and the window shows and finds everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt, QUrl
from PySide6.QtGui import QTextCursor, QTextTable
from PySide6.QtWidgets import QPushButton

from aegui.gui import guide_text, theme
from aegui.gui.dialogs import Dialog
from aegui.gui.guide import GuideWindow
from aegui.gui.window import CHAPTERS
from aegui.imaging import OutputRules
from aegui.imaging.dicom.kinds import KINDS
from aegui.imaging.files import images, volumes
from aegui.recipes.describe import sections


@pytest.fixture
def guide(themed, qtbot) -> GuideWindow:
    made = GuideWindow()
    qtbot.addWidget(made)
    made.show()
    return made


def tables(guide: GuideWindow) -> list[list[list[str]]]:
    found = [one for one in guide.text.document().rootFrame().childFrames() if isinstance(one, QTextTable)]
    return [[[words(table, y, x) for x in range(table.columns())] for y in range(table.rows())] for table in found]


def words(table: QTextTable, y: int, x: int) -> str:
    cell = table.cellAt(y, x)
    cursor = cell.firstCursorPosition()
    cursor.setPosition(cell.lastCursorPosition().position(), QTextCursor.MoveMode.KeepAnchor)
    return cursor.selectedText()


def test_the_files_hold_the_tables_as_they_are_now():
    for file in guide_text.files():
        text = file.read_text(encoding="utf-8")
        assert guide_text.current(text) == text, f"{file.name} is old: run python -m aegui.gui.guide_text"


def test_a_changed_table_is_made_anew():
    assert "| CT |" in guide_text.current("<!-- kinds -->\nyesterday\n<!-- /kinds -->\n")
    assert "yesterday" not in guide_text.current("<!-- kinds -->\nyesterday\n<!-- /kinds -->\n")


def test_the_window_shows_every_row_of_what_is_denoised_and_of_what_can_be_chosen(guide):
    kinds = next(table for table in tables(guide) if table[0][1] == "Told by")
    output = next(table for table in tables(guide) if table[0][0] == "Choice")
    assert kinds[1:] == [[kind.name, kind.told_by, guide_text.DONE[kind.treat]] for kind in KINDS]
    titles = [row[0].removesuffix(" (DICOM only)") for row in output[1:]]
    assert titles == [field.title for field in OutputRules.model_fields.values()]
    for row, field in zip(output[1:], OutputRules.model_fields.values(), strict=True):
        assert field.description in row[1]


def test_the_reference_names_every_part_of_a_recipe_with_its_values():
    text = dict(guide_text.chapters())["7-recipe-reference.md"]
    for section in sections():
        assert f"`{section.address}`: {section.help}." in text
        for part in section.parts:
            assert part.help in text
            for field in part.fields:
                assert f"| {field.title} `{field.name}` | {field.help}. | {field.limits} | {field.default} |" in text


def test_every_kind_of_file_that_is_opened_stands_in_the_guide():
    text = "".join(text for _, text in guide_text.chapters())
    assert [suffix for suffix in (*volumes.SUFFIXES, *images.SUFFIXES) if suffix not in text] == []


def test_links_lead_to_chapters_that_are_there(repository: Path):
    names = {file.name for file in guide_text.files()}
    links = {link for _, text in guide_text.chapters() for link in re.findall(r"\]\(([^)]+)\)", text)}
    assert links <= names
    assert set(CHAPTERS.values()) <= names
    assert "resources/guide/1-getting-started.md" in (repository / "README.md").read_text(encoding="utf-8")


def test_contents_and_links_scroll_to_the_chapter(guide, qtbot):
    guide.show_chapter("3-what-is-denoised.md")
    bar = guide.text.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.value() > 0, timeout=5_000)
    there = bar.value()
    guide.text.anchorClicked.emit(QUrl("5-pairs.md"))
    assert bar.value() > there
    assert guide.contents.currentItem().text() == "Pairs"


def test_the_last_chapter_is_reached_at_once(guide, qtbot):
    def first() -> str:
        return guide.text.cursorForPosition(QPoint(guide.text.viewport().width() // 2, 20)).block().text()

    guide.show_chapter("8-models.md")  # as the window is opened by a page's help
    qtbot.waitUntil(lambda: first() == "Models", timeout=5_000)
    guide.show_chapter("1-getting-started.md")
    assert first() == "Getting started"
    guide.show_chapter("8-models.md")
    assert first() == "Models"


def test_commands_and_names_of_files_stand_in_a_fixed_font(guide):
    document = guide.text.document()
    cursor = document.find("aegui denoise --input FOLDER")
    assert cursor.charFormat().font().family() == theme.mono_font().family()
    assert document.find("Getting started").charFormat().font().family() == "Inter"


def test_search_keeps_the_sections_that_have_the_words_and_says_when_none_has(guide, qtbot):
    qtbot.keyClicks(guide.search, "noise-free")
    assert guide.nothing.isVisible()
    guide.search.clear()
    qtbot.keyClicks(guide.search, "burned into")
    shown = [item.text().strip() for item in guide._items() if not item.isHidden()]
    assert shown == ["Order and warnings", "Choices"]
    assert guide.text.textCursor().selectedText() == "burned into"
    first = guide.text.textCursor().position()
    qtbot.keyClick(guide.search, Qt.Key.Key_Return)
    assert guide.text.textCursor().position() > first
    qtbot.keyClick(guide.search, Qt.Key.Key_Return)
    assert guide.text.textCursor().position() == first


def test_another_theme_recolours_the_text(guide, qapp):
    def ink() -> str:
        return guide.text.document().begin().begin().fragment().charFormat().foreground().color().name()

    dark = ink()
    theme.apply(qapp, "light", 100)
    try:
        assert ink() != dark
    finally:
        theme.apply(qapp, "dark", 100)


def test_help_for_a_page_leads_to_its_chapter(window, qtbot):
    window.show_help()
    dialog = window.findChild(Dialog)
    next(made for made in dialog.findChildren(QPushButton) if made.text() == "User guide").click()
    guide = window.findChild(GuideWindow)
    assert guide.isVisible()
    assert guide.contents.currentItem().text() == "What is read"
    window.top.guide_wanted.emit()
    assert window.findChildren(GuideWindow) == [guide]
    guide.close()
