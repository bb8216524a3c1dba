"""How a DICOM series was taken, for telling series apart and for the report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from aegui.imaging.headers import number, text, texts

_NUMBERS = {
    "kvp": "KVP",
    "exposure": "Exposure",
    "tube_current": "XRayTubeCurrent",
    "thickness": "SliceThickness",
    "tr": "RepetitionTime",
    "te": "EchoTime",
    "inversion": "InversionTime",
    "flip_angle": "FlipAngle",
    "averages": "NumberOfAverages",
    "echo": "EchoNumbers",
    "b_value": "DiffusionBValue",
    "trigger": "TriggerTime",
    "cardiac_phases": "CardiacNumberOfImages",
    "temporal": "TemporalPositionIdentifier",
    "acquisition": "AcquisitionNumber",
    "ctdi": "CTDIvol",
    "field_strength": "MagneticFieldStrength",
}
_WORDS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "body_part": "BodyPartExamined",
    "protocol": "ProtocolName",
    "sequence": "SequenceName",
    "contrast": "ContrastBolusAgent",
    "time": "AcquisitionTime",
}
_LISTS = {"image_type": "ImageType", "gradient": "DiffusionGradientOrientation"}
_SHARED = {
    "kvp": "CTXRayDetailsSequence",
    "kernel": "CTReconstructionSequence",
    "thickness": "PixelMeasuresSequence",
    "tr": "MRTimingAndRelatedParametersSequence",
    "te": "MREchoSequence",
}
_SPACES = re.compile(r"\s+")


def acquisition(full: Dataset) -> dict[str, Any]:
    """How the series was taken, only what is present.

    thickness mm; tr, te, inversion, trigger ms; kvp kV; exposure mAs; tube_current mA; ctdi mGy; b_value s/mm².
    """
    found: dict[str, Any] = {}
    kernel = "\\".join(value for value in _nested(full, "kernel", "ConvolutionKernel") if value)
    if kernel:
        found["kernel"] = kernel
    for name, keyword in _NUMBERS.items():
        value = number(full, keyword)
        if value is None:
            value = next(iter(_numbers(_nested(full, name, "EffectiveEchoTime" if name == "te" else keyword))), None)
        if value is not None:
            found[name] = int(value) if float(value).is_integer() else round(value, 6)
    for name, keyword in _WORDS.items():
        words = _SPACES.sub(" ", text(full, keyword))
        if words:
            found[name] = words
    for name, keyword in _LISTS.items():
        if values := texts(full, keyword):
            found[name] = "\\".join(values)
    if text(full, "PhotometricInterpretation").upper() == "MONOCHROME1":
        found["photometric"] = "MONOCHROME1"
    return found


def _nested(full: Dataset, name: str, keyword: str) -> tuple[str, ...]:
    values = texts(full, keyword)
    if values or name not in _SHARED:
        return values
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in list(full.get(groups) or ())[:1]:
            for part in list(item.get(_SHARED[name]) or ())[:1]:
                values = texts(part, keyword)
                if values:
                    return values
    return ()


def _numbers(values: Iterable[str]) -> Iterable[float]:
    for value in values:
        try:
            yield float(value)
        except ValueError:
            continue
