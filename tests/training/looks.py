"""What loss terms are shown in tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aegui.events import finish
from aegui.imaging import open_series, scan
from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model
from aegui.recipes.losses import LossTerm
from aegui.training.losses import Context, Seen, Term, build_term

CPU = torch.device("cpu")


def image(count: int = 2, side: int = 48, channels: int = 1, noise: float = 0.0, seed: int = 0) -> Tensor:
    """Smooth pictures with edges, 0 … 1, with noise if wanted."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    made = [
        0.5 + 0.2 * np.sin(7 * x + k) * np.cos(5 * y) + 0.25 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06)
        for k in range(count * channels)
    ]
    clean = np.stack(made).reshape(count, channels, side, side)
    return torch.from_numpy((clean + rng.normal(0, noise, clean.shape)).astype(np.float32))


def seen(
    output: Tensor,
    target: Tensor,
    found: Outputs | None = None,
    labels: Tensor | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
    mask: Tensor | None = None,
) -> Seen:
    count = len(output)
    return Seen(
        output,
        target,
        target,
        found or Outputs(output, None, output.new_zeros(count, 4, 2, 2)),
        torch.full((count,), -1) if labels is None else labels,
        torch.tensor([scale]).expand(count, 2),
        mask,
    )


def start(model: str = "general-small") -> SliceNet:
    return load_model(model, "random" if model.startswith("monai") else "pretrained", 1).net


def term(part: LossTerm, model: str = "classic-small", counts: tuple[int, ...] = ()) -> Term:
    return build_term(part, Context(start(model), CPU, counts))


def value(part: LossTerm, *shown: Tensor, model: str = "classic-small") -> float:
    return float(term(part, model)(seen(*shown)))


def real_ct(shared: Path, side: int = 96, count: int = 3) -> Tensor:
    """Patches from the middle of abdominal CT, HU / 400 as the default model takes them."""
    (series,) = finish(scan([shared / "ct_abdomen_j2k"])).series
    source = open_series(series)
    try:
        slices = [source.read(k * len(source) // count) for k in range(count)]
    finally:
        source.close()
    top, left = ((n - side) // 2 for n in slices[0].shape)
    patches = np.stack([pixels[top : top + side, left : left + side] for pixels in slices])
    return torch.from_numpy((patches / 400).astype(np.float32)[:, None])
