"""Bit layouts and encodings that pydicom's files do not cover."""

import resource
import shutil
import struct
import subprocess
import time
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from aegui.errors import UserError
from aegui.imaging.dicom import deflate
from aegui.imaging.dicom.headers import read_dataset
from aegui.imaging.dicom.pixels import decode
from tests.imaging.made_files import MR, WHEEL, dataset, opened, save, scanned

RNG = np.random.default_rng(5)


def laid_out(path: Path, data: bytes, **elements: Any) -> Path:
    """A file with these pixel bytes and elements."""
    item = dataset(modality="MR", sop_class=MR)
    item.PixelData = data + b"\0" * (len(data) % 2)
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return save(item, path)


LAYOUTS = [
    (allocated, stored, high, signed, form)
    for allocated, stored in [(8, 8), (8, 6), (16, 16), (16, 12), (16, 10), (16, 1), (32, 32), (32, 24), (32, 20)]
    for high, signed in product(sorted({stored - 1, allocated - 1}), (False, True))
    # pydicom writes no other RLE.
    for form in (("native", "RLE") if allocated < 32 and stored > 1 else ("native",))
]


@pytest.mark.parametrize(("allocated", "stored", "high", "signed", "form"), LAYOUTS)
def test_the_stored_bits_alone_count_whatever_lies_beside_them(
    tmp_path: Path, allocated: int, stored: int, high: int, signed: bool, form: str
) -> None:
    low, top = (-(1 << stored - 1), (1 << stored - 1) - 1) if signed else (0, (1 << stored) - 1)
    values = RNG.integers(low, top + 1, (12, 10))
    values[0, :2] = low, top
    mask, shift = (1 << stored) - 1, high + 1 - stored
    beside = RNG.integers(0, 1 << allocated, values.shape) & ~(mask << shift)
    words = (((values & mask) << shift) | beside).astype(f"<u{allocated // 8}")
    path = laid_out(
        tmp_path / "a.dcm",
        words.tobytes(),
        BitsAllocated=allocated,
        BitsStored=stored,
        HighBit=high,
        PixelRepresentation=int(signed),
    )
    if form == "RLE":
        item = pydicom.dcmread(path)
        item.compress(RLELossless)
        item.save_as(path)
    found = decode(path)
    assert found.dtype == np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
    np.testing.assert_array_equal(found, values)


