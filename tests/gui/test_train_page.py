"""The Train page: blocked, a real run, its curves, pause, stop, failure, resume."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from aegui import events, recipes, workflow
from aegui.errors import UserError
from aegui.gui import runs
from aegui.gui.curves import MOST, Curves
from aegui.gui.pages.train import TrainPage
from aegui.gui.session import Session
from aegui.gui.widgets.plots import TRAIN, Plot
from aegui.gui.widgets.run_band import Clock, gain_words

from .generated import MODEL, scanned, write_ct

SHORT = ["run.epochs=3", "run.steps_per_epoch=2", "run.batch_size=2", "run.patch_size=32", "run.validation_slices=1"]


@pytest.fixture
def page(themed, tmp_path: Path, qtbot) -> Iterator[TrainPage]:
    session = Session()
    made = TrainPage(session)
    made.resize(1336, 760)
    qtbot.addWidget(made)
    yield made
    for job in session.lanes.running():
        job.abandon()
    qtbot.waitUntil(lambda: not session.lanes.running(), timeout=20_000)


@pytest.fixture
def loaded(page: TrainPage, tmp_path: Path) -> TrainPage:
    """Two patients' slices, a short recipe, the small model."""
    write_ct(tmp_path / "scans", slices=12)
    session = page.session
    session.set_scan(scanned(tmp_path / "scans"), [tmp_path / "scans"])
    session.set_model(MODEL)
    preset = recipes.load("denoise")
    session.set_preset(preset)
    session.set_recipe(preset.with_set(SHORT))
    return page


def go(page: TrainPage) -> None:
    page.session.train_job = runs.train_job(page.session)
    page.enter()


def wait(qtbot, page: TrainPage, *states: str) -> None:
    qtbot.waitUntil(lambda: page.state in states and not page.session.lanes.running(), timeout=120_000)


def table(file: Path) -> dict[str, list[float]]:
    with file.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {name: [float(row[name]) if row[name] else np.nan for row in rows] for name in rows[0]}


def line(plot: Plot, name: str) -> tuple[list[float], list[float]]:
    x, y = plot.lines[name].data
    return list(x), list(y)


def test_a_blocked_page_lists_what_is_missing_with_a_button_each(page, qtbot):
    page.enter()
    assert page.rail_state() == ("blocked", "1 missing")
    assert page.stack.currentWidget() is page.blocked
    buttons = [b for b in page.blocked.findChildren(QPushButton) if b.text() == "Open scans"]
    with qtbot.waitSignal(page.session.page_requested) as asked:
        buttons[0].click()
    assert asked.args == ["scans"]


def test_problems_of_the_recipe_are_among_the_reasons(loaded):
    loaded.session.set_recipe_problems(["Epochs: must be at least 1."])
    loaded.enter()
    titles = [item.title for item in loaded.requirements() if not item.ready and item.needed]
    assert titles == ["Recipe has 1 thing to fix"]


def test_pairs_that_are_missing_are_among_the_reasons(loaded):
    paired = loaded.session.recipe.with_set(["targets={kind: paired}"])
    loaded.session.set_recipe(paired)
    missing = [item for item in loaded.requirements() if not item.ready and item.needed]
    assert [item.title for item in missing] == ["No noisy series has a matching clean series"]
    assert missing[0].action == "Open recipe"


def test_a_missing_hold_out_is_a_warning_and_not_a_block(loaded):
    loaded.enter()
    warnings = [item.title for item in loaded.requirements() if not item.ready]
    assert warnings == ["No series held out"]
    assert loaded.stack.currentWidget() is loaded._views["ready"]


