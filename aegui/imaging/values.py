"""Stored values → 32-bit real ones, and what can be told from values where no header tells it."""

from __future__ import annotations

import numpy as np

from aegui.imaging.series import Mask, Pixels, Stored

OUTSIDE_CT = -2000.0  # HU and below: never anatomy, so outside the field of view
_CT_LIKE = -900  # a grey value this low in a whole-number volume is air in HU


def single(values: Stored) -> Pixels:
    """As 32-bit floats; what does not fit is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def finite(values: Pixels) -> Pixels:
    """With 0 for what is not a number, in place."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)


def numbers(values: Stored) -> Mask:
    """True where there is a number that 32 bits hold, in all colours: (rows, columns)."""
    if values.dtype.kind != "f":
        return np.ones(values.shape[:2], bool)
    mask = np.isfinite(single(values))
    return np.asarray(mask.all(axis=2) if values.ndim == 3 else mask)


def looks_like_ct(values: Stored) -> bool:
    """Whether grey values of a slice without a header can only be Hounsfield units."""
    known = values[np.isfinite(values)]
    return known.size > 0 and -4096 <= float(known.min()) <= _CT_LIKE and 0 < float(known.max()) <= 32767
