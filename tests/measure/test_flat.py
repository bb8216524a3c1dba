"""Noise is measured in the flat blocks of a slice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from aegui.measure.flat import blocks, noise_of_both

WHOLE = np.ones((160, 128), dtype=bool)


def slice_with(sd: float) -> np.ndarray:
    y, x = np.mgrid[:160, :128] / 40
    edges = np.where(np.sin(3 * x) * np.cos(2 * y) > 0.3, 300.0, 0.0)
    return (edges + np.random.default_rng(0).normal(0, sd, WHOLE.shape)).astype(np.float32)


def test_the_power_of_white_noise_is_one_at_every_frequency() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (256, 256))
    found = blocks(noise, np.ones(noise.shape, dtype=bool), 16)
    # The surface that is taken out of each block has the lowest frequencies.
    np.testing.assert_allclose(found.power.mean(axis=0)[3:] / 9, 1, atol=0.1)
    power = np.abs(np.fft.fft2(noise[:16, :16])) ** 2 / 256
    f = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(16) * 16, np.fft.fftfreq(16) * 16)))
    assert found.power[0, 7] == pytest.approx(power[f == 7].mean(), rel=0.02)


@pytest.mark.parametrize("image", [np.zeros((64, 64)), np.full((64, 64), np.pi), np.zeros((5, 5))])
def test_where_nothing_is_flat_and_noisy_there_are_no_blocks(image: np.ndarray) -> None:
    everything = np.ones(image.shape, dtype=bool)
    for found in (blocks(image, everything, 16), blocks(image, everything, 16).flat(), blocks(image, ~everything, 16)):
        assert len(found) == 0 and found.power.shape == (0, 9)
    assert noise_of_both(image, image, everything) == (0, 0)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_smooth_noise_that_is_left_is_measured_too(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, 20, (384, 384))
    left = gaussian_filter(noise, sigma, mode="wrap")
    y, x = np.mgrid[:384, :384] / 384
    shading = 100 + 40 * x - 30 * y * y
    before, after = noise_of_both(shading + noise, shading + left, np.ones(noise.shape, dtype=bool))
    assert before == pytest.approx(20, rel=0.02)
    assert 0.85 * left.std() < after < 1.02 * left.std()


def test_the_noise_of_both_slices_is_that_of_the_same_flat_areas() -> None:
    before, clean = slice_with(10), slice_with(0)
    found = noise_of_both(before, clean + 0.5 * (before - clean), WHOLE)
    assert found == pytest.approx((10, 5), rel=0.05)
