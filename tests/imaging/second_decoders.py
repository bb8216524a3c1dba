"""Decoders that the program does not use for these files, to compare it with: pydicom's own, ffmpeg's and DCMTK's.

ffmpeg wrote its JPEG, lossless JPEG, JPEG-LS and JPEG 2000 itself, so it shares no code with the program's codecs.
DCMTK reads what ffmpeg reads wrongly: colour that is stored at half resolution or sample by sample. Both are
optional. Segmented palettes are left to GDCM, since DCMTK reads none.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import convert_color_space, pixel_array
from pydicom.uid import UID, SecondaryCaptureImageStorage

Values = npt.NDArray[Any]

LOSSY = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
}
_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
_LOSSLESS_JPEG = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
_JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
# ffmpeg 5 to 7 take this one's predictor differently from everybody else.
_NOT_FFMPEG = {"JPEG-LL.dcm"}


class Second(NamedTuple):
    """How to read a file another way. tolerance: by how much its stored values may differ."""

    name: str
    tolerance: int
    read: Callable[[int], Values]


def second_decoder(path: Path) -> Second | None:
    """The decoder to compare with; None where it is not installed."""
    dataset = read(path)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    colour = str(dataset.get("PhotometricInterpretation", ""))
    tolerance = 0 if syntax not in LOSSY | {"1.2.840.10008.1.2.4.81"} else 1
    if syntax in _JPEG_LS:
        tolerance = 0  # the loss is in the encoding, every decoder gives the same
    if colour.startswith("YBR_FULL") or colour == "YBR_ICT":
        tolerance = 2
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        return Second("GDCM", 0, lambda frame: _by_gdcm(path, frame))
    if colour == "PALETTE COLOR":
        return _available("dcm2pnm", Second("DCMTK", 0, lambda frame: _by_dcm2pnm(path, frame, dataset)))
    if not UID(syntax).is_encapsulated or syntax == pydicom.uid.RLELossless:
        return Second("pydicom", tolerance, lambda frame: _by_pydicom(dataset, frame))
    if dataset.SamplesPerPixel == 3 and syntax not in _JPEG_2000:
        program = "dcmdjpls" if syntax in _JPEG_LS else "dcmdjpeg"
        return _available(program, Second("DCMTK", tolerance, lambda frame: _by_dcmtk(program, dataset, frame)))
    if path.name in _NOT_FFMPEG:
        return _available("dcmdjpeg", Second("DCMTK", tolerance, lambda frame: _by_dcmtk("dcmdjpeg", dataset, frame)))
    if syntax in _JPEG | _LOSSLESS_JPEG | _JPEG_LS | _JPEG_2000:
        return _available("ffmpeg", Second("ffmpeg", tolerance, lambda frame: _by_ffmpeg(dataset, frame)))
    return None


def _available(program: str, second: Second) -> Second | None:
    return second if shutil.which(program) else None


def read(path: Path) -> Dataset:
    """The whole data set; files without meta are taken for what they are written in."""
    dataset = pydicom.dcmread(path, force=True)
    if "Rows" not in dataset:  # cut off before the end mark of its pixel data
        dataset = pydicom.dcmread(BytesIO(path.read_bytes() + b"\xfe\xff\xdd\xe0\0\0\0\0"), force=True)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        names = {(True, True): "1.2.840.10008.1.2", (False, True): "1.2.840.10008.1.2.1"}
        dataset.file_meta.TransferSyntaxUID = UID(names.get((bool(implicit), bool(little)), "1.2.840.10008.1.2.2"))
    return dataset


def _by_pydicom(dataset: Dataset, frame: int) -> Values:
    if not str(dataset.get("NumberOfFrames", "1")).isdecimal():
        dataset.NumberOfFrames = 1
    plugin = "pydicom" if dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless else ""
    return np.asarray(pixel_array(dataset, index=frame, decoding_plugin=plugin))


def _by_dcmtk(program: str, dataset: Dataset, frame: int) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source.dcm"), Path(folder, "out.dcm")
        _image_alone(dataset).save_as(source, enforce_file_format=True)
        subprocess.run([program, str(source), str(out)], check=True, capture_output=True, timeout=60)
        dataset = pydicom.dcmread(out)
        values = np.asarray(pixel_array(dataset, index=frame, raw=True))
        if str(dataset.PhotometricInterpretation).startswith("YBR"):
            return convert_color_space(values, dataset.PhotometricInterpretation, "RGB")
        return values


def _image_alone(dataset: Dataset) -> Dataset:
    """The elements that say how the pixels are laid out, and the pixels: DCMTK reads no broken files."""
    alone = Dataset()
    for element in dataset.group_dataset(0x0028):
        if element.tag.element < 0x0104 and element.VR in ("US", "CS", "IS"):
            alone.add_new(element.tag, element.VR, element.value)
    alone.SOPClassUID, alone.SOPInstanceUID = SecondaryCaptureImageStorage, "2.25.1"
    alone.add_new("PixelData", "OB", dataset.PixelData)
    alone["PixelData"].is_undefined_length = True
    alone.file_meta = pydicom.dataset.FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    return alone


def _by_dcm2pnm(path: Path, frame: int, dataset: Dataset) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        source, out = path, Path(folder, "out.ppm")
        if dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
            source = Path(folder, "plain.dcm")
            subprocess.run(["dcmdrle", str(path), str(source)], check=True, capture_output=True, timeout=60)
        command = ["dcm2pnm", "--read-file", "+F", str(frame + 1), str(source), str(out)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        from PIL import Image

        with Image.open(out) as image:
            return np.asarray(image)


def _by_gdcm(path: Path, frame: int) -> Values:
    import SimpleITK as sitk

    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[frame] >> 8).astype(np.uint8)


def _by_ffmpeg(dataset: Dataset, frame: int) -> Values:
    data = get_frame(dataset.PixelData, frame, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    suffix = "j2k" if syntax in _JPEG_2000 else "jls" if syntax in _JPEG_LS else "jpg"
    samples = dataset.SamplesPerPixel
    count = dataset.Rows * dataset.Columns * samples
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"frame.{suffix}")
        file.write_bytes(data)
        pixels = ["-pix_fmt", "rgb24"] if samples == 3 else []
        command = ["ffmpeg", "-v", "quiet", "-i", str(file), *pixels, "-frames:v", "1", "-f", "rawvideo", "-"]
        found = subprocess.run(command, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL).stdout
    if samples == 3:
        return np.frombuffer(found, np.uint8).reshape(dataset.Rows, dataset.Columns, 3)
    values = np.frombuffer(found, "<u2" if len(found) == 2 * count else "u1").astype(np.int64)
    if suffix == "j2k":
        size = data[data.index(b"\xff\x51") + 40]  # Ssiz: the bits of a sample less one, and the sign
        precision = (size & 0x7F) + 1
        values >>= (16 if len(found) == 2 * count else 8) - precision
        values -= (1 << precision - 1) if size & 0x80 else 0
    elif suffix == "jls" and len(found) == 2 * count:
        values >>= 16 - data[data.index(b"\xff\xf7") + 4]
    elif syntax in _JPEG and len(found) == 2 * count:
        values >>= 4
    return _stored(values.reshape(dataset.Rows, dataset.Columns), dataset)


def _stored(values: Values, dataset: Dataset) -> Values:
    """The stored bits alone, with their sign."""
    bits = dataset.BitsStored
    low = values & ((1 << bits) - 1)
    return np.where(low >> (bits - 1), low - (1 << bits), low) if dataset.PixelRepresentation else low
