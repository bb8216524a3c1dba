"""Dropout on the latent and what batch norm does in training: hooks on a network, none of them in its state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aegui.events import Event, Progress
from aegui.models.slicenet import SliceNet
from aegui.recipes.run import Regularisation

Batches = Iterable[tuple[Tensor, Tensor]]  # noisy (N, channels, H, W), level (N,)
_STREAM = 11  # of the seed's random numbers; data take lower ones


def batch_norms(net: nn.Module) -> list[_BatchNorm]:
    """The layers with running statistics."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


def _measure(net: SliceNet, layers: Sequence[_BatchNorm], batches: Batches) -> Iterator[Event]:
    """Replace the layers' statistics by the plain mean over the batches.

    As torch.optim.swa_utils.update_bn, in pieces and with the noise level.
    """
    before = [copy.deepcopy(layer.state_dict()) for layer in layers]
    momenta = [layer.momentum for layer in layers]
    modes = {module: module.training for module in net.modules()}
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    net.eval()  # all but the layers themselves: dropout would be counted in
    for layer in layers:
        layer.train()
    try:
        for number, (noisy, level) in enumerate(batches):
            with torch.no_grad():
                net.outputs(noisy, level)
            yield Progress(number + 1, None, "Measuring the statistics of batch norm")
    except BaseException:  # half of them are none
        for layer, state in zip(layers, before, strict=True):
            layer.load_state_dict(state)
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes.items():
            module.training = training


class Regulariser:
    """The hooks of one run."""

    def __init__(self, net: SliceNet, part: Regularisation, seed: int) -> None:
        self._net, self._part, self._seed = net, part, seed
        self._place = (0, 0)
        self._measuring = False
        # Before the forward pass, so that net.train() anywhere does not undo it.
        self._hooks: list[Any] = [layer.register_forward_pre_hook(self._hold) for layer in batch_norms(net)]
        if part.dropout:
            encoder = net.net.encoder
            assert isinstance(encoder, nn.Module)
            self._hooks.append(encoder.register_forward_hook(self._drop))

    def begin_step(self, epoch: int, step: int) -> None:
        """Choose the step's dropout: it depends on seed, epoch and step alone, so that a resumed run repeats it."""
        self._place = (epoch, step)

    def recalibrate(self, batches: Batches) -> Iterator[Event]:
        """Measure batch norm's statistics on the new scans before the run, where the recipe says so."""
        if self._part.batch_norm == "recalibrate":
            yield from self._measured(batch_norms(self._net), batches)

    def refresh(self, batches: Batches) -> Iterator[Event]:
        """Measure the statistics of averaged weights; those that are kept as they were stay."""
        yield from self._measured([layer for layer in batch_norms(self._net) if not self._held(layer)], batches)

    def _measured(self, layers: Sequence[_BatchNorm], batches: Batches) -> Iterator[Event]:
        if layers:
            self._measuring = True
            try:
                yield from _measure(self._net, layers, batches)
            finally:
                self._measuring = False

    def remove(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _held(self, layer: nn.Module) -> bool:
        """Whether its statistics stay: as asked, and where its weights are not trained."""
        own = list(layer.parameters())
        return self._part.batch_norm != "train" or (bool(own) and not any(p.requires_grad for p in own))

    def _hold(self, layer: nn.Module, _inputs: Any) -> None:
        if not self._measuring and self._held(layer):
            layer.eval()

    def _drop(self, encoder: nn.Module, _inputs: Any, found: Any) -> Any:
        if not encoder.training:
            return found
        if isinstance(found, Tensor):
            return self._dropped(found)
        if isinstance(found, tuple):  # mean and spread of a variational latent
            return (self._dropped(found[0]), *found[1:])
        return [*found[:-1], self._dropped(found[-1])]  # features from fine to coarse

    def _dropped(self, latent: Tensor) -> Tensor:
        part = self._part
        shape = (*latent.shape[:2], 1, 1) if part.dropout_kind == "spatial" else latent.shape
        draw = np.random.default_rng([self._seed, _STREAM, *self._place]).random(tuple(shape))
        kept = torch.from_numpy(draw >= part.dropout).to(latent.device, latent.dtype)
        return latent * kept / (1 - part.dropout)


def regularise(net: SliceNet, part: Regularisation, seed: int) -> Regulariser:
    """Put the recipe's hooks on the network; a recipe without any puts none."""
    return Regulariser(net, part, seed)
