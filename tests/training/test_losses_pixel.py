"""Terms of single pixels do what their formulas say, everywhere, in a window and at a mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from aegui.imaging import WINDOWS
from aegui.recipes.losses import (
    L1,
    MSE,
    BinaryCrossEntropy,
    Charbonnier,
    Huber,
    ImageLoss,
    LogarithmicError,
    TotalVariation,
)
from aegui.training.losses import total_variation
from tests.training.looks import image, seen, term, value

OUTPUT, TARGET = image(noise=0.1, seed=1), image()
ERROR = (OUTPUT - TARGET).double().numpy()


def test_pointwise_terms_equal_their_formulas() -> None:
    assert value(MSE(), OUTPUT, TARGET) == pytest.approx(np.mean(ERROR**2), rel=1e-5)
    assert value(L1(), OUTPUT, TARGET) == pytest.approx(np.mean(abs(ERROR)), rel=1e-5)
    huber = np.where(abs(ERROR) < 0.07, 0.5 * ERROR**2, 0.07 * (abs(ERROR) - 0.035))
    assert value(Huber(delta=0.07), OUTPUT, TARGET) == pytest.approx(huber.mean(), rel=1e-5)
    charbonnier = np.sqrt(ERROR**2 + 0.02**2)
    assert value(Charbonnier(epsilon=0.02), OUTPUT, TARGET) == pytest.approx(charbonnier.mean(), rel=1e-5)


def test_the_logarithmic_error_is_that_of_each_slice_in_db_above_the_floor() -> None:
    mae, mse = (np.mean(error, axis=(1, 2, 3)) for error in (abs(ERROR), ERROR**2))
    absolute = value(LogarithmicError(floor=0.03), OUTPUT, TARGET)
    assert absolute == pytest.approx(np.mean(20 * np.log10(1 + mae / 0.03)), rel=1e-5)
    squared = value(LogarithmicError(of="squared", floor=0.03), OUTPUT, TARGET)
    assert squared == pytest.approx(np.mean(10 * np.log10(1 + mse / 0.03**2)), rel=1e-5)
    assert value(LogarithmicError(), TARGET, TARGET) == value(LogarithmicError(of="squared"), TARGET, TARGET) == 0


@pytest.mark.parametrize("of", ["absolute", "squared"])
def test_by_the_logarithmic_error_a_slice_with_little_noise_counts_as_much_as_one_with_much(of: str) -> None:
    clean = torch.zeros(2, 1, 32, 32)
    errors = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    pulls = []
    for part in (LogarithmicError(of=of, floor=1e-6), MSE()):
        sizes = torch.tensor([1.0, 1.0]).reshape(2, 1, 1, 1).requires_grad_()
        noise = errors * torch.tensor([0.02, 0.2]).reshape(2, 1, 1, 1)
        term(part)(seen(sizes * noise, clean)).backward()
        pulls.append(sizes.grad.flatten())
    assert float(pulls[0][0] / pulls[0][1]) == pytest.approx(1, rel=1e-4)
    assert float(pulls[1][0] / pulls[1][1]) == pytest.approx(0.01, rel=0.2)


def test_the_squared_error_is_torch_s_own_to_the_bit() -> None:
    assert value(MSE(), OUTPUT, TARGET) == nn.functional.mse_loss(OUTPUT, TARGET).item()


def test_binary_cross_entropy_equals_its_formula_and_stays_finite_at_certainty() -> None:
    output, target = OUTPUT.clamp(0.05, 0.95), TARGET.clamp(0, 1)
    p, t = output.double().numpy(), target.double().numpy()
    assert value(BinaryCrossEntropy(), output, target) == pytest.approx(
        -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p)), rel=1e-5
    )
    certain = torch.tensor([0.0, 1.0, 1.0, 0.0]).reshape(1, 1, 2, 2).requires_grad_()
    wanted = torch.tensor([1.0, 0.0, 1.4, -0.3]).reshape(1, 1, 2, 2)
    loss = term(BinaryCrossEntropy())(seen(certain, wanted))
    loss.backward()
    assert 6 < loss.item() < 8  # two pixels certain and wrong at 10⁻⁶, two right
    assert bool(torch.isfinite(certain.grad).all())


@pytest.mark.parametrize(
    "part", [MSE(), L1(), Huber(), Charbonnier(), LogarithmicError(), LogarithmicError(of="squared")]
)
def test_at_a_mask_only_its_pixels_count(part: ImageLoss) -> None:
    mask = torch.zeros(2, 1, 48, 48, dtype=torch.bool)
    mask[:, :, 10:20, 5:9] = True
    inside = value(part, OUTPUT[:, :, 10:20, 5:9], TARGET[:, :, 10:20, 5:9])
    assert float(term(part)(seen(OUTPUT, TARGET, mask=mask))) == pytest.approx(inside, rel=1e-6)
    assert float(term(part)(seen(OUTPUT, TARGET, mask=torch.zeros_like(mask)))) == 0


@pytest.mark.parametrize("window", ["lung", "bone", "brain", "abdomen", "mediastinum"])
def test_a_window_compares_what_a_reader_sees_in_it(window: str) -> None:
    hu = np.random.default_rng(2).uniform(-1000, 1500, (2, 2, 1, 20, 20))
    low, span = -1024.0, 4095.0
    output, target = (torch.from_numpy(((v - low) / span).astype(np.float32)) for v in hu)
    width, level = WINDOWS[window.capitalize()]
    shown = np.clip((hu - (level - width / 2)) / width, 0, 1)
    got = term(MSE(window=window))(seen(output, target, scale=(low, span)))
    assert float(got) == pytest.approx(np.mean((shown[0] - shown[1]) ** 2), rel=1e-3)


def test_each_patch_is_windowed_by_its_own_scale() -> None:
    hu = torch.tensor([-900.0, -300.0, 0.0, 90.0]).reshape(1, 1, 2, 2)
    output = torch.cat([(hu - 0) / 400, (hu + 1024) / 2048])
    shown = seen(output, torch.zeros_like(output))
    scale = torch.tensor([[0.0, 400.0], [-1024.0, 2048.0]])
    target = torch.cat([(hu * 0 - 0) / 400, (hu * 0 + 1024) / 2048])
    got = term(L1(window="lung"))(type(shown)(output, target, target, shown.found, shown.labels, scale))
    one = term(L1(window="lung"))(seen(output[:1], target[:1], scale=(0.0, 400.0)))
    assert float(got) == pytest.approx(float(one), rel=1e-5)


def test_nothing_outside_a_window_is_changed_by_its_term() -> None:
    hu = torch.tensor([-1000.0, -100.0, 40.0, 300.0]).reshape(1, 1, 2, 2)
    output = (hu / 400).requires_grad_()
    term(MSE(window="abdomen"))(seen(output, torch.zeros(1, 1, 2, 2), scale=(0.0, 400.0))).backward()
    assert (output.grad != 0).flatten().tolist() == [False, True, True, False]


def test_isotropic_total_variation_is_the_sum_of_slopes_computed_by_hand() -> None:
    picture = np.random.default_rng(3).random((5, 7)).astype(np.float32)
    total = sum(
        math.hypot(
            picture[r + 1, c] - picture[r, c] if r < 4 else 0.0, picture[r, c + 1] - picture[r, c] if c < 6 else 0.0
        )
        for r in range(5)
        for c in range(7)
    )
    tensor = torch.from_numpy(picture)[None, None]
    assert total_variation(tensor, "sum", "isotropic").item() == pytest.approx(total, rel=1e-5)
    assert total_variation(tensor, "mean", "isotropic").item() == pytest.approx(total / 35, rel=1e-5)


def test_a_slanted_edge_costs_anisotropic_variation_more() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    slant = torch.sigmoid(x + y - 64)[None, None]
    straight = torch.sigmoid(x - 32)[None, None]

    def ratio(form: str) -> float:
        return (total_variation(slant, "sum", form) / total_variation(straight, "sum", form)).item()

    assert ratio("isotropic") == pytest.approx(math.sqrt(2), rel=0.05)  # the edge is √2 times as long
    assert ratio("anisotropic") == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("form", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_total_variation_of_a_flat_image_is_0_with_slope_0(form: str, reduction: str) -> None:
    flat = torch.full((1, 1, 16, 16), 0.3, requires_grad=True)
    loss = term(TotalVariation(form=form, reduction=reduction))(seen(flat, flat))
    loss.backward()
    assert loss.item() == 0 and not flat.grad.any()
