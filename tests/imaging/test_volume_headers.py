"""Less usual ways to write NRRD, MetaImage, TIFF and archives: values in other files, as text, packed otherwise."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from aegui.imaging import open_series
from tests.imaging.made_files import opened, scanned
from tests.imaging.made_volumes import SHAPE, npz, through, values_of

VALUES = values_of("i2")


def nrrd(path: Path, *lines: str, data: bytes = b"") -> Path:
    head = ["NRRD0005", "type: short", "dimension: 3", "sizes: 20 24 3", "spacings: 0.5 0.75 2", *lines]
    path.write_bytes("\n".join(head).encode() + b"\n\n" + data)
    return path


def meta(path: Path, *lines: str, data: bytes = b"") -> Path:
    head = [
        "ObjectType = Image",
        "NDims = 3",
        "DimSize = 20 24 3",
        "ElementSpacing = 0.5 0.75 2",
        "ElementType = MET_SHORT",
    ]
    path.write_bytes("\n".join([*head, *lines]).encode() + b"\n" + data)
    return path


def _parts(folder: Path, name: str, packer: Any = bytes) -> None:
    for i, values in enumerate(VALUES, 1):
        (folder / (name % i)).write_bytes(packer(values.tobytes()))


def _make(kind: str, folder: Path) -> Path:
    raw, big = VALUES.tobytes(), VALUES.astype(">i2").tobytes()
    text = " ".join(str(v) for v in VALUES.ravel()).encode()
    match kind:
        case "nrrd text":
            return nrrd(folder / "v.nrrd", "encoding: ascii", data=text)
        case "nrrd bzip2":
            return nrrd(folder / "v.nrrd", "encoding: bzip2", "endian: big", data=bz2.compress(big))
        case "nrrd windows lines":
            path = nrrd(folder / "v.nrrd", "encoding: raw", "endian: little", data=b"")
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + raw)
            return path
        case "nrrd last bytes":
            (folder / "v.bin").write_bytes(b"something else before" + raw)
            return nrrd(folder / "v.nhdr", "encoding: raw", "endian: little", "byte skip: -1", "data file: v.bin")
        case "nrrd skips":
            (folder / "v.bin").write_bytes(b"one\ntwo\nxyz" + raw)
            more = ("line skip: 2", "byte skip: 3", "data file: v.bin")
            return nrrd(folder / "v.nhdr", "encoding: raw", "endian: little", *more)
        case "nrrd list":
            _parts(folder, "s%d.raw")
            names = "\n".join(f"s{i}.raw" for i in (1, 2, 3))
            return nrrd(folder / "v.nhdr", "encoding: raw", "endian: little", f"data file: LIST\n{names}")
        case "nrrd numbered gzip":
            _parts(folder, "s%03d.gz", gzip.compress)
            return nrrd(folder / "v.nhdr", "encoding: gzip", "endian: little", "data file: s%03d.gz 1 3 1")
        case "meta text":
            return meta(folder / "v.mha", "BinaryData = False", "ElementDataFile = LOCAL", data=text)
        case "meta big-endian":
            return meta(folder / "v.mha", "BinaryDataByteOrderMSB = True", "ElementDataFile = LOCAL", data=big)
        case "meta packed without its size":
            return meta(folder / "v.mha", "CompressedData = True", "ElementDataFile = LOCAL", data=zlib.compress(raw))
        case "meta last bytes":
            (folder / "v.bin").write_bytes(b"something else before" + raw)
            return meta(folder / "v.mhd", "HeaderSize = -1", "ElementDataFile = v.bin")
        case "meta list":
            _parts(folder, "s%d.raw")
            return meta(folder / "v.mhd", "ElementDataFile = LIST", "s1.raw", "s2.raw", "s3.raw")
        case _:
            _parts(folder, "s%03d.raw")
            return meta(folder / "v.mhd", "ElementDataFile = s%03d.raw 1 3 1")


KINDS = ["nrrd text", "nrrd bzip2", "nrrd windows lines", "nrrd last bytes", "nrrd skips", "nrrd list",
         "nrrd numbered gzip", "meta text", "meta big-endian", "meta packed without its size", "meta last bytes",
         "meta list", "meta numbered"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_found_wherever_the_header_says_and_come_back_so_that_simpleitk_reads_them(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "in").mkdir()
    path = _make(kind, tmp_path / "in")
    source = opened(tmp_path / "in")
    assert source.series.geometry.spacing == (2.0, 0.75, 0.5)
    np.testing.assert_array_equal(np.stack([source.read(i) for i in range(3)]), VALUES)
    out = through(source, tmp_path / "out", suffix="")
    assert out.name == path.name
    if "bzip2" not in kind:  # which SimpleITK does not unpack
        image = sitk.ReadImage(str(out))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), VALUES)
        assert image.GetSpacing() == (0.5, 0.75, 2.0)
    again = opened(tmp_path / "out")
    assert again.series.geometry == source.series.geometry
    np.testing.assert_array_equal(again.read(2), VALUES[2])


@pytest.mark.parametrize("packed", [True, False])
def test_arrays_in_the_order_of_fortran_are_the_same_arrays(tmp_path: Path, packed: bool) -> None:
    (tmp_path / "in").mkdir()
    npz(tmp_path / "in" / "v.npz", packed, a=np.asfortranarray(VALUES))
    source = opened(tmp_path / "in")
    np.testing.assert_array_equal(np.stack([source.read(i) for i in range(3)]), VALUES)
    with np.load(through(source, tmp_path / "out")) as archive:
        np.testing.assert_array_equal(archive["a"], VALUES)


def test_one_file_of_an_ome_set_is_not_read_as_if_it_were_all(tmp_path: Path) -> None:
    names = ("a.ome.tif", "b.ome.tif")
    planes = "".join(
        f'<TiffData FirstZ="{z}" PlaneCount="1" IFD="0"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{z}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="int16" '
            f'SizeX="20" SizeY="24" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0" SamplesPerPixel="1"/>{planes}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / name, VALUES[z], description=xml, metadata=None)
    result = scanned(tmp_path)
    for series in result.series:
        assert series.slices == 1
        index = names.index(series.files[0].name)
        np.testing.assert_array_equal(open_series(series).read(0), VALUES[index])
    assert len(result.series) + len(result.skipped) == 2
    assert all("set of OME files" in skipped.reason for skipped in result.skipped)


def test_four_dimensional_metaimage_is_split_and_keeps_its_place(tmp_path: Path) -> None:
    values = values_of("i2", (4, *SHAPE))
    image = sitk.GetImageFromArray(values, isVector=False)
    image.SetSpacing((0.5, 0.75, 2.0, 1.5))
    image.SetOrigin((1.0, 2.0, 3.0, 0.0))
    (tmp_path / "in").mkdir()
    for name in ("v.mha", "w.nrrd"):
        sitk.WriteImage(image, str(tmp_path / "in" / name), useCompression=True)
    from aegui.events import finish
    from aegui.imaging import scan

    series = finish(scan([tmp_path / "in"])).series
    assert len(series) == 8
    for one in (series[2], series[6]):
        out = through(open_series(one), tmp_path / "out")
        again = sitk.ReadImage(str(out))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(again), values[2])
        assert again.GetSpacing() == (0.5, 0.75, 2.0) and again.GetOrigin() == (1.0, 2.0, 3.0)
