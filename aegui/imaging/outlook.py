"""What a derived series will be called, and whether its pictures may show text: read from one header of the source."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset

from aegui.imaging.dicom.deidentify import burned_in
from aegui.imaging.dicom.derived.naming import series_description, series_number
from aegui.imaging.dicom.headers import read_dataset
from aegui.imaging.rules import OutputRules, Provenance
from aegui.imaging.series import Series


class Names(NamedTuple):
    """Series Description and Series Number."""

    description: str
    number: int


@lru_cache(maxsize=4)
def _header(file: Path, _changed: int) -> Dataset | None:
    try:
        return read_dataset(file, pixels=False)
    except Exception:  # noqa: BLE001 - pydicom raises anything; a header that cannot be read tells nothing
        return None


def _read(series: Series) -> Dataset | None:
    if series.form != "dicom" or not series.files:
        return None
    try:
        return _header(series.files[0], series.files[0].stat().st_mtime_ns)
    except OSError:
        return None


def names(series: Series, rules: OutputRules, origin: Provenance) -> Names | None:
    """What the derived DICOM series will be called; None where the source is no readable DICOM file."""
    header = _read(series)
    if header is None:
        return None
    return Names(series_description(header, rules, origin), series_number(header, rules))


def may_show_text(series: Series) -> bool:
    """Whether text, such as a patient's name, may be part of the picture, out of reach of de-identification."""
    header = _read(series)
    return header is not None and burned_in(header)


def caution(found: Sequence[Series]) -> str:
    """What to mind, in plain words, of series that are to be de-identified and may show text."""
    if not found:
        return ""
    name = found[0].description or found[0].label or found[0].modality
    more = f" and {len(found) - 1} more series" if len(found) > 1 else ""
    return (
        f"De-identification cleans headers, not pictures. A name may be written into the picture of “{name}”{more}: "
        f"look at {'them' if more else 'it'} before you pass {'them' if more else 'it'} on."
    )
