"""How a DICOM series was taken, for telling series apart, for tooltips and for the report."""

from __future__ import annotations

import re
from typing import Any

from aegui.imaging.dicom.elements import Source, number, text, texts

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
    "trigger": "TriggerTime",
    "cardiac_phases": "CardiacNumberOfImages",
    "temporal": "TemporalPositionIdentifier",
    "acquisition": "AcquisitionNumber",
    "ctdi": "CTDIvol",
    "field_strength": "MagneticFieldStrength",
    "weight": "PatientWeight",
}
_WORDS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "body_part": "BodyPartExamined",
    "protocol": "ProtocolName",
    "sequence": "SequenceName",
    "contrast": "ContrastBolusAgent",
    "time": "AcquisitionTime",
    "intent": "PresentationIntentType",
    "suv": "SUVType",
    "decay_correction": "DecayCorrection",
}
_LISTS = {"image_type": "ImageType", "gradient": "DiffusionGradientOrientation", "kernel": "ConvolutionKernel"}
_TRACER = {"activity": "RadionuclideTotalDose", "half_life": "RadionuclideHalfLife"}
_SEQUENCE_B = re.compile(r"(?:^|[^a-z])b(\d{1,5})(?:[^a-z\d]|$)")
_GE_OFFSET = 10**9  # added to b-values by some releases


def acquisition(full: Source) -> dict[str, Any]:
    """How the series was taken, only what is present.

    thickness mm; tr, te, inversion, trigger ms; kvp kV; exposure mAs; tube_current mA; ctdi mGy; b_value s/mm²;
    weight kg; of a tracer: activity Bq, half_life s, injected (time); real_world: what its value map says, in words.
    """
    found: dict[str, Any] = {}
    for name, keyword in _NUMBERS.items():
        value = number(full, keyword)
        if value is not None:
            found[name] = plain(value)
    if "exposure" not in found and (micro := number(full, "ExposureInuAs")) is not None:
        found["exposure"] = plain(micro / 1000)
    if (weighting := b_value(full)) is not None:
        found["b_value"] = plain(weighting)
    for name, keyword in _WORDS.items():
        words = " ".join(text(full, keyword).split())
        if words:
            found[name] = words
    for name, keyword in _LISTS.items():
        if values := [value for value in texts(full, keyword) if value or name == "image_type"]:
            found[name] = "\\".join(values)
    if text(full, "PhotometricInterpretation").upper() == "MONOCHROME1":
        found["photometric"] = "MONOCHROME1"
    return found | _tracer(full) | real_world_words(full)


def plain(value: float) -> float:
    """Whole numbers as such, others to six places."""
    return int(value) if float(value).is_integer() else round(value, 6)


def b_value(full: Source) -> float | None:
    """Diffusion weighting, s/mm²: the standard's element, else Siemens', Philips' or GE's, else the sequence's name."""
    value = number(full, "DiffusionBValue")
    makers = text(full, "Manufacturer").upper()
    if value is None and "SIEMENS" in makers:
        value = number(full, "0019100C")
        if value is None and (named := _SEQUENCE_B.search(text(full, "SequenceName").lower())):
            value = float(named[1])
    elif value is None and "PHILIPS" in makers:
        value = number(full, "20011003")
    elif value is None and makers.startswith("GE"):
        coded = next(iter(texts(full, "00431039")), "")
        value = float(int(coded) % _GE_OFFSET) if coded.isdecimal() else None
    return value if value is not None and 0 <= value < 1e5 else None


def _tracer(full: Source) -> dict[str, Any]:
    """What standardised uptake is computed from, besides the weight."""
    item = next(iter(full.get("RadiopharmaceuticalInformationSequence") or ()), None)
    if item is None:
        return {}
    found: dict[str, Any] = {}
    for name, keyword in _TRACER.items():
        value = number(item, keyword)
        if value is not None:
            found[name] = plain(value)
    injected = text(item, "RadiopharmaceuticalStartDateTime") or text(item, "RadiopharmaceuticalStartTime")
    return found | ({"injected": injected} if injected else {})


def real_world(full: Source) -> tuple[float, float, str] | None:
    """(slope, intercept, unit) of a linear Real World Value Map, from stored values; None where there is none."""
    for item in full.get("RealWorldValueMappingSequence") or ():
        slope, intercept = number(item, "RealWorldValueSlope"), number(item, "RealWorldValueIntercept")
        if slope is not None:
            unit = next((text(code, "CodeValue") for code in item.get("MeasurementUnitsCodeSequence") or ()), "")
            return slope, intercept or 0.0, unit or text(item, "LUTLabel")
    return None


def real_world_words(full: Source) -> dict[str, str]:
    """The same for acquisition."""
    mapping = real_world(full)
    if mapping is None:
        return {}
    slope, intercept, unit = mapping
    words = f"{slope:g} × stored {'−' if intercept < 0 else '+'} {abs(intercept):g} {unit}"
    return {"real_world": words.strip()}


_PET = {
    "BQML": "Bq/ml",
    "CNTS": "counts",
    "GML": "g/ml",
    "CM2ML": "cm²/ml",
    "CPS": "counts/s",
    "PROPCPS": "∝ counts/s",
    "PROPCNTS": "∝ counts",
    "PCNT": "%",
    "1CM": "1/cm",
    "MLMING": "ml/min/g",
    "MGMINML": "mg/min/ml",
    "UMOLMINML": "µmol/min/ml",
    "UMOLML": "µmol/ml",
}


def unit_of(full: Source, modality: str, quantity: str, rescale: tuple[float, float], contrast: str) -> str:
    """The unit of values after rescale. quantity: Rescale Type. contrast: what the image is if not an ordinary one."""
    hounsfield = quantity in ("", "HU", "HU_MOD", "US") or quantity.startswith("HOUN")
    if modality == "CT" and contrast not in ("Localizer", "Derived map") and hounsfield:
        return "HU"
    if modality == "PT":
        return _PET.get(text(full, "Units").upper(), "")
    mapping = real_world(full)
    # A map with another scale speaks of values that are not what is read.
    if mapping and mapping[:2] == rescale and mapping[2] not in ("1", "{None}"):
        return mapping[2]
    return ""
