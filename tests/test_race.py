"""Recipe races: who takes part, on what they are judged, and what is left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegui import recipes, workflow
from aegui.classical import FILTERS
from aegui.data.pairs import Pair
from aegui.errors import UserError
from aegui.events import Done, Event, Raced, Stop, finish
from aegui.imaging import Series
from aegui.recipes import Recipe
from aegui.workflow.course import Course, known_pairs, lay_out, way_for

SECONDS = 0.4
QUICK = ["run.batch_size=4", "run.patch_size=32"]


def recipe(name: str = "denoise", *changes: str) -> Recipe:
    return recipes.load(name).with_set([*QUICK, *changes])


def blind() -> Recipe:
    return recipe("denoise", "id=blind", "title=Blind", "targets={kind: noise2void}", "losses=[{kind: mse}]")


def paired() -> Recipe:
    return recipe("denoise", "id=paired", "title=Paired", "targets={kind: paired}")


def write_scans(
    folder: Path, sd: float = 0.0, patients: int = 4, slices: int = 5, side: int = 48, seed: int = 0
) -> Path:
    """Anatomy that is the same for every seed; the noise is not."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    for p in range(patients):
        (folder / f"case{p}").mkdir(parents=True)
        volume = [
            200 + 100 * np.sin(5 * x + p) * np.cos(4 * y + 0.2 * k) + 80 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1)
            for k in range(slices)
        ]
        values = np.asarray(volume) + rng.normal(0, sd, (slices, side, side))
        np.save(folder / f"case{p}" / "volume.npy", values.astype(np.float32))
    return folder


def scanned(folder: Path) -> tuple[Series, ...]:
    found: tuple[Series, ...] = finish(workflow.scan([folder])).series
    return found


@pytest.fixture
def job(tmp_path: Path) -> workflow.TrainJob:
    series = scanned(write_scans(tmp_path / "scans", 1))
    return workflow.TrainJob("classic-small", recipe(), series, tmp_path / "run", device="cpu")


def both(tmp_path: Path, kind: str) -> tuple[tuple[Series, ...], tuple[Series, ...], tuple[Pair, ...]]:
    """Noisy scans, their partners, the pairs."""
    noisy = scanned(write_scans(tmp_path / "noisy", 20, seed=1))
    other = scanned(write_scans(tmp_path / "other", 0 if kind == "clean" else 20, seed=2))
    pairs = tuple(replace(p, kind=kind, sure=True) for p in workflow.match_pairs(noisy, other))  # type: ignore[arg-type]
    assert len(pairs) == 4
    return noisy, other, pairs


def lay(job: workflow.TrainJob, chosen: Sequence[Recipe], folder: Path) -> Course:
    folder.mkdir()
    work = lay_out(job.recipe, chosen, job.noisy, job.clean, job.pairs, job.labels, job.holdout, folder)
    while True:
        try:
            next(work)
        except StopIteration as end:
            course: Course = end.value
            return course


def rows(result: workflow.RaceResult) -> dict[str, workflow.RaceRow]:
    return {row.name: row for row in result.rows}


def test_slices_that_are_noisy_themselves_are_said_to_judge_little(job: workflow.TrainJob, tmp_path: Path) -> None:
    clean = lay(job, [recipe(), blind()], tmp_path / "clean")
    assert clean.way == "noise" and "noise of their own" not in clean.words
    noisy = replace(job, noisy=scanned(write_scans(tmp_path / "noisy", 40)))
    words = lay(noisy, [recipe(), blind()], tmp_path / "course").words
    assert "They have noise of their own, " in words and "of what is added" in words


