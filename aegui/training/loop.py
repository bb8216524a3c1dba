"""The run itself: what is to be beaten, then steps and epochs until the end or until nothing more is gained."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator, Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from aegui.data.draw import draw_batch, training_order
from aegui.events import Baselines, Epoch, Event, Noted, Step, Warned
from aegui.models import lora
from aegui.training import optimisation
from aegui.training.features import FeatureSpace, Gathered
from aegui.training.memory import too_big
from aegui.training.previews import previews
from aegui.training.step import train_step
from aegui.training.trainer import Trainer
from aegui.training.validation import Scores, score_filter, score_ranges, tune_classical, validate

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
STATISTICS_BATCHES = 32  # at most, for batch norm
_STREAM = 7  # of the seed's random numbers: torch's own in each step


def baselines(trainer: Trainer) -> Generator[Event, None, None]:
    """Score what the run must beat; the model as it was counts as epoch 0."""
    data, recipe, at = trainer.data, trainer.recipe, trainer.at
    if not at.baselines:
        values = {"input": (yield from score_filter(None, data, recipe, "Scoring the input"))}
        try:
            tuned = yield from tune_classical(data, recipe)
            values["classical"] = yield from score_filter(tuned[0], data, recipe, f"Scoring {tuned[0].name}")
            at.classical = tuned[0].name
        except (ValueError, MemoryError) as error:
            _log.info("no classical baseline: %s", error)
            yield Warned(f"No classical baseline could be computed ({error}).")
        if trainer.start == "pretrained":
            first = yield from validate(trainer.net, data, recipe, trainer.objective, trainer.device)
            values["pretrained"] = first.psnr, first.ssim
            if not trainer.new_head:
                trainer.selection.judge(at, 0, first)
                trainer.run.save_best(trainer.net.net.state_dict())
        yield from trainer.regulariser.recalibrate(_statistics(trainer, 1))
        # Last: a run that was stopped before does all of it again when it goes on.
        at.baselines = {name: {"psnr": p, "ssim": s} for name, (p, s) in values.items()}
        trainer.save()
    yield Baselines(at.baselines, at.classical, *score_ranges(data, recipe))


def loop(trainer: Trainer, preview: tuple[str, int] | None = None) -> Generator[Event, None, str]:
    """Train to the end; returns why it ended early, or "". preview: (series uid, slice) to show first."""
    labels = trainer.recipe.needs_labels
    space = FeatureSpace(trainer.net, trainer.data, trainer.recipe, trainer.device) if labels else None
    ended = trainer.selection.exhausted(trainer.at)
    while trainer.at.epoch < trainer.length.epochs and not ended:
        yield from _train_epoch(trainer, trainer.at.epoch + 1)
        yield from _end_epoch(trainer, trainer.at.epoch + 1, space, preview)
        ended = trainer.selection.exhausted(trainer.at)
    if trainer.at.epoch == trainer.length.epochs:
        return ""
    if ended:
        yield Noted(ended, "flag")
    return ended


# ---------------------------------------------------------------- steps


def _train_epoch(trainer: Trainer, epoch: int) -> Iterator[Event]:
    at, recipe, run = trainer.at, trainer.recipe, trainer.recipe.run
    for group in trainer.schedule.begin_epoch(epoch):
        if at.step == 0:
            yield Noted(f"“{group}” is trained from now on", "lock-open")
    trainer.net.train()
    steps = trainer.length.steps(epoch)
    order = training_order(trainer.data, recipe, epoch, trainer.length.per_epoch * run.accumulate)
    while at.step < steps:
        began = time.monotonic()
        step = at.step + 1
        parts = range(at.step * run.accumulate, step * run.accumulate)
        first, *more = (draw_batch(trainer.data, recipe, order[k], trainer.size, epoch, k + 1) for k in parts)
        trainer.regulariser.begin_step(epoch, step)
        lr = optimisation.rates(trainer.optimiser)
        with too_big(trainer):
            result = train_step(
                trainer.net,
                trainer.objective,
                trainer.optimiser,
                first,
                trainer.device,
                recipe,
                epoch - 1 + at.step / trainer.length.per_epoch,
                more=more,
                seed=int(np.random.SeedSequence([run.seed, _STREAM, epoch, step]).generate_state(1)[0]),
            )
        trainer.schedule.step()
        trainer.average.update_step(trainer.net)
        seconds = time.monotonic() - began
        values = {"loss": result.loss, **result.terms}
        at.add(values, result.grad_norm, result.clipped, lr, seconds)
        assert trainer.curve is not None
        trainer.curve.append(
            {"epoch": epoch, "step": step, "grad_norm": result.grad_norm}
            | values
            | {f"lr_{name}": value for name, value in lr.items()}
        )
        if time.monotonic() - trainer.saved > CHECKPOINT_SECONDS:
            trainer.save()
        yield Step(epoch, step, result.loss, result.terms, lr, result.grad_norm, seconds)


# ---------------------------------------------------------------- epochs


def _end_epoch(
    trainer: Trainer, epoch: int, space: FeatureSpace | None, preview: tuple[str, int] | None
) -> Iterator[Event]:
    at = trainer.at
    began = time.monotonic()
    gathered, features = Gathered(), None
    with _averaged(trainer, epoch):
        if trainer.average.needs_statistics and trainer.average.weights() is not None:
            yield from trainer.regulariser.refresh(_statistics(trainer, epoch))
        scores = yield from validate(
            trainer.net, trainer.data, trainer.recipe, trainer.objective, trainer.device, epoch, gathered.add
        )
        if space is not None:
            features = yield from space.at(epoch, gathered)
        # No yield from here to the checkpoint: a run that is stopped comes back to this epoch and judges it once.
        best = trainer.selection.judge(at, epoch, scores)
        if best:
            trainer.run.save_best(trainer.net.net.state_dict())
        if trainer.recipe.run.keep_every and epoch % trainer.recipe.run.keep_every == 0:
            trainer.run.keep(epoch, lora.merged(trainer.net))
        shown = list(previews(trainer, epoch, preview))
    trainer.schedule.after_epoch(trainer.selection.value(scores))
    spent = time.monotonic() - began
    at.seconds += spent
    seconds = at.epoch_seconds + spent
    train = {name: total / at.step for name, total in at.sums.items()}
    _record(trainer, epoch, train, scores, best, seconds)
    notes = _notes(trainer, epoch, scores, best)
    at.turn(epoch)
    trainer.save()
    yield Epoch(
        epoch,
        trainer.length.epochs,
        train,
        scores.terms,
        scores.psnr,
        scores.ssim,
        at.rates,
        best,
        at.best.epoch,
        seconds,
        scores.accuracy,
        scores.auc,
    )
    yield from shown
    if features is not None:
        yield features
    yield from notes


@contextlib.contextmanager
def _averaged(trainer: Trainer, epoch: int) -> Iterator[None]:
    """Inside, the network has the averaged weights, where there are any."""
    before = deepcopy(trainer.average.state_dict())
    trainer.average.update_epoch(trainer.net, epoch / trainer.length.epochs)
    weights = trainer.average.weights()
    raw = {name: value.detach().clone() for name, value in trainer.net.state_dict().items()} if weights else {}
    try:
        if weights:
            trainer.net.load_state_dict(weights)
        yield
    except BaseException:
        # A run that is stopped here comes back to the end of this epoch when it is resumed.
        trainer.average.load_state_dict(before)
        raise
    finally:
        if weights:
            trainer.net.load_state_dict(raw)


def _statistics(trainer: Trainer, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Training batches to measure batch norm's statistics on: about one patch of every slice."""
    count = min(STATISTICS_BATCHES, trainer.length.per_epoch)
    order = training_order(trainer.data, trainer.recipe, epoch, count)
    for number in range(count):
        batch = draw_batch(trainer.data, trainer.recipe, order[number], trainer.size, epoch, number + 1)
        yield torch.from_numpy(batch.noisy).to(trainer.device), torch.from_numpy(batch.level).to(trainer.device)


