"""Fine-tuning as a generator of events, resumable to the bit."""

from __future__ import annotations

import datetime
import logging
import platform
import time
from collections.abc import Generator, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aegui.data.dataset import TrainingData
from aegui.data.draw import case, draw_batch, patch_size, shown, training_order, validation_members
from aegui.errors import UserError
from aegui.events import Baselines, Done, Epoch, Event, Noted, Preview, Progress, Started, Step, Stop, Warned
from aegui.imaging import auto_window
from aegui.measure import ssim_window
from aegui.models import bundle
from aegui.models.slicenet import on, parameters_by_part
from aegui.models.zoo import Model
from aegui.recipes import Recipe
from aegui.recipes.optimisers import EMA
from aegui.training import optimisation
from aegui.training.losses import Context
from aegui.training.objective import Objective
from aegui.training.runfolder import RunFolder, Table
from aegui.training.step import train_step
from aegui.training.validation import Scores, run_case, score, score_filter, tune_classical, validate

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. scores, baselines: {"psnr", "ssim"}; holdout: (series uid, slice)."""

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


@dataclass
class _Best:
    value: float = -float("inf")
    epoch: int = 0
    psnr: float = float("nan")
    ssim: float = float("nan")


@dataclass
class _Standing:
    """Everything a resumed run needs besides weights."""

    epoch: int = 0
    step: int = 0
    best: _Best = field(default_factory=_Best)
    sums: dict[str, float] = field(default_factory=dict)
    clipped: int = 0
    norm: float = 0.0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    classical: str = ""
    passed: list[str] = field(default_factory=list)


class _Average:
    """Exponential moving average of the weights (Polyak); young averages follow faster."""

    def __init__(self, net: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.weights = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def update(self, net: torch.nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if value.is_floating_point():
                    self.weights[name].lerp_(value, 1 - decay)
                else:
                    self.weights[name].copy_(value)


class _Fit:
    def __init__(
        self, recipe: Recipe, model: Model, data: TrainingData, run: RunFolder, device: torch.device, start: str
    ) -> None:
        self.recipe, self.model, self.data, self.run, self.device = recipe, model, data, run, device
        self.start = start
        self.net = on(device, model.net)
        if recipe.needs_labels:
            self._fit_head()
        self.objective = Objective(recipe.losses, Context(deepcopy(self.net), device), recipe.run.epochs)
        self.steps = recipe.run.steps_per_epoch or max(1, -(-len(data.split.train) // (recipe.run.batch_size or 16)))
        self.size = patch_size(data, recipe)
        self.optimiser, self.schedule = optimisation.build(recipe, self.net, self.steps)
        self.average = _Average(self.net, recipe.averaging.decay) if isinstance(recipe.averaging, EMA) else None
        self.at = _Standing()
        self.saved = 0.0
        self.metrics: Table | None = None
        self.curve: Table | None = None

    def _fit_head(self) -> None:
        classes = len(self.data.classes)
        if self.net.head is not None and self.model.card.classes == self.data.classes:
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.run.seed)
            self.net.net.attach_head(classes)  # type: ignore[operator]
        on(self.device, self.net)

    # ------------------------------------------------------------ state

    def _groups(self) -> list[str]:
        return [group["name"] for group in self.optimiser.param_groups]

    def resume(self) -> None:
        state = self.run.load_state()
        if state["recipe"] != self.recipe.to_yaml() or state["fingerprint"] != self.data.fingerprint:
            raise UserError(
                f"The run in {self.run.folder.name} was started with another recipe or other scans.",
                "Resume it with the same recipe, model and folders, or choose another run folder.",
            )
        try:
            self.net.load_state_dict(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"The run in {self.run.folder.name} was started with another model.", "Resume it with that model."
            ) from error
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.weights = {k: v.to(self.device) for k, v in state["average"].items()}
            self.average.count = state["average_count"]
        standing = dict(state["standing"])
        best = _Best(**standing.pop("best"))
        self.at = _Standing(best=best, **standing)

    def save(self) -> None:
        for table in (self.metrics, self.curve):
            if table is not None:
                table.flush()
        standing = {**vars(self.at), "best": vars(self.at.best)}
        self.run.save_state(
            {
                "weights": self.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "average": self.average.weights if self.average else {},
                "average_count": self.average.count if self.average else 0,
                "standing": standing,
                "recipe": self.recipe.to_yaml(),
                "fingerprint": self.data.fingerprint,
            }
        )
        self.saved = time.monotonic()

    def open_tables(self) -> None:
        groups = [f"lr_{name}" for name in self._groups()]
        terms = self.objective.names
        self.metrics = Table(
            self.run.metrics,
            [
                *("epoch", "train_loss", *(f"train_{t}" for t in terms), "val_loss", *(f"val_{t}" for t in terms)),
                *("psnr", "ssim", "accuracy", *groups, "grad_norm", "best", "seconds"),
            ],
            keep=self.at.epoch,
        )
        self.curve = Table(
            self.run.steps,
            ["epoch", "step", "loss", *terms, *groups, "grad_norm"],
            keep=self.at.epoch * self.steps + self.at.step,
        )

    def release(self) -> None:
        for table in (self.metrics, self.curve):
            if table is not None:
                table.close()

    # ------------------------------------------------------------ the run

    def baselines(self) -> Generator[Event, None, None]:
        if not self.at.baselines:
            data, recipe = self.data, self.recipe
            values = {"input": (yield from score_filter(None, data, recipe, "Scoring the input"))}
            try:
                tuned = yield from tune_classical(data, recipe)
                values["classical"] = yield from score_filter(tuned[0], data, recipe, f"Scoring {tuned[0].name}")
                self.at.classical = tuned[0].name
            except (ValueError, MemoryError) as error:
                _log.info("no classical baseline: %s", error)
                yield Warned(f"No classical baseline could be computed ({error}).")
            self.at.baselines = {name: {"psnr": p, "ssim": s} for name, (p, s) in values.items()}
            if self.start == "pretrained":
                first = yield from validate(self.net, data, recipe, self.objective, self.device)
                self.at.baselines["pretrained"] = {"psnr": first.psnr, "ssim": first.ssim}
                if not recipe.needs_labels:
                    self.at.best = _Best(first.psnr, 0, first.psnr, first.ssim)
                    self.run.save_best(self.net.net.state_dict())
            self.save()
        item = self.data.items[self.data.split.validation[0]]
        yield Baselines(
            self.at.baselines, self.at.classical, item.range.name, ssim_window(item.series.modality, item.range)[2]
        )

    def loop(self) -> Iterator[Event]:
        run = self.recipe.run
        while self.at.epoch < run.epochs:
            yield from self._train_epoch(self.at.epoch + 1)
            yield from self._end_epoch(self.at.epoch + 1)

    def _train_epoch(self, epoch: int) -> Iterator[Event]:
        self.net.train()
        order = training_order(self.data, self.recipe, epoch, self.steps)
        while self.at.step < self.steps:
            began = time.monotonic()
            step = self.at.step + 1
            batch = draw_batch(self.data, self.recipe, order[self.at.step], self.size, epoch, step)
            lr = optimisation.rates(self.optimiser)
            result = train_step(
                self.net,
                self.objective,
                self.optimiser,
                batch,
                self.device,
                self.recipe,
                epoch - 1 + self.at.step / self.steps,
            )
            self.schedule.step()
            if self.average is not None:
                self.average.update(self.net)
            at = self.at
            for name, value in {"loss": result.loss, **result.terms}.items():
                at.sums[name] = at.sums.get(name, 0.0) + value
            clip = self.recipe.regularisation.gradient_clip
            at.clipped += clip is not None and result.grad_norm > clip
            at.norm = max(at.norm, result.grad_norm)
            at.step = step
            seconds = time.monotonic() - began
            at.seconds += seconds
            at.epoch_seconds += seconds
            assert self.curve is not None
            self.curve.append(
                {"epoch": epoch, "step": step, "loss": result.loss, "grad_norm": result.grad_norm}
                | result.terms
                | {f"lr_{name}": value for name, value in lr.items()}
            )
            if time.monotonic() - self.saved > CHECKPOINT_SECONDS:
                self.save()
            yield Step(epoch, step, result.loss, result.terms, lr, result.grad_norm, seconds)

    def _end_epoch(self, epoch: int) -> Iterator[Event]:
        at, run = self.at, self.recipe.run
        lr = optimisation.rates(self.optimiser)
        began = time.monotonic()
        raw = None
        if self.average is not None:
            raw = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
            self.net.load_state_dict(self.average.weights)
        try:
            scores = yield from validate(self.net, self.data, self.recipe, self.objective, self.device, epoch)
            value = -scores.terms["loss"] if self.recipe.needs_labels else scores.psnr
            best = value > at.best.value
            if best:
                at.best = _Best(value, epoch, scores.psnr, scores.ssim)
                self.run.save_best(self.net.net.state_dict())
            preview = self._preview(epoch)
        finally:
            if raw is not None:
                self.net.load_state_dict(raw)
        spent = time.monotonic() - began
        at.seconds += spent
        seconds = at.epoch_seconds + spent
        train = {name: total / self.steps for name, total in at.sums.items()}
        self._record(epoch, train, scores, lr, best, seconds)
        clipped, norm = at.clipped, at.norm
        at.epoch, at.step, at.sums, at.clipped, at.norm, at.epoch_seconds = epoch, 0, {}, 0, 0.0, 0.0
        notes = self._notes(epoch, scores, best, clipped, norm)
        self.save()
        yield Epoch(
            epoch,
            run.epochs,
            train,
            scores.terms,
            scores.psnr,
            scores.ssim,
            lr,
            best,
            at.best.epoch,
            seconds,
            scores.accuracy,
        )
        yield preview
        yield from notes

    def _record(
        self, epoch: int, train: dict[str, float], scores: Scores, lr: dict[str, float], best: bool, seconds: float
    ) -> None:
        assert self.metrics is not None
        self.metrics.append(
            {"epoch": epoch, "psnr": scores.psnr, "ssim": scores.ssim, "grad_norm": self.at.norm}
            | {"best": int(best), "seconds": round(seconds, 3)}
            | ({} if scores.accuracy is None else {"accuracy": scores.accuracy})
            | {f"train_{k}": v for k, v in train.items()}
            | {f"val_{k}": v for k, v in scores.terms.items()}
            | {f"lr_{k}": v for k, v in lr.items()}
        )

    def _notes(self, epoch: int, scores: Scores, best: bool, clipped: int, norm: float) -> list[Noted]:
        notes = []
        if best:
            notes.append(Noted(f"New best: PSNR {scores.psnr:.2f} dB at epoch {epoch}, saved", "diamond"))
        for name, words in (("classical", "classical baseline"), ("pretrained", "the model as it was")):
            target = self.at.baselines.get(name, {}).get("psnr")
            if target is not None and scores.psnr > target and name not in self.at.passed:
                self.at.passed.append(name)
                notes.append(Noted(f"Passed {words}, {target:.2f} dB", "trending-up"))
        if clipped:
            times = "once" if clipped == 1 else f"{clipped} times"
            notes.append(Noted(f"Gradient clipped {times} in epoch {epoch}, largest norm {norm:.3g}", "activity"))
        return notes

    def _preview(self, epoch: int) -> Preview:
        member = validation_members(self.data, self.recipe)[0]
        c, scored = shown(self.data, self.recipe, member), case(self.data, self.recipe, member)
        output, guess = (run_case(self.net.eval(), one, self.device)[0] for one in (c, scored))
        noisy, result, reference = (
            np.nan_to_num(c.item.scale.restore(x), nan=float(np.nanmin(c.item.scale.restore(x)))).mean(axis=0)
            for x in (c.noisy, output, c.clean)
        )
        series = c.item.series
        window = auto_window(reference, np.isfinite(c.clean[0]), series.modality)
        return Preview(
            f"{series.label} · {series.description or series.modality}, slice {c.item.index + 1}",
            epoch,
            noisy.astype(np.float32),
            result.astype(np.float32),
            reference.astype(np.float32),
            window,
            score(scored, scored.noisy)[0],
            score(scored, guess)[0],
            series.inverted,
        )

    # ------------------------------------------------------------ the end

    def _options(self) -> dict[str, Any]:
        card, classes = self.model.card, self.data.classes
        if not classes or classes == card.classes:
            return card.options
        head = {"head": "pooled"} if card.architecture == "conv_autoencoder" else {}
        return card.options | {"classes": len(classes)} | head

    def result(self, stopped: bool) -> TrainResult:
        data, recipe, at = self.data, self.recipe, self.at
        if not self.run.best.exists():
            self.run.save_best(self.net.net.state_dict())
        self.net.net.load_state_dict(self.run.load_best())

        def names(part: tuple[int, ...]) -> list[str]:
            return [f"{data.items[i].series.uid}#{data.items[i].index}" for i in part]

        scores = {"psnr": at.best.psnr, "ssim": at.best.ssim}
        card = self.model.card
        card = card.model_copy(
            update={
                "id": self.run.folder.name or card.id,
                "title": f"{card.title}, {recipe.title}",
                "version": datetime.date.today().isoformat(),
                "options": self._options(),
                "classes": data.classes or card.classes,
                "training": card.training.model_copy(
                    update={"recipe": recipe.id, "seconds": round(at.seconds, 1), "machine": platform.machine()}
                ),
                "metrics": {
                    "validation": scores,
                    "baselines": at.baselines,
                    "classical": at.classical,
                    "best_epoch": at.best.epoch,
                    "slices": len(data.split.train),
                    "split": data.split.by,
                },
            }
        )
        parts = {"train": names(data.split.train), "validation": names(data.split.validation)}
        bundle.save(
            self.run.bundle,
            card,
            self.net,
            recipe,
            self.run.metrics.read_text(encoding="utf-8"),
            self.run.split_hashes(parts | {"holdout": names(data.split.holdout)}),
        )
        result = TrainResult(
            self.run.folder,
            self.run.bundle,
            at.best.epoch,
            at.epoch,
            scores,
            at.baselines,
            at.classical,
            tuple((data.items[i].series.uid, data.items[i].index) for i in data.split.holdout),
            stopped,
            at.seconds,
        )
        self.run.summarise(
            {
                "schema": 1,
                "model": self.model.ref,
                "recipe": recipe.id,
                "best_epoch": at.best.epoch,
                "epochs": at.epoch,
                "scores": scores,
                "baselines": at.baselines,
                "classical": at.classical,
                "split": data.split.by,
                "stopped": stopped,
                "seconds": at.seconds,
                "versions": bundle.versions(),
            }
        )
        return result


def fit(
    recipe: Recipe,
    model: Model,
    data: TrainingData,
    run: RunFolder,
    device: torch.device,
    resume: bool = False,
    start: str = "pretrained",
) -> Iterator[Event]:
    """Adapt `model` to `data`. start: "pretrained" or "random" (then there is no untouched model to beat).

    Yields Started, Baselines, then Step, Epoch, Preview, Noted; ends in Done(TrainResult). With a pretrained
    model the untouched weights count as epoch 0: the result is never worse on validation than the start.
    """
    job = _Fit(recipe, model, data, run, device, start)
    try:
        if resume:
            job.resume()
        run.write_text(run.recipe, recipe.to_yaml())
        for warning in data.warnings:
            yield Warned(warning)
        yield Started(
            recipe.run.epochs,
            job.steps,
            job.at.epoch,
            job.at.step,
            parameters_by_part(job.net),
            recipe.regularisation.gradient_clip,
            recipe.run.seed,
            "validation loss" if recipe.needs_labels else data.targets.score,
        )
        stopped = False
        job.open_tables()
        try:
            yield from job.baselines()
            job.saved = time.monotonic()
            yield from job.loop()
        except Stop:
            stopped = True
            job.save()
            yield Noted(f"Stopped in epoch {job.at.epoch + 1}; the best is kept", "square")
        yield Progress(0, 1, "Writing the model")
        assert job.metrics is not None
        job.metrics.flush()
        result = job.result(stopped)
        if result.best_epoch == 0 and start == "pretrained" and not recipe.needs_labels:
            yield Warned(
                "No epoch beat the model as it was, so it was kept.", "Try lower learning rates, or more noisy scans."
            )
    finally:
        job.release()
        data.close()
        run.clear_cache()
    yield Done(result)
