"""Does an engine do what torch does in fp32? Judged on slices of the series that is to be denoised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aegui.imaging import Mask, Pixels
from aegui.inference.denoiser import Denoiser, run
from aegui.inference.engines import Engine, TorchEngine
from aegui.models.intensity import sample
from aegui.models.planes import middle
from aegui.models.slicenet import SliceNet

SLICES = 3
_SIDE = 512  # the middle of larger slices tells as much

# What may differ, as a share of the noise SD (RMS), in the mean of CT (HU), and in the error that is left (dB).
FP32_RMS = 0.001
LOW_RMS = 0.02
LOW_SHIFT = 0.05
LOW_DB = 0.02
# Slices with less noise than this are held to it: 1 HU, elsewhere a quarter of a per cent of the model's range.
_LEAST_HU = 1.0
_LEAST = 0.0025


@dataclass(frozen=True)
class Sample:
    """A slice as networks take it. x: (planes, H, W), normalised. level: its noise SD, in the same units.

    span: the scan's units per normalised unit. hounsfield: whether that unit is HU.
    """

    x: Pixels
    inside: Mask
    level: float
    span: float
    hounsfield: bool

    @property
    def noise(self) -> float:
        """What differences are measured by, normalised."""
        return max(self.level, _LEAST_HU / self.span if self.hounsfield else _LEAST)


class Reference:
    """A sample with what torch in fp32 makes of it, worked out when it is asked for."""

    def __init__(self, plain: TorchEngine, net: SliceNet, sample: Sample) -> None:
        self.sample = sample
        self._plain = plain
        self._net = net

    @property
    def tells(self) -> bool:
        """Whether engines could differ on it; of a blank slice all remove nothing."""
        return bool(self.sample.inside.any()) and self.sample.level > 0

    def run(self, engine: Engine, x: Pixels | None = None) -> Pixels:
        """What an engine removes from the sample, or from another slice like it: (c, H, W)."""
        seen = self.sample.x if x is None else x
        found: Pixels = run(engine, self._net, seen[None], np.array([self.sample.level], np.float32))[0]
        return found

    @cached_property
    def removed(self) -> Pixels:
        """What torch removes."""
        found: Pixels = self.run(self._plain)
        return found

    @cached_property
    def again(self) -> tuple[Pixels, Pixels, float]:
        """The denoised sample with new noise, that noise, and the mean square error that torch leaves."""
        clean = middle(self.sample.x, len(self.removed)) - self.removed
        noise = np.random.default_rng(0).normal(0, self.sample.noise, clean.shape).astype(np.float32)
        noisy = self.sample.x.copy()
        middle(noisy, len(clean))[:] = clean + noise
        return noisy, noise, self._left(self.run(self._plain, noisy), noise)

    def _left(self, taken: Pixels, noise: Pixels) -> float:
        return float(np.mean((taken - noise)[:, self.sample.inside].astype(np.float64) ** 2))

    def problem(self, engine: Engine, *, thorough: bool) -> str:
        """Why the engine does not do what torch does, or nothing. thorough: compare the errors left, too."""
        inside = self.sample.inside
        if not inside.any():
            return ""
        difference = (self.run(engine) - self.removed)[:, inside].astype(np.float64)
        if not np.isfinite(difference).all():
            return "gives values that are no numbers"
        rms = float(np.sqrt(np.mean(difference**2))) / self.sample.noise
        low = engine.kind.precision != "fp32"
        most = LOW_RMS if low else FP32_RMS
        if rms > most:
            return f"differs by {100 * rms:.2g} % of the noise (at most {100 * most:g} %)"
        shift = abs(float(difference.mean())) * self.sample.span
        if low and self.sample.hounsfield and shift > LOW_SHIFT:
            return f"shifts values by {shift:.2g} HU (at most {LOW_SHIFT:g} HU)"
        if low and thorough:
            noisy, noise, left = self.again
            worse = 10 * np.log10(max(self._left(self.run(engine, noisy), noise), 1e-20) / max(left, 1e-20))
            if not worse <= LOW_DB:  # so is NaN
                return f"leaves {worse:.2g} dB more noise (at most {LOW_DB:g} dB)"
        return ""


def references(denoiser: Denoiser, plain: TorchEngine, noise_level: float | None = None) -> list[Reference]:
    """Slices spread over the denoiser's series, the middle one first."""
    source = denoiser.source
    indices = sorted(sample(source, SLICES), key=lambda index: abs(index - len(source) // 2))
    found = []
    for index in indices:
        one = denoiser.at(index, noise_level)
        top, left = (max(0, side - _SIDE) // 2 for side in one.inside.shape)
        part = np.s_[..., top : top + _SIDE, left : left + _SIDE]
        span = denoiser.scale.span
        hounsfield = source.series.unit == "HU"
        cut = Sample(denoiser.planes(one)[part], one.inside[part], one.level / span, span, hounsfield)
        found.append(Reference(plain, denoiser.net, cut))
    return found
