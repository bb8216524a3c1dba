"""All corruptions of a recipe, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aegui.data.corruption.dose import DoseFields
from aegui.data.corruption.patch import Patch, corrupt, draw
from aegui.data.item import Item
from aegui.imaging import Pixels
from aegui.recipes.corruptions import Corruption, LowDoseCT


class Corruptor:
    """Puts corruptions on clean patches. Drawn from `rng` alone: the same state gives the same patch."""

    def __init__(self, corruptions: Sequence[Corruption], cache: Path) -> None:
        self.corruptions = corruptions
        self._fields = {
            number: DoseFields(part, cache / f"dose{number}.bin")
            for number, part in enumerate(corruptions)
            if isinstance(part, LowDoseCT)
        }

    def learn(self, image: Pixels, item: Item) -> None:
        """Look at a whole clean slice (channels, H, W), normalised; once for every slice, in order."""
        for fields in self._fields.values():
            fields.learn(image, item)

    def apply(
        self, image: Pixels, item: Item, member: int, place: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, float | None]:
        """(corrupted, SD of its noise, or None: to be estimated). NaN padding stays.

        image: (channels, H, W), normalised, cut from slice number `member` at `place` (row, column).
        """
        level: float | None = item.level
        for number, part in enumerate(self.corruptions):
            has, drawn = rng.random() < part.share, draw(part, rng)  # type: ignore[attr-defined]
            if has:
                image, sd = corrupt(part, image, Patch(item, member, place, self._fields.get(number)), drawn)
                level = None if level is None or sd is None else float(np.hypot(level, sd))
        return image, level
