"""What the user did stays: through undo, other folders, other projects, and files that cannot be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QAbstractButton

from aegui import paths, recipes
from aegui.errors import UserError
from aegui.gui import dialogs, project
from aegui.gui.delivery import Delivery
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.pages.recipe import RecipePage
from aegui.gui.session import Session
from aegui.gui.widgets.save_recipe import named
from aegui.imaging import OutputRules
from tests.gui.generated import scanned, write_ct


@pytest.fixture
def session(qapp: object, tmp_path: Path) -> Session:
    write_ct(tmp_path / "first")
    made = Session()
    made.set_scan(scanned(tmp_path / "first"), [tmp_path / "first"])
    return made


def press(qtbot: Any, window: Any, text: str) -> None:
    (button,) = [b for b in window.findChildren(QAbstractButton) if b.text() == text and b.isVisible()]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_undo_of_a_role_leaves_folders_alone_that_were_opened_since(session: Session, tmp_path: Path) -> None:
    uid = session.series[0].uid
    session.set_roles([uid], "holdout")
    write_ct(tmp_path / "second", patient="B")
    session.set_scan(scanned(tmp_path / "second"), [tmp_path / "second"], add=True)
    session.undo.undo()
    assert set(session.roles.values()) == {"noisy"}
    session.undo.redo()
    assert session.role(uid) == "holdout" and len(session.roles) == len(session.series)


def test_undo_of_a_preset_brings_the_one_before_back(session: Session) -> None:
    first, second = recipes.load("layerwise"), recipes.load("few-scans")
    session.set_preset(first)
    session.set_preset(second)
    session.undo.undo()
    assert (session.preset, session.recipe) == (first, first)
    session.undo.redo()
    assert (session.preset, session.recipe) == (second, second)


def test_a_verdict_is_on_one_model(session: Session) -> None:
    session.set_model("general-small")
    session.set_accepted(True)
    session.set_model("ct-small")
    assert session.accepted is None


def test_a_verdict_is_on_one_strength(session: Session) -> None:
    session.set_strength(0.6)
    session.set_accepted(True)
    session.set_strength(0.6)
    assert session.accepted
    session.set_strength(0.3)
    assert session.accepted is None and not session.saved


def test_a_recipe_of_ones_own_comes_back_as_what_changes_are_marked_against(session: Session, tmp_path: Path) -> None:
    mine = named(recipes.load("denoise").with_set(["run.epochs=7"]), "Robust")
    assert mine.id not in {one.id for one in recipes.shipped()}
    session.set_preset(mine)
    session.set_recipe(mine.with_set(["run.batch_size=4"]))
    project.save(session, tmp_path / "a.aeguiproject")
    other = Session()
    page = RecipePage(other)
    project.apply(other, project.Project.load(tmp_path / "a.aeguiproject"))
    assert other.preset == mine and other.recipe == session.recipe
    page._show_presets()
    assert mine in page.presets.extra and page.presets.chips[mine.id].text() == "Robust"


def test_a_project_without_scans_keeps_its_recipe(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    window, file = opened(), tmp_path / "plan.aeguiproject"
    window.session.set_recipe(recipes.load("denoise").with_set(["run.epochs=7"]))
    project.save(window.session, file)
    window.session.set_recipe(recipes.load("denoise").with_set(["run.epochs=9"]))
    window.new_project()
    assert window.session.recipe.run.epochs == 50
    window.open_paths([file])
    assert window.session.recipe.run.epochs == 9
    assert window.session.project_file == file and window.session.saved


def test_the_open_project_opened_again_is_as_it_was_left(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    window, file = opened(tmp_path / "a"), tmp_path / "a.aeguiproject"
    uid = window.session.series[0].uid
    project.save(window.session, file)
    window.session.set_roles([uid], "holdout")
    window.open_paths([file])
    qtbot.waitUntil(lambda: bool(window.session.series) and window.session.saved, timeout=20_000)
    assert window.session.role(uid) == project.Project.load(file).roles[uid] == "holdout"


def test_nothing_of_the_old_project_is_shown_in_a_new_one(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", patient="B")
    window = opened(tmp_path / "a")
    window.scans.filter.setText("zzz")
    window.scans.unused.setChecked(True)
    window.show_notice(UserError("That did not work.", "Try again."))
    guest = scanned(tmp_path / "b").series[0]
    deliver, review = (next(page for page in window.pages if page.key == key) for key in ("deliver", "review"))
    window.session.look = (guest, 0)
    window.show_page_named("review")
    assert review.slices.series == guest
    deliver.add_paths([tmp_path / "b"])
    window.new_project()
    assert review.slices.series is None and window.notices.isHidden()
    assert window.scans.filter.text() == "" and not window.scans.unused.isChecked()
    qtbot.waitUntil(lambda: not window.session.lanes.running(), timeout=20_000)
    qtbot.wait(50)
    assert deliver.batch.model.entries == []


def test_a_project_can_be_dropped_wherever_scans_can(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    window, file = opened(tmp_path / "a"), tmp_path / "a.aeguiproject"
    project.save(window.session, file)
    window.new_project()
    window.scans.first.dropped.emit([file])
    qtbot.waitUntil(lambda: window.session.project_file == file, timeout=20_000)
    window.new_project()
    deliver = next(page for page in window.pages if page.key == "deliver")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    copy, no_button = Qt.DropAction.CopyAction, Qt.MouseButton.NoButton
    deliver.dropEvent(QDropEvent(QPointF(5, 5), copy, mime, no_button, Qt.KeyboardModifier.NoModifier))
    qtbot.waitUntil(lambda: window.session.project_file == file, timeout=20_000)


def test_undo_says_what_it_took_back_where_that_cannot_be_seen(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    window = opened(tmp_path / "a")
    uid = window.session.series[0].uid
    window.session.set_roles([uid], "holdout")
    window._undo()
    assert not window.toasts.shown, "it is seen"
    window._redo()
    window.show_page_named("deliver")
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.session.role(uid) == "noisy"
    assert [toast.accessibleName() for toast in window.toasts.shown] == ["Undone: role of a series"]


def test_the_start_from_random_weights_is_something_to_save(session: Session, tmp_path: Path) -> None:
    project.save(session, tmp_path / "a.aeguiproject")
    session.set_initial("random")
    assert not session.saved


def test_the_strength_of_review_comes_back_with_the_project(session: Session, tmp_path: Path) -> None:
    session.set_strength(0.6)
    project.save(session, tmp_path / "a.aeguiproject")
    other = Session()
    project.apply(other, project.Project.load(tmp_path / "a.aeguiproject"))
    assert other.strength == other.delivery.strength == 0.6


def test_what_deliver_was_set_to_comes_back_with_the_project(window: Any, tmp_path: Path) -> None:
    session, deliver = window.session, next(page for page in window.pages if isinstance(page, DeliverPage))
    session.set_model("general-small")
    session.set_strength(0.9)
    session.set_accepted(True)
    deliver.options.strength.setValue(65)
    deliver.options.views.setCurrentIndex(deliver.options.views.findData(4))
    deliver.options.noise.setText("12,5")
    deliver.options.set_rules(OutputRules(suffix="_quiet"))
    assert not session.saved
    stored = project.of(session)
    window.new_project()
    assert session.delivery == deliver.options.delivery() == Delivery()
    project.apply(session, stored)
    assert deliver.options.delivery() == Delivery(strength=0.65, average=4, noise_level=12.5)
    assert session.output.suffix == deliver.options.known().suffix == "_quiet"
    assert session.accepted and session.strength == 0.9
    assert project.of(session) == stored


def test_a_project_of_before_is_delivered_as_review_looked(session: Session) -> None:
    project.apply(session, project.Project(strength=0.4))
    assert session.delivery == Delivery(strength=0.4)


def test_a_project_of_which_a_folder_is_missing_is_opened_but_its_file_stays_as_it_is(
    opened: Any, qtbot: Any, tmp_path: Path
) -> None:
    write_ct(tmp_path / "a")
    write_ct(tmp_path / "b", patient="B")
    window = opened(tmp_path / "a", tmp_path / "b")
    file = tmp_path / "both.aeguiproject"
    window.session.set_roles([series.uid for series in window.session.series], "holdout")
    project.save(window.session, file)
    before = file.read_bytes()
    (tmp_path / "b").rename(tmp_path / "away")
    window.open_paths([file])
    qtbot.waitUntil(lambda: bool(window.session.series), timeout=20_000)
    assert len(window.session.series) < len(project.Project.load(file).roles)
    assert {window.session.role(one.uid) for one in window.session.series} == {"holdout"}
    assert window.session.project_file is None
    window.session.set_roles([window.session.series[0].uid], "noisy")
    window.new_project()
    assert file.read_bytes() == before


def test_a_project_of_which_nothing_is_left_does_not_take_the_place_of_the_open_one(
    opened: Any, tmp_path: Path
) -> None:
    write_ct(tmp_path / "a")
    window = opened(tmp_path / "a")
    file = tmp_path / "gone.aeguiproject"
    file.write_text(f"paths: [{tmp_path / 'nowhere'}]\n", encoding="utf-8")
    window.open_paths([file])
    assert window.session.series and window.session.paths == (tmp_path / "a",)


def test_opening_a_project_keeps_what_was_never_saved(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    window = opened(tmp_path / "a")
    file = tmp_path / "a.aeguiproject"
    project.save(window.session, file)
    window.new_project()
    window.open_paths([tmp_path / "a"])
    qtbot.waitUntil(lambda: bool(window.session.series), timeout=20_000)
    uid = window.session.series[0].uid
    window.session.set_roles([uid], "clean")
    window.open_paths([file])
    qtbot.waitUntil(lambda: window.session.project_file == file, timeout=20_000)
    assert project.Project.load(project.last_session_file()).roles[uid] == "clean"


def test_where_the_project_cannot_be_kept_the_window_asks_before_it_goes_on(
    opened: Any, qtbot: Any, tmp_path: Path
) -> None:
    write_ct(tmp_path / "a")
    window = opened(tmp_path / "a")
    paths.data_home().mkdir(parents=True, exist_ok=True)
    project.last_session_file().mkdir()
    window.session.set_roles([window.session.series[0].uid], "clean")
    window.new_project()
    assert window.session.series, "not before the answer"
    press(qtbot, window, "Stay here")
    assert window.session.series
    window.close()
    assert window.isVisible()
    press(qtbot, window, "Close without saving")
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=5000)


def test_a_name_that_is_completed_does_not_overwrite_what_has_it(opened: Any, qtbot: Any, tmp_path: Path) -> None:
    write_ct(tmp_path / "a")
    window = opened(tmp_path / "a")
    there = tmp_path / "study.aeguiproject"
    there.write_text("mine", encoding="utf-8")
    written: list[Path] = []
    dialogs.write_to(window, tmp_path / "study", (".aeguiproject",), written.append)
    press(qtbot, window, "Keep it")
    dialogs.write_to(window, tmp_path / "study", (".aeguiproject",), written.append)
    assert written == []
    press(qtbot, window, "Replace it")
    assert written == [there]
    dialogs.write_to(window, tmp_path / "ct.v2", (".yaml", ".yml"), written.append)
    dialogs.write_to(window, tmp_path / "other.yml", (".yaml", ".yml"), written.append)
    assert written[1:] == [tmp_path / "ct.v2.yaml", tmp_path / "other.yml"]
