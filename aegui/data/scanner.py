"""“Match my scanner”: a noise model measured in the user's own series, without any clean scan."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aegui.data.proposals import propose
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Progress
from aegui.imaging import Mask, Pixels, Series, open_series
from aegui.measure import Range, signal_range
from aegui.measure.body import inside_body
from aegui.measure.flat import ENOUGH, SIDES, Blocks, blocks, settled, together
from aegui.measure.rayleigh import Background, background
from aegui.models.intensity import sample
from aegui.recipes.corruptions import Corruption, Gaussian, Measured, Rician, Speckle

SLICES = 12  # of a series, spread evenly
SERIES = 6
SAME = 0.3  # logarithm of the noise in tissue against that of the background, up to which both are one
COARSE, FINE = 0.15, 0.2  # cycles/px, below which even flat areas have structure; above which all tissue has little
WHITE = 0.25  # a spectrum that strays less from its mean is white


@dataclass(frozen=True)
class Match:
    """corruptions: ready for added noise. words: for the user. sd: median over the slices, in `unit`.

    spectrum: noise power, of mean 1 over all frequencies, at `frequencies` (cycles per pixel).
    """

    corruptions: tuple[Corruption, ...]
    words: str
    sd: float
    unit: str
    spectrum: tuple[float, ...]
    frequencies: tuple[float, ...]


@dataclass(frozen=True)
class _Slice:
    """noise: what is measured, the image itself or the halved difference of repeats; signal: where its means are."""

    noise: Pixels
    signal: Pixels
    usable: Mask
    valid: Mask
    range: Range


def match_scanner(series: Sequence[Series]) -> Events:
    """Done(Match). UserError where the series show too little of their noise."""
    usable = [one for one in series if one.treat == "denoise" and not one.derived_here]
    if not usable:
        raise UserError("There are no scans to measure.", "Open a folder with CT, MR or other images.")
    modalities = [one.modality for one in usable]
    modality = max(dict.fromkeys(modalities), key=modalities.count)
    usable = [one for one in usable if one.modality == modality]
    pairs = [pair for found in propose(usable) if found.kind == "repeats" for pair in found.pairs]
    slices: list[_Slice] = []
    if pairs:
        of = pairs[:: -(-len(pairs) // SERIES)]
        for number, pair in enumerate(of):
            picked = [pair.slices[i] for i in _spread(len(pair.slices))]
            slices += yield from _differences(pair.noisy, pair.clean, picked, number, len(of))
    else:
        chosen = [
            usable[i] for i in _spread(len(usable), max(SERIES, SLICES * SERIES // max(s.slices for s in usable)))
        ]
        for number, one in enumerate(chosen):
            slices += yield from _slices(one, number, len(chosen))
    found = yield from _measured(slices, modality, bool(pairs))
    yield Done(_match(found, modality, usable[0].unit, len(pairs) > 0))


def _spread(length: int, count: int = SLICES) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, length - 1, min(count, length))})


# ---------------------------------------------------------------- reading


def _slices(series: Series, number: int, total: int) -> Generator[Event, None, list[_Slice]]:
    source = open_series(series)
    found = []
    try:
        numbers = sample(source, SLICES)
        read = []
        for index in numbers:
            yield Progress(number, total, "Reading scans")
            read.append((_grey(source.read(index)), source.valid(index)))
        data_range = signal_range(series.modality, series.bits, [pixels for pixels, _ in read])
        for pixels, valid in read:
            found.append(_Slice(pixels, pixels, inside_body(pixels, valid, series.modality), valid, data_range))
    finally:
        source.close()
    return found


def _differences(
    one: Series, other: Series, places: Sequence[tuple[int, int]], number: int, total: int
) -> Generator[Event, None, list[_Slice]]:
    first, second = open_series(one), open_series(other)
    found = []
    try:
        for i, j in places:
            yield Progress(number, total, "Reading repeats")
            a, b = _grey(first.read(i)), _grey(second.read(j))
            valid = first.valid(i) & second.valid(j)
            signal = (a + b) * np.float32(0.5)
            inside = inside_body(signal, valid, one.modality)
            if inside.sum() < SIDES[0] ** 2:
                continue
            # A scanner's gain drifts a little from one repeat to the next.
            gain = float((a[inside] * b[inside]).sum() / max(float((b[inside] ** 2).sum()), 1e-12))
            data_range = signal_range(one.modality, one.bits, [signal])
            noise = np.asarray((a - gain * b) / np.hypot(1, gain), dtype=np.float32)
            found.append(_Slice(noise, signal, inside, valid, data_range))
    finally:
        first.close()
        second.close()
    return found


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(pixels.mean(axis=-1) if pixels.ndim == 3 else pixels, dtype=np.float32)


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class _Found:
    """sds, of_255: by slice. source: flat blocks, or the background of magnitude images."""

    sds: npt.NDArray[np.float64]
    of_255: npt.NDArray[np.float64]
    source: Blocks | Background


def _measured(slices: Sequence[_Slice], modality: str, repeats: bool) -> Generator[Event, None, _Found]:
    dark = background([(s.signal, s.valid & ~s.usable) for s in slices]) if modality == "MR" and not repeats else None
    flats: dict[int, Blocks] = {}
    for side in SIDES:
        parts = []
        for number, one in enumerate(slices):
            yield Progress(number, len(slices), "Looking for flat areas")
            if min(one.noise.shape) >= 2 * side:
                parts.append(blocks(one.noise, one.usable, side, number, one.signal if repeats else None))
        found = together(parts).flat() if parts else None
        if found is not None:
            flats[side] = found
    flat = settled(flats)
    ranges = np.asarray([one.range.value for one in slices])
    if flat is not None:
        numbers = [n for n in np.unique(flat.slice) if (flat.slice == n).sum() >= 3] or list(np.unique(flat.slice))
        sds = np.asarray([np.median(flat.variance[flat.slice == n]) for n in numbers])
        sds = np.sqrt(sds * flat.regained())
        more = 0.0 if dark is None else float(np.log(np.median(sds) / dark.sd))
        if dark is None or more < -SAME or (abs(more) <= SAME and not _white(flat, FINE)):
            return _Found(sds, sds / ranges[numbers] * 255, flat)
    # Where tissue seems noisier than the background, or has coarser noise, that is its structure.
    if dark is not None:
        by_slice = np.asarray(dark.by_slice)
        if not by_slice.any():
            by_slice[:] = dark.sd  # too little in each slice, but enough in all
        measured = by_slice > 0
        return _Found(by_slice[measured], by_slice[measured] / ranges[measured] * 255, dark)
    raise UserError(
        "The scans have too few flat areas to measure their noise in.",
        "Choose series with larger even parts, a scan of a phantom, or two repeats of one scan.",
    )


def _white(flat: Blocks, above: float = COARSE) -> bool:
    """Whether the spectrum is level above a frequency in cycles/px."""
    frequencies, power = flat.spectrum()
    power = power[frequencies >= above]
    return bool(np.abs(power / power.mean() - 1).max() < WHITE)


# ---------------------------------------------------------------- the model, and words for it


def _match(found: _Found, modality: str, unit: str, repeats: bool) -> Match:
    low, high = (float(v) for v in np.quantile(found.sds, (0.1, 0.9)))
    weak, strong = (_rounded(float(v)) for v in np.quantile(found.of_255, (0.1, 0.9)))
    weak, strong = min(weak, 255.0), min(max(weak, strong), 255.0)
    corruption: Corruption
    if isinstance(found.source, Background):
        frequencies, power = np.linspace(0, 0.5, 9), np.ones(9)
        corruption = Rician(low=weak, high=strong, coils=found.source.coils)
        coils = "" if corruption.coils == 1 else f" of {corruption.coils} coils"
        how, where = f"white, Rician{coils} (dark areas become brighter)", "the background of"
    else:
        frequencies, power = found.source.spectrum()
        corruption, how = _of_blocks(found, found.source, modality, weak, strong)
        where = "differences of repeats in" if repeats else "flat areas of"
    ends = [f"{v:.2g}" if v < 100 else f"{v:.0f}" for v in (low, high)]
    sd = "–".join(dict.fromkeys(ends))
    count = len(found.sds)
    words = f"Noise SD {sd}{' ' + unit if unit else ''}, {how}; from {where} {count} slice{'s' if count != 1 else ''}."
    return Match(
        (corruption,),
        words,
        float(np.median(found.sds)),
        unit,
        tuple(float(v) for v in power),
        tuple(float(v) for v in frequencies),
    )


def _of_blocks(found: _Found, flat: Blocks, modality: str, weak: float, strong: float) -> tuple[Corruption, str]:
    """(the corruption that explains it in the simplest way, in words)."""
    frequencies, power = flat.spectrum()
    white, growth = _white(flat), _growth(flat, modality)
    how = "white" if white else f"correlated, {_coarse(frequencies, power)} than white"
    if growth > 1.5:
        shares = np.sqrt(flat.variance * flat.regained()) / flat.mean
        low, high = (min(_rounded(float(v)), 2.0) for v in np.quantile(shares[shares > 0], (0.25, 0.75)))
        grain = 0.0 if white else min(_grain(frequencies, power), 8.0)
        return Speckle(low=low, high=high, grain=grain), f"{how}, in proportion to the signal (speckle)"
    signal = _share(flat, growth, found)
    if signal:
        how += f", {round(100 * signal)} % of it growing with the signal"
    elif white:
        return Gaussian(low=weak, high=strong), how
    spectrum = "1" if white else " ".join(f"{v / power.max():.3g}" for v in power)
    return Measured(low=weak, high=strong, spectrum=spectrum, signal=signal), how


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _coarse(frequencies: npt.NDArray[np.float64], power: npt.NDArray[np.float64]) -> str:
    """Against white noise, whose power over rings is as their circumference."""
    mean = (frequencies**2 * power).sum() / (frequencies * power).sum()
    return "coarser" if mean < (frequencies**2).sum() / frequencies.sum() else "finer"


def _grain(frequencies: npt.NDArray[np.float64], power: npt.NDArray[np.float64]) -> float:
    """Width of a Gaussian autocorrelation with the same mean square frequency, px."""
    square = (frequencies**3 * power).sum() / (frequencies * power).sum()
    return _rounded(2.3548 / (2 * np.pi * np.sqrt(square / 2)))


def _growth(flat: Blocks, modality: str) -> float:
    """Exponent of the variance's growth with the signal: 0 none, 1 photons, 2 speckle. 0 where signals are alike."""
    lit = flat.mean > 0
    if modality in ("CT", "MR") or lit.sum() < 2 * ENOUGH:
        return 0.0  # CT: noise is made by rays, not where they end. MR: by the background, see there
    signal, variance = np.log(flat.mean[lit]), np.log(flat.variance[lit])
    ends = np.quantile(signal, (0.1, 0.9))
    if ends[1] - ends[0] < np.log(1.5):
        return 0.0
    bins = np.array_split(np.argsort(signal), 6)
    x, y = (np.asarray([np.median(v[b]) for b in bins]) for v in (signal, variance))
    return float(np.clip(np.polyfit(x, y, 1)[0], 0, 3)) if np.corrcoef(x, y)[0, 1] > 0.8 else 0.0


def _share(flat: Blocks, growth: float, found: _Found) -> float:
    """Share of the variance that is proportional to the signal, at half of the range, as `Measured` has it."""
    if growth < 0.3:
        return 0.0
    order = np.array_split(np.argsort(flat.mean), 6)
    x, y = (np.asarray([np.median(v[b]) for b in order]) for v in (flat.mean, flat.variance))
    slope, constant = np.polyfit(x, y, 1)
    middle = float(np.median(found.sds / np.maximum(found.of_255, 1e-12))) * 255 / 2
    whole = max(constant, 0.0) + slope * middle
    return round(float(np.clip(slope * middle / whole, 0, 1)), 2) if whole > 0 else 0.0
