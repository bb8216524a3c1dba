"""DICOM headers → series: identifiers, splitting, order, what may be done with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aegui.imaging import geometry as geo
from aegui.imaging.acquisition import acquisition
from aegui.imaging.elements import Source, number, text, whole
from aegui.imaging.headers import Header
from aegui.imaging.series import DERIVED_HERE, Series, Skipped
from aegui.imaging.text import digest, made_uid, natural

Treat = Literal["denoise", "view", "list"]

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_LISTED = {
    "SEG": "Segmentation: not a scan.",
    "RTDOSE": "Radiotherapy dose: not a scan.",
    "SM": "Microscopy: not read.",
    "PR": "Presentation state: not a scan.",
    "SR": "Structured report: not a scan.",
    "REG": "Registration: not a scan.",
    "RWV": "Value mapping: not a scan.",
}
_PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"


def gather(headers: Sequence[Header]) -> Iterator[tuple[list[Series], list[Skipped]]]:
    """The series of each group of headers, and the files of it that repeat another file's slice."""
    groups: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in headers:
        groups[_series_key(header)].append(header)
    for members in groups.values():
        kept, doubles = _without_doubles(members)
        yield _build(kept), doubles


def _series_key(header: Header) -> tuple[object, ...]:
    if header.series_uid:
        return (header.study_uid, header.series_uid)
    axes = None if header.orientation is None else tuple(round(value, 2) for value in header.orientation)
    return (
        header.study_uid,
        "",
        header.file.parent,
        header.patient,
        header.modality,
        header.description,
        header.rows,
        header.columns,
        header.spacing,
        axes,
    )


def _without_doubles(members: list[Header]) -> tuple[list[Header], list[Skipped]]:
    seen: dict[tuple[object, ...], Header] = {}
    kept: list[Header] = []
    skipped: list[Skipped] = []
    for header in sorted(members, key=lambda item: natural(item.file)):
        place = (header.position, header.number)
        # Where one UID was given to every file and nothing tells them apart, only equal sizes make a copy.
        size = header.size if place == (None, None) else 0
        key = (header.sop_uid, place, header.rows, header.columns, header.frames, size)
        if header.sop_uid and key in seen:
            skipped.append(Skipped(header.file, f"Copy of {seen[key].file.name}."))
        else:
            seen[key] = header
            kept.append(header)
    return kept, skipped


def _build(members: list[Header]) -> list[Series]:
    first = members[0]
    missing = [name for name, uid in (("Study", first.study_uid), ("Series", first.series_uid)) if not uid]
    anchor = min((member.sop_uid or str(member.file)) for member in members)
    uid = first.series_uid or made_uid("series", anchor, first.rows, first.columns, first.orientation)
    study = first.study_uid or made_uid("study", first.patient, first.study_date, "" if first.patient else anchor)
    notes: list[str] = []
    if missing:
        notes.append(f"{' and '.join(missing)} UID missing: made from the files")
    if any(member.repaired for member in members):
        notes.append("SOP Instance UIDs taken from the file meta")
    out: list[Series] = []
    groups = _by_shape(members)
    for group in groups:
        out += _describe_group(group, uid, study, [*notes, *_shape_note(group, groups)])
    return [replace(item, uid=uid if i == 0 else f"{uid}#{i + 1}") for i, item in enumerate(out)]


def _shape_note(group: list[Header], groups: list[list[Header]]) -> list[str]:
    if len({(item[0].rows, item[0].columns) for item in groups}) > 1:
        return [f"Slices of unequal size: {group[0].columns} × {group[0].rows} kept apart"]
    if len({item[0].orientation for item in groups}) > 1:
        return ["Slices of unequal orientation kept apart"]
    return []


def _by_shape(members: list[Header]) -> list[list[Header]]:
    """Slices that can lie in one stack; the largest group first."""
    groups: list[list[Header]] = []
    for header in members:
        for group in groups:
            if _fits(header, group[0]):
                group.append(header)
                break
        else:
            groups.append([header])
    return sorted(groups, key=lambda group: (-len(group), natural(group[0].file)))


def _fits(a: Header, b: Header) -> bool:
    if (a.rows, a.columns, a.samples, a.photometric, a.sop_class) != (
        b.rows,
        b.columns,
        b.samples,
        b.photometric,
        b.sop_class,
    ):
        return False
    if a.frames > 1 or b.frames > 1:
        return False
    if ("LOCALIZER" in a.image_type) != ("LOCALIZER" in b.image_type):
        return False
    return _near(a.orientation, b.orientation, 0.01) and _near(a.spacing, b.spacing, 0.005)


