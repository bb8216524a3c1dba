"""Scans of a few slices and short runs on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from aegui import recipes, workflow
from aegui.events import Event, finish
from aegui.models.zoo import load_model
from aegui.training.fit import TrainResult

SHORT = ["run.epochs=3", "run.batch_size=4", "run.patch_size=32", "groups.rest.learning_rate=1e-3"]


def write_scans(folder: Path, patients: int = 4, slices: int = 4, side: int = 48) -> Path:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    for p in range(patients):
        (folder / f"case{p}").mkdir(parents=True)
        volume = [
            200 + 100 * np.sin(5 * x + p) * np.cos(4 * y + 0.2 * k) + 80 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1)
            for k in range(slices)
        ]
        values = np.asarray(volume) + rng.normal(0, 1, (slices, side, side))
        np.save(folder / f"case{p}" / "volume.npy", values.astype(np.float32))
    return folder


def short_job(folder: Path, changes: Sequence[str] = (), recipe: str = "denoise") -> workflow.TrainJob:
    """Three epochs of three steps from random weights, on four patients of four slices."""
    scans = folder / "scans"
    found = finish(workflow.scan([scans if scans.exists() else write_scans(scans)]))
    plan = recipes.load(recipe).with_set([*SHORT, *changes])
    labels = workflow.folder_labels(found.series) if plan.needs_labels else {}
    return workflow.TrainJob(
        "classic-small", plan, found.series, folder / "run", labels=labels, init="random", device="cpu"
    )


def run(job: workflow.TrainJob) -> tuple[list[Event], TrainResult]:
    events = list(workflow.train(job))
    return events, events[-1].result  # type: ignore[attr-defined]


def of(events: list[Event], kind: type) -> list:  # type: ignore[type-arg]
    return [event for event in events if isinstance(event, kind)]


def assert_same_weights(one: Path, two: Path) -> None:
    a, b = (load_model(file).net.state_dict() for file in (one, two))
    assert all(torch.equal(a[name], b[name]) for name in a)
