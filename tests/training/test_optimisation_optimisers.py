"""Every optimiser does what plain torch does; gradients are clipped as asked."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aegui.errors import UserError
from aegui.recipes.run import Regularisation
from aegui.training import optimisation
from aegui.training.stepping import clip_gradients
from tests.training.small import Small, classic, loss_of, recipe

Maker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

PLAIN: dict[str, tuple[str, Maker]] = {
    "adam": ("{kind: adam}", lambda p: torch.optim.Adam(p, 0.01)),
    "adam with decay": (
        "{kind: adam, weight_decay: 0.1, spare: false, beta1: 0.8, beta2: 0.95}",
        lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.95), weight_decay=0.1),
    ),
    "adamw": ("{kind: adamw, spare: false}", lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.01)),
    "radam": ("{kind: radam, beta1: 0.85}", lambda p: torch.optim.RAdam(p, 0.01, (0.85, 0.999))),
    "nadam": ("{kind: nadam, beta2: 0.99}", lambda p: torch.optim.NAdam(p, 0.01, (0.9, 0.99))),
    "sgd": ("{kind: sgd, momentum: 0.0}", lambda p: torch.optim.SGD(p, 0.01)),
    "nesterov": (
        "{kind: sgd, momentum: 0.8, nesterov: true, weight_decay: 0.01, spare: false}",
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.8, nesterov=True, weight_decay=0.01),
    ),
    "rmsprop": (
        "{kind: rmsprop, smoothing: 0.9, momentum: 0.5}",
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, momentum=0.5),
    ),
    "adagrad": ("{kind: adagrad, weight_decay: 0.1, spare: false}", lambda p: torch.optim.Adagrad(p, 0.01, 0, 0.1)),
    "lbfgs": (
        "{kind: lbfgs, history: 7, iterations: 4}",
        lambda p: torch.optim.LBFGS(p, 0.01, max_iter=4, history_size=7, line_search_fn="strong_wolfe"),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_an_optimiser_equals_plain_torch_for_five_steps(name: str) -> None:
    setting, make = PLAIN[name]
    ours, plain = classic(), classic()
    losses = Small(ours, recipe(f"optimiser={setting}")).run(0, 5)
    optimiser = make(list(plain.parameters()))
    expected: list[float] = []
    for _ in range(5):

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = loss_of(plain)
            loss.backward()  # type: ignore[no-untyped-call]
            expected.append(float(loss.detach()))
            return loss

        optimiser.step(closure)  # type: ignore[arg-type]
    assert losses == pytest.approx(expected, rel=1e-6)
    assert min(losses[1:]) < losses[0]
    for value, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("setting", [*(setting for setting, _ in PLAIN.values()), "{kind: muon}"])
def test_an_optimiser_goes_on_to_the_bit(setting: str) -> None:
    part = recipe(f"optimiser={setting}", "schedule={kind: onecycle}")
    whole = Small(classic(), part)
    whole.run(0, 6)
    first = Small(classic(), part)
    first.run(0, 3)
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second = Small(classic(), part)
    second.load(torch.load(buffer, weights_only=True))
    second.run(3, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole.net.parameters(), second.net.parameters(), strict=True))


def test_lbfgs_looks_several_times_at_a_step_and_gains_by_it() -> None:
    few = Small(classic(), recipe("optimiser={kind: lbfgs, iterations: 5}", groups=ONE)).run(0, 3)
    adam = Small(classic(), recipe(groups=ONE)).run(0, 3)
    assert len(few) > 9 and few[-1] < adam[-1]


ONE = "[{match: rest, learning_rate: 1.0}]"


def test_lbfgs_takes_groups_of_one_rate_and_refuses_others() -> None:
    by = "[{match: encoder, learning_rate: 0.5}, {match: decoder, learning_rate: 0.5}]"
    optimiser, _ = optimisation.build(recipe("optimiser={kind: lbfgs}", groups=by), classic(), 1)
    assert optimisation.rates(optimiser) == {"encoder": 0.5, "decoder": 0.5}
    for other in (by.replace("0.5}]", "0.1}]"), by.replace("0.5}]", "0.5, unfreeze_epoch: 4}]")):
        with pytest.raises(UserError, match="L-BFGS trains all weights together"):
            optimisation.build(recipe("optimiser={kind: lbfgs}", groups=other), classic(), 1)


def gradients() -> list[nn.Parameter]:
    torch.manual_seed(2)
    parameters = [nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(5))]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape)
    return parameters


def test_gradients_are_clipped_by_their_norm() -> None:
    ours, plain = gradients(), gradients()
    norm, clipped = clip_gradients(ours, Regularisation(gradient_clip=0.5))
    assert clipped and norm == pytest.approx(float(nn.utils.clip_grad_norm_(plain, 0.5)))
    for one, other in zip(ours, plain, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)
    assert clip_gradients(ours, Regularisation()) == (pytest.approx(0.5, rel=1e-5), False)
    assert not clip_gradients(ours, Regularisation(gradient_clip=0.6))[1]


def test_gradients_are_clipped_by_value() -> None:
    ours = gradients()
    before = [parameter.grad.clone() for parameter in ours if parameter.grad is not None]
    norm, clipped = clip_gradients(ours, Regularisation(gradient_clip=0.3, clip_by="value"))
    assert clipped and norm == pytest.approx(float(torch.cat([g.flatten() for g in before]).norm()))
    for parameter, old in zip(ours, before, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, old.clamp(-0.3, 0.3))
    # The norm of all is above it still; no value is.
    assert not clip_gradients(ours, Regularisation(gradient_clip=0.31, clip_by="value"))[1]


def test_without_a_limit_gradients_stay_as_they_are() -> None:
    ours, plain = gradients(), gradients()
    clip_gradients(ours, Regularisation())
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours, plain, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("clip_by", ["norm", "value"])
def test_where_no_gradient_reaches_what_moves_there_is_nothing_to_clip(clip_by: str) -> None:
    ours = [nn.Parameter(torch.ones(3))]
    assert clip_gradients(ours, Regularisation(gradient_clip=0.3, clip_by=clip_by)) == (0, False)  # type: ignore[arg-type]
    assert ours[0].grad is None
