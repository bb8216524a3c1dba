"""The end of a run: the best weights as a model file, and what the run was as run.json."""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aegui.data.draw import validation_members
from aegui.models import bundle
from aegui.models.card import Card, Score, Seen
from aegui.training.trainer import Trainer
from aegui.training.validation import score_ranges


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. scores, baselines: {"psnr", "ssim"}; holdout: (series uid, slice).

    psnr_range: against what R the PSNR is, in words; "" where a run of an older version did not tell.
    """

    run: Path
    bundle: Path
    best_epoch: int
    epochs: int
    scores: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    classical_name: str
    holdout: tuple[tuple[str, int], ...]
    stopped: bool
    seconds: float
    psnr_range: str


def conclude(trainer: Trainer, stopped: bool, ended: str, seen: Mapping[str, Seen]) -> TrainResult:
    """Write the model and run.json. stopped: by the user. ended: why else the run was shorter than planned.

    seen: what the training inputs looked like.
    """
    run, data, at = trainer.run, trainer.data, trainer.at
    assert trainer.metrics is not None
    trainer.metrics.flush()
    if not run.best.exists():
        run.save_best(trainer.net.net.state_dict())
    scores = {"psnr": at.best.psnr, "ssim": at.best.ssim}
    card = _card(trainer, scores, seen)
    trainer.net.net.load_state_dict(run.load_best())
    parts = {"train": data.split.train, "validation": data.split.validation, "holdout": data.split.holdout}
    names = {part: [f"{data.items[i].series.uid}#{data.items[i].index}" for i in of] for part, of in parts.items()}
    metrics = run.metrics.read_text(encoding="utf-8")
    # Adapters on random weights have no base that anyone else could find.
    base = trainer.model.card if trainer.start == "pretrained" else None
    bundle.save(run.bundle, card, trainer.net, trainer.recipe, metrics, run.split_hashes(names), base)
    result = TrainResult(
        run.folder,
        run.bundle,
        at.best.epoch,
        at.epoch,
        scores,
        at.baselines,
        at.classical,
        tuple((data.items[i].series.uid, data.items[i].index) for i in data.split.holdout),
        stopped,
        at.seconds,
        score_ranges(data, trainer.recipe)[0],
    )
    run.summarise(started(trainer) | _outcome(trainer, result, ended))
    return result


def started(trainer: Trainer) -> dict[str, Any]:
    """What run.json says from the beginning."""
    recipe = trainer.recipe
    return {
        "schema": 1,
        "model": trainer.model.ref,
        "init": trainer.start,
        "recipe": recipe.id,
        "title": recipe.title,
        "summary": recipe.summary,
        "started": trainer.at.began,
        "selection": trainer.selection.words,
        "split": trainer.data.split.by,
        "versions": bundle.versions(),
    }


def _outcome(trainer: Trainer, result: TrainResult, ended: str) -> dict[str, Any]:
    return {
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "scores": _told(result.scores),
        "psnr_range": result.psnr_range,
        "baselines": {name: _told(scores) for name, scores in result.baselines.items()},
        "classical": result.classical_name,
        "stopped": result.stopped,
        "ended": ended,
        "seconds": result.seconds,
    }


def _told(scores: Mapping[str, float]) -> dict[str, float]:
    """Those that were measured; JSON has no word for others."""
    return {name: score for name, score in scores.items() if math.isfinite(score)}


def _card(trainer: Trainer, scores: Mapping[str, float], seen: Mapping[str, Seen]) -> Card:
    recipe, data, at, card = trainer.recipe, trainer.data, trainer.at, trainer.model.card
    options = card.options
    if trainer.new_head:
        options = options | {"classes": len(data.classes)}
        if card.architecture == "conv_autoencoder":
            options = options | {"head": "pooled"}
    training = {
        "recipe": recipe.id,
        "seconds": round(at.seconds, 1),
        "machine": platform.machine(),
        "threads": torch.get_num_threads() if trainer.device.type == "cpu" else 0,
    }
    return card.model_copy(
        update={
            "id": trainer.run.folder.name or card.id,
            "title": f"{card.title}, {recipe.title}",
            "version": datetime.date.today().isoformat(),
            "options": options,
            "classes": data.classes if trainer.new_head else card.classes,
            "modalities": card.modalities and tuple(dict.fromkeys((*card.modalities, *_modalities(trainer)))),
            "seen": dict(seen),
            "training": card.training.model_copy(update=training),
            "scores": _scores(trainer),
            "scored_by": f"by its run on whole slices; {trainer.selection.words} chose the weights",
            "metrics": {
                "ssim": at.best.ssim,
                "best_epoch": at.best.epoch,
                "slices": len(data.split.train),
                "split": data.split.by,
            },
        }
    )


def _modalities(trainer: Trainer) -> list[str]:
    """What it has learnt from: of such series it must not be kept."""
    items = trainer.data.items
    return sorted({items[index].series.modality for index in trainer.data.split.train})


def _scores(trainer: Trainer) -> tuple[Score, ...]:
    at, names = trainer.at, {"classical": trainer.at.classical, "pretrained": "the starting model"}
    others = {names.get(name, name): found["psnr"] for name, found in at.baselines.items()}
    if not all(math.isfinite(value) for value in (at.best.psnr, *others.values())):
        return ()
    slices = len(validation_members(trainer.data, trainer.recipe))
    score = Score(scans="validation", noise="as in training", slices=slices, psnr=at.best.psnr, others=others)
    return (score,)
