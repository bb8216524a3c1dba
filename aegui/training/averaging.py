"""Averages of the weights, which are validated and kept in place of the weights themselves."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aegui.recipes.optimisers import EMA, SWA, Averaging, NoAveraging
from aegui.training.regularise import batch_norms


class Average(Protocol):
    """What the loop asks of an average. needs_statistics: batch norm must see slices before it is used."""

    needs_statistics: bool

    def update_step(self, net: nn.Module) -> None:
        """One optimiser step has passed."""

    def update_epoch(self, net: nn.Module, progress: float) -> None:
        """One epoch has passed. progress: share of the run, 0 … 1."""

    def weights(self) -> dict[str, Tensor] | None:
        """The averaged state, as net.state_dict(); None while there is no average."""

    def state_dict(self) -> dict[str, Any]:
        """For resuming."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it stood."""


class Raw:
    """No average."""

    needs_statistics = False

    def update_step(self, net: nn.Module) -> None:
        """Nothing."""

    def update_epoch(self, net: nn.Module, progress: float) -> None:
        """Nothing."""

    def weights(self) -> dict[str, Tensor] | None:
        """None: the weights as they are."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class _Mean:
    """Running mean of state dicts; whole numbers follow the last one."""

    def __init__(self, net: nn.Module) -> None:
        self.count = 0
        self.mean = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def follow(self, net: nn.Module, share: float) -> None:
        """Move by `share` of the distance."""
        self.count += 1
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self.mean[name].lerp_(value, share)
            else:
                self.mean[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """For resuming."""
        return {"mean": self.mean, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it stood."""
        self.count = state["count"]
        for name, value in state["mean"].items():
            self.mean[name].copy_(value)


class MovingAverage(_Mean):
    """Exponential moving average over the steps (Polyak); young averages follow faster."""

    needs_statistics = False

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__(net)
        self.decay = decay

    def update_step(self, net: nn.Module) -> None:
        """Follow the weights."""
        self.follow(net, 1 - min(self.decay, (2 + self.count) / (11 + self.count)))

    def update_epoch(self, net: nn.Module, progress: float) -> None:
        """Nothing: steps count."""

    def weights(self) -> dict[str, Tensor] | None:
        """The average so far."""
        return self.mean


class EqualAverage(_Mean):
    """Equal average of the weights at epoch ends in the last part of a run (SWA, Izmailov et al. 2018)."""

    def __init__(self, net: nn.Module, begins: float) -> None:
        super().__init__(net)
        self.begins = begins
        self.needs_statistics = bool(batch_norms(net))

    def update_step(self, net: nn.Module) -> None:
        """Nothing: epochs count."""

    def update_epoch(self, net: nn.Module, progress: float) -> None:
        """Take the epoch's weights in, once the average begins."""
        if progress > self.begins:
            self.follow(net, 1 / (self.count + 1))

    def weights(self) -> dict[str, Tensor] | None:
        """The average; None before it begins."""
        return self.mean if self.count else None


@singledispatch
def build(part: Averaging, net: nn.Module) -> Average:
    """The average a recipe asks for."""
    raise TypeError(f"no builder for {type(part).__name__}")


@build.register
def _(part: NoAveraging, net: nn.Module) -> Average:
    return Raw()


@build.register
def _(part: EMA, net: nn.Module) -> Average:
    return MovingAverage(net, part.decay)


@build.register
def _(part: SWA, net: nn.Module) -> Average:
    return EqualAverage(net, part.begins)