def test_the_curves_are_those_of_metrics_csv_and_the_page_leads_on_to_review(loaded, qtbot):
    go(loaded)
    assert loaded.state == "run"
    wait(qtbot, loaded, "done", "failed")
    assert loaded.state == "done"
    run = loaded.run.run
    file, plots = table(run / "metrics.csv"), loaded.plots
    assert file["epoch"] == [1, 2, 3]
    for plot, name, column in (
        (plots.loss, "train", "train_loss"),
        (plots.loss, "validation", "val_loss"),
        (plots.terms, "MSE", "val_mse"),
        (plots.terms, "TV", "val_tv"),
        (plots.psnr, "PSNR", "psnr"),
        (plots.ssim, "SSIM", "ssim"),
    ):
        assert line(plot, name) == (file["epoch"], file[column]), column
    steps = table(run / "steps.csv")
    x = [e - 1 + s / 2 for e, s in zip(steps["epoch"], steps["step"], strict=True)]
    written = dict(zip(x, zip(steps["grad_norm"], steps["lr_rest"], strict=True), strict=True))
    shown_x, norms = line(plots.norm, "norm")
    assert shown_x and [written[at][0] for at in shown_x] == norms
    assert [written[at][1] for at in shown_x] == line(plots.rate, "rest")[1]
    levels = {level.value for level in plots.psnr.levels}
    assert levels == {scores["psnr"] for scores in loaded.band.scores.values()}
    assert all(view.pixels is not None for view in loaded.preview.views)
    assert loaded.session.result.bundle.exists()
    assert not loaded.band.on.isHidden() and loaded.primary_action is loaded.band.on
    assert not loaded.note_room.isHidden()
    with qtbot.waitSignal(loaded.session.page_requested) as asked:
        loaded.band.on.click()
    assert asked.args == ["review"]
    best = loaded.curves.best("psnr")
    below = best is not None and gain_words(best, loaded.band.scores)[1] < 0
    assert loaded.rail_state().kind == ("warn" if below else "done")


def test_the_x_range_is_the_whole_plan_from_the_start(loaded):
    loaded._on_started(events.Started(40, 62, 0, 0, {"encoder": 3}, 1.0, 7, "validation PSNR"))
    for plot in loaded.plots.all:
        (low, high), _ = plot.getPlotItem().viewRange()
        assert low == 0 and high >= 40
    assert loaded.plots.norm.levels[0].value == 1.0
    assert loaded.log.words[0] == "Started, 40 epochs, seed 7"


def test_a_low_card_shows_one_plot_with_a_toggle_and_keeps_its_range(loaded, qtbot):
    loaded._on_started(events.Started(40, 62, 0, 0, {}, None, 7, "validation PSNR"))
    loaded._set_state("run")
    card = loaded.plots.cards[0]
    loaded.show()
    assert loaded.plots.loss.isVisible() and loaded.plots.terms.isVisible()
    loaded.resize(1176, 410)
    qtbot.waitUntil(lambda: loaded.plots.loss.isVisible() and not loaded.plots.terms.isVisible())
    card.flip()
    assert loaded.plots.terms.isVisible() and not loaded.plots.loss.isVisible()
    for plot in (loaded.plots.loss, loaded.plots.terms):
        assert plot.getPlotItem().viewRange()[0] == [0, 40 * 1.04]


def test_plots_above_each_other_have_axes_of_the_same_width(loaded):
    widths = {plot.getPlotItem().getAxis("left").width() for plot in loaded.plots.all}
    assert len(widths) == 1


def test_pause_stops_the_steps_and_resume_goes_on(loaded, qtbot):
    loaded.session.set_recipe(loaded.session.recipe.with_set(["run.epochs=200"]))
    go(loaded)
    qtbot.waitUntil(lambda: len(loaded.curves.steps["x"]) >= 2, timeout=60_000)
    loaded.toggle_pause()
    assert loaded.state == "paused" and loaded.band.left.text() == "Paused"
    qtbot.wait(1000)  # what is under way comes to its end
    count = len(loaded.curves.steps["x"])
    qtbot.wait(300)
    assert len(loaded.curves.steps["x"]) == count
    loaded.toggle_pause()
    assert loaded.state == "run"
    qtbot.waitUntil(lambda: len(loaded.curves.steps["x"]) > count, timeout=20_000)
    loaded.stop()
    assert loaded.state == "stopping" and not loaded.band.stop.isEnabled()
    wait(qtbot, loaded, "done")
    assert loaded.session.result.stopped
    assert loaded.session.result.bundle.exists()
    assert loaded.band.epoch.text().startswith("Training stopped after epoch")


def abandon_after_an_epoch(page) -> None:
    """In the job's own thread, so that it does not go on."""
    job = page.session.lanes.job()

    def heard(event) -> None:
        if isinstance(event, events.Epoch):
            job.abandon()

    job.event.connect(heard, Qt.ConnectionType.DirectConnection)


