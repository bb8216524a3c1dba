"""The classical filters, one by one and tuned."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from aegui.classical import FILTERS, QUICK, Filter, tune
from aegui.classical.filters import curvature_diffusion, total_variation
from aegui.measure import estimate_noise, psnr

SIDE = 96


def scene() -> np.ndarray:
    """Discs of several heights on a slope."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    image = 40 * x
    for top, left, radius, height in ((0.3, 0.3, 0.18, 120), (0.6, 0.7, 0.22, -80), (0.75, 0.25, 0.1, 200)):
        image = image + height * (np.hypot(y - top, x - left) < radius)
    return image.astype(np.float32)


def noisy(sd: float = 20, seed: int = 0) -> np.ndarray:
    return scene() + np.random.default_rng(seed).normal(0, sd, (SIDE, SIDE)).astype(np.float32)


def end(work: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as stopped:
            return stopped.value


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda f: f.name)
def test_every_tuned_filter_brings_a_slice_nearer_to_the_clean_one(filter_: Filter) -> None:
    mask = np.ones((SIDE, SIDE), bool)
    (tuned,) = end(tune([(noisy(), scene(), 400.0, mask)], [filter_]))
    other = noisy(seed=1)
    assert psnr(tuned(other), scene(), 400, mask) > psnr(other, scene(), 400, mask) + 4
    tried = [psnr(filter_.apply(noisy(), s), scene(), 400, mask) for s in filter_.grid]
    assert tuned.psnr == max(tried) and tuned.strength == filter_.grid[int(np.argmax(tried))]
    assert tuned.strength not in (filter_.grid[0], filter_.grid[-1])  # the grid reaches to both sides of the best


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda f: f.name)
def test_a_strength_means_the_same_whatever_the_unit(filter_: Filter) -> None:
    image, strength = noisy(), filter_.grid[len(filter_.grid) // 2]
    once = filter_.apply(image, strength)
    assert once.dtype == np.float32
    np.testing.assert_allclose(filter_.apply(image * 0.001, strength) * 1000, once, atol=0.5)
    np.testing.assert_allclose(filter_.apply(image + 500, strength) - 500, once, atol=0.1)


def test_total_variation_minimises_its_formula() -> None:
    """½‖u − y‖² + weight · noise SD · Σ|∇u|: nothing near the result is lower."""
    image, weight = noisy(), 1.4
    found = total_variation(image, weight).astype(np.float64)
    sd = estimate_noise(image)

    def cost(u: np.ndarray) -> float:
        dy, dx = np.zeros_like(u), np.zeros_like(u)
        dy[:-1], dx[:, :-1] = np.diff(u, axis=0), np.diff(u, axis=1)
        # In skimage the weight stands before the variation, the data term has no half.
        return float(((u - image) ** 2).sum() / 2 + weight * sd * np.hypot(dy, dx).sum())

    lowest = cost(found)
    assert lowest < 0.7 * min(cost(image.astype(np.float64)), cost(scene().astype(np.float64) * 0 + image.mean()))
    rng = np.random.default_rng(4)
    for _ in range(20):
        assert cost(found + rng.normal(0, 2, found.shape)) > lowest
    assert cost(found * 0.97 + image.mean() * 0.03) > 0.999 * lowest
    for other in (0.5, 3.0):
        assert cost(total_variation(image, other).astype(np.float64)) > lowest


def test_curvature_diffusion_smooths_along_edges_and_keeps_them() -> None:
    """At the same noise left in flat areas, an edge stays steeper than under a Gaussian."""
    rng = np.random.default_rng(5)
    step = np.where(np.arange(SIDE) < SIDE // 2, 0.0, 100.0)[None].repeat(SIDE, 0).astype(np.float32)
    image = step + rng.normal(0, 5, step.shape).astype(np.float32)
    diffused = curvature_diffusion(image, 2.0)
    left = diffused[:, 5:35].std()
    assert left < 3
    (gaussian,) = (f for f in FILTERS if f.name == "Gaussian")
    width = next(s for s in np.linspace(0.3, 3, 100) if gaussian.apply(image, float(s))[:, 5:35].std() <= left)
    blurred = gaussian.apply(image, float(width))

    def height(x: np.ndarray) -> float:
        return float((x[:, SIDE // 2] - x[:, SIDE // 2 - 1]).mean())

    assert height(diffused) > 1.3 * height(blurred)


def test_a_flat_slice_stays_flat() -> None:
    flat = np.full((32, 40), 7.0, np.float32)
    for filter_ in FILTERS:
        np.testing.assert_allclose(filter_.apply(flat, filter_.grid[0]), flat, atol=1e-4)


def test_the_start_of_a_run_tries_the_quick_ones_only() -> None:
    assert set(QUICK) < set(FILTERS)
    assert {f.name for f in FILTERS} - {f.name for f in QUICK} == {"curvature diffusion"}
