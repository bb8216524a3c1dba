"""What the structure score is made of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_laplace

from aegui.analysis.residual import SIGMA, laplacian_of_gaussian


@pytest.mark.parametrize("shape", [(64, 80), (33, 17), (5, 40)])
def test_the_laplacian_is_scipys(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    np.testing.assert_allclose(laplacian_of_gaussian(image), gaussian_laplace(image, SIGMA), atol=1e-3)
