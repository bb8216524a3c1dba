from __future__ import annotations

import numpy as np
import pytest

from aegui.errors import UserError
from aegui.measure.nps import detrend, noise_power, noise_power_of_repeats, square
from aegui.measure.regions import Circle

SPACING = (0.7, 0.5)


def white(sd: float, count: int = 40, size: int = 64, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(30, sd, (size, size)) for _ in range(count)]


def test_white_noise_is_flat_at_its_variance_times_the_pixel_area() -> None:
    found = noise_power(white(12), SPACING)
    frequency, power = found.radial()
    level = 12**2 * SPACING[0] * SPACING[1]
    # Rings near zero lose power to the detrending surface.
    assert power[4:] == pytest.approx(np.full(len(power) - 4, level), rel=0.12)
    assert frequency[-1] <= 1 / (2 * SPACING[0]) + 1e-9


def test_the_integral_is_the_variance() -> None:
    regions = white(12, count=3)
    found = noise_power(regions, SPACING, order=0)
    assert found.integral() == pytest.approx(np.mean([region.var() for region in regions]), rel=1e-9)


def test_coloured_noise_follows_the_filter_that_made_it() -> None:
    # A 3-tap mean along both axes: power = white · |H|², H = (1 + 2 cos 2πfΔ)/3 per axis.
    rng = np.random.default_rng(3)
    regions = []
    for _ in range(60):
        field = rng.normal(0, 10, (64, 64))
        field = sum(np.roll(field, shift, 0) for shift in (-1, 0, 1)) / 3
        regions.append(sum(np.roll(field, shift, 1) for shift in (-1, 0, 1)) / 3)
    found = noise_power(regions, SPACING, order=0)
    gain = [(1 + 2 * np.cos(2 * np.pi * f * step)) / 3 for f, step in ((found.y, SPACING[0]), (found.x, SPACING[1]))]
    expected = 100 * SPACING[0] * SPACING[1] * np.outer(gain[0], gain[1]) ** 2
    blocks = [a.reshape(8, 8, 8, 8).mean(axis=(1, 3)) for a in (found.power, expected)]
    assert blocks[0] == pytest.approx(blocks[1], rel=0.15, abs=0.3)
    frequency, power = found.radial()
    assert power[1] > 10 * power[np.argmin(abs(frequency - 0.6))]


def test_a_bowl_in_the_background_is_not_noise() -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    bowl = 40 + 30 * x + 20 * y**2 + 10 * x * y
    flat, bowled = white(5, count=1)[0], white(5, count=1)[0] + bowl
    assert detrend(bowled) == pytest.approx(detrend(flat), abs=1e-8)
    assert noise_power([bowled], SPACING).integral() == pytest.approx(noise_power([flat], SPACING).integral(), rel=1e-6)


def test_repeats_give_the_noise_of_one_scan_without_the_object() -> None:
    edge = np.where(np.arange(64) < 32, -100.0, 300.0) * np.ones((64, 64))
    first = [region + edge for region in white(8, seed=5)]
    second = [region + edge for region in white(8, seed=6)]
    assert noise_power_of_repeats(first, second, SPACING).integral() == pytest.approx(64, rel=0.03)


def test_a_region_too_small_for_a_spectrum_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="7×7 px"):
        noise_power([np.zeros((7, 7))], SPACING)
    with pytest.raises(UserError, match="differ in size"):
        noise_power([np.zeros((8, 8)), np.zeros((9, 9))], SPACING)
    with pytest.raises(UserError, match="no region"):
        noise_power([], SPACING)


def test_the_square_lies_inside_the_circle() -> None:
    image = np.zeros((100, 100))
    circle = Circle(row=50, column=40, radius=20)
    inside = circle.mask((100, 100), (1.0, 0.5))
    marked = np.where(inside, 1.0, np.nan)
    part = square(marked, circle, (1.0, 0.5))
    assert part.shape == (29, 57)
    assert np.isfinite(part).mean() > 0.99
    assert square(image, Circle(500, 500, 5), (1.0, 1.0)).size == 0