def test_an_abandoned_run_is_offered_and_goes_on_with_its_earlier_curves(loaded, qtbot):
    go(loaded)
    run = loaded.run.run
    abandon_after_an_epoch(loaded)
    qtbot.waitUntil(lambda: loaded.state == "none", timeout=60_000)
    assert not loaded.unfinished_room.isHidden()
    loaded.resume_link.click()
    wait(qtbot, loaded, "done", "failed")
    assert loaded.state == "done"
    assert loaded.run.run == run and loaded.run.resume
    file = table(run / "metrics.csv")
    assert line(loaded.plots.psnr, "PSNR") == ([1, 2, 3], file["psnr"])
    assert runs.unfinished() is None


def test_a_run_that_cannot_start_says_why_and_what_was_kept(loaded, qtbot):
    job = runs.train_job(loaded.session)
    job.run.parent.mkdir(parents=True, exist_ok=True)
    job.run.write_text("in the way")
    loaded.begin(job)
    wait(qtbot, loaded, "failed")
    assert "cannot be written" in loaded.note.accessibleName()
    assert "your scans were not changed" in loaded.note.accessibleName()
    assert loaded.band.resume.isHidden()
    assert loaded.rail_state() == ("warn", "Stopped")


def test_a_bug_goes_to_the_crash_dialog_too(loaded, qtbot, monkeypatch, expect_log):
    expect_log("Training failed")

    def broken(job):
        raise ZeroDivisionError("nothing")
        yield

    monkeypatch.setattr(runs.workflow, "train", broken)
    with qtbot.waitSignal(loaded.session.crash, timeout=20_000) as crashed:
        go(loaded)
    assert isinstance(crashed.args[0], ZeroDivisionError)
    wait(qtbot, loaded, "failed")


def test_a_run_from_scratch_is_only_held_against_the_run(loaded, qtbot):
    loaded.session.set_recipe(loaded.session.recipe.with_set(["run.epochs=1"]))
    go(loaded)
    wait(qtbot, loaded, "done", "failed")
    mine = loaded.session.result
    assert loaded.scratch.isVisibleTo(loaded)
    loaded.scratch.click()
    assert loaded.run.init == "random" and not loaded.scratch.isVisibleTo(loaded)
    wait(qtbot, loaded, "done", "failed")
    assert loaded.state == "done"
    assert loaded.session.result is mine and loaded.session.model_ref == mine.bundle
    assert "From scratch the best is PSNR" in loaded.note.accessibleName()
    assert not loaded.scratch.isVisibleTo(loaded)


def test_another_project_does_not_get_the_model_of_a_run_that_began_in_this_one(loaded, qtbot):
    go(loaded)
    qtbot.waitUntil(lambda: len(loaded.curves.epochs["epoch"]) >= 1, timeout=60_000)
    loaded.session.reset()
    qtbot.waitUntil(lambda: loaded.state == "none" and not loaded.session.lanes.running(), timeout=120_000)
    assert loaded.session.result is None and loaded.session.model_ref == ""
    assert loaded.run is None and loaded.rail_state()[0] == "blocked"


def test_a_run_from_scratch_asked_for_among_earlier_runs_leaves_the_model_in_use(loaded, qtbot):
    loaded.begin(runs.train_job(loaded.session), stays=True)
    run = loaded.run.run
    abandon_after_an_epoch(loaded)
    qtbot.waitUntil(lambda: loaded.state == "none", timeout=60_000)
    left = runs.unfinished()
    assert left is not None and left.stays and left.folder == run
    loaded.resume_link.click()
    wait(qtbot, loaded, "done", "failed")
    assert loaded.state == "done" and loaded.session.result is None and loaded.session.model_ref == MODEL
    assert loaded.session.run_folder is None and loaded.rail_state() == ("done", "Compared")


def test_a_project_knows_what_its_run_held_out(loaded, tmp_path):
    session = loaded.session
    job = runs.train_job(session)
    job = replace(job, recipe=job.recipe.with_set([*SHORT, "run.holdout_fraction=0.3"]))
    result = events.finish(runs.run(job))
    assert result.holdout
    session.set_result(result)
    again = workflow.result_of(job.run, session.series)
    assert again == result
    assert workflow.result_of(job.run, ()).holdout == ()
    assert workflow.result_of(tmp_path / "nothing", session.series) is None
    (job.run / "split.key").unlink()
    assert workflow.result_of(job.run, session.series).holdout == ()


def test_a_second_job_is_refused_in_words(loaded, qtbot):
    go(loaded)
    with qtbot.waitSignal(loaded.session.notice) as told:
        loaded.begin(runs.train_job(loaded.session))
    assert isinstance(told.args[0], UserError) and "still running" in told.args[0].message
    loaded.stop()
    wait(qtbot, loaded, "done", "none")  # nothing to keep yet, or already something


