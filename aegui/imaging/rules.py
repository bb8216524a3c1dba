"""How derived series are written, and what they say of their origin."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from pydantic import field_validator

from aegui.imaging.series import Series
from aegui.imaging.text import safe_name
from aegui.spec import Spec, knob

_NUMBER = re.compile(r"\+?\d{1,9}")
_FIELDS = {"description", "suffix", "model", "strength", "number"}


class OutputRules(Spec):
    """What the user chooses about derived series: the form of the window, the command line and the settings."""

    format: Literal["same", "dicom", "nifti", "nrrd", "tiff", "png"] = knob(
        "same",
        title="Save as",
        help="Same kind of files, or another one",
        titles={"same": "Same", "dicom": "DICOM", "nifti": "NIfTI", "nrrd": "NRRD", "tiff": "TIFF", "png": "PNG"},
    )
    suffix: str = knob(
        "_DN", title="Name ends with", help="Added to the series description and to file names", max_length=16
    )
    series_description: str = knob(
        "{description}{suffix}",
        title="Series description",
        help="Text with {description}, {suffix}, {model}, {strength} and {number} filled in",
        max_length=120,
        advanced=True,
        brief="description {}",
        only="DICOM",
    )
    series_number: str = knob(
        "+1000",
        title="Series number",
        help="+1000 adds to the source's number; 901 gives every derived series that number",
        advanced=True,
        brief="series number {}",
        only="DICOM",
    )
    transfer_syntax: Literal["source", "explicit", "implicit", "deflated", "rle", "jpeg-ls", "jpeg2000"] = knob(
        "source",
        title="Transfer syntax",
        help="As the source where that can be written without loss, else Explicit Little Endian; or always this one",
        advanced=True,
        titles={
            "source": "As the source",
            "explicit": "Explicit VR Little Endian",
            "implicit": "Implicit VR Little Endian",
            "deflated": "Deflated",
            "rle": "RLE",
            "jpeg-ls": "JPEG-LS",
            "jpeg2000": "JPEG 2000",
        },
        brief="{}",
        only="DICOM",
    )
    private_tags: Literal["keep", "drop"] = knob(
        "keep",
        title="Private tags",
        help="Keep or drop the scanner's private attributes",
        advanced=True,
        brief="no private tags",
        only="DICOM",
    )
    deterministic_uids: bool = knob(
        False,
        title="Same UIDs on a re-run",
        help="The same scan, model and settings give the same UIDs, so that an archive keeps one copy",
        advanced=True,
        brief="same UIDs on a re-run",
        only="DICOM",
    )
    noise_series: bool = knob(
        False,
        title="Keep the removed noise",
        help="Write what was removed as a series of its own; denoised + noise = original, exactly",
        advanced=True,
        brief="noise kept",
    )
    deidentify: bool = knob(
        False,
        title="De-identify",
        help="Remove who the patient is, by the Basic Profile of DICOM PS3.15 Annex E",
        advanced=True,
        brief="de-identified",
    )

    @field_validator("series_number")
    @classmethod
    def _number(cls, value: str) -> str:
        if not _NUMBER.fullmatch(value):
            raise ValueError("Give a whole number such as 901, or +1000 to add to the source's.")
        return value

    @field_validator("series_description")
    @classmethod
    def _template(cls, value: str) -> str:
        unknown = sorted(set(re.findall(r"\{([^{}]*)\}", value)) - _FIELDS)
        if unknown or re.sub(r"\{[^{}]*\}", "", value).strip("{}") != re.sub(r"\{[^{}]*\}", "", value):
            raise ValueError(f"Only {', '.join('{' + name + '}' for name in sorted(_FIELDS))} can be filled in.")
        return value


@dataclass(frozen=True)
class Provenance:
    """Where derived pixels come from.

    noise_level: SD given to the model, None when it was measured on each slice. weights: SHA-256 of the weights, hex.
    batch: what new UIDs are made from where they need not be the same on a re-run; series of one batch that
    come from one source series share their Series Instance UID. salt: what the UIDs and names of de-identified
    series are made from; the same on every run, secret, and without it those of one batch alone agree.
    """

    model: str = ""
    title: str = ""
    model_version: str = ""
    weights: str = ""
    strength: float = 1.0
    noise_level: float | None = None
    engine: str = "torch"
    precision: str = "fp32"
    batch: str = field(default_factory=lambda: uuid4().hex)
    salt: str = field(default="", repr=False)

    @property
    def words(self) -> str:
        """How it was made, in one sentence."""
        level = "" if self.noise_level is None else f", noise level {self.noise_level:g}"
        return f"Denoised by aegui, model {self.model}, strength {self.strength:g}{level}"


def output_name(series: Series, rules: OutputRules, pseudonym: str = "") -> str:
    """Stem of the folder or file of a derived series; where that is de-identified, without the source's own text."""
    described = series.modality if rules.deidentify else series.description or series.modality
    return safe_name(f"{pseudonym or series.label}_{described}{rules.suffix}")
