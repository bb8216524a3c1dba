"""Writes generated CT slices as DICOM, and finds the sample files that come with pydicom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from aegui import __version__
from aegui.imaging.series import Pixels, Vector

_INTERCEPT = -1024
_BUNDLED = ("CT_small.dcm", "MR_small.dcm")


@dataclass(frozen=True)
class PhantomSeries:
    """What the header of a generated CT series says. Equal `study` and `patient` give one study, one frame.

    thickness: mm. spacing: mm, (z, y, x). origin: centre of the first voxel, mm. exposure: mAs.
    window: width and level.
    """

    study: str
    patient: str
    sex: str
    number: int
    description: str
    exposure: float
    thickness: float
    spacing: Vector
    origin: Vector
    kernel: str = "STANDARD"
    kvp: float = 120.0
    window: tuple[float, float] = (400.0, 40.0)


def _uid(*parts: str) -> str:
    return str(generate_uid(entropy_srcs=["aegui phantom", *parts]))


def _stored(pixels: Pixels) -> bytes:
    values = np.clip(np.rint(pixels) - _INTERCEPT, 0, 4095)
    return bytes(values.astype("<u2").tobytes())


def write_slice(path: Path, series: PhantomSeries, index: int, pixels: Pixels) -> None:
    """One axial slice, HU (rows, columns), as an explicit little-endian CT Image. UIDs follow from the header."""
    instance = _uid(series.study, series.description, "slice", str(index))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)

    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = instance
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20240115"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "100000"
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "aegui"
    ds.ManufacturerModelName = "Simulated scanner"
    ds.SoftwareVersions = __version__
    ds.DeviceSerialNumber = "0"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Simulated chest and abdomen"
    ds.SeriesDescription = series.description
    ds.PatientName = f"Phantom^{series.patient}"
    ds.PatientID = series.patient
    ds.PatientBirthDate = ""
    ds.PatientSex = series.sex
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Simulated, no person"
    ds.BodyPartExamined = "CHEST"
    ds.PatientPosition = "HFS"

    rows, columns = pixels.shape
    z, y, x = series.spacing
    position = (series.origin[0], series.origin[1], series.origin[2] + index * z)
    ds.KVP = series.kvp
    ds.Exposure = round(series.exposure)
    ds.ExposureTime = 1000
    ds.XRayTubeCurrent = round(series.exposure)
    ds.ConvolutionKernel = series.kernel
    ds.SliceThickness = series.thickness
    ds.SpacingBetweenSlices = z
    ds.GantryDetectorTilt = 0
    ds.ReconstructionDiameter = columns * x
    ds.StudyInstanceUID = _uid(series.study)
    ds.SeriesInstanceUID = _uid(series.study, series.description)
    ds.FrameOfReferenceUID = _uid(series.study, "frame")
    ds.StudyID = "1"
    ds.SeriesNumber = series.number
    ds.AcquisitionNumber = series.number
    ds.InstanceNumber = index + 1
    ds.PositionReferenceIndicator = ""
    ds.ImagePositionPatient = [round(value, 6) for value in position]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SliceLocation = round(position[2], 6)

    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.PixelSpacing = [y, x]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.WindowWidth, ds.WindowCenter = series.window
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = _INTERCEPT, 1, "HU"
    ds.PixelData = _stored(pixels)
    ds.save_as(path, enforce_file_format=True)


def bundled_files() -> list[Path]:
    """pydicom's own CT and MR sample, those that lie in its package; never fetched."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return [folder / name for name in _BUNDLED if (folder / name).is_file()]
