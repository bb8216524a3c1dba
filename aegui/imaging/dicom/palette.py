"""PALETTE COLOR → RGB. Segmented tables are short programs, so they are looked through before they are run."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from aegui.imaging.series import Stored

_MOST = 1 << 16  # entries of a table
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def through_palette(values: Stored, header: Dataset) -> Stored:
    """Stored values as RGB of 8 bits. ValueError if the palette would not end."""
    for colour in ("Red", "Green", "Blue"):
        data = header.get(f"Segmented{colour}PaletteColorLookupTableData")
        if data:
            wide = header[f"{colour}PaletteColorLookupTableDescriptor"].value[2] > 8
            order = "<" if header.original_encoding[1] is not False else ">"
            table = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2" if wide else "u1").tolist()
            if _length(table, 0, None) > _MOST:
                raise ValueError("its palette is damaged")
    colours: Stored = apply_color_lut(values, header)
    # Tables of 16 bits often hold 8.
    if colours.dtype == np.uint16:
        colours = colours >> (8 if colours.max() > 255 else 0)
    return colours.astype(np.uint8)


def _length(table: list[int], place: int, segments: int | None) -> int:
    """How many entries these segments (all, or so many) make; indirect ones may not lead to others (PS3.3 C.7.9.2)."""
    total = 0
    while place + 1 < len(table) and total <= _MOST and segments != 0:
        kind, length = table[place : place + 2]
        place += 2
        if kind == _INDIRECT:
            if segments is not None:
                raise ValueError("its palette is damaged")
            # The offset is a number of 32 bits; no table is long enough for more than its low half.
            total += _length(table, table[place] if place < len(table) else 0, length)
            place += 2
        else:
            total += length
            place += length if kind == _DISCRETE else 1
        segments = None if segments is None else segments - 1
    return total
