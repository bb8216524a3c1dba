"""Artefacts of lossy compression: the patch goes through Pillow's own encoder and back.

The data range is mapped to the values of a picture; what lies outside it stays as it is.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aegui.data.corruption.patch import Drawn, Patch, corrupt, learner, whole, window
from aegui.data.item import Item
from aegui.imaging import Pixels
from aegui.recipes.corruptions import JPEG, JPEG2000

BLOCK = 8  # px, of JPEG with chroma at full resolution
CELL = 32  # px, over which errors of JPEG 2000 are averaged
RATIOS = 4  # at which they are measured
Stored = npt.NDArray[Any]


@corrupt.register
def _(part: JPEG, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    # Blocks lie where they lie in the whole slice.
    before = [(0, 0), *((place % BLOCK, 0) for place in patch.place)]
    stored = np.pad(_stored(image, patch.item, 8), before, mode="symmetric")
    coded = _coded(stored, "JPEG", {"quality": round(drawn.strength), "subsampling": 0})
    return _restored(coded[:, before[1][0] :, before[2][0] :], image, patch.item, 8), None


@corrupt.register
def _(part: JPEG2000, image: Pixels, patch: Patch, drawn: Drawn) -> tuple[Pixels, float | None]:
    assert isinstance(patch.learned, Errors)
    bits = _bits(patch.item, len(image))
    error = patch.learned.at(patch.member, patch.place, (image.shape[1], image.shape[2]), drawn.strength)
    if error == 0:
        return image, None
    # Not by its ratio: in the whole slice, empty parts leave their bytes to others.
    quality = {"quality_mode": "dB", "quality_layers": [-10 * float(np.log10(error))]}
    return _restored(_coded2000(_stored(image, patch.item, bits), quality), image, patch.item, bits), None


class Errors:
    """Mean square errors that JPEG 2000 leaves in every cell of whole slices, at ratios over the part's range."""

    def __init__(self, part: JPEG2000) -> None:
        self._ratios = np.geomspace(part.low, part.high, RATIOS if part.high > part.low else 1)
        self._cells: list[npt.NDArray[np.float32]] = []

    def learn(self, image: Pixels, item: Item) -> None:
        """Compress the next slice at each ratio."""
        stored = _stored(image, item, bits := _bits(item, len(image)))
        rows, columns = (-(-side // CELL) for side in stored.shape[1:])
        found = np.zeros((len(self._ratios), rows, columns), dtype=np.float32)
        lost = [(0, 0), *((0, -side % CELL) for side in stored.shape[1:])]
        for number, ratio in enumerate(self._ratios):
            coded = _coded2000(stored, {"quality_mode": "rates", "quality_layers": [float(ratio)]})
            error = ((coded.astype(np.float32) - stored) / (2**bits - 1)) ** 2
            cells = np.pad(error, lost, mode="symmetric").reshape(len(image), rows, CELL, columns, CELL)
            found[number] = cells.mean(axis=(0, 2, 4))
        self._cells.append(found)

    def skip(self) -> None:
        """No errors of the next slice."""
        self._cells.append(np.zeros((len(self._ratios), 1, 1), dtype=np.float32))

    def at(self, member: int, place: tuple[int, int], size: tuple[int, int], ratio: float) -> float:
        """Mean square error, of a range of 1, in a patch."""
        rows, columns = (slice(at // CELL, -(-(at + side) // CELL)) for at, side in zip(place, size, strict=True))
        errors = self._cells[member][:, rows, columns].mean(axis=(1, 2))
        return float(np.interp(np.log(ratio), np.log(self._ratios), errors))


@learner.register
def _(part: JPEG2000, file: Path) -> Errors:
    return Errors(part)


def _bits(item: Item, channels: int) -> int:
    """Pillow writes 16 bits of grey pictures only."""
    return 16 if channels == 1 and item.series.bits > 8 else 8


def _stored(image: Pixels, item: Item, bits: int) -> Stored:
    low, high = window(item)
    scaled = np.clip((whole(image) - low) / (high - low), 0, 1) * (2**bits - 1)
    return np.asarray(np.rint(scaled), dtype=np.uint16 if bits > 8 else np.uint8)


def _restored(coded: Stored, image: Pixels, item: Item, bits: int) -> Pixels:
    low, high = window(item)
    inside = np.isfinite(image) & (image >= low) & (image <= high)
    found = coded.astype(np.float32) / (2**bits - 1) * (high - low) + low
    return np.where(inside, found, image).astype(np.float32)


def _coded2000(stored: Stored, quality: dict[str, Any]) -> Stored:
    return _coded(stored, "JPEG2000", {**quality, "irreversible": True, "no_jp2": True})


def _coded(stored: Stored, form: str, options: dict[str, Any]) -> Stored:
    from PIL import Image

    picture = stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, form, **options)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        decoded = np.asarray(opened)
    return decoded[None] if decoded.ndim == 2 else np.moveaxis(decoded, -1, 0)
