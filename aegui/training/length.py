"""How many steps a run has, and how they make epochs."""

from __future__ import annotations

from dataclasses import dataclass

from aegui.recipes import Recipe


@dataclass(frozen=True)
class Length:
    """per_epoch: steps of an epoch; the last one may have fewer. total: steps of the run."""

    per_epoch: int
    total: int

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return -(-self.total // self.per_epoch)

    def steps(self, epoch: int) -> int:
        """Of an epoch, counted from 1."""
        return min(self.per_epoch, self.total - (epoch - 1) * self.per_epoch)


def length_of(recipe: Recipe, slices: int) -> Length:
    """The length of a run over that many training slices. A time limit counts once it was turned into steps."""
    run = recipe.run
    at_once = run.batch * run.accumulate
    per_epoch = run.steps_per_epoch or max(1, -(-slices // at_once))
    return Length(per_epoch, run.total(per_epoch))
