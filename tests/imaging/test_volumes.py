"""Volumes in one file: what is found in them, where it lies, and that no more of it is read than asked for."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from aegui.imaging import open_series
from tests.imaging.made_files import only, opened
from tests.imaging.made_volumes import affine, imagej, itk, members, nifti, npz, ome, through, values_of

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def index_to_patient(path: Path) -> np.ndarray:
    """What our geometry says of (column, row, slice), 4 × 4."""
    shape = only(path).geometry
    row, column = np.array(shape.orientation[:3]), np.array(shape.orientation[3:])
    first, second = np.array(shape.positions[0]), np.array(shape.positions[1])
    out = np.eye(4)
    out[:3] = np.stack([row * shape.spacing[2], column * shape.spacing[1], second - first, first], axis=1)
    return out


def test_every_slice_is_what_nibabel_reads_there(tmp_path: Path) -> None:
    nifti(tmp_path / "v.nii.gz", values_of("i2"), scl_slope=0.25, scl_inter=-1000.0)
    image = nib.load(tmp_path / "v.nii.gz")
    source = opened(tmp_path)
    ours = np.stack([source.read(i) for i in range(3)])
    np.testing.assert_array_equal(ours, image.get_fdata().T.astype(np.float32))
    np.testing.assert_allclose(index_to_patient(tmp_path), LPS @ image.affine, atol=1e-6)


@pytest.mark.parametrize("code", ["sform", "qform"])
@pytest.mark.parametrize(("unit", "name"), [(1.0, "mm"), (1e-3, "meter"), (1e3, "micron")])
def test_nifti_lies_where_its_sform_or_else_its_qform_says_in_any_unit(
    tmp_path: Path, code: str, unit: float, name: str
) -> None:
    image = nib.Nifti1Image(values_of("i2").T, affine(unit))
    image.header.set_xyzt_units(name)
    if code == "qform":
        image.set_qform(affine(unit), 1)
        image.set_sform(None, 0)
    nib.save(image, tmp_path / "v.nii")
    np.testing.assert_allclose(index_to_patient(tmp_path), LPS @ affine(), atol=2e-5)


def test_a_qform_of_rounded_numbers_without_a_sign_is_read(tmp_path: Path) -> None:
    image = nib.Nifti1Image(values_of("i2").T, None)
    image.header.set_zooms((0.5, 0.75, 2.0))
    # Half a turn about an axis in the plane, to three digits; nibabel itself refuses such numbers.
    image.header["qform_code"], image.header["pixdim"][0] = 1, 0
    image.header["quatern_b"], image.header["quatern_c"] = 0.708, 0.708
    nib.save(image, tmp_path / "v.nii")
    data = bytearray((tmp_path / "v.nii").read_bytes())
    data[76:80] = bytes(4)
    (tmp_path / "v.nii").write_bytes(bytes(data))
    half_turn = np.array([[0, 0.75, 0, 0], [0.5, 0, 0, 0], [0, 0, -2.0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(index_to_patient(tmp_path), LPS @ half_turn, atol=1e-6)


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_a_nifti_header_leaves_byte_by_byte_as_it_came(tmp_path: Path, two: bool, dtype: str) -> None:
    (tmp_path / "in").mkdir()
    path = nifti(tmp_path / "in" / "v.nii", values_of(dtype), two=two, toffset=1.5, aux_file=b"a\0b", slice_code=3)
    data = path.read_bytes()
    size = 540 if two else 348
    extension = b"\1\0\0\0" + np.array([32, 6], f"{dtype[0]}i4").tobytes() + b"a comment".ljust(24, b"\0")
    offset = np.array(size + 36, f"{dtype[0]}{'i8' if two else 'f4'}").tobytes()
    at = 168 if two else 108
    data = data[:at] + offset + data[at + len(offset) : size] + extension + data[size + 4 :]
    path.write_bytes(data)
    assert through(opened(tmp_path / "in"), tmp_path / "out").read_bytes() == data


def test_nifti_without_a_place_has_its_spacing_only_and_two_places_are_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(values_of("i2").T, None)
    image.header.set_zooms((0.5, 0.75, 2.0))
    nib.save(image, tmp_path / "v.nii")
    series = only(tmp_path)
    assert series.geometry.spacing == (2.0, 0.75, 0.5) and series.geometry.positions == ()
    image = nib.Nifti1Image(values_of("i2").T, affine())
    image.set_qform(np.diag([-1.0, 1.0, 1.0, 1.0]), 1)
    nib.save(image, tmp_path / "v.nii")
    assert "Two unequal positions in the header: the sform was taken" in only(tmp_path).warnings
    np.testing.assert_allclose(index_to_patient(tmp_path), LPS @ affine(), atol=1e-6)


@pytest.mark.parametrize("name", ["v.nrrd", "v.nhdr", "v.mha", "v.mhd"])
@pytest.mark.parametrize("packed", [False, True])
def test_oblique_volumes_lie_where_simpleitk_sees_them(tmp_path: Path, name: str, packed: bool) -> None:
    itk(tmp_path / name, values_of("i2"), packed)
    image = sitk.ReadImage(str(tmp_path / name))
    ours = index_to_patient(tmp_path)
    for index in ((0, 0, 0), (3, 0, 0), (0, 5, 0), (7, 11, 2)):
        np.testing.assert_allclose(
            (ours @ [*index, 1])[:3], image.TransformIndexToPhysicalPoint(index), atol=1e-9, err_msg=str(index)
        )


def test_sheared_nrrd_keeps_its_angle(tmp_path: Path) -> None:
    header = "NRRD0005\ntype: short\ndimension: 3\nspace: RAS\nsizes: 5 4 3\nencoding: raw\nendian: little\n"
    header += "space directions: (0.5,0,0) (0,0.5,0) (0,0.6,2)\nspace origin: (1,2,3)\n\n"
    (tmp_path / "v.nrrd").write_bytes(header.encode() + np.arange(60, dtype="<i2").tobytes())
    series = only(tmp_path)
    assert series.geometry.spacing == pytest.approx((2.0, 0.5, 0.5))
    assert series.geometry.positions[2] == pytest.approx((-1.0, -3.2, 7.0))
    assert series.geometry.orientation == (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


# --- several volumes in one file ------------------------------------------------------------------------------


def test_four_dimensions_become_a_series_for_each_volume(tmp_path: Path) -> None:
    values = values_of("i2", (4, 3, 24, 20))
    (tmp_path / "in").mkdir()
    nifti(tmp_path / "in" / "bold.nii.gz", values)
    series = scanned_volumes(tmp_path / "in")
    assert [one.description for one in series] == [f"bold · Volume {i} of 4" for i in (1, 2, 3, 4)]
    assert [one.uid.partition("#")[2] for one in series] == ["", "2", "3", "4"]
    assert {one.files for one in series} == {(tmp_path / "in" / "bold.nii.gz",)}
    assert [one.frames for one in series] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]
    assert len({one.patient for one in series}) == 1 and len({one.geometry for one in series}) == 1
    third = open_series(series[2])
    np.testing.assert_array_equal(np.stack([third.read(i) for i in range(3)]), values[2])
    out = through(third, tmp_path / "out")
    assert out.name == "bold_003_DN.nii.gz"
    image = nib.load(out)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, values[2])
    np.testing.assert_array_equal(image.affine, nib.load(series[0].files[0]).affine)


def scanned_volumes(folder: Path) -> tuple:
    from aegui.events import finish
    from aegui.imaging import scan

    result = finish(scan([folder]))
    assert not result.skipped
    return result.series


def test_b_values_beside_a_nifti_say_that_its_volumes_are_no_repeats(tmp_path: Path) -> None:
    nifti(tmp_path / "dwi.nii", values_of("i2", (2, 3, 24, 20)))
    (tmp_path / "dwi.bval").write_text("0 1000\n")
    from aegui.events import finish
    from aegui.imaging import scan

    series = finish(scan([tmp_path])).series
    assert [one.description for one in series] == [
        "dwi · b-value 0, volume 1 of 2",
        "dwi · b-value 1000, volume 2 of 2",
    ]
    assert all(not one.acquisition for one in series)


@pytest.mark.parametrize("fastest", [True, False])
def test_a_list_axis_of_an_nrrd_may_lie_anywhere(tmp_path: Path, fastest: bool) -> None:
    values = values_of("i2", (4, 3, 24, 20))
    stored = np.moveaxis(values, 0, -1) if fastest else values
    sizes, kinds, axes = ["20", "24", "3"], ["domain"] * 3, ["(0.5,0,0)", "(0,0.75,0)", "(0,0,2)"]
    for items, item in ((sizes, "4"), (kinds, "list"), (axes, "none")):
        items.insert(0 if fastest else 3, item)
    lines = [
        "NRRD0005", "# made by hand", "type: int16", "dimension: 4", f"sizes: {' '.join(sizes)}",
        "space: left-posterior-superior", f"space directions: {' '.join(axes)}", "space origin: (1,2,3)",
        f"kinds: {' '.join(kinds)}", "endian: big", "encoding: gzip", "modality:=something",
    ]  # fmt: skip
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "v.nrrd").write_bytes(
        "\n".join(lines).encode() + b"\n\n" + gzip.compress(stored.astype(">i2").tobytes())
    )
    series = scanned_volumes(tmp_path / "in")
    assert len(series) == 4
    for volume in (0, 3):
        source = open_series(series[volume])
        np.testing.assert_array_equal(np.stack([source.read(i) for i in range(3)]), values[volume])
        out = through(source, tmp_path / "out")
        image = sitk.ReadImage(str(out))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values[volume])
        assert image.GetSpacing() == (0.5, 0.75, 2.0) and image.GetOrigin() == (1.0, 2.0, 3.0)
        assert b"modality:=something" in out.read_bytes() and b"# made by hand" in out.read_bytes()


def test_times_and_channels_of_a_tiff_are_volumes_of_their_own(tmp_path: Path) -> None:
    values = values_of("u2", (2, 3, 2, 24, 20))
    (tmp_path / "in").mkdir()
    ome(tmp_path / "in" / "v.ome.tif", values, "TZCYX")
    series = scanned_volumes(tmp_path / "in")
    assert [one.description for one in series] == [
        f"v · Volume {t} of 2, Channel {c} of 2" for t in (1, 2) for c in (1, 2)
    ]
    assert series[0].geometry.spacing == (2.0, 0.75, 0.5)
    source = open_series(series[3])
    np.testing.assert_array_equal(np.stack([source.read(i) for i in range(3)]), values[1, :, 1])
    out = through(source, tmp_path / "out")
    with tifffile.TiffFile(out) as tiff:
        assert tiff.is_ome and 'PhysicalSizeZ="2.0"' in tiff.ome_metadata
        np.testing.assert_array_equal(tiff.asarray(), values[1, :, 1])
    assert only(out.parent).geometry.spacing == (2.0, 0.75, 0.5)


def test_a_film_of_one_plane_is_a_stack_of_its_frames(tmp_path: Path) -> None:
    imagej(tmp_path / "v.tif", values_of("u1", (5, 24, 20)), "TYX")
    assert only(tmp_path).slices == 5


def test_each_array_of_an_archive_is_a_series(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stack, picture = values_of("f4"), values_of("i2", (24, 20))
    npz(
        tmp_path / "in" / "v.npz",
        packed=True,
        stack=stack,
        picture=picture,
        flags=np.ones((3, 3), bool),
        n=np.arange(4),
    )
    first, second = scanned_volumes(tmp_path / "in")
    assert (first.part, first.description, first.slices) == ("stack.npy", "v · stack", 3)
    assert (second.part, second.rows, second.columns) == ("picture.npy", 24, 20)
    assert any("flags" not in note and "bool" in note for note in first.warnings)
    np.testing.assert_array_equal(open_series(second).read(0), picture)
    out = through(open_series(first), tmp_path / "out")
    assert out.name == "v_stack_DN.npz" and members(out) == ["stack.npy"]


def test_the_largest_level_of_a_pyramid_is_read(tmp_path: Path) -> None:
    large = values_of("u2", (64, 64))
    with tifffile.TiffWriter(tmp_path / "v.tif") as tiff:
        tiff.write(large, subifds=1, photometric="minisblack", tile=(16, 16))
        tiff.write(large[::2, ::2], subfiletype=1, photometric="minisblack", tile=(16, 16))
    np.testing.assert_array_equal(opened(tmp_path).read(0), large)


@pytest.mark.parametrize("count", [1, 3])
def test_a_tiff_whose_zero_is_white_keeps_its_values_and_says_so(tmp_path: Path, count: int) -> None:
    values = values_of("u2", (count, 24, 20)) if count > 1 else values_of("u2", (24, 20))
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "v.tif", values, photometric="miniswhite", metadata=None)
    source = opened(tmp_path / "in")
    assert source.series.acquisition == {"photometric": "MONOCHROME1"}
    np.testing.assert_array_equal(source.read(0), values.reshape(-1, 24, 20)[0])
    out = through(source, tmp_path / "out")
    with tifffile.TiffFile(out if out.is_file() else out / "v.tif") as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(tiff.asarray(), values)


# --- what pixels measure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resolution", "unit", "spacing"),
    [
        ((20, 10), 3, (1.0, 0.5)),
        ((50.8, 25.4), 2, (1.0, 0.5)),
        ((72, 72), 2, (1.0, 1.0)),
        ((96, 96), 2, (1.0, 1.0)),
        ((300, 300), 2, (1.0, 1.0)),
        ((1, 1), 2, (1.0, 1.0)),
        ((20, 10), 1, (1.0, 1.0)),
    ],
)
def test_resolution_of_a_tiff_is_spacing_unless_it_is_a_screens(
    tmp_path: Path, resolution: tuple[float, float], unit: int, spacing: tuple[float, float]
) -> None:
    tifffile.imwrite(tmp_path / "a1.tif", values_of("u2", (24, 20)), resolution=resolution, resolutionunit=unit)
    assert only(tmp_path).geometry.spacing[1:] == pytest.approx(spacing)


@pytest.mark.parametrize(("dpi", "spacing"), [((50.8, 25.4), (1.0, 0.5)), ((72, 72), (1, 1)), ((96, 96), (1, 1))])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_pixels_per_length_of_a_picture_are_spacing(
    tmp_path: Path, dpi: tuple[float, float], spacing: tuple[float, float], suffix: str
) -> None:
    Image.fromarray(values_of("u1", (24, 20))).save(tmp_path / f"a1.{suffix}", dpi=dpi)
    assert only(tmp_path).geometry.spacing[1:] == pytest.approx(spacing, rel=0.02)


@pytest.mark.parametrize(
    ("unit", "expected"), [("mm", (2.0, 0.75, 0.5)), ("micron", (2e-3, 0.75e-3, 0.5e-3)), ("pixel", (0.0, 1.0, 1.0))]
)
def test_imagej_says_the_unit_and_the_slice_distance(
    tmp_path: Path, unit: str, expected: tuple[float, float, float]
) -> None:
    words = {"axes": "ZYX", "unit": unit, "spacing": 2.0}
    tifffile.imwrite(tmp_path / "v.tif", values_of("u2"), imagej=True, resolution=(2.0, 1 / 0.75), metadata=words)
    assert only(tmp_path).geometry.spacing == pytest.approx(expected)


def test_real_values_decide_whether_a_volume_is_ct(tmp_path: Path) -> None:
    values = np.full((3, 24, 20), 1024, "u2")
    values[:, :12] = 24
    (tmp_path / "a").mkdir()
    nifti(tmp_path / "a" / "v.nii", values, scl_slope=1.0, scl_inter=-1024.0)
    assert (only(tmp_path / "a").modality, only(tmp_path / "a").unit) == ("OT", "")
    values[:, 12:] = 1200
    nifti(tmp_path / "a" / "v.nii", values, scl_slope=1.0, scl_inter=-1024.0)
    assert (only(tmp_path / "a").modality, only(tmp_path / "a").unit) == ("CT", "HU")


# --- memory -------------------------------------------------------------------------------------------------------

_PEAK = """
import resource, sys
from pathlib import Path
from aegui.events import finish
from aegui.imaging import open_series, scan
finish(scan([Path(sys.argv[2])]))  # what is imported at need
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(series,) = finish(scan([Path(sys.argv[1])])).series
source = open_series(series)
for index in range(len(source)):
    source.read(index), source.valid(index)
