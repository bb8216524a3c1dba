"""What the frames of a multi-frame DICOM file are: where each lies, what it shows, and its rescale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset

from aegui.imaging import geometry as geo
from aegui.imaging.dicom import kinds, mosaic
from aegui.imaging.dicom.acquisition import acquisition, real_world_words
from aegui.imaging.dicom.acquisition import plain as plain_number
from aegui.imaging.dicom.elements import Source, floats, number, text, texts, whole
from aegui.imaging.series import Vector

Value = float | str

_MOST_FRAMES = 1 << 18

# Where a mark of a frame stands: (functional group, element).
_MARKS = {
    "te": ("MREchoSequence", "EffectiveEchoTime"),
    "b_value": ("MRDiffusionSequence", "DiffusionBValue"),
    "direction": ("MRDiffusionSequence", "DiffusionDirectionality"),
    "inversion": ("MRModifierSequence", "InversionTimes"),
    "flip_angle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    "tr": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "metabolite": ("MRMetaboliteMapSequence", "MetaboliteMapDescription"),
    "kernel": ("CTReconstructionSequence", "ConvolutionKernel"),
    "kvp": ("CTXRayDetailsSequence", "KVP"),
    "trigger": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "temporal": ("FrameContentSequence", "TemporalPositionIndex"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber"),
}
# What is the same in all frames, or told of the first.
_TAKEN = {
    "thickness": ("PixelMeasuresSequence", "SliceThickness"),
    "exposure": ("CTExposureSequence", "ExposureInmAs"),
    "tube_current": ("CTExposureSequence", "XRayTubeCurrentInmA"),
    "ctdi": ("CTExposureSequence", "CTDIvol"),
    "averages": ("MRAveragesSequence", "NumberOfAverages"),
}
_FRAME_TYPES = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XAXRFFrameCharacteristicsSequence",
    "USImageDescriptionSequence",
)
# Nuclear medicine tells what its frames are by vectors with one number per frame.
_VECTORS = {
    "energy": "EnergyWindowVector",
    "detector": "DetectorVector",
    "trigger": "TimeSlotVector",
    "rr": "RRIntervalVector",
}


@dataclass(frozen=True)
class Frame:
    """One slice before it has a stack. marks: what tells slices of one position apart, by the names of acquisition."""

    position: Vector | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, float] | None = None
    image_type: tuple[str, ...] = ()
    component: str = ""
    calculation: str = ""
    quantity: str = ""
    stack: str = ""
    marks: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """The frames of one file, or the tiles of one mosaic.

    rescale: (slope, intercept) by frame number. between: nominal distance of slices, mm. tiles: per row of a mosaic,
    of rows × columns pixels each; 0 where there is none. problem: why they cannot be told apart.
    """

    frames: tuple[Frame, ...]
    rescale: tuple[tuple[float, float], ...]
    between: float | None = None
    tiles: int = 0
    rows: int = 0
    columns: int = 0
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def rescale_of(dataset: Source) -> tuple[float, float]:
    """Slope and intercept, 1 and 0 where absent or senseless."""
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    return (slope if slope else 1.0), (intercept or 0.0)


def rescales(dataset: Dataset) -> tuple[tuple[float, float], ...]:
    """(slope, intercept) of each frame."""
    plain = rescale_of(dataset)
    out = []
    for group in _groups(dataset):
        values = group.part("PixelValueTransformationSequence")
        out.append(rescale_of(values) if "RescaleSlope" in values else plain)
    return tuple(out)


def frames_of(dataset: Dataset) -> Frames:
    """Read the functional groups of an enhanced object, the vectors of nuclear medicine, or a Siemens mosaic."""
    modality = text(dataset, "Modality").upper()
    known = acquisition(dataset)
    groups = _groups(dataset)
    types = tuple(value.upper() for value in texts(dataset, "ImageType"))
    if "MOSAIC" in types and whole(dataset, "NumberOfFrames", 1) == 1:
        return _tiles(dataset, types, known)
    declared = text(dataset, "ComplexImageComponent").upper()
    plain = Frame(
        orientation=geo.sound(floats(dataset, "ImageOrientationPatient", 6)),
        spacing=_pair(floats(dataset, "PixelSpacing", 2)),
        image_type=types,
        component=kinds.component(declared, types, modality),
    )
    for name, (sequence, keyword) in _TAKEN.items():
        if name not in known and (value := number(groups[0].part(sequence), keyword)) is not None:
            known[name] = plain_number(value)
    if (mapped := groups[0].whole("RealWorldValueMappingSequence")) is not None:
        known |= real_world_words({"RealWorldValueMappingSequence": mapped})
    frames = tuple(_frame(group, plain, modality) for group in groups)
    if modality == "NM":
        frames = _nuclear(dataset, frames)
    between = number(dataset, "SpacingBetweenSlices")
    if between is None:
        between = number(groups[0].part("PixelMeasuresSequence"), "SpacingBetweenSlices")
    return Frames(frames, rescales(dataset), between, acquisition=known)


class _Group:
    """The functional groups of one frame, its own before the shared ones."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._own = own
        self._shared = shared

    def part(self, keyword: str) -> Dataset:
        """The first item of a functional group; empty where there is none."""
        items = self.whole(keyword)
        return items[0] if items else Dataset()

    def whole(self, keyword: str) -> Any:
        """All items of a functional group; None where there is none."""
        return self._own.get(keyword) or self._shared.get(keyword)


