"""What two series have in common, told from their headers and names: protocol, moment, dose, sharpness."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aegui.imaging import Series

DOSES = ("ctdi", "exposure", "tube_current", "averages")  # in the order of trust; averages are MR's dose
_PROTOCOL = (
    "kvp",
    "kernel",
    "thickness",
    "tr",
    "te",
    "inversion",
    "flip_angle",
    "echo",
    "b_value",
    "gradient",
    "sequence",
    "field_strength",
    "image_type",
    "component",
    "model",
)
_SUFFIX = re.compile(r"\s*·\s*([^·]*?)\s+(\d+) of (\d+)$")  # how the scan names the volumes of one series
_SAME_KIND = ("Repeat", "Acquisition")
_WORD = re.compile(r"[a-z0-9]+")
_AGAIN = re.compile(r"\d+|(?:repeat|rpt|rep|run|scan|again|copy|nr|no)\d*")
_CHANGING = re.compile(
    r"arterial|art|portal|pv|venous|delay(?:ed)?|late|early|phase|nephro(?:graphic)?|excretory|contrast|post|pre|gd|gad|"
    r"km|c|dyn(?:amic)?|dce|dsc|perf(?:usion)?|p?c?asl|cine|gated|systol\w*|diastol\w*|insp\w*|exp(?:iration)?|flow|"
    r"bolus|washout"
)
_DIFFUSION = re.compile(r"dwi|dti|diff|trace|adc|tensor|(?<![a-z])b\d{2,4}(?!\d)")
_AVERAGE = frozenset(("mean", "average", "avg", "ave"))
_MARKS: tuple[tuple[re.Pattern[str], float | None], ...] = tuple(
    (re.compile(rf"(?<![a-z]){pattern}(?![a-z])"), share)
    for pattern, share in (
        (r"(\d{1,3})[ _-]?(?:%|pct|percent)(?:[ _-]?(?:dose|mas))?", None),
        (r"dose[ _-]?(\d{1,3})", None),
        (r"(?:ultra[ _-]?low)(?:[ _-]?dose)?|uldct", 0.1),
        (r"quarter(?:[ _-]?dose)?", 0.25),
        (r"half(?:[ _-]?dose)?", 0.5),
        (r"(?:low|reduced)(?:[ _-]?dose)?|ldct|ld", 0.25),
        (r"(?:full|normal|standard|routine|regular|high)(?:[ _-]?dose)?|[fnh]dct|fd", 1.0),
    )
)
_KERNEL = re.compile(r"([A-Za-z]{1,2})(\d{2})")
_GE = ("SOFT", "STANDARD", "DETAIL", "CHEST", "LUNG", "BONE", "BONEPLUS", "EDGE")  # from soft to sharp


def value(series: Series, key: str) -> float:
    """A number of the acquisition, 0 if unknown."""
    try:
        return float(series.acquisition.get(key) or 0)
    except (TypeError, ValueError):
        return 0.0


def name(series: Series) -> str:
    """The description without the scan's “· Repeat 3 of 12”."""
    return _SUFFIX.sub("", series.description).strip(" ·")


def told(series: Series) -> str:
    """A name for a sentence; of files, the folder too where names alone could be equal."""
    if series.form == "dicom":
        return series.description or "no name"
    parts = [*_path(series).parent.parts[-2:], series.description]
    return "/".join(part for i, part in enumerate(parts) if part and part not in parts[:i])


def _path(series: Series) -> Any:
    file = series.files[0] if series.form == "volume" else series.files[0].parent
    return (series.root.name / file.relative_to(series.root)) if file.is_relative_to(series.root) else file


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _base(series: Series) -> tuple[str, ...]:
    """The words of the description that do not merely count repeats, and which part of the series it is."""
    head, *parts = name(series).split(" · ")
    return (*(word for word in _words(head) if not _AGAIN.fullmatch(word)), *parts)


def _changing(series: Series) -> frozenset[str]:
    """Words for states of the patient: contrast, heart, breath."""
    text = f"{series.description} {series.acquisition.get('protocol', '')}"
    return frozenset(word for word in _words(text) if _CHANGING.fullmatch(word))


def protocol(series: Series) -> tuple[Any, ...]:
    """Equal for series taken in the same way of the same patient."""
    taken = tuple(series.acquisition.get(key) for key in (*_PROTOCOL, "averages"))
    return (series.patient, series.modality, series.unit, _base(series), *taken)


