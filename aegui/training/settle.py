"""What a recipe leaves to the machine: the batch that memory allows, and the steps that fit a time."""

from __future__ import annotations

from collections.abc import Generator

from aegui.data.draw import validation_members
from aegui.events import Event, Noted, Progress
from aegui.recipes import Recipe
from aegui.training.length import length_of
from aegui.training.probe import largest_batch, rehearsal, timed
from aegui.training.trainer import Trainer


def steps_within(seconds: float, step: float, validation: float, per_epoch: int) -> int:
    """How many steps fit into a time, with the validation after each epoch; at least one."""
    epoch = per_epoch * step + validation
    whole = int(seconds // epoch)
    rest = (seconds - whole * epoch - validation) / step
    return max(1, whole * per_epoch + max(0, int(rest)))


def settle(trainer: Trainer) -> Generator[Event, None, Recipe]:
    """The recipe with these values filled in; as it is where it leaves nothing open."""
    recipe = trainer.recipe
    if recipe.run.batch_size is None:
        yield Progress(0, None, "Finding the batch that fits")
        batch = largest_batch(rehearsal(trainer))
        recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"batch_size": batch})})
        yield Noted(f"Batch of {batch} patches, as memory allows", "layers")
    if recipe.run.minutes is not None:
        copy = rehearsal(trainer, recipe)
        timing = yield from timed(copy)
        per_epoch = length_of(recipe, len(trainer.data.split.train)).per_epoch
        validation = timing.validation(len(validation_members(trainer.data, recipe)))
        steps = steps_within(recipe.run.minutes * 60, timing.step, validation, per_epoch)
        steps = min(steps, recipe.run.steps or steps)
        yield Noted(f"{steps} steps fit into {recipe.run.minutes:g} minutes, {timing.step:.3g} s each", "timer")
        recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"steps": steps, "minutes": None})})
    return recipe
