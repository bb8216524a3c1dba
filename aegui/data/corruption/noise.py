"""Noise: Gaussian, photon, Rician, speckle, and as measured. Strengths are in real units of the scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aegui.data.corruption.dose import DoseFields
from aegui.data.corruption.patch import Drawn, Patch, corrupt, learner, nothing, of_255, usual, window
from aegui.imaging import Pixels
from aegui.recipes.corruptions import Gaussian, LowDoseCT, Measured, PoissonGaussian, Rician, Speckle

Array = npt.NDArray[np.float64]
MARGIN = 16  # px, made besides and cut off, as fields made by FFT repeat themselves from border to border


@corrupt.register
def _(part: Gaussian, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    sd = of_255(drawn.strength, patch.item)
    kind = drawn.kind()
    if not part.grain or kind.random() < 0.5:
        return (image + _white(image.shape, drawn.field(kind)) * np.float32(sd)).astype(np.float32), sd
    width, power = kind.uniform(0.3, 1) * part.grain, kind.uniform(0, 1)

    def transfer(f: Array) -> Array:
        """From smoothed (power 0) to filtered back projection (1), which has none of the lowest frequencies."""
        return np.asarray(f**power * np.exp(-2 * (np.pi * width * f) ** 2))

    return (image + coloured(image.shape, transfer, drawn.field(kind)) * np.float32(sd)).astype(np.float32), None


@corrupt.register
def _(part: PoissonGaussian, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    rng = drawn.field()
    zero = nothing(patch.item)
    count = (window(patch.item)[1] - zero) / drawn.strength  # one photon, normalised
    signal = image - np.float32(zero)
    expected = np.maximum(np.nan_to_num(signal.astype(np.float64)), 0) / count
    noise = (rng.poisson(expected) - expected) * count
    noise += rng.normal(0, of_255(part.read_noise, patch.item), image.shape)
    return (image + noise).astype(np.float32), None


@corrupt.register
def _(part: Rician, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    rng = drawn.field()
    sd, zero = of_255(drawn.strength, patch.item), nothing(patch.item)
    along = image - zero + rng.normal(0, sd, image.shape)
    # All other channels hold noise alone: 2·coils − 1 of them, the squares of which are added.
    across = sd**2 * rng.chisquare(2 * part.coils - 1, image.shape)
    return (np.sqrt(along**2 + across) + zero).astype(np.float32), None


@corrupt.register
def _(part: Speckle, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    rng = drawn.field()
    width = part.grain / 2.3548  # full width of the autocorrelation at half its height → SD
    field = coloured((1, *image.shape[1:]), lambda f: np.exp(-((np.pi * width * f) ** 2)), rng)
    # Log-normal: mean 1, the SD that was asked for, and never below 0.
    sd = np.sqrt(np.log1p(drawn.strength**2))
    zero = nothing(patch.item)
    return ((image - zero) * np.exp(sd * field - sd**2 / 2) + zero).astype(np.float32), None


@corrupt.register
def _(part: Measured, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    rng = drawn.field()
    sd, powers = of_255(drawn.strength, patch.item), part.powers
    white = len(set(powers)) == 1
    if white:
        field = _white(image.shape, rng)
    else:
        steps = np.linspace(0, 0.5, len(powers))
        field = coloured(image.shape, lambda f: np.sqrt(np.interp(f, steps, powers)), rng)
    if part.signal:
        signal = np.maximum(image - nothing(patch.item), 0) / usual(patch.item)
        field = field * np.sqrt(1 - part.signal + part.signal * signal)
    known = sd if white and not part.signal else None
    return (image + field * np.float32(sd)).astype(np.float32), known


@learner.register
def _(part: LowDoseCT, file: Path) -> DoseFields:
    return DoseFields(part, file)


@corrupt.register
def _(part: LowDoseCT, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    assert isinstance(patch.learned, DoseFields)
    size = (image.shape[1], image.shape[2])
    noise = patch.learned.noise(patch.member, patch.place, size, drawn.strength, drawn.seed)
    return (image + noise / np.float32(patch.item.scale.span)).astype(np.float32), None


def _white(shape: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    return rng.standard_normal(shape, dtype=np.float32)


def coloured(shape: tuple[int, ...], transfer: Callable[[Array], Array], rng: np.random.Generator) -> Pixels:
    """Noise of SD 1, (channels, H, W). transfer: root of its power at radial frequencies in cycles/px."""
    from scipy.fft import next_fast_len

    rows, columns = (next_fast_len(side + MARGIN, real=True) for side in shape[1:])
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None])
    gain = transfer(f)
    gain = (gain / np.sqrt(np.mean(gain**2)))[:, : columns // 2 + 1].astype(np.float32)
    field = np.fft.irfft2(np.fft.rfft2(_white((shape[0], rows, columns), rng)) * gain, (rows, columns))
    return np.asarray(field[:, : shape[1], : shape[2]], dtype=np.float32)