def but_dose(series: Series) -> tuple[Any, ...]:
    """Equal for series that may differ in dose and in nothing else that is known."""
    taken = [series.acquisition.get(key) for key in _PROTOCOL if key != "image_type"]
    grid = (series.rows, series.columns, series.channels)
    contrast = str(series.acquisition.get("contrast", "")).lower()
    gated = series.modality == "MR" and not repeatable(series)
    alone = series.uid if gated else ""  # what changes from one moment to the next has no partner
    return (series.patient, series.modality, series.unit, *grid, *taken, contrast, _changing(series), alone)


def moment(series: Series) -> tuple[str, float, float]:
    """When it was measured; sorts in time. Equal or unknown moments are no independent measurements."""
    return str(series.acquisition.get("time", "")), value(series, "acquisition"), value(series, "temporal")


def repeatable(series: Series) -> bool:
    """Whether another series of the same protocol would show the same signal."""
    if series.form != "dicom" or not series.geometry.positions or series.modality not in ("CT", "MR"):
        return False
    if series.acquisition.get("contrast") or _changing(series) or value(series, "cardiac_phases") > 1:
        return False
    part = _SUFFIX.search(series.description)
    if part and part[1] not in _SAME_KIND:
        return False
    text = f"{series.description} {series.acquisition.get('protocol', '')}".lower()
    if series.modality == "MR" and (value(series, "b_value") > 0 or _DIFFUSION.search(text)):
        # Every direction weakens the signal in its own way.
        return value(series, "b_value") > 0 and "gradient" in series.acquisition
    return True


def mark(series: Series) -> tuple[str, float]:
    """(name without the word for its dose, that dose as a share). 1 where no word names one."""
    text = series.description if series.form == "dicom" else f"{_path(series)} {_volume(series)}"
    text = text.lower()
    for pattern, share in _MARKS:
        found = pattern.search(text)
        if found:
            shown = share if share is not None else int(found[1]) / 100
            # The same mark often stands in the folder's and in the file's name.
            return " ".join(_words(text.replace(found[0], " "))), shown
    return " ".join(_words(text)), 1.0


def _volume(series: Series) -> str:
    part = _SUFFIX.search(series.description)
    return part[0] if part else ""


@dataclass(frozen=True)
class Dose:
    """measured: by each of DOSES, 0 if unknown. name, named: what the description says of it, see `mark`."""

    measured: tuple[float, ...]
    name: str = ""
    named: float = 1.0


def dose(series: Series) -> Dose:
    """How much of it, by header and name. MR has no dose but its averages."""
    measured = tuple(value(series, key) for key in DOSES)
    return Dose(measured) if series.modality == "MR" else Dose(measured, *mark(series))


@dataclass(frozen=True)
class Place:
    """Series of equal key come from one acquisition; of these, the higher rank is the smoother."""

    key: tuple[Any, ...]
    rank: tuple[float, ...]


def smoothness(series: Series) -> Place | None:
    """Where a CT series stands among those of its acquisition: the thicker, then the softer of one kernel family."""
    thick = value(series, "thickness")
    family, sharp = _sharpness(series)
    if series.modality != "CT" or not (thick or family):
        return None
    same = tuple(series.acquisition.get(key) for key in ("kvp", "exposure", "acquisition", "contrast"))
    return Place((*same, _changing(series), mark(series)[1], bool(thick), family), (thick, -sharp))


def _sharpness(series: Series) -> tuple[str, int]:
    """(kernel family, rank from soft to sharp); ("", 0) if unknown."""
    kernel = str(series.acquisition.get("kernel") or "")
    if kernel.upper() in _GE:
        return "GE", _GE.index(kernel.upper())
    found = _KERNEL.search(kernel)
    return (found[1].upper(), int(found[2])) if found else ("", 0)


def averaging(series: Series) -> Place | None:
    """Where a series stands among the averages that contain it."""
    same = tuple(series.acquisition.get(key) for key in _PROTOCOL if key not in ("image_type", "echo", "sequence"))
    words = _words(str(series.acquisition.get("image_type", "")).replace("\\", " ")) + _words(series.description)
    average = not _AVERAGE.isdisjoint(words)
    return Place((*same, _changing(series)), (float(average),))
