"""Noisy and clean series that show the same anatomy at the same place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aegui.errors import UserError
from aegui.imaging import Series

TOLERANCE_MM = 0.1
# What to know of targets that are not clean.
TARGETS = {
    "repeat": "The target is as noisy as the input. PSNR and SSIM against it say how well two noisy scans agree, "
    "not how close the result is to the truth.",
    "shared-noise": "Also teaches blur; same noise on both sides.",
}


@dataclass(frozen=True)
class Pair:
    """A noisy series and its clean partner. slices: (noisy index, clean index).

    sure: matched by geometry; otherwise the user must confirm. why: in plain words. kind: what the partner is:
    clean, a repeat as noisy as the input, or one that shares the input's noise.
    """

    noisy: Series
    clean: Series
    slices: tuple[tuple[int, int], ...]
    method: str
    sure: bool
    why: str
    kind: Literal["clean", "repeat", "shared-noise"] = "clean"


def groups(pairs: Sequence[Pair]) -> list[list[tuple[str, int]]]:
    """Slices, as (series uid, number), that pairs lay at one place, directly or through others; in order."""
    found: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for pair in pairs:
        for i, j in pair.slices:
            one, other = (found.setdefault(key, [key]) for key in ((pair.noisy.uid, i), (pair.clean.uid, j)))
            if one is not other:
                one += other
                found |= dict.fromkeys(other, one)
    return list({id(group): group for group in found.values()}.values())


def _same_grid(a: Series, b: Series) -> bool:
    return (
        (a.rows, a.columns, a.channels) == (b.rows, b.columns, b.channels)
        and np.allclose(a.geometry.spacing[1:], b.geometry.spacing[1:], rtol=1e-3)
        and np.allclose(a.geometry.orientation, b.geometry.orientation, atol=1e-3)
    )


def same_places(noisy: Series, clean: Series) -> tuple[tuple[int, int], ...]:
    """(noisy index, clean index) of slices of one patient that lie at the same place, within 0.1 mm."""
    a, b = noisy.geometry.positions, clean.geometry.positions
    if noisy.form != "dicom" or clean.form != "dicom" or not a or not b or not _same_grid(noisy, clean):
        return ()
    if noisy.patient != clean.patient:
        return ()
    distance = np.linalg.norm(np.asarray(a)[:, None] - np.asarray(b)[None], axis=-1)
    nearest = distance.argmin(axis=1)
    return tuple((i, int(j)) for i, j in enumerate(nearest) if distance[i, j] <= TOLERANCE_MM)


def _one_file(series: Series) -> bool:
    """Whether all slices lie in one file, or in the files that one header names."""
    return series.form == "volume" or len(series.files) == 1


def _stem(series: Series, index: int) -> str:
    if _one_file(series):
        # Of several volumes in a file, the first matches the first.
        return f"{series.files[0].name} {series.part} {series.frames[:1]}".lower()
    return series.files[index].name.lower()


def _by_name(noisy: Series, clean: Series) -> tuple[tuple[int, int], ...]:
    if noisy.slices != clean.slices or not _same_shape(noisy, clean):
        return ()
    if _one_file(noisy) or _one_file(clean):
        same = _stem(noisy, 0) == _stem(clean, 0)
        return tuple((i, i) for i in range(noisy.slices)) if same else ()
    names = {_stem(clean, j): j for j in range(len(clean.files))}
    found = tuple((i, names[_stem(noisy, i)]) for i in range(len(noisy.files)) if _stem(noisy, i) in names)
    return found if len(found) == noisy.slices else ()


def _same_shape(a: Series, b: Series) -> bool:
    return (a.rows, a.columns, a.channels) == (b.rows, b.columns, b.channels)


def _by_order(noisy: Series, clean: Series) -> tuple[tuple[int, int], ...]:
    if noisy.slices != clean.slices or not _same_shape(noisy, clean):
        return ()
    return tuple((i, i) for i in range(noisy.slices))


_METHODS: tuple[tuple[str, Callable[[Series, Series], tuple[tuple[int, int], ...]], str], ...] = (
    ("geometry", same_places, "same patient, positions and spacing"),
    ("name", _by_name, "same file names"),
    ("order", _by_order, "same number and size of slices, paired in order"),
)


def match_pairs(noisy: Sequence[Series], clean: Sequence[Series]) -> list[Pair]:
    """Pair every noisy series: by geometry; else by name; else by order, where counts and shapes agree."""
    pairs: list[Pair] = []
    open_noisy, open_clean = list(noisy), list(clean)
    for method, rule, why in _METHODS:
        for series in list(open_noisy):
            best = max(open_clean, key=lambda c, s=series: len(rule(s, c)), default=None)  # type: ignore[misc]
            slices = rule(series, best) if best is not None else ()
            if best is None or not slices:
                continue
            pairs.append(Pair(series, best, slices, method, method == "geometry", why))
            open_noisy.remove(series)
            # Clean geometry may serve several noisy repeats; a guess by name or order is used up.
            if method != "geometry":
                open_clean.remove(best)
    return pairs


def require_pairs(noisy: Sequence[Series], clean: Sequence[Series]) -> list[Pair]:
    """match_pairs of what is not among the clean series, or a UserError naming the first series without a partner."""
    if not clean:
        raise UserError("The recipe learns from pairs, but there is no clean series.", "Add the folder of clean scans.")
    targets = {series.files for series in clean}
    noisy = [series for series in noisy if series.files not in targets]
    if not noisy:
        raise UserError("The noisy scans and the clean ones are the same.", "Name a folder for each.")
    pairs = match_pairs(noisy, clean)
    if not pairs:
        one, other = noisy[0], clean[0]
        raise UserError(
            f"No clean series matches “{one.description}”.",
            f"Noisy: {one.slices} slices of {one.rows}×{one.columns}; clean: {other.slices} of "
            f"{other.rows}×{other.columns}. They must show the same positions, or have equal names, counts and sizes.",
        )
    return pairs
