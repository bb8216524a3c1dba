"""The removed noise: original minus denoised, in stored values, so that both together are the original exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from aegui.errors import UserError
from aegui.imaging.series import Series, Stored

SUFFIX = "_noise"  # of its file or folder, beside the denoised one
_NARROW, _WIDE = np.iinfo(np.int16), np.iinfo(np.int32)


def difference(stored: Stored, values: Stored) -> Stored:
    """stored − values, 32 bits signed."""
    wide = np.subtract(stored, values, dtype=np.int64)
    if wide.size and (wide.min() < _WIDE.min or wide.max() > _WIDE.max):
        raise UserError("The removed noise does not fit into 32 bits.", "Leave the noise series out.")
    return wide.astype("<i4")


def narrow(noise: Stored) -> bool:
    """Whether 16 bits hold it."""
    return bool(noise.size == 0 or (noise.min() >= _NARROW.min and noise.max() <= _NARROW.max))


def refuse_noise(series: Series, dtype: np.dtype[Any]) -> None:
    """UserError where original = denoised + noise cannot hold exactly."""
    if dtype.kind not in "iu" or dtype.itemsize > 4:
        raise UserError(
            f"The removed noise of {series.description} cannot be kept exactly: its values are "
            f"{'not whole numbers' if dtype.kind == 'f' else '64-bit numbers'}.",
            "Leave the noise series out.",
        )
