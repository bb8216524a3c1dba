"""Loss terms that do not go with scans, model or installation are named before the start, at their field."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegui import recipes, workflow
from aegui.imaging import Geometry, Series
from aegui.recipes import Recipe
from aegui.workflow.loss_problems import loss_problems


def series(modality: str = "CT", side: int = 128, uid: str = "1") -> Series:
    unit = "HU" if modality == "CT" else ""
    geometry = Geometry((1.0, 1.0, 1.0))
    return Series(
        uid, "", "p", "P", "", modality, "", "dicom", (Path("a"),), side, side + 20, 9, geometry, unit=unit
    )  # fmt: skip


def recipe(*losses: dict[str, object], **more: object) -> Recipe:
    values = recipes.load("denoise").model_dump(mode="json") | {"losses": list(losses)} | more
    return Recipe.parse(values)


def job(found: Recipe, *scans: Series, model: str = "general-small", init: str = "pretrained") -> workflow.TrainJob:
    return workflow.TrainJob(model, found, scans or (series(),), Path("run"), init=init)  # type: ignore[arg-type]


def test_the_founding_recipes_have_no_problem() -> None:
    for name in ("denoise", "discriminative", "layerwise"):
        assert not list(loss_problems(job(recipes.load(name))))


def test_a_ct_window_on_mr_scans_is_refused_at_the_window() -> None:
    lung = recipe({"kind": "mse"}, {"kind": "l1", "window": "lung"})
    ((message, hint, where, blocking),) = loss_problems(job(lung, series(), series("MR", uid="2")))
    assert "lung window of CT" in message and "MR scans" in message and "all values" in hint
    assert where == ("losses", 1, "l1", "window") and blocking
    assert not list(loss_problems(job(lung, series())))


def test_scans_that_do_not_tell_their_unit_are_only_warned_of() -> None:
    lung = recipe({"kind": "l1", "window": "lung"})
    ((message, _, _, blocking),) = loss_problems(job(lung, series("OT")))
    assert "not known" in message and not blocking


def test_a_latent_spread_needs_a_variational_model() -> None:
    spread = recipe({"kind": "mse"}, {"kind": "kl"})
    ((message, hint, where, blocking),) = loss_problems(job(spread))
    assert "needs a variational model" in message and "MONAI AutoencoderKL" in hint
    assert where == ("losses", 1, "kl", "weight") and blocking
    assert not list(loss_problems(job(spread, model="monai-autoencoder-kl")))


def test_binary_cross_entropy_needs_values_from_0_to_1() -> None:
    plain, windowed = recipe({"kind": "bce"}), recipe({"kind": "bce", "window": "abdomen"})
    ((message, _, _, blocking),) = loss_problems(job(plain))
    assert "output is 0 to 1" in message and blocking
    assert not list(loss_problems(job(plain, model="classic-small")))
    assert not list(loss_problems(job(windowed)))


@pytest.mark.parametrize("features", ["lpips", "radimagenet"])
def test_features_that_are_not_installed_are_named(
    features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    ((message, hint, where, blocking),) = loss_problems(job(recipe({"kind": "perceptual", "features": features})))
    assert "not installed" in message and str(tmp_path) in hint and blocking
    assert where == ("losses", 0, "perceptual", "features")


def test_features_of_an_untrained_model_are_warned_of() -> None:
    own = recipe({"kind": "perceptual"})
    assert not list(loss_problems(job(own)))
    for untrained in (job(own, init="random"), job(own, model="monai-autoencoder")):
        ((message, _, _, blocking),) = loss_problems(untrained)
        assert "starts untrained" in message and not blocking


def test_ms_ssim_needs_slices_that_hold_its_scales() -> None:
    five = recipe({"kind": "ms_ssim", "scales": 4}, run={"patch_size": None})
    assert not list(loss_problems(job(five, series(side=81))))
    ((message, _, where, blocking),) = loss_problems(job(five, series(side=80)))
    assert "81 × 81" in message and "has 80" in message and blocking
    assert where == ("losses", 0, "ms_ssim", "scales")
    halves = recipe({"kind": "ms_ssim"}, targets={"kind": "neighbor2neighbor"}, run={"patch_size": None})
    assert any("has 40" in message for message, *_ in loss_problems(job(halves, series(side=80))))


def test_comparing_structure_with_a_noisy_target_is_warned_of() -> None:
    noisy = recipe({"kind": "mse"}, {"kind": "ssim"}, targets={"kind": "noise2noise"})
    ((message, _, where, blocking),) = loss_problems(job(noisy))
    assert "noise of its own" in message and where[1] == 1 and not blocking


def test_contrast_needs_more_than_one_slice_at_a_time() -> None:
    one = recipe({"kind": "supcon"}, run={"batch_size": 1})
    ((message, *_),) = loss_problems(job(one))
    assert "a batch has one" in message


def test_a_term_without_weight_has_no_problem() -> None:
    assert not list(loss_problems(job(recipe({"kind": "mse"}, {"kind": "kl", "weight": 0}))))


def test_check_lists_them_with_everything_else(tmp_path: Path) -> None:
    found = workflow.check(job(recipe({"kind": "kl"})))
    assert any(problem.where == ("losses", 0, "kl", "weight") and problem.blocking for problem in found)
