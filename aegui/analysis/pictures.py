"""Slices as RGB bytes: windowed greys and the residual map, for reports and files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.floating]
Bytes = npt.NDArray[np.uint8]

WAS_DARKER = (86, 170, 240)  # residual < 0: blue
WAS_BRIGHTER = (255, 176, 64)  # residual > 0: orange


def grey(image: Pixels, width: float, level: float) -> Bytes:
    """Linear grey inside the window, (rows, columns, 3). Colour slices keep their channels."""
    low = level - width / 2
    scaled = np.clip((image - low) / max(width, 1e-12), 0, 1)
    values = np.rint(np.nan_to_num(scaled) * 255).astype(np.uint8)
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


def residual_map(residual: Pixels, limit: float) -> Bytes:
    """Blue – black – orange over −limit … limit, (rows, columns, 3)."""
    if residual.ndim == 3:
        residual = residual.mean(axis=-1)
    share = np.clip(np.nan_to_num(residual / max(limit, 1e-12)), -1, 1)[..., None]
    colour = np.where(share > 0, np.array(WAS_BRIGHTER), np.array(WAS_DARKER))
    return np.asarray(np.rint(np.abs(share) * colour), dtype=np.uint8)


def residual_table(steps: int = 256) -> Bytes:
    """The same colours as a lookup table from −limit to limit, (steps, 3)."""
    return np.asarray(residual_map(np.linspace(-1.0, 1.0, steps)[None], 1.0)[0])


def residual_limit(residual: Pixels, valid: npt.NDArray[np.bool_] | None = None) -> float:
    """A round number that holds 99.5 % of the residual on either side of 0."""
    values = np.abs(residual[valid] if valid is not None and valid.any() else residual)
    top = float(np.percentile(values, 99.5)) if values.size else 0.0
    if not np.isfinite(top) or top <= 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(top))
    return float(next(step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * decade >= top * 0.999) * decade)
