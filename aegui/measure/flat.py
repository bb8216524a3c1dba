"""Noise of the flat areas of slices: strength, spectrum and growth with the signal, without any clean scan.

A slice is cut into overlapping square blocks. In a block of noise alone, the variance is in a certain ratio to its
finest detail, whatever the strength of the noise; structure raises that ratio. So flat blocks are those of the lowest
common ratio, in bright and dark, noisy and quiet parts alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from aegui.measure.noise import estimate_noise

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.floating]

ORDER = 2  # of the surface that is taken out of a block
UNEVEN = 4.0  # finest detail of a quarter of a block against the two weakest quarters: more is an edge
CLIPPED = 0.02  # share of pixels at one end of the slice's values that means clipping
KEPT = 0.35  # blocks whose log ratio is this close to the common one are flat
SIDES = (8, 16, 32)  # px, of the blocks that are tried
ENOUGH = 12  # flat blocks
STRUCTURE = 1.4  # from blocks of 8 to 16 px even smooth noise gains less; structure gains more
SETTLED = 1.05  # blocks of 32 px tell low frequencies best, where they hold noise alone
RETAINED = 0.4  # frequencies of which the surface takes more than the rest of this are not measured

_PARTS = ("mean", "variance", "fine", "power", "slice", "place")


@dataclass(frozen=True)
class Blocks:
    """Blocks of `side` px. mean: signal; variance: of the noise, detrended; fine: the same from its finest detail,
    were it white; power: radial, (blocks, frequencies), of mean 1 per pixel of white noise of SD 1; slice: number.
    place: which block of its slice it is.
    """

    side: int
    mean: Array
    variance: Array
    fine: Array
    power: Array
    slice: npt.NDArray[np.intp]
    place: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.mean)

    def where(self, keep: Mask) -> Blocks:
        """Some of them."""
        return Blocks(self.side, *(getattr(self, name)[keep] for name in _PARTS))

    def flat(self) -> Blocks:
        """Those without structure, see above."""
        if len(self) < 8:
            return self.where(np.zeros(len(self), dtype=bool))
        ratio = np.log(self.variance / self.fine)
        apart = ratio - _mode(ratio[ratio < np.quantile(ratio, 0.05) + 0.8])
        return self.where((apart > -KEPT) & (apart < KEPT / 2))

    def sd(self) -> float:
        """Noise SD; what the surface took is given back."""
        return float(np.sqrt(np.median(self.variance) * self.regained()))

    def spectrum(self) -> tuple[Array, Array]:
        """(frequencies in cycles/px, power relative to white noise of the same variance), each block counting alike.

        What the surface took is given back; where it took most, the power is drawn on from the frequencies above.
        """
        whole = (self.power / self.fine[:, None]).mean(axis=0)
        retained = _retained(self.side)
        measured = retained > RETAINED
        power = whole / np.where(measured, retained, 1)
        first = int(np.argmax(measured))
        slope = power[first + 1] - power[first]
        steps = np.arange(first, 0, -1)
        power[:first] = np.clip(power[first] - slope * steps, 0, 1.5 * power[first])
        counts = _counts(self.side)
        power /= (power * counts).sum() / counts.sum()
        return np.arange(len(power)) / self.side, power

    def regained(self) -> float:
        """Variance with what the surface took, relative to `variance`."""
        _, power = self.spectrum()
        counts, retained = _counts(self.side), _retained(self.side)
        degrees = self.side**2 / (self.side**2 - _basis(self.side).shape[1])
        return float((power * counts).sum() / (power * counts * retained).sum() / degrees)


def blocks(image: Pixels, usable: Mask, side: int, number: int = 0, signal: Pixels | None = None) -> Blocks:
    """The blocks of a slice that lie in `usable` and hold neither an edge nor clipped values; none of smaller slices.

    signal: where the means are from, if not from the image itself (a difference of repeats has none).
    """
    none, nowhere = np.zeros(0), np.zeros(0, dtype=np.intp)
    empty = Blocks(side, none, none, none, np.zeros((0, side // 2 + 1)), nowhere, nowhere)
    if min(usable.shape) < side:
        return empty
    values = np.asarray(image, dtype=np.float64)
    ends = (values == values[usable].min()) | (values == values[usable].max()) if usable.any() else ~usable
    cut = [_cut(part, side) for part in (values, usable, ends)]
    keep = cut[1].all(axis=(1, 2)) & (cut[2].mean(axis=(1, 2)) <= CLIPPED)
    found = cut[0][keep]
    if not len(found):
        return empty
    levels = found if signal is None else _cut(np.asarray(signal), side)[keep]
    mean = levels.mean(axis=(1, 2), dtype=np.float64)
    rest = _rest(found)
    fine, quarters = _second_differences(rest)
    quarters.sort(axis=0)
    even = quarters[3] < UNEVEN * (quarters[0] + quarters[1]) / 2
    variance = _variance(rest)
    good = np.flatnonzero(even & _noisy(variance, fine))
    numbers = np.full(len(good), number, dtype=np.intp)
    place = np.flatnonzero(keep)[good]
    return Blocks(side, mean[good], variance[good], fine[good], _radial_power(rest[good]), numbers, place)


def _radial_power(rest: Array) -> Array:
    """(blocks, frequencies), as in Blocks."""
    side = rest.shape[-1]
    half = side // 2 + 1
    power = np.abs(np.fft.rfft2(rest)) ** 2 / side**2
    power[:, :, 1 : side // 2] *= 2  # for the negative frequencies, which a real transform leaves out
    rings = _rings(side)[:, :half].ravel()
    order = np.argsort(rings, kind="stable")[np.count_nonzero(rings < 0) :]
    starts = np.searchsorted(rings[order], np.arange(half))
    return np.asarray(np.add.reduceat(power.reshape(len(rest), side * half)[:, order], starts, axis=1) / _counts(side))


def together(parts: Sequence[Blocks]) -> Blocks:
    """Blocks of several slices."""
    return Blocks(parts[0].side, *(np.concatenate([getattr(part, name) for part in parts]) for name in _PARTS))


def noise_in(flat: Blocks, image: Pixels) -> float:
    """Noise SD of a slice in the flat blocks of another that shows the same.

    Its noise may be much smoother: what the surface took is given back by its own spectrum.
    """
    found = _cut(image, flat.side)[flat.place].astype(np.float64)
    rest = _rest(found)
    variance, fine = _variance(rest), _second_differences(rest)[0]
    own = Blocks(flat.side, found.mean(axis=(1, 2)), variance, fine, _radial_power(rest), flat.slice, flat.place)
    noisy = _noisy(variance, fine)
    return own.where(noisy).sd() if 2 * np.count_nonzero(noisy) >= len(own) else 0.0


def noise_of_both(before: Pixels, after: Pixels, usable: Mask) -> tuple[float, float]:
    """Noise SD of a slice and of what became of it, in flat areas; where too few are flat, of the finest detail.

    What is smoother than a block is taken for shading: of what strong smoothing by σ 3 px leaves, a tenth is missed.
    """
    _, middle, large = (blocks(before, usable, side).flat() for side in SIDES)
    if len(middle) < ENOUGH:
        return estimate_noise(before, usable), estimate_noise(after, usable)
    # What a denoiser leaves is smooth, which large blocks tell better; unless they hold structure.
    flat = large if len(large) >= ENOUGH and large.sd() <= SETTLED * middle.sd() else middle
    return flat.sd(), noise_in(flat, after)


def _cut(image: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """All blocks of a slice, (blocks, side, side); each overlaps the next by half."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))[:: side // 2, :: side // 2]
    return windows.reshape(-1, side, side)