def test_twelve_bit_words_are_unpacked_from_the_lowest_bit(tmp_path: Path) -> None:
    values = np.array([0x123, 0xABC, 0xFFF, 0x001, 0x800, 0x7FF]).reshape(2, 3)
    data = bytes([0x23, 0xC1, 0xAB, 0xFF, 0x1F, 0x00, 0x00, 0xF8, 0x7F])
    shape = {"Rows": 2, "Columns": 3, "BitsAllocated": 12, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    np.testing.assert_array_equal(decode(laid_out(tmp_path / "a.dcm", data, **shape)), values)
    shape["PixelRepresentation"] = 1
    np.testing.assert_array_equal(
        decode(laid_out(tmp_path / "b.dcm", data, **shape)), np.where(values > 2047, values - 4096, values)
    )


def test_frames_of_single_bits_need_not_begin_at_a_byte(tmp_path: Path) -> None:
    frames = RNG.integers(0, 2, (5, 3, 7)).astype(np.uint8)
    shape = {"Rows": 3, "Columns": 7, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0}
    packed = np.packbits(frames, bitorder="little").tobytes()
    path = laid_out(tmp_path / "a.dcm", packed, NumberOfFrames=5, **shape)
    np.testing.assert_array_equal([decode(path, i) for i in range(5)], frames)


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")])
def test_real_numbers_are_read_as_they_are(tmp_path: Path, keyword: str, kind: str) -> None:
    values = RNG.normal(size=(12, 10)).astype(kind)
    values[3, 4] = np.nan
    item = dataset(modality="MR", sop_class=MR, BitsAllocated=32 if kind == "f4" else 64)
    del item.PixelData
    setattr(item, keyword, values.tobytes())
    found = decode(save(item, tmp_path / "a.dcm"))
    assert found.dtype == kind
    np.testing.assert_array_equal(found, values)


def encapsulated(path: Path, frames: list[bytes], syntax: str, values: np.ndarray, **more: Any) -> Path:
    """A file of these compressed frames of one size."""
    item = dataset(rows=values.shape[0], columns=values.shape[1], bits=values.dtype.itemsize * 8, signed=False)
    if values.ndim == 3:
        item.SamplesPerPixel, item.PhotometricInterpretation, item.PlanarConfiguration = 3, "YBR_RCT", 0
    item.PixelData = encapsulate(frames, **more)
    item["PixelData"].VR = "OB"
    if len(frames) > 1:
        item.NumberOfFrames = len(frames)
    item.file_meta.TransferSyntaxUID = syntax
    return save(item, path)


def smooth(shape: tuple[int, ...], kind: str) -> np.ndarray:
    """A picture with something to compress."""
    waves = np.add.outer(np.sin(np.arange(shape[0]) / 9), np.cos(np.arange(shape[1]) / 7))
    picture = (waves - waves.min()) / np.ptp(waves) * (np.iinfo(kind).max - 40) + RNG.integers(0, 40, shape[:2])
    return (picture if len(shape) == 2 else np.stack([picture, picture[::-1], picture[:, ::-1]], -1)).astype(kind)


@pytest.mark.skipif(not shutil.which("ojph_compress"), reason="needs OpenJPH's ojph_compress")
@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
@pytest.mark.parametrize(
    ("values", "bits"), [(smooth((90, 70), "u1"), 8), (smooth((90, 70), "u2"), 16), (smooth((90, 70, 3), "u1"), 8)]
)
def test_high_throughput_jpeg_2000_is_read_like_its_own_reference(
    tmp_path: Path, syntax: str, values: np.ndarray, bits: int
) -> None:
    if syntax == HTJ2K and bits == 16:
        # Beyond 12 bits, the wavelets of two libraries differ by what float32 holds.
        values, bits = values >> 4, 12
    picture, stream, again = tmp_path / "a.ppm", tmp_path / "a.j2c", tmp_path / "b.ppm"
    colour = values.ndim == 3
    if not colour:
        picture, again = tmp_path / "a.pgm", tmp_path / "b.pgm"
    head = f"P{6 if colour else 5}\n{values.shape[1]} {values.shape[0]}\n{(1 << bits) - 1}\n"
    picture.write_bytes(head.encode() + values.astype(values.dtype.newbyteorder(">")).tobytes())
    lossless = syntax != HTJ2K
    compress = ["ojph_compress", "-i", picture, "-o", stream, "-reversible", str(lossless).lower()]
    subprocess.run(compress, check=True, capture_output=True)
    subprocess.run(["ojph_expand", "-i", stream, "-o", again], check=True, capture_output=True)
    other = np.frombuffer(again.read_bytes()[-values.nbytes :], values.dtype.newbyteorder(">")).reshape(values.shape)
    found = decode(encapsulated(tmp_path / "a.dcm", [stream.read_bytes()], syntax, values))
    if lossless:
        np.testing.assert_array_equal(found, values)
    assert np.abs(found.astype(int) - other).max() <= (0 if lossless else 1)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless])
