"""Denoised values → the type they were stored in: rounded, cut to what it holds, padding untouched."""

from __future__ import annotations

import numpy as np

from aegui.imaging.series import Mask, Pixels, Stored


class Tally:
    """Which slices have come. clipped: how many pixels did not fit into the stored type."""

    def __init__(self, slices: int) -> None:
        self._missing = set(range(slices))
        self.clipped = 0

    def take(self, index: int) -> None:
        """Note slice `index`."""
        self._missing.discard(index)

    def close(self) -> None:
        """Refuse to publish a series with holes."""
        if self._missing:
            raise ValueError(f"{len(self._missing)} slices were not written, the first is {min(self._missing)}")


def encode(
    pixels: Pixels,
    stored: Stored,
    valid: Mask,
    scale: tuple[float, float] = (1.0, 0.0),
    limits: tuple[int, int] | None = None,
    tally: Tally | None = None,
) -> Stored:
    """Real values in the type of `stored`: rounded, cut to what fits.

    Unchanged voxels and padding stay exactly as they were stored.
    scale: slope and intercept that made `stored` real. limits: lowest and highest value that may be stored.
    tally: counts the pixels that were cut.
    """
    if pixels.shape != stored.shape:
        raise ValueError(f"Slice of shape {pixels.shape}, expected {stored.shape}")
    slope, intercept = scale
    real = stored.astype(np.float64)
    real *= slope
    real += intercept
    # Voxels that pass through must not change where float32 is too short for the stored value.
    with np.errstate(over="ignore", invalid="ignore"):
        keep = pixels == real.astype(np.float32)
    keep |= ~np.isfinite(pixels)
    keep |= ~(valid if stored.ndim == 2 else valid[..., None])
    values = np.where(keep, 0.0, pixels).astype(np.float64)
    values -= intercept
    values /= slope
    if stored.dtype.kind in "ui":
        kind = np.iinfo(stored.dtype)
        # The highest 64-bit number is none that a float has.
        low, high = limits or (int(kind.min), float(kind.max) if kind.bits < 64 else np.nextafter(float(kind.max), 0))
        np.rint(values, out=values)
        beyond = (values < low) | (values > high)
        if beyond.any():
            np.clip(values, low, high, out=values)
            if tally is not None:
                tally.clipped += int(np.count_nonzero(beyond & ~keep))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.where(keep, stored, values.astype(stored.dtype)))
