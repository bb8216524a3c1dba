"""What the user chooses about derived series. Apart from imaging, so that options and settings load no reader."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

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
