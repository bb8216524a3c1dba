"""A few steps on a copy of the model: how long one takes and how much memory a batch needs."""

from __future__ import annotations

import time
from collections.abc import Generator
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from aegui.data.draw import cases, draw_batch, training_order, validation_members
from aegui.events import Event, Progress
from aegui.recipes import Recipe
from aegui.training.memory import MARGIN, free_bytes, too_big
from aegui.training.previews import SLOTS
from aegui.training.step import Forward, to_device, train_step
from aegui.training.trainer import Trainer
from aegui.training.validation import run_case, score

WARM_UP = 2
STEPS = 6
LONG = 3.0  # seconds of steps after which no more are timed
SLACK = 1.25  # what allocation took beyond what is kept, measured on the processor
MOST = 64  # patches; larger batches are hardly faster, and make few steps of a set of scans


@dataclass(frozen=True)
class Need:
    """Bytes of a step: `fixed`, and `sample` for every patch of the batch."""

    fixed: int
    sample: int

    def of(self, batch: int) -> int:
        """With that many patches."""
        return self.fixed + batch * self.sample

    def largest(self, free: int) -> int:
        """The largest batch for the free memory, with a margin; at least 1."""
        return max(1, int((free * MARGIN - self.fixed) // self.sample))


@dataclass(frozen=True)
class Timing:
    """Seconds of a step, and of validating one slice."""

    step: float
    slice: float

    def validation(self, slices: int) -> float:
        """After an epoch, with the slices that are shown."""
        return self.slice * (slices + min(SLOTS, slices))


def rehearsal(trainer: Trainer, recipe: Recipe | None = None) -> Trainer:
    """The same run on a copy of the model, from the start; nothing of the run changes."""
    model = replace(trainer.model, net=deepcopy(trainer.pristine))
    return Trainer(recipe or trainer.recipe, model, trainer.data, trainer.run, trainer.device, trainer.start)


def need(copy: Trainer) -> Need:
    """Memory of a step, from batches of 1 and 3 patches."""
    one, three = (_bytes(copy, count) for count in (1, 3))
    sample = max(1, (three - one) // 2)
    return Need(max(0, one - sample), sample)


def _bytes(copy: Trainer, count: int) -> int:
    parameters = sum(p.numel() * p.element_size() for p in copy.net.parameters())
    trained = sum(p.numel() * p.element_size() for p in copy.net.parameters() if p.requires_grad)
    members = np.resize(np.asarray(copy.data.split.train), count)
    batch = draw_batch(copy.data, copy.recipe, members, copy.size, 1, 1)
    copy.net.train()
    if copy.device.type == "cuda":
        torch.cuda.synchronize(copy.device)
        before = torch.cuda.memory_allocated(copy.device)
        torch.cuda.reset_peak_memory_stats(copy.device)
        train_step(copy.net, copy.objective, copy.optimiser, batch, copy.device, copy.recipe, seed=0)
        return int(torch.cuda.max_memory_allocated(copy.device) - before) + parameters
    # The processor's allocator keeps no count: add up what is kept for the way back, and what that needs at its peak:
    # the gradients of the two largest activations.
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in copy.net.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    forward = Forward(
        copy.net,
        copy.objective,
        copy.recipe,
        to_device(batch, copy.device, copy.recipe.run.channels_last),
        float(copy.length.epochs),
    )
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss, _ = forward()
    del loss
    inputs = sum(int(array.nbytes) for array in vars(batch).values() if array is not None)
    largest = max(kept.values(), default=0)
    return parameters + 4 * trained + int(SLACK * sum(kept.values())) + 2 * largest + 2 * inputs


def largest_batch(copy: Trainer, slices: int | None = None) -> int:
    """What memory allows, within reason. slices: that train, where not those of the copy."""
    wanted = len(copy.data.split.train) if slices is None else slices
    return min(MOST, max(1, wanted), need(copy).largest(free_bytes(copy.device)))


def timed(copy: Trainer) -> Generator[Event, None, Timing]:
    """Time steps of the recipe and its validation on a copy, which is used up by it."""
    run = copy.recipe.run
    order = training_order(copy.data, copy.recipe, 1, (WARM_UP + STEPS) * run.accumulate)
    copy.net.train()
    spent: list[float] = []
    for number in range(WARM_UP + STEPS):
        yield Progress(number, WARM_UP + STEPS, "Timing steps")
        began = time.monotonic()
        parts = range(number * run.accumulate, (number + 1) * run.accumulate)
        first, *more = (draw_batch(copy.data, copy.recipe, order[k], copy.size, 1, k + 1) for k in parts)
        with too_big(copy):
            train_step(
                copy.net, copy.objective, copy.optimiser, first, copy.device, copy.recipe, more=more, seed=number
            )
        copy.average.update_step(copy.net)
        if copy.device.type == "cuda":
            torch.cuda.synchronize(copy.device)
        spent.append(time.monotonic() - began)
        if sum(spent) > LONG:
            break
    # The first steps also warm caches up, unless they are so long that this does not count.
    steady = spent[min(WARM_UP, len(spent) - 1) :]
    yield Progress(WARM_UP + STEPS, WARM_UP + STEPS, "Timing validation")
    return Timing(float(np.median(steady)), _validation(copy))


def _validation(copy: Trainer) -> float:
    """Seconds of validating a slice, the better of two."""
    members = validation_members(copy.data, copy.recipe)
    copy.net.eval()
    spent = []
    for member in [members[0], members[-1]]:
        began = time.monotonic()
        for case in cases(copy.data, copy.recipe, member):
            score(case, run_case(copy.net, case, copy.device)[0])
        spent.append(time.monotonic() - began)
    return min(spent)
