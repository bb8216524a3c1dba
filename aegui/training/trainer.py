"""A recipe's parts as torch objects, and how they are stored and taken up again."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import yaml

from aegui.data.dataset import TrainingData
from aegui.data.draw import patch_size, validation_members
from aegui.data.targets import too_small
from aegui.errors import UserError
from aegui.models.seeded import seeded
from aegui.models.slicenet import fingerprint, on
from aegui.models.zoo import Model
from aegui.recipes import Recipe
from aegui.training import averaging, optimisation
from aegui.training.length import length_of
from aegui.training.losses import Context
from aegui.training.objective import Objective
from aegui.training.regularise import regularise
from aegui.training.runfolder import RunFolder, Table
from aegui.training.selection import Selection
from aegui.training.standing import Standing


class AnotherRunError(UserError):
    """The run folder holds a run that was begun with something else."""


class Trainer:
    """Everything a run works with. start: "pretrained" or "random". asked: the recipe before `settle`, as YAML."""

    def __init__(
        self,
        recipe: Recipe,
        model: Model,
        data: TrainingData,
        run: RunFolder,
        device: torch.device,
        start: str,
        asked: str = "",
    ) -> None:
        self.recipe, self.model, self.data, self.run, self.device = recipe, model, data, run, device
        self.start, self.asked = start, asked or recipe.to_yaml()
        self.base = fingerprint(model.net)
        self.pristine = deepcopy(model.net)
        self.net = on(device, model.net)
        if not recipe.run.channels_last:
            self.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.new_head = recipe.classifies and self._fit_head()
        self.length = length_of(recipe, len(data.split.train))
        counts = np.bincount(
            [item.label for item in self._items(data.split.train) if item.label >= 0], minlength=len(data.classes)
        )
        self.objective = Objective(
            recipe.losses,
            Context(deepcopy(self.net), device, tuple(int(n) for n in counts)),
            self.length.total / self.length.per_epoch,
        )
        self.size = patch_size(data, recipe)
        self._require_size()
        self.optimiser, self.schedule = optimisation.build(
            recipe, self.net, self.length.per_epoch, steps=self.length.total, fresh_head=self.new_head
        )
        self.regulariser = regularise(self.net, recipe.regularisation, recipe.run.seed)
        self.average = averaging.build(recipe.averaging, self.net)
        known = {item.label for item in self._items(validation_members(data, recipe))} - {-1}
        self.selection = Selection(recipe, len(known), data.targets.score)
        self.at = Standing()
        self.saved = 0.0
        self.metrics: Table | None = None
        self.curve: Table | None = None

    def fitting_batch(self) -> int:
        """The largest batch for the memory that is free now."""
        from aegui.training.probe import largest_batch, rehearsal

        return largest_batch(rehearsal(self))

    def _require_size(self) -> None:
        """UserError where a patch or a validation slice is too small for the network."""
        whole = (self.data.noisy[member].shape[1:] for member in validation_members(self.data, self.recipe))
        for rows, columns in (self.size, *whole):
            if words := too_small(self.model.card, self.net.multiple, self.recipe.targets, rows, columns):
                raise UserError(*words)

    def _items(self, members: Any) -> list[Any]:
        return [self.data.items[member] for member in members]

    def _fit_head(self) -> bool:
        """Whether a fresh head was needed."""
        if self.net.head is not None and self.model.card.classes == self.data.classes:
            return False
        with seeded(self.recipe.run.seed):
            self.net.net.attach_head(len(self.data.classes))  # type: ignore[operator]
        on(self.device, self.net)
        return True

    # ------------------------------------------------------------ stored and taken up

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        try:
            self.net.load_state_dict(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"The run in {self.run.folder.name} was started with another model.", "Resume it with that model."
            ) from error
        self.schedule.load_state_dict(state["schedule"])
        self.average.load_state_dict(state["average"])
        self.objective.load_state_dict(state["objective"])
        self.at = Standing.of(state["standing"])

    def save(self) -> None:
        """Write a checkpoint."""
        for table in (self.metrics, self.curve):
            if table is not None:
                table.flush()
        self.run.save_state(
            {
                "weights": self.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "average": self.average.state_dict(),
                "objective": self.objective.state_dict(),
                "standing": self.at.plain(),
                "asked": self.asked,
                "recipe": self.recipe.to_yaml(),
                "fingerprint": self.data.fingerprint,
                "base": self.base,
            }
        )
        self.saved = time.monotonic()

    def open_tables(self) -> None:
        """metrics.csv and steps.csv, cut back to where the run stands."""
        groups = [f"lr_{name}" for name in optimisation.names(self.optimiser)]
        terms = self.objective.names
        self.metrics = Table(
            self.run.metrics,
            [
                *("epoch", "train_loss", *(f"train_{t}" for t in terms), "val_loss", *(f"val_{t}" for t in terms)),
                *("psnr", "ssim", "accuracy", "auc", *groups, "grad_norm", "best", "seconds"),
            ],
            keep=self.at.epoch,
        )
        self.curve = Table(
            self.run.steps,
            ["epoch", "step", "loss", *terms, *groups, "grad_norm"],
            keep=self.at.epoch * self.length.per_epoch + self.at.step,
        )

    def release(self) -> None:
        """Close files, take hooks off."""
        self.regulariser.remove()
        for table in (self.metrics, self.curve):
            if table is not None:
                table.close()


def checkpoint(run: RunFolder, recipe: Recipe, model: Model, data: TrainingData) -> tuple[dict[str, Any], Recipe]:
    """(state to resume from, recipe as it was settled). UserError if the run was another one."""
    state = run.load_state()
    if "asked" not in state:
        raise AnotherRunError(
            f"The run in {run.folder.name} was begun by an earlier version.", "Start again in another run folder."
        )
    # Read, not compared as text: versions that know more fields write them all.
    asked, settled = (Recipe.parse(yaml.safe_load(state[name]), run.recipe.name) for name in ("asked", "recipe"))
    if recipe not in (asked, settled):
        raise _another(run, "another recipe")
    if state["fingerprint"] != data.fingerprint:
        raise _another(run, "other scans, labels or hold-out")
    if state.get("base") != fingerprint(model.net):
        raise _another(run, "another model, or other first weights")
    return state, settled


def _another(run: RunFolder, words: str) -> AnotherRunError:
    return AnotherRunError(
        f"The run in {run.folder.name} was started with {words}.",
        "Resume it with what it was started with, or choose another run folder.",
    )
