"""Every kind of target: what is an input, what is its target, and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, recipes, workflow
from aegui.data.dataset import TrainingData, prepare
from aegui.data.draw import cases, draw_batch, patch_size, shown, training_order
from aegui.data.pairs import Pair, groups
from aegui.data.targets.neighbours import UNKNOWN, draw_picks, neighbours, picked
from aegui.errors import UserError
from aegui.events import finish
from aegui.imaging import Geometry, Series
from aegui.imaging.phantom_dicom import PhantomSeries, write_slice
from aegui.inference.denoiser import Denoiser
from aegui.measure import TISSUE, level_of
from aegui.models.zoo import load_model
from aegui.recipes import Recipe

SIDE, SLICES, REPEATS = 48, 8, 3


def recipe_for(targets: str, *more: str) -> Recipe:
    return recipes.load("denoise").with_set(
        [
            f"targets={targets}",
            "losses=[{kind: mse}]",
            "run.batch_size=4",
            "run.patch_size=32",
            "run.validation_fraction=0.25",
            *more,
        ]
    )


def read(
    recipe: Recipe, series: Sequence[Series], cache: Path, pairs: Sequence[Pair] = (), holdout: Sequence[str] = ()
) -> TrainingData:
    model = load_model("classic-small", "random", 0)
    reading = prepare(recipe, model.card, model.net.channels, series, pairs, {}, holdout, cache)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def repeats(tmp_path_factory: pytest.TempPathFactory) -> tuple[Series, ...]:
    """Three scans of one object, their noise apart; slices 2 mm apart, 2 mm thick."""
    folder = tmp_path_factory.mktemp("repeats")
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    for number in range(REPEATS):
        header = PhantomSeries(
            study="A",
            patient="A",
            sex="O",
            number=number + 1,
            description=f"Head run {number + 1}",
            exposure=100.0,
            thickness=2.0,
            spacing=(2.0, 0.8, 0.8),
            origin=(0.0, 0.0, 0.0),
        )
        for index in range(SLICES):
            body = np.where(np.hypot(x, y) < 20 - index, 50.0 + 10 * index, -1000.0)
            write_slice(
                folder / f"{number}{index}.dcm",
                header,
                index,
                (body + rng.normal(0, 25, body.shape)).astype(np.float32),
            )
    found = finish(workflow.scan([folder])).series
    assert len(found) == REPEATS
    return found  # type: ignore[no-any-return]


def as_repeats(series: Sequence[Series]) -> tuple[Pair, ...]:
    return tuple(
        Pair(a, b, tuple((i, i) for i in range(a.slices)), "geometry", True, "again", "repeat")
        for a, b in pairwise(series)
    )


def one_batch(data: TrainingData, recipe: Recipe, step: int = 1):  # type: ignore[no-untyped-def]
    return draw_batch(data, recipe, training_order(data, recipe, 1, 1)[0], patch_size(data, recipe), 1, step)


# ---------------------------------------------------------------- which slices are drawn


def test_slices_are_drawn_evenly_over_patients_or_modalities(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    few = replace(repeats[1], patient="B", slices=2)
    other = replace(repeats[2], patient="C", modality="MR")
    # All of them training, patients A, B and C of CT, CT and MR have 8, 2 and 8 slices.
    expected = {
        "slice": (8 / 18, 2 / 18, 8 / 18),
        "patient": (1 / 3, 1 / 3, 1 / 3),
        "modality": (2 / 3 / 2, 1 / 3 / 2, 1 / 2),  # the roots of 8 and 2 are as 2 to 1
    }
    for evenly, shares in expected.items():
        recipe = recipe_for("{kind: synthetic}", f"run.evenly={evenly}", "run.batch_size=8")
        data = read(recipe, [repeats[0], few, other], tmp_path / evenly)
        data.split = replace(data.split, train=tuple(range(18)))
        drawn = training_order(data, recipe, 1, 900).ravel().tolist()
        assert drawn == training_order(data, recipe, 1, 900).ravel().tolist()
        for patient, share in zip((repeats[0].patient, "B", "C"), shares, strict=True):
            found = np.mean([data.items[member].series.patient == patient for member in drawn])
            assert found == pytest.approx(share, abs=0.02), (evenly, patient)
        data.close()


def test_a_patient_with_scans_of_two_modalities_is_one_patient(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    scans = [replace(repeats[0], patient="A"), replace(repeats[1], patient="A", modality="MR")]
    recipe = recipe_for("{kind: synthetic}", "run.evenly=patient", "run.batch_size=8")
    data = read(recipe, [*scans, replace(repeats[2], patient="B")], tmp_path)
    data.split = replace(data.split, train=tuple(range(24)))
    drawn = training_order(data, recipe, 1, 900).ravel().tolist()
    assert np.mean([data.items[member].series.patient == "A" for member in drawn]) == pytest.approx(0.5, abs=0.02)
    data.close()


def test_zoom_and_k_space_leave_added_noise_as_it_was_asked_for(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    more = ("augmentation.scale=50", "augmentation.kspace=50", "run.patch_size=24", "run.batch_size=64")
    recipe = recipe_for("{kind: synthetic, corruptions: [{kind: gaussian, low: 25, high: 25}]}", *more)
    data = read(recipe, repeats, tmp_path)
    batch = one_batch(data, recipe)
    noise = (batch.noisy - batch.clean)[:, 0] * batch.scale[:, 1, None, None]
    assert noise.std() == pytest.approx(25 / 255 * 400, rel=0.03)
    beside_it = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.var()
    assert abs(beside_it) < 0.02
    data.close()


# ---------------------------------------------------------------- blind spots


def test_held_out_pixels_are_the_same_every_time_and_leave_the_noise_level_alone(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: noise2void, hide: square, reach: 1}")
    data = read(recipe, repeats[:1], tmp_path)
    try:
        member = data.split.validation[0]
        first, again = (list(cases(data, recipe, member)) for _ in range(2))
        assert len(first) > 1
        whole = shown(data, recipe, member)
        image = np.asarray(data.noisy[member])[0]
        scale = data.items[member].scale
        tissue = (TISSUE - scale.low) / scale.span
        assert whole.mask is None
        np.testing.assert_array_equal(whole.noisy, data.noisy[member])
        for one, two in zip(first, again, strict=True):
            assert one.mask is not None and two.mask is not None
            np.testing.assert_array_equal(one.mask, two.mask)
            np.testing.assert_array_equal(one.noisy, two.noisy)
            assert (one.noisy[0][one.mask] != one.clean[0][one.mask]).mean() > 0.9
            assert one.level == whole.level == level_of(image, np.isfinite(image), tissue)
        masks = [case.mask for case in first if case.mask is not None]
        assert not np.array_equal(masks[0], masks[1])
    finally:
        data.close()


# ---------------------------------------------------------------- repeats


def test_a_draw_takes_two_different_repeats_of_one_slice_in_either_role(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: noise2noise}")
    data = read(recipe, repeats, tmp_path, as_repeats(repeats))
    try:
        assert len(data.items) == REPEATS * SLICES
        seen = set()
        rng = np.random.default_rng(0)
        for member in data.split.train * 6:
            item = data.items[member]
            noisy, target, level = data.targets.cut(data, member, (0, 0), (SIDE, SIDE), rng)
            assert level == item.level
            np.testing.assert_array_equal(noisy, data.noisy[member])
            (other,) = [
                m
                for m in data.split.train
                if np.allclose(item.scale.normalise(data.items[m].scale.restore(np.asarray(data.noisy[m]))), target)
            ]
            assert data.items[other].index == item.index and other != member
            seen.add((item.series.uid, data.items[other].series.uid))
        assert len(seen) == REPEATS * (REPEATS - 1)
    finally:
        data.close()


def test_the_target_may_be_the_mean_of_all_other_repeats(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    recipe = recipe_for("{kind: noise2noise, target: mean}")
    data = read(recipe, repeats, tmp_path, as_repeats(repeats))
    try:
        assert data.targets.score == "the mean of the other repeats"
        for member in data.split.validation:
            item = data.items[member]
            others = [m for m, one in enumerate(data.items) if one.index == item.index and m != member]
            assert len(others) == REPEATS - 1
            expected = np.mean([data.items[m].scale.restore(np.asarray(data.noisy[m])) for m in others], axis=0)
            found = shown(data, recipe, member).clean
            np.testing.assert_allclose(item.scale.restore(found), expected, rtol=1e-4, atol=1e-2)
    finally:
        data.close()


def test_all_repeats_of_a_place_are_on_one_side_and_held_out_ones_on_neither(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: noise2noise}")
    held = repeats[2].uid
    data = read(recipe, repeats, tmp_path, as_repeats(repeats), (held,))
    try:
        places = [{data.items[m].index for m in part} for part in (data.split.train, data.split.validation)]
        assert places[0] and places[1] and not places[0] & places[1]
        assert {data.items[m].series.uid for m in data.split.holdout} == {held}
        forbidden = np.stack([np.asarray(data.noisy[m]) for m in data.split.holdout])
        rng = np.random.default_rng(0)
        for member in (*data.split.train, *data.split.validation):
            assert data.items[member].series.uid != held
            _, target, _ = data.targets.cut(data, member, (0, 0), (SIDE, SIDE), rng)
            assert not any(np.allclose(target, one) for one in forbidden)
    finally:
        data.close()


def test_one_slice_that_was_repeated_trains_with_some_and_validates_with_others(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    def only(series: Series, index: int) -> Series:
        geometry = replace(series.geometry, positions=series.geometry.positions[index : index + 1])
        return replace(
            series, uid=f"{series.uid}.{index}", files=series.files[index : index + 1], slices=1, geometry=geometry
        )

    recipe = recipe_for("{kind: noise2noise}")
    five = [only(series, 0) for series in repeats] + [only(series, 1) for series in repeats[:2]]
    data = read(recipe, five, tmp_path, as_repeats(five))
    try:
        assert len(data.split.train) == 3 and len(data.split.validation) == 2
        assert any("one slice" in warning for warning in data.warnings)
    finally:
        data.close()
    with pytest.raises(UserError, match="four of one"):
        read(recipe, five[:3], tmp_path, as_repeats(five[:3]))


def test_clean_pairs_beside_repeats_are_said_to_be_unused(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    recipe = recipe_for("{kind: noise2noise}")
    pairs = (*as_repeats(repeats[:2]), replace(as_repeats(repeats[1:])[0], kind="clean"))
    data = read(recipe, repeats, tmp_path, pairs)
    data.close()
    assert any("not used" in warning for warning in data.warnings)
    assert {item.series.uid for item in data.items} == {repeats[0].uid, repeats[1].uid}
    with pytest.raises(UserError, match="repeats, and none were confirmed"):
        read(recipe, repeats, tmp_path, pairs[-1:])


def test_places_are_joined_through_other_repeats(repeats: tuple[Series, ...]) -> None:
    a, b, c = repeats
    far = (
        Pair(a, b, ((0, 0), (1, 1)), "order", True, "", "repeat"),
        Pair(b, c, ((0, 3),), "order", True, "", "repeat"),
    )
    assert sorted(sorted(place) for place in groups(far)) == sorted(
        [sorted([(a.uid, 0), (b.uid, 0), (c.uid, 3)]), sorted([(a.uid, 1), (b.uid, 1)])]
    )


# ---------------------------------------------------------------- neighbours


def test_the_two_half_pictures_never_share_a_pixel_and_lie_beside_each_other() -> None:
    picks = draw_picks(200, 200, np.random.default_rng(0))
    assert (picks[0] != picks[1]).all()
    rows, columns = np.divmod(picks, 2)
    assert (np.abs(rows[0] - rows[1]) + np.abs(columns[0] - columns[1]) == 1).all()
    assert np.bincount(picks[0].ravel()) == pytest.approx(np.full(4, 10_000), rel=0.05)


def test_half_pictures_take_the_pixels_that_are_named() -> None:
    whole = np.arange(2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
    picks = draw_picks(3, 4, np.random.default_rng(3))[0]
    half = picked(whole, picks)
    for row in range(3):
        for column in range(4):
            dy, dx = divmod(int(picks[row, column]), 2)
            np.testing.assert_array_equal(half[:, row, column], whole[:, 2 * row + dy, 2 * column + dx])


def test_neighbouring_pixels_train_at_half_the_size_with_the_noise_level_of_the_whole(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: neighbor2neighbor}", "run.patch_size=34")
    data = read(recipe, repeats[:1], tmp_path)
    try:
        batch = one_batch(data, recipe)
        assert batch.noisy.shape == batch.clean.shape == (4, 1, 17, 17)
        assert batch.whole is not None and batch.whole.shape == (4, 1, 34, 34)
        assert set(batch.level.tolist()) <= {np.float32(item.level) for item in data.items}
    finally:
        data.close()


def test_slices_learn_from_both_neighbours_on_their_side_of_the_split(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: slices, distance: 2}", "run.holdout_fraction=0.25")
    data = read(recipe, repeats[:2], tmp_path)
    try:
        where = {m: name for name in ("train", "validation", "holdout") for m in getattr(data.split, name)}
        steps = set()
        rng = np.random.default_rng(0)
        for member in (*data.split.train, *data.split.validation) * 5:
            _, target, _ = data.targets.cut(data, member, (0, 0), (SIDE, SIDE), rng)
            (other,) = [m for m in range(len(data.items)) if np.array_equal(data.noisy[m], target)]
            assert data.items[other].series.uid == data.items[member].series.uid
            assert where[other] == where[member]
            steps.add(data.items[other].index - data.items[member].index)
        assert steps == {-1, 1}
    finally:
        data.close()


def test_slices_too_far_apart_are_no_neighbours(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at most 1\.5 mm"):
        read(recipe_for("{kind: slices, distance: 1.5}"), repeats[:1], tmp_path)
    bold = replace(repeats[0], geometry=Geometry((3.3, 1, 1), positions=tuple((0, 0, 3.3 * i) for i in range(SLICES))))
    assert neighbours(bold, 3, 3.0) == [] and neighbours(bold, 3, 3.3) == [2, 4] and neighbours(bold, 0, 5) == [1]


def test_slices_of_unknown_distance_are_neighbours_in_order_with_a_warning(
    repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    flat = replace(repeats[0], geometry=Geometry((0.0, 1.0, 1.0)))
    assert neighbours(flat, 3, 0.1) == [2, 4]
    data = read(recipe_for("{kind: slices, distance: 0.1}"), [flat], tmp_path)
    data.close()
    assert UNKNOWN in data.warnings


# ---------------------------------------------------------------- all of them


ALL = {
    "paired": "{kind: paired}",
    "synthetic": "{kind: synthetic}",
    "noise2noise": "{kind: noise2noise}",
    "noise2void": "{kind: noise2void}",
    "noise2self": "{kind: noise2self, hide: row}",
    "neighbor2neighbor": "{kind: neighbor2neighbor}",
    "recorrupted": "{kind: recorrupted}",
    "slices": "{kind: slices}",
    "distillation": "{kind: distillation}",
}


@pytest.mark.parametrize("kind", list(ALL))
def test_the_same_seed_draws_the_same_batch_and_another_step_another_one(
    kind: str, repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for(ALL[kind])
    pairs = as_repeats(repeats) if kind in ("paired", "noise2noise") else ()
    data = read(recipe, repeats, tmp_path, pairs)
    try:
        first, again, next_one = (one_batch(data, recipe, step) for step in (1, 1, 2))
        for name, value in vars(first).items():
            if value is None:
                assert getattr(again, name) is None
            else:
                np.testing.assert_array_equal(value, getattr(again, name))
        assert not np.array_equal(first.noisy, next_one.noisy)
        assert np.isfinite(first.noisy).all() and np.isfinite(first.clean).all() and (first.level > 0).all()
    finally:
        data.close()


def test_a_teacher_that_is_missing_is_named(repeats: tuple[Series, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"teacher “none\.aegui” cannot be loaded"):
        read(recipe_for("{kind: distillation, teacher: none.aegui}"), repeats[:1], tmp_path)


@pytest.mark.parametrize("padded", [False, True])
def test_the_teacher_answers_as_it_does_when_it_is_used(
    padded: bool, repeats: tuple[Series, ...], tmp_path: Path
) -> None:
    scan = repeats[0]
    if padded:
        volume = np.random.default_rng(0).normal(300, 20, (4, 48, 48)).astype(np.float32)
        volume[:, :16] = np.nan
        np.save(tmp_path / "padded.npy", volume)
        (scan,) = finish(workflow.scan([tmp_path / "padded.npy"])).series
    data = read(recipe_for("{kind: distillation, teacher: general-small}"), [scan], tmp_path)
    try:
        source = imaging.open_series(scan)
        denoised = Denoiser(load_model("general-small"), source, torch.device("cpu")).slice(3).pixels
        source_pixels = source.read(3)
        source.close()
        ours = data.items[3].scale.restore(np.asarray(data.clean[3]))[0]
        np.testing.assert_allclose(ours[np.isfinite(ours)], denoised[np.isfinite(ours)], atol=1e-2)
        assert not np.allclose(ours[np.isfinite(ours)], source_pixels[np.isfinite(ours)], atol=1)
    finally:
        data.close()
