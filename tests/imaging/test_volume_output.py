"""Series of any source as NIfTI, NRRD, TIFF and PNG; noise beside it; no names in it; nothing half written."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from aegui.errors import UserError
from aegui.imaging import OutputRules, Provenance, SliceSource, open_series, open_sink
from tests.imaging.made_files import MR, copied, dataset, only, opened, save, scanned, stack
from tests.imaging.made_volumes import KINDS, imagej, independent, itk, nifti, npz, ome, through, values_of, with_text

AXES = [0.8, 0.6, 0.0, -0.36, 0.48, 0.8]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique(folder: Path, tilt: float = 0.0, **more: Any) -> SliceSource:
    """Five slices; tilt: mm by which each is moved along its columns."""
    step = np.cross(AXES[:3], AXES[3:]) * 2.5 + np.array(AXES[3:]) * tilt
    for i in range(5):
        item = dataset(number=i, ImageOrientationPatient=AXES, stored=np.arange(120).reshape(12, 10) * (i + 3), **more)
        item.ImagePositionPatient = [float(round(v, 9)) for v in step * i + (-101.25, 2, 333.125)]
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"1.2.6.{i}"
        save(item, folder / f"{i}.dcm")
    return opened(folder)


def truth(source: SliceSource) -> np.ndarray[Any, Any]:
    """(column, row, slice) → LPS by the DICOM standard's formula, from the headers."""
    first, last = (np.array(source.series.geometry.positions[i]) for i in (0, -1))
    out = np.eye(4)
    step = (last - first) / (len(source) - 1)
    out[:3] = np.stack([np.array(AXES[:3]) * 0.75, np.array(AXES[3:]) * 0.5, step, first], axis=1)
    return out


def values_in(source: SliceSource) -> np.ndarray[Any, Any]:
    return np.stack([source.read(i) for i in range(len(source))])


def test_nifti_of_oblique_slices_has_their_exact_affine(tmp_path: Path) -> None:
    source = oblique(tmp_path / "in")
    out = copied(source, tmp_path / "out", format="nifti")
    image = nib.load(out)
    assert out.name.endswith("_Thorax_DN.nii.gz") and image.get_data_dtype() == np.int16
    np.testing.assert_allclose(LPS @ image.affine, truth(source), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(LPS @ image.get_qform(), truth(source), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, values_in(source))
    itk = sitk.ReadImage(str(out))
    for index in ((0, 0, 0), (9, 0, 0), (0, 11, 0), (3, 4, 4)):
        place = (truth(source) @ [*index, 1])[:3]
        np.testing.assert_allclose(itk.TransformIndexToPhysicalPoint(index), place, rtol=1e-6, atol=1e-4)


def test_nrrd_of_oblique_slices_is_exact_to_the_last_digit(tmp_path: Path) -> None:
    source = oblique(tmp_path / "in")
    out = copied(source, tmp_path / "out", format="nrrd")
    image = sitk.ReadImage(str(out))
    for index in ((0, 0, 0), (9, 0, 0), (0, 11, 0), (3, 4, 4)):
        place = (truth(source) @ [*index, 1])[:3]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), place, atol=1e-9)
    assert image.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values_in(source))
    assert only(out.parent).geometry.spacing == pytest.approx(source.series.geometry.spacing)


def test_a_gantry_tilt_is_kept_in_the_sform_and_no_reader_can_misplace_it(tmp_path: Path) -> None:
    source = oblique(tmp_path / "in", tilt=0.75)
    out = copied(source, tmp_path / "out", format="nifti")
    image = nib.load(out)
    np.testing.assert_allclose(LPS @ image.affine, truth(source), rtol=1e-6, atol=1e-6)
    assert image.header["qform_code"] == 0 and image.header["sform_code"] == 1
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(out))
    out = copied(source, tmp_path / "nrrd", format="nrrd")
    place = (truth(source) @ [3, 4, 4, 1])[:3]
    np.testing.assert_allclose(sitk.ReadImage(str(out)).TransformIndexToPhysicalPoint((3, 4, 4)), place, atol=1e-9)


