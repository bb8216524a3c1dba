"""DICOM headers → series: identifiers, splitting, order, what may be done with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aegui.imaging import geometry as geo
from aegui.imaging.dicom import kinds, stacks
from aegui.imaging.dicom.acquisition import acquisition, b_value, plain, unit_of
from aegui.imaging.dicom.elements import Source, floats, number, text, texts, whole
from aegui.imaging.dicom.frames import Frame, Value, rescale_of
from aegui.imaging.dicom.headers import Header
from aegui.imaging.dicom.stacks import Group, Part, Placed
from aegui.imaging.series import DERIVED_HERE, Series, Skipped, bits_of_values
from aegui.imaging.text import by_name, digest, made_uid

_PLANE, _TISSUE, _CENTIMETRES = 1, 1, 3  # codes of an ultrasound region
_CORNERS = ("MinX0", "MinY0", "MaxX1", "MaxY1")
_SLICED = ("CT", "MR", "PT")  # modalities whose slices are expected to say where they lie


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
    for header in sorted(members, key=lambda item: by_name(item.file)):
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


@dataclass(frozen=True)
class _Volume:
    """One volume: its slices, of `files` (one each) or all of the one file that is there."""

    headers: tuple[Header, ...]
    part: Part
    loose: bool
    several: bool
    notes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def _build(members: list[Header]) -> list[Series]:
    first = members[0]
    missing = [name for name, uid in (("Study", first.study_uid), ("Series", first.series_uid)) if not uid]
    anchor = min((member.sop_uid or str(member.file)) for member in members)
    uid = first.series_uid or made_uid("series", anchor, first.rows, first.columns, first.orientation)
    study = first.study_uid or made_uid("study", first.patient, first.study_date, "" if first.patient else anchor)
    notes: list[str] = []
    if missing:
        notes.append(f"{' and '.join(missing)} UID missing: made from the files")
    if any(member.repaired and member.sop_uid for member in members):
        notes.append("SOP Instance UIDs taken from the file meta")
    if not all(member.sop_uid for member in members):
        notes.append("SOP Instance UIDs missing: made from the files")
    volumes = _classic([member for member in members if not _many(member)])
    volumes += _of_files([volume for member in members if _many(member) for volume in _framed(member)])
    return [_describe(volume, uid if i == 0 else f"{uid}#{i + 1}", study, notes) for i, volume in enumerate(volumes)]


def _many(header: Header) -> bool:
    """Whether the file holds several slices."""
    return header.several is not None and (header.frames > 1 or bool(header.several.tiles))


def _classic(members: list[Header]) -> list[_Volume]:
    """Volumes of files that hold one slice each."""
    placed = [_placed(header, i) for i, header in enumerate(members)]
    found = stacks.groups(placed)
    out: list[_Volume] = []
    for group in found:
        for part in stacks.parts(group):
            headers = tuple(members[item.source] for item in part.slices)
            out.append(_Volume(headers, part, group.loose, False, _apart(group, found)))
    return out


def _placed(header: Header, index: int) -> Placed:
    order = (header.number is None, header.number or 0, text(header, "AcquisitionTime"), index)
    shape = (header.rows, header.columns, header.samples, header.photometric, header.sop_class)
    if header.several and header.several.frames:  # an enhanced object of one frame
        return Placed(index, header.several.frames[0], shape, order, partial(_frame_marks, header, 0))
    declared = ""
    if header.modality == "MR":
        declared = text(header, "ComplexImageComponent").upper() or text(header, "0043102F")
    component = kinds.component(declared, header.image_type, header.modality)
    frame = Frame(header.position, geo.sound(header.orientation), header.spacing, header.image_type, component)
    return Placed(index, frame, shape, order, partial(_marks, header))


def _marks(header: Header) -> dict[str, Value]:
    """What tells slices of one place apart, by the names of acquisition."""
    found: dict[str, Value] = {}
    for name, keywords in (
        ("te", ("EchoTime",)),
        ("echo", ("EchoNumbers",)),
        ("kvp", ("KVP",)),
        ("inversion", ("InversionTime",)),
        ("flip_angle", ("FlipAngle",)),
        ("temporal", ("TemporalPositionIdentifier", "TemporalPositionIndex")),
        ("trigger", ("TriggerTime", "NominalCardiacTriggerDelayTime")),
        ("acquisition", ("AcquisitionNumber",)),
        ("time", ("FrameReferenceTime",)),
    ):
        value = next((value for keyword in keywords if (value := number(header, keyword)) is not None), None)
        if value is not None:
            found[name] = value
    if (weighting := b_value(header)) is not None:
        found["b_value"] = weighting
    axes = floats(header, "DiffusionGradientOrientation", 3)
    named = text(header, "SequenceName")
    if axes or "#" in named:  # Siemens numbers the directions: ep_b1000#12
        found["gradient"] = "\\".join(f"{axis:g}" for axis in axes) if axes else named
    if kernel := "\\".join(texts(header, "ConvolutionKernel")):
        found["kernel"] = kernel
    if "time" not in found and (when := text(header, "AcquisitionTime")):
        found["time"] = text(header, "AcquisitionDate") + when
    return found


def _framed(header: Header) -> list[_Volume]:
    """Volumes of a file that holds several slices."""
    several = header.several
    assert several is not None
    placed = [Placed(i, frame, (), (i,), partial(_frame_marks, header, i)) for i, frame in enumerate(several.frames)]
    found = stacks.groups(placed)
    return [
        _Volume((header,), part, group.loose, True, _apart(group, found))
        for group in found
        for part in stacks.parts(group)
    ]


def _frame_marks(header: Header, index: int) -> Mapping[str, Value]:
    assert header.several is not None
    # Tiles have no functional groups; a mosaic is told from others by the elements of its file.
    return {**(_marks(header) if header.several.tiles else {}), **header.several.frames[index].marks}


def _of_files(volumes: list[_Volume]) -> list[_Volume]:
    """Name what tells volumes of several files apart, where they lie at the same places."""
    same: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, volume in enumerate(volumes):
        frames = [item.frame for item in volume.part.slices]
        ends = tuple(_rounded(frame.position) for frame in (frames[0], frames[-1]))
        if None not in ends:
            key = (*ends, len(frames), volume.headers[0].rows, volume.headers[0].columns, volume.part.words)
            same[key].append(i)
    out = list(volumes)
    for members in same.values():
        if len({volumes[i].headers[0].file for i in members}) < 2:
            continue
        heads = []
        for i in members:
            header, item = volumes[i].headers[0], volumes[i].part.slices[0]
            order = (header.number is None, header.number or 0, text(header, "AcquisitionTime"), i)
            heads.append(Placed(i, item.frame, (), order, item.marks))
        for part in stacks.moments(heads):
            for item in part.slices:
                out[item.source] = replace(volumes[item.source], words=part.words)
    return out


def _rounded(position: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if position is None else tuple(round(value, 1) for value in position)


def _apart(group: Group, found: Sequence[Group]) -> tuple[str, ...]:
    """Why slices of one series are not in one stack, in words."""
    if len(found) == 1:
        return ()
    sizes = {item.slices[0].shape[:2] for item in found}
    if len(sizes) > 1:
        rows, columns = group.slices[0].shape[:2]
        return (f"Slices of unequal size: {columns} × {rows} kept apart",)
    frames = [item.slices[0].frame for item in found]
    differ = []
    if len({frame.orientation for frame in frames}) > 1:
        differ.append("orientation")
    if len({frame.spacing for frame in frames}) > 1:
        differ.append("pixel size")
    return (f"Slices of unequal {' and '.join(differ)} kept apart",) if differ else ()


def _describe(volume: _Volume, uid: str, study: str, notes: Sequence[str]) -> Series:
    slices = volume.part.slices
    first, middle = volume.headers[0], volume.headers[len(volume.headers) // 2]
    frame = slices[len(slices) // 2].frame
    several = first.several
    positions = [item.frame.position for item in slices if item.frame.position is not None]
    if len(positions) < len(slices) or frame.orientation is None or volume.loose:
        positions = []
    spacing = frame.spacing or first.spacing or other_spacing(middle) or _region_spacing(middle)
    between = several.between if several else number(middle, "SpacingBetweenSlices")
    shape = geo.geometry(positions, frame.orientation, spacing, None if positions else between)
    warnings = [*notes, *volume.notes, *_warnings(volume, bool(positions))]
    warnings += geo.warnings_for(shape, first.modality)
    treat, reason = kinds.treatment(middle, frame)
    if several and several.problem and treat == "denoise":
        treat, reason = "view", several.problem
    warnings += _marked(middle)
    contrast = kinds.contrast(frame.component, frame.image_type, frame.calculation)
    if several is None:
        taken, rescale = acquisition(middle), rescale_of(middle)
    else:
        # Most elements of a mosaic are those of a classic file.
        taken = {**several.acquisition, **(acquisition(middle) if several.tiles else {})}
        rescale = several.rescale[slices[0].source if volume.several else 0]
    words = " · ".join((first.description, *volume.part.words, *volume.words)).strip(" ·")
    tiled = several is not None and bool(several.tiles)
    return Series(
        uid=uid,
        study_uid=study,
        patient=first.patient or digest("folder", first.file.parent.resolve()),
        label="",
        study_date=first.study_date,
        modality=first.modality,
        description=words,
        form="dicom",
        files=tuple(header.file for header in volume.headers),
        rows=several.rows if several and tiled else first.rows,
        columns=several.columns if several and tiled else first.columns,
        slices=len(slices),
        geometry=shape,
        unit=unit_of(middle, first.modality, _quantity(middle, frame), rescale, contrast),
        channels=3 if first.samples == 3 or first.photometric == "PALETTE COLOR" else 1,
        bits=bits_of_values(first.bits, rescale),
        acquisition=taken | _told(frame, volume.part.marks or {}),
        warnings=tuple(warnings),
        treat=treat,
        reason=reason,
        frames=tuple(item.source for item in slices) if volume.several else (),
        mosaic=several.tiles if several and tiled else 0,
    )


def _quantity(header: Header, frame: Frame) -> str:
    return (frame.quantity or text(header, "RescaleType")).upper()


def _told(frame: Frame, marks: Mapping[str, Value]) -> dict[str, Any]:
    """What the frames of this volume say of themselves."""
    found: dict[str, Any] = {
        name: plain(value) if isinstance(value, float | int) else value
        for name, value in {**marks, **frame.marks}.items()
        if name != "time" or name in frame.marks
    }
    if frame.image_type:
        found["image_type"] = "\\".join(frame.image_type)
    if frame.component:
        found["component"] = frame.component
    return found


def _warnings(volume: _Volume, placed: bool) -> list[str]:
    found = []
    count = len(volume.part.slices)
    if count == 1:
        found.append("One slice only")
    if volume.loose:
        found.append("Every slice has an orientation of its own")
    elif not placed and count > 1 and volume.headers[0].modality in _SLICED and not volume.several:
        found.append("Slice positions are not told: sorted by number")
    if volume.part.doubled:
        slices = "1 slice" if volume.part.doubled == 1 else f"{volume.part.doubled} slices"
        found.append(f"{slices} at positions already taken kept apart")
    return found


def _marked(header: Header) -> list[str]:
    found = []
    if text(header, "LossyImageCompression") == "01":
        found.append("Lossy compression")
    if text(header, "BurnedInAnnotation").upper() == "YES":
        found.append("Text is burned into the image")
    made = header.get("ContributingEquipmentSequence") or ()
    if any(text(item, "ManufacturerModelName") == "aegui" for item in made):
        found.append(DERIVED_HERE)
    return found


def other_spacing(dataset: Source) -> tuple[float, float] | None:
    """Pixel size where Pixel Spacing is absent: at the detector, or of a digitised film."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        pair = floats(dataset, keyword, 2)
        if pair and min(pair) > 0:
            return (pair[0], pair[1])
    return None


def _region_spacing(header: Header) -> tuple[float, float] | None:
    """Pixel size of an ultrasound picture, if one region of tissue in centimetres fills half of it or more."""
    regions = [
        region
        for region in header.get("SequenceOfUltrasoundRegions") or ()
        if whole(region, "RegionSpatialFormat") == _PLANE and whole(region, "RegionDataType") == _TISSUE
    ]
    if len(regions) != 1:
        return None
    (region,) = regions
    left, top, right, bottom = (whole(region, f"RegionLocation{corner}") for corner in _CORNERS)
    if not (0 <= left < right <= header.columns and 0 <= top < bottom <= header.rows):
        return None  # the picture was cut out or made smaller afterwards
    filled = (right - left + 1) * (bottom - top + 1) / (header.rows * header.columns)
    units = {whole(region, f"PhysicalUnits{axis}Direction") for axis in "XY"}
    # The sign tells which way the numbers grow.
    height, width = (abs(number(region, f"PhysicalDelta{axis}") or 0.0) * 10 for axis in "YX")
    return (height, width) if units == {_CENTIMETRES} and filled >= 0.5 and min(height, width) > 0 else None
