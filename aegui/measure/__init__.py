"""Every figure has one definition, and it is here. numpy only.

Range R: 400 HU for CT, 255 for 8-bit images, else the 99.5th percentile of the clean reference's
foreground (voxels above the slice's mean). PSNR = 10·log10(R²/MSE) inside the valid mask, per slice.
"""

from aegui.measure.classes import auc
from aegui.measure.noise import TISSUE, estimate_noise, level_of
from aegui.measure.scores import (
    CT_WINDOW,
    Range,
    bias,
    foreground,
    psnr,
    rmse,
    signal_range,
    ssim,
    ssim_window,
    together,
)

__all__ = [
    "CT_WINDOW",
    "TISSUE",
    "Range",
    "auc",
    "bias",
    "estimate_noise",
    "foreground",
    "level_of",
    "psnr",
    "rmse",
    "signal_range",
    "ssim",
    "ssim_window",
    "together",
]
