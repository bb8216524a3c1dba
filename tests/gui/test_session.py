"""The shared state: roles, undo, project file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QObject

from aegui import events, imaging, recipes, workflow
from aegui.errors import UserError
from aegui.gui import project
from aegui.gui.session import Session
from aegui.imaging import ScanResult
from aegui.imaging.series import DERIVED_HERE
from aegui.workflow import propose
from tests.gui.generated import scanned, write_ct


@pytest.fixture(scope="module")
def scan(phantom: dict[str, Path]) -> ScanResult:
    found: ScanResult = events.finish(imaging.scan([phantom["low"], phantom["full"]]))
    return found


@pytest.fixture
def session(qapp: QObject, scan: ScanResult, phantom: dict[str, Path]) -> Session:
    made = Session()
    made.set_scan(scan, [phantom["low"], phantom["full"]])
    return made


def test_what_can_be_denoised_starts_as_noisy_input(session):
    assert {session.role(one.uid) for one in session.series} == {"noisy"}
    assert session.role("unknown") == "unused"


def test_one_undo_takes_back_the_role_of_a_whole_selection(session, qtbot):
    uids = [one.uid for one in session.series[:3]]
    with qtbot.waitSignal(session.roles_changed):
        session.set_roles(uids, "holdout")
    assert session.holdout == tuple(uids)
    session.undo.undo()
    assert session.holdout == ()
    session.undo.redo()
    assert session.holdout == tuple(uids)


def test_a_role_given_twice_is_one_step_of_undo(session):
    uid = session.series[0].uid
    session.set_roles([uid], "clean")
    session.set_roles([uid], "clean")
    session.undo.undo()
    assert session.role(uid) == "noisy"


def test_an_edited_recipe_can_be_undone(session):
    before = session.recipe
    session.set_recipe(before.with_set(["run.epochs=3"]))
    assert session.recipe.run.epochs == 3
    session.undo.undo()
    assert session.recipe == before


def test_low_and_full_dose_of_one_patient_are_proposed_and_used_only_when_confirmed(session):
    (found,) = propose(session.series)
    assert "dose" in found.title
    assert len(found.pairs) == 2
    assert all(pair.noisy.patient == pair.clean.patient for pair in found.pairs)
    assert all(float(p.noisy.acquisition["exposure"]) < float(p.clean.acquisition["exposure"]) for p in found.pairs)
    assert session.pairs == ()
    assert session.clean == ()
    session.set_pairs(found.pairs)
    assert {one.uid for one in session.clean} == {pair.clean.uid for pair in found.pairs}
    session.undo.undo()
    assert session.pairs == ()
    assert session.clean == ()


def test_series_that_the_user_called_clean_come_before_any_guess(session):
    full = [one for one in session.series if "full" in one.description.lower()]
    (found,) = propose(session.series, full[:1])
    assert [pair.clean.uid for pair in found.pairs] == [full[0].uid]


def test_adding_a_folder_keeps_the_roles_that_were_given(session, phantom):
    uid = session.series[0].uid
    session.set_roles([uid], "holdout")
    more = events.finish(imaging.scan([phantom["other"]]))
    count = len(session.series)
    session.set_scan(more, [phantom["other"]], add=True)
    assert len(session.series) == count + len(more.series)
    assert session.role(uid) == "holdout"
    assert session.paths[-1] == phantom["other"]


def test_a_project_file_brings_roles_recipe_and_model_back(session, scan, phantom, tmp_path):
    file = tmp_path / "chest.aeguiproject"
    uid = session.series[1].uid
    session.set_roles([uid], "holdout")
    session.set_recipe(session.recipe.with_set(["run.epochs=7"]))
    session.set_model("general-small")
    assert not session.saved
    project.save(session, file)
    assert session.saved
    assert session.name == "chest"
    text = file.read_text(encoding="utf-8")
    assert scan.series[0].patient not in text
    other = Session()
    stored = project.Project.load(file)
    other.set_scan(scan, [Path(path) for path in stored.paths])
    project.apply(other, stored)
    assert other.role(uid) == "holdout"
    assert other.recipe.run.epochs == 7
    assert other.model_ref == "general-small"


def test_a_change_after_saving_shows_as_not_saved(session, tmp_path, qtbot):
    project.save(session, tmp_path / "a.aeguiproject")
    with qtbot.waitSignal(session.project_changed):
        session.set_roles([session.series[0].uid], "unused")
    assert not session.saved


def test_a_project_that_cannot_be_written_says_so(session, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(UserError, match=r"The project a\.aeguiproject cannot be written"):
        project.save(session, blocker / "a.aeguiproject")


def test_a_project_file_with_an_unknown_key_is_refused_by_its_name(tmp_path):
    file = tmp_path / "odd.aeguiproject"
    file.write_text("pathes: []\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"“pathes” of odd\.aeguiproject is not a known setting"):
        project.Project.load(file)


def test_work_that_was_never_saved_is_kept_when_the_window_closes(session):
    project.keep(session)
    assert project.last_session_file().exists()
    assert project.Project.load(project.last_session_file()).roles == session.roles


def test_holdout_series_are_told_to_training_and_never_among_its_pairs_lost(session):
    uid = session.series[0].uid
    session.set_roles([uid], "holdout")
    job = workflow.TrainJob(
        model="general-small", recipe=session.recipe, noisy=session.noisy, run=Path("run"), holdout=session.holdout
    )
    assert uid in job.holdout
    assert uid in {one.uid for one in job.noisy}


def test_confirmed_pairs_are_what_the_recipe_learns_from_until_they_are_undone(tmp_path):
    for name, sd in (("Low", 60.0), ("Full", 5.0)):
        write_ct(tmp_path / name, name, sd=sd)
    session = Session()
    session.set_scan(scanned(tmp_path), [tmp_path])
    low, full = (next(s for s in session.series if s.description == name) for name in ("Low", "Full"))
    pairs = workflow.match_pairs([low], [full])
    assert session.recipe.targets.kind == "synthetic"
    session.set_pairs(pairs)
    assert session.recipe.targets.kind == "paired"
    session.set_preset(recipes.shipped()[-1])
    assert session.recipe.targets.kind == "paired"
    session.undo.undo()
    session.undo.undo()
    assert (session.pairs, session.recipe.targets.kind) == ((), "synthetic")
    session.set_pairs(pairs)
    session.set_pairs(())
    assert session.recipe.targets.kind == "synthetic"


def test_what_this_program_denoised_is_listed_but_not_learnt_from(tmp_path):
    write_ct(tmp_path, "Low")
    found = scanned(tmp_path)
    (one,) = found.series
    session = Session()
    session.set_scan(replace(found, series=(replace(one, warnings=(DERIVED_HERE,)),)), [tmp_path])
    assert session.role(one.uid) == "unused"
    assert session.to_denoise == session.series
