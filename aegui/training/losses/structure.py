"""Terms that compare structure: SSIM at one and several scales, edges, spectra."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from aegui.recipes.losses import SSIM, Edges, Fourier, MultiScaleSSIM
from aegui.training.losses.term import Context, Seen, Term, build_term, compared, nothing

SIDE = 11  # px, of the Gaussian window
SIGMA = 1.5  # px
C1, C2 = 0.01**2, 0.03**2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of Wang et al. 2003, fine to coarse
# Below this an SSIM counts as none: powers under 1 have no finite slope at 0.
LEAST = 1e-4
# Power below which there is nothing to compare: noise of a thousandth of the range.
FAINT = 1e-6


def _blurred(images: Tensor) -> Tensor:
    """(N, c, H, W) under the window, where all of it lies inside the image."""
    x = torch.arange(SIDE, dtype=images.dtype, device=images.device) - SIDE // 2
    kernel = torch.exp(-x.square() / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, SIDE)
    rows = nn.functional.conv2d(images, kernel, groups=images.shape[1])
    return nn.functional.conv2d(rows, kernel.mT, groups=images.shape[1])


def similarity(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(SSIM, its contrast part) of each image, range 1 (Wang et al. 2004): Gaussian 11×11, σ 1.5, inside the image.

    Row by row, then column by column: MONAI's takes ten times as long on a processor.
    """
    # Variances are differences of squares, which far from 0 drown in rounding.
    base = target.mean(dim=(-2, -1), keepdim=True).detach()
    x, y = output - base, target - base
    x, y, xx, yy, xy = _blurred(torch.cat((x, y, x * x, y * y, x * y), dim=1)).chunk(5, dim=1)
    spread, shared = (xx - x * x) + (yy - y * y), xy - x * y
    contrast = (2 * shared + C2) / (spread + C2)
    x, y = x + base, y + base
    ssim = (2 * x * y + C1) / (x * x + y * y + C1) * contrast
    return ssim.flatten(1).mean(dim=1), contrast.flatten(1).mean(dim=1)


def multi_scale_similarity(output: Tensor, target: Tensor, scales: int) -> Tensor:
    """MS-SSIM of each image, with the first exponents of Wang et al. 2003 made to add up to 1."""
    product = output.new_ones(output.shape[0])
    weights = [weight / sum(SCALES[:scales]) for weight in SCALES[:scales]]
    for number, weight in enumerate(weights, 1):
        ssim, contrast = similarity(output, target)
        product = product * (ssim if number == scales else contrast).clamp_min(LEAST) ** weight
        if number < scales:
            output, target = (nn.functional.avg_pool2d(image, 2, ceil_mode=True) for image in (output, target))
    return product


def fitting(side: int, scales: int) -> int:
    """How many scales a picture with this smaller side has room for."""
    return sum(side > (SIDE - 1) << scale for scale in range(scales))


@build_term.register
def _(part: SSIM, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        return 1 - similarity(output, target)[0].mean() if fitting(min(output.shape[-2:]), 1) else nothing(seen)

    return term


@build_term.register
def _(part: MultiScaleSSIM, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        scales = fitting(min(output.shape[-2:]), part.scales)
        return 1 - multi_scale_similarity(output, target, scales).mean() if scales else nothing(seen)

    return term


@build_term.register
def _(part: Edges, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        error = output - target
        return error.diff(dim=-2).square().mean() + error.diff(dim=-1).square().mean()

    return term


def spectrum(image: Tensor) -> Tensor:
    """The discrete Fourier transform, scaled so that white noise of variance v has the power v everywhere."""
    found: Tensor = torch.fft.fft2(image, norm="ortho")
    return found


@lru_cache(maxsize=8)
def _rings(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """(ring of each frequency, how many each ring holds); the last ring takes what belongs to none."""
    y, x = np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None, :]
    radius = np.hypot(y, x)
    ring = np.rint(radius / max(1 / rows, 1 / columns)).astype(np.int64)
    used = (radius <= min(np.abs(y).max(), np.abs(x).max()) + 1e-9) & (ring > 0)
    numbers, place = np.unique(ring[used], return_inverse=True)
    ring[used], ring[~used] = place, len(numbers)
    count = np.bincount(ring.ravel(), minlength=len(numbers) + 1)[: len(numbers)]
    # Kept for later steps: made while validating, they would not be fit for training.
    with torch.inference_mode(False):
        return torch.from_numpy(ring.ravel()), torch.from_numpy(count)


def radial_power(image: Tensor) -> Tensor:
    """Mean power in rings of equal frequency, (N·c, rings), as `aegui.measure.nps` has it; without frequency 0."""
    rows, columns = image.shape[-2:]
    ring, count = (tensor.to(image.device) for tensor in _rings(rows, columns))
    power = spectrum(image).abs().square().reshape(-1, rows * columns)
    sums = power.new_zeros(power.shape[0], len(count) + 1).index_add(1, ring, power)
    return sums[:, :-1] / count


@build_term.register
def _(part: Fourier, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        if part.compare == "amplitude":
            return (spectrum(output).abs() - spectrum(target).abs()).abs().mean()
        # Logarithms, or the anatomy's coarse structure would outweigh all noise a thousand times.
        here, there = ((radial_power(image) + FAINT).log() for image in (output, target))
        return (here - there).abs().mean() if here.numel() else nothing(seen)

    return term