def _rest(found: Array) -> Array:
    """Blocks without their surface."""
    basis = _basis(found.shape[-1])
    flat = found.reshape(len(found), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray((flat - (flat @ basis) @ basis.T).reshape(found.shape))


def _variance(rest: Array) -> Array:
    """Of blocks whose surface is out, (blocks,)."""
    side = rest.shape[-1]
    return np.asarray((rest**2).sum(axis=(1, 2)) / (side**2 - _basis(side).shape[1]))


def _noisy(variance: Array, fine: Array) -> Mask:
    """Blocks with noise to measure."""
    return np.asarray((fine > 1e-9 * np.maximum(variance, 1e-30)) & (variance > 0))


def settled(flats: Mapping[int, Blocks]) -> Blocks | None:
    """Of flat blocks by side (SIDES), the largest with no stronger noise than smaller ones have; the rest is structure.

    None: there are too few.
    """
    sd = {side: flat.sd() for side, flat in flats.items() if len(flat) >= ENOUGH}
    small, middle, large = SIDES
    if middle not in sd or sd[middle] > STRUCTURE * sd.get(small, np.inf):
        return None
    return flats[large if large in sd and sd[large] <= SETTLED * sd[middle] else middle]


def _second_differences(values: Array) -> tuple[Array, Array]:
    """Mean square of second differences along rows and columns, 1 for white noise of variance 1: of blocks, and of
    their quarters, (4, blocks).
    """
    side = values.shape[-1]
    down = (values[:, 2:] - 2 * values[:, 1:-1] + values[:, :-2]) ** 2
    across = (values[:, :, 2:] - 2 * values[:, :, 1:-1] + values[:, :, :-2]) ** 2
    half, inner = side // 2, side // 2 - 2
    quarters = [
        down[:, y : y + inner, x : x + half].mean(axis=(1, 2))
        + across[:, y : y + half, x : x + inner].mean(axis=(1, 2))
        for y in (0, half)
        for x in (0, half)
    ]
    return (down.mean(axis=(1, 2)) + across.mean(axis=(1, 2))) / 12, np.stack(quarters) / 12


def _mode(values: Array) -> float:
    """Half-sample mode (Bickel & Frühwirth 2006)."""
    found = np.sort(values)
    while len(found) > 3:
        half = (len(found) + 1) // 2
        width = found[half - 1 :] - found[: len(found) - half + 1]
        start = int(width.argmin())
        found = found[start : start + half]
    return float(np.median(found))


@lru_cache(maxsize=4)
def _basis(side: int) -> Array:
    """Orthonormal surfaces up to ORDER, (pixels, surfaces)."""
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    surfaces = [(y**i * x**j).ravel() for i in range(ORDER + 1) for j in range(ORDER + 1 - i)]
    return np.asarray(np.linalg.qr(np.stack(surfaces, axis=1))[0])


@lru_cache(maxsize=4)
def _rings(side: int) -> npt.NDArray[np.intp]:
    """Ring of each frequency, of width 1/side; −1 beyond half a cycle per pixel."""
    f = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(f[:, None], f[None])).astype(np.intp)
    return np.where(ring <= side // 2, ring, -1)


@lru_cache(maxsize=4)
def _counts(side: int) -> Array:
    rings = _rings(side)
    return np.bincount(rings[rings >= 0]).astype(np.float64)


@lru_cache(maxsize=4)
def _retained(side: int) -> Array:
    """Share of white noise's power that is left in each ring when the surface is taken out."""
    surfaces = _basis(side).T.reshape(-1, side, side)
    taken = (np.abs(np.fft.fft2(surfaces)) ** 2).sum(axis=0) / side**2 * 1.0
    rings = _rings(side)
    inside = rings >= 0
    return np.asarray(1 - np.bincount(rings[inside], taken[inside]) / _counts(side))
