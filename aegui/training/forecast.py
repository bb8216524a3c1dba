"""How long a step of a recipe takes on this machine, tried out on random numbers before any data are read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aegui.events import Done, Events, Progress
from aegui.recipes import Recipe

WHOLE_SLICE = 512  # assumed side of patches that are whole slices
LONG = 3.0  # seconds after which one step is enough


@dataclass(frozen=True)
class StepTime:
    """seconds of one training step. parameters: by part of the model."""

    seconds: float
    parameters: Mapping[str, int]


def measure_step(model: str | Path, recipe: Recipe, device: str = "auto") -> Events:
    """Time a step of the real model, losses and optimiser. Done(StepTime)."""
    from copy import deepcopy

    import numpy as np

    from aegui.data.draw import Batch
    from aegui.models.slicenet import on, parameters_by_part
    from aegui.models.zoo import load_model
    from aegui.training import optimisation
    from aegui.training.losses import Context
    from aegui.training.objective import Objective
    from aegui.training.step import choose_device, train_step

    where = choose_device(device)
    yield Progress(0, None, "Loading the model")
    net = on(where, load_model(model).net)
    if recipe.needs_labels and net.head is None:
        net.net.attach_head(2)  # type: ignore[operator]
        on(where, net)
    optimiser, _ = optimisation.build(recipe, net, 1)
    objective = Objective(recipe.losses, Context(deepcopy(net), where))
    rng = np.random.default_rng(0)
    side = recipe.run.patch_size or WHOLE_SLICE
    shape = (recipe.run.batch_size or 16, net.channels, side, side)
    image = rng.random(shape, dtype=np.float32)
    batch = Batch(
        image,
        image,
        np.full(shape[0], 0.1, dtype=np.float32),
        (np.arange(shape[0]) % 2).astype(np.int64),
        np.tile(np.asarray([0, 1], dtype=np.float32), (shape[0], 1)),
    )
    best = float("inf")
    net.train()
    # The first step also warms caches up; the quicker of the two is what a run sees.
    for number in range(2):
        began = time.monotonic()
        train_step(net, objective, optimiser, batch, where, recipe)
        best = min(best, time.monotonic() - began)
        yield Progress(number + 1, 2, "Timing a step")
        if best > LONG:
            break
    yield Done(StepTime(best, parameters_by_part(net)))
