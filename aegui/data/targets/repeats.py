"""Noise2Noise: repeats of one place are each other's target."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aegui.data.item import Item
from aegui.data.pairs import TARGETS, Pair, groups
from aegui.data.slices import Stock
from aegui.data.split import Split, split
from aegui.data.targets.kind import Block, Kind, Place, Work, build_kind, cutting, held_out
from aegui.errors import UserError
from aegui.imaging import Pixels, Series
from aegui.recipes.run import Run
from aegui.recipes.targets import Noise2Noise

Spot = tuple[str, int]  # series uid, slice


class Repeats(Kind):
    """Every draw takes two different repeats of a slice, in either role; or one, and the mean of all others."""

    score = "another repeat"
    told = TARGETS["repeat"]

    def __init__(self, part: Noise2Noise) -> None:
        super().__init__()
        self._mean = part.target == "mean"
        if self._mean:
            self.score = "the mean of the other repeats"
        self._place: dict[Spot, int] = {}
        self._partners: dict[int, tuple[int, ...]] = {}

    def works(self, noisy: Sequence[Series], pairs: Sequence[Pair], held: frozenset[str]) -> list[Work]:
        """Every repeat once."""
        repeats = [pair for pair in pairs if pair.kind == "repeat"]
        if not repeats:
            raise UserError(
                "Noise2Noise learns from repeats, and none were confirmed.",
                "Open two or more scans of the same thing and confirm the proposal on the Scans page.",
            )
        if clean := sum(pair.kind == "clean" for pair in pairs):
            self.warnings.append(clean_unused(clean))
        series = {one.uid: one for pair in repeats for one in (pair.noisy, pair.clean)}
        slices: dict[str, list[int]] = defaultdict(list)
        for number, place in enumerate(groups(repeats)):
            for uid, index in place:
                self._place[uid, index] = number
                slices[uid].append(index)
        return [Work(series[uid], None, tuple((i, i) for i in sorted(slices[uid]))) for uid in series]

    def part(self, items: Sequence[Item], blocks: Sequence[Block], run: Run) -> Split:
        """All repeats of a place go to one side; what is held out is nobody's input or target."""
        held = held_out(blocks)
        marked = tuple(i for i, (patient, _) in enumerate(blocks) if patient in held)
        places: dict[int, list[int]] = defaultdict(list)
        for member, item in enumerate(items):
            if member not in marked:
                places[self._place[item.series.uid, item.index]].append(member)
        several = [members for members in places.values() if len(members) > 1]
        if alone := len(places) - len(several):
            self.warnings.append(f"{alone} slices have no repeat that is not held out; they are left out.")
        if len(several) == 1:
            several = self._halves(several[0], run)
        if len(several) < 2:
            raise UserError(
                "Noise2Noise needs two repeats of at least two slices, or four of one, that are not held out.",
                "Open more repeats, or hold out fewer.",
            )
        found = split(
            [blocks[members[0]] for members in several], run.validation_fraction, run.holdout_fraction, run.seed
        )
        for chosen in (found.train, found.validation):
            for place in chosen:
                members = several[place]
                self._partners |= {m: tuple(other for other in members if other != m) for m in members}

        def expanded(chosen: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sorted(member for place in chosen for member in several[place]))

        return replace(
            found,
            train=expanded(found.train),
            validation=expanded(found.validation),
            holdout=tuple(sorted((*marked, *expanded(found.holdout)))),
        )

    def _halves(self, members: list[int], run: Run) -> list[list[int]]:
        """A single slice was repeated: some of its repeats train, others validate."""
        count = max(2, round(run.validation_fraction * len(members)))
        if len(members) < count + 2:
            return [members]
        self.warnings.append("All repeats show one slice: training and validation differ in their noise only.")
        return [members[:-count], members[-count:]]

    def cut(
        self, stock: Stock, member: int, place: Place, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, Pixels, float | None]:
        """A repeat and another one (or the mean of all others), on the scale of the first."""
        partners = self._partners[member]
        others = partners if self._mean else (partners[int(rng.integers(len(partners)))],)
        window = cutting(place, size)
        ours = stock.items[member].scale
        found = [(stock.items[other].scale, np.asarray(stock.noisy[other][window])) for other in others]
        targets = [image if theirs == ours else ours.normalise(theirs.restore(image)) for theirs, image in found]
        target = targets[0] if len(targets) == 1 else np.asarray(np.mean(targets, axis=0, dtype=np.float32))
        return stock.planes(member, window), target, stock.items[member].level


def clean_unused(count: int) -> str:
    """Words on clean targets that repeats do not need."""
    pairs = "pair has a clean target that is" if count == 1 else "pairs have clean targets that are"
    return f"{count} confirmed {pairs} not used: Noise2Noise learns from repeats alone. “Clean scans” would use them."


@build_kind.register
def _(part: Noise2Noise, cache: Path) -> Kind:
    return Repeats(part)
