"""One slice of the training data."""

from __future__ import annotations

from dataclasses import dataclass

from aegui.imaging import Series
from aegui.measure import Range
from aegui.models.intensity import Scale


@dataclass(frozen=True)
class Item:
    """One slice. level: SD of its own noise, normalised. label: class number or −1."""

    series: Series
    index: int
    scale: Scale
    range: Range
    level: float
    label: int
