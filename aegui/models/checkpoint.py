"""Weights from files, never unpickled as code."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aegui.errors import UserError
from aegui.models.library import require_model_file
from aegui.models.slicenet import SliceNet


@dataclass(frozen=True)
class Fit:
    """How a checkpoint fits a network, by layer name."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every layer of both sides found its partner."""
        return not (self.missing or self.unexpected or self.misshaped)

    def words(self) -> str:
        """The differences, by name."""
        parts = [
            f"{title}: {', '.join(names)}"
            for title, names in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("other shape", self.misshaped),
            )
            if names
        ]
        return "; ".join(parts) or "all layers fit"


def told(path: Path, name: str) -> Any:
    """What a safetensors file says of itself under this name, read as JSON; None where it says nothing."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(name)
        return None if text is None else json.loads(text)
    except (SafetensorError, OSError, ValueError):
        return None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors, .pt or .pth file. Files that would run code are refused."""
    require_model_file(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path.name} is not a safetensors file.", f"It may be cut short. ({error})") from None
    if path.suffix == ".aegui":
        raise UserError(f"{path.name} is a bundle, not weights alone.", "It is a model as it is.")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - torch raises many kinds; all mean "not plain weights"
        if "Weights only load failed" in str(error) or zipfile.is_zipfile(path):
            raise UserError(
                f"{path.name} holds more than weights and was not opened, because it could run code.",
                "Save it again with torch.save(model.state_dict(), …) or as safetensors.",
            ) from None
        raise UserError(
            f"{path.name} is not a torch checkpoint.", "It may be damaged or another kind of file."
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"{path.name} holds no named weights.", "It must be a state dict: layer names with tensors.")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


# How MONAI's own networks call the parts of ours.
_MONAI = {"encode.": "encoder.", "intermediate.": "decoder.0.", "decode.": "decoder.1."}
_MONAI_KL = {
    "encoder.": "encoder.body.",
    "quant_conv_mu.": "encoder.mean.",
    "quant_conv_log_sigma.": "encoder.spread.",
    "post_quant_conv.": "decoder.0.",
    "decoder.": "decoder.1.",
}


def ours(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names they have here, if they are from MONAI's own AutoEncoder or AutoencoderKL."""
    if any(name.startswith("encode.encode_") for name in weights):
        parts = _MONAI
    elif any(name.startswith("quant_conv_mu.") for name in weights):
        parts = _MONAI_KL
    else:
        return weights
    found = {}
    for name, tensor in weights.items():
        part = next((theirs for theirs in parts if name.startswith(theirs)), "")
        found[parts.get(part, "") + name[len(part) :]] = tensor
    return found


def apply(net: SliceNet, weights: dict[str, Tensor]) -> Fit:
    """Copy every tensor whose name and shape fit; say what did not."""
    own = net.net.state_dict()
    fits = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    net.net.load_state_dict(fits, strict=False)
    return Fit(
        loaded=tuple(fits),
        missing=tuple(k for k in own if k not in weights),
        unexpected=tuple(k for k in weights if k not in own),
        misshaped=tuple(
            f"{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}"
            for k in weights
            if k in own and own[k].shape != weights[k].shape
        ),
    )


def guess_card_options(weights: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    """(architecture, options) of a checkpoint whose layer names tell, else None."""
    try:
        return _guess(weights)
    except (IndexError, ValueError, KeyError, StopIteration):  # names like ours on layers of another make
        return None


def _guess(weights: dict[str, Tensor]) -> tuple[str, dict[str, Any]] | None:
    first = weights.get("encoder.0.weight")
    if first is not None and first.ndim == 4 and "decoder.2.weight" in weights:
        options: dict[str, Any] = {"channels": first.shape[1]}
        if "classifier.1.weight" in weights:
            options |= {"classes": weights["classifier.1.weight"].shape[0], "head": "fixed"}
        elif "classifier.2.weight" in weights:
            options |= {"classes": weights["classifier.2.weight"].shape[0], "head": "pooled"}
        return "conv_autoencoder", options
    stem = weights.get("encoder.stem.weight")
    if stem is not None:
        stages = sorted({int(k.split(".")[2]) for k in weights if k.startswith("encoder.stages.")})
        widths = [
            weights[f"encoder.stages.{s}.0.conv1.weight"].shape[0]
            for s in stages
            if f"encoder.stages.{s}.0.conv1.weight" in weights
        ]
        blocks = [len({k.split(".")[3] for k in weights if k.startswith(f"encoder.stages.{s}.")}) for s in stages]
        planes = (stem.shape[1] - 1) // 4
        out = weights.get("decoder.out.weight")
        channels = planes if out is None else out.shape[0] // 4
        options = {"channels": channels, "widths": widths, "blocks": blocks}
        if channels == 1 < planes:
            options["neighbours"] = planes // 2
        if "head.2.weight" in weights:
            options["classes"] = weights["head.2.weight"].shape[0]
        return "residual_autoencoder", options
    mean, first = weights.get("encoder.mean.conv.weight"), weights.get("encoder.body.blocks.0.conv.weight")
    if mean is not None and first is not None:
        return "monai_autoencoder_kl", {"channels": first.shape[1], "latent": mean.shape[0]}
    levels = len({k.split(".")[1] for k in weights if k.startswith("encoder.encode_")})
    if levels:
        firsts = [_first(weights, f"encoder.encode_{level}.") for level in range(levels)]
        options = {"channels": firsts[0].shape[1], "widths": [one.shape[0] for one in firsts], "strides": [2] * levels}
        if any(k.endswith("running_mean") for k in weights):
            options["norm"] = "batch"
        return "monai_autoencoder", options
    return None


def _first(weights: dict[str, Tensor], start: str) -> Tensor:
    """The first layer of a part."""
    return next(v for k, v in weights.items() if k.startswith(start) and v.ndim == 4)
