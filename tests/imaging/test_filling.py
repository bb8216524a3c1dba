"""What networks are shown where a scan has no values."""

from __future__ import annotations

import numpy as np
import pytest

from aegui.imaging.filling import filled, filled_together


def test_known_values_stay_and_unknown_ones_are_like_their_surroundings() -> None:
    y, x = np.mgrid[:100, :130].astype(np.float32)
    ramp = 10 + 0.1 * x + 0.05 * y
    known = np.hypot(y - 50, x - 65) < 45
    image = np.where(known, ramp, np.nan)[None].astype(np.float32)
    found = filled(image, known)
    assert np.isfinite(found).all() and found.dtype == np.float32
    np.testing.assert_array_equal(found[0][known], image[0][known])
    close = (np.hypot(y - 50, x - 65) < 55) & ~known
    assert np.abs(found[0] - ramp)[close].max() < 2.5  # the ramp spans 13
    assert ramp[known].min() <= found.min() and found.max() <= ramp[known].max()


def test_noise_hardly_shows_in_what_is_filled_in() -> None:
    known = np.zeros((128, 128), dtype=bool)
    known[32:96, 32:96] = True
    noisy = np.random.default_rng(0).normal(0, 1, (2, 128, 128)).astype(np.float32)
    found = filled(noisy, known)
    assert found[:, ~known].std() < 0.1
    assert abs(np.diff(found[:, 16:32], axis=1)).max() < 0.2


def test_each_channel_is_filled_by_itself() -> None:
    known = np.ones((20, 20), dtype=bool)
    known[:, 10:] = False
    image = np.stack([np.full((20, 20), value, dtype=np.float32) for value in (1, 5)])
    np.testing.assert_allclose(filled(image, known), image, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64), (17, 9)])
def test_where_nothing_is_known_there_is_zero(shape: tuple[int, int]) -> None:
    image = np.full((1, *shape), np.nan, dtype=np.float32)
    assert not filled(image, np.zeros(shape, dtype=bool)).any()
    everything = np.ones((1, *shape), dtype=np.float32)
    assert filled(everything, np.ones(shape, dtype=bool)) is everything


def test_slices_from_a_read_only_file_are_copied() -> None:
    slices = np.ones((1, 16, 16), np.float32)
    slices.flags.writeable = False
    x = filled_together([slices], [np.ones((16, 16), bool)])
    assert x.flags.writeable
    np.testing.assert_array_equal(x, slices)
