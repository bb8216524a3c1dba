"""The Recipe page: models, presets, forms, problems, start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel, QPushButton, QStyleOptionButton

from aegui import models, recipes
from aegui.events import finish
from aegui.gui import previews
from aegui.gui.pages.recipe import RecipePage
from aegui.gui.session import Session
from aegui.gui.widgets.gallery import speed_words
from aegui.gui.widgets.import_dialog import ImportDialog, read_model
from aegui.gui.widgets.recipe_foot import duration_words, size_words
from aegui.gui.widgets.rows import Fold
from aegui.gui.widgets.table import TableEditor
from aegui.models.card import Card, Score
from aegui.models.told import card_gain, count_words
from aegui.models.zoo import load_model
from aegui.recipes.schedules import factor

from .generated import ct, scanned, write_ct


@pytest.fixture
def session(themed, tmp_path: Path) -> Session:
    made = Session()
    write_ct(tmp_path / "scans")
    made.set_scan(scanned(tmp_path / "scans"), [tmp_path / "scans"])
    return made


@pytest.fixture
def page(session: Session, qtbot) -> Iterator[RecipePage]:
    """Not shown, so that nothing is measured in the background; entered as the window does."""
    made = RecipePage(session)
    made.resize(1336, 760)
    qtbot.addWidget(made)
    made.enter()
    yield made
    made.hide()
    for job in session.lanes.running():
        job.abandon()
    qtbot.waitUntil(lambda: not session.lanes.running(), timeout=30_000)


@pytest.fixture
def two_classes(session: Session, page: RecipePage) -> RecipePage:
    series = session.series[0]
    session.set_labels({str(file): "ab"[i % 2] for i, file in enumerate(series.files)})
    page._check()
    return page


def rate(page: RecipePage, index: int = 0):
    table = page.editor.form.editors[("groups",)]
    assert isinstance(table, TableEditor)
    return table.items[index].editors[("learning_rate",)].line


def type_into(qtbot, line, text: str) -> None:
    line.setFocus()
    line.selectAll()
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)


def test_the_page_starts_with_the_default_model_and_the_first_preset(page):
    assert page.session.model_ref == models.cards()[0].id
    assert page.editor.form.value() == recipes.shipped()[0]
    assert page.blocking() == 0
    assert page.foot.start.isEnabled()
    assert page.rail_state().kind == "ready"


def test_a_wrong_learning_rate_shows_at_its_field_disables_start_and_the_foot_leads_there(page, qtbot):
    page.show()
    type_into(qtbot, rate(page), "-1")
    assert page.rail_state() == ("warn", "1 to fix")
    assert not page.foot.start.isEnabled()
    assert page.foot.count.text() == "1 thing to fix before you can start"
    link = next(b for b in page.foot.trouble.findChildren(QPushButton) if b.property("kind") == "link")
    assert "learning rate" in link.text()
    page.foot.start.setFocus()
    qtbot.mouseClick(link, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: rate(page).hasFocus())
    type_into(qtbot, rate(page), "2e-4")
    assert page.foot.start.isEnabled()
    assert page.session.recipe.groups[0].learning_rate == 2e-4


def test_a_problem_too_long_for_the_foot_ends_in_dots(page, qtbot):
    type_into(qtbot, rate(page), "0")
    link = page.foot.link
    option = QStyleOptionButton()
    for wide, end in ((120, "…"), (600, link.text()[-8:])):
        link.resize(wide, link.height())
        link.initStyleOption(option)
        assert option.text.startswith("Rest, learn")
        assert option.text.endswith(end)


def test_a_wrong_value_leaves_the_last_good_recipe_in_the_session(page, qtbot):
    type_into(qtbot, rate(page), "3e-4")
    type_into(qtbot, rate(page), "0")
    assert page.session.recipe.groups[0].learning_rate == 3e-4
    page.start_training()
    assert page.session.train_job is None


def test_changes_are_counted_and_reset_takes_them_back(page, qtbot):
    type_into(qtbot, rate(page), "2e-4")
    assert page.subtitle.endswith("changed from preset in 1 place")
    assert page.reset.isEnabled()
    page.reset.click()
    assert page.session.recipe == page.session.preset
    assert "changed" not in page.subtitle


def test_undo_brings_the_value_back_into_the_form(page, qtbot):
    type_into(qtbot, rate(page), "2e-4")
    while page.session.undo.canUndo():
        page.session.undo.undo()
    assert page.session.recipe == recipes.shipped()[0]
    assert rate(page).text() == "1e-4"


def test_a_preset_fills_the_form(page):
    page.presets.chips["layerwise"].click()
    assert page.editor.form.value() == recipes.load("layerwise")
    assert page.session.preset.id == "layerwise"
    assert page.presets.chips["layerwise"].isChecked()


def test_the_discriminative_preset_waits_for_classes_and_says_so(page):
    assert "discriminative" not in page.presets.chips
    action = next(a for a in page.presets.menu.actions() if a.text().startswith("Discriminative\t"))
    assert not action.isEnabled()
    assert "This recipe needs at least two classes. Put each" in action.text()


def test_the_discriminative_preset_can_be_chosen_with_two_classes(two_classes):
    chip = two_classes.presets.chips["discriminative"]
    assert chip.isEnabled()
    chip.click()
    two_classes._check()
    assert two_classes.session.recipe.needs_labels
    assert two_classes.blocking() == 0


def test_missing_classes_are_told_at_the_loss_term(page):
    page._on_preset(recipes.load("discriminative"))
    page._check()
    assert page.blocking() == 1
    terms = page.editor.form.editors[("losses",)].terms
    assert "needs at least two classes" in terms[1].message.text.text()


def test_pairs_that_do_not_exist_are_told_at_the_goal(page):
    union = page.editor.form.editors[("targets",)]
    union.choice.set_index(0)
    union.choice.changed.emit()
    page._check()
    assert page.editor.form.row("targets").tone == "err"
    assert "No noisy series has a matching clean series" in page.editor.form.row("targets").message.text.text()


def test_a_missing_hold_out_only_warns(page):
    assert "held out" in page.foot.ok_icon.toolTip()
    assert page.foot.start.isEnabled()


def test_without_scans_the_link_leads_to_scans(themed, qtbot):
    page = RecipePage(Session())
    qtbot.addWidget(page)
    page.enter()
    assert not page.foot.start.isEnabled()
    with qtbot.waitSignal(page.session.page_requested) as asked:
        page.foot.problem_opened.emit(())
    assert asked.args == ["scans"]


def test_start_hands_the_job_to_train(page, qtbot):
    with qtbot.waitSignal(page.session.page_requested) as asked:
        page.foot.start.click()
    job = page.session.train_job
    assert asked.args == ["train"]
    assert job.recipe == page.session.recipe
    assert job.noisy == page.session.noisy and job.model == page.session.model_ref


def test_random_weights_are_passed_on(page):
    page.initial.button(1).click()
    assert page.job().init == "random"


def test_a_saved_recipe_loads_again_and_becomes_the_preset(page, qtbot, tmp_path):
    type_into(qtbot, rate(page), "5e-4")
    page.save_recipe(tmp_path / "mine.yaml")
    edited = page.session.recipe
    page.presets.chips["layerwise"].click()
    page.load_recipe(tmp_path / "mine.yaml")
    assert page.session.recipe == edited.model_copy(update={"id": "denoise-own"}), "an edited preset is not the preset"
    assert page.changes() == []


def test_a_recipe_file_with_an_unknown_key_becomes_a_notice(page, qtbot, tmp_path):
    (tmp_path / "odd.yaml").write_text(recipes.load("denoise").to_yaml() + "speed: 3\n")
    with qtbot.waitSignal(page.session.notice) as told:
        page.load_recipe(tmp_path / "odd.yaml")
    assert "speed" in told.args[0].message
    assert page.session.recipe == recipes.shipped()[0]


def test_an_unwritable_place_for_a_recipe_becomes_a_notice(page, qtbot, tmp_path):
    (tmp_path / "file").write_text("")
    with qtbot.waitSignal(page.session.notice) as told:
        page.save_recipe(tmp_path / "file" / "r.yaml")
    assert told.args[0].message == "r.yaml could not be written."


def test_the_curve_is_the_schedule_that_training_uses(page, qtbot):
    recipe = page.session.recipe.with_set(["schedule.kind=cosine", "schedule.warmup=2", "run.epochs=20"])
    page.session.set_recipe(recipe)
    qtbot.waitUntil(lambda: "0 Rest" in page.editor.rates.lines and page.editor.rates.lines["0 Rest"].data[0][-1] == 20)
    x, y = page.editor.rates.lines["0 Rest"].data
    every = max(8, -(-400 // 20))
    at = factor(recipe.schedule, 20 * every, every)
    expected = [1e-4 * at(round(value * every) - 1) for value in x]
    assert np.allclose(y, expected, rtol=1e-12)
    assert x[-1] == 20 and y.max() == 1e-4


def test_unfit_models_come_last_with_their_reason_and_cannot_be_chosen(session, qtbot, monkeypatch):
    shipped = models.cards()
    other = Card(id="xray", title="Chest X-ray", architecture="conv_autoencoder", modalities=("DX",))
    monkeypatch.setattr(models, "cards", lambda: [other, *shipped])
    page = RecipePage(session)
    qtbot.addWidget(page)
    last = page.gallery.cards[-1]
    assert last.entry.card.id == "xray"
    assert last.speed.text() == "CT; model is for DX"
    before = session.model_ref
    last.clicked.emit()
    assert session.model_ref == before
    page.gallery.cards[0].clicked.emit()
    assert session.model_ref == page.gallery.cards[0].entry.ref


def test_a_model_that_looks_at_the_slices_beside_says_so(session, qtbot, monkeypatch):
    beside = Card(id="b", title="B", summary="For CT", architecture="residual_autoencoder", options={"neighbours": 1})
    monkeypatch.setattr(models, "cards", lambda: [beside])
    page = RecipePage(session)
    qtbot.addWidget(page)
    (shown,) = page.gallery.cards
    assert "For CT. Looks at the slice before and after, too." in shown.toolTip()
    assert any(label.text() == "sees 3 slices" for label in shown.findChildren(QLabel))


def test_filters_show_what_suits_a_modality(session, qtbot, monkeypatch):
    mr = Card(id="mr", title="Brain", architecture="conv_autoencoder", modalities=("MR",))
    any_ = Card(id="any", title="Any", architecture="conv_autoencoder")
    monkeypatch.setattr(models, "cards", lambda: [any_, mr])
    page = RecipePage(session)
    qtbot.addWidget(page)

    def ids(button: int) -> list[str]:
        page.gallery.filters.button(button).click()
        return [card.entry.card.id for card in page.gallery.cards]

    assert ids(1) == ["any"]
    assert ids(2) == ["any", "mr"]
    assert ids(4) == ["any", "mr"]


def test_cards_show_the_users_own_slice_and_the_measured_speed(page):
    noisy = np.linspace(-100, 200, 64, dtype=np.float32).repeat(64).reshape(64, 64)
    ref = str(page.gallery.cards[0].entry.ref)
    page.models._on_preview(previews.SliceShown(noisy, (400.0, 40.0)))
    assert isinstance(page.gallery.cards[0].thumb.noisy, QImage)
    assert page.gallery.cards[0].thumb.clean is None
    page.models._on_preview(previews.Cleaned(ref, noisy, 0.041))
    assert page.gallery.cards[0].thumb.clean is not None
    assert page.gallery.cards[0].speed.text() == "41 ms / slice here"
    assert page.gallery.cards[0].caution.isHidden()


def test_cards_tell_the_gain_over_the_strongest_filter_and_every_score_in_the_tip(session, qtbot, monkeypatch):
    scores = (
        Score(scans="CT", noise="Gaussian, σ 25", slices=9, psnr=30, others={"input": 20, "TV": 28, "BM3D": 29.5}),
        Score(scans="CT", noise="Gaussian, σ 50", slices=9, psnr=28, others={"input": 14, "TV": 26, "BM3D": 27.3}),
        Score(scans="MR", noise="Gaussian, σ 25", slices=1, psnr=31, others={"input": 20, "TV": 28, "BM3D": 31.2}),
    )
    scored = Card(id="scored", title="Scored", architecture="conv_autoencoder", scores=scores, scored_by="the bench")
    other = Card(id="other", title="Other", architecture="conv_autoencoder")
    monkeypatch.setattr(models, "cards", lambda: [scored, other])
    page = RecipePage(session)
    qtbot.addWidget(page)
    assert card_gain(scored) == "CT +0.6, MR −0.2 dB over BM3D"
    assert card_gain(other) == ""
    even = scores[2].model_copy(update={"scans": "X-ray", "psnr": 31.18})
    assert card_gain(scored.model_copy(update={"scores": (even,)})) == "X-ray +0.0 dB over BM3D"
    tip = page.gallery.cards[0].toolTip().splitlines()
    assert "MR, Gaussian, σ 25: input 20.0, TV 28.0, BM3D 31.2, this model 31.0 dB (1 slice)" in tip
    assert tip[-1] == "Scored: the bench"
    assert "Scored" not in page.gallery.cards[1].toolTip()


def test_a_card_warns_where_the_scan_is_not_what_the_model_has_seen(page):
    noisy = np.zeros((64, 64), dtype=np.float32)
    card = page.gallery.cards[0]
    page.models._on_preview(previews.SliceShown(noisy, (400.0, 40.0)))
    reasons = ("noise of 90 of 255; the model has seen 2 to 60", "coarser noise than the model has seen")
    page.models._on_preview(previews.Cleaned(str(card.entry.ref), noisy, 0.041, unlike=reasons))
    assert not card.caution.isHidden() and card.about.isHidden()
    assert card.caution.text().startswith("Noise of 90 of 255;") and reasons[1] in card.caution.text()
    page.models._on_preview(previews.SliceShown(noisy, (400.0, 40.0)))
    assert card.caution.isHidden() and not card.about.isHidden()


def test_previews_are_of_the_middle_slice_and_one_bad_model_does_not_stop_the_rest(tmp_path):
    series = ct(tmp_path, side=96)
    weights = tmp_path / "own.safetensors"
    from safetensors.torch import save_file

    save_file(load_model("classic-small", "random").net.net.state_dict(), weights)
    found = list(previews.run(series, ["no-such-model", weights]))
    shown = [e for e in found if isinstance(e, previews.SliceShown)]
    cleaned = [e for e in found if isinstance(e, previews.Cleaned)]
    assert shown[0].noisy.shape == (96, 96) and shown[0].window == (400.0, 40.0)
    assert cleaned[0].image is None and "no-such-model" in cleaned[0].problem
    assert cleaned[1].image is not None and cleaned[1].seconds > 0


def test_parameters_are_counted_by_group(page):
    page.session.set_model("classic-small")
    page.session.set_recipe(recipes.load("layerwise"))
    table = page.editor.form.editors[("groups",)]
    counts = table.facts
    assert counts[2] == "0"
    assert sum(1000 * float(words.split()[0]) for words in counts[:2]) == pytest.approx(9569, abs=100)
    assert page.editor.trainable.text == "9.6 k trainable"


def test_words_for_counts_speeds_and_times():
    assert [count_words(n) for n in (512, 9569, 999_600, 1042976)] == ["512", "9.6 k", "1.0 M", "1.0 M"]
    assert [speed_words(s) for s in (0.0412, 1.4)] == ["41 ms / slice", "1.4 s / slice"]
    assert [size_words(b) for b in (2 * 2**30, 480 * 2**20)] == ["2.0 GB", "480 MB"]
    assert [duration_words(s) for s in (12, 220, 1200, 7500)] == ["12 s", "3 min 40 s", "20 min", "2 h 5 min"]


def checkpoint(tmp_path: Path, name: str, change) -> Path:
    weights = dict(load_model("classic-small", "random").net.net.state_dict())
    change(weights)
    torch.save(weights, tmp_path / name)
    return tmp_path / name


def test_a_checkpoint_that_fits_can_be_used(page, qtbot, tmp_path):
    read = finish(read_model(checkpoint(tmp_path, "fits.pt", lambda w: None)))
    dialog = ImportDialog(read, page)
    qtbot.addWidget(dialog)
    dialog.accepted_model.connect(page.models._on_model_accepted)
    assert read.complete
    dialog.use.click()
    assert page.session.model_ref == tmp_path / "fits.pt"
    assert page.gallery.current == str(tmp_path / "fits.pt")


def test_layers_that_do_not_fit_are_listed_by_name_and_the_file_cannot_be_used(page, qtbot, tmp_path):
    def change(weights):
        del weights["decoder.0.bias"]
        weights["extra.weight"] = torch.zeros(1)
        weights["encoder.2.weight"] = torch.zeros(1, 1, 3, 3)

    read = finish(read_model(checkpoint(tmp_path, "odd.pth", change)))
    dialog = ImportDialog(read, page)
    qtbot.addWidget(dialog)
    text = dialog.report.toPlainText()
    assert "Missing in the file (1)\n  decoder.0.bias" in text
    assert "Not known to the model (1)\n  extra.weight" in text
    assert "encoder.2.weight (1, 1, 3, 3) instead of (32, 16, 3, 3)" in text
    assert dialog.use.isHidden()


@pytest.mark.parametrize("content", [b"just words", b""])
def test_a_text_file_named_pt_becomes_a_notice(page, qtbot, tmp_path, content):
    (tmp_path / "notes.pt").write_bytes(content)
    with qtbot.waitSignal(page.session.notice, timeout=20_000) as told:
        page.models.load_model(tmp_path / "notes.pt")
    assert "notes.pt" in told.args[0].message
    qtbot.waitUntil(lambda: not page.session.lanes.running())
    assert page.session.model_ref == models.cards()[0].id


def test_every_fold_says_what_it_holds_more_of(page):
    links = [fold.link.text().strip() for fold in page.editor.findChildren(Fold) if fold.link.text().strip()]
    assert {"More on regularisation", "More on stopping", "More settings"} <= set(links)
    assert len(set(links)) == len(links)


def test_a_narrow_form_has_one_column(page, qtbot):
    page.show()
    wide = page.editor._columns.direction()
    page.resize(1176, 620)
    qtbot.waitUntil(lambda: page.editor._columns.direction() != wide)


def test_another_kind_of_target_counts_as_one_change(page):
    page.session.set_recipe(page.session.recipe.with_set(["targets={kind: paired}"]))
    assert page.changes() == ["targets.kind"]
    assert page.subtitle.endswith("changed from preset in 1 place")


def test_a_shipped_file_is_read_again_only_when_it_has_changed(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(recipes.shipped()[0].model_copy(update={"title": "First"}).to_yaml())
    first = recipes.Recipe.load_known(file)
    assert recipes.Recipe.load_known(file) is first
    file.write_text(first.model_copy(update={"title": "Second one"}).to_yaml())
    assert recipes.Recipe.load_known(file).title == "Second one"
