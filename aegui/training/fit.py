"""Fine-tuning as a generator of events, resumable to the bit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from aegui.data.dataset import TrainingData
from aegui.data.looks import seen
from aegui.events import Done, Event, Noted, Progress, Started, Stop, Warned
from aegui.models.slicenet import parameters_by_part
from aegui.models.zoo import Model
from aegui.recipes import Recipe
from aegui.training import memory
from aegui.training.ending import TrainResult, conclude, started
from aegui.training.loop import baselines, loop
from aegui.training.runfolder import RunFolder
from aegui.training.settle import settle
from aegui.training.step import DivergenceError
from aegui.training.trainer import Trainer, checkpoint
from aegui.training.validation import doubt

__all__ = ["TrainResult", "fit"]


def fit(
    recipe: Recipe,
    model: Model,
    data: TrainingData,
    run: RunFolder,
    device: torch.device,
    resume: bool = False,
    start: str = "pretrained",
    preview: tuple[str, int] | None = None,
) -> Iterator[Event]:
    """Adapt `model` to `data`. start: "pretrained" or "random" (then there is no untouched model to beat).

    preview: (series uid, slice) to show after every epoch, with some others. Yields Started, Baselines, then Step,
    Epoch, Preview, Features, Noted; ends in Done(TrainResult). With a pretrained model the untouched weights count as
    epoch 0: the result is never worse on validation than the start.
    """
    trainer: Trainer | None = None
    memory.keep()
    try:
        if resume:
            state, settled = checkpoint(run, recipe, model, data)
            trainer = Trainer(settled, model, data, run, device, start, state["asked"])
            trainer.resume(state)
        else:
            trainer = Trainer(recipe, model, data, run, device, start)
            settled = yield from settle(trainer)
            if settled != recipe:
                fresh = replace(model, net=trainer.pristine)
                trainer.release()
                trainer = Trainer(settled, fresh, data, run, device, start, recipe.to_yaml())
            run.forget_best()
        run.write_text(run.recipe, settled.to_yaml())
        run.summarise(started(trainer))
        for warning in (*data.warnings, trainer.selection.warning):
            if warning:
                yield Warned(warning)
        yield _started(trainer)
        stopped, ended = False, ""
        trainer.open_tables()
        try:
            yield from baselines(trainer)
            trainer.saved = time.monotonic()
            ended = yield from loop(trainer, preview)
        except Stop:
            stopped = True
            trainer.save()
            yield Noted(f"Stopped in epoch {trainer.at.epoch + 1}; the best is kept", "square")
        except DivergenceError as error:
            if not trainer.at.best.epoch:
                raise
            ended = f"Ended in epoch {trainer.at.epoch + 1}: {error.message[0].lower()}{error.message[1:]}"
            yield Warned(f"{ended} The best epoch before is kept.", error.hint)
        yield Progress(0, 1, "Writing the model")
        try:
            known = yield from seen(data, settled)
        except Stop:  # once more, while it is ending
            known = {}
        result = conclude(trainer, stopped, ended, known)
        if words := doubt(data, settled, result.scores["psnr"]):
            yield Warned(words, "Use repeats or clean scans, or added noise.")
        if result.best_epoch == 0 and start == "pretrained" and not trainer.new_head:
            yield Warned(
                "No epoch beat the model as it was, so it was kept.", "Try lower learning rates, or more scans."
            )
    finally:
        if trainer is not None:
            trainer.release()
        data.close()
        run.clear_cache()
        memory.give_back()
    yield Done(result)


def _started(trainer: Trainer) -> Started:
    recipe = trainer.recipe
    return Started(
        trainer.length.epochs,
        trainer.length.per_epoch,
        trainer.at.epoch,
        trainer.at.step,
        parameters_by_part(trainer.net),
        recipe.regularisation.gradient_clip,
        recipe.run.seed,
        trainer.selection.words,
    )
