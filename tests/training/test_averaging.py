"""Averaged weights: the formulas, with torch's AveragedModel as the reference."""

from __future__ import annotations

import copy
import io

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn

from aegui.events import Progress
from aegui.models.slicenet import SliceNet
from aegui.recipes.optimisers import EMA, SWA, NoAveraging
from aegui.recipes.run import Regularisation
from aegui.training import averaging
from aegui.training.regularise import regularise
from tests.training.small import Small, classic, normed, recipe, slices


def test_no_averaging_has_no_weights() -> None:
    average = averaging.build(NoAveraging(), classic())
    average.update_step(classic())
    assert average.weights() is None and not average.needs_statistics


def test_a_moving_average_equals_torchs_and_differs_from_the_raw_weights() -> None:
    net = classic()
    average = averaging.build(EMA(decay=0.9), net)
    counted = iter(range(1, 100))

    def formula(mean: Tensor, value: Tensor, _count: Tensor | int) -> Tensor:
        return mean * decay + value * (1 - decay)

    reference = AveragedModel(net, avg_fn=formula)
    reference.n_averaged += 1  # it would copy the first; ours begins at the start weights
    run = Small(net, recipe())
    for step in range(30):
        run.run(step, step + 1)
        number = next(counted)
        decay = min(0.9, (1 + number) / (10 + number))
        average.update_step(net)
        reference.update_parameters(net)
    weights = average.weights()
    assert weights is not None
    for name, value in reference.module.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-7)
    raw = net.state_dict()
    assert not any(torch.equal(weights[name], raw[name]) for name in raw if name.endswith("weight"))


def test_an_equal_average_takes_the_epochs_after_its_beginning() -> None:
    net = classic()
    average = averaging.build(SWA(begins=0.5), net)
    reference = AveragedModel(net)
    run = Small(net, recipe())
    for epoch in range(1, 9):
        run.run(epoch - 1, epoch)
        average.update_step(net)
        average.update_epoch(net, epoch / 8)
        if epoch > 4:
            reference.update_parameters(net)
        assert (average.weights() is None) == (epoch <= 4)
    weights = average.weights()
    assert weights is not None and int(reference.n_averaged) == 4
    for name, value in reference.module.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-7)


def test_averages_go_on_to_the_bit() -> None:
    for part in (EMA(decay=0.95), SWA(begins=0.0)):
        net = normed()
        run = Small(net, recipe())
        whole = averaging.build(part, net)
        cut = averaging.build(part, net)
        for step in range(6):
            run.run(step, step + 1)
            if step == 3:
                buffer = io.BytesIO()
                torch.save(cut.state_dict(), buffer)
                buffer.seek(0)
                cut = averaging.build(part, normed(9))
                cut.load_state_dict(torch.load(buffer, weights_only=True))
            for average in (whole, cut):
                average.update_step(net)
                average.update_epoch(net, (step + 1) / 6)
        one, two = whole.weights(), cut.weights()
        assert one is not None and two is not None
        assert all(torch.equal(one[name], two[name]) for name in one)


def _batches() -> list[tuple[Tensor, Tensor]]:
    noisy, _ = slices(12)
    return [(part, torch.zeros(4)) for part in noisy.split(4)]


def test_an_equal_average_with_batch_norm_asks_for_new_statistics_and_gets_torchs() -> None:
    assert not averaging.build(SWA(), classic()).needs_statistics
    assert not averaging.build(EMA(), normed()).needs_statistics
    net = normed()
    assert averaging.build(SWA(), net).needs_statistics
    plain = copy.deepcopy(net)
    regulariser = regularise(net, Regularisation(), 0)
    net.train()
    told = list(regulariser.refresh(_batches()))
    assert len(told) == 3 and all(isinstance(event, Progress) for event in told)
    assert net.training and net.net.encoder.training  # type: ignore[union-attr]

    class Plain(torch.nn.Module):
        def __init__(self, inner: SliceNet) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner.outputs(x).image

    update_bn([noisy for noisy, _ in _batches()], Plain(plain))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value)
