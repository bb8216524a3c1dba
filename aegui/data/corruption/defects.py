"""What is no noise: blur, stripes, impulses, and what is missing."""

from __future__ import annotations

import numpy as np

from aegui.data.corruption.patch import Drawn, Patch, corrupt, nothing, of_255, window
from aegui.imaging import Pixels
from aegui.recipes.corruptions import Blur, Impulse, Missing, Stripes


@corrupt.register
def _(part: Blur, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    from scipy.ndimage import gaussian_filter

    def smooth(values: Pixels) -> Pixels:
        return np.asarray(gaussian_filter(values, (0, drawn.strength, drawn.strength), mode="nearest"))

    valid = np.isfinite(image)
    if valid.all():
        return smooth(image).astype(np.float32), None
    # The mean of what there is: padding has no weight.
    weight = smooth(valid.astype(np.float32))
    found = smooth(np.where(valid, image, 0)) / np.maximum(weight, 1e-6)
    return np.where(valid, found, np.nan).astype(np.float32), None


@corrupt.register
def _(part: Stripes, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    kind = drawn.kind()
    rows = part.along == "rows" or (part.along == "either" and kind.random() < 0.5)
    shape = (1, image.shape[1], 1) if rows else (1, 1, image.shape[2])
    steps = drawn.field(kind).normal(0, of_255(drawn.strength, patch.item), shape)
    return (image + steps).astype(np.float32), None


@corrupt.register
def _(part: Impulse, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    rng = drawn.field()
    low, high = window(patch.item)
    hit = rng.random((1, *image.shape[1:])) < drawn.strength
    ends = np.where(rng.random(hit.shape) < 0.5, low, high)
    return np.where(hit & np.isfinite(image), ends, image).astype(np.float32), None


@corrupt.register
def _(part: Missing, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    rng = drawn.field()
    lost = rng.random((1, *image.shape[1:])) < drawn.strength
    for shape in ((1, image.shape[1], 1), (1, 1, image.shape[2])):
        lost = lost | (rng.random(shape) < rng.uniform(0, part.rows))
    return np.where(lost & np.isfinite(image), nothing(patch.item), image).astype(np.float32), None
