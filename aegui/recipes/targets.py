"""Where the target of a training patch comes from. Value checks only: no torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from aegui.recipes.corruptions import AnyCorruption, Gaussian
from aegui.spec import Spec, knob


class Target(Spec):
    """blind: learns from single pixels that the network does not see. noisy: the target has noise of its own.

    pairs: uses series that the user confirmed as pairs. beside: also for models that see the slices beside it.
    """

    beside: ClassVar[bool] = False
    blind: ClassVar[bool] = False
    noisy: ClassVar[bool] = False
    pairs: ClassVar[bool] = False


class PairedTargets(Target):
    """Clean scans: a clean series for every noisy one."""

    beside: ClassVar[bool] = True
    family: ClassVar[str] = "With clean scans"
    pairs: ClassVar[bool] = True
    kind: Literal["paired"] = "paired"


class SyntheticTargets(Target):
    """Added noise: the scans are the clean target, and noise or other corruption is put on them."""

    beside: ClassVar[bool] = True
    family: ClassVar[str] = "With clean scans"
    kind: Literal["synthetic"] = "synthetic"
    corruptions: tuple[AnyCorruption, ...] = knob(
        (Gaussian(),), title="Corruptions", help="Put on the scans, in this order", min_length=1, ordered=True
    )
    each: Literal["all", "one"] = knob(
        "all",
        title="A patch gets",
        help="One: drawn by their shares of patches, of those that the modality has",
        titles={"all": "All of them", "one": "One of them"},
        advanced=True,
    )
    average: int = knob(
        1,
        title="Average first",
        help="Average blocks of this many pixels: less noise in the target, at a coarser grid",
        unit="px",
        ge=1,
        le=4,
        advanced=True,
    )
    own_noise_limit: float | None = knob(
        None,
        title="Own noise at most",
        help="Slices that are noisier than this themselves are no clean targets and are left out; empty: all are used",
        unit="of 255",
        gt=0,
        le=255,
        advanced=True,
    )


class Noise2Noise(Target):
    """Repeats: several noisy scans of the same thing are each other's target (Noise2Noise)."""

    beside: ClassVar[bool] = True
    family: ClassVar[str] = "From noisy scans only"
    noisy: ClassVar[bool] = True
    pairs: ClassVar[bool] = True
    kind: Literal["noise2noise"] = "noise2noise"
    target: Literal["one", "mean"] = knob(
        "one",
        title="Target",
        help="Of all others the mean has less noise; one of them stays sharp where something moved in between",
        titles={"one": "Another repeat", "mean": "Mean of all others"},
    )


class BlindSpot(Target):
    """What blind-spot targets share: pixels that touch the spot may be hidden too, where noise is correlated."""

    blind: ClassVar[bool] = True
    noisy: ClassVar[bool] = True
    hide: Literal["pixel", "row", "column", "cross", "square"] = knob(
        "pixel",
        title="Hide",
        help="What is hidden around a spot: more than the pixel where noise is correlated",
        titles={
            "pixel": "The pixel",
            "row": "Along its row",
            "column": "Along its column",
            "cross": "A cross",
            "square": "A square",
        },
    )
    reach: int = knob(
        2, title="Reach", help="Pixels hidden to each side of the spot", unit="px", ge=1, le=16, advanced=True
    )
    unhidden: float = knob(
        1.0,
        title="Same unhidden",
        help="Weight that makes the result at a spot the same when it is not hidden, as when the model is used",
        ge=0,
        le=100,
        advanced=True,
    )
    # On CT at a tenth of the dose 2 gave 27.8 dB, 3 gave 25.8: guesses miss sharp edges most.
    keep: float = knob(
        2.0,
        title="Keep beyond",
        help="Pixels further from their guess than this many times the usual error are detail, and kept",
        ge=1,
        le=1000,
        advanced=True,
    )


class Noise2Void(BlindSpot):
    """Blind spot, random pixels (Noise2Void): hidden pixels are guessed from their surroundings."""

    family: ClassVar[str] = "From noisy scans only"
    kind: Literal["noise2void"] = "noise2void"
    spots: float = knob(2.0, title="Spots", help="Share of the pixels that is hidden at a time", unit="%", gt=0, le=25)
    radius: int = knob(
        5,
        title="Replaced from",
        help="Hidden pixels take a value from this close by",
        unit="px",
        ge=1,
        le=32,
        advanced=True,
    )


class Noise2Self(BlindSpot):
    """Blind spot, grid (Noise2Self): every pixel of a grid is hidden in turn, replaced by the mean around it."""

    family: ClassVar[str] = "From noisy scans only"
    kind: Literal["noise2self"] = "noise2self"
    grid: int = knob(4, title="Grid", help="One of this many rows and columns is hidden", unit="px", ge=2, le=32)

    def model_post_init(self, context: object) -> None:
        """Something must stay visible."""
        least = 2 * self.reach + 2
        if self.hide == "square" and self.grid < least:
            raise ValueError(f"Squares of {least - 1} px on a grid of {self.grid} px hide everything; try {least}.")


class Neighbor2Neighbor(Target):
    """Neighbouring pixels (Neighbor2Neighbor): two half-size pictures of one noisy slice teach each other."""

    family: ClassVar[str] = "From noisy scans only"
    noisy: ClassVar[bool] = True
    kind: Literal["neighbor2neighbor"] = "neighbor2neighbor"
    gamma: float = knob(
        2.0, title="Consistency", help="Weight that keeps detail which both halves do not share", ge=0, le=100
    )


class Recorrupted(Target):
    """Own noise (Recorrupted): noise like the scan's, of any grain, is added for the input and taken for the target."""

    family: ClassVar[str] = "From noisy scans only"
    noisy: ClassVar[bool] = True
    kind: Literal["recorrupted"] = "recorrupted"
    added: float = knob(
        1.0,
        title="Added noise",
        help="SD relative to the scan's own: more forgives errors in measuring it, less keeps finer detail",
        ge=0.1,
        le=4,
    )


class NeighbouringSlices(Target):
    """Neighbouring slices: the next slice is the target, as its noise is another."""

    family: ClassVar[str] = "From noisy scans only"
    noisy: ClassVar[bool] = True
    kind: Literal["slices"] = "slices"
    distance: float = knob(
        3.0, title="At most apart", help="Slices further apart show other anatomy", unit="mm", gt=0, le=50
    )


class Distillation(Target):
    """A larger model: its result on the noisy scans is the target."""

    family: ClassVar[str] = "From another model"
    kind: Literal["distillation"] = "distillation"
    teacher: str = knob(
        "general-small",
        title="Teacher",
        help="A shipped model or a model file",
        min_length=1,
        max_length=1000,
        pick="model",
    )


Targets = Annotated[
    PairedTargets
    | SyntheticTargets
    | Noise2Noise
    | Noise2Void
    | Noise2Self
    | Neighbor2Neighbor
    | Recorrupted
    | NeighbouringSlices
    | Distillation,
    Field(discriminator="kind"),
]
