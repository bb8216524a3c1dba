from __future__ import annotations

import numpy as np
import pytest

from aegui.errors import UserError
from aegui.measure.regions import Circle, Comparison, Statistics, compare, flattest, statistics


def test_mean_and_sd_come_from_the_voxels_inside_the_circle_only() -> None:
    image = np.full((40, 50), -1000.0, dtype=np.float32)
    circle = Circle(row=20, column=30, radius=6)
    inside = circle.mask((40, 50))
    image[inside] = np.random.default_rng(1).normal(60, 12, int(inside.sum()))
    found = statistics(image, circle)
    assert found.voxels == int(inside.sum()) == pytest.approx(np.pi * 36, rel=0.06)
    assert found.mean == pytest.approx(image[inside].mean(), abs=1e-4)
    assert found.sd == pytest.approx(image[inside].std(ddof=1), rel=1e-5)


def test_a_circle_is_round_in_mm_on_non_square_pixels() -> None:
    inside = Circle(row=20, column=20, radius=8).mask((41, 41), spacing=(2.0, 1.0))
    rows, columns = np.nonzero(inside)
    assert np.ptp(rows) == 8
    assert np.ptp(columns) == 16


def test_padding_is_left_out() -> None:
    image = np.full((20, 20), 10.0)
    image[:, :10] = -2048
    valid = image > -2000
    assert statistics(image, Circle(10, 10, 5), valid=valid).mean == 10


def test_bias_is_after_minus_before() -> None:
    before = np.random.default_rng(2).normal(50, 20, (32, 32))
    after = np.full((32, 32), 45.0)
    found = compare(before, after, Circle(16, 16, 10))
    assert found.bias == pytest.approx(45 - found.before.mean)
    assert np.isnan(found.after.snr)
    assert found.snr()[0] == pytest.approx(found.before.mean / found.before.sd)


def test_contrast_to_noise_uses_the_mean_of_both_variances() -> None:
    lesion, liver = Statistics(90, 6, 100), Statistics(50, 8, 100)
    assert lesion.cnr(liver) == pytest.approx(40 / np.sqrt(50))
    both = Comparison(lesion, Statistics(90, 3, 100)).cnr(Comparison(liver, Statistics(50, 4, 100)))
    assert both[1] == pytest.approx(2 * both[0])


def test_a_region_outside_the_image_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="fewer than two voxels"):
        statistics(np.zeros((10, 10)), Circle(50, 50, 3))


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="differ in size"):
        compare(np.zeros((10, 10)), np.zeros((10, 12)), Circle(5, 5, 3))


def test_the_flattest_square_is_found_inside_the_mask_only() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(0, 30, (80, 80))
    image[10:30, 50:70] = rng.normal(500, 2, (20, 20))
    mask = np.ones((80, 80), bool)
    assert flattest(image, mask, 15) == pytest.approx((20, 60), abs=3)
    image[50:75, 5:30] = -1000
    mask[50:75, 5:30] = False
    assert flattest(image, mask, 15) == pytest.approx((20, 60), abs=3)
    assert flattest(image, np.zeros((80, 80), bool), 15) is None
