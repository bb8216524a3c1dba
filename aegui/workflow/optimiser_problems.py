"""What in a recipe's groups, adapters and regularisation does not fit the model, from the names in its file alone."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from aegui.errors import UserError
from aegui.models.names import Shapes, has_batch_norm, norms, parameters, part_of, shapes_of
from aegui.recipes import Recipe
from aegui.recipes.optimisers import LBFGS, LoRA, ParameterGroup, taker
from aegui.workflow.finding import Findings

if TYPE_CHECKING:
    from aegui.workflow.adapt import TrainJob

_HEAD = ("head.2.weight", "head.2.bias")  # of a head that the run will add


def optimiser_problems(job: TrainJob) -> Findings:
    """Everything. What only the network itself could tell is left to the run."""
    try:
        shapes = shapes_of(job.model)
    except (UserError, OSError):
        return  # the model itself is named elsewhere
    yield from _rules(job.recipe)
    if shapes is None:
        return
    for look in _LOOKS:
        yield from look(job.recipe, shapes)


def _names(recipe: Recipe, shapes: Shapes) -> list[str]:
    names = parameters(shapes)
    if recipe.classifies and not any(part_of(name) == "head" for name in names):
        names += _HEAD
    return names


def _takers(recipe: Recipe, shapes: Shapes) -> dict[str, ParameterGroup | None]:
    normal = norms(shapes)
    return {
        name: taker(recipe.groups, name, part_of(name), name.rpartition(".")[0] in normal)
        for name in _names(recipe, shapes)
    }


def _groups(recipe: Recipe, shapes: Shapes) -> Findings:
    takers = _takers(recipe, shapes)
    taken = {group.match for group in takers.values() if group is not None}
    for index, group in enumerate(recipe.groups):
        where = ("groups", index, "match")
        if group.pattern and not any(group.takes(name, "", False) for name in takers):
            message, hint = _nothing(group.match, list(takers))
            yield message, hint, where, True
        elif group.match in taken or group.match == "rest":
            continue
        elif group.match == "head" and not any(part_of(name) == "head" for name in takers):
            yield (
                "There is no head: no loss term trains a classification.",
                "Add the cross-entropy, or take this group out.",
                where,
                False,
            )
        elif group.match == "norm" and not norms(shapes):
            yield "This model has no normalisation layers with weights.", "Take this group out.", where, False
        else:
            yield (
                f"“{group.match}” is left with nothing: groups above it take all that it matches.",
                "Move it up, or take it out.",
                where,
                False,
            )
    if not any(group is not None and group.train for group in takers.values()) and not _lora(recipe):
        yield (
            "Nothing of this model is trained: no group that trains matches any of its parameters.",
            "Add the group “rest”, or switch “Train” on.",
            ("groups",),
            True,
        )


def _nothing(match: str, names: list[str]) -> tuple[str, str]:
    some = dict.fromkeys((names[0], names[len(names) // 2], names[-1]))
    return (
        f"“{match}” matches no parameter of this model.",
        f"Its parameters have names such as {', '.join(some)}; * stands for any text.",
    )


def _lora(recipe: Recipe) -> LoRA | None:
    return recipe.adaptation if isinstance(recipe.adaptation, LoRA) else None


def _adapters(recipe: Recipe, shapes: Shapes) -> Findings:
    part = _lora(recipe)
    if part is None:
        return
    layers = {name.removesuffix(".weight"): s for name, s in shapes.items() if name.endswith(".weight") and len(s) == 4}
    fitting = [
        shape for name, shape in layers.items() if fnmatchcase(name, part.match) or fnmatchcase(name, f"{part.match}.*")
    ]
    if not layers:
        yield "This model has no convolutions to put adapters on.", "Choose “All weights”.", ("adaptation",), True
    elif not fitting:
        message, hint = _nothing(part.match, list(layers))
        yield message.replace("parameter", "convolution"), hint, ("adaptation", "lora", "match"), True
    else:
        # As many numbers as the weight itself has, and nothing is low-rank any more.
        full = [(a * h) * (b * w) / (a * h + b * w) for a, b, h, w in fitting]
        if part.rank >= max(full):
            yield (
                f"Adapters of rank {part.rank} are as large as the layers themselves.",
                f"Try {max(1, min(8, int(max(full) / 4)))}.",
                ("adaptation", "lora", "rank"),
                False,
            )
    for index, group in enumerate(recipe.groups):
        heads = group.match in ("head", "rest") and recipe.classifies
        if not heads and not _plain(group):
            yield (
                f"“{group.match}” has no effect: only the adapters are trained"
                f"{', and the head' if recipe.classifies else ''}.",
                "Let all weights change, or take this group out.",
                ("groups", index),
                False,
            )
        elif group.l2_sp:
            yield (
                "Adapters leave the weights where they are; there is nothing to pull to the start.",
                "Try 0.",
                ("groups", index, "l2_sp"),
                False,
            )


def _plain(group: ParameterGroup) -> bool:
    """Whether it is the one group that every recipe has."""
    return group.match == "rest" and group == ParameterGroup(learning_rate=group.learning_rate)


def _batch_norm(recipe: Recipe, shapes: Shapes) -> Findings:
    if recipe.regularisation.batch_norm != "train" and not has_batch_norm(shapes):
        yield (
            "This model has no batch normalisation; the choice has no effect.",
            "Leave it at “Train”.",
            ("regularisation", "batch_norm"),
            False,
        )


def _rules(recipe: Recipe) -> Findings:
    trained = [group for group in recipe.groups if group.train]
    later = [group for group in trained if group.unfreeze_epoch > 1]
    if trained and len(later) == len(trained) and not _lora(recipe):
        first = min(group.unfreeze_epoch for group in later)
        index = recipe.groups.index(later[0])
        yield (
            f"Nothing is trained before epoch {first}.",
            "Let at least one group train from the start.",
            ("groups", index, "unfreeze_epoch"),
            True,
        )
    if not isinstance(recipe.optimiser, LBFGS):
        return
    rates = {group.rate for group in trained} if not _lora(recipe) else set()
    special = any(group.layer_decay < 1 or group.l2_sp for group in trained)
    if len(rates) > 1 or special or (later and not _lora(recipe)):
        yield (
            "L-BFGS trains all weights together, at one learning rate from one epoch on.",
            "Give all groups the same rate without layer decay, pull to the start and unfreezing, or try Adam.",
            ("optimiser",),
            True,
        )
    if recipe.regularisation.gradient_clip is not None:
        yield (
            "L-BFGS needs true gradients; they are not clipped.",
            "Leave it empty.",
            ("regularisation", "gradient_clip"),
            False,
        )


_LOOKS: tuple[Callable[[Recipe, Shapes], Findings], ...] = (_groups, _adapters, _batch_norm)
