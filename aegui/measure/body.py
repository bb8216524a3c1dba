"""Where the patient is in a slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegui.measure.noise import TISSUE
from aegui.measure.scores import foreground

Mask = npt.NDArray[np.bool_]


def inside_body(pixels: npt.NDArray[np.floating], valid: Mask, modality: str) -> Mask:
    """Where tissue is: not air, not background, but with the small holes that noise tears. Of CT and MR; else all."""
    from scipy.ndimage import binary_closing

    if modality == "CT":
        found = pixels > TISSUE
    elif modality == "MR":
        found = pixels > 0.5 * pixels[foreground(pixels)].mean() if foreground(pixels).any() else foreground(pixels)
    else:
        return valid
    return np.asarray(binary_closing(found, iterations=2)) & valid
