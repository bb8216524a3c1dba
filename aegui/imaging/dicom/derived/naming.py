"""Series Number, Series Description and file names of derived series, by the user's rules."""

from __future__ import annotations

import re
import unicodedata

from pydicom.charset import default_encoding, python_encoding
from pydicom.dataset import Dataset

from aegui.imaging.dicom.elements import text, texts, whole
from aegui.imaging.rules import OutputRules, Provenance
from aegui.imaging.text import is_device, safe_name, unused

NOISE_WORDS = " removed noise"
_LONG_STRING = 64
_LARGEST_NUMBER = 2**31 - 1
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]+")
_FIELD = re.compile(r"\{(\w+)\}")


def series_number(dataset: Dataset, rules: OutputRules, *, noise: bool = False) -> int:
    """The source's number plus a step, or a fixed one; the noise series follows after the denoised one."""
    given = int(rules.series_number)
    if not rules.series_number.startswith("+"):
        return given + noise
    number = whole(dataset, "SeriesNumber") + given * (1 + noise)
    return number if 0 < number <= _LARGEST_NUMBER else max(1, given * (1 + noise))


def series_description(dataset: Dataset, rules: OutputRules, origin: Provenance, *, noise: bool = False) -> str:
    """The template filled in, at most 64 characters; the description is cut, its suffix stays."""
    suffix = _spelled(rules.suffix, dataset) + (NOISE_WORDS if noise else "")
    template = _spelled(rules.series_description, dataset)
    if noise and "{suffix}" not in template:
        template += "{suffix}"
        suffix = NOISE_WORDS
    values = {
        "description": _described(dataset, rules),
        "suffix": suffix,
        "model": _spelled(origin.model, dataset),
        "strength": f"{origin.strength:g}",
        "number": str(whole(dataset, "SeriesNumber")),
    }
    words = _filled(template, values)
    if len(words) > _LONG_STRING:
        values["description"] = values["description"][: max(0, len(values["description"]) - len(words) + _LONG_STRING)]
        words = _filled(template, values)
    if len(words) > _LONG_STRING:
        end = suffix if words.endswith(suffix) else ""
        words = words[: _LONG_STRING - len(end)] + end
    return words.strip()


def _filled(template: str, values: dict[str, str]) -> str:
    filled = _FIELD.sub(lambda match: values.get(match[1], match[0]), template)
    return _UNPRINTABLE.sub(" ", filled)


def _spelled(words: str, dataset: Dataset) -> str:
    """The user's words in the source's character set; without accents, or letters, that it has not."""
    # The first set alone is sure to hold outside names of persons; "" is plain ASCII.
    codec = python_encoding.get(next(iter(texts(dataset, "SpecificCharacterSet")), ""), "ascii")
    try:
        words.encode("ascii" if codec == default_encoding else codec)
    except UnicodeEncodeError:
        return unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return words


def _described(dataset: Dataset, rules: OutputRules) -> str:
    modality = text(dataset, "Modality") or "OT"
    if rules.deidentify:
        # Free text of the source may name the patient.
        return modality
    found = (" ".join(texts(dataset, keyword)).strip() for keyword in ("SeriesDescription", "ProtocolName"))
    return next(filter(None, found), text(dataset, "BodyPartExamined").capitalize() or modality)


_LONGEST = 120


class FileNames:
    """A name for each instance."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, wanted: str) -> str:
        """The wanted name made safe; repeated ones get a number, long ones keep theirs at the end."""
        name = safe_name(wanted, len(wanted))
        if len(name) > _LONGEST:
            name = f"{name[: _LONGEST - 25]}_{name[-24:]}"
        return unused(f"_{name}" if is_device(name) else name, self._taken)
