"""Some frames of a multi-frame object, as an object of their own."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from aegui.imaging.dicom.derived.classes import FRAME_GROUPS
from aegui.imaging.dicom.derived.overlays import keep_overlay_frames
from aegui.imaging.dicom.elements import whole

# They number the source's frames.
_NUMBERED = (
    "RepresentativeFrameNumber",
    "FrameNumbersOfInterest",
    "FrameOfInterestDescription",
    "FrameOfInterestType",
    "StartTrim",
    "StopTrim",
)
# Vectors of nuclear medicine: how many things they number, and what describes each of these (PS3.3 C.8.4.8).
_COUNTED = {
    "EnergyWindowVector": ("NumberOfEnergyWindows", "EnergyWindowInformationSequence"),
    "DetectorVector": ("NumberOfDetectors", "DetectorInformationSequence"),
    "PhaseVector": ("NumberOfPhases", "PhaseInformationSequence"),
    "RotationVector": ("NumberOfRotations", "RotationInformationSequence"),
}


def keep_frames(dataset: Dataset, numbers: tuple[int, ...]) -> None:
    """Leave the frames with these numbers (from 0, ascending) and what describes them."""
    total = max(1, whole(dataset, "NumberOfFrames", 1))
    dataset.NumberOfFrames = len(numbers)
    if len(numbers) == total:
        return
    groups = list(dataset.get(FRAME_GROUPS) or ())
    if len(groups) == total:
        kept = [groups[number] for number in numbers]
        _renumber(kept)
        dataset[FRAME_GROUPS].value = Sequence(kept)
    _cut_vectors(dataset, numbers, total)
    keep_overlay_frames(dataset, numbers)
    for keyword in _NUMBERED:
        if keyword in dataset:
            delattr(dataset, keyword)


def _renumber(groups: list[Dataset]) -> None:
    """Dimension Index Values count from 1 without holes (PS3.3 C.7.6.17.1)."""
    contents = [next(iter(group.get("FrameContentSequence") or ()), Dataset()) for group in groups]
    values = [list(_values(content)) for content in contents]
    if not values or len({len(item) for item in values}) != 1:
        return
    ranks = [{value: i + 1 for i, value in enumerate(sorted(set(column)))} for column in zip(*values, strict=True)]
    for content, item in zip(contents, values, strict=True):
        if item:
            content.DimensionIndexValues = [rank[value] for rank, value in zip(ranks, item, strict=True)]


def _values(content: Dataset) -> list[int]:
    value = content.get("DimensionIndexValues")
    if value is None:
        return []
    return [int(item) for item in _many(value) or [value]]


def _cut_vectors(dataset: Dataset, numbers: tuple[int, ...], total: int) -> None:
    """Vectors with one value per frame, to which Frame Increment Pointer points."""
    pointer = dataset.get("FrameIncrementPointer")
    for tag in _many(pointer) or ([] if pointer is None else [pointer]):
        values = _many(dataset[tag].value) if tag in dataset else []
        if len(values) == total:
            dataset[tag].value = [values[number] for number in numbers]
    for vector, (count, items) in _COUNTED.items():
        if vector in dataset:
            _recount(dataset, vector, count, items)


def _recount(dataset: Dataset, vector: str, count: str, items: str) -> None:
    """Leave of what a vector numbers from 1 only what is still there."""
    value = dataset[vector].value
    numbers = _many(value) or [value]
    present = sorted(set(numbers))
    told = list(dataset.get(items) or ())
    if present[0] < 1 or present[-1] > whole(dataset, count):
        return  # broken before: nobody can tell what is meant
    if len(told) == whole(dataset, count):
        dataset[items].value = Sequence([told[number - 1] for number in present])
    dataset[vector].value = [present.index(number) + 1 for number in numbers]
    setattr(dataset, count, len(present))


def _many(value: object) -> list[Any]:
    """The values of an element that has several."""
    return list(value) if isinstance(value, MultiValue | list) else []
