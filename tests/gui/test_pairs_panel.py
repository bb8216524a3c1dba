"""Pairs found for you in the window: used, ignored, undone, remembered; and volumes of one series in the tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QMenu

from aegui import workflow
from aegui.gui import project
from aegui.gui.widgets.pairs_panel import OTHERS
from aegui.gui.widgets.series_rows import VOLUMES
from aegui.imaging.phantom_dicom import PhantomSeries, write_slice
from aegui.recipes.targets import Noise2Noise, PairedTargets


def write(folder: Path, description: str, number: int, **header: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:64, :64] - 32
    told = {"exposure": 100.0, "kernel": "STANDARD", "thickness": 2.0} | header
    made = PhantomSeries(
        study="S",
        patient="P",
        sex="O",
        number=number,
        description=description,
        spacing=(2.0, 0.8, 0.8),
        origin=(0.0, 0.0, 0.0),
        **told,  # type: ignore[arg-type]
    )
    for index in range(4):
        pixels = np.where(np.hypot(x, y) < 26, 50.0, -1000.0) + rng.normal(0, 25, x.shape)
        write_slice(folder / f"{number}_{index}.dcm", made, index, pixels.astype(np.float32))


@pytest.fixture
def repeats(tmp_path: Path) -> Path:
    """Three repeats of one scan."""
    for number in (1, 2, 3):
        write(tmp_path / "repeats", f"Head run {number}", number)
    return tmp_path / "repeats"


def test_repeats_are_offered_as_one_card_and_stay_noisy_inputs_when_used(opened, qtbot, repeats):
    window = opened(repeats)
    (card,) = window.scans.side.pairs.cards
    assert card.title.text() == "3 repeats found"
    assert "not how close the result is to the truth" in card.warning.accessibleName()
    qtbot.waitUntil(lambda: not card.crops[2].pixmap().isNull(), timeout=10_000)
    session = window.session
    session.ensure_model()
    qtbot.mouseClick(card.use, Qt.MouseButton.LeftButton)
    assert [pair.kind for pair in session.pairs] == ["repeat"] * 3
    assert set(session.roles.values()) == {"noisy"}
    assert len(session.to_denoise) == 3
    assert isinstance(session.recipe.targets, Noise2Noise)
    recipe = next(page for page in window.pages if page.key == "recipe")
    problems = workflow.check(recipe.job())
    assert not [problem for problem in problems if problem.blocking]
    review = next(page for page in window.pages if page.key == "review")
    window.show_page_named("review")
    qtbot.waitUntil(lambda: review.views.reference.title == "Another repeat", timeout=20_000)
    assert review.bar.reference.toolTip().startswith("Another repeat: Head run")
    window.show_page_named("scans")
    session.undo.undo()
    assert session.pairs == ()
    assert not session.recipe.targets.pairs
    assert card.use.isVisible()


def test_an_ignored_proposal_is_gone_until_it_is_asked_for_again(opened, qtbot, repeats, tmp_path):
    window = opened(repeats)
    panel = window.scans.side.pairs
    qtbot.mouseClick(panel.cards[0].ignore, Qt.MouseButton.LeftButton)
    assert panel.cards == []
    assert panel.ignored.text() == "1 ignored"
    file = tmp_path / "mine.aeguiproject"
    project.save(window.session, file)
    window.new_project()
    window.open_paths([file])
    qtbot.waitUntil(lambda: bool(window.session.series) and not window.scans.scanning.running, timeout=20_000)
    assert panel.cards == []
    panel._again.click()
    assert len(panel.cards) == 1


def test_confirmed_repeats_come_back_with_the_project_as_repeats(opened, qtbot, repeats, tmp_path):
    window = opened(repeats)
    window.scans.side.pairs.cards[0].use.click()
    before = window.session.pairs
    file = tmp_path / "mine.aeguiproject"
    project.save(window.session, file)
    window.new_project()
    assert window.session.pairs == ()
    window.open_paths([file])
    qtbot.waitUntil(lambda: bool(window.session.series) and not window.scans.scanning.running, timeout=20_000)
    assert window.session.pairs == before
    assert window.scans.side.pairs.cards[0].undo.isVisible()


def test_what_shares_its_noise_is_folded_and_last(opened, qtbot, tmp_path):
    # The number is the acquisition's: sharp and soft come from one.
    write(tmp_path / "both" / "sharp", "Sharp", 1, kernel="B60f")
    write(tmp_path / "both" / "soft", "Soft", 1, kernel="B30f")
    write(tmp_path / "both" / "low", "Low", 2, kernel="B30f", exposure=25.0)
    window = opened(tmp_path / "both")
    panel = window.scans.side.pairs
    assert [card.proposal.kind for card in panel.cards] == ["dose", "shared-noise"]
    assert panel.others.link.text().strip() == OTHERS
    assert panel.cards[0].isVisible()
    assert not panel.cards[1].isVisible()
    assert panel.cards[1].crops[0].pixmap().isNull()
    panel.others.link.click()
    assert panel.cards[1].isVisible()
    assert "Also teaches blur" in panel.cards[1].warning.accessibleName()
    assert panel.cards[1].use.text() == "Use anyway"


def test_one_proposal_can_be_undone_while_another_stays_in_use(opened, phantom, repeats):
    window = opened(phantom["low"], phantom["full"], repeats)
    panel = window.scans.side.pairs
    for card in panel.cards:
        card.use.click()
    kinds = {card.proposal.kind: card for card in panel.cards}
    assert set(kinds) == {"repeats", "dose"}
    assert isinstance(window.session.recipe.targets, PairedTargets)
    kinds["dose"].undo.click()
    assert {pair.kind for pair in window.session.pairs} == {"repeat"}
    assert window.session.clean == ()
    assert isinstance(window.session.recipe.targets, Noise2Noise)


def test_a_removed_card_leaves_no_thread(opened, qtbot, repeats):
    window = opened(repeats)
    window.new_project()
    assert window.scans.side.pairs.cards == []
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


# ---- the tree


def test_volumes_of_one_series_are_one_row_that_gives_a_role_to_all(opened, qtbot, shared):
    window = opened(shared / "mr_bold_repeats")
    tree = window.scans.tree
    assert len(list(tree.indexes())) == 12
    row = next(iter(tree.indexes())).parent()
    assert len(row.data(VOLUMES)) == 12
    assert not tree.isExpanded(row)
    assert tree.currentIndex() == row
    assert len(tree.selected()) == 12
    qtbot.mouseClick(window.scans.side.rows["holdout"], Qt.MouseButton.LeftButton)
    assert set(window.session.roles.values()) == {"holdout"}
    qtbot.waitUntil(lambda: len(tree.thumbs) == 1, timeout=10_000)
    window.scans.filter.setText("Repeat 7")
    qtbot.waitUntil(lambda: len(tree.thumbs) == 12, timeout=10_000)
    assert tree.isExpanded(next(iter(tree.indexes())).parent())
    assert len(list(tree.indexes())) == 1


def test_a_view_only_series_can_be_insisted_on_after_a_question_and_taken_back(opened, qtbot, shared, tmp_path):
    window = opened(shared / "geometry_cases")
    session, side = window.session, window.scans.side
    shown = next(series for series in session.series if series.treat == "view")
    window.scans.tree.select(shown.uid)
    assert side.view_only.isVisible()
    assert shown.reason in side.view_only.accessibleName()
    side.insist.click()
    dialog = next(child for child in window.children() if child.objectName() == "" and hasattr(child, "add_answers"))
    assert session.insisted == frozenset()
    buttons = [dialog.foot.itemAt(i).widget() for i in range(dialog.foot.count())]
    next(made for made in buttons if made is not None and made.text() == "Denoise anyway").click()
    assert session.insisted == {shown.uid}
    assert shown in session.to_denoise
    assert window.scans.tree.state_of([shown]) == "insisted"
    assert window.scans.tree.warning_of([shown]) == ("Will be denoised: you asked for it", "warn")
    assert project.of(session).insisted == (shown.uid,)
    side.leave_out.click()
    assert window.scans.tree.warning_of([shown]) == (shown.reason, "text3")
    assert session.insisted == frozenset()
    session.undo.undo()
    assert session.insisted == {shown.uid}


def test_the_menu_of_a_view_only_row_offers_to_denoise_it_and_other_rows_have_none(opened, shared, monkeypatch):
    monkeypatch.setattr(QMenu, "popup", lambda *_: None)  # off screen it cannot take the keyboard
    window = opened(shared / "geometry_cases")
    tree = window.scans.tree
    asked = []
    tree.insist_wanted.disconnect()
    tree.insist_wanted.connect(asked.append)

    def menu() -> QMenu | None:
        place = tree.visualRect(tree.currentIndex()).center()
        tree.contextMenuEvent(QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, tree.mapToGlobal(place)))
        return tree.findChild(QMenu)

    tree.select(next(one for one in window.session.series if one.treat == "denoise").uid)
    assert menu() is None
    tree.select(next(one for one in window.session.series if one.treat == "view").uid)
    made = menu()
    assert [action.text() for action in made.actions()] == ["Denoise anyway…"]
    made.actions()[0].trigger()
    assert asked == [True]


def test_a_folder_opened_again_keeps_what_review_may_look_at(opened, phantom):
    window = opened(phantom["low"], phantom["full"])
    assert len(window.session.found_pairs) == 2
    window = opened(phantom["low"], phantom["full"])
    assert len(window.session.found_pairs) == 2


def test_warnings_beyond_the_first_are_counted_in_the_row_and_listed_in_the_tip(opened, shared):
    window = opened(shared / "geometry_cases")
    warned = [index for index in window.scans.tree.indexes() if len(index.data(Qt.ItemDataRole.UserRole).warnings) > 1]
    assert warned
    for index in warned:
        warnings = index.data(Qt.ItemDataRole.UserRole).warnings
        assert f"· {len(warnings) - 1} more" in index.data(Qt.ItemDataRole.AccessibleTextRole)
        assert all(text in index.data(Qt.ItemDataRole.ToolTipRole) for text in warnings)
