"""Adapter files: what a LoRA run has learned, apart from the model it was learned on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aegui.errors import UserError
from aegui.models import lora
from aegui.models.card import Card
from aegui.models.checkpoint import apply, told
from aegui.models.library import cards
from aegui.models.names import part_of
from aegui.models.slicenet import SliceNet, build
from aegui.recipes import Recipe

if TYPE_CHECKING:
    from aegui.models.zoo import Model

_KEY = "aegui.adapter"


def hash_of(weights: dict[str, Tensor]) -> str:
    """SHA-256 of a state as a safetensors file would hold it."""
    from safetensors.torch import save

    return hashlib.sha256(save({k: v.detach().cpu().contiguous() for k, v in weights.items()})).hexdigest()


def pack(net: SliceNet, base: Card, card: Card, recipe: Recipe) -> bytes:
    """The adapters on a network, its head and its statistics. base: of the model they are for; card: of the result."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    found = lora.attached(net)
    for layer, low in found.items():
        tensors[f"A.{layer}"], tensors[f"B.{layer}"] = low.A, low.B
    parameters = dict(net.net.named_parameters())
    plain: dict[str, Tensor] = {}
    for name, value in net.net.state_dict().items():
        if lora.is_adapter(name):
            continue
        own = lora.plain_name(name)
        if part_of(own) == "head" or name not in parameters:
            tensors[f"=.{own}"] = value
        plain[own] = value
    about = {
        "base": {"id": base.id, "title": base.title, "sha256": base.sha256 or hash_of(plain)},
        "scale": next(iter(found.values())).scale,
        "card": card.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
    }
    content: bytes = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata={_KEY: json.dumps(about)}
    )
    return content


def about(path: Path) -> dict[str, Any] | None:
    """What an adapter file says of itself; None for any other file."""
    found = told(path, _KEY)
    return found if isinstance(found, dict) else None


def _base(wanted: dict[str, str]) -> Model:
    from aegui.models.zoo import load_model

    for card in cards():
        if card.sha256 == wanted["sha256"]:
            return load_model(card.id)
    raise UserError(
        f"The adapter is for the model “{wanted['title']}”, which is not here.",
        f"Add that model first (aegui models --add FILE); its weights have the hash {wanted['sha256'][:12]}….",
    )


@torch.no_grad()
def read(path: Path) -> Model:
    """The model an adapter makes of its base, which must be among the known models."""
    from safetensors.torch import load_file

    from aegui.models.zoo import Model

    said = about(path)
    if said is None:
        raise UserError(f"{path.name} is not an adapter file.")
    try:
        wanted = {key: str(said["base"][key]) for key in ("title", "sha256")}
        scale = float(said["scale"])
        card, recipe = Card.parse(said["card"], path.name), Recipe.parse(said["recipe"], path.name)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path.name} is not a complete adapter file.", f"({error})") from None
    tensors = load_file(path)
    state = dict(_base(wanted).net.net.state_dict())
    for name, tensor in tensors.items():
        kind, _, layer = name.partition(".")
        if kind == "=":
            state[layer] = tensor
        elif kind == "A":
            weight, B = state.get(f"{layer}.weight"), tensors.get(f"B.{layer}")
            if weight is None or B is None or B.shape[0] * tensor.shape[1] != weight.numel():
                raise UserError(f"{path.name} does not fit the model “{wanted['title']}” (layer {layer}).")
            low = lora.LowRank(weight, tensor.shape[0], scale)
            low.A.copy_(tensor)
            low.B.copy_(B)
            state[f"{layer}.weight"] = low(weight)
    net = build(card)
    fit = apply(net, state)
    if not fit.complete:
        raise UserError(f"{path.name} does not fit the model “{wanted['title']}”: {fit.words()}.")
    return Model(card, net.eval(), str(path), recipe)
