"""A slice is averaged over the square's symmetries, each turned back to where it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aegui.errors import UserError
from aegui.inference.views import COUNTS, averaged, require_count
from aegui.models.zoo import load_model


def slices() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (2, 1, 24, 40)).astype(np.float32)


@pytest.mark.parametrize("count", COUNTS)
def test_what_treats_every_pixel_alike_is_the_same_in_every_view(count: int) -> None:
    seen: list[bytes] = []

    def run(x: np.ndarray) -> np.ndarray:
        seen.append(bytes(str(x.shape), "ascii") + x.tobytes())
        return 3 * x

    x = slices()
    mean, spread = averaged(run, x, count)
    np.testing.assert_allclose(mean, 3 * x, rtol=1e-6)
    assert len(set(seen)) == count, "no view is seen twice"
    if count == 1:
        assert spread is None
    else:
        assert spread is not None and spread.max() < 1e-5


def test_what_depends_on_the_side_shows_in_the_spread() -> None:
    ramp = np.linspace(0, 1, 40, dtype=np.float32)
    mean, spread = averaged(lambda x: x * 0 + ramp[: x.shape[-1]], slices(), 2)
    np.testing.assert_allclose(mean, np.broadcast_to((ramp + ramp[::-1]) / 2, mean.shape), rtol=1e-5)
    assert spread is not None
    np.testing.assert_allclose(spread, np.broadcast_to(np.abs(ramp - ramp[::-1]) / 2, mean.shape), atol=1e-6)


def test_eight_views_leave_less_noise_than_one() -> None:
    net = load_model("general-small").net
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:96, :96] / 48
    clean = (0.5 + 0.2 * np.sin(4 * x) * np.cos(3 * y)).astype(np.float32)
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(image), torch.full((len(image),), 0.1)).numpy()

    error = {count: float(np.mean((averaged(run, noisy[None, None], count).mean - clean) ** 2)) for count in (1, 8)}
    assert error[8] < error[1]


def test_three_views_are_refused() -> None:
    with pytest.raises(UserError, match="3 views"):
        require_count(3)