def test_uneven_slices_have_no_place_in_nifti_and_nrrd_but_in_tiff_and_png(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0, 2, 4, 12])
    source = opened(tmp_path / "in")
    for format in ("nifti", "nrrd"):
        with pytest.raises(UserError, match="unevenly spaced"):
            open_sink(source, tmp_path / "out", OutputRules(format=format), Provenance())
    assert not (tmp_path / "out").exists()
    out = copied(source, tmp_path / "out", format="tiff")
    with tifffile.TiffFile(out) as tiff:
        assert "PhysicalSizeZ" not in tiff.ome_metadata
    assert copied(source, tmp_path / "out", format="png").is_dir()


@pytest.mark.parametrize("format", ["nifti", "nrrd", "tiff", "png"])
def test_the_size_of_a_pixel_is_not_made_up(tmp_path: Path, format: str) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(values_of("u1", (24, 20))).save(tmp_path / "in" / "a.png")
    out = copied(opened(tmp_path / "in"), tmp_path / "out", format=format)
    match format:
        case "nifti":
            assert nib.load(out).header.get_xyzt_units()[0] == "unknown"
        case "nrrd":
            assert b"space units" not in out.read_bytes()
        case "tiff":
            with tifffile.TiffFile(out) as tiff:
                assert "PhysicalSize" not in tiff.ome_metadata
                assert int(tiff.pages[0].tags.valueof("ResolutionUnit")) == 1  # none
        case _:
            assert json.loads((out / "scale.json").read_text())["spacing_mm"] is None


def test_half_of_a_plain_ome_tiff_has_no_size_of_pixels_either(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "two.ome.tif", values_of("u2", (2, 3, 24, 20)), metadata={"axes": "CZYX"})
    for series in scanned(tmp_path / "in").series:
        with tifffile.TiffFile(copied(open_series(series), tmp_path / "out")) as tiff:
            assert "PhysicalSize" not in tiff.ome_metadata


def test_a_stack_keeps_its_fourth_channel(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = KINDS["tiff rgba"](tmp_path / "in")
    out = copied(opened(tmp_path / "in"), tmp_path / "out")
    with tifffile.TiffFile(out) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), tifffile.imread(path))
        assert [int(kind) for kind in tiff.pages[0].extrasamples] == [2]  # unassociated


def test_a_tiff_stack_says_its_spacing_to_ome_and_other_readers(tmp_path: Path) -> None:
    source = oblique(tmp_path / "in")
    out = copied(source, tmp_path / "out", format="tiff")
    with tifffile.TiffFile(out) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), values_in(source))
        assert tiff.asarray().dtype == np.int16 and tiff.is_ome
        assert 'PhysicalSizeX="0.75"' in tiff.ome_metadata and 'PhysicalSizeXUnit="mm"' in tiff.ome_metadata
        x, y = (tiff.pages[0].tags[name].value for name in ("XResolution", "YResolution"))
        assert x[0] / x[1] == pytest.approx(10 / 0.75) and y[0] / y[1] == pytest.approx(20)
    assert only(out.parent).geometry.spacing == pytest.approx(source.series.geometry.spacing)


@pytest.mark.parametrize("format", ["nifti", "nrrd", "tiff"])
@pytest.mark.parametrize(
    ("more", "dtype"),
    [
        ({}, "i2"),
        ({"RescaleIntercept": 0, "signed": False}, "i2"),
        ({"RescaleIntercept": 40000, "signed": False}, "u2"),
        ({"RescaleSlope": 500, "RescaleIntercept": 0}, "i4"),
        ({"RescaleSlope": "0.123"}, "f4"),
    ],
)
def test_whole_numbers_stay_whole_and_take_as_little_room_as_they_need(
    tmp_path: Path, format: str, more: dict[str, Any], dtype: str
) -> None:
    source = oblique(tmp_path / "in", modality="MR", sop_class=MR, **more)
    out = through(source, tmp_path / "out", format=format)
    values, _ = independent(out)
    values = values.T if format == "nifti" else values
    assert values.dtype == np.dtype(dtype)
    if dtype == "f4":
        np.testing.assert_allclose(values, values_in(source), rtol=1e-6)
    else:
        np.testing.assert_array_equal(values, values_in(source))


