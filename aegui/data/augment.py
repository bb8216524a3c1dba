"""Random changes of training patches. Input and target change alike, but for the dose, which is the input's alone.

Where noise is put on clean slices, zoom and k-space come first (`regridding`), so that the noise is as it was asked
for; where the noise is in the scans, all of `augment` changes it, too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aegui.data.corruption.patch import nothing, whole
from aegui.data.item import Item
from aegui.imaging import Pixels
from aegui.measure import estimate_noise
from aegui.models.planes import middle
from aegui.recipes.run import Augmentation


def cut_size(
    part: Augmentation, size: tuple[int, int], room: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Rows and columns to cut from a slice of `room` for a patch of `size`: `augment` makes them that size (zoom)."""
    if not part.scale:
        return size
    grown = 1 + part.scale / 100
    # As often larger as smaller; never more than the slice holds, and the same in both directions.
    factor = min(grown ** rng.uniform(-1, 1), room[0] / size[0], room[1] / size[1])
    rows, columns = (max(2, round(side * factor)) for side in size)
    return min(rows, room[0]), min(columns, room[1])


def augment(
    part: Augmentation,
    noisy: Pixels,
    clean: Pixels,
    level: float | None,
    item: Item,
    rng: np.random.Generator,
    size: tuple[int, int] | None = None,
) -> tuple[Pixels, Pixels, float | None]:
    """(noisy, clean, level) changed at random; before pixels are hidden.

    noisy: (planes, H, W), clean: (channels, H, W), normalised, without NaN; all planes that a model sees change alike.
    level: SD of the input's noise; None: to be estimated, and so it is after changes that colour the noise. size: of
    the result, where it is not that of the input (zoom).
    """
    size = size or (noisy.shape[1], noisy.shape[2])
    alike = noisy is clean
    if noisy.shape[1:] != size:
        noisy, clean, level = resized(noisy, size), clean if alike else resized(clean, size), None
        clean = noisy if alike else clean
    if part.kspace:
        kept = 1 - rng.uniform(0, part.kspace / 100, 2)
        noisy, clean, level = truncated(noisy, kept), truncated(clean, kept), None
    if part.intensity:
        factor = np.float32(1 + rng.uniform(-1, 1) * part.intensity / 100)
        zero = np.float32(nothing(item))
        noisy, clean = (noisy - zero) * factor + zero, (clean - zero) * factor + zero
        level = None if level is None else float(level * factor)
    if part.dose:
        more = 1 + rng.uniform(0, part.dose / 100)
        noisy = noisier(noisy, clean, more, rng)
        level = None if level is None else level * more
    if part.flips:
        for axis in (1, 2):
            if rng.random() < 0.5:
                noisy, clean = np.flip(noisy, axis), np.flip(clean, axis)
    if part.rotations and size[0] == size[1]:
        turns = int(rng.integers(4))
        noisy, clean = np.rot90(noisy, turns, (1, 2)), np.rot90(clean, turns, (1, 2))
    low, high = item.scale.bounds
    return np.clip(noisy, low, high), np.clip(clean, low, high), level


def regridding(
    part: Augmentation, size: tuple[int, int], rng: np.random.Generator
) -> Callable[[Pixels], Pixels] | None:
    """Zoom and k-space alone, for clean patches: what makes (channels, H, W) of them `size` large; NaN stays NaN.

    None where neither is asked for.
    """
    if not part.scale and not part.kspace:
        return None
    kept = 1 - rng.uniform(0, part.kspace / 100, 2) if part.kspace else None

    def regrid(image: Pixels) -> Pixels:
        missing = np.asarray(np.isnan(image).any(axis=0))
        image = whole(image)
        if image.shape[1:] != size:
            image = resized(image, size)
        if kept is not None:
            image = truncated(image, kept)
        if missing.any():
            gone = resized(missing[None].astype(np.float32), size)[0] > 0.5
            image = np.where(gone, np.float32(np.nan), image)
        return image

    return regrid


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Another grid over the same field of view: cubic, and smoothed first where it is coarser."""
    import torch
    from torch.nn.functional import interpolate

    found = interpolate(torch.from_numpy(np.array(image[None])), size, mode="bicubic", antialias=True)
    return np.asarray(found[0].numpy())


def truncated(image: Pixels, kept: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Pixels:
    """Without the outer frequencies. kept: share that stays of rows' and of columns'.

    The cosine transform is that of the mirrored patch: no ringing from one border to the opposite one.
    """
    from scipy.fft import dctn, idctn

    found = dctn(image, axes=(1, 2), norm="ortho")
    rows, columns = (int(np.ceil(side * share)) for side, share in zip(image.shape[1:], kept, strict=True))
    found[:, rows:], found[:, :, columns:] = 0, 0
    return np.asarray(idctn(found, axes=(1, 2), norm="ortho"), dtype=np.float32)


def noisier(noisy: Pixels, clean: Pixels, more: float, rng: np.random.Generator) -> Pixels:
    """The noise's SD multiplied by `more`, with the spectrum of the noise there is.

    That is the spectrum of input − target, phases drawn anew; white, where the target has the same noise. Of slices
    seen together each gets noise of its own, but for the slice itself where it stands for one that is not there.
    """
    one = middle(noisy, len(clean))
    added = _more_noise(one, clean, more, rng)
    if len(noisy) == len(clean):
        return one + added
    return np.concatenate(
        [
            other + (added if np.array_equal(other, one) else _more_noise(one, clean, more, rng))
            for other in np.split(noisy, len(noisy) // len(clean))
        ]
    )


def _more_noise(noisy: Pixels, clean: Pixels, more: float, rng: np.random.Generator) -> Pixels:
    white = rng.normal(0, 1, noisy.shape[1:]).astype(np.float32)
    own, difference = estimate_noise(noisy[0]), noisy - clean
    seen = estimate_noise(difference[0])
    if seen > 0.3 * own:
        phases = np.fft.rfft2(white)
        # One turn for all channels: what they share stays shared.
        turned = np.fft.rfft2(difference) * (phases / np.maximum(np.abs(phases), 1e-12))
        # Between two repeats there is twice the noise of one.
        noise = np.fft.irfft2(turned, noisy.shape[1:]).astype(np.float32) * np.float32(own / seen)
    else:
        noise = np.repeat(white[None], len(noisy), axis=0) * np.float32(own)
    return np.asarray(noise * np.float32(np.sqrt(more**2 - 1)), dtype=np.float32)
