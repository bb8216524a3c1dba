"""Training: what to train, and the job."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aegui.data.pairs import Pair, require_pairs
from aegui.errors import UserError
from aegui.events import Events, Progress, Warned
from aegui.imaging import Series
from aegui.models.library import is_file
from aegui.recipes import Recipe
from aegui.recipes.targets import Noise2Noise, PairedTargets

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class TrainJob:
    """What to train. pairs: confirmed by the user; empty: matched by geometry. labels: uid or path → class.

    holdout: series uids never trained on. run: its folder. preview: validation slice (series uid, number) to show.
    """

    model: str
    recipe: Recipe
    noisy: tuple[Series, ...]
    run: Path
    clean: tuple[Series, ...] = ()
    pairs: tuple[Pair, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    holdout: tuple[str, ...] = ()
    init: Literal["pretrained", "random"] = "pretrained"
    device: str = "auto"
    resume: bool = False
    preview: tuple[str, int] | None = None


def learning_from(recipe: Recipe, pairs: Sequence[Pair]) -> Recipe:
    """The recipe with targets that use the pairs; one that does already stays as it is."""
    if not pairs or recipe.targets.pairs:
        return recipe
    repeats = all(pair.kind == "repeat" for pair in pairs)
    return recipe.model_copy(update={"targets": Noise2Noise() if repeats else PairedTargets()})


def train(job: TrainJob) -> Events:
    """Adapt a model. Done(TrainResult)."""
    from aegui.data.dataset import prepare
    from aegui.models.zoo import load_model
    from aegui.training.fit import fit
    from aegui.training.runfolder import RunFolder
    from aegui.training.step import choose_device

    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_model(job.model, job.init, job.recipe.run.seed)
    trained = model.card.weights is not None or is_file(job.model)
    started = "pretrained" if job.init == "pretrained" and trained else "random"
    pairs: Sequence[Pair] = job.pairs
    if isinstance(job.recipe.targets, PairedTargets) and not pairs:
        pairs = require_pairs([s for s in job.noisy if s.uid not in job.holdout], job.clean)
        unsure = next((pair for pair in pairs if not pair.sure), None)
        if unsure is not None:
            raise UserError(
                f"“{unsure.noisy.description}” and “{unsure.clean.description}” match by {unsure.method} only "
                f"({unsure.why}).",
                "Confirm the pairs if they show the same slices.",
            )
    run = RunFolder(job.run)
    going_on = run.open(job.resume)
    if job.resume and not going_on:
        yield Warned(f"{job.run} holds no run to go on with.", "A new one starts.")
    with _writing(job.run):
        try:
            data = yield from prepare(
                job.recipe, model.card, model.net.channels, job.noisy, pairs, job.labels, job.holdout, run.cache
            )
        except BaseException:  # cancelled, too: the slices that were read may be gigabytes
            run.clear_cache()
            raise
        yield from fit(job.recipe, model, data, run, device, going_on, started, job.preview)


@contextmanager
def _writing(run: Path) -> Iterator[None]:
    """A disk that takes no more, in words."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise UserError(
            f"The run folder {run} cannot be written: {error.strerror}.",
            "Make room. A run that has a checkpoint can then be resumed.",
        ) from error