def test_one_frame_of_many_is_read_alone(tmp_path: Path, syntax: str) -> None:
    frames = np.stack([smooth((96, 72), "u2") // 3 + i for i in range(4)])
    item = dataset(rows=96, columns=72, signed=False, stored=frames[0], NumberOfFrames=4)
    item.PixelData = frames.tobytes()
    item.compress(syntax, **({"jls_error": 2} if syntax == JPEGLSNearLossless else {}))
    path = save(item, tmp_path / "a.dcm")
    for i in (3, 0, 2):
        assert np.abs(decode(path, i).astype(int) - frames[i]).max() <= (2 if syntax == JPEGLSNearLossless else 0)
    with pytest.raises(UserError, match="no frame 5"):
        decode(path, 4)


@pytest.mark.parametrize("table", [True, False])
def test_frames_in_several_fragments_are_put_together(tmp_path: Path, table: bool) -> None:
    pictures = [smooth((96, 72), "u1") for _ in range(3)]
    streams = []
    for picture in pictures:
        item = dataset(rows=96, columns=72, bits=8, signed=False, stored=picture)
        item.compress(JPEG2000Lossless)
        streams.append(next(pydicom.encaps.generate_frames(item.PixelData, number_of_frames=1)))
    path = encapsulated(
        tmp_path / "a.dcm", streams, JPEG2000Lossless, pictures[0], fragments_per_frame=3, has_bot=table
    )
    np.testing.assert_array_equal([decode(path, i) for i in range(3)], pictures)


def test_an_overlay_in_the_high_bits_is_at_hand_for_whoever_writes_them_back(tmp_path: Path) -> None:
    values = RNG.integers(0, 4096, (12, 10)).astype("<u2")
    words = values | (RNG.integers(0, 2, values.shape) << 15).astype("<u2")
    laid_out(tmp_path / "a.dcm", words.tobytes(), BitsStored=12, HighBit=11, PixelRepresentation=0)
    source: Any = opened(tmp_path)
    np.testing.assert_array_equal(source.read(0), values)
    np.testing.assert_array_equal(source.words(0), words)


def test_colours_of_more_than_eight_bits_are_shown_from_0_to_255(tmp_path: Path) -> None:
    shutil.copy(WHEEL / "SC_rgb_rle_16bit.dcm", tmp_path / "a.dcm")
    shown, small = opened(tmp_path).read(0), decode(WHEEL / "SC_rgb_rle.dcm")
    assert np.abs(shown - small).max() < 1


# --- headers that claim too much ------------------------------------------------------------------------------------


def quick(path: Path) -> str:
    """The reason of the refusal, which must come at once and without memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(UserError) as caught:
        decode(path)
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB
    return str(caught.value)


HUGE = {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 10000}


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "JPGExtended.dcm"])
def test_absurd_sizes_are_refused_from_the_header(tmp_path: Path, name: str) -> None:
    item = pydicom.dcmread(WHEEL / name)
    for keyword, value in HUGE.items():
        setattr(item, keyword, value)
    item.save_as(tmp_path / "a.dcm")
    assert "claims 65535 × 65535 pixels" in quick(tmp_path / "a.dcm")
    assert scanned(tmp_path).skipped[0].damaged


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm"])
def test_a_header_that_speaks_of_another_size_than_the_compressed_data_is_refused(tmp_path: Path, name: str) -> None:
    item = pydicom.dcmread(WHEEL / name)
    item.Rows, item.Columns = 5000, 6000
    item.save_as(tmp_path / "a.dcm")
    assert "its header says 6000 × 5000 pixels, its compressed data" in quick(tmp_path / "a.dcm")


def test_a_deflated_bomb_is_inflated_no_further_than_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deflate, "_MOST", 1 << 26)
    plain = save(dataset(), tmp_path / "plain.dcm").read_bytes()
    meta = pydicom.dcmread(tmp_path / "plain.dcm").file_meta
    begin = 144 + meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(plain[begin:]) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(300))
    item = Dataset()
    item.file_meta = meta
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    item.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    head = (tmp_path / "bomb.dcm").read_bytes()
    length = struct.unpack("<I", head[140:144])[0]
    (tmp_path / "bomb.dcm").write_bytes(head[: 144 + length] + packed + packer.flush())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.testing.assert_array_equal(decode(tmp_path / "bomb.dcm").ravel(), np.arange(120))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    with pytest.raises(UserError, match=r"bomb\.dcm unpacks to more than 64 MB"):
        read_dataset(tmp_path / "bomb.dcm")


def test_a_deflated_header_reads_like_the_plain_one(tmp_path: Path) -> None:
    ours, theirs = read_dataset(WHEEL / "image_dfl.dcm"), pydicom.dcmread(WHEEL / "image_dfl.dcm")
    assert ours == theirs and ours.file_meta == theirs.file_meta


@pytest.mark.parametrize(
    "segments",
    [[0, 1, 7] + [1, 65535, 9] * 5000, [0, 1, 7, *([1, 65535, 9] * 9), 2, 12, 3, 0]],
    ids=["too long", "leads to itself"],
)
def test_a_palette_that_would_not_end_is_refused(tmp_path: Path, segments: list[int]) -> None:
    item = dataset(bits=8, signed=False, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(item, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(item, f"Segmented{colour}PaletteColorLookupTableData", np.array(segments, "<u2").tobytes())
    assert "its palette is damaged" in quick(save(item, tmp_path / "a.dcm"))


def test_video_is_refused_by_its_name(tmp_path: Path) -> None:
    item = pydicom.dcmread(WHEEL / "MR_small_jp2klossless.dcm")
    item.PixelData = encapsulate([b"\0\0\1\xb3" + bytes(100)])
    item.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    item.save_as(tmp_path / "a.dcm")
    with pytest.raises(UserError, match="no decoder reads MPEG-4"):
        decode(tmp_path / "a.dcm")