def _near(a: Sequence[float] | None, b: Sequence[float] | None, limit: float) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or bool(np.allclose(a, b, atol=limit))


# What tells repeats at one position apart, in the order tried; the word names a part of the series.
_KEYS: tuple[tuple[str, Callable[[Header], Any]], ...] = (
    ("Image type", lambda header: header.image_type),
    ("Echo", lambda header: _numeric(text(header, "EchoTime") or text(header, "EchoNumbers"))),
    ("b-value", lambda header: _numeric(text(header, "DiffusionBValue"))),
    ("Repeat", lambda header: _numeric(text(header, "TemporalPositionIdentifier"))),
    ("Phase", lambda header: _numeric(text(header, "TriggerTime"))),
    ("Acquisition", lambda header: _numeric(text(header, "AcquisitionNumber"))),
    ("Repeat", lambda header: _numeric(text(header, "AcquisitionTime"))),
)


def _numeric(value: str) -> tuple[int, float, str]:
    try:
        return (0, float(value), "")
    except ValueError:
        return (1, 0.0, value)


def _repeats(group: list[Header]) -> list[tuple[str, list[Header]]]:
    """(words, slices) of each volume in a stack where several slices share a position."""
    if any(item.position is None for item in group) or group[0].orientation is None:
        return [("", group)]
    place = geo.places(geo.along_normal([p for h in group if (p := h.position)], group[0].orientation))
    counts = np.bincount(place)
    most = int(counts.max())
    if most == 1 or len(counts) == 1:
        return [("", group)]
    chosen: list[Callable[[Header], Any]] = []
    word = "Repeat"
    for name, key in _KEYS:
        trial = [*chosen, key]
        labels = [tuple(part(header) for part in trial) for header in group]
        kinds = set(labels)
        if len(kinds) > most or len(kinds) == len({tuple(part(h) for part in chosen) for h in group}):
            continue
        chosen = trial
        word = name
        if len(set(zip(place.tolist(), labels, strict=True))) == len(group):
            break
    labels = [tuple(part(header) for part in chosen) for header in group]
    order = sorted(range(len(group)), key=lambda i: (labels[i], _number(group[i]), natural(group[i].file)))
    # What the keys leave together is dealt out by rank within its position.
    ranks: dict[Any, int] = defaultdict(int)
    parts: dict[Any, list[Header]] = defaultdict(list)
    for i in order:
        rank = ranks[(place[i], labels[i])]
        ranks[(place[i], labels[i])] += 1
        parts[(labels[i], rank)].append(group[i])
    if any(label[1] > 0 for label in parts):
        word = "Repeat"
    keys = sorted(parts)
    total = len(keys)
    return [(f"{word} {i + 1} of {total}", parts[key]) for i, key in enumerate(keys)]


def _number(header: Header) -> tuple[int, int]:
    return (1, 0) if header.number is None else (0, header.number)


def _describe_group(group: list[Header], uid: str, study: str, notes: list[str]) -> list[Series]:
    if group[0].frames > 1:
        return [_multiframe(group[0], uid, study, notes)]
    out = []
    for words, members in _repeats(group):
        slices = _sorted(members)
        item = _describe(slices, uid, study, notes)
        out.append(replace(item, description=f"{item.description} · {words}".strip(" ·")) if words else item)
    return out


def _sorted(members: list[Header]) -> list[Header]:
    if any(item.position is None for item in members) or members[0].orientation is None:
        return sorted(members, key=lambda item: (_number(item), natural(item.file)))
    distance = geo.along_normal([p for h in members if (p := h.position)], members[0].orientation)
    place = geo.places(distance)
    order = sorted(
        range(len(members)),
        key=lambda i: (place[i], _number(members[i]), text(members[i], "AcquisitionTime"), natural(members[i].file)),
    )
    return [members[i] for i in order]


