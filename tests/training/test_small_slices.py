"""Slices too small for a model that normalises each by itself are refused in plain words, before and in the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aegui import recipes, workflow
from aegui.errors import UserError
from aegui.events import finish
from tests.training.runs import run, write_scans

PIXELS = "targets={kind: neighbor2neighbor}"


def job(tmp_path: Path, side: int, *changes: str, model: str = "monai-autoencoder") -> workflow.TrainJob:
    found = finish(workflow.scan([write_scans(tmp_path / "scans", patients=3, slices=3, side=side)]))
    recipe = recipes.load("denoise").with_set(["run.epochs=1", "run.batch_size=2", *changes])
    return workflow.TrainJob(model, recipe, found.series, tmp_path / "run", init="random", device="cpu")


def refusals(one: workflow.TrainJob) -> list[str]:
    return [problem.message for problem in workflow.check(one) if problem.blocking]


@pytest.mark.parametrize(
    ("side", "changes", "smallest"),
    [
        (8, (), "8 × 8."),
        (16, (PIXELS, "losses=[{kind: mse}]"), "8 × 8, half of its patch."),
        (16, ("targets.average=2",), "8 × 8."),
    ],
)
def test_a_single_pixel_of_features_is_refused(
    side: int, changes: tuple[str, ...], smallest: str, tmp_path: Path
) -> None:
    small = job(tmp_path, side, *changes)
    (message,) = refusals(small)
    assert message == f"MONAI AutoEncoder needs pictures of more than 8 px; the smallest has {smallest}"
    with pytest.raises(UserError, match="needs pictures of more than 8 px"):
        run(small)
    assert not (small.run / "cache").exists()


@pytest.mark.parametrize(("side", "changes"), [(9, ()), (17, ("losses=[{kind: mse}]",)), (18, (PIXELS,))])
def test_two_pixels_of_features_are_enough(side: int, changes: tuple[str, ...], tmp_path: Path) -> None:
    large = job(tmp_path, side, "losses=[{kind: mse}]", *changes)
    assert not refusals(large)
    assert run(large)[1].bundle.exists()


def test_other_models_take_them(tmp_path: Path) -> None:
    small = job(tmp_path, 8, "losses=[{kind: mse}]")
    for model in ("classic-small", "general-small", "monai-autoencoder-kl"):
        assert not refusals(replace(small, model=model))
