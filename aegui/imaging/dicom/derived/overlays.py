"""Overlays, one bit per pixel: in data of their own or, retired but still met, in bits of the pixel words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from pydicom.dataset import Dataset

from aegui.imaging.dicom.pixellayout import layout_of
from aegui.imaging.series import Stored

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _COUNT, _ORIGIN, _FIRST = 0x0010, 0x0011, 0x0015, 0x0050, 0x0051
_ALLOCATED, _POSITION, _LOCATION, _DATA = 0x0100, 0x0102, 0x0200, 0x3000


def lift_overlays(dataset: Dataset, frames: Iterable[Stored]) -> None:
    """Turn overlays that lie in pixel words into Overlay Data (PS3.3 C.9.2). frames: the words of each, in order."""
    bits = _embedded(dataset)
    if not bits:
        return
    planes: dict[int, list[Stored]] = {group: [] for group in bits}
    for words in frames:
        for group, bit in bits.items():
            planes[group].append((words >> bit & 1).astype(np.uint8))
    for group, found in planes.items():
        span = _span(dataset, group)
        if span is None or span.start >= len(found):
            span = range(len(found))
        kept = found[span.start : span.stop]
        if len(found) > 1 or (group, _COUNT) in dataset:
            _number_frames(dataset, group, span.start, len(kept))
        rows, columns = kept[0].shape
        for element, value in ((_ROWS, rows), (_COLUMNS, columns), (_ALLOCATED, 1), (_POSITION, 0)):
            dataset.add_new((group, element), "US", value)
        dataset.add_new((group, _ORIGIN), "SS", [1, 1])
        dataset.add_new((group, _DATA), "OW", _packed(kept))
        if (group, _LOCATION) in dataset:
            del dataset[group, _LOCATION]


def keep_overlay_frames(dataset: Dataset, numbers: Sequence[int]) -> None:
    """Leave of the overlays of single frames those of the frames with these numbers (from 0, ascending)."""
    for group in _GROUPS:
        span = _span(dataset, group)
        if span is None:
            continue
        places = [place for place, number in enumerate(numbers) if number in span]
        if not places:
            for tag in [tag for tag in dataset.keys() if tag.group == group]:  # noqa: SIM118 - iterating decodes all
                del dataset[tag]
            continue
        if _has_data(dataset, group):
            size = _whole(dataset, group, _ROWS) * _whole(dataset, group, _COLUMNS)
            bits = np.unpackbits(np.frombuffer(dataset[group, _DATA].value, np.uint8), bitorder="little")
            begins = [(numbers[place] - span.start) * size for place in places]
            dataset[group, _DATA].value = _packed([bits[begin : begin + size] for begin in begins])
        _number_frames(dataset, group, places[0], len(places))


def _embedded(dataset: Dataset) -> dict[int, int]:
    """Groups whose overlay lies in the pixel words, and its bit: one that no stored value has."""
    groups = [group for group in _GROUPS if (group, _POSITION) in dataset and not _has_data(dataset, group)]
    if not groups:
        return {}
    layout = layout_of(dataset, "")
    unused = set(range(layout.allocated)) - set(range(layout.high + 1 - layout.stored, layout.high + 1))
    bits = {
        group: _whole(dataset, group, _POSITION, -1)
        for group in groups
        if _whole(dataset, group, _ALLOCATED, layout.allocated) == layout.allocated and layout.samples == 1
    }
    return {group: bit for group, bit in bits.items() if bit in unused}


def _span(dataset: Dataset, group: int) -> range | None:
    """Numbers, from 0, of the frames that the overlay belongs to; None where it names none (PS3.3 C.9.3)."""
    count, first = _whole(dataset, group, _COUNT, 1), _whole(dataset, group, _FIRST)
    if count <= 1 and first <= 0:
        return None
    begin = max(first, 1) - 1
    return range(begin, begin + max(count, 1))


def _number_frames(dataset: Dataset, group: int, first: int, count: int) -> None:
    dataset.add_new((group, _COUNT), "IS", count)
    dataset.add_new((group, _FIRST), "US", first + 1)


def _has_data(dataset: Dataset, group: int) -> bool:
    return (group, _DATA) in dataset and bool(dataset[group, _DATA].value)


def _whole(dataset: Dataset, group: int, element: int, default: int = 0) -> int:
    try:
        return int(dataset[group, element].value)
    except Exception:  # noqa: BLE001 - absent, empty or broken: nothing of it is worth losing the image
        return default


def _packed(planes: Sequence[Stored]) -> bytes:
    """Bits one after another from the lowest on, of all frames without a gap; of even length."""
    data = np.packbits(np.concatenate([plane.ravel() for plane in planes]), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)