@pytest.mark.parametrize("kind", [k for k in KINDS if k.split()[0] in ("nifti", "nrrd", "mha", "npy", "tiff", "png")])
@pytest.mark.parametrize("format", ["nifti", "nrrd", "tiff", "png"])
def test_every_source_can_become_every_format_or_says_why_not(tmp_path: Path, kind: str, format: str) -> None:
    (tmp_path / "in").mkdir()
    KINDS[kind](tmp_path / "in")
    source = opened(tmp_path / "in")
    before = values_in(source)
    dtype = source.stored(0).dtype  # type: ignore[attr-defined]
    if format == "tiff" and dtype.itemsize == 8 and dtype.kind != "f":
        with pytest.raises(UserError, match="64-bit"):
            through(source, tmp_path / "out", 0.0, format=format)
        assert not (tmp_path / "out").exists()
        return
    out = through(source, tmp_path / "out", 0.0, format=format)
    if format == "png":
        scale = json.loads((out / "scale.json").read_text())
        levels = [np.asarray(Image.open(out / f"slice_{i + 1:04d}.png")) for i in range(len(before))]
        step = scale["slope"] if scale["slope"] != 1.0 else 0.0
        np.testing.assert_allclose(np.stack(levels) * scale["slope"] + scale["offset"], before, atol=step, rtol=1e-6)
        return
    after = opened(out.parent)
    np.testing.assert_allclose(values_in(after), before, rtol=1e-6)
    if dtype.itemsize > 2 or dtype.kind != "f":
        assert after.stored(0).dtype.newbyteorder("=") == dtype.newbyteorder("=") or "slope" in kind  # type: ignore[attr-defined]
    if format != "tiff":
        np.testing.assert_allclose(after.series.geometry.spacing[1:], source.series.geometry.spacing[1:], rtol=1e-6)
    after.close()


@pytest.mark.parametrize("format", ["nifti", "nrrd", "tiff"])
def test_what_we_made_is_known_again_and_is_nothing_to_learn_from(tmp_path: Path, format: str) -> None:
    source = oblique(tmp_path / "in")
    out = copied(source, tmp_path / "out", format=format)
    assert b"Denoised by aegui, model test-model, strength 0.5" in (
        gzip.decompress(out.read_bytes()) if format == "nifti" else out.read_bytes()
    )
    assert only(tmp_path / "out").derived_here and not source.series.derived_here


# --- the removed noise -----------------------------------------------------------------------------------------


NOISE_KINDS = ["nifti i2", "nifti slope", "nifti >i2", "nifti u4", "nrrd u2", "nhdr gzip", "mha i2", "mhd packed",
               "npy i2", "npz", "nifti big-endian u1", "nrrd big-endian u1",
               "mha big-endian u1", "tiff u2", "tiff ome", "tiff imagej", "npy picture", "tiff picture"]  # fmt: skip