def test_recipes_race_beside_the_input_the_model_and_the_tuned_filters(job: workflow.TrainJob) -> None:
    told = list(workflow.race(job, [recipe(), blind()], SECONDS, include_scratch=True))
    result: workflow.RaceResult = told[-1].result  # type: ignore[attr-defined]
    names = [row.name for row in result.rows]
    filters = ["Gaussian", "Non-local means", "Total variation", "Curvature diffusion"]
    assert names == ["Noisy input", "Model as it is", *filters, "Denoise", "Blind", "Denoise, from scratch"]
    assert len(FILTERS) == 4
    for row in result.rows:
        assert row.reason == "" and row.psnr is not None and row.ssim is not None, row
        assert row.image is not None and row.image.shape == result.noisy.shape == (48, 48)
        assert 100 < row.image.mean() < 300  # real units
    assert result.classical is not None
    assert result.classical.psnr == max(row.psnr for row in result.rows if row.kind == "classical")  # type: ignore[type-var]
    assert result.classical.psnr > (rows(result)["Noisy input"].psnr or 0) + 3
    assert [row.psnr for row in result.ranked] == sorted((row.psnr for row in result.rows), reverse=True)  # type: ignore[type-var]
    assert "Gaussian noise (25 of 255)" in result.words and result.slices == 4
    ran = [row.recipe for row in result.rows if row.kind == "recipe"]
    assert ran == [recipe(), blind(), None]  # as they were given; the last one is from scratch
    assert not job.run.exists()


def test_progress_is_told_for_every_contender_and_ends_with_its_score(job: workflow.TrainJob) -> None:
    told = [e for e in workflow.race(job, [recipe()], SECONDS) if isinstance(e, Raced)]
    for index in range(7):
        mine = [e for e in told if e.index == index]
        assert mine[0].progress == 0 and mine[-1].progress == 1 and mine[-1].psnr is not None
        assert [e.progress for e in mine] == sorted(e.progress for e in mine)
        assert {e.count for e in mine} == {7} and len({e.name for e in mine}) == 1


def test_what_cannot_run_on_these_scans_is_listed_with_the_reason(job: workflow.TrainJob) -> None:
    result = finish(workflow.race(job, [recipe("discriminative"), paired(), recipe()], SECONDS))
    found = rows(result)
    assert "two classes" in found["Discriminative"].reason and found["Discriminative"].psnr is None
    assert "matching clean series" in found["Paired"].reason
    assert found["Denoise"].psnr is not None
    assert [row.name for row in result.ranked[-2:]] == ["Discriminative", "Paired"]


def test_a_recipe_that_breaks_on_the_way_does_not_end_the_race(job: workflow.TrainJob) -> None:
    wild = recipe("denoise", "id=wild", "title=Wild", "optimiser={kind: sgd}", "groups.rest.learning_rate=1.0")
    wild = wild.with_set(["losses.mse.weight=1e6"])
    result = finish(workflow.race(replace(job, model="general-small"), [wild, recipe()], SECONDS))
    assert "no longer a number" in rows(result)["Wild"].reason
    assert rows(result)["Denoise"].psnr is not None


def test_stop_keeps_what_is_there(job: workflow.TrainJob) -> None:
    work = workflow.race(job, [recipe(), blind()], 30)
    for event in work:
        if isinstance(event, Raced) and event.name == "Denoise" and event.progress > 0:
            break
    last: Event = work.throw(Stop())  # type: ignore[attr-defined]
    while not isinstance(last, Done):
        last = next(work)
    result: workflow.RaceResult = last.result
    assert result.stopped
    assert rows(result)["Non-local means"].psnr is not None
    assert rows(result)["Denoise"].reason == rows(result)["Blind"].reason == "Stopped before its time was up."


def test_nothing_is_left_behind(job: workflow.TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    work = workflow.race(job, [recipe()], 30)
    for event in work:
        if isinstance(event, Raced) and event.name == "Denoise" and event.progress > 0:
            break
    assert list((tmp_path / "temporary").iterdir())
    work.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "temporary").iterdir())
    assert not job.run.exists()


def test_clean_partners_judge_where_there_are_any(tmp_path: Path) -> None:
    noisy, clean, pairs = both(tmp_path, "clean")
    job = workflow.TrainJob("classic-small", paired(), noisy, tmp_path / "run", clean, pairs, device="cpu")
    course = lay(job, [paired(), recipe(), blind()], tmp_path / "course")
    assert course.way == "clean" and "clean partners" in course.words
    for one in course.judged:
        assert one.noisy.std() > 0 and 15 < (one.noisy - one.reference).std() < 25
    result = finish(workflow.race(job, [paired(), recipe(), blind()], SECONDS))
    assert all(row.psnr is not None for row in result.rows), [row.reason for row in result.rows]
    truth = 20 * np.log10(course.range.value / 20)
    assert rows(result)["Noisy input"].psnr == pytest.approx(truth, abs=0.5)