def _groups(dataset: Dataset) -> list[_Group]:
    count = max(1, whole(dataset, "NumberOfFrames", 1))
    if count > _MOST_FRAMES:
        raise ValueError(f"{count} frames")
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), Dataset())
    each = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    return [_Group(each[i] if i < len(each) else Dataset(), shared) for i in range(count)]


def _frame(group: _Group, plain: Frame, modality: str) -> Frame:
    place = floats(group.part("PlanePositionSequence"), "ImagePositionPatient", 3)
    described = next((part for name in _FRAME_TYPES if (part := group.part(name))), Dataset())
    types = tuple(value.upper() for value in texts(described, "FrameType")) or plain.image_type
    declared = text(described, "ComplexImageComponent").upper()
    content = group.part("FrameContentSequence")
    marks: dict[str, Value] = {}
    for name, (sequence, keyword) in _MARKS.items():
        part = group.part(sequence)
        value = number(part, keyword)
        words = "" if value is not None else text(part, keyword)
        if value is not None or words:
            marks[name] = words if value is None else value
    gradient = group.part("MRDiffusionSequence").get("DiffusionGradientDirectionSequence")
    if gradient and (axes := floats(gradient[0], "DiffusionGradientOrientation", 3)):
        marks["gradient"] = "\\".join(f"{axis:g}" for axis in axes)
    legacy = group.part("UnassignedPerFrameConvertedAttributesSequence")
    for name, keyword in (("te", "EchoTime"), ("trigger", "TriggerTime"), ("temporal", "TemporalPositionIdentifier")):
        if name not in marks and (value := number(legacy, keyword)) is not None:
            marks[name] = value
    if when := text(content, "FrameAcquisitionDateTime") or text(content, "FrameReferenceDateTime"):
        marks["time"] = when
    return Frame(
        position=(place[0], place[1], place[2]) if place else None,
        orientation=geo.sound(floats(group.part("PlaneOrientationSequence"), "ImageOrientationPatient", 6))
        or plain.orientation,
        spacing=_pair(floats(group.part("PixelMeasuresSequence"), "PixelSpacing", 2)) or plain.spacing,
        image_type=types,
        component=kinds.component(declared, types, modality) if described else plain.component,
        calculation=text(described, "VolumeBasedCalculationTechnique").upper(),
        quantity=text(group.part("PixelValueTransformationSequence"), "RescaleType").upper(),
        stack=text(content, "StackID"),
        marks=marks,
    )


def _pair(values: tuple[float, ...] | None) -> tuple[float, float] | None:
    return (values[0], values[1]) if values and min(values) > 0 else None


def _nuclear(dataset: Dataset, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Marks from the vectors; places from the detector and the slice numbers of reconstructed volumes."""
    vectors = {name: _vector(dataset, keyword, len(frames)) for name, keyword in _VECTORS.items()}
    slices = _vector(dataset, "SliceVector", len(frames))
    detector = next(iter(dataset.get("DetectorInformationSequence") or ()), Dataset())
    origin = floats(detector, "ImagePositionPatient", 3)
    axes = geo.sound(floats(detector, "ImageOrientationPatient", 6))
    step = number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness")
    out = []
    for i, frame in enumerate(frames):
        marks: dict[str, Value] = {name: values[i] for name, values in vectors.items() if values}
        place: Vector | None = None
        if slices and origin and axes and step:
            x, y, z = (float(value) for value in origin + (slices[i] - 1) * step * geo.normal(axes))
            place = (x, y, z)
        out.append(Frame(place, axes if place else None, frame.spacing, frame.image_type, marks=marks))
    return tuple(out)


def _vector(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    return floats(dataset, keyword, count) or ()


def _tiles(dataset: Dataset, types: tuple[str, ...], known: dict[str, Any]) -> Frames:
    tiles = mosaic.tiles_of(dataset)
    rescale = rescale_of(dataset)
    if tiles is None:
        problem = "Siemens mosaic whose slices cannot be told apart: shown, not denoised."
        return Frames((), (rescale,), acquisition=known, problem=problem)
    modality = text(dataset, "Modality").upper()
    part = kinds.component(text(dataset, "ComplexImageComponent").upper(), types, modality)
    spacing = _pair(floats(dataset, "PixelSpacing", 2))
    frames = tuple(Frame(place, tiles.orientation, spacing, types, part) for place in tiles.positions)
    return Frames(frames, (rescale,) * len(frames), tiles.between, tiles.per_row, tiles.rows, tiles.columns, known)
