# ruff: noqa: F811
"""What the Recipe page helps with: forecast, learning-rate finder, Match my scanner, undo, saving, presets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, QRect, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent

from aegui import recipes, workflow
from aegui.errors import UserError
from aegui.events import Done, Event, RatePoint
from aegui.gui.pages.recipe import RecipePage
from aegui.gui.widgets.rate_dialog import RateDialog
from aegui.gui.widgets.recipe_foot import Plan
from aegui.gui.widgets.scanner_dialog import ScannerDialog
from aegui.recipes.corruptions import Measured
from aegui.recipes.schedules import factor
from aegui.training.find_rate import FoundRate
from aegui.training.forecast import Forecast

from .test_recipe_page import page, rate, session, type_into  # noqa: F401


def forecast(**values) -> Forecast:
    """Of 40 epochs, with what differs."""
    usual = Forecast(0.15, 1.0, 2480, 40, 412.0, 16, 2 * 2**30, 8 * 2**30, 64, {})
    return replace(usual, **values)


def test_what_could_not_be_timed_is_not_tried_again_and_again(page, qtbot, monkeypatch):
    tried: list[object] = []

    def fails(job: object) -> Iterator[Event]:
        tried.append(job)
        raise UserError("The model is gone.", "Choose another.")
        yield

    monkeypatch.setattr(workflow, "forecast", fails)
    qtbot.waitUntil(lambda: not page.session.lanes.running(), timeout=60_000)
    page.forecasts.try_again()
    for _ in range(3):
        page.forecasts.measure()
        qtbot.waitUntil(lambda: not page.session.lanes.running(), timeout=60_000)
    assert len(tried) == 1
    page.forecasts.try_again()
    page.forecasts.measure()
    qtbot.waitUntil(lambda: not page.session.lanes.running(), timeout=60_000)
    assert len(tried) == 2


def test_the_forecast_says_measured_only_when_it_was(page):
    page.foot.show_forecast(Plan(50, 62, 16), None)
    assert page.foot.time.text() == "Time not known yet"
    assert "measured" not in page.foot.steps.text()
    page.foot.show_forecast(Plan(40, 62, 16), forecast())
    assert page.foot.time.text() == "≈ 6 min 52 s"
    assert page.foot.where.text() == "with validation"
    assert page.foot.steps.text() == "40 epochs × 62 steps, measured just now"
    assert (page.foot.memory.text(), page.foot.memory_of.text()) == ("2.0 GB", "of 8.0 GB free")
    assert page.foot.use_batch.isHidden()


def test_a_batch_too_large_for_memory_is_told_at_its_field_and_the_one_that_fits_is_one_click_away(page, qtbot):
    page.forecasts.take(page.forecasts.key(), forecast(memory_bytes=9 * 2**30, largest_batch=12))
    row = page.editor.form.row("run", "batch_size")
    assert row.tone == "warn"
    assert row.message.text.text() == "Needs about 9.0 GB of 8.0 GB. 12 fits."
    assert page.foot.start.isEnabled(), "it is the user's decision"
    assert page.foot.use_batch.text() == "Batch that fits: 12 – use"
    page.foot.use_batch.click()
    assert page.session.recipe.run.batch_size == 12
    assert page.forecasts.current() is None, "another batch is another forecast"


def names_of(page: RecipePage) -> list[str]:
    return [corruption.kind for corruption in page.session.recipe.targets.corruptions]


def test_measured_noise_replaces_the_corruptions_and_undo_brings_them_back(page):
    page._on_corruptions((Measured(low=5, high=9),))
    assert names_of(page) == ["measured"]
    assert page.editor.form.value() == page.session.recipe
    page.session.undo.undo()
    assert names_of(page) == ["gaussian"]
    assert page.editor.form.value() == page.session.recipe


def test_a_found_rate_scales_all_groups_and_keeps_their_ratio(page):
    page.presets.chips["layerwise"].click()
    before = [group.learning_rate for group in page.session.recipe.groups]
    page._on_rate(0.5)
    assert [group.learning_rate for group in page.session.recipe.groups] == [rate / 2 for rate in before]
    assert page.editor.form.value() == page.session.recipe
    page.session.set_recipe(page.session.recipe.with_set(["adaptation={kind: lora, learning_rate: 0.001}"]))
    page._on_rate(3)
    assert page.session.recipe.adaptation.learning_rate == 3e-3


def test_what_is_typed_into_one_field_is_one_step_of_undo(page, qtbot):
    steps = page.session.undo.count()
    type_into(qtbot, rate(page), "0.00025")
    assert page.session.undo.count() == steps + 1
    type_into(qtbot, rate(page), "3e-4")
    assert page.session.undo.count() == steps + 2
    page.session.undo.undo()
    assert page.session.recipe.groups[0].learning_rate == 2.5e-4
    assert rate(page).text() == "2.5e-4"


def test_a_dropped_recipe_file_is_loaded(page, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(recipes.load("layerwise").model_copy(update={"id": "mine", "title": "Mine"}).to_yaml())
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(file))])
    none, left = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
    copy = Qt.DropAction.CopyAction
    enter = QDragEnterEvent(QPoint(5, 5), copy, data, left, none)
    page.dragEnterEvent(enter)
    assert enter.isAccepted()
    page.dropEvent(QDropEvent(QPointF(5, 5), copy, data, left, none))
    assert page.session.recipe.title == "Mine"
    assert "mine" in page.presets.chips


def test_a_recipe_saved_under_a_title_becomes_one_of_its_own(page, qtbot, tmp_path):
    type_into(qtbot, rate(page), "5e-4")
    page.save_recipe(tmp_path / "r.yaml", "Knee, 2nd try")
    saved = recipes.load(tmp_path / "r.yaml")
    assert (saved.id, saved.title) == ("knee-2nd-try", "Knee, 2nd try")
    assert saved.groups[0].learning_rate == 5e-4
    assert page.session.preset == saved and page.changes() == []
    assert "knee-2nd-try" in page.presets.chips


def test_a_group_that_is_let_go_later_has_its_curve_from_that_epoch(page, qtbot):
    values = ["groups=[{match: encoder, learning_rate: 1e-5, unfreeze_epoch: 5}, {match: rest}]", "run.epochs=20"]
    page.session.set_recipe(page.session.recipe.with_set(values))
    lines = page.editor.rates.lines
    qtbot.waitUntil(lambda: "0 Encoder" in lines)
    x, y = lines["0 Encoder"].data
    assert np.isnan(y[x <= 4]).all() and np.isfinite(y[x > 4]).all()
    assert np.isfinite(lines["1 Rest"].data[1]).all()
    assert "encoder, from epoch 5 up to 1e-5" in page.editor.rates.accessibleDescription()


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "restarts", "onecycle", "cyclical", "plateau"])
def test_every_schedule_is_drawn(page, qtbot, kind):
    page.session.set_recipe(page.session.recipe.with_set([f"schedule={{kind: {kind}, warmup: 3}}"]))
    qtbot.waitUntil(lambda: not page.editor.rates._timer.isActive())
    x, y = page.editor.rates.lines["0 Rest"].data
    recipe = page.session.recipe
    every = 8
    at = factor(recipe.schedule, recipe.run.epochs * every, every)
    assert y[0] < y.max() / 2, "it rises from zero"
    assert np.allclose(y, [1e-4 * at(round(v * every) - 1) for v in x])
    assert ("falls × 0.5 whenever 5 epochs" in page.editor.rates_note.text()) == (kind == "plateau")


def test_presets_beyond_the_first_six_are_in_the_menu_with_their_use(page):
    many = [
        recipes.load("denoise").model_copy(update={"id": f"r{i}", "title": f"R{i}", "use": f"For {i}"})
        for i in range(9)
    ]
    page.presets.show_presets(many, many[0], {"r1": "Needs CT.", "r8": "Needs CT."})
    assert list(page.presets.chips) == ["r0", *(f"r{i}" for i in range(2, 7))]
    assert page.presets.menu.layoutDirection() == Qt.LayoutDirection.LeftToRight
    shown = [(action.text(), action.isEnabled()) for action in page.presets.menu.actions()]
    assert shown == [("R1\tNeeds CT.", False), ("R7\tFor 7", True), ("R8\tNeeds CT.", False)]


def found_rate() -> FoundRate:
    points = tuple((10.0 ** (-6 + i / 4), 1.0 - 0.02 * i, 1.0 - 0.02 * i) for i in range(20))
    return FoundRate(points, 2e-3, {"encoder": 2e-4, "rest": 2e-3}, 3.0, "Some way before the steepest descent.")


@pytest.fixture
def rate_dialog(page, qtbot, monkeypatch) -> RateDialog:
    found = found_rate()

    def search(job):
        for step, point in enumerate(found.points):
            yield RatePoint(step + 1, 28, *point)
        yield Done(found)

    monkeypatch.setattr(workflow, "find_rate", search)
    page.presets.chips["layerwise"].click()
    page.show()
    page.editor.find_rate.click()
    dialog = next(d for d in page.window().findChildren(RateDialog))
    qtbot.waitUntil(dialog.use.isEnabled)
    return dialog


def test_the_suggested_rate_is_marked_and_used_by_all_groups(page, rate_dialog):
    assert rate_dialog.use.text() == "Use 0.002"
    assert rate_dialog.plot.mark.value() == pytest.approx(np.log10(2e-3))
    assert len(rate_dialog.plot.smoothed.data[0]) == 20
    assert "Encoder 2e-5, Decoder 2e-4, Rest 0.002" in rate_dialog.effect.text.text()
    rate_dialog.use.click()
    assert [group.learning_rate for group in page.session.recipe.groups] == [2e-5, 2e-4, 2e-3]


def test_a_dialog_that_grows_stays_in_the_middle_of_the_window(page, rate_dialog):
    window = QRect(page.window().mapToGlobal(QPoint(0, 0)), page.window().size())
    assert window.contains(rate_dialog.geometry())
    assert abs(window.center().y() - rate_dialog.geometry().center().y()) <= 1


def test_another_rate_can_be_dragged_to_or_typed(page, rate_dialog, qtbot):
    rate_dialog.plot.mark.setPos(-4)
    rate_dialog.plot.mark.sigDragged.emit(rate_dialog.plot.mark)
    assert rate_dialog.rate.line.text() == "1e-4"
    type_into(qtbot, rate_dialog.rate.line, "-3")
    assert not rate_dialog.use.isEnabled()
    assert rate_dialog.use.text() == "Use"
    assert rate_dialog.effect.text.property("t") == "err"
    assert "Try 1e-4" in rate_dialog.effect.text.text()
    type_into(qtbot, rate_dialog.rate.line, "5e-4")  # Return uses it at once
    assert page.session.recipe.groups[2].learning_rate == 5e-4


def test_the_scanner_dialog_says_what_it_measured_and_its_noise_is_used(page, qtbot):
    page.show()
    page.editor.match_scanner.click()
    dialog = next(d for d in page.window().findChildren(ScannerDialog))
    qtbot.waitUntil(lambda: dialog.use.isEnabled() or not dialog.problem.isHidden(), timeout=30_000)
    assert dialog.problem.isHidden(), dialog.problem.accessibleName()
    assert dialog.words.text()
    x, y = dialog.plot.lines["Noise power"].data
    assert len(x) > 2 and y.max() == 1
    dialog.use.click()
    assert page.session.recipe.targets.corruptions == dialog.corruptions
