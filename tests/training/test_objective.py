"""The sum of terms: weights over time, precision, and networks that terms train themselves."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from aegui.recipes.losses import (
    L1,
    MSE,
    SSIM,
    Adversarial,
    BinaryCrossEntropy,
    CrossEntropy,
    Fourier,
    LossTerm,
    MultiScaleSSIM,
    Perceptual,
    TotalVariation,
    weight_at,
)
from aegui.training.losses import Context
from aegui.training.objective import Objective
from tests.training.looks import CPU, image, seen, start

OUTPUT, TARGET = image(noise=0.1, seed=1), image()


def objective(*losses: LossTerm, epochs: float = 10.0) -> Objective:
    return Objective(losses, Context(start("classic-small"), CPU), epochs)


def test_a_weight_waits_grows_and_falls_as_its_fields_say() -> None:
    waiting = L1(weight=2, starts=3, ramp=4)
    assert [weight_at(waiting, epoch, 20) for epoch in (0, 2.9, 3, 5, 7, 20)] == [0, 0, 0, 1, 2, 2]
    falling = L1(weight=2, final=0.25)
    assert [weight_at(falling, epoch, 10) for epoch in (0, 5, 10, 12)] == pytest.approx([2, 1.25, 0.5, 0.5])
    rising = L1(weight=1, final=3)
    assert weight_at(rising, 10, 10) == pytest.approx(3)


def test_the_total_follows_the_weights_and_the_values_do_not() -> None:
    both = objective(MSE(), L1(weight=2, starts=5))
    mse, l1 = nn.functional.mse_loss(OUTPUT, TARGET), nn.functional.l1_loss(OUTPUT, TARGET)
    before, values = both(seen(OUTPUT, TARGET), 4.9)
    after, later = both(seen(OUTPUT, TARGET), 5.0)
    assert before == mse and after == mse + 2 * l1
    assert values == later == {"mse": mse.item(), "l1": l1.item()}


def test_a_term_that_does_not_count_yet_has_no_part_in_the_slope() -> None:
    output = OUTPUT.clone().requires_grad_()
    total, _ = objective(MSE(), L1(weight=5, starts=2))(seen(output, TARGET), 0.0)
    total.backward()
    plain = OUTPUT.clone().requires_grad_()
    nn.functional.mse_loss(plain, TARGET).backward()
    assert torch.equal(output.grad, plain.grad)


@pytest.mark.parametrize("part", [L1(starts=2), CrossEntropy()])
def test_a_step_in_which_nothing_counts_goes_nowhere(part: LossTerm) -> None:
    output = OUTPUT.clone().requires_grad_()
    total, _ = objective(part)(seen(output, TARGET), 0.0)
    total.backward()
    assert total.item() == 0 and not output.grad.any()


@pytest.mark.parametrize(
    "part", [MSE(), SSIM(), MultiScaleSSIM(), BinaryCrossEntropy(), Fourier(), Perceptual(), Adversarial()]
)
def test_terms_compute_in_float32_inside_mixed_precision(part: LossTerm) -> None:
    plain, _ = objective(part)(seen(OUTPUT, TARGET))
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = objective(part)(seen(OUTPUT, TARGET))
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


# ---------------------------------------------------------------- adversarial


def test_the_judge_learns_to_tell_blurred_from_clean() -> None:
    both = objective(MSE(), Adversarial())
    clean = image(8, 32, noise=0.1, seed=2)
    shown = seen(nn.functional.avg_pool2d(clean, 3, 1, 1), clean)
    losses = [both.second(shown)["adversarial"] for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
    assert both(shown)[1]["adversarial"] > 3 * both(seen(clean, clean))[1]["adversarial"]


def test_what_fools_the_judge_becomes_more_like_the_clean_image() -> None:
    torch.manual_seed(0)
    both = objective(Adversarial(weight=1))
    clean = image(8, 32, noise=0.1, seed=2)
    blurred = nn.functional.avg_pool2d(clean, 3, 1, 1)
    for _ in range(40):
        both.second(seen(blurred, clean))
    output = blurred.clone().requires_grad_()
    optimiser = torch.optim.Adam([output], lr=0.01)
    before, _ = both(seen(output, clean))
    for _ in range(10):
        optimiser.zero_grad()
        total, _ = both(seen(output, clean))
        total.backward()
        optimiser.step()
    assert total < 0.8 * before
    grain = Fourier(compare="radial")
    closer, was = (objective(grain)(seen(x.detach(), clean))[0] for x in (output, blurred))
    assert closer < was


def test_scoring_changes_no_judge_and_a_judge_changes_no_picture() -> None:
    both = objective(Adversarial())
    before = copy.deepcopy(both.state_dict())
    output = OUTPUT.clone().requires_grad_()
    both(seen(output, TARGET))[0].backward()
    after = both.state_dict()["adversarial"]["weights"]
    assert all(torch.equal(before["adversarial"]["weights"][name], weight) for name, weight in after.items())
    slope = output.grad.clone()
    both.second(seen(output, TARGET))
    assert torch.equal(output.grad, slope)
    assert not torch.equal(before["adversarial"]["weights"]["final_conv.conv.weight"], after["final_conv.conv.weight"])


def test_a_resumed_judge_goes_on_to_the_bit(tmp_path) -> None:  # type: ignore[no-untyped-def]
    def steps(judge: Objective, numbers: range) -> None:
        for number in numbers:
            judge.second(seen(image(2, 24, noise=0.2, seed=number), image(2, 24)))

    whole, half = objective(MSE(), Adversarial()), objective(MSE(), Adversarial())
    steps(whole, range(6))
    steps(half, range(3))
    torch.save(half.state_dict(), tmp_path / "state.pt")
    resumed = objective(MSE(), Adversarial())
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    steps(resumed, range(3, 6))
    shown = seen(OUTPUT, TARGET)
    assert torch.equal(whole(shown)[0], resumed(shown)[0])
    assert not torch.equal(whole(shown)[0], half(shown)[0])


def test_building_a_judge_does_not_touch_the_random_numbers_of_the_run() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    objective(Adversarial())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 40, 20), (1, 9, 12), (1, 17, 64)])
def test_the_judge_takes_small_odd_and_colour_pictures(shape: tuple[int, int, int]) -> None:
    output = torch.rand(2, *shape, requires_grad=True)
    both = objective(TotalVariation(), Adversarial())
    both(seen(output, torch.zeros(2, *shape)))[0].backward()
    both.second(seen(output, torch.zeros(2, *shape)))
    assert bool(torch.isfinite(output.grad).all())