def test_repeats_judge_each_other_and_that_is_told(tmp_path: Path) -> None:
    noisy, other, pairs = both(tmp_path, "repeat")
    swap = recipe("denoise", "id=n2n", "title=N2N", "targets={kind: noise2noise}", "losses=[{kind: mse}]")
    job = workflow.TrainJob("classic-small", swap, (*noisy, *other), tmp_path / "run", (), pairs, device="cpu")
    course = lay(job, [swap, blind()], tmp_path / "course")
    assert course.way == "repeat" and "noise of their own" in course.words
    assert {pair.kind for pair in course.pairs} == {"repeat"}
    result = finish(workflow.race(job, [swap, blind()], SECONDS))
    assert all(row.psnr is not None for row in result.rows), [row.reason for row in result.rows]


def test_series_that_share_their_noise_never_judge(tmp_path: Path) -> None:
    noisy, other, pairs = both(tmp_path, "shared-noise")
    assert known_pairs(noisy, other, pairs) == []
    assert way_for([recipe()], []) == "noise"


def test_recipes_for_noisy_scans_alone_are_judged_by_hidden_pixels(tmp_path: Path) -> None:
    series = scanned(write_scans(tmp_path / "scans", 20))
    job = workflow.TrainJob("classic-small", blind(), series, tmp_path / "run", device="cpu")
    course = lay(job, [blind()], tmp_path / "course")
    assert course.way == "pixels" and not course.whole
    for one in course.judged:
        # One pixel in sixteen is hidden: its value went, and stands as the reference.
        assert one.counted.mean() == pytest.approx(1 / 16, rel=0.1)
        assert np.array_equal(one.noisy[~one.counted], one.reference[~one.counted])
        assert (one.noisy[one.counted] != one.reference[one.counted]).all()
        assert one.level == pytest.approx(20, rel=0.3)
    covered = np.sum([one.counted for one in course.judged[:4]], axis=0)
    assert covered.max() == 1 and covered.sum() == pytest.approx(covered.size / 4, rel=0.1)
    result = finish(workflow.race(job, [blind()], SECONDS))
    assert result.reference is None and all(row.ssim is None for row in result.rows)
    assert "hidden pixels" in result.words
    # Not even the best can guess noise: the error of a perfect guess is the noise itself.
    limit = 20 * np.log10(course.range.value / 20)
    assert max(row.psnr or 0 for row in result.rows) < limit + 0.3


def test_added_noise_wins_where_recipes_are_mixed() -> None:
    pairs: list[Pair] = []
    assert way_for([blind(), recipe()], pairs) == "noise"
    assert way_for([blind()], pairs) == "pixels"
    assert way_for([paired()], pairs) == "noise"


def test_every_contender_sees_the_same_noisy_slices(job: workflow.TrainJob, tmp_path: Path) -> None:
    """What adds noise learns from the scans; what learns from noisy scans gets that noise, not the references."""
    course = lay(job, [recipe(), blind()], tmp_path / "course")
    assert len(course.scans) == len(course.noisy)
    from aegui.imaging import open_series

    for clean, noisy in zip(course.scans, course.noisy, strict=True):
        one, other = open_series(clean), open_series(noisy)
        difference = other.read(0) - one.read(0)
        one.close()
        other.close()
        assert difference.std() == pytest.approx(25 / 255 * course.range.value, rel=0.1)


def test_judged_slices_are_none_of_those_that_are_learnt_from(job: workflow.TrainJob, tmp_path: Path) -> None:
    course = lay(job, [recipe()], tmp_path / "course")
    learnt = {series.patient for series in course.scans}
    judged = {one.series.patient for one in course.judged}
    assert learnt and judged and not learnt & judged  # four patients: parted by patient
    held = job.noisy[0]
    other = lay(replace(job, holdout=(held.uid,)), [recipe()], tmp_path / "held")
    assert held.patient not in {s.patient for s in other.scans} | {one.series.patient for one in other.judged}


def test_the_same_seed_gives_the_same_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegui.workflow.crops.SIDE", 32)
    series = scanned(write_scans(tmp_path / "scans", 5, side=160, patients=3))
    job = workflow.TrainJob("classic-small", recipe(), series, tmp_path / "run", device="cpu")

    def crops(name: str, **changes: Any) -> list[bytes]:
        course = lay(replace(job, **changes), [recipe()], tmp_path / name)
        assert course.shown.noisy.shape == (32, 32)
        return [one.noisy.tobytes() + one.reference.tobytes() for one in course.judged]

    assert crops("a") == crops("b")
    assert crops("a2") != crops("c", recipe=recipe("denoise", "run.seed=5"))


