"""Targets that are scans: clean partners, or the scans themselves with corruption put on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aegui.data.corruption import Corruptor
from aegui.data.item import Item
from aegui.data.pairs import TARGETS, Pair
from aegui.data.slices import Stock
from aegui.data.targets.kind import Kind, Place, Work, build_kind, cutting
from aegui.imaging import Pixels, Series
from aegui.measure import estimate_noise
from aegui.recipes.targets import PairedTargets, SyntheticTargets

# How far the level given in training strays from the truth, as an estimate does (SD of its logarithm).
LEVEL_JITTER = 0.1


class Paired(Kind):
    """A partner series for every noisy one."""

    def works(self, noisy: Sequence[Series], pairs: Sequence[Pair], held: frozenset[str]) -> list[Work]:
        """Pairs. What is held out is nobody's target either: repeats are inputs and targets at once."""
        self.warnings += [TARGETS[kind] for kind in dict.fromkeys(pair.kind for pair in pairs) if kind in TARGETS]
        return [Work(p.noisy, p.clean, p.slices) for p in pairs if p.noisy.uid in held or p.clean.uid not in held]


class Synthetic(Kind):
    """The scans are clean, and corruption is put on them."""

    def __init__(self, part: SyntheticTargets, cache: Path) -> None:
        super().__init__()
        self.average, self.limit = part.average, part.own_noise_limit
        self.corruptor = Corruptor(part.corruptions, cache, part.each)

    def learn(self, image: Pixels, item: Item) -> None:
        """What the corruptions must know of a slice."""
        self.corruptor.learn(image, item)

    def cut(
        self, stock: Stock, member: int, place: Place, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, Pixels, float | None]:
        """The patch corrupted, and as it was. Slices beside it get the same corruption, with noise of their own."""
        return self.cut_regridded(stock, member, place, size, rng, None)

    def cut_regridded(
        self,
        stock: Stock,
        member: int,
        place: Place,
        size: tuple[int, int],
        rng: np.random.Generator,
        regrid: Callable[[Pixels], Pixels] | None,
    ) -> tuple[Pixels, Pixels, float | None]:
        """The same, of slices that are first brought to another grid: the noise is then as it was asked for."""
        window, seen = cutting(place, size), stock.seen(member)
        drawn = self.corruptor.draw(stock.items[member].series, rng)

        def clean(which: int) -> tuple[Pixels, Item]:
            image, item = np.asarray(stock.clean[which][window]), stock.items[which]
            if regrid is None:
                return image, item
            image = regrid(image)
            return image, replace(item, level=estimate_noise(np.nan_to_num(image[0]), np.isfinite(image[0])))

        target, item = clean(member)
        source, known = self.corruptor.put(target, item, member, place, drawn)
        if len(seen) > 1:
            planes = {member: source}
            for plane, other in enumerate(dict.fromkeys(seen), 1):
                if other != member:
                    image, item = clean(other)
                    planes[other] = self.corruptor.put(image, item, other, place, drawn, plane)[0]
            source = np.concatenate([planes[other] for other in seen])
        level = None if known is None else known * float(np.exp(rng.normal(0, LEVEL_JITTER)))
        return source, target, level


@build_kind.register
def _(part: PairedTargets, cache: Path) -> Kind:
    return Paired()


@build_kind.register
def _(part: SyntheticTargets, cache: Path) -> Kind:
    return Synthetic(part, cache)
