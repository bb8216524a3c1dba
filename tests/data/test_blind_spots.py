"""Blind spots: what they hide, what stands there instead, and that the network cannot know it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from aegui.data.targets.blind import GridSpots, RandomSpots
from aegui.data.targets.hiding import from_around, from_close_by
from aegui.models.zoo import load_model
from aegui.recipes.run import Augmentation
from aegui.recipes.targets import Noise2Self, Noise2Void

LEAST = {"pixel": 1, "row": 5, "column": 5, "cross": 9, "square": 25}  # pixels hidden by a spot of reach 2


@pytest.mark.parametrize("hide", list(LEAST))
@pytest.mark.parametrize("kind", ["noise2void", "noise2self"])
def test_nothing_of_what_is_hidden_reaches_the_network(kind: str, hide: str) -> None:
    part = (
        Noise2Void.parse({"hide": hide, "reach": 2, "spots": 10})
        if kind == "noise2void"
        else Noise2Self.parse({"hide": hide, "reach": 2, "grid": 8})
    )
    targets = RandomSpots(part) if isinstance(part, Noise2Void) else GridSpots(part)
    image = np.random.default_rng(0).normal(0, 1, (1, 40, 40)).astype(np.float32)
    first = targets.finish(image, image, 0.1, np.random.default_rng(5))
    assert first.mask is not None and first.mask.any()
    spots = np.argwhere(first.mask[0])
    hidden = np.zeros((40, 40), bool)
    for row, column in spots:
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                covered = {
                    "pixel": dy == dx == 0,
                    "row": dy == 0,
                    "column": dx == 0,
                    "cross": dy == 0 or dx == 0,
                    "square": True,
                }[hide]
                if covered and 0 <= row + dy < 40 and 0 <= column + dx < 40:
                    hidden[row + dy, column + dx] = True
    other = np.where(hidden, image + 100, image).astype(np.float32)
    second = targets.finish(other, other, 0.1, np.random.default_rng(5))
    np.testing.assert_array_equal(first.noisy, second.noisy)
    np.testing.assert_array_equal(first.noisy[:, ~hidden], image[:, ~hidden])
    assert (second.clean - first.clean)[first.mask].min() == 100


def test_the_gradient_of_the_loss_is_zero_at_hidden_pixels_and_not_elsewhere() -> None:
    targets = RandomSpots(Noise2Void(hide="row", reach=3, spots=5))
    image = np.random.default_rng(0).normal(0.5, 0.1, (1, 32, 32)).astype(np.float32)
    drawn = targets.finish(image, image, 0.1, np.random.default_rng(1))
    assert drawn.mask is not None
    hidden = drawn.noisy != image
    net = load_model("classic-small", "random", 0).net
    scan = torch.from_numpy(image[None]).requires_grad_()
    seen = torch.where(torch.from_numpy(hidden[None]), torch.from_numpy(drawn.noisy[None]), scan)
    target = torch.from_numpy(image[None])
    spots = torch.from_numpy(drawn.mask[None])
    ((net.outputs(seen).image - target)[spots] ** 2).mean().backward()
    assert scan.grad is not None
    assert float(scan.grad[torch.from_numpy(hidden[None])].abs().max()) == 0
    assert float(scan.grad[torch.from_numpy(~hidden[None])].abs().max()) > 0


@pytest.mark.parametrize(("hide", "share"), [("pixel", 2.0), ("pixel", 20.0), ("square", 20.0), ("row", 10.0)])
def test_as_many_pixels_are_hidden_as_asked_for(hide: str, share: float) -> None:
    targets = RandomSpots(Noise2Void.parse({"hide": hide, "reach": 2, "spots": share}))
    counts = [
        np.count_nonzero(targets.spots((64, 64), np.random.default_rng(seed))) * LEAST[hide] for seed in range(40)
    ]
    assert np.mean(counts) / 64**2 == pytest.approx(share / 100, rel=0.06)


def test_the_grid_of_noise2self_reaches_every_pixel_in_turn() -> None:
    targets = GridSpots(Noise2Self(grid=4))
    hits = sum(targets.spots((16, 16), np.random.default_rng(seed)).astype(int) for seed in range(300))
    assert hits.min() > 0
    spots = targets.spots((16, 16), np.random.default_rng(0))
    assert spots.sum() == 16 and np.diff(np.flatnonzero(spots.any(axis=1))).tolist() == [4, 4, 4]


def test_squares_that_would_hide_everything_are_refused() -> None:
    with pytest.raises(ValidationError, match="hide everything; try 6"):
        Noise2Self(hide="square", reach=2, grid=4)


def test_hidden_pixels_become_the_weighted_mean_around_as_in_noise2self() -> None:
    from scipy.ndimage import convolve

    image = np.random.default_rng(0).normal(size=(1, 12, 12)).astype(np.float32)
    hidden = np.zeros((12, 12), bool)
    hidden[5, 6] = True
    kernel = np.asarray([[0.5, 1, 0.5], [1, 0, 1], [0.5, 1, 0.5]]) / 6
    filled = from_around(image, hidden)
    assert filled[0, 5, 6] == pytest.approx(convolve(image[0], kernel)[5, 6], rel=1e-5)
    filled[0, 5, 6] = image[0, 5, 6]
    np.testing.assert_array_equal(filled, image)


@pytest.mark.parametrize("side", [3, 15])
def test_a_hidden_square_is_filled_from_its_rim_whatever_its_size(side: int) -> None:
    image = np.full((2, 40, 40), 7, np.float32)
    hidden = np.zeros((40, 40), bool)
    hidden[10 : 10 + side, 12 : 12 + side] = True
    image[:, hidden] = 1000
    known = np.ones((40, 40), bool)
    known[:10], image[:, :10] = False, -500
    np.testing.assert_allclose(from_around(image, hidden, known)[:, hidden], 7, rtol=1e-4)


def test_values_from_close_by_are_visible_ones() -> None:
    image = np.arange(400, dtype=np.float32).reshape(1, 20, 20)
    hidden = np.zeros((20, 20), bool)
    hidden[8:13, 8:13] = True
    filled = from_close_by(image, hidden, 4, np.random.default_rng(0))
    taken = filled[0, hidden].astype(int)
    assert not hidden.ravel()[taken].any()
    rows, columns = np.nonzero(hidden)
    assert np.abs(taken // 20 - rows).max() <= 4 and np.abs(taken % 20 - columns).max() <= 4


def test_noise_along_rows_is_not_turned_away_from_what_is_hidden() -> None:
    wanted = Augmentation()
    assert not RandomSpots(Noise2Void(hide="row")).augmentation(wanted).rotations
    assert RandomSpots(Noise2Void(hide="cross")).augmentation(wanted).rotations
