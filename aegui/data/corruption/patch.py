"""What every corruption gets and gives, and the units it works in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Protocol

import numpy as np

from aegui.data.item import Item
from aegui.imaging import Pixels, Series
from aegui.measure import CT_WINDOW
from aegui.recipes.corruptions import JPEG, JPEG2000, Corruption, LowDoseCT, PoissonGaussian

AIR = -1000.0  # HU


UNKNOWN = ("OT", "")  # modality of scans that do not tell theirs


def fits(part: Corruption, series: Series) -> bool:
    """Whether the scan may be of a modality that has such noise. Low dose of CT needs values in HU."""
    if isinstance(part, LowDoseCT):
        return series.modality == "CT" or series.unit == "HU"
    return not part.made_by or series.modality in (*part.made_by, *UNKNOWN)


class Learner(Protocol):
    """What a corruption has to know of whole slices before it is put on patches of them."""

    def learn(self, image: Pixels, item: Item) -> None:
        """Look at the next slice, (channels, H, W), normalised, NaN where it is padding."""
        ...

    def skip(self) -> None:
        """Pass the next slice over: the corruption will not be put on it."""
        ...


@singledispatch
def learner(part: Corruption, file: Path) -> Learner | None:
    """None where patches are enough. file: to keep what was learnt."""
    return None


@dataclass(frozen=True)
class Patch:
    """Where a patch is from: slice number `member`, cut at `place` (row, column); learned: of its whole slice."""

    item: Item
    member: int = 0
    place: tuple[int, int] = (0, 0)
    learned: Learner | None = None


@dataclass(frozen=True)
class Drawn:
    """strength: in the unit of the part's range. seed: of the random field, so that it can be made again.

    plane: which of the slices seen together; 0, the slice itself, and others have fields of the same kind that are
    independent.
    """

    strength: float
    seed: int
    plane: int = 0

    def kind(self) -> np.random.Generator:
        """Random numbers for what all the slices share, before those of their fields."""
        return np.random.default_rng(self.seed)

    def field(self, kind: np.random.Generator | None = None) -> np.random.Generator:
        """Random numbers of this slice's own. kind: those that were used before."""
        if self.plane:
            return np.random.default_rng([self.seed, self.plane])
        return kind or self.kind()


@singledispatch
def draw(part: Corruption, rng: np.random.Generator) -> Drawn:
    """A strength from the part's range, and a seed."""
    # Every kind has a range, of its own unit and words.
    return Drawn(float(rng.uniform(part.low, part.high)), _seed(rng))  # type: ignore[attr-defined]


@draw.register(PoissonGaussian)
@draw.register(LowDoseCT)
@draw.register(JPEG2000)
def _(part: PoissonGaussian | LowDoseCT | JPEG2000, rng: np.random.Generator) -> Drawn:
    # Ratios: from 10 to 20 is as far as from 20 to 40.
    return Drawn(float(np.exp(rng.uniform(np.log(part.low), np.log(part.high)))), _seed(rng))


@draw.register
def _(part: JPEG, rng: np.random.Generator) -> Drawn:
    return Drawn(float(rng.integers(part.low, part.high + 1)), _seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))


@singledispatch
def corrupt(part: Corruption, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    """(corrupted, SD of the white noise added or None where it is something else). NaN stays and reaches nothing.

    image: (channels, H, W), normalised.
    """
    raise TypeError(f"no builder for {type(part).__name__}")


def of_255(sigma: float, item: Item) -> float:
    """σ in 255ths of the data range → SD in normalised units."""
    return float(sigma * item.range.value / 255 / item.scale.span)


def nothing(item: Item) -> float:
    """Where there is no signal, normalised: air in CT, 0 elsewhere."""
    return ((AIR if item.series.modality == "CT" else 0.0) - item.scale.low) / item.scale.span


def window(item: Item) -> tuple[float, float]:
    """Both ends of the data range, normalised: of CT the soft-tissue window that is as wide, of others 0 to R."""
    low, high = CT_WINDOW if item.series.modality == "CT" else (0.0, item.range.value)
    return (low - item.scale.low) / item.scale.span, (high - item.scale.low) / item.scale.span


def usual(item: Item) -> float:
    """The signal of usual tissue above `nothing`, normalised: water in CT, half of the range elsewhere."""
    return (-AIR if item.series.modality == "CT" else item.range.value / 2) / item.scale.span


def whole(image: Pixels) -> Pixels:
    """Padding filled with the nearest value, so that nothing of it shows in its surroundings."""
    missing = ~np.isfinite(image).all(axis=0)
    if not missing.any():
        return image
    if missing.all():
        return np.zeros_like(image)
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(image[:, rows, columns], dtype=np.float32)
