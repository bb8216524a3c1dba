"""What a model that sees the slices beside is taught with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, workflow
from aegui.data.augment import noisier
from aegui.data.dataset import TrainingData, prepare
from aegui.data.draw import Batch, case, draw_batch, shown
from aegui.data.pairs import Pair
from aegui.errors import UserError
from aegui.events import finish
from aegui.imaging import Series
from aegui.inference.denoiser import Denoiser
from aegui.measure import estimate_noise
from aegui.models.planes import middle
from aegui.models.zoo import Model
from aegui.recipes import Recipe
from aegui.workflow.target_problems import target_problems
from tests.twohalf import SIDE, SLICES, anatomy, card, network, recipe, saved, stacked, volumes

GAUSSIAN = "targets={kind: synthetic, corruptions: [{kind: gaussian, low: 15, high: 15}]}"
FAINT = GAUSSIAN.replace("15", "2")
NOISES = ["poisson", "rician", "speckle", "stripes", "impulse", "missing", "measured", "ct_dose"]


def read(
    plan: Recipe, series: Sequence[Series], cache: Path, pairs: Sequence[Pair] = (), neighbours: int = 1
) -> TrainingData:
    reading = prepare(plan, card(neighbours), 1, series, pairs, {}, (), cache)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def batch(data: TrainingData, plan: Recipe, members: Sequence[int], size: int = SIDE, step: int = 1) -> Batch:
    return draw_batch(data, plan, np.asarray(members), (size, size), 1, step)


def pairs_of(series: Sequence[Series], kind: str) -> tuple[Pair, ...]:
    every = tuple((i, i) for i in range(SLICES))
    return (Pair(series[0], series[1], every, "order", True, "", kind),)  # type: ignore[arg-type]


@pytest.fixture
def clean(tmp_path: Path) -> tuple[Series, ...]:
    return volumes(tmp_path / "clean", 4, noise=0.0)


FLAT = ["augmentation.flips=false", "augmentation.rotations=false"]


def test_every_plane_shows_its_own_slice_and_the_target_is_the_middle_one(
    clean: tuple[Series, ...], tmp_path: Path
) -> None:
    plan = recipe(FAINT, *FLAT)
    data = read(plan, clean, tmp_path / "cache")
    found = batch(data, plan, [1, 2])
    assert found.noisy.shape == (2, 3, SIDE, SIDE) and found.clean.shape == (2, 1, SIDE, SIDE)
    volume = anatomy(phase=_phase(data, 1)) / 400
    for row, member in enumerate((1, 2)):
        np.testing.assert_allclose(found.clean[row, 0], volume[member], atol=1e-5)
        for plane in range(3):
            errors = [np.abs(found.noisy[row, plane] - one).mean() for one in volume]
            assert int(np.argmin(errors)) == member + plane - 1
    data.close()


def _phase(data: TrainingData, member: int) -> float:
    return float(data.items[member].series.files[0].parent.name.removeprefix("case"))


def test_planes_have_noise_of_one_strength_that_is_independent(clean: tuple[Series, ...], tmp_path: Path) -> None:
    plan = recipe("targets={kind: synthetic, corruptions: [{kind: gaussian, low: 5, high: 50, grain: 3}]}", *FLAT)
    data = read(plan, clean, tmp_path / "cache")
    volume = anatomy(phase=_phase(data, 2)) / 400
    strengths = []
    for step in range(6):
        noisy = batch(data, plan, [2], step=step).noisy[0]
        noise = (noisy - volume[1:4]).reshape(3, -1)
        assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 0.15
        assert noise.std(axis=1).max() / noise.std(axis=1).min() < 1.2
        # Of one grain, too: a mixture would teach what no scan has.
        grains = [float(np.mean(np.diff(n.reshape(SIDE, SIDE)) ** 2) / n.var()) for n in noise]
        assert max(grains) / min(grains) < 1.4
        strengths.append(float(noise.std()))
    assert max(strengths) > 1.5 * min(strengths)
    data.close()


@pytest.mark.parametrize("kind", NOISES)
def test_every_kind_of_noise_differs_from_plane_to_plane(kind: str, tmp_path: Path) -> None:
    """All slices are alike here, so that only the noise can make planes differ."""
    (tmp_path / "scans" / "a").mkdir(parents=True)
    np.save(tmp_path / "scans" / "a" / "volume.npy", np.repeat(anatomy(1), SLICES, axis=0))
    (series,) = imaging_scan(tmp_path / "scans")
    plan = recipe(f"targets={{kind: synthetic, corruptions: [{{kind: {kind}}}]}}", *FLAT)
    data = read(plan, [stacked(series)], tmp_path / "cache")
    noisy = batch(data, plan, [data.split.train[1]]).noisy[0]
    one, two, three = (plane - noisy[1] for plane in noisy)
    assert np.abs(one).max() > 1e-4 and np.abs(three).max() > 1e-4 and not np.array_equal(one, three)
    assert not two.any()
    data.close()


def imaging_scan(folder: Path) -> tuple[Series, ...]:
    from aegui.events import finish

    return finish(workflow.scan([folder])).series  # type: ignore[no-any-return]


def test_where_there_is_no_neighbour_the_noisy_slice_itself_takes_its_place(
    clean: tuple[Series, ...], tmp_path: Path
) -> None:
    plan = recipe(GAUSSIAN, "augmentation.dose=100")
    data = read(plan, clean, tmp_path / "cache")
    first, last = batch(data, plan, [0]).noisy[0], batch(data, plan, [SLICES - 1]).noisy[0]
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(last[2], last[1])
    assert not np.array_equal(first[2], first[1])
    data.close()


def test_pictures_without_places_are_seen_alone(tmp_path: Path) -> None:
    series = [replace(one, geometry=imaging.Geometry((0.0, 1.0, 1.0))) for one in volumes(tmp_path / "scans", 4)]
    data = read(recipe(GAUSSIAN), series, tmp_path / "cache")
    assert all(len(set(seen)) == 1 for seen in data.beside)
    data.close()


def test_a_model_without_neighbours_keeps_no_table_of_them(clean: tuple[Series, ...], tmp_path: Path) -> None:
    data = read(recipe(GAUSSIAN), clean, tmp_path / "cache", neighbours=0)
    assert data.beside == () and data.seen(3) == (3,)
    data.close()


@pytest.mark.parametrize("patients", [1, 4])
def test_no_slice_of_another_part_of_the_split_is_seen(tmp_path: Path, patients: int) -> None:
    series = volumes(tmp_path / "scans", patients, slices=20)
    plan = recipe(GAUSSIAN, "run.holdout_fraction=0.2", "run.validation_fraction=0.2")
    data = read(plan, series, tmp_path / "cache", neighbours=2)
    parts = [set(part) for part in (data.split.train, data.split.validation, data.split.holdout)]
    assert all(parts)
    for part in parts:
        assert {other for member in part for other in data.seen(member)} == part
    for member, seen in enumerate(data.beside):
        assert seen[2] == member
        assert len({data.items[other].series.uid for other in seen}) == 1
    assert sum(len(set(seen)) == 5 for seen in data.beside) > 1
    data.close()


def test_neighbours_of_pairs_come_from_the_noisy_series(tmp_path: Path) -> None:
    noisy, clean = volumes(tmp_path / "noisy", 1)[0], volumes(tmp_path / "clean", 1, noise=0.0)[0]
    plan = recipe("targets={kind: paired}", *FLAT)
    data = read(plan, (noisy,), tmp_path / "cache", pairs_of((noisy, clean), "clean"))
    member = data.split.train[1]
    found = batch(data, plan, [member])
    values = np.load(noisy.files[0]) / 400
    index = data.items[member].index
    np.testing.assert_allclose(found.noisy[0], values[index - 1 : index + 2], atol=1e-5)
    np.testing.assert_allclose(found.clean[0, 0], anatomy()[index] / 400, atol=1e-5)
    data.close()


def test_slices_that_train_without_those_beside_them_are_told(tmp_path: Path) -> None:
    noisy, clean = volumes(tmp_path / "noisy", 4, slices=9), volumes(tmp_path / "clean", 4, noise=0.0, slices=5)
    pairs = [
        Pair(one, other, tuple((2 * k, k) for k in range(5)), "geometry", True, "")
        for one, other in zip(noisy, clean, strict=True)
    ]
    plan = recipe("targets={kind: paired}", *FLAT)
    data = read(plan, noisy, tmp_path / "cache", pairs)
    assert [words for words in data.warnings if words.startswith("20 of 20 slices train without those beside them")]
    data.close()
    every = read(recipe(*FLAT), clean, tmp_path / "every")
    assert not [words for words in every.warnings if "beside" in words]
    every.close()


def test_neighbours_of_repeats_come_from_the_same_repeat(tmp_path: Path) -> None:
    series = volumes(tmp_path / "scans", 2)
    plan = recipe("targets={kind: noise2noise}", *FLAT)
    data = read(plan, series, tmp_path / "cache", pairs_of(series, "repeat"))
    for member in data.split.train:
        item = data.items[member]
        values = np.load(item.series.files[0]) / 400
        found = batch(data, plan, [member])
        np.testing.assert_allclose(found.noisy[0, 1], values[item.index], atol=1e-5)
        beside = [data.items[other].index for other in data.seen(member)]
        np.testing.assert_allclose(found.noisy[0], values[beside], atol=1e-5)
        assert not np.array_equal(found.clean[0, 0], found.noisy[0, 1])
    data.close()


def test_augmentation_changes_all_planes_alike(clean: tuple[Series, ...], tmp_path: Path) -> None:
    """On slices without noise, each plane is what the same change makes of it alone."""
    nothing = "targets={kind: synthetic, corruptions: [{kind: gaussian, low: 0, high: 0}]}"
    wanted = ["augmentation.scale=30", "augmentation.intensity=30", "augmentation.kspace=20"]
    plan = recipe(nothing, *wanted)
    data = read(plan, clean, tmp_path / "cache")
    data.beside = tuple((m, m, m) for m in range(len(data.items)))
    for step in range(5):
        found = batch(data, plan, [1, 8], size=32, step=step)
        for plane in range(3):
            np.testing.assert_allclose(found.noisy[:, plane], found.clean[:, 0], atol=1e-5)
    data.close()


def test_a_lower_dose_adds_as_much_noise_to_every_plane() -> None:
    rng = np.random.default_rng(0)
    clean = anatomy(1) / 400
    noisy = np.concatenate([clean] * 3) + rng.normal(0, 0.05, (3, SIDE, SIDE)).astype(np.float32)
    more = noisier(noisy, clean, 2.0, rng)
    added = (more - noisy).reshape(3, -1)
    assert added.std(axis=1) == pytest.approx(0.05 * 3**0.5, rel=0.15)
    assert np.abs(np.corrcoef(added) - np.eye(3)).max() < 0.1


def test_padding_of_each_plane_is_like_what_lies_around_it_there(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "a"
    folder.mkdir(parents=True)
    values = anatomy() + 50 * np.arange(SLICES, dtype=np.float32)[:, None, None]
    values[:, :6] = np.nan
    values[2, 20, 20] = 1e9
    np.save(folder / "volume.npy", values)
    series = stacked(imaging_scan(tmp_path / "scans")[0])
    plan = recipe("targets={kind: synthetic, corruptions: [{kind: gaussian, low: 0, high: 0}]}", *FLAT)
    data = read(plan, [series], tmp_path / "cache")
    found = batch(data, plan, [1]).noisy[0]
    assert np.isfinite(found).all() and found.max() <= 3.0
    around = [float(np.nanmean(values[k, 6:8, :8])) / 400 for k in (0, 1, 2)]
    assert found[:, 3, 3].tolist() == pytest.approx(around, abs=0.05) and len(set(found[:, 3, 3].tolist())) == 3
    data.close()


def test_a_neighbour_of_padding_alone_is_shown_as_the_slice_itself(tmp_path: Path) -> None:
    values = anatomy()
    values[0] = np.nan
    np.save(tmp_path / "volume.npy", values)
    series = stacked(finish(workflow.scan([tmp_path / "volume.npy"])).series[0])
    data = read(recipe(*FLAT, FAINT), (series,), tmp_path / "cache")
    first = next(member for member, item in enumerate(data.items) if item.index == 1)
    found = shown(data, recipe(*FLAT, FAINT), first)
    source = imaging.open_series(series)
    used = Denoiser(Model(card(), network(), "beside"), source, torch.device("cpu")).at(1)
    assert not source.valid(0).any() and np.array_equal(used.beside[0], used.x)
    assert np.isnan(found.noisy[0]).all()
    batch_ = batch(data, recipe(*FLAT, FAINT), [first])
    np.testing.assert_array_equal(batch_.noisy[0, 0], batch_.noisy[0, 1])
    data.close()
    source.close()


def test_validation_sees_whole_slices_with_their_neighbours(clean: tuple[Series, ...], tmp_path: Path) -> None:
    plan = recipe(FAINT)
    data = read(plan, clean, tmp_path / "cache")
    member = data.split.validation[2]
    one, used = case(data, plan, member), shown(data, plan, member)
    assert one.noisy.shape == used.noisy.shape == (3, SIDE, SIDE) and one.clean.shape == (1, SIDE, SIDE)
    np.testing.assert_array_equal(one.slice, middle(one.noisy, 1))
    assert one.level == estimate_noise(one.slice[0], np.ones((SIDE, SIDE), bool))
    assert np.abs(one.slice - one.clean).mean() < np.abs(one.noisy[:1] - one.clean).mean()
    data.close()


# ---------------------------------------------------------------- what cannot be


REFUSED = ["noise2void", "noise2self", "neighbor2neighbor", "recorrupted", "slices", "distillation"]


@pytest.mark.parametrize("kind", REFUSED)
def test_targets_for_single_slices_are_refused_next_to_their_field(kind: str, tmp_path: Path) -> None:
    series = volumes(tmp_path / "scans", 4)
    plan = recipe(f"targets={{kind: {kind}}}")
    job = workflow.TrainJob(str(saved(tmp_path)), plan, series, tmp_path / "run")
    problem = next(p for p in workflow.check(job) if p.blocking)
    assert problem.where == ("targets",) and "looks at the slices beside" in problem.message
    assert "Learn with clean scans, added noise or repeats" in problem.hint
    with pytest.raises(UserError, match="looks at the slices beside"):
        read(plan, series, tmp_path / "cache")
    alone = replace(job, model=str(saved(tmp_path, 0)))
    assert not any("beside" in p.message for p in workflow.check(alone))


@pytest.mark.parametrize("targets", ["{kind: synthetic}", "{kind: paired}", "{kind: noise2noise}"])
def test_targets_that_fit_are_not(targets: str, tmp_path: Path) -> None:
    job = workflow.TrainJob(
        str(saved(tmp_path)), recipe(f"targets={targets}"), volumes(tmp_path / "s", 4), tmp_path / "r"
    )
    assert list(target_problems(job)) == []


def test_scans_whose_slices_lie_apart_are_told(tmp_path: Path) -> None:
    series = volumes(tmp_path / "scans", 2)
    scattered = replace(series[0], geometry=imaging.Geometry((0.0, 1.0, 1.0)))
    job = workflow.TrainJob(str(saved(tmp_path)), recipe(), (scattered, series[1]), tmp_path / "run")
    ((words, hint, _, blocking),) = target_problems(job)
    assert "in 1 of 2 series" in words and "alone" in hint and not blocking


def test_a_teacher_that_looks_beside_is_refused(tmp_path: Path) -> None:
    teacher = saved(tmp_path)
    plan = recipe(f"targets={{kind: distillation, teacher: {teacher}}}")
    job = workflow.TrainJob("general-small", plan, volumes(tmp_path / "s", 4), tmp_path / "run")
    assert any("looks at the slices beside" in message and blocking for message, _, _, blocking in target_problems(job))
    with pytest.raises(UserError, match="looks at the slices beside"):
        read(plan, job.noisy, tmp_path / "cache", neighbours=0)
