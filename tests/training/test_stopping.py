"""Which epoch is the best one, and when a run ends before its time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegui import recipes, workflow
from aegui.events import Epoch, Noted, Started
from aegui.measure import auc
from aegui.recipes import Recipe
from aegui.training.selection import Selection
from aegui.training.standing import Standing
from aegui.training.validation import Scores
from tests.training.runs import of, run, short_job


def judged(recipe: Recipe, values: list[float], **more: float) -> tuple[Standing, str]:
    """Epochs with these values of PSNR, until the run would end."""
    selection = Selection(recipe, 2, "validation PSNR")
    at = Standing()
    for epoch, value in enumerate(values, 1):
        selection.judge(at, epoch, Scores(value, value / 100, {"mse": -value, "tv": 0.0, "ce": -value}, value, value))
        at.turn(epoch)
        if why := selection.exhausted(at):
            return at, why
    return at, ""


def changed(*assignments: str, recipe: str = "denoise") -> Recipe:
    return recipes.load(recipe).with_set(list(assignments))


def test_a_run_without_gain_ends_after_its_patience() -> None:
    at, why = judged(changed("stopping.patience=3"), [30, 31, 30.9, 30.8, 30.7, 40])
    assert (at.best.epoch, at.epoch) == (2, 5)
    assert why == "Stopped early after epoch 5: no gain for 3 epochs (validation PSNR)"


def test_without_patience_a_run_goes_to_its_end() -> None:
    at, why = judged(changed(), [31, 30, 29, 28])
    assert (at.epoch, why) == (4, "")


def test_no_run_ends_before_its_minimum_length() -> None:
    at, _ = judged(changed("stopping.patience=1", "stopping.min_epochs=4"), [31, 30, 29, 28, 27, 26])
    assert at.epoch == 4


def test_gains_below_the_smallest_one_do_not_count_but_the_best_is_kept() -> None:
    at, why = judged(changed("stopping.patience=2", "stopping.min_gain=0.5"), [30, 30.3, 30.4, 40])
    assert (at.epoch, at.best.epoch) == (3, 3)
    assert "no gain of more than 0.5 dB for 2 epochs" in why


def test_small_gains_that_add_up_to_one_count() -> None:
    at, _ = judged(changed("stopping.patience=2", "stopping.min_gain=0.5"), [30, 30.3, 30.6, 30.9, 31.2])
    assert at.epoch == 5


@pytest.mark.parametrize(
    ("metric", "recipe", "words"),
    [
        ("auto", "denoise", "validation PSNR"),
        ("auto", "discriminative", "validation loss"),
        ("ssim", "denoise", "validation SSIM"),
        ("accuracy", "discriminative", "validation accuracy"),
        ("auc", "discriminative", "validation AUC"),
    ],
)
def test_every_metric_picks_the_epoch_with_its_best_value(metric: str, recipe: str, words: str) -> None:
    plan = changed(f"stopping.metric={metric}", recipe=recipe)
    assert Selection(plan, 2, "validation PSNR").words == words
    assert judged(plan, [0.2, 0.9, 0.4])[0].best.epoch == 2


def test_the_loss_is_compared_with_the_same_weights_in_every_epoch() -> None:
    plan = changed("losses.tv.final=0", "stopping.metric=loss")
    selection = Selection(plan, 0, "validation PSNR")
    terms = {"mse": 1.0, "tv": 10.0, "loss": 123.0}
    assert selection.value(Scores(30, 0.9, terms)) == pytest.approx(-1.1)


def test_without_labels_in_validation_the_loss_takes_the_place_of_the_auc() -> None:
    plan = changed("stopping.metric=auc", recipe="discriminative")
    for classes in (0, 1):
        selection = Selection(plan, classes, "validation PSNR")
        assert selection.metric == "loss" and "chosen by the loss" in selection.warning


def test_a_real_run_says_why_it_ended_early(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.epochs=30", "stopping.patience=2", "stopping.min_gain=50", "stopping.min_epochs=3"])
    events, result = run(job)
    assert len(of(events, Epoch)) == 3
    why = "Stopped early after epoch 3: no gain of more than 50 dB for 2 epochs (validation PSNR)"
    assert of(events, Noted)[-1].message == why
    assert json.loads((result.run / "run.json").read_text())["ended"] == why
    assert not result.stopped


def test_blind_targets_are_judged_at_pixels_that_were_held_out(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["targets={kind: noise2void}", "losses=[{kind: mse}]", "run.epochs=1"])
    assert of(run(job)[0], Started)[0].selection == "held-out pixels"


def test_the_auc_is_the_mann_whitney_statistic() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 70)
    scores = np.round(rng.random((70, 3)) + 0.3 * np.eye(3)[labels], 1)
    areas = [
        mannwhitneyu(scores[labels == k, k], scores[labels != k, k]).statistic
        / ((labels == k).sum() * (labels != k).sum())
        for k in range(3)
    ]
    assert auc(scores, labels) == pytest.approx(np.mean(areas), abs=1e-12)
    unknown = np.where(np.arange(70) < 5, -1, labels)
    assert auc(scores, unknown) == pytest.approx(auc(scores[5:], labels[5:]), abs=1e-12)
    assert auc(scores, np.zeros(70, int)) is None


def test_check_words_about_the_metric_name_its_field(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["targets={kind: noise2void}", "losses=[{kind: mse}]", "stopping.metric=ssim"])
    assert ("stopping", "metric") in {p.where for p in workflow.check(job)}


def test_a_run_that_ended_early_stays_ended_when_it_is_resumed(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.epochs=30", "stopping.patience=1", "stopping.min_gain=50"])
    run(job)
    events, result = run(replace(job, resume=True))
    assert of(events, Epoch) == [] and result.epochs == 2
