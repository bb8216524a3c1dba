"""Small DICOM files and short ways through a scan, for the tests of this folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from aegui.events import finish
from aegui.imaging import OutputRules, Provenance, ScanResult, Series, SliceSource, open_series, open_sink, scan

CT, MR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"


def dataset(
    *,
    series: str = "1.2.3.1",
    number: int | None = 1,
    z: float | None = 0.0,
    rows: int = 12,
    columns: int = 10,
    sop_class: str = CT,
    modality: str = "CT",
    stored: np.ndarray[Any, Any] | None = None,
    signed: bool = True,
    bits: int = 16,
    syntax: str = ExplicitVRLittleEndian,
    **more: Any,
) -> Dataset:
    """One single-frame image. more: further elements, None removes one."""
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = UID(syntax)
    uid = f"{series}.{number}.{0 if z is None else int(z * 100) % 100000}.{rows}"
    item.SOPClassUID, item.SOPInstanceUID = sop_class, uid
    item.file_meta.MediaStorageSOPClassUID, item.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    item.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    item.StudyInstanceUID, item.SeriesInstanceUID, item.FrameOfReferenceUID = "1.2.3", series, "1.2.9"
    item.PatientID, item.PatientName, item.StudyDate = "P1", "Doe^Jane", "20240102"
    item.Modality, item.SeriesDescription, item.SeriesNumber = modality, "Thorax", 3
    if number is not None:
        item.InstanceNumber = number
    item.PixelSpacing = [0.5, 0.75]
    item.SliceThickness = 2.5
    if z is not None:
        item.ImagePositionPatient = [-10.0, -20.0, z]
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item.Rows, item.Columns = rows, columns
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    item.PixelRepresentation = int(signed)
    if modality == "CT":
        item.RescaleSlope, item.RescaleIntercept = 1, -1024
    kind = "u1" if bits == 8 else "<i2" if signed else "<u2"
    values = np.arange(rows * columns).reshape(rows, columns) if stored is None else stored
    item.PixelData = values.astype(kind).tobytes()
    item["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in more.items():
        if value is None:
            del item[keyword]
        else:
            setattr(item, keyword, value)
    return item


def save(item: Dataset, path: Path) -> Path:
    """Write with preamble and file meta."""
    path.parent.mkdir(parents=True, exist_ok=True)
    item.save_as(path, enforce_file_format=True)
    return path


def stack(folder: Path, zs: list[float], **more: Any) -> list[Path]:
    """A series of slices at these positions, numbered in the order given."""
    return [save(dataset(number=i + 1, z=z, **more), folder / f"{i:03d}.dcm") for i, z in enumerate(zs)]


def scanned(*paths: Path) -> ScanResult:
    """The result of a scan, after seeing that every file was counted once."""
    result: ScanResult = finish(scan(paths))
    # A file of several volumes is in several series, and in all of them it is the only one.
    counts = Counter({file: 1 for series in result.series for file in series.files if len(series.files) == 1})
    counts.update(file for series in result.series for file in series.files if len(series.files) > 1)
    counts.update(skipped.file for skipped in result.skipped)
    assert not [file for file, times in counts.items() if times != 1]
    assert {
        file
        for path in paths
        for file in path.rglob("*")
        if file.is_file() and file.suffix != ".zip" and "homes" not in file.parts
    } <= set(counts)
    return result


def only(*paths: Path) -> Series:
    """The one series that is there."""
    result = scanned(*paths)
    assert len(result.series) == 1, result
    return result.series[0]


def copied(source: SliceSource, folder: Path, change: float = 0.0, **rules: Any) -> Path:
    """Write every slice plus `change` to a sink; where it went."""
    sink = open_sink(source, folder, OutputRules(**rules), Provenance(model="test-model", strength=0.5))
    for index in range(len(source)):
        sink.write(index, source.read(index) + np.float32(change))
    return sink.finish()


def opened(*paths: Path) -> SliceSource:
    """The one series that is there, opened."""
    return open_series(only(*paths))