print(len(source), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.nrrd", "v.mha", "v.npy", "v.tif", "v.npz"])
def test_two_thousand_slices_are_never_all_in_memory(tmp_path: Path, name: str) -> None:
    count, side = 2000, 256
    size = count * side * side * 2
    folder = tmp_path / "in"
    folder.mkdir()
    _empty_volume(folder / name, count, side)
    (small := tmp_path / "small").mkdir()
    _empty_volume(small / name, 20, side)
    run = subprocess.run(
        [sys.executable, "-c", _PEAK, str(folder), str(small)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    slices, megabytes = (int(word) for word in run.stdout.split())
    assert slices == count and size > 250e6
    assert megabytes < 60


def _empty_volume(path: Path, count: int, side: int) -> None:
    """Zeros with one value in the middle, stored without holding them in memory."""
    size = count * side * side * 2
    small = np.zeros((1, side, side), np.int16)
    match path.name:
        case "v.npy" | "v.npz":
            saved = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.int16, (count, side, side))
            saved[count // 2, 0, 0] = 1
            if path.suffix == ".npz":
                np.savez(path, a=saved)
                del saved
                path.with_suffix(".npy").unlink()
            return
        case "v.tif":
            slices = (small[0] for _ in range(count))
            tifffile.imwrite(path, slices, shape=(count, side, side), dtype=np.int16, compression="zlib", metadata=None)
            return
        case "v.nii" | "v.nii.gz":
            image = nib.Nifti1Image(small.T, affine())
            head = bytearray(image.header.binaryblock)
            struct.pack_into("<8h", head, 40, 3, side, side, count, 1, 1, 1, 1)
            struct.pack_into("<f", head, 108, 352)
            head = bytes(head[:344]) + b"n+1\0" + bytes(4)
        case "v.nrrd":
            head = (
                f"NRRD0004\ntype: short\ndimension: 3\nsizes: {side} {side} {count}\nencoding: raw\nendian: little\n\n"
            )
            head = head.encode()
        case _:
            head = f"ObjectType = Image\nNDims = 3\nDimSize = {side} {side} {count}\nElementType = MET_SHORT\n".encode()
            head += b"ElementDataFile = LOCAL\n"
    noise = np.random.default_rng(0).integers(0, 9, 1 << 19, dtype=np.int16).tobytes()
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb", *([1] if path.suffix == ".gz" else [])) as file:
        file.write(head)
        for _ in range(size // len(noise)):
            file.write(noise)