def changed(source: SliceSource, folder: Path, **rules: Any) -> Path:
    """A denoiser of sorts: every value moves by up to 700, for some beyond what is stored."""
    sink = open_sink(source, folder, OutputRules(noise_series=True, **({"suffix": ""} | rules)), Provenance())
    rng = np.random.default_rng(5)
    for index in range(len(source)):
        pixels = source.read(index)
        sink.write(index, pixels + rng.normal(0, 300, pixels.shape).astype(np.float32))
    out = sink.finish()
    source.close()
    return out


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_denoised_plus_noise_is_the_original_in_stored_numbers(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    path = KINDS[kind](tmp_path / "in")
    original, _ = independent(path)
    out = changed(opened(tmp_path / "in"), tmp_path / "out")
    if out.is_dir():
        target, noise = out / path.name, out.with_name(f"{out.name}_noise") / path.name
    else:
        suffix = "".join(out.suffixes) if out.name.endswith((".nii.gz", ".ome.tif")) else out.suffix
        target, noise = out, out.with_name(out.name.removesuffix(suffix) + "_noise" + suffix)
        if not noise.exists():
            noise = out.with_name(out.stem + "_noise" + out.suffix)
    removed = independent(noise)[0]
    assert removed.dtype.kind == "i" and removed.any() and (removed < 0).any()
    total = independent(target)[0].astype(np.int64) + removed
    np.testing.assert_array_equal(total.reshape(original.shape), original)


@pytest.mark.parametrize("format", ["nifti", "nrrd", "tiff"])
def test_the_noise_of_dicom_can_stand_beside_another_format(tmp_path: Path, format: str) -> None:
    source = oblique(tmp_path / "in")
    out = changed(source, tmp_path / "out", format=format, suffix="_DN")
    files = sorted(out.parent.iterdir())
    assert len(files) == 2 and all("_DN" in file.name for file in files)
    values = [independent(file)[0] for file in files]
    total = values[0].astype(int) + values[1]
    np.testing.assert_array_equal(total.T if format == "nifti" else total, values_in(source))


@pytest.mark.parametrize("slices", [1, 3])
def test_noise_beyond_32_bits_is_refused_and_not_written_wrapped(tmp_path: Path, slices: int) -> None:
    (tmp_path / "in").mkdir()
    shape = (12, 10) if slices == 1 else (slices, 12, 10)
    np.save(tmp_path / "in" / "a1.npy", np.full(shape, 4_000_000_000, np.uint32))
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(noise_series=True), Provenance())
    with pytest.raises(UserError, match="does not fit into 32 bits"):
        sink.write(0, np.zeros((12, 10), np.float32))
    sink.abort()
    source.close()
    assert not any((tmp_path / "out").iterdir())


def test_noise_that_cannot_be_exact_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    makers = {
        "whole numbers": lambda folder: nifti(folder / "v.nii", values_of("f4")),
        "64-bit": lambda folder: nifti(folder / "v.nii", values_of("i8")),
        "negative values": lambda folder: with_text(folder / "a1.png", values_of("u1", (24, 20))),
    }
    for i, (words, make) in enumerate(makers.items()):
        (folder := tmp_path / str(i)).mkdir()
        make(folder)
        with pytest.raises(UserError, match=words):
            open_sink(opened(folder), tmp_path / "out", OutputRules(noise_series=True), Provenance())
    source = oblique(tmp_path / "scaled", RescaleSlope="0.123")
    with pytest.raises(UserError, match="whole numbers"):
        open_sink(source, tmp_path / "out", OutputRules(noise_series=True, format="nifti"), Provenance())
    assert not (tmp_path / "out").exists()


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["nifti", "nrrd", "mha", "ome", "imagej", "tiff", "png", "jpeg", "npz"])
def test_deidentified_files_keep_no_text_and_no_name_of_their_source(tmp_path: Path, form: str) -> None:
    (folder := tmp_path / "in").mkdir()
    values = values_of("u2")
    match form:
        case "nifti":
            path = nifti(folder / "Doe_Jane.nii", values)
            data = path.read_bytes()
            patched = bytearray(data[:352] + b"\x20\0\0\0\x02\0\0\0" + b"Doe^Jane".ljust(24, b"\0") + data[352:])
            patched[108:112] = np.float32(384).tobytes()
            patched[348] = 1
            path.write_bytes(patched)
        case "nrrd":
            path = itk(folder / "Doe_Jane.nrrd", values)
            path.write_bytes(path.read_bytes().replace(b"type:", b"Patient:=Doe^Jane\ncontent: Doe^Jane\ntype:", 1))
        case "mha":
            path = itk(folder / "Doe_Jane.mha", values)
            path.write_bytes(path.read_bytes().replace(b"NDims", b"Comment = Doe^Jane\nNDims", 1))
        case "ome":
            path = ome(folder / "Doe_Jane.ome.tif", values)
        case "imagej":
            path = imagej(folder / "Doe_Jane.tif", values)
        case "tiff":
            path = folder / "Doe_Jane.tif"
            tifffile.imwrite(path, values[0], description="Doe^Jane", resolution=(20, 10), resolutionunit=3)
        case "png":
            path = with_text(folder / "Doe_Jane.png", values[0])
        case "jpeg":
            path = folder / "Doe_Jane.jpg"
            Image.fromarray(values_of("u1", (24, 20))).save(path, comment="Doe^Jane", dpi=(50, 60))
        case _:
            path = npz(folder / "Doe_Jane.npz", Doe_Jane=values)
    before = only(folder)
    out = through(opened(folder), tmp_path / "out", deidentify=True)
    files = [out] if out.is_file() else sorted(out.iterdir())
    assert files
    for file in files:
        assert b"Doe" not in file.read_bytes().replace(b"\0", b"") and b"Doe" not in os.fsencode(
            file.relative_to(tmp_path)
        )
    again = only(tmp_path / "out")
    assert again.geometry.spacing == pytest.approx(before.geometry.spacing, rel=1e-3)
    assert again.geometry.positions == before.geometry.positions
    assert b"Doe" in path.read_bytes().replace(b"\0", b"")


