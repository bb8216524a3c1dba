"""Artefacts of lossy compression: the patch goes through Pillow's own encoder and back.

The data range is mapped to the values of a picture; what lies outside it stays as it is.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from aegui.data.corruption.patch import Drawn, Patch, corrupt, whole, window
from aegui.imaging import Pixels
from aegui.recipes.corruptions import JPEG, JPEG2000

BLOCK = 8  # px, of JPEG with chroma at full resolution
SMALLEST = 128  # px: JPEG 2000 spends some 100 bytes on headers, too much of a small patch
HEADERS = 150  # bytes of JPEG 2000 that hold no pixels


@corrupt.register
def _(part: JPEG, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    # Blocks lie where they lie in the whole slice.
    before = [place % BLOCK for place in patch.place]
    around = [(0, 0), (before[0], 0), (before[1], 0)]
    options = {"quality": round(drawn.strength), "subsampling": 0}
    return _through(image, patch, around, 8, "JPEG", options), None


@corrupt.register
def _(part: JPEG2000, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    channels, rows, columns = image.shape
    # Pillow writes 16 bits of grey images only.
    bits = 16 if channels == 1 and patch.item.series.bits > 8 else 8
    around = [(0, 0), *((0, max(0, min(SMALLEST, 2 * side) - side)) for side in (rows, columns))]
    raw = channels * (rows + around[1][1]) * (columns + around[2][1]) * bits / 8
    rate = raw / (raw / drawn.strength + HEADERS)
    options = {"quality_mode": "rates", "quality_layers": [max(rate, 1.0)], "irreversible": True, "no_jp2": True}
    return _through(image, patch, around, bits, "JPEG2000", options), None


def _through(
    image: Pixels, patch: Patch, around: list[tuple[int, int]], bits: int, form: str, options: dict[str, Any]
) -> Pixels:
    low, high = window(patch.item)
    top = 2**bits - 1
    inside = np.isfinite(image) & (image >= low) & (image <= high)
    scaled = np.clip((np.pad(whole(image), around, mode="symmetric") - low) / (high - low), 0, 1) * top
    stored = np.rint(scaled).astype(np.uint16 if bits > 8 else np.uint8)
    decoded = _coded(stored, form, options)[:, around[1][0] :, around[2][0] :][:, : image.shape[1], : image.shape[2]]
    found = decoded.astype(np.float32) / top * (high - low) + low
    return np.where(inside, found, image).astype(np.float32)


def _coded(stored: npt.NDArray[Any], form: str, options: dict[str, Any]) -> npt.NDArray[Any]:
    from PIL import Image

    picture = stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, form, **options)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        decoded = np.asarray(opened)
    return decoded[None] if decoded.ndim == 2 else np.moveaxis(decoded, -1, 0)
