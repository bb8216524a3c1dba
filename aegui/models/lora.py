"""Low-rank adapters for convolutions (Hu et al. 2022): the weight plus a small product that is trained in its place.

The adapters are parametrisations of torch: whatever reads `layer.weight` sees the sum. `merged` gives the plain
network's state back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from aegui.errors import UserError
from aegui.models.seeded import seeded
from aegui.models.slicenet import SliceNet
from aegui.recipes.optimisers import LoRA

_INSIDE = ".parametrizations.weight"


class LowRank(nn.Module):
    """weight + scale · B·A, a (rows·height × columns·width) matrix read as (rows, columns, height, width).

    B starts at zero, so that the sum starts as the weight itself.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns, height, width = weight.shape
        rank = min(rank, rows * height, columns * width)
        self.scale = scale
        self.A = nn.Parameter(weight.new_empty((rank, columns * width)))
        self.B = nn.Parameter(weight.new_zeros((rows * height, rank)))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Same shape."""
        rows, columns, height, width = weight.shape
        product = (self.B @ self.A).view(rows, height, columns, width).permute(0, 2, 1, 3)
        return weight + self.scale * product


def layers(net: SliceNet, pattern: str = "*") -> dict[str, nn.Module]:
    """Convolutions whose name (without “net.”) fits the pattern."""
    return {
        name: module
        for name, module in net.net.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and fits(name, pattern)
    }


def fits(name: str, pattern: str) -> bool:
    """Whether a layer's name is meant."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def attach(net: SliceNet, part: LoRA, seed: int) -> None:
    """Put adapters on the layers that `part` names; their other weights are frozen. UserError where none is."""
    found = layers(net, part.match)
    if not found:
        raise UserError(*nothing_matches(part.match, list(layers(net))))
    with seeded(seed):
        for module in found.values():
            weight = module.weight
            assert isinstance(weight, Tensor)
            low = LowRank(weight.detach().cpu(), part.rank, part.alpha / part.rank).to(weight.device)
            parametrize.register_parametrization(module, "weight", low)
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(is_adapter(name))


def nothing_matches(pattern: str, names: list[str]) -> tuple[str, str]:
    """(message, hint) for a pattern without any convolution."""
    if not names:
        return "This model has no convolutions that adapters could be put on.", "Choose all weights."
    return (
        f"“{pattern}” matches no convolution of this model.",
        f"They have names such as {', '.join(dict.fromkeys((names[0], names[len(names) // 2], names[-1])))}.",
    )


def is_adapter(name: str) -> bool:
    """Whether a parameter, by its name, is part of an adapter."""
    return name.endswith((".0.A", ".0.B")) and "parametrizations.weight" in name


def plain_name(name: str) -> str:
    """The parameter's name in a network without adapters."""
    return name.replace(f"{_INSIDE}.original", ".weight") if _INSIDE in name else name


def attached(net: SliceNet) -> dict[str, LowRank]:
    """The adapters by layer name."""
    return dict(_attached(net))


def _attached(net: SliceNet) -> Iterator[tuple[str, LowRank]]:
    for name, module in net.net.named_modules():
        if isinstance(module, LowRank):
            yield name.split(_INSIDE)[0], module


@torch.no_grad()
def merged(net: SliceNet) -> dict[str, Tensor]:
    """The state of the plain network: every adapter added to its weight. Without adapters, its state as it is."""
    result = {}
    found = attached(net)
    for name, value in net.net.state_dict().items():
        if is_adapter(name):
            continue
        plain = plain_name(name)
        layer = found.get(plain.removesuffix(".weight")) if plain != name else None
        result[plain] = value if layer is None else layer(value)
    return result
