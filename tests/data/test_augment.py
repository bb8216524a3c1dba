"""Augmentation: what changes, and that input and target change alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegui.data.augment import augment, cut_size, noisier, regridding, resized, truncated
from aegui.data.item import Item
from aegui.imaging import Geometry, Pixels, Series
from aegui.measure import Range, estimate_noise
from aegui.models.intensity import Scale
from aegui.recipes.run import Augmentation

OFF = Augmentation(flips=False, rotations=False)


def item(modality: str = "MR") -> Item:
    series = Series("1", "1", "p", "l", "", modality, "d", "dicom", (Path("x"),), 64, 64, 1, Geometry((3.0, 1.0, 1.0)))
    if modality == "CT":
        return Item(series, 0, Scale(-1024.0, 4096.0, (-1024.0, 3072.0)), Range(400.0, ""), 0.01, -1)
    return Item(series, 0, Scale(0.0, 1000.0, (-4000.0, 4000.0)), Range(800.0, ""), 0.01, -1)


def patches(sd: float = 0.05, channels: int = 1, side: int = 64) -> tuple[Pixels, Pixels]:
    y, x = np.mgrid[:side, :side] / side
    clean = np.repeat((0.4 + 0.2 * np.sin(6 * x + 2 * y) + 0.1 * y)[None], channels, axis=0).astype(np.float32)
    return clean + np.random.default_rng(0).normal(0, sd, clean.shape).astype(np.float32), clean


def test_without_any_part_nothing_changes() -> None:
    noisy, clean = patches()
    a, b, level = augment(OFF, noisy, clean, 0.05, item(), np.random.default_rng(0))
    assert np.array_equal(a, noisy) and np.array_equal(b, clean) and level == 0.05


def test_flips_and_turns_reach_all_eight_positions_alike_for_both() -> None:
    noisy, clean = patches(side=8)
    seen = set()
    for seed in range(100):
        a, b, level = augment(Augmentation(), noisy, clean, 0.05, item(), np.random.default_rng(seed))
        seen.add(b.tobytes())
        assert level == 0.05 and sorted((a - b).ravel()) == pytest.approx(sorted((noisy - clean).ravel()), abs=1e-6)
    assert len(seen) == 8


def test_slices_that_are_not_square_are_not_turned() -> None:
    noisy, clean = (image[:, :40] for image in patches())
    for seed in range(20):
        a, _, _ = augment(Augmentation(), noisy, clean, None, item(), np.random.default_rng(seed))
        assert a.shape == (1, 40, 64)


def test_zoom_cuts_larger_and_smaller_and_gives_the_size_asked_for() -> None:
    part = Augmentation(flips=False, rotations=False, scale=25)
    rng = np.random.default_rng(0)
    cuts = [cut_size(part, (64, 64), (512, 512), rng) for _ in range(300)]
    sides = [cut[0] for cut in cuts]
    assert all(cut[0] == cut[1] for cut in cuts)
    assert 51 <= min(sides) <= 53 and 78 <= max(sides) <= 80 and abs(np.median(sides) - 64) < 3
    assert max(cut_size(part, (64, 64), (70, 66), rng)[1] for _ in range(100)) <= 66
    assert cut_size(OFF, (64, 48), (512, 512), rng) == (64, 48)
    noisy, clean = patches(side=80)
    a, b, level = augment(part, noisy, clean, 0.05, item(), rng, (64, 64))
    assert a.shape == b.shape == (1, 64, 64) and level is None
    # The same picture on another grid.
    y, x = (np.mgrid[:64, :64] + 0.5) * 80 / 64 - 0.5
    expected = 0.4 + 0.2 * np.sin(6 * x / 80 + 2 * y / 80) + 0.1 * y / 80
    assert np.abs(b[0] - expected)[4:-4, 4:-4].max() < 0.003
    assert estimate_noise(a[0]) < estimate_noise(noisy[0])


def test_clean_slices_are_brought_to_another_grid_with_their_padding() -> None:
    assert regridding(OFF, (64, 64), np.random.default_rng(0)) is None
    regrid = regridding(Augmentation(scale=50), (64, 64), np.random.default_rng(0))
    assert regrid is not None
    _, clean = patches(side=96)
    np.testing.assert_allclose(regrid(clean), resized(clean, (64, 64)))
    padded = clean.copy()
    padded[:, :48] = np.nan
    found = regrid(padded)
    assert np.isnan(found[:, :32]).all() and np.isfinite(found[:, 32:]).all()
    np.testing.assert_allclose(found[:, 36:], regrid(clean)[:, 36:], atol=1e-4)
    regrid = regridding(Augmentation(kspace=60), (96, 96), np.random.default_rng(0))
    assert regrid is not None and 0 < np.abs(regrid(clean) - clean).mean() < 0.03


def test_zoom_agrees_with_scikit_image() -> None:
    from skimage.transform import resize

    _, clean = patches(side=50)
    theirs = resize(clean[0], (64, 64), order=3, mode="edge", anti_aliasing=False)
    assert np.abs(resized(clean, (64, 64))[0] - theirs)[4:-4, 4:-4].max() < 0.005


@pytest.mark.parametrize(("modality", "zero"), [("CT", -1000.0), ("MR", 0.0)])
def test_intensity_multiplies_what_lies_above_nothing(modality: str, zero: float) -> None:
    of = item(modality)
    part = Augmentation(flips=False, rotations=False, intensity=20)
    noisy, clean = patches(0.01)
    factors = []
    for seed in range(60):
        a, b, level = augment(part, noisy, clean, 0.01, of, np.random.default_rng(seed))
        before, after = (of.scale.restore(image) - zero for image in (clean, b))
        factors.append(float(np.median(after / before)))
        assert np.allclose(after, before * factors[-1], rtol=1e-3)
        assert level == pytest.approx(0.01 * factors[-1], rel=1e-3)
        assert np.allclose(a - b, (noisy - clean) * factors[-1], atol=1e-4)
    assert 0.8 <= min(factors) < 0.84 and 1.16 < max(factors) <= 1.2


def test_k_space_loses_its_outer_part_in_both() -> None:
    noisy, clean = patches(0.1)
    kept = truncated(noisy, np.asarray([0.5, 1.0]))
    from scipy.fft import dctn

    spectrum = dctn(kept[0], norm="ortho")
    assert np.abs(spectrum[32:]).max() < 1e-5 and np.allclose(
        spectrum[:32], dctn(noisy[0], norm="ortho")[:32], atol=1e-4
    )
    part = Augmentation(flips=False, rotations=False, kspace=60)
    powers = []
    for seed in range(40):
        a, b, level = augment(part, noisy, clean, 0.1, item(), np.random.default_rng(seed))
        assert level is None and np.abs(b - clean).mean() < 0.03
        powers.append((a - b).var() / (noisy - clean).var())
    assert min(powers) < 0.4 and max(powers) > 0.8  # white noise loses as much as k-space
    assert np.mean(powers) == pytest.approx(0.7**2, abs=0.08)


@pytest.mark.parametrize("grain", [0.0, 1.5])
def test_dose_raises_the_noise_with_its_own_spectrum(grain: float) -> None:
    from scipy.ndimage import gaussian_filter

    _, clean = patches()
    rng = np.random.default_rng(0)
    gains, shapes = [], []
    for seed in range(30):
        noise = (
            gaussian_filter(rng.normal(0, 1, (1, 64, 64)), (0, grain, grain))
            if grain
            else rng.normal(0, 1, (1, 64, 64))
        )
        noisy = (clean + 0.05 * noise / noise.std()).astype(np.float32)
        more = noisier(noisy, clean, 1.5, np.random.default_rng(seed))
        gains.append((more - clean).std() / (noisy - clean).std())
        added = more - noisy
        shapes.append([(field * np.roll(field, 1, 2)).mean() / field.var() for field in (added, noisy - clean)])
        assert abs(np.corrcoef(added.ravel(), (noisy - clean).ravel())[0, 1]) < 0.3
    assert np.mean(gains) == pytest.approx(1.5, rel=0.06)
    assert np.mean(shapes, axis=0)[0] == pytest.approx(np.mean(shapes, axis=0)[1], abs=0.06)


def test_dose_is_white_where_input_and_target_share_their_noise() -> None:
    noisy, _ = patches(0.05)
    more = noisier(noisy, noisy, 2.0, np.random.default_rng(0))
    assert (more - noisy).std() == pytest.approx(0.05 * np.sqrt(3), rel=0.1)
    part = Augmentation(flips=False, rotations=False, dose=100)
    a, b, level = augment(part, noisy, noisy, 0.05, item(), np.random.default_rng(7))
    assert np.array_equal(b, noisy) and level is not None
    assert 0.05 < level <= 0.1 and estimate_noise(a[0]) == pytest.approx(level, rel=0.1)


def test_colour_patches_and_all_parts_together_stay_inside_the_models_limits() -> None:
    noisy, clean = patches(0.1, channels=3, side=72)
    of = replace(item(), scale=Scale(0.0, 1000.0, (0.0, 600.0)))
    part = Augmentation(scale=20, intensity=20, kspace=30, dose=100)
    for seed in range(20):
        a, b, _ = augment(part, noisy, clean, None, of, np.random.default_rng(seed), (64, 64))
        assert a.shape == b.shape == (3, 64, 64)
        assert np.isfinite(a).all() and a.min() >= 0 and a.max() <= 0.6
        again, _, _ = augment(part, noisy, clean, None, of, np.random.default_rng(seed), (64, 64))
        assert np.array_equal(a, again)


def test_the_noise_of_a_real_slice_is_raised_as_told(read_slice: Callable[..., tuple[Item, Pixels]]) -> None:
    of, image = read_slice("mr_brain_papaya/brain_010.dcm")
    clean = image[:, 80:176, 80:176]
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype(np.float32)
    part = Augmentation(flips=False, rotations=False, dose=100)
    for seed in range(5):
        a, _, level = augment(part, noisy, clean, 0.1, of, np.random.default_rng(seed))
        assert level is not None and (a - clean).std() == pytest.approx(level, rel=0.1)
