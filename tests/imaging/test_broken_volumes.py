"""Files of other formats that are cut off, lie, or are something else: listed with a reason, never a crash."""

from __future__ import annotations

import gzip
import os
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from aegui.errors import UserError
from aegui.imaging import ScanResult, open_series
from tests.imaging.made_files import only, opened, scanned
from tests.imaging.made_volumes import KINDS, imagej, itk, nifti, npz, through, values_of


def read_all(result: ScanResult) -> list[str]:
    """What reading says of each slice that cannot be read."""
    said = []
    for series in result.series:
        try:
            source = open_series(series)
        except UserError as error:
            said.append(error.message)
            continue
        for index in range(len(source)):
            try:
                assert source.read(index).shape[:2] == (series.rows, series.columns)
                source.valid(index)
            except UserError as error:
                said.append(error.message)
        source.close()
    return said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.6, 0.97])
def test_a_file_that_is_cut_off_is_listed_as_damaged_or_refused_when_read(
    tmp_path: Path, kind: str, share: float
) -> None:
    path = KINDS[kind](tmp_path)
    data = next((item for item in tmp_path.iterdir() if item != path), path)  # the values of a detached header
    os.truncate(data, int(data.stat().st_size * share))
    result = scanned(tmp_path)
    if result.series:
        said = read_all(result)
        # Some formats end in what nobody misses, such as a checksum or the directory of an archive.
        assert all(path.stem in words for words in said) and (said or share == 0.97)
    else:
        assert any(skipped.damaged and skipped.reason for skipped in result.skipped)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_wrong_bytes_never_crashes_a_scan_or_a_reader(tmp_path: Path, kind: str) -> None:
    (tmp_path / "whole").mkdir()
    path = KINDS[kind](tmp_path / "whole")
    rng = np.random.default_rng(len(kind))
    for trial in range(25):
        (folder := tmp_path / str(trial)).mkdir()
        for item in (tmp_path / "whole").iterdir():
            data = bytearray(item.read_bytes())
            if item == path:
                # Mostly in the header, where it hurts.
                reach = len(data) if trial % 5 == 0 else min(len(data), 400)
                for place in rng.integers(0, reach, rng.integers(1, 12)):
                    data[place] = rng.integers(0, 256)
            (folder / item.name).write_bytes(bytes(data))
        result = scanned(folder)
        assert all(skipped.reason for skipped in result.skipped)
        read_all(result)


@pytest.mark.parametrize("suffix", [
    "nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd", "npy", "npz", "tif", "png", "jpg", "bmp", "gif",
])  # fmt: skip
def test_a_text_with_the_name_of_an_image_is_listed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"v.{suffix}").write_text("Dear colleague, please find attached the images of our patient.\n" * 20)
    (skipped,) = scanned(tmp_path).skipped
    assert skipped.reason and skipped.damaged


def _claims(kind: str, sizes: tuple[int, int, int]) -> Callable[[Path], None]:
    x, y, z = sizes

    def make(folder: Path) -> None:
        small = values_of("i2")
        if kind.startswith("nifti"):
            path = nifti(folder / ("v.nii.gz" if kind.endswith("gz") else "v.nii"), small, two=True)
            data = gzip.decompress(path.read_bytes()) if kind.endswith("gz") else path.read_bytes()
            data = data[:16] + struct.pack("<8q", 3, x, y, z, 1, 1, 1, 1) + data[80:]
            path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
        elif kind == "npy":
            with (folder / "v.npy").open("wb") as file:
                header = {"descr": "<i2", "fortran_order": False, "shape": (z, y, x)}
                np.lib.format.write_array_header_1_0(file, header)
                file.write(small.tobytes())
        else:
            path = itk(folder / f"v.{kind}", small)
            text = path.read_bytes()
            path.write_bytes(text.replace(b"20 24 3", f"{x} {y} {z}".encode()))

    return make


