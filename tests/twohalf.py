"""A model that sees the slices beside the one it denoises, and volumes for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aegui import recipes, workflow
from aegui.events import finish
from aegui.imaging import Geometry, Series
from aegui.models import bundle
from aegui.models.card import Card
from aegui.models.slicenet import SliceNet, build
from aegui.models.zoo import Model
from aegui.recipes import Recipe

SIDE, SLICES = 48, 6


def card(neighbours: int = 1) -> Card:
    return Card.parse(
        {
            "id": "beside",
            "title": "Beside",
            "summary": "For tests",
            "architecture": "residual_autoencoder",
            "options": {"neighbours": neighbours, "widths": [8, 8], "blocks": [1, 1]},
            "modalities": ["CT", "OT"],
            "intensity": {"*": {"kind": "range", "low": 0.0, "high": 400.0, "limits": [-400.0, 1200.0]}},
            "noise_level": True,
            "multiple": 4,
        }
    )


def network(neighbours: int = 1, seed: int = 3) -> SliceNet:
    """One whose output depends on every plane."""
    torch.manual_seed(seed)
    net = build(card(neighbours))
    torch.nn.init.normal_(net.net.decoder.out.weight, std=0.05)  # type: ignore[union-attr,arg-type]
    return net.eval()


def model(neighbours: int = 1) -> Model:
    return Model(card(neighbours), network(neighbours), "beside")


def saved(folder: Path, neighbours: int = 1) -> Path:
    """The same as a file."""
    path = folder / "beside.aegui"
    bundle.save(path, card(neighbours), network(neighbours), recipes.load("denoise"), "", {})
    return path


def anatomy(slices: int = SLICES, side: int = SIDE, phase: float = 0.0) -> np.ndarray:
    """Structures that change slowly from slice to slice, 100 … 380."""
    z, (y, x) = np.arange(slices)[:, None, None], np.mgrid[:side, :side] / side
    waves = 200 + 100 * np.sin(9 * x + phase + 0.1 * z) * np.cos(7 * y)
    return np.asarray(waves + 80 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1), dtype=np.float32)


def volumes(folder: Path, count: int = 1, noise: float = 20.0, slices: int = SLICES) -> tuple[Series, ...]:
    """Series of one patient each, whose slices lie 2 mm apart."""
    rng = np.random.default_rng(0)
    for number in range(count):
        (folder / f"case{number}").mkdir(parents=True)
        values = anatomy(slices, phase=number) + rng.normal(0, noise, (slices, SIDE, SIDE))
        np.save(folder / f"case{number}" / "volume.npy", values.astype(np.float32))
    found: Sequence[Series] = finish(workflow.scan([folder])).series
    return tuple(stacked(one) for one in found)


def stacked(series: Series, steps: Sequence[float] | None = None) -> Series:
    """With known places: 2 mm apart, or by these distances (mm) from the first."""
    along = [2.0 * k for k in range(series.slices)] if steps is None else steps
    shape = Geometry((2.0, 1.0, 1.0), positions=tuple((0.0, 0.0, z) for z in along))
    return replace(series, geometry=shape)


def recipe(*changes: str) -> Recipe:
    short = ["run.epochs=2", "run.batch_size=4", "run.patch_size=32", "losses=[{kind: mse}]"]
    return recipes.load("denoise").with_set([*short, *changes])
