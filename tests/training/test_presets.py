"""Every shipped recipe: it survives its file, it trains scans of its kind, and it spoils no good model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from aegui import recipes, sample, workflow
from aegui.data.pairs import Pair
from aegui.events import Baselines, Epoch, Step, finish
from aegui.imaging import Pixels, Series, open_series
from aegui.recipes import Recipe
from tests.training.runs import of, run

SIDE = 96
# The founding three, then the design's, then the rest.
FIRST = ["denoise", "discriminative", "layerwise", "robust", "structure", "no-clean-scans"]
PRESETS = [recipe.id for recipe in recipes.shipped()]
QUICK = ["run.steps=40", "run.steps_per_epoch=20", "run.batch_size=4", "run.patch_size=64", "run.validation_slices=3"]


def test_presets_stand_in_the_order_of_the_design() -> None:
    assert PRESETS[: len(FIRST)] == FIRST
    titles = [recipe.title for recipe in recipes.shipped()]
    assert titles[:6] == ["Denoise", "Discriminative", "Layer-wise", "Robust", "Structure", "No clean scans"]
    assert len(PRESETS) == len(set(PRESETS)) == len(set(titles)) >= 15


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_file_and_says_what_it_is_for(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    (tmp_path / "again.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    again = recipes.load(tmp_path / "again.yaml")
    assert again == recipe and again.to_yaml() == recipe.to_yaml()
    assert recipe.summary and recipe.use and not recipe.use.endswith(".")
    assert len(recipe.summary) < 110 and len(recipe.use) < 90


def leaves(values: object, address: str = "") -> list[tuple[str, object]]:
    """Every value of a recipe with its address as --set takes it."""
    if isinstance(values, dict):
        return [leaf for key, value in values.items() for leaf in leaves(value, f"{address}.{key}".lstrip("."))]
    if isinstance(values, list):
        return [leaf for index, value in enumerate(values) for leaf in leaves(value, f"{address}.{index}")]
    return [(address, values)]


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_can_be_set_by_its_address(name: str) -> None:
    recipe = recipes.load(name)
    for address, value in leaves(recipe.model_dump(mode="json")):
        text = value if isinstance(value, str) and value else yaml.safe_dump(value).partition("\n")[0]
        assert recipe.with_set([f"{address}={text}"]) == recipe, address
    numbers = [(a, v) for a, v in leaves(recipe.model_dump(mode="json")) if re.search(r"learning_rate$", a)]
    for address, value in numbers:
        changed = recipe.with_set([f"{address}={float(str(value)) / 2}"])
        assert recipes.differences(changed, recipe), address


# ---------------------------------------------------------------- on scans of their kind


def volumes(folder: Path, values: list[list[Pixels]]) -> tuple[Series, ...]:
    for number, slices in enumerate(values):
        (folder / str(number)).mkdir(parents=True)
        np.save(folder / str(number) / "volume.npy", np.stack(slices).astype(np.float32))
    found = sorted(finish(workflow.scan([folder])).series, key=lambda series: series.files[0])
    # Who is who would otherwise depend on where the files lie, and with it the split.
    return tuple(replace(series, patient=str(number)) for number, series in enumerate(found))


def brain(shared: Path) -> list[list[Pixels]]:
    """Crops through a real brain, as of three patients."""
    series = max(finish(workflow.scan([shared / "mr_brain_papaya"])).series, key=lambda s: s.slices)
    source = open_series(series)
    try:
        middle = source.series.slices // 2
        found = [source.read(middle + k) for k in range(-6, 6)]
    finally:
        source.close()
    top, left = ((side - SIDE) // 2 for side in found[0].shape)
    cut = [image[top : top + SIDE, left : left + SIDE] for image in found]
    return [cut[k : k + 4] for k in (0, 4, 8)]


def drawn(noise: float) -> list[list[Pixels]]:
    """Generated pictures of three patients: smooth shadows, discs and thin lines, 0 … 255."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    found = []
    for patient in range(3):
        slices = []
        for k in range(4):
            image = 120 + 50 * np.sin(3 * x + patient) * np.cos(4 * y + 0.3 * k)
            for _ in range(6):
                cx, cy, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.03, 0.15)
                image += rng.uniform(-40, 40) * ((x - cx) ** 2 + (y - cy) ** 2 < r * r)
            image += 25 * (np.abs(np.sin(40 * (x + 0.3 * y))) > 0.97)
            slices.append((image + rng.normal(0, noise, image.shape)).astype(np.float32))
        found.append(slices)
    return found


def repeats(folder: Path) -> tuple[tuple[Series, ...], tuple[Pair, ...]]:
    rng = np.random.default_rng(2)
    twice = [[image + rng.normal(0, 20, image.shape) for image in one] for one in drawn(0) for _ in range(2)]
    found = volumes(folder, twice)
    every = tuple((i, i) for i in range(4))
    pairs = [Pair(found[k], found[k + 1], every, "order", True, "", "repeat") for k in range(0, len(found), 2)]
    return found, tuple(pairs)


def job_for(recipe: Recipe, shared: Path, tmp_path: Path) -> workflow.TrainJob:
    pairs: tuple[Pair, ...] = ()
    if recipe.id == "low-dose-ct":
        folders = finish(sample.generate(tmp_path / "ct", slices=3, patients=3))
        series = finish(workflow.scan([folders["full"]])).series
    elif recipe.id == "repeats":
        series, pairs = repeats(tmp_path / "scans")
    elif recipe.id in ("x-ray", "ultrasound"):
        series = volumes(tmp_path / "scans", drawn(0))
    elif recipe.id == "no-clean-scans":
        series = volumes(tmp_path / "scans", drawn(20))
    else:
        series = volumes(tmp_path / "scans", brain(shared))
    # Each patient is a class; slices of all of them validate.
    labels = workflow.folder_labels(series) if recipe.needs_labels else {}
    return workflow.TrainJob(
        "general-small", recipe, series, tmp_path / "run", pairs=pairs, labels=labels, device="cpu"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_scans_of_its_kind_and_spoils_no_good_model(name: str, shared: Path, tmp_path: Path) -> None:
    job = job_for(recipes.load(name).with_set(QUICK), shared, tmp_path)
    assert [p for p in workflow.check(job) if p.blocking] == []
    events, result = run(job)
    before = of(events, Baselines)[0].scores["pretrained"]["psnr"]
    epochs, losses = of(events, Epoch), [step.loss for step in of(events, Step)]
    # The founding formula trains a new head at full weight from the first step on: the picture pays for it at first.
    assert epochs[-1].psnr > before - (4.0 if name == "discriminative" else 0.3)
    gained = max(epoch.psnr for epoch in epochs) > before
    assert gained or np.mean(losses[-10:]) < np.mean(losses[:10])
    assert result.bundle.exists()


def test_few_slices_are_told_which_recipe_is_for_them(tmp_path: Path) -> None:
    series = volumes(tmp_path / "scans", drawn(0))
    job = workflow.TrainJob("general-small", recipes.load("denoise"), series, tmp_path / "run", device="cpu")
    assert any("Few scans" in problem.hint for problem in workflow.check(job))
    better = replace(job, recipe=recipes.load("few-scans"))
    assert not any("Few scans" in problem.hint for problem in workflow.check(better))