@pytest.mark.parametrize("kind", ["nifti", "nifti gz", "nrrd", "nhdr", "mha", "mhd", "npy"])
@pytest.mark.parametrize("sizes", [(65535, 65535, 65535), (20, 24, 2**31), (0, 24, 3), (20, 24, 4), (2**40, 2**40, 1)])
def test_sizes_that_the_file_does_not_hold_are_refused_without_making_room_for_them(
    tmp_path: Path, kind: str, sizes: tuple[int, int, int]
) -> None:
    _claims(kind, sizes)(tmp_path)
    tracemalloc.start()
    try:
        result = scanned(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # An array of no values is nothing that was ever more.
    assert not result.series and any(skipped.damaged or kind == "npy" for skipped in result.skipped)
    assert peak < 20e6


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "mha"])
@pytest.mark.parametrize("count", [10**6, 10**15])
def test_more_volumes_than_there_can_be_are_refused_without_naming_each(tmp_path: Path, kind: str, count: int) -> None:
    if kind == "nifti":
        path = nifti(tmp_path / "v.nii", values_of("i2"), two=True)
        data = path.read_bytes()
        path.write_bytes(data[:16] + struct.pack("<8q", 4, 20, 24, 3, count, 1, 1, 1) + data[80:])
    elif kind == "nrrd":
        text = f"NRRD0004\ntype: short\ndimension: 4\nsizes: 20 24 3 {count}\nencoding: raw\nendian: little\n\n"
        (tmp_path / "v.nrrd").write_bytes(text.encode() + values_of("i2").tobytes())
    else:
        text = f"NDims = 4\nDimSize = 20 24 3 {count}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        (tmp_path / "v.mha").write_bytes(text.encode() + values_of("i2").tobytes())
    (skipped,) = scanned(tmp_path).skipped
    assert skipped.damaged and f"{count} volumes" in skipped.reason