@pytest.mark.parametrize(("psnr", "rail"), [(34.0, ("warn", "−0.60 dB")), (36.0, ("done", "+1.40 dB"))])
def test_the_rail_warns_of_a_run_that_stays_below_the_classical_filter(loaded, psnr, rail):
    loaded.curves.planned = 2
    scores = {"classical": {"psnr": 34.6, "ssim": 0.9}}
    loaded._on_event(events.Baselines(scores, "non-local means", "400 HU", ""))
    loaded._on_event(events.Epoch(1, 2, {"loss": 1}, {"loss": 1}, psnr, 0.9, {"rest": 1e-4}, True, 1, 1.0))
    loaded.state = "done"
    assert loaded.rail_state() == rail


def test_warnings_and_milestones_are_listed_newest_first(loaded):
    loaded._on_event(events.Noted("Passed classical baseline, 34.6 dB", "trending-up"))
    loaded._on_event(events.Warned("Scores are optimistic.", "Add patients."))
    assert loaded.log.words == ["Scores are optimistic. Add patients.", "Passed classical baseline, 34.6 dB"]
    assert not loaded.note_room.isHidden()


def test_validating_between_epochs_leaves_the_progress_of_the_run_alone(loaded):
    loaded._on_started(events.Started(4, 10, 0, 0, {}, None, 7, "validation PSNR"))
    loaded._on_event(events.Progress(3, 4, "Scoring the input"))
    assert loaded.band.epoch.text() == "Scoring the input" and loaded.band.bar.value() == 750
    loaded._on_event(step(10))
    loaded._on_event(events.Progress(3, 4, "Validating"))
    assert loaded.band.epoch.text() == "Epoch 1 of 4" and loaded.band.bar.value() == 250
    assert loaded.band.step.text() == "validating, 3 of 4"


def test_the_rail_hears_of_scans_while_another_page_is_shown(loaded, qtbot):
    qtbot.waitUntil(lambda: loaded.rail_state().kind == "ready")


def step(number: int, norm: float = 1.0) -> events.Step:
    return events.Step(1, number, 0.5, {"mse": 0.5}, {"rest": 1e-4}, norm, 0.1)


def test_time_left_is_shown_only_after_three_steps_and_pauses_do_not_count():
    now = [0.0]
    clock = Clock(lambda: now[0])
    clock.start()
    for number in (1, 2):
        now[0] += 1
        clock.step(number, 1.0)
        assert clock.left(10) is None
    clock.pause(True)
    now[0] += 100
    clock.pause(False)
    now[0] += 1
    clock.step(3, 1.0)
    assert clock.left(10) == pytest.approx(7)
    assert clock.elapsed == pytest.approx(3)


def test_the_gain_names_its_baseline():
    scores = {"input": {"psnr": 29.8}, "pretrained": {"psnr": 32.8}, "classical": {"psnr": 34.6}}
    assert gain_words(37.2, scores)[0] == "+2.60 over classical"
    assert gain_words(34.1, scores)[0] == "0.50 below classical"
    assert gain_words(37.2, {"pretrained": {"psnr": 32.8}})[0] == "+4.40 over as it was"
    assert gain_words(37.2, {}) == ("", 0.0)


def test_long_runs_are_thinned_and_keep_their_largest_gradients():
    curves = Curves()
    curves.start(events.Started(10, 10_000, 0, 0, {}, None, 0, "validation PSNR"))
    for number in range(1, 3 * MOST):
        curves.add_step(step(number, 50.0 if number == 1234 else 1.0))
    assert len(curves.steps["x"]) <= MOST
    assert max(curves.steps["grad_norm"]) == 50.0
    assert {len(column) for column in curves.steps.values()} == {len(curves.steps["x"])}
    assert curves.steps["x"][-1] == (3 * MOST - 1) / 10_000


def test_a_plot_copies_its_values_and_describes_the_latest(themed, qtbot):
    plot = Plot("PSNR")
    qtbot.addWidget(plot)
    plot.line("PSNR", TRAIN)
    plot.lines["PSNR"].set([1, 2], [30.5, 31.25])
    plot.describe()
    assert plot.values() == "series\tx\ty\nPSNR\t1.0\t30.5\nPSNR\t2.0\t31.25"
    assert plot.accessibleDescription() == "PSNR 31.25"
