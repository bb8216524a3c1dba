"""Does the removed noise still show anatomy?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegui.imaging import Mask, Pixels

BLOCK = 8
# Above this, residuals of the shipped models on real scans showed edges to the eye.
ALERT = 0.6


def _blocks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows, columns = (side // BLOCK for side in values.shape)
    cut = values[: rows * BLOCK, : columns * BLOCK]
    return np.asarray(cut.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)))


def structure_score(noisy: Pixels, denoised: Pixels, mask: Mask | None = None) -> float:
    """0 … 1: how much the local strength of the residual follows the edges of the denoised slice.

    Rank correlation, over 8×8 blocks, of residual energy with edge strength, less what stationary noise
    gives by chance (none). 0 where the residual is the same everywhere, 1 where it sits on the edges.
    """
    if noisy.ndim == 3:
        noisy, denoised = noisy.mean(axis=-1), denoised.mean(axis=-1)
    clean = np.asarray(denoised, dtype=np.float64)
    residual = np.asarray(noisy, dtype=np.float64) - clean
    gy, gx = np.gradient(clean)
    edges, energy = _blocks(np.hypot(gx, gy)), _blocks(residual**2)
    use = np.ones(edges.shape, dtype=bool) if mask is None else _blocks(mask.astype(np.float64)) == 1
    use &= energy > 0
    if use.sum() < 16:
        return 0.0
    a, b = (values[use].argsort().argsort().astype(np.float64) for values in (edges, energy))
    return float(max(0.0, np.corrcoef(a, b)[0, 1]))