@pytest.mark.parametrize("kind", ["tiff", "png", "bmp"])
def test_pictures_that_claim_absurd_sizes_are_refused(tmp_path: Path, kind: str) -> None:
    if kind == "tiff":
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, values_of("u1", (24, 20)), metadata=None, compression="zlib")
        data = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as tiff:
            tags = [tiff.pages[0].tags[name] for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
        for tag in tags:
            data[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<I", 65535)
            data[tag.offset + 2 : tag.offset + 4] = struct.pack("<H", 4)
        path.write_bytes(bytes(data))
    else:
        path = tmp_path / f"a.{kind}"
        Image.fromarray(values_of("u1", (24, 20))).save(path)
        data = bytearray(path.read_bytes())
        if kind == "png":
            data[16:24] = struct.pack(">II", 65535, 65535)
            data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        else:
            data[18:26] = struct.pack("<ii", 65535, 65535)
        path.write_bytes(bytes(data))
    (skipped,) = scanned(tmp_path).skipped
    assert skipped.damaged and ("pixels" in skipped.reason or "Damaged" in skipped.reason)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nrrd", "v.mha", "v.npz"])
def test_what_unpacks_to_gigabytes_from_next_to_nothing_is_refused(tmp_path: Path, name: str) -> None:
    side, count = 512, 2000
    zeros = bytes(1 << 20)
    if name == "v.npz":
        import zipfile

        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
            header = {"descr": "<i2", "fortran_order": False, "shape": (count, side, side)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(count * side * side * 2 >> 20):
                file.write(zeros)
    elif name == "v.mha":
        head = f"ObjectType = Image\nNDims = 3\nDimSize = {side} {side} {count}\nElementType = MET_SHORT\n"
        head += "CompressedData = True\nElementDataFile = LOCAL\n"
        packer = zlib.compressobj(9)
        body = b"".join(packer.compress(zeros) for _ in range(count * side * side * 2 >> 20)) + packer.flush()
        (tmp_path / name).write_bytes(head.encode() + body)
    else:
        head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {side} {side} {count}\nencoding: gzip\nendian: little\n\n"
        if name == "v.nii.gz":
            path = nifti(tmp_path / "v.nii", values_of("i2"))
            plain = bytearray(path.read_bytes()[:352])
            plain[40:56] = struct.pack("<8h", 3, side, side, count, 1, 1, 1, 1)
            path.unlink()
            head = ""
        with (tmp_path / name).open("wb") as file:
            file.write(head.encode())
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9) as out:
                if name == "v.nii.gz":
                    out.write(plain)
                for _ in range(count * side * side * 2 >> 20):
                    out.write(zeros)
    (skipped,) = scanned(tmp_path).skipped
    assert "1.0 GB" in skipped.reason and "refused" in skipped.reason


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_spacing_that_is_no_number_is_left_out_and_told(tmp_path: Path, value: float) -> None:
    path = nifti(tmp_path / "v.nii", values_of("i2"))
    data = bytearray(path.read_bytes())
    data[280:284] = np.float32(value).tobytes()
    data[284:328] = np.zeros(11, np.float32).tobytes()
    path.write_bytes(bytes(data))
    series = only(tmp_path)
    assert series.geometry.spacing == (0.0, 1.0, 1.0) and series.geometry.positions == ()
    assert any("not usable numbers" in note for note in series.warnings)
    assert read_all(scanned(tmp_path)) == []


@pytest.mark.parametrize("word", ["nan", "inf", "abc"])
@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_texts_where_numbers_belong_do_not_stop_the_scan(tmp_path: Path, word: str, name: str) -> None:
    path = itk(tmp_path / name, values_of("i2"))
    data = path.read_bytes()
    old = b"10.125," if name == "v.nrrd" else b"ElementSpacing = 0.5"
    assert old in data
    path.write_bytes(data.replace(old, old.replace(b"10.125", word.encode()).replace(b"0.5", word.encode())))
    result = scanned(tmp_path)
    assert read_all(result) == [] and (result.series or result.skipped[0].reason)


def test_arrays_of_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    objects = np.array([Trap(), Trap()], dtype=object)
    np.save(tmp_path / "v.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "v.npz", a=objects, b=values_of("i2"))
    result = scanned(tmp_path)
    assert [series.part for series in result.series] == ["b.npy"]
    assert any("Python objects" in note for note in result.series[0].warnings)
    assert [("objects" in skipped.reason) for skipped in result.skipped] == [True]
    read_all(result)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("dtype", ["complex64", "bool", "U4", "datetime64[s]", "float128"])
def test_arrays_of_other_kinds_are_no_images(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "v.npy", np.zeros((4, 5, 6), dtype))
    (skipped,) = scanned(tmp_path).skipped
    assert "not an image" in skipped.reason and not skipped.damaged


def test_pictures_that_are_no_slices_say_what_they_are(tmp_path: Path) -> None:
    grey = Image.fromarray(values_of("u1", (24, 20)))
    frames = [grey, Image.fromarray(255 - np.asarray(grey))]
    grey.save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    grey.convert("CMYK").save(tmp_path / "print.jpg")
    grey.convert("1").save(tmp_path / "mask.png")
    tifffile.imwrite(tmp_path / "mask.tif", np.asarray(grey) > 100)
    tifffile.imwrite(tmp_path / "print.tif", values_of("u1", (24, 20, 4)), photometric="separated")
    result = scanned(tmp_path)
    reasons = {skipped.file.name: skipped.reason for skipped in result.skipped}
    assert not result.series
    assert reasons == {
        "moving.png": "Animated PNG: not a scan.",
        "moving.gif": "GIF: 256 colours at most, not a scan.",
        "print.jpg": "CMYK image: not read.",
        "mask.png": "One-bit image: not a scan.",
        "mask.tif": "One-bit image: not a scan.",
        "print.tif": "CMYK image: not read.",
    }


def _deep_png(path: Path, colours: int) -> None:
    """A PNG of 16 bits per sample. colours: 2 for RGB, 4 for grey with transparency."""
    samples = values_of("u2", (24, 20, 3 if colours == 2 else 2)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 20, 24, 16, colours, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


@pytest.mark.parametrize("kind", ["palette.png", "palette.tif", "deep.png", "deep grey.png"])
def test_palettes_and_deep_colours_can_be_seen_and_are_written_only_where_nothing_is_lost(
    tmp_path: Path, kind: str
) -> None:
    (folder := tmp_path / "in").mkdir()
    if kind == "palette.png":
        Image.fromarray(values_of("u1", (24, 20, 3))).convert("P").save(folder / kind)
    elif kind == "palette.tif":
        table = np.arange(768, dtype=np.uint16).reshape(3, 256)
        tifffile.imwrite(folder / kind, values_of("u1", (24, 20)), photometric="palette", colormap=table)
    else:
        _deep_png(folder / kind, 2 if kind == "deep.png" else 4)
    series = only(folder)
    assert series.treat == "view" and series.reason.endswith("not denoised.")
    source = open_series(series)
    assert source.read(0).shape == ((24, 20, 3) if series.channels == 3 else (24, 20))
    insisted = open_series(replace(series, treat="denoise"))
    if kind == "palette.png":
        with Image.open(through(insisted, tmp_path / "out") / kind) as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), source.read(0))
        return
    for format in ("same", "png", "tiff", "nrrd"):
        with pytest.raises(UserError, match=r"palette|8 of its 16 bits"):
            through(insisted, tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["nifti gz", "nrrd i2", "tiff deflate", "tiff u2", "npz packed"])
def test_two_threads_read_one_volume_alike(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path)
    source = opened(tmp_path)
    expected = [source.read(i) for i in range(3)]
    wrong: list[int] = []

    def read(seed: int) -> None:
        order = [int(i) for i in np.random.default_rng(seed).integers(0, 3, 80)]
        wrong.extend(i for i in order if not np.array_equal(source.read(i), expected[i]) or not source.valid(i).any())

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    assert wrong == []


def test_a_jpeg_that_viewers_turn_is_read_as_it_is_stored(tmp_path: Path) -> None:
    path = KINDS["jpeg"](tmp_path)
    series = only(tmp_path)
    assert (series.rows, series.columns) == (24, 20)
    with Image.open(path) as image:
        assert image.getexif()[0x0112] == 6
        np.testing.assert_array_equal(opened(tmp_path).read(0), np.asarray(image))


@pytest.mark.parametrize("kind", ["nifti i2", "nifti gz", "nrrd u2", "mhd", "npy i2", "npz", "tiff u2", "tiff deflate"])
def test_a_file_that_vanishes_is_named(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path)
    series = only(tmp_path)
    source = open_series(series)
    path.unlink()
    with pytest.raises(UserError, match=r"v\."):
        source.read(0)
        source.close()
        source.read(1)
    with pytest.raises(UserError, match="no longer there"):
        open_series(series)
    source.close()


def test_a_header_that_names_no_file_or_a_folder_is_listed(tmp_path: Path) -> None:
    for number, name in enumerate(("missing.raw", "..", "a\0b", "/")):
        (folder := tmp_path / str(number)).mkdir()
        path = itk(folder / "v.mhd", values_of("i2"))
        path.write_bytes(path.read_bytes().replace(b"v.raw", name.encode()))
        (folder / "v.raw").unlink()
        result = scanned(folder)
        assert not result.series and result.skipped[0].damaged


@pytest.mark.parametrize("name", ["ABSOLUTE", "../secret.raw", "sub/../../secret.raw"])
@pytest.mark.parametrize("form", ["mhd", "nhdr"])
def test_a_header_cannot_have_files_outside_its_folder_read(tmp_path: Path, form: str, name: str) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(1000))
    (tmp_path / "in" / "sub").mkdir(parents=True)
    data = name.replace("ABSOLUTE", str(tmp_path / "secret.raw"))
    words = {
        "mhd": f"NDims = 3\nDimSize = 10 10 10\nElementType = MET_UCHAR\nElementDataFile = {data}\n",
        "nhdr": f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10 10 10\nencoding: raw\ndata file: {data}\n",
    }
    (tmp_path / "in" / f"a.{form}").write_text(words[form])
    result = scanned(tmp_path / "in")
    assert not result.series
    assert [item.reason for item in result.skipped] == ["It names a data file outside its own folder: not read."]


def test_16_bit_tiff_of_either_byte_order_reads_alike(tmp_path: Path) -> None:
    values = values_of("u2")
    for order in ("<", ">"):
        (folder := tmp_path / ("little" if order == "<" else "big")).mkdir()
        tifffile.imwrite(folder / "v.tif", values, byteorder=order, photometric="minisblack", metadata=None)
        source = opened(folder)
        np.testing.assert_array_equal(np.stack([source.read(i) for i in range(3)]), values)
        source.close()


def test_an_archive_that_lies_about_its_arrays_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive, archive.open("a.npy", "w") as file:
        header = {"descr": "<i2", "fortran_order": False, "shape": (3000, 512, 512)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))
    (skipped,) = scanned(tmp_path).skipped
    assert skipped.damaged and "does not hold what its header says" in skipped.reason


def test_an_imagej_stack_with_fewer_planes_than_it_says_is_damaged(tmp_path: Path) -> None:
    path = imagej(tmp_path / "v.tif", values_of("u2", (9, 24, 20)))
    os.truncate(path, path.stat().st_size - 24 * 20 * 4)
    result = scanned(tmp_path)
    assert result.skipped and result.skipped[0].damaged


def test_empty_archives_and_empty_files_say_so(tmp_path: Path) -> None:
    npz(tmp_path / "v.npz")
    (tmp_path / "v.nii").touch()
    reasons = {skipped.file.name: skipped.reason for skipped in scanned(tmp_path).skipped}
    assert reasons == {"v.npz": "Holds no arrays.", "v.nii": "Empty file."}
