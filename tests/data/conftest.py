"""Real slices as the training data hold them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aegui import imaging
from aegui.data.item import Item
from aegui.events import finish
from aegui.imaging import Pixels
from aegui.measure import estimate_noise, signal_range
from aegui.models.intensity import Scale


@pytest.fixture
def read_slice(shared: Path) -> Callable[..., tuple[Item, Pixels]]:
    """read_slice(path below the shared scans, slice) → (item, (1, H, W) normalised, NaN where it is padding)."""

    def read(path: str, index: int = 0) -> tuple[Item, Pixels]:
        series = finish(imaging.scan([shared / path])).series[0]
        source = imaging.open_series(series)
        try:
            values, valid = source.read(index), source.valid(index)
        finally:
            source.close()
        found = signal_range(series.modality, series.bits, [values])
        ct = series.modality == "CT"
        scale = Scale(-1024, 4096, (-1024, 3072)) if ct else Scale(0, found.value, (-4 * found.value, 4 * found.value))
        image = np.where(valid, scale.normalise(values), np.nan)[None].astype(np.float32)
        level = estimate_noise(np.nan_to_num(image[0]), valid)
        return Item(series, index, scale, found, level, -1), image

    return read