def _record(
    trainer: Trainer,
    epoch: int,
    train: dict[str, float],
    scores: Scores,
    best: bool,
    spent: float,
) -> None:
    assert trainer.metrics is not None
    known = {"accuracy": scores.accuracy, "auc": scores.auc}
    trainer.metrics.append(
        {"epoch": epoch, "psnr": scores.psnr, "ssim": scores.ssim, "grad_norm": trainer.at.norm}
        | {"best": int(best), "seconds": round(spent, 3)}
        | {name: value for name, value in known.items() if value is not None}
        | {f"train_{k}": v for k, v in train.items()}
        | {f"val_{k}": v for k, v in scores.terms.items()}
        | {f"lr_{k}": v for k, v in trainer.at.rates.items()}
    )


def _notes(trainer: Trainer, epoch: int, scores: Scores, best: bool) -> list[Noted]:
    at, notes = trainer.at, []
    if best:
        notes.append(Noted(f"New best: {_score_words(trainer, scores)} at epoch {epoch}, saved", "diamond"))
    for name, words in (("classical", "classical baseline"), ("pretrained", "the model as it was")):
        target = at.baselines.get(name, {}).get("psnr")
        if target is not None and scores.psnr > target and name not in at.passed:
            at.passed.append(name)
            notes.append(Noted(f"Passed {words}, {target:.2f} dB", "trending-up"))
    if at.clipped:
        times = "once" if at.clipped == 1 else f"{at.clipped} times"
        notes.append(Noted(f"Gradient clipped {times} in epoch {epoch}, largest norm {at.norm:.3g}", "activity"))
    return notes


def _score_words(trainer: Trainer, scores: Scores) -> str:
    value = trainer.selection.value(scores)
    match trainer.selection.metric:
        case "psnr":
            return f"PSNR {value:.2f} dB"
        case "loss":
            return f"loss {-value:.4g}, PSNR {scores.psnr:.2f} dB"
        case metric:
            return f"{metric.upper() if metric != 'accuracy' else metric} {value:.4f}, PSNR {scores.psnr:.2f} dB"
