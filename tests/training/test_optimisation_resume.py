"""A run that uses many choices at once, cut and taken up again, ends with the weights of an uninterrupted one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import recipes, workflow
from aegui.events import Step, finish
from aegui.models.card import Card
from aegui.models.zoo import load_model

GROUPS = (
    "groups=[{match: encoder.*, learning_rate: 1.0e-3, unfreeze_epoch: 2, layer_decay: 0.7, l2_sp: 0.05},"
    " {match: rest, learning_rate: 5.0e-3}]"
)
CHOICES = {
    "adamw": (
        "classic-small",
        "optimiser={kind: adamw}",
        "schedule={kind: plateau, patience: 1, warmup: 0.5}",
        "averaging={kind: ema, decay: 0.9}",
        "regularisation={dropout: 0.2, gradient_clip: 0.5, mixup: 0.2}",
    ),
    "sgd": (
        "normed",
        "optimiser={kind: sgd, nesterov: true}",
        "schedule={kind: onecycle}",
        "averaging={kind: swa, begins: 0.0}",
        "regularisation={dropout: 0.1, dropout_kind: element, batch_norm: recalibrate}",
    ),
}


@pytest.fixture
def scans(tmp_path: Path, homes: Path) -> Path:
    rng = np.random.default_rng(0)
    for case in range(3):
        folder = tmp_path / "scans" / f"case{case}"
        folder.mkdir(parents=True)
        np.save(folder / "volume.npy", rng.normal(200, 30, (4, 40, 40)).astype(np.float32))
    card = Card.parse({"id": "normed", "title": "N", "architecture": "monai_autoencoder", "options": {"norm": "batch"}})
    (homes / "data" / "models").mkdir(parents=True)
    (homes / "data" / "models" / "normed.yaml").write_text(card.to_yaml(), encoding="utf-8")
    return tmp_path / "scans"


@pytest.mark.parametrize("name", CHOICES)
def test_many_choices_at_once_resume_to_the_bit(name: str, scans: Path, tmp_path: Path) -> None:
    model, *settings = CHOICES[name]
    small = ("run.epochs=3", "run.batch_size=2", "run.patch_size=32", "losses.tv.weight=0.0")
    part = recipes.load("denoise").with_set([GROUPS, *small, *settings])
    series = finish(workflow.scan([scans])).series
    job = workflow.TrainJob(model, part, series, tmp_path / "whole", init="random", device="cpu")
    whole = finish(workflow.train(job))
    events = workflow.train(replace(job, run=tmp_path / "cut"))
    for event in events:
        if isinstance(event, Step) and (event.epoch, event.step) == (2, 2):
            break
    events.close()  # type: ignore[attr-defined]
    resumed = finish(workflow.train(replace(job, run=tmp_path / "cut", resume=True)))
    assert (whole.run / "steps.csv").read_text() == (resumed.run / "steps.csv").read_text()
    one, two = (load_model(result.bundle).net.state_dict() for result in (whole, resumed))
    assert all(torch.equal(one[key], two[key]) for key in one)
