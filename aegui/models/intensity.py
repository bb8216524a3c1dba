"""Real units to a model's normalised units and back, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegui.imaging import Mask, Pixels, Series, SliceSource
from aegui.measure import foreground
from aegui.models.card import Card, FixedRange

SAMPLE = 16


@dataclass(frozen=True)
class Scale:
    """normalised = (value − low) / span. limits: values outside pass through models unchanged, in real units."""

    low: float
    span: float
    limits: tuple[float, float]

    def normalise(self, pixels: Pixels) -> Pixels:
        """Real units → normalised, not clipped."""
        return ((pixels - self.low) / self.span).astype(np.float32)

    def restore(self, pixels: Pixels) -> Pixels:
        """Normalised → real units."""
        return (pixels * self.span + self.low).astype(np.float32)

    @property
    def bounds(self) -> tuple[float, float]:
        """The limits in normalised units."""
        return (self.limits[0] - self.low) / self.span, (self.limits[1] - self.low) / self.span

    def takes(self, x: Pixels) -> Mask:
        """Where (channels, H, W), normalised, is inside the limits in all channels; not where it is NaN."""
        low, high = self.bounds
        return np.asarray(((x >= low) & (x <= high)).all(axis=0))


def sample(source: SliceSource, count: int = SAMPLE) -> list[int]:
    """Slice numbers spread evenly over a series."""
    return sorted({round(i) for i in np.linspace(0, len(source) - 1, min(count, len(source)))})


def scale_for(card: Card, series: Series, reference: SliceSource) -> Scale:
    """The scale of a series for a model. reference: the source whose values set a robust range."""
    intensity = card.intensity_for("8-bit" if series.bits <= 8 and "8-bit" in card.intensity else series.modality)
    if isinstance(intensity, FixedRange):
        return Scale(intensity.low, intensity.high - intensity.low, intensity.limits or (intensity.low, intensity.high))
    values = []
    for index in sample(reference):
        pixels = reference.read(index)
        if pixels.ndim == 3:
            pixels = pixels.mean(axis=-1)
        values.append(pixels[reference.valid(index) & foreground(pixels)])
    pooled = np.concatenate(values)
    top = float(np.percentile(pooled, intensity.percentile)) if pooled.size else 1.0
    top = top if top > 0 else 1.0
    return Scale(0.0, top, (-intensity.headroom * top, intensity.headroom * top))
