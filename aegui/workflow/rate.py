"""A learning rate for a job, found on its own scans."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from aegui.data.pairs import Pair, require_pairs
from aegui.events import Events, Progress
from aegui.imaging import Series
from aegui.workflow.adapt import TrainJob

SERIES, SLICES = 12, 6  # that are read at most, and of each


def find_rate(job: TrainJob) -> Events:
    """Try learning rates on some of the job's slices, away from its run folder. RatePoint …, Done(FoundRate)."""
    from aegui.data.dataset import prepare
    from aegui.models.zoo import load_model
    from aegui.training.find_rate import find_rate as search
    from aegui.training.step import choose_device

    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_model(job.model, job.init, job.recipe.run.seed)
    free = [series for series in job.noisy if series.uid not in job.holdout]
    pairs: list[Pair] = []
    if job.recipe.targets.pairs:
        pairs = list(job.pairs or require_pairs(free, job.clean))
    # Pairs and classes need all their series.
    chosen: list[Series] = free if pairs or job.recipe.needs_labels else [free[i] for i in _spread(len(free))]
    run = job.recipe.run.model_copy(update={"holdout_fraction": 0.0})
    recipe = job.recipe.model_copy(update={"run": run})
    with tempfile.TemporaryDirectory(prefix="aegui-rate-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        data = yield from prepare(
            recipe, model.card, model.net.channels, chosen, pairs, job.labels, job.holdout, folder / "slices", SLICES
        )
        try:
            yield from search(recipe, model, data, device, job.init, folder / "run")
        finally:
            data.close()


def _spread(count: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, SERIES))}) if count else []
