"""Time, memory and the batch that fits of a training job, before it is started."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aegui import imaging
from aegui.data.item import Item
from aegui.data.pairs import Pair, match_pairs
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Progress, finish
from aegui.imaging import Series
from aegui.measure import Range
from aegui.models.intensity import Scale
from aegui.recipes.targets import Noise2Noise
from aegui.workflow.adapt import TrainJob

if TYPE_CHECKING:
    from aegui.data.dataset import TrainingData
    from aegui.models.zoo import Model

SERIES, SLICES = 4, 4  # that are tried at most, and of each
MADE = 10  # slices of a generated series
SIDE = 256  # px of generated slices where no scans say otherwise


def forecast(job: TrainJob) -> Events:
    """Try a few steps of the job on this machine, away from its run folder. Done(Forecast).

    Without scans, generated ones are used and the number of steps stays open.
    """
    from aegui.models.zoo import load_model
    from aegui.training.forecast import forecast as tried
    from aegui.training.step import choose_device

    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_model(job.model, job.init, job.recipe.run.seed)
    with tempfile.TemporaryDirectory(prefix="aegui-forecast-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        data = yield from _some(job, model, folder)
        try:
            slices = _counted(job, folder) if job.noisy else None
            found = yield from tried(job.recipe, model, data, device, job.init, folder, slices)
        finally:
            data.close()
    yield Done(found)


def _some(job: TrainJob, model: Model, folder: Path) -> Generator[Event, None, TrainingData]:
    """A few slices of the job; generated ones where these cannot be used by themselves."""
    from aegui.data.dataset import prepare

    free = [series for series in job.noisy if series.uid not in job.holdout]
    pairs = list(job.pairs or (match_pairs(free, job.clean) if job.recipe.targets.pairs else ()))
    if len(pairs) > SERIES:
        pairs = pairs[:SERIES]
    elif len(free) > SERIES and not pairs:
        free = [free[round(i)] for i in np.linspace(0, len(free) - 1, SERIES)]
    # Few slices are split anyhow: shares of the run would leave nothing to train on.
    run = job.recipe.run.model_copy(update={"holdout_fraction": 0.0})
    recipe = job.recipe.model_copy(update={"run": run})
    if free:
        try:
            return (
                yield from prepare(
                    recipe, model.card, model.net.channels, free, pairs, job.labels, (), folder / "some", SLICES
                )
            )
        except UserError:
            pass  # the run itself will say what is wrong with them
    rows, columns = (free[0].rows, free[0].columns) if free else (SIDE, SIDE)
    made = _generated(folder / "made", rows, columns)
    kind = "repeat" if isinstance(job.recipe.targets, Noise2Noise) else "clean"
    every = tuple((i, i) for i in range(MADE))
    both = [Pair(made[0], made[1], every, "generated", True, "", kind)]  # type: ignore[arg-type]
    labels = {series.uid: str(number) for number, series in enumerate(made)}
    return (yield from prepare(recipe, model.card, model.net.channels, made, both, labels, (), folder / "made"))


def _generated(folder: Path, rows: int, columns: int) -> Sequence[Series]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    for number in range(2):
        (folder / str(number)).mkdir(parents=True)
        body = 500 + 300 * np.sin(9 * x + number) * np.cos(7 * y)
        volume = body + rng.normal(0, 20, (MADE, rows, columns))
        np.save(folder / str(number) / "volume.npy", volume.astype(np.float32))
    found: Sequence[Series] = finish(imaging.scan([folder])).series
    return found


def _counted(job: TrainJob, folder: Path) -> tuple[int, int] | None:
    """Slices that will train and validate, as far as it is known without reading them; None: not at all."""
    from aegui.data.targets import build_kind

    kind = build_kind(job.recipe.targets, folder)
    marked = frozenset(job.holdout)
    free = [series for series in job.noisy if series.uid not in marked]
    pairs = job.pairs or (match_pairs(free, job.clean) if job.recipe.targets.pairs else ())
    items, blocks = [], []
    try:
        for block, part in enumerate(kind.works(job.noisy, pairs, marked)):
            one = part.series
            name = f"\0held {one.uid}" if one.uid in marked else one.patient
            for index, _ in part.slices:
                items.append(Item(one, index, _UNIT, Range(1.0, ""), 0.0, -1))
                blocks.append((name, block))
        parts = kind.part(items, blocks, job.recipe.run)
    except UserError:
        return None
    return len(parts.train), len(parts.validation)


_UNIT = Scale(0.0, 1.0, (0.0, 1.0))
