"""All corruptions of a recipe, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aegui.data.corruption.patch import Patch, corrupt, draw, learner
from aegui.data.item import Item
from aegui.imaging import Pixels
from aegui.recipes.corruptions import Corruption


class Corruptor:
    """Puts corruptions on clean patches. Drawn from `rng` alone: the same state gives the same patch."""

    def __init__(self, corruptions: Sequence[Corruption], cache: Path) -> None:
        self.corruptions = corruptions
        self._learners = [learner(part, cache / f"corruption{number}.bin") for number, part in enumerate(corruptions)]

    def learn(self, image: Pixels, item: Item) -> None:
        """Look at a whole clean slice (channels, H, W), normalised; once for every slice, in order."""
        for one in self._learners:
            if one is not None:
                one.learn(image, item)

    def apply(
        self, image: Pixels, item: Item, member: int, place: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, float | None]:
        """(corrupted, SD of its noise, or None: to be estimated). NaN padding stays.

        image: (channels, H, W), normalised, cut from slice number `member` at `place` (row, column).
        """
        level: float | None = item.level
        for part, learned in zip(self.corruptions, self._learners, strict=True):
            # `share` stands in every kind, last: in the base it would come first in forms and files.
            has, drawn = rng.random() < part.share, draw(part, rng)  # type: ignore[attr-defined]
            if has:
                image, sd = corrupt(part, image, Patch(item, member, place, learned), drawn)
                level = None if level is None or sd is None else float(np.hypot(level, sd))
        return image, level