def test_nifti_from_dicom_without_names_has_none_in_its_name(tmp_path: Path) -> None:
    source = oblique(tmp_path / "in", SeriesDescription="Doe Jane")
    out = copied(source, tmp_path / "out", format="nifti", deidentify=True)
    assert re.fullmatch("ANON-[0-9A-F]{8}_CT_DN.nii.gz", out.name)


def test_a_suffix_ends_the_name_and_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ome(tmp_path / "in" / ("x" * 200 + ".ome.tif"), values_of("i2"))
    out = through(opened(tmp_path / "in"), tmp_path / "a" / "b", suffix="/../../../up")
    assert out == tmp_path / "a" / "b" / ("x" * 120 + "_.._.._.._up.ome.tif")
    assert list(out.parent.iterdir()) == [out]
    assert {item.name for item in tmp_path.iterdir()} - {"homes"} == {"a", "in"}


# --- nothing half written, nothing written over -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nifti gz", "nrrd i2", "nhdr", "mha packed", "mhd", "npy i2", "npz", "tiff u2"])
def test_a_second_run_writes_beside_the_first(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    KINDS[kind](tmp_path / "in")
    source = opened(tmp_path / "in")
    first = through(source, tmp_path / "out")
    content = {file: file.read_bytes() for file in first.parent.iterdir()}
    second = through(source, tmp_path / "out")
    assert second != first
    assert all(file.read_bytes() == data for file, data in content.items())
    np.testing.assert_array_equal(independent(second)[0], independent(first)[0])


def test_two_headers_of_one_name_do_not_share_their_values(tmp_path: Path) -> None:
    for number, name in enumerate(("v.mhd", "v.nhdr")):
        (folder := tmp_path / str(number)).mkdir()
        itk(folder / name, values_of("i2") + number)
        through(opened(folder), tmp_path / "out")
    assert len(scanned(tmp_path / "out").series) == 2
    for series in scanned(tmp_path / "out").series:
        number = int(series.files[0].suffix == ".nhdr")
        np.testing.assert_array_equal(open_series(series).read(0), (values_of("i2") + number)[0])


@pytest.mark.skipif(os.name == "nt", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("kind", ["nifti i2", "nifti gz", "nrrd u2", "mhd", "npy i2", "npz", "tiff u2", "png u2"])
@pytest.mark.parametrize("format", ["same", "nifti", "tiff", "png"])
@pytest.mark.parametrize("room", [0, 700, 2200])
def test_where_the_disk_is_full_nothing_stays(tmp_path: Path, kind: str, format: str, room: int) -> None:
    import resource

    (tmp_path / "in").mkdir()
    KINDS[kind](tmp_path / "in")
    source = opened(tmp_path / "in")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = False
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        copied_or_aborted(source, tmp_path / "out", format)
    except UserError as error:
        full = "Cannot write to" in error.message
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        source.close()
    left = list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else []
    assert full == (not left)
    if left:
        assert room > 0 and not [file for file in left if file.name.startswith(".")]


def copied_or_aborted(source: SliceSource, folder: Path, format: str) -> None:
    sink = open_sink(source, folder, OutputRules(format=format), Provenance())
    try:
        for index in range(len(source)):
            sink.write(index, source.read(index))
        sink.finish()
    except BaseException:
        sink.abort()
        raise
