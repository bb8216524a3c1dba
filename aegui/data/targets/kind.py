"""What every kind of target answers: what to read, how to part it, and what a patch and its target are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aegui.data.item import Item
from aegui.data.pairs import Pair
from aegui.data.slices import Stock
from aegui.data.split import Split, split
from aegui.imaging import Pixels, Read, Series, SliceSource
from aegui.models.card import Card
from aegui.models.intensity import Scale
from aegui.recipes.recipe import title
from aegui.recipes.run import Augmentation, Run
from aegui.recipes.targets import Neighbor2Neighbor, Target

Block = tuple[str, int]  # patient, run of neighbouring slices
Place = tuple[int, int]  # row, column


@dataclass(frozen=True)
class Work:
    """Slices to read. partner: the series that holds their targets, with slices (number, number in partner)."""

    series: Series
    partner: Series | None
    slices: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Drawn:
    """A patch (or whole slice) and its target, normalised; all fields as in `Batch`, without N."""

    noisy: Pixels
    clean: Pixels
    level: float
    mask: npt.NDArray[np.bool_] | None = None
    whole: Pixels | None = None
    picks: npt.NDArray[np.int64] | None = None


class Kind:
    """Targets made of the scans themselves; what other kinds do otherwise, they say.

    average: blocks of pixels averaged on reading. limit: slices with more noise of their own (of 255) are left out.
    guesses: whether hidden pixels are guessed. score: what picks the best epoch, in words. told: what these words
    leave unsaid, once per run. warnings: what was met on the way.
    """

    average: int = 1
    limit: float | None = None
    guesses = False
    score = "validation PSNR"
    told = ""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def works(self, noisy: Sequence[Series], pairs: Sequence[Pair], held: frozenset[str]) -> list[Work]:
        """What to read, in order. pairs: confirmed. held: series uids that are held out."""
        return [Work(s, None, tuple((i, i) for i in range(s.slices))) for s in noisy]

    def begin(self, series: Series, source: SliceSource, scale: Scale) -> None:
        """Called before the slices of a series are read."""

    def target(self, read: Read, scale: Scale) -> Pixels | None:
        """The target of a slice in the scan's own unit, where it is computed on reading."""
        return None

    def learn(self, image: Pixels, item: Item) -> None:
        """Look at a whole slice (channels, H, W), normalised; once for every slice, in order."""

    def part(self, items: Sequence[Item], blocks: Sequence[Block], run: Run) -> Split:
        """Which slices train. Patients that are held out start with a zero byte."""
        return split(blocks, run.validation_fraction, run.holdout_fraction, run.seed, held_out(blocks))

    def augmentation(self, wanted: Augmentation) -> Augmentation:
        """What of the augmentation may be."""
        return wanted

    def sides(self, rows: int, columns: int) -> tuple[int, int]:
        """Sides of a patch nearest to these that can be used."""
        return rows, columns

    def cut(
        self, stock: Stock, member: int, place: Place, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, Pixels, float | None]:
        """(input, target, noise SD of the input or None: to be estimated) of a patch; padding is NaN.

        The input has all planes that the model sees, the slice's own in the middle.

        The SD is what its estimate will say of the whole slice when the model is used.
        """
        window = cutting(place, size)
        source = stock.planes(member, window)
        alone = stock.clean is stock.noisy and not stock.beside
        target = source if alone else np.asarray(stock.clean[member][window])
        return source, target, stock.items[member].level

    def cut_regridded(
        self,
        stock: Stock,
        member: int,
        place: Place,
        size: tuple[int, int],
        rng: np.random.Generator,
        regrid: Callable[[Pixels], Pixels],
    ) -> tuple[Pixels, Pixels, float | None] | None:
        """As `cut`, of clean slices that are regridded before noise is put on them; None: the noise is in the scans."""
        return None

    def finish(self, noisy: Pixels, clean: Pixels, level: float, rng: np.random.Generator) -> Drawn:
        """The last step, after augmentation: hide pixels, or take some of them."""
        return Drawn(noisy, clean, level)

    def used(self, noisy: Pixels, clean: Pixels, level: float) -> Drawn:
        """A whole slice as the model will be used on it."""
        return Drawn(noisy, clean, level)

    def rounds(self, shape: tuple[int, int]) -> int:
        """How many different cases a validation slice gives."""
        return 1

    def scored(self, noisy: Pixels, clean: Pixels, level: float, rng: np.random.Generator) -> Drawn:
        """A whole slice as validation scores it; padding is NaN."""
        return Drawn(noisy, clean, level)


@singledispatch
def build_kind(part: Target, cache: Path) -> Kind:
    """The targets of a recipe part at work. cache: folder of the run for what is worth keeping."""
    raise TypeError(f"no builder for {type(part).__name__}")


def not_beside(card: Card, part: Target) -> tuple[str, str] | None:
    """(message, hint) where these targets are not for a model that sees the slices beside the one it denoises."""
    if not card.neighbours or part.beside:
        return None
    return (
        f"{card.title} looks at the slices beside the one it denoises; “{title(part)}” teaches models that look at "
        "single slices.",
        "Learn with clean scans, added noise or repeats, or choose a model that looks at single slices.",
    )


def too_small(card: Card, multiple: int, part: Target, rows: int, columns: int) -> tuple[str, str] | None:
    """(message, hint) where patches of rows × columns px leave the model's deepest features a single pixel.

    multiple: of the sides that it takes.
    """
    halved = isinstance(part, Neighbor2Neighbor)
    if halved:
        rows, columns = rows // 2, columns // 2
    if not card.normalises_slices or max(rows, columns) > multiple:
        return None
    return (
        f"{card.title} needs pictures of more than {multiple} px; the smallest has {rows} × {columns}"
        f"{', half of its patch' if halved else ''}.",
        f"Use larger patches{', other targets' if halved else ''} or another model, or leave small scans out.",
    )


def held_out(blocks: Sequence[Block]) -> frozenset[str]:
    """The patients that are held out."""
    return frozenset(patient for patient, _ in blocks if patient.startswith("\0held"))


def cutting(place: Place, size: tuple[int, int]) -> tuple[slice, ...]:
    """The index of a patch in (channels, H, W)."""
    return np.s_[:, place[0] : place[0] + size[0], place[1] : place[1] + size[1]]
