"""A race of a model that looks at the slices beside is judged with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, recipes, workflow
from aegui.data.pairs import Pair
from aegui.events import finish
from aegui.imaging import Series
from aegui.inference.denoiser import Denoiser
from aegui.measure import estimate_noise
from aegui.recipes import Recipe
from aegui.workflow.course import Course, lay_out
from tests.twohalf import SLICES, model, recipe, saved, volumes


def lay(
    folder: Path,
    neighbours: int,
    pairs: tuple[Pair, ...] = (),
    series: tuple[Series, ...] = (),
    plan: Recipe | None = None,
) -> Course:
    scans = series or volumes(folder / "scans", 4, noise=2.0)
    (folder / f"crops{neighbours}").mkdir()
    plan = plan or recipe()
    making = lay_out(plan, [plan], scans, (), pairs, {}, (), folder / f"crops{neighbours}", neighbours)
    while True:
        try:
            next(making)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["noise", "clean"])
def test_slices_judge_with_those_beside_them(kind: str, tmp_path: Path) -> None:
    pairs: tuple[Pair, ...] = ()
    series = volumes(tmp_path / "scans", 4)
    if kind == "clean":
        clean = volumes(tmp_path / "clean", 4, noise=0.0)
        every = tuple((i, i) for i in range(SLICES))
        pairs = tuple(Pair(a, b, every, "order", True, "") for a, b in zip(series, clean, strict=True))
    course = lay(tmp_path, 1, pairs, series)
    assert course.way == kind and 1 <= len(course.judged) == course.slices <= 4
    for one in course.judged:
        assert len(one.seen) == 3
        np.testing.assert_array_equal(one.seen[1][0], one.noisy)
        assert any(not np.array_equal(image, one.noisy) for image, _ in one.seen)
        source = imaging.open_series(one.series)
        denoiser = Denoiser(model(), source, torch.device("cpu"))
        beside = denoiser.pixels(one.noisy, one.valid, seen=one.seen).pixels
        assert not np.array_equal(beside, denoiser.pixels(one.noisy, one.valid).pixels)
        source.close()


def test_added_noise_is_as_strong_in_all_that_is_seen_together_and_one_of_those_that_fit(tmp_path: Path) -> None:
    parts = "{kind: gaussian, low: 5, high: 60}, {kind: speckle, low: 0.9, high: 0.9}"
    targets = f"targets={{kind: synthetic, each: one, corruptions: [{parts}]}}"
    scans = tuple(replace(one, modality="MR") for one in volumes(tmp_path / "scans", 4, noise=0.0, slices=8))
    course = lay(tmp_path, 1, (), scans, recipe(targets))
    assert "with Gaussian noise (5 to 60 of 255) added" in course.words
    strengths = []
    for one in course.judged:
        found = [estimate_noise(image, valid) for image, valid in one.seen]
        assert max(found) < 1.3 * min(found)
        assert len({image.tobytes() for image, _ in one.seen}) > 1
        strengths.append(found[1])
    assert max(strengths) > 1.3 * min(strengths)


def test_crops_lie_where_they_were_so_that_gaps_stay_gaps(tmp_path: Path) -> None:
    course = lay(tmp_path, 0)
    assert all(one.seen == () for one in course.judged)
    for one in (*course.scans, *(judged.series for judged in course.judged)):
        steps = np.diff([z for _, _, z in one.geometry.positions])
        assert set(steps.tolist()) <= {2.0 * k for k in range(1, SLICES)}


def test_the_model_races_and_recipes_that_do_not_suit_it_are_told_why(tmp_path: Path) -> None:
    plan = recipe()
    blind = recipes.load("denoise").with_set(["title=Blind", "targets={kind: noise2void}", "losses=[{kind: mse}]"])
    scans = volumes(tmp_path / "scans", 4, noise=2.0)
    job = workflow.TrainJob(str(saved(tmp_path)), plan, scans, tmp_path / "run", device="cpu")
    result = finish(workflow.race(job, [plan, blind], 0.5))
    rows = {row.name: row for row in result.rows}
    assert rows["Model as it is"].psnr is not None and rows[plan.title].psnr is not None
    assert "looks at the slices beside" in rows["Blind"].reason
