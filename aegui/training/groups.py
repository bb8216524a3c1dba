"""Which parameters learn together, and how fast each layer does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from aegui.errors import UserError
from aegui.models import lora
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.recipes.optimisers import LoRA, ParameterGroup, taker

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_SIDE = 64  # of the blank slice that shows in which order layers are run
ADAPTERS = "adapters"


@dataclass
class Members:
    """The parameters of one recipe group that are trained, or will be. names: without “net.”, as `parameters`."""

    name: str
    rate: float
    unfreeze_epoch: int = 0
    layer_decay: float = 1.0
    l2_sp: float = 0.0
    names: list[str] = field(default_factory=list)
    parameters: list[nn.Parameter] = field(default_factory=list)

    def add(self, name: str, parameter: nn.Parameter) -> None:
        """One more."""
        self.names.append(name)
        self.parameters.append(parameter)


def norm_layers(net: SliceNet) -> set[str]:
    """Names of the normalisation layers."""
    return {name.removeprefix("net.") for name, module in net.named_modules() if isinstance(module, _NORMS)}


def _parameters(net: SliceNet) -> Iterator[tuple[str, str, bool, nn.Parameter]]:
    """(name, part, whether of a normalisation layer, parameter)."""
    norms = norm_layers(net)
    for name, parameter in net.net.named_parameters():
        yield name, net.part_of(name), name.rpartition(".")[0] in norms, parameter


def assign(net: SliceNet, recipe: Recipe) -> list[Members]:
    """The groups that train, in the recipe's order; all other parameters are frozen.

    With adapters only these train, and the head where one is learned. A pattern that matches nothing is a UserError.
    """
    adapted = isinstance(recipe.adaptation, LoRA)
    found: dict[str, Members] = {}
    if isinstance(recipe.adaptation, LoRA):
        found[ADAPTERS] = Members(ADAPTERS, recipe.adaptation.learning_rate)
    for group in recipe.groups:
        found[group.match] = Members(
            group.match, group.rate, group.unfreeze_epoch, group.layer_decay, group.l2_sp if not adapted else 0.0
        )
    names: list[str] = []
    held = {
        name.removeprefix("net.")
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and recipe.regularisation.batch_norm == "freeze"
    }
    for name, part, norm, parameter in _parameters(net):
        parameter.requires_grad_(False)
        if lora.is_adapter(name):
            found[ADAPTERS].add(name, parameter)
            continue
        names.append(lora.plain_name(name))
        taken = taker(recipe.groups, names[-1], part, norm)
        if taken is None or not taken.train or name.rpartition(".")[0] in held:
            continue
        if not adapted or (part == "head" and recipe.classifies):
            found[taken.match].add(name, parameter)
    for group in recipe.groups:
        if group.pattern and not any(group.takes(name, "", False) for name in names):
            raise UserError(*nothing_matches(group, names))
    trained = [members for members in found.values() if members.parameters]
    if not trained:
        raise UserError(
            "Nothing of this model is trained: no group that trains matches any of its parameters.",
            "Add the group “rest”, or switch “Train” on.",
        )
    return trained


def nothing_matches(group: ParameterGroup, names: Sequence[str]) -> tuple[str, str]:
    """(message, hint) for a pattern without any parameter."""
    spread = [names[round(i * (len(names) - 1) / 2)] for i in range(3)] if names else []
    return (
        f"The group “{group.match}” matches no parameter of this model.",
        f"Its parameters have names such as {', '.join(dict.fromkeys(spread))}; * stands for any text.",
    )


def layer_order(net: SliceNet) -> list[str]:
    """Names of the layers that have parameters, in the order in which a slice runs through them."""
    order: list[str] = []
    hooks = []
    for name, module in net.net.named_modules():
        if any(True for _ in module.parameters(recurse=False)):

            def note(_module: nn.Module, _inputs: Any, name: str = name) -> None:
                if name not in order:
                    order.append(name)

            hooks.append(module.register_forward_pre_hook(note))
    first = next(net.parameters())
    side = math.ceil(_SIDE / net.multiple) * net.multiple
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            net.outputs(
                torch.zeros((1, net.channels, side, side), device=first.device, dtype=first.dtype),
                torch.zeros(1, device=first.device, dtype=first.dtype),
            )
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return order


def depths(net: SliceNet, members: Members) -> list[int]:
    """For each parameter, how many of the group's layers lie between it and the output: 0 for the last layer.

    A normalisation layer counts with the layer before it; the head is an output of its own beside the decoder's.
    """
    norms = norm_layers(net)
    place: dict[str, int] = {}
    count = {True: 0, False: 0}
    for layer in layer_order(net):
        head = net.part_of(layer) == "head"
        if layer not in norms:
            count[head] += 1
        place[layer] = count[head]
    places = []
    for name in members.names:
        layer = lora.plain_name(name).rpartition(".")[0]
        places.append((net.part_of(name) == "head", place.get(layer, 0)))
    ranks = {
        head: {value: rank for rank, value in enumerate(sorted({p for h, p in places if h == head}, reverse=True))}
        for head in (True, False)
    }
    return [ranks[head][value] for head, value in places]


def torch_groups(
    net: SliceNet, recipe: Recipe, weight_decay: float, spare: bool, fresh_head: bool
) -> list[dict[str, Any]]:
    """Groups for torch: one for each rate and weight decay; those of one recipe group share its `name`, fastest first.

    start: the weights that L2-SP pulls to; a fresh head has none.
    """
    norms = norm_layers(net)
    found: list[dict[str, Any]] = []
    for members in assign(net, recipe):
        ranks = depths(net, members) if members.layer_decay < 1 else [0] * len(members.names)
        split: dict[tuple[int, bool, bool], list[nn.Parameter]] = {}
        for name, parameter, rank in zip(members.names, members.parameters, ranks, strict=True):
            spared = spare and weight_decay > 0 and (name.rpartition(".")[0] in norms or parameter.ndim <= 1)
            free = not members.l2_sp or (fresh_head and net.part_of(name) == "head")
            split.setdefault((rank, spared, free), []).append(parameter)
        for (rank, spared, free), parameters in sorted(split.items(), key=lambda item: item[0]):
            group: dict[str, Any] = {
                "params": parameters,
                "lr": members.rate * members.layer_decay**rank,
                "name": members.name,
                "unfreeze_epoch": members.unfreeze_epoch,
            }
            if spared:
                group["weight_decay"] = 0.0
            if not free:
                group |= {"l2_sp": members.l2_sp, "start": [p.detach().clone() for p in parameters]}
            found.append(group)
    return found