def test_a_race_is_kept_small_however_many_scans_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegui.workflow.crops.MOST_SERIES", 3)
    monkeypatch.setattr("aegui.workflow.crops.TRAINING", 6)
    series = scanned(write_scans(tmp_path / "scans", 5, patients=10))
    job = workflow.TrainJob("classic-small", recipe(), series, tmp_path / "run", device="cpu")
    course = lay(job, [recipe()], tmp_path / "course")
    assert [one.slices for one in course.scans] == [2, 2, 2]
    assert course.slices == 4
    # Neighbours stay neighbours, as recipes that use them need.
    assert all(np.diff([p[2] for p in one.geometry.positions]).size == one.slices - 1 for one in course.scans)


def test_padding_is_neither_learnt_nor_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for p in range(3):
        volume = rng.normal(100, 10, (4, 48, 48)).astype(np.float32)
        volume[:, :, 40:] = np.nan
        (tmp_path / "scans" / str(p)).mkdir(parents=True)
        np.save(tmp_path / "scans" / str(p) / "v.npy", volume)
    job = workflow.TrainJob("classic-small", recipe(), scanned(tmp_path / "scans"), tmp_path / "run", device="cpu")
    course = lay(job, [recipe()], tmp_path / "course")
    for one in course.judged:
        assert not one.counted[:, 40:].any() and one.counted[:, :40].all()
        assert np.isfinite(one.noisy).all() and np.isfinite(one.reference).all()


def test_slices_that_hold_nothing_do_not_make_scores_infinite(tmp_path: Path) -> None:
    for p in range(4):
        volume = np.load(write_scans(tmp_path / f"made{p}", 5, 1, 6, seed=p) / "case0" / "volume.npy")
        volume[[0, -1]] = 0
        (tmp_path / "scans" / str(p)).mkdir(parents=True)
        np.save(tmp_path / "scans" / str(p) / "v.npy", volume)
    chosen = recipe("denoise", "targets={kind: synthetic, corruptions: [{kind: speckle}]}")
    job = workflow.TrainJob("classic-small", chosen, scanned(tmp_path / "scans"), tmp_path / "run", device="cpu")
    course = lay(job, [chosen], tmp_path / "course")
    for one in (*course.judged, *course.tuning):
        assert (one.noisy != one.reference)[one.counted].any()


def test_two_slices_are_too_few_and_that_is_said(tmp_path: Path) -> None:
    series = scanned(write_scans(tmp_path / "scans", patients=1, slices=2))
    with pytest.raises(UserError, match="at least three slices"):
        finish(workflow.race(workflow.TrainJob("classic-small", recipe(), series, tmp_path / "run"), [recipe()], 1))


def test_labels_go_along_with_the_crops(job: workflow.TrainJob, tmp_path: Path) -> None:
    labels = {series.uid: "even" if number % 2 else "odd" for number, series in enumerate(job.noisy)}
    named = replace(job, labels=labels)
    course = lay(named, [recipe("discriminative")], tmp_path / "course")
    assert set(course.labels.values()) == {"even", "odd"}
    result = finish(workflow.race(named, [recipe("discriminative")], SECONDS))
    assert rows(result)["Discriminative"].psnr is not None


@pytest.mark.shared
@pytest.mark.parametrize("folder", ["ct_chest_tcia", "mr_brain_papaya"])
def test_recipes_race_on_real_scans(shared: Path, tmp_path: Path, folder: str) -> None:
    series = [one for one in scanned(shared / folder) if one.treat == "denoise"][:6]
    job = workflow.TrainJob("general-small", recipe(), tuple(series), tmp_path / "run", device="cpu")
    result = finish(workflow.race(job, [recipe()], 1.0))
    found = rows(result)
    assert (found["Model as it is"].psnr or 0) > (found["Noisy input"].psnr or 0) + 3
    assert (found["Denoise"].psnr or 0) > (found["Noisy input"].psnr or 0) + 3
    assert result.reference is not None and result.reference.shape == result.noisy.shape
