"""The recipe: everything that decides how a model is adapted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import model_validator

from aegui import paths
from aegui.errors import UserError
from aegui.recipes.losses import Contrastive, CrossEntropy, Loss, LossTerm, MultiScaleSSIM
from aegui.recipes.migrate import VERSION, migrated
from aegui.recipes.optimisers import (
    LBFGS,
    Adam,
    Adaptation,
    Averaging,
    FullWeights,
    LoRA,
    NoAveraging,
    Optimiser,
    ParameterGroup,
)
from aegui.recipes.run import Augmentation, Regularisation, Run, Stopping
from aegui.recipes.schedules import ConstantSchedule, Schedule
from aegui.recipes.targets import Neighbor2Neighbor, SyntheticTargets, Target, Targets
from aegui.spec import Spec, knob, refuse

ORDER = (
    *(
        "denoise",
        "discriminative",
        "layerwise",
        "robust",
        "structure",
        "no-clean-scans",
        "repeats",
        "low-dose-ct",
        "mr",
    ),
    *("x-ray", "ultrasound", "few-scans", "continue", "compressed", "sharper-edges", "class-aware"),
)


class Recipe(Spec):
    """A fine-tuning recipe, as in resources/recipes/*.yaml."""

    schema_version: int = knob(
        VERSION, title="Schema", help="Version of this file's form", ge=VERSION, le=VERSION, advanced=True
    )
    id: str = knob(title="Id", help="Short name", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = knob(title="Title", help="Name on the chip")
    summary: str = knob("", title="Summary", help="The formula, in a few words")
    use: str = knob("", title="When to use", help="One line for those who choose among recipes", advanced=True)
    targets: Targets = knob(SyntheticTargets(), title="What to learn", help="Where the target comes from")
    losses: tuple[Loss, ...] = knob(title="Loss terms", help="Their weighted sum is made small", min_length=1)
    groups: tuple[ParameterGroup, ...] = knob(
        (ParameterGroup(),),
        title="Parameter groups",
        help="Learning rates by part of the model",
        min_length=1,
        ordered=True,
    )
    adaptation: Adaptation = knob(FullWeights(), title="What changes", help="The weights, or small additions to them")
    optimiser: Optimiser = knob(Adam(), title="Optimiser", help="How gradients become steps")
    schedule: Schedule = knob(ConstantSchedule(), title="Schedule", help="How the learning rate changes")
    regularisation: Regularisation = knob(
        Regularisation(), title="Regularisation", help="Against learning the training slices by heart"
    )
    averaging: Averaging = knob(NoAveraging(), title="Weight averaging", help="Averaged weights are often better")
    augmentation: Augmentation = knob(Augmentation(), title="Augment", help="Random changes of the patches")
    stopping: Stopping = knob(Stopping(), title="Stopping", help="Which epoch is best, and when to stop")
    run: Run = knob(Run(), title="Run", help="Length, batch and seed")

    @model_validator(mode="before")
    @classmethod
    def _of_today(cls, values: Any) -> Any:
        return migrated(values) if isinstance(values, dict) else values

    def model_post_init(self, context: object) -> None:
        """Rules that concern several fields."""
        refuse(*(found for rule in RULES for found in rule(self)))

    @property
    def needs_labels(self) -> bool:
        """Whether class labels are needed."""
        return any(isinstance(term, CrossEntropy | Contrastive) for term in self.losses)

    @property
    def classifies(self) -> bool:
        """Whether a classification head is trained."""
        return any(isinstance(term, CrossEntropy) for term in self.losses)


def title(part: LossTerm | Target) -> str:
    """The name for people of a loss term, or of a kind of target."""
    return (type(part).__doc__ or "").partition(":")[0]


Found = Iterator[tuple[str, tuple[str | int, ...]]]  # words, and the address of the field to change


def _loss(index: int, recipe: Recipe, *field: str) -> tuple[str | int, ...]:
    return ("losses", index, recipe.losses[index].kind, *field)


def _terms(recipe: Recipe) -> Found:
    names = [term.name for term in recipe.losses]
    for index, name in enumerate(names):
        if name in names[:index]:
            another = type(recipe.losses[index]).another(recipe.losses)
            window = getattr(another, "window", "")
            hint = f"Try the window “{window}”, or remove one." if window else "Remove one."
            yield (
                f"“{title(recipe.losses[index])}” is listed twice. {hint}",
                _loss(index, recipe, "window" if window else "weight"),
            )
    if not any(term.weight > 0 for term in recipe.losses):
        yield "Every loss term has weight 0; at least one must count. Try 1.", _loss(0, recipe, "weight")


def _groups(recipe: Recipe) -> Found:
    matches = [group.match for group in recipe.groups]
    for index, match in enumerate(matches):
        if match in matches[:index]:
            other = ParameterGroup.another(recipe.groups).match
            yield f"The parameter group “{match}” is listed twice. Try “{other}”.", ("groups", index, "match")
    if not any(group.train for group in recipe.groups) and not isinstance(recipe.adaptation, LoRA):
        yield "No parameter group is trained. Switch one on.", ("groups", 0, "train")


def _blind_spot(recipe: Recipe) -> Found:
    if not recipe.targets.blind:
        return
    for index, term in enumerate(recipe.losses):
        if term.compares and not term.pointwise and term.weight > 0:
            yield (
                f"“{title(term)}” compares whole pictures, but a blind-spot recipe learns from single hidden pixels. "
                "Use a mean squared, mean absolute, logarithmic, Huber or Charbonnier error, or another target.",
                _loss(index, recipe, "weight"),
            )
    if recipe.regularisation.mixup:
        yield (
            "Mixup blends the pixels that a blind-spot recipe hides. Set it to 0, or use another target.",
            ("regularisation", "mixup"),
        )


SMALLEST_HALVED = 32  # px; networks cannot be trained on less than 16


def _patch(recipe: Recipe) -> Found:
    side = recipe.run.patch_size
    if side is None:
        return
    half = isinstance(recipe.targets, Neighbor2Neighbor)
    if half and side % 2:
        yield f"Neighbouring pixels need a patch with an even side. Try {side + 1}.", ("run", "patch_size")
    if half and side < SMALLEST_HALVED:
        words = f"Neighbouring pixels halve the patch, so it needs {SMALLEST_HALVED} px at least."
        yield words, ("run", "patch_size")
    for term in recipe.losses:
        if isinstance(term, MultiScaleSSIM) and (side // 2 if half else side) < term.smallest:
            needed = term.smallest * (2 if half else 1)
            yield (
                f"MS-SSIM with {term.scales} scales needs patches of at least {needed} px. "
                f"Try {needed + needed % 2}, or fewer scales.",
                ("run", "patch_size"),
            )


def _lbfgs(recipe: Recipe) -> Found:
    if not isinstance(recipe.optimiser, LBFGS):
        return
    if recipe.run.accumulate > 1:
        yield (
            "L-BFGS evaluates each batch several times, so batches cannot be accumulated. Try 1.",
            ("run", "accumulate"),
        )
    for index, term in enumerate(recipe.losses):
        if term.name == "adversarial":
            yield (
                "L-BFGS needs an objective that stays the same; an adversarial term changes at every step. "
                "Remove it, or use another optimiser.",
                _loss(index, recipe, "weight"),
            )


def _stopping(recipe: Recipe) -> Found:
    metric = recipe.stopping.metric
    if metric in ("accuracy", "auc") and not recipe.classifies:
        words = f"“Best by” is {'the AUC' if metric == 'auc' else 'the accuracy'}, but no term trains a classification."
        yield f"{words} Try Auto, or add a classification term.", ("stopping", "metric")
    open_ended = recipe.run.steps is not None or recipe.run.minutes is not None
    if recipe.stopping.min_epochs > recipe.run.epochs and not open_ended:
        yield f"“Not before” is later than the last epoch. Try {recipe.run.epochs}.", ("stopping", "min_epochs")


RULES = (_terms, _groups, _blind_spot, _patch, _lbfgs, _stopping)


def shipped() -> list[Recipe]:
    """The presets that forms and `aegui recipes` list, the founding three first.

    Recipes that made the shipped models (their id starts with “pretrain-”) are left out; they load by id.
    """
    found = [Recipe.load_known(file) for file in sorted(paths.resource("recipes").glob("*.yaml"))]
    presets = [recipe for recipe in found if not recipe.id.startswith("pretrain-")]
    return sorted(presets, key=lambda r: (ORDER.index(r.id) if r.id in ORDER else len(ORDER), r.id))


def load(ref: str | Path) -> Recipe:
    """A recipe by id or file."""
    path = Path(ref)
    if path.suffix in (".yaml", ".yml") or paths.exists(path):
        return Recipe.load(path)
    file = paths.resource("recipes", f"{ref}.yaml")
    if paths.exists(file):
        return Recipe.load(file)
    known = ", ".join(recipe.id for recipe in shipped())
    raise UserError(f"There is no recipe “{ref}”.", f"Shipped recipes: {known}. Or name a .yaml file.")


def differences(recipe: Recipe, preset: Recipe) -> list[str]:
    """Dotted names of the values that differ."""

    def flat(value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list):
            keys = [str(v.get("kind") or v.get("match") or i) for i, v in enumerate(value)]
            keys = [key if keys.count(key) == 1 else f"{key} {keys[:i].count(key) + 1}" for i, key in enumerate(keys)]
            items = dict(zip(keys, value, strict=True)).items()
        else:
            return {prefix: value}
        return {k: v for key, item in items for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}

    ours, theirs = flat(recipe.model_dump(mode="json"), ""), flat(preset.model_dump(mode="json"), "")
    changed = [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]
    # Another kind has other values of its own, and so has an item that only one of them has: that is one change.
    marks = [name for name in changed if name.endswith((".kind", ".match"))]
    other = {mark.rpartition(".")[0]: mark for mark in marks}
    return [name for name in changed if not any(name.startswith(f"{o}.") and name != m for o, m in other.items())]
