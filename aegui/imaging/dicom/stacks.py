"""Slices → stacks: what can lie in one volume, and what tells several volumes at the same places apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aegui.imaging import geometry as geo
from aegui.imaging.dicom import kinds
from aegui.imaging.dicom.frames import Frame, Value

_SAME_DIRECTION, _SAME_SIZE = 0.01, 0.005  # direction cosines; mm
_FEWEST_LOOSE = 4  # slices, each with an orientation of its own, that stay together


@dataclass(frozen=True)
class Placed:
    """A slice with what decides where it belongs.

    source: number of its file, or of its frame. shape: what must be equal in a volume. order: what sorts slices
    where their place does not. marks: what tells slices of one place apart, asked for only where that is needed.
    """

    source: int
    frame: Frame
    shape: tuple[Hashable, ...]
    order: tuple[Any, ...]
    marks: Callable[[], Mapping[str, Value]]


@dataclass(frozen=True)
class Group:
    """Slices of one size, direction and pixel size. loose: every slice has a direction of its own."""

    slices: list[Placed]
    loose: bool = False


@dataclass(frozen=True)
class Part:
    """One volume, sorted. words: what it is in its group. marks: what told it apart. doubled: see `parts`."""

    slices: list[Placed]
    words: tuple[str, ...] = ()
    marks: Mapping[str, Value] | None = None
    doubled: int = 0


@dataclass(frozen=True)
class _Mark:
    """What may tell slices of one place apart. word: names a part. contrast: its parts look different.

    ranked: values that differ from place to place, such as times, are counted at each place.
    """

    name: str
    word: str
    contrast: bool = False
    ranked: bool = False
    always: bool = False


_MARKS = (
    _Mark("contrast", "", contrast=True, always=True),
    _Mark("energy", "Energy window", contrast=True, always=True),
    _Mark("detector", "Detector", contrast=True, always=True),
    _Mark("image_type", "Image type", contrast=True),
    _Mark("metabolite", "Metabolite", contrast=True),
    _Mark("kvp", "kVp", contrast=True),
    _Mark("kernel", "Kernel", contrast=True),
    _Mark("te", "Echo", contrast=True),
    _Mark("echo", "Echo", contrast=True),
    _Mark("b_value", "b", contrast=True),
    _Mark("direction", "Diffusion", contrast=True),
    _Mark("gradient", "Direction", contrast=True),
    _Mark("inversion", "Inversion", contrast=True),
    _Mark("flip_angle", "Flip angle", contrast=True),
    _Mark("temporal", "Repeat"),
    _Mark("rr", "Interval"),
    _Mark("trigger", "Phase", ranked=True),
    _Mark("acquisition", "Acquisition"),
    _Mark("time", "Repeat", ranked=True),
)


def groups(slices: Sequence[Placed]) -> list[Group]:
    """Slices that can lie in one stack; the largest group first."""
    shapes: dict[Hashable, dict[Hashable, list[Placed]]] = defaultdict(dict)
    for item in slices:
        frame = item.frame
        known = (frame.position is None, frame.orientation is None, frame.spacing is None)
        exact = (frame.orientation, frame.spacing)
        shapes[(item.shape, known, frame.stack)].setdefault(exact, []).append(item)
    found: list[Group] = []
    for exacts in shapes.values():
        found += _alike(list(exacts.values()))
    return sorted(found, key=lambda group: (-len(group.slices), min(item.order for item in group.slices)))


def _alike(exact: list[list[Placed]]) -> list[Group]:
    """Join what differs by no more than rounding. exact: slices of exactly equal direction and pixel size."""
    if len(exact) == 1:
        return [Group(exact[0])]
    first = exact[0][0].frame
    scale = [_SAME_DIRECTION] * (6 if first.orientation else 0) + [_SAME_SIZE] * (2 if first.spacing else 0)
    frames = [items[0].frame for items in exact]
    values = np.array([[*(frame.orientation or ()), *(frame.spacing or ())] for frame in frames]) / scale
    heads: list[int] = []
    joined: dict[int, list[Placed]] = {}
    for i, value in enumerate(values):
        near = np.abs(values[heads] - value).max(axis=1) <= 1 if heads else np.zeros(0, bool)
        head = heads[int(near.argmax())] if near.any() else i
        if head == i:
            heads.append(i)
        joined.setdefault(head, []).extend(exact[i])
    if len(joined) >= _FEWEST_LOOSE and len(joined) == sum(map(len, joined.values())):
        pixel = values[:, -2:] if first.spacing else values[:, :0]
        if np.ptp(pixel, axis=0).max(initial=0) <= 1:
            return [Group([item for items in joined.values() for item in items], loose=True)]
    return [Group(items) for items in joined.values()]


def parts(group: Group) -> list[Part]:
    """The volumes of a group, each sorted along the normal.

    doubled: slices at places already taken that nothing tells apart, if they fill no volume of their own.
    """
    known = not group.loose and all(i.frame.position is not None and i.frame.orientation for i in group.slices)
    place: dict[int, int] = {}
    if known:
        axes = group.slices[0].frame.orientation or ()
        spots = geo.places(geo.along_normal([i.frame.position for i in group.slices if i.frame.position], axes))
        place = {id(item): int(spot) for item, spot in zip(group.slices, spots, strict=True)}
    marks = {id(item): _marks(item) for item in group.slices} if _needed(group, place) else {}
    return [_sorted(part, place) for part in _split(group.slices, place, marks, _MARKS, Part([]))]


def moments(volumes: Sequence[Placed]) -> list[Part]:
    """What tells volumes apart that lie at the same places, each told by its first slice."""
    place = {id(item): 0 for item in volumes}
    marks = {id(item): _marks(item) for item in volumes}
    return [_sorted(part, place) for part in _split(list(volumes), place, marks, _MARKS, Part([]), stay=False)]


def _needed(group: Group, place: dict[int, int]) -> bool:
    if len({(item.frame.component, item.frame.image_type) for item in group.slices}) > 1:
        return True
    if any("energy" in item.frame.marks for item in group.slices):
        return True
    return len(set(place.values())) < len(place)


def _marks(item: Placed) -> dict[str, Value]:
    frame = item.frame
    return {
        **item.marks(),
        "contrast": kinds.contrast(frame.component, frame.image_type, frame.calculation),
        "image_type": "\\".join(frame.image_type),
    }


def _key(value: Value | None) -> tuple[int, float, str]:
    if value is None:
        return (-1, 0.0, "")
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, str(value))


def _split(
    slices: list[Placed],
    place: dict[int, int],
    marks: dict[int, dict[str, Value]],
    left: Sequence[_Mark],
    above: Part,
    stay: bool = True,
) -> list[Part]:
    """stay: moments of one place stay together."""
    counts = _counts(slices, place)
    for number, mark in enumerate(left if marks else ()):
        if counts <= 1 and not mark.always:
            continue
        labels = {id(item): _key(marks[id(item)].get(mark.name)) for item in slices}
        alike: dict[Any, list[Placed]] = defaultdict(list)
        for item in slices:
            alike[labels[id(item)]].append(item)
        if len(alike) < 2:
            continue
        dealt = [alike[label] for label in sorted(alike)]
        doubled = above.doubled
        one = stay and _one_place(slices, place)
        if not mark.always and not _tells_apart(dealt, place, counts, one and not mark.contrast):
            if one or not mark.ranked or not _distinct(slices, place, labels):
                continue
            dealt = _by_rank(slices, place, labels)
            doubled = _doubled(dealt)
        found: list[Part] = []
        for word, members in zip(_words(mark, dealt, marks), dealt, strict=True):
            told = dict(above.marks or {})
            value = marks[id(members[0])].get(mark.name)
            if value is not None and mark.name not in ("contrast", "image_type"):
                told[mark.name] = value
            down = Part([], (*above.words, word) if word else above.words, told, doubled)
            found += _split(members, place, marks, left[number + 1 :], down, stay)
        return found
    if counts <= 1 or (stay and _one_place(slices, place)):
        return [Part(slices, above.words, above.marks, above.doubled)]
    weighted = any(_key(marks[id(item)].get("b_value")) > (0, 0.0, "") for item in slices)
    return _dealt(slices, place, above, weighted)


def _one_place(slices: list[Placed], place: dict[int, int]) -> bool:
    return len({place.get(id(item)) for item in slices}) == 1


def _counts(slices: list[Placed], place: dict[int, int]) -> int:
    """The most slices there are at one place; 1 where places are unknown."""
    return int(np.bincount([place[id(item)] for item in slices]).max()) if place else 1


def _tells_apart(dealt: list[list[Placed]], place: dict[int, int], most: int, refused: bool) -> bool:
    """Whether dealing slices out this way leaves fewer at each place, and no more parts than that explains."""
    return not refused and len(dealt) <= most and max(_counts(members, place) for members in dealt) < most


def _distinct(slices: list[Placed], place: dict[int, int], labels: dict[int, Any]) -> bool:
    return len({(place[id(item)], labels[id(item)]) for item in slices}) == len(slices)


def _by_rank(slices: list[Placed], place: dict[int, int], labels: Mapping[int, Any]) -> list[list[Placed]]:
    """The n-th slice of each place belongs to the n-th part."""
    taken: dict[int, int] = defaultdict(int)
    out: list[list[Placed]] = []
    for item in sorted(slices, key=lambda item: (labels[id(item)], item.order)):
        rank = taken[place[id(item)]]
        taken[place[id(item)]] += 1
        if rank == len(out):
            out.append([])
        out[rank].append(item)
    return out


def _dealt(slices: list[Placed], place: dict[int, int], above: Part, weighted: bool) -> list[Part]:
    """Volumes that only the order of their slices tells apart. weighted: by diffusion."""
    ranked = _by_rank(slices, place, {id(item): () for item in slices})
    # Images of one b-value may differ in direction, which makes them no repeats.
    word = "Volume" if weighted else "Repeat"
    out = []
    for number, members in enumerate(ranked, 1):
        words = (*above.words, f"{word} {number} of {len(ranked)}")
        out.append(Part(members, words, {**(above.marks or {}), "repeat": number}, _doubled(ranked)))
    return out


def _doubled(ranked: list[list[Placed]]) -> int:
    """Slices beyond the first volume, if they do not fill another."""
    return 0 if len(ranked[-1]) == len(ranked[0]) else sum(map(len, ranked[1:]))


def _words(mark: _Mark, dealt: list[list[Placed]], marks: dict[int, dict[str, Value]]) -> list[str]:
    values = [marks[id(members[0])].get(mark.name) for members in dealt]
    if mark.name == "contrast":
        complex_ = any(members[0].frame.component in ("PHASE", "REAL", "IMAGINARY") for members in dealt)
        return [str(value or ("Magnitude" if complex_ else "")) for value in values]
    if mark.name == "image_type":
        return _type_words(mark, [str(value) for value in values])
    if mark.name == "b_value":
        return [f"b {value:g}" if isinstance(value, float | int) else "b not told" for value in values]
    if mark.name in ("metabolite", "kernel", "direction") and None not in values:
        return [f"{mark.word} {value}" for value in values]
    return [f"{mark.word} {i + 1} of {len(dealt)}" for i in range(len(dealt))]


def _type_words(mark: _Mark, values: list[str]) -> list[str]:
    """What is in one Image Type and not in all."""
    words = [value.split("\\") for value in values]
    common = set(words[0]).intersection(*words)
    found = [" ".join(word for word in line if word and word not in common) for line in words]
    if all(found) and len(set(found)) == len(found):
        return found
    return [f"{mark.word} {i + 1} of {len(values)}" for i in range(len(values))]


def _sorted(part: Part, place: dict[int, int]) -> Part:
    ordered = sorted(part.slices, key=lambda item: (place.get(id(item), 0), item.order))
    return Part(ordered, part.words, part.marks, part.doubled)
