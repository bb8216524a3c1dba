"""The recipe: everything that decides how a model is adapted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aegui import paths
from aegui.errors import UserError
from aegui.recipes.parts import (
    Adam,
    Augmentation,
    ConstantSchedule,
    CrossEntropy,
    Loss,
    Optimiser,
    ParameterGroup,
    Run,
    Schedule,
    SyntheticNoise,
    Targets,
)
from aegui.spec import Spec, knob

FIRST = ("denoise", "discriminative", "layerwise")


class Recipe(Spec):
    """A fine-tuning recipe, as in resources/recipes/*.yaml."""

    schema_version: int = knob(1, title="Schema", help="Version of this file's form", ge=1, le=1, advanced=True)
    id: str = knob(title="Id", help="Short name", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = knob(title="Title", help="Name on the chip")
    summary: str = knob("", title="Summary", help="The formula, in a few words")
    targets: Targets = knob(SyntheticNoise(), title="What to learn", help="Where the clean target comes from")
    losses: tuple[Loss, ...] = knob(title="Loss terms", help="Their weighted sum is made small", min_length=1)
    groups: tuple[ParameterGroup, ...] = knob(
        (ParameterGroup(),), title="Parameter groups", help="Learning rates by part of the model", min_length=1
    )
    optimiser: Optimiser = knob(Adam(), title="Optimiser", help="How gradients become steps")
    schedule: Schedule = knob(ConstantSchedule(), title="Schedule", help="How the learning rate changes")
    gradient_clip: float | None = knob(
        None, title="Clip gradients", help="Largest gradient norm; empty: no clipping", unit="norm", gt=0, le=1e6
    )
    augmentation: Augmentation = knob(Augmentation(), title="Augment", help="Random changes of the patches")
    run: Run = knob(Run(), title="Run", help="Length, batch and seed")

    def model_post_init(self, context: object) -> None:
        """Checks that concern several fields."""
        kinds = [term.kind for term in self.losses]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"The loss term “{kind}” is listed twice.")
        if not any(term.weight > 0 for term in self.losses):
            raise ValueError("Every loss term has weight 0; at least one must count.")
        matches = [group.match for group in self.groups]
        for match in matches:
            if matches.count(match) > 1:
                raise ValueError(f"The parameter group “{match}” is listed twice.")
        if not any(group.train for group in self.groups):
            raise ValueError("No parameter group is trained.")

    @property
    def needs_labels(self) -> bool:
        """Whether class labels are needed."""
        return any(isinstance(term, CrossEntropy) for term in self.losses)


def shipped() -> list[Recipe]:
    """The presets that forms and `aegui recipes` list, the founding three first.

    Recipes that made the shipped models (their id starts with “pretrain-”) are left out; they load by id.
    """
    found = [Recipe.load_known(file) for file in sorted(paths.resource("recipes").glob("*.yaml"))]
    presets = [recipe for recipe in found if not recipe.id.startswith("pretrain-")]
    return sorted(presets, key=lambda r: (FIRST.index(r.id) if r.id in FIRST else len(FIRST), r.id))


def load(ref: str | Path) -> Recipe:
    """A recipe by id or file."""
    path = Path(ref)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return Recipe.load(path)
    file = paths.resource("recipes", f"{ref}.yaml")
    if file.exists():
        return Recipe.load(file)
    known = ", ".join(recipe.id for recipe in shipped())
    raise UserError(f"There is no recipe “{ref}”.", f"Shipped recipes: {known}. Or name a .yaml file.")


def differences(recipe: Recipe, preset: Recipe) -> list[str]:
    """Dotted names of the values that differ."""

    def flat(value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, dict):
            items = value.items()
        elif isinstance(value, list):
            items = {str(v.get("kind") or v.get("match") or i): v for i, v in enumerate(value)}.items()
        else:
            return {prefix: value}
        return {k: v for key, item in items for k, v in flat(item, f"{prefix}.{key}" if prefix else key).items()}

    ours, theirs = flat(recipe.model_dump(mode="json"), ""), flat(preset.model_dump(mode="json"), "")
    changed = [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]
    # Another kind has other values of its own: that is one change.
    other = [name.removesuffix(".kind") for name in changed if name.endswith(".kind")]
    return [name for name in changed if not any(name.startswith(f"{one}.") and name != f"{one}.kind" for one in other)]
