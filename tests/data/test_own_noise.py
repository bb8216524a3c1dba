"""Noise that is like the noise of a scan."""

from __future__ import annotations

import numpy as np
import pytest

from aegui.data.own_noise import BLOCKS, SLICES, FlatAreas, OwnNoise, own_noise
from aegui.measure.flat import SIDES, blocks
from aegui.measure.local import detail, spread

SIDE = 192
ALL = np.ones((SIDE, SIDE), np.bool_)
FY, FX = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
F, ANGLE = np.hypot(FY, FX), np.arctan2(FY, FX)
POWERS = {
    "white": np.ones_like(F),
    "CT, sharp": F * np.exp(-((F / 0.3) ** 2)),
    "CT, in one direction": F * np.exp(-((F / 0.3) ** 2)) * (1 + 0.9 * np.cos(2 * ANGLE - 1)),
}


def noise(power: np.ndarray, seed: int, sd: float = 10.0) -> np.ndarray:
    white = np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE))
    return sd * np.real(np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power / power.mean())))


def measured(images: list[np.ndarray]) -> OwnNoise:
    found = own_noise([blocks(image, ALL, side, number) for number, image in enumerate(images) for side in SIDES])
    assert found is not None
    return found


def drawn(own: OwnNoise, image: np.ndarray, count: int = 24) -> np.ndarray:
    energies = spread(detail(image, ALL), (0, 0), (SIDE, SIDE))
    return np.stack([own.draw(energies, np.random.default_rng(seed)) for seed in range(count)])


def smooth(fields: np.ndarray) -> np.ndarray:
    """Power by frequency, over blocks of 24 × 24 frequencies of the plane."""
    power = np.fft.fftshift((np.abs(np.fft.fft2(fields)) ** 2).mean(axis=0) / SIDE**2)
    return power.reshape(8, 24, 8, 24).mean(axis=(1, 3))


@pytest.mark.parametrize("kind", list(POWERS))
def test_drawn_noise_has_the_power_of_the_scans_in_every_direction(kind: str) -> None:
    images = [noise(POWERS[kind], seed) for seed in range(8)]
    fields = drawn(measured(images), images[0])
    assert fields.std() == pytest.approx(10, rel=0.06)
    truth, made = smooth(np.stack([noise(POWERS[kind], 100 + seed) for seed in range(24)])), smooth(fields)
    # What matters where it is: the error in the power against the whole.
    assert np.abs(made - truth).mean() < 0.15 * truth.mean()


def test_drawn_noise_is_strong_where_the_scan_is_noisy() -> None:
    grade = np.linspace(0.5, 2, SIDE)[None].repeat(SIDE, 0)
    images = [noise(POWERS["CT, sharp"], seed) * grade for seed in range(8)]
    sd = drawn(measured(images), images[0], 40).std(axis=0).reshape(SIDE, 8, 24).mean(axis=(0, 2))
    np.testing.assert_allclose(sd, 10 * grade[0].reshape(8, 24).mean(axis=1), rtol=0.12)


def test_structure_does_not_pass_for_noise() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    body = 200 * (np.hypot(x - 96, y - 96) < 70) + 150 * (np.abs(x - 110) < 9) - 80 * (np.hypot(x - 70, y - 100) < 15)
    images = [noise(POWERS["CT, sharp"], seed) + body for seed in range(8)]
    assert drawn(measured(images), images[0]).std() == pytest.approx(10, rel=0.12)


def test_a_series_keeps_few_blocks_of_slices_all_over_it_however_long_it_is() -> None:
    areas, whole = FlatAreas(), FlatAreas()
    for number in range(100):
        areas.look(noise(POWERS["white"], number) * (1 + number), ALL)
    for number in range(SLICES):
        whole.look(noise(POWERS["white"], number), ALL)
    of_16 = [one for one in areas.blocks if one.side == SIDES[1]]
    assert SLICES / 2 <= len(of_16) <= SLICES and max(len(one) for one in areas.blocks) < 2 * BLOCKS
    strengths = [np.sqrt(one.variance.mean()) / 10 for one in of_16]
    assert strengths[0] < 3 and strengths[-1] > 90 and max(np.diff(strengths)) < 10
    assert len([one for one in whole.blocks if one.side == SIDES[1]]) == SLICES


def test_what_has_no_flat_areas_says_nothing_of_its_noise() -> None:
    assert own_noise([]) is None
    texture = 50 * np.random.default_rng(0).normal(0, 1, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    image = noise(POWERS["white"], 0, 0.01) + texture
    assert own_noise([blocks(image, ALL, side) for side in SIDES]) is None
