"""What the structure score is made of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_laplace

from aegui.analysis.residual import ALERT, SIGMA, laplacian_of_gaussian, structure_score


@pytest.mark.parametrize("shape", [(64, 80), (33, 17), (5, 40)])
def test_the_laplacian_is_scipys(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    np.testing.assert_allclose(laplacian_of_gaussian(image), gaussian_laplace(image, SIGMA), atol=1e-3)


def test_smoothing_is_found_also_where_anatomy_fills_the_slice() -> None:
    rng = np.random.default_rng(0)
    texture = 40 * gaussian_filter(rng.normal(0, 1, (128, 128)), 2.5) / 0.1
    texture[:40] *= 0.15  # a quieter part, as every slice has
    noisy = (100 + texture + rng.normal(0, 2, texture.shape)).astype(np.float32)
    assert structure_score(noisy, gaussian_filter(noisy, 1.0)) > ALERT
    assert structure_score(noisy, (100 + texture).astype(np.float32)) < 0.1


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0])
def test_noise_that_is_left_where_there_is_no_anatomy_is_none(sigma: float) -> None:
    noisy = np.random.default_rng(0).normal(100, 20, (256, 256)).astype(np.float32)
    assert structure_score(noisy, gaussian_filter(noisy, sigma)) == 0
