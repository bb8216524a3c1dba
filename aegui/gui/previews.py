"""What each model does to one slice of the user's own scans, and how long that takes here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aegui.errors import UserError
from aegui.events import Done, Event, Events, Image, Progress
from aegui.imaging.series import Series

SIDE = 240  # the crop shown on a card, in pixels of the slice


@dataclass(frozen=True, slots=True)
class SliceShown(Event):
    """The user's slice (a square crop, real units) before any model ran. window: (width, level)."""

    noisy: Image
    window: tuple[float, float]
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Cleaned(Event):
    """The same crop from a model. seconds: for the whole slice. problem: why there is none.

    unlike: in which way the scan is not what the model has seen.
    """

    ref: str
    image: Image | None
    seconds: float
    problem: str = ""
    unlike: tuple[str, ...] = ()


def run(series: Series, models: Sequence[str | Path], device: str = "auto") -> Events:
    """Read the middle slice and clean it with each model. Done(None)."""
    from aegui import imaging
    from aegui.data.looks import looks_of, unlike
    from aegui.inference.denoiser import Denoiser
    from aegui.models.zoo import load_model
    from aegui.training.step import choose_device

    source = imaging.open_series(series)
    try:
        index = len(source) // 2
        pixels = source.read(index)
        yield SliceShown(crop(pixels), window(series, pixels), series.inverted)
        looks = looks_of(source)
        for number, ref in enumerate(models):
            yield Progress(number, len(models), "Trying models on your slice")
            try:
                denoiser = Denoiser(load_model(ref), source, choose_device(device))
                denoiser.slice(index)  # the first slice also warms caches up
                began = time.monotonic()
                image = denoiser.slice(index).pixels
                taken = time.monotonic() - began
                yield Cleaned(str(ref), crop(image), taken, unlike=tuple(unlike(denoiser.card, looks)))
            except UserError as error:
                yield Cleaned(str(ref), None, 0.0, error.message)
    finally:
        source.close()
    yield Done()


def crop(pixels: Image) -> Image:
    """The middle square, grey."""
    grey = pixels.mean(axis=2) if pixels.ndim == 3 else pixels
    rows, columns = grey.shape
    side = min(SIDE, rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return grey[top : top + side, left : left + side].copy()


def window(series: Series, pixels: Image) -> tuple[float, float]:
    """(width, level) of the picture: the soft-tissue window for CT, else the slice's own range."""
    import numpy as np

    if series.modality == "CT":
        return 400.0, 40.0
    low, high = (float(v) for v in np.percentile(crop(pixels), (0.5, 99.5)))
    return max(high - low, 1e-6), (low + high) / 2
