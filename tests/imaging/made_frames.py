"""Enhanced multi-frame files and Siemens mosaics, made for the tests of this folder."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from tests.imaging.made_files import MR, dataset

ENHANCED_MR, ENHANCED_CT = f"{MR}.1", "1.2.840.10008.5.1.4.1.1.2.1"
# (functional group, element) by a short name.
GROUPS = {
    "te": ("MREchoSequence", "EffectiveEchoTime"),
    "b": ("MRDiffusionSequence", "DiffusionBValue"),
    "temporal": ("FrameContentSequence", "TemporalPositionIndex"),
    "stack": ("FrameContentSequence", "StackID"),
    "trigger": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "type": ("MRImageFrameTypeSequence", "FrameType"),
    "component": ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    "calculation": ("MRImageFrameTypeSequence", "VolumeBasedCalculationTechnique"),
    "slope": ("PixelValueTransformationSequence", "RescaleSlope"),
    "intercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "axes": ("PlaneOrientationSequence", "ImageOrientationPatient"),
    "position": ("PlanePositionSequence", "ImagePositionPatient"),
    "spacing": ("PixelMeasuresSequence", "PixelSpacing"),
}
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def enhanced(frames: Sequence[Mapping[str, Any]], sop_class: str = ENHANCED_MR, **more: Any) -> Dataset:
    """One enhanced file; of each frame z and what else is told of it, by the names of GROUPS."""
    stored = np.arange(len(frames))[:, None, None] + np.zeros((len(frames), 12, 10), int)
    item = dataset(sop_class=sop_class, modality="MR", z=None, stored=stored, NumberOfFrames=len(frames), **more)
    del item.PixelSpacing
    groups = []
    for frame in frames:
        told = {"axes": AXIAL, "position": [-10.0, -20.0, frame["z"]], "spacing": [0.5, 0.75], **frame}
        group = Dataset()
        for name, value in told.items():
            if name == "z":
                continue
            sequence, keyword = GROUPS[name]
            if sequence not in group:
                setattr(group, sequence, Items([Dataset()]))
            setattr(group[sequence].value[0], keyword, value)
        groups.append(group)
    item.PerFrameFunctionalGroupsSequence = Items(groups)
    item.SharedFunctionalGroupsSequence = Items([Dataset()])
    return item


def csa(tags: Mapping[str, Sequence[float]], second: bool = True) -> bytes:
    """A CSA header of the second or first version."""
    out = b"SV10\4\3\2\1" if second else b""
    out += struct.pack("<2I", len(tags), 77)
    for number, (name, values) in enumerate(tags.items()):
        items = 6 if number or values else 0
        out += struct.pack("<64si4s3i", name.encode(), len(values), b"FD\0\0", 3, items, 77)
        for i in range(items):
            words = f"{values[i]:.8f}".encode() + b"\0" if i < len(values) else b""
            length = len(words)
            head = (77, length, 77, 77) if second else (length + items, 0, 0, 0)
            out += struct.pack("<4i", *head) + words + b"\0" * (-length % 4)
    return out


def mosaic(
    tiles: int,
    first: Sequence[float],
    normal: Sequence[float],
    axes: Sequence[float] = AXIAL,
    *,
    tile: tuple[int, int] = (6, 4),
    between: float = 3.0,
    spacing: tuple[float, float] = (2.0, 1.5),
    second: bool = True,
    **more: Any,
) -> Dataset:
    """A mosaic whose first tile has its first voxel at `first`; tile n holds the value 100 + n."""
    per_row = int(np.ceil(np.sqrt(tiles)))
    rows, columns = tile[0] * per_row, tile[1] * per_row
    picture = np.zeros((rows, columns), int)
    for number in range(tiles):
        top, left = tile[0] * (number // per_row), tile[1] * (number % per_row)
        picture[top : top + tile[0], left : left + tile[1]] = 100 + number
    item = dataset(sop_class=MR, modality="MR", z=0.0, rows=rows, columns=columns, stored=picture, **more)
    item.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    item.Manufacturer = "SIEMENS"
    item.PixelSpacing = list(spacing)
    item.SpacingBetweenSlices = between
    item.ImageOrientationPatient = list(axes)
    # What the scanner writes: the corner of a picture as large as the mosaic, centred on the volume.
    down, right = (rows - tile[0]) / 2 * spacing[0], (columns - tile[1]) / 2 * spacing[1]
    corner = np.asarray(first) - right * np.asarray(axes[:3]) - down * np.asarray(axes[3:])
    item.ImagePositionPatient = [float(round(value, 8)) for value in corner]
    block = item.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0A, "US", tiles)
    block = item.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    tags = {"Nothing": [], "SliceNormalVector": list(normal), "NumberOfImagesInMosaic": [tiles]}
    block.add_new(0x10, "OB", csa(tags, second))
    return item
