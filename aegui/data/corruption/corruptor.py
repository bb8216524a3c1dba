"""All corruptions of a recipe, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from aegui.data.corruption.patch import Drawn, Patch, corrupt, draw, fits, learner
from aegui.data.item import Item
from aegui.imaging import Pixels, Series
from aegui.recipes.corruptions import Corruption


class Corruptor:
    """Puts corruptions on clean patches, all of them in their order or one of them.

    One of several is one that the scan's modality has, as far as there are any.

    Drawn from `rng` alone: the same state gives the same patch.
    """

    def __init__(self, corruptions: Sequence[Corruption], cache: Path, each: Literal["all", "one"] = "all") -> None:
        self.corruptions, self.each = corruptions, each
        self._learners = [learner(part, cache / f"corruption{number}.bin") for number, part in enumerate(corruptions)]

    def learn(self, image: Pixels, item: Item) -> None:
        """Look at a whole clean slice (channels, H, W), normalised; once for every slice, in order."""
        shares = self._shares(item.series)
        for one, share in zip(self._learners, shares, strict=True):
            if one is not None and share:
                one.learn(image, item)
            elif one is not None:
                one.skip()

    def apply(
        self, image: Pixels, item: Item, member: int, place: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, float | None]:
        """(corrupted, SD of its noise, or None: to be estimated). NaN padding stays.

        image: (channels, H, W), normalised, cut from slice number `member` at `place` (row, column).
        """
        return self.put(image, item, member, place, self.draw(item.series, rng))

    def _shares(self, series: Series) -> npt.NDArray[np.float64]:
        """Shares of patches by corruption."""
        # `share` stands in every kind, last: in the base it would come first in forms and files.
        shares = np.array([part.share for part in self.corruptions])  # type: ignore[attr-defined]
        fit = np.array([fits(part, series) for part in self.corruptions])
        return np.where(fit, shares, 0) if self.each == "one" and fit.any() else shares

    def draw(self, series: Series, rng: np.random.Generator) -> list[tuple[int, Drawn]]:
        """Which of the corruptions a patch of a series gets, and what was drawn for each."""
        shares = self._shares(series)
        one = rng.choice(len(shares), p=shares / shares.sum()) if self.each == "one" else None
        found = []
        for number, part in enumerate(self.corruptions):
            has, drawn = rng.random() < shares[number] if one is None else number == one, draw(part, rng)
            if has:
                found.append((number, drawn))
        return found

    def put(
        self,
        image: Pixels,
        item: Item,
        member: int,
        place: tuple[int, int],
        drawn: Sequence[tuple[int, Drawn]],
        plane: int = 0,
    ) -> tuple[Pixels, float | None]:
        """As `apply`, of what was drawn once for slices that are seen together. plane: as in `Drawn`."""
        level: float | None = item.level
        for number, one in drawn:
            patch = Patch(item, member, place, self._learners[number])
            image, sd = corrupt(self.corruptions[number], image, patch, replace(one, plane=plane))
            level = None if level is None or sd is None else float(np.hypot(level, sd))
        return image, level
