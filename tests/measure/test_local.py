"""Local strength and direction of noise."""

from __future__ import annotations

import numpy as np
import pytest

from aegui.measure.local import CELL, detail, response, spread

SIDE = 256
ALL = np.ones((SIDE, SIDE), np.bool_)


def white(seed: int = 0, sd: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, (SIDE, SIDE)).astype(np.float32)


def test_detail_grows_with_the_variance_and_knows_where() -> None:
    x = np.linspace(1, 3, SIDE)[None].repeat(SIDE, 0)
    one, graded = detail(white(), ALL), detail(white(1) * x, ALL)
    ratio = np.sqrt(graded / one.mean(axis=(1, 2), keepdims=True)).mean(axis=(0, 1))
    wanted = x[0, 1:-1:CELL][: ratio.size] + (x[0, CELL] - x[0, 0]) / 2
    np.testing.assert_allclose(ratio[6:-6], wanted[6:-6], rtol=0.08)


def test_the_energies_of_noise_are_the_integral_of_its_power_times_the_response() -> None:
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    gain = np.exp(-((fy / 0.3) ** 2) - (fx / 0.15) ** 2)
    noise = np.real(np.fft.ifft2(np.fft.fft2(white()) * gain))
    ends = (
        (noise[1:-1, :-2], noise[1:-1, 2:]),
        (noise[:-2, 1:-1], noise[2:, 1:-1]),
        (noise[:-2, :-2], noise[2:, 2:]),
        (noise[:-2, 2:], noise[2:, :-2]),
    )
    plain = [((a - 2 * noise[1:-1, 1:-1] + b) ** 2).mean() for a, b in ends]
    integral = (response(fy, fx) * gain**2).mean(axis=(1, 2))
    np.testing.assert_allclose(plain, integral, rtol=0.03)
    # The quieter cells are taken, so a little less.
    np.testing.assert_allclose(detail(noise, ALL).mean(axis=(1, 2)), integral, rtol=0.2)
    assert (detail(noise, ALL).mean(axis=(1, 2)) < integral * 1.01).all()


def test_an_edge_is_no_noise() -> None:
    edge = np.where(np.arange(SIDE) < SIDE // 2, 0.0, 100.0)[None].repeat(SIDE, 0)
    np.testing.assert_allclose(detail(white() + edge, ALL), detail(white(), ALL), rtol=0.15)


def test_padding_counts_for_nothing() -> None:
    usable = np.hypot(*np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]) < 0.8
    found = detail(np.where(usable, white(), -2000), usable)
    assert np.isfinite(found).all()
    whole = detail(white(), ALL)
    shown = usable[CELL // 2 : -1 : CELL, CELL // 2 : -1 : CELL]
    np.testing.assert_allclose(found[:, shown], whole[:, shown], rtol=0.5)
    np.testing.assert_array_equal(found[:, 12:-12, 12:-12], whole[:, 12:-12, 12:-12])
    assert (detail(white(), np.zeros_like(ALL)) == 0).all()


@pytest.mark.parametrize("shape", [(16, 16), (9, 300), (17, 23), (3, 3)])
def test_slices_of_any_size_have_cells_and_every_pixel_a_value(shape: tuple[int, int]) -> None:
    cells = detail(np.random.default_rng(0).normal(0, 1, shape), np.ones(shape, np.bool_))
    found = spread(cells, (0, 0), shape)
    assert found.shape == (4, *shape) and (found > 0).all()


def test_values_lie_on_a_slope_between_the_middles_of_cells() -> None:
    cells = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    whole = spread(cells, (0, 0), (24, 32))
    np.testing.assert_array_equal(spread(cells, (5, 7), (9, 11)), whole[:, 5:14, 7:18])
    # The first cell lies on pixels 1 to 8, the next on 9 to 16.
    assert whole[0, 0, 0] == 0 and whole[0, 0, 12] + whole[0, 0, 13] == 2
    assert np.all(np.diff(whole, axis=2) >= 0) and np.all(np.diff(whole, axis=1) >= 0)