def _describe(members: list[Header], uid: str, study: str, notes: list[str]) -> Series:
    first = members[0]
    middle = members[len(members) // 2]
    positions = [item.position for item in members if item.position is not None]
    if len(positions) < len(members) or first.orientation is None:
        positions = []
    between = None if positions else number(middle, "SpacingBetweenSlices")
    shape = geo.geometry(positions, first.orientation, first.spacing or other_spacing(middle), between)
    warnings = [*notes]
    if len(members) == 1:
        warnings.append("One slice only")
    warnings += geo.warnings_for(shape, first.modality)
    return _series(first, tuple(item.file for item in members), len(members), shape, middle, uid, study, warnings)


def _multiframe(header: Header, uid: str, study: str, notes: list[str]) -> Series:
    frames = header.several
    assert frames is not None
    shape = geo.geometry(
        [] if frames.positions is None else [frames.positions[i] for i in frames.order],
        frames.orientation,
        frames.spacing or header.spacing or other_spacing(header),
        frames.between,
    )
    warnings = list(notes)
    volume = len(geo.along_normal(shape.positions, shape.orientation)) and len(
        set(geo.places(geo.along_normal(shape.positions, shape.orientation)).tolist())
    )
    if volume and volume < header.frames:
        warnings.append(f"{header.frames} frames at {volume} positions, one volume after the other")
    warnings += geo.warnings_for(replace(shape, positions=shape.positions[:volume]), header.modality)
    return _series(header, (header.file,), header.frames, shape, header, uid, study, warnings, frames.problem)


def other_spacing(dataset: Source) -> tuple[float, float] | None:
    """Pixel size where Pixel Spacing is absent: at the detector, or of a digitised film."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            y, x = (float(value) for value in dataset.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if y > 0 and x > 0:
            return (y, x)
    return None


def _series(
    first: Header,
    files: tuple[Path, ...],
    slices: int,
    shape: Any,
    full: Header,
    uid: str,
    study: str,
    warnings: list[str],
    problem: str = "",
) -> Series:
    treat, reason = _treatment(first, full)
    if problem and treat == "denoise":
        treat, reason = "view", problem
    if text(full, "LossyImageCompression") == "01":
        warnings.append("Lossy compression")
    if text(full, "BurnedInAnnotation").upper() == "YES":
        warnings.append("Text is burned into the image")
    if any(text(item, "ManufacturerModelName") == "aegui" for item in full.get("ContributingEquipmentSequence") or ()):
        warnings.append(DERIVED_HERE)
    patient = first.patient or digest("folder", first.file.parent.resolve())
    return Series(
        uid=uid,
        study_uid=study,
        patient=patient,
        label="",
        study_date=first.study_date,
        modality=first.modality,
        description=first.description,
        form="dicom",
        files=files,
        rows=first.rows,
        columns=first.columns,
        slices=slices,
        geometry=shape,
        unit=_unit(first, full),
        channels=3 if first.samples == 3 or first.photometric == "PALETTE COLOR" else 1,
        bits=first.bits,
        acquisition=first.several.acquisition if first.several else acquisition(full),
        warnings=tuple(warnings),
        treat=treat,
        reason=reason,
    )


def _unit(header: Header, full: Header) -> str:
    if header.modality == "CT" and "LOCALIZER" not in header.image_type:
        # "US" (unspecified) is what reformatted CT often says; other words name other quantities (Z_EFF, PCT …).
        return "HU" if text(full, "RescaleType").upper() in ("", "HU", "US") else ""
    if header.modality == "PT":
        return {"BQML": "Bq/ml", "CNTS": "counts", "GML": "g/ml"}.get(text(full, "Units").upper(), "")
    return ""


def _treatment(header: Header, full: Header) -> tuple[Treat, str]:
    """What may be done with a series, and why not more."""
    if header.modality in _LISTED:
        return "list", _LISTED[header.modality]
    if header.bits == 1 or full.get("BitsAllocated") == 1:
        return "list", "One-bit image: not a scan."
    if header.samples not in (1, 3):
        return "list", f"{header.samples} values per pixel: not read."
    if header.photometric == "PALETTE COLOR":
        return "view", "Palette colours: shown, not denoised."
    if header.samples == 3 or header.photometric.startswith(("RGB", "YBR")):
        return "view", "Colour: shown, not denoised."
    if "LOCALIZER" in header.image_type or "SCOUT" in header.image_type:
        return "view", "Localizer: shown, not denoised."
    if header.sop_class.startswith(_SECONDARY_CAPTURE):
        return "view", "Secondary capture: shown, not denoised."
    if header.sop_class == _PARAMETRIC_MAP:
        return "view", "Parametric map: shown, not denoised."
    if whole(full, "BitsAllocated", 16) not in (8, 16, 32):
        return "list", "Unusual bit layout: not read."
    if header.high_bit not in (-1, header.bits - 1):
        return "list", "Unusual bit layout: not read."
    if "ModalityLUTSequence" in full:
        return "view", "Values through a look-up table: shown, not denoised."
    return "denoise", ""
