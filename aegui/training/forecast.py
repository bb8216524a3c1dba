"""What a run will take on this machine: time, memory, and the batch that fits, from a few steps of the real recipe."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from aegui.data.dataset import TrainingData
from aegui.events import Event, Progress
from aegui.models.slicenet import parameters_by_part
from aegui.models.zoo import Model
from aegui.recipes import Recipe
from aegui.training.length import length_of
from aegui.training.memory import MARGIN, free_bytes
from aegui.training.probe import MOST, need, timed
from aegui.training.runfolder import RunFolder
from aegui.training.settle import steps_within
from aegui.training.trainer import Trainer

TRIED_PIXELS = 32 * 64 * 64  # of a batch that is tried, at most


@dataclass(frozen=True)
class Forecast:
    """validation_seconds: after each epoch. steps, epochs, seconds: of the whole run, None where scans are not known.

    seconds: steps and validation. batch: patches at a time. memory_bytes: of a step with it. largest_batch: what fits
    into free_bytes with a margin, as far as it makes sense. parameters: by part of the model.
    """

    step_seconds: float
    validation_seconds: float | None
    steps: int | None
    epochs: int | None
    seconds: float | None
    batch: int
    memory_bytes: int
    free_bytes: int
    largest_batch: int
    parameters: Mapping[str, int]

    @property
    def fits(self) -> bool:
        """Whether the batch fits into memory."""
        return self.memory_bytes <= self.free_bytes * MARGIN


def forecast(
    recipe: Recipe,
    model: Model,
    data: TrainingData,
    device: torch.device,
    start: str,
    folder: Path,
    slices: tuple[int, int] | None,
) -> Generator[Event, None, Forecast]:
    """Try a few steps. data: some slices of the run's; slices: how many train and validate in all, None: not known.

    Nothing is written into `folder`; the model is used up.
    """
    yield Progress(0, None, "Measuring memory")
    batch = recipe.run.batch
    trainer = Trainer(_with_batch(recipe, batch), model, data, RunFolder(folder), device, start)
    try:
        bytes_ = need(trainer)
        free = free_bytes(device)
        largest = min(MOST, bytes_.largest(free))
        if recipe.run.batch_size is None:
            batch = min(largest, slices[0]) if slices else largest
        # Large batches are not tried: their steps are longer in proportion.
        rows, columns = trainer.size
        tried = max(1, min(batch, bytes_.largest(free), TRIED_PIXELS // (rows * columns)))
        trainer.recipe = _with_batch(recipe, tried, accumulate=1)
        timing = yield from timed(trainer)
        step = timing.step * batch / tried * recipe.run.accumulate
        parameters = parameters_by_part(trainer.net)
    finally:
        trainer.release()
    memory = bytes_.of(batch)
    if slices is None:
        return Forecast(step, None, None, None, None, batch, memory, free, largest, parameters)
    train, validation = slices
    settled = _with_batch(recipe, batch)
    checked = timing.validation(min(validation, recipe.run.validation_slices))
    if recipe.run.minutes is not None:
        per_epoch = length_of(settled, train).per_epoch
        steps = steps_within(recipe.run.minutes * 60, step, checked, per_epoch)
        run = settled.run.model_copy(update={"steps": min(steps, recipe.run.steps or steps), "minutes": None})
        settled = settled.model_copy(update={"run": run})
    length = length_of(settled, train)
    seconds = length.total * step + length.epochs * checked
    return Forecast(step, checked, length.total, length.epochs, seconds, batch, memory, free, largest, parameters)


def _with_batch(recipe: Recipe, batch: int, **more: int) -> Recipe:
    return recipe.model_copy(update={"run": recipe.run.model_copy(update={"batch_size": batch, **more})})
