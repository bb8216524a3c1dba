"""Derived series: identity, geometry, values, and nothing half written."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from aegui.errors import UserError
from aegui.imaging import OutputRules, Provenance, open_series, open_sink
from tests.imaging.made_files import MR, SC, WHEEL, copied, dataset, only, opened, save, scanned, stack


def test_a_derived_series_has_its_own_identity_and_names_its_source(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5], ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"])
    out = copied(opened(tmp_path / "in"), tmp_path / "out")
    before = [pydicom.dcmread(f) for f in sorted((tmp_path / "in").iterdir())]
    after = [pydicom.dcmread(f) for f in sorted(out.iterdir())]
    assert [f.name for f in sorted(out.iterdir())] == ["000.dcm", "001.dcm"]
    assert len({d.SeriesInstanceUID for d in after}) == 1
    assert not {d.SOPInstanceUID for d in after} & {d.SOPInstanceUID for d in before}
    for new, old in zip(after, before, strict=True):
        assert new.SeriesInstanceUID != old.SeriesInstanceUID
        assert new.SOPInstanceUID == new.file_meta.MediaStorageSOPInstanceUID
        for same in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate", "SOPClassUID"):
            assert new[same].value == old[same].value
        for same in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "BitsStored"):
            assert new[same].value == old[same].value
        assert list(new.ImageType) == ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 SPI"]
        assert (new.SeriesDescription, new.SeriesNumber) == ("Thorax_DN", 1003)
        (source,) = new.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == old.SOPInstanceUID
        assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert new.DerivationDescription == "Denoised by aegui, model test-model, strength 0.5"
        (step,) = new.DerivationCodeSequence
        assert (step.CodeValue, step.CodingSchemeDesignator) == ("DENOISED", "99AEGUI")
        (equipment,) = new.ContributingEquipmentSequence
        assert equipment.Manufacturer == "aegui"
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert "test-model" in equipment.ContributionDescription
        assert new.InstanceCreationDate and new.InstanceCreationTime


@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_emission_images_stay_primary(tmp_path: Path, modality: str) -> None:
    save(dataset(modality=modality, sop_class="1.2.840.10008.5.1.4.1.1.128"), tmp_path / "in" / "a")
    out = copied(opened(tmp_path / "in"), tmp_path / "out")
    assert list(pydicom.dcmread(out / "a").ImageType)[:2] == ["DERIVED", "PRIMARY"]


def test_values_are_rounded_and_cut_to_what_the_stored_bits_hold(tmp_path: Path) -> None:
    stored = np.array([[10, 10, 4095, 0], [20, 20, 20, 20]])
    item = dataset(stored=stored, rows=2, columns=4, bits=12, signed=False, modality="MR", sop_class=MR)
    save(item, tmp_path / "in" / "a")
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(), Provenance())
    sink.write(0, np.array([[9.6, 10.4, 5000, -7], [20.49, 19.51, 19.4, 20.6]], np.float32))
    values = pydicom.dcmread(sink.finish() / "a").pixel_array
    assert values.tolist() == [[10, 10, 4095, 0], [20, 20, 19, 21]]


def test_slope_and_intercept_are_undone_before_rounding(tmp_path: Path) -> None:
    save(dataset(stored=np.arange(120).reshape(12, 10), RescaleSlope="1.0002441"), tmp_path / "in" / "a")
    out = copied(opened(tmp_path / "in"), tmp_path / "out", change=3.2)
    np.testing.assert_array_equal(pydicom.dcmread(out / "a").pixel_array.ravel(), np.arange(120) + 3)


def test_padding_comes_back_exactly(tmp_path: Path) -> None:
    stored = np.full((12, 10), 1000)
    stored[:3] = -2000
    item = dataset(stored=stored)
    item.add_new("PixelPaddingValue", "US", 63536)
    save(item, tmp_path / "in" / "a")
    out = copied(opened(tmp_path / "in"), tmp_path / "out", change=50)
    values = pydicom.dcmread(out / "a").pixel_array
    assert (values[:3] == -2000).all() and (values[3:] == 1050).all()


def test_an_unchanged_slice_is_written_exactly_as_it_was(tmp_path: Path) -> None:
    for name in ("CT_small", "MR_small_bigendian", "MR_small_jp2klossless", "693_J2KI", "MR_small_padded"):
        (tmp_path / name).mkdir()
        shutil.copy(WHEEL / f"{name}.dcm", tmp_path / name)
        out = copied(opened(tmp_path / name), tmp_path / "out")
        new, old = pydicom.dcmread(out / f"{name}.dcm"), pydicom.dcmread(WHEEL / f"{name}.dcm")
        np.testing.assert_array_equal(new.pixel_array, old.pixel_array)
        assert new.get("LossyImageCompression") == old.get("LossyImageCompression")


def test_lowest_and_highest_value_follow_the_pixels_and_icon_and_histogram_go(tmp_path: Path) -> None:
    item = dataset()
    item.add_new("SmallestImagePixelValue", "SS", 0)
    item.add_new("LargestImagePixelValue", "SS", 119)
    item.IconImageSequence = [pydicom.Dataset()]
    item.HistogramSequence = [pydicom.Dataset()]
    save(item, tmp_path / "in" / "a")
    new = pydicom.dcmread(copied(opened(tmp_path / "in"), tmp_path / "out", change=10) / "a")
    assert (new.SmallestImagePixelValue, new.LargestImagePixelValue) == (10, 129)
    assert "IconImageSequence" not in new and "HistogramSequence" not in new


def test_a_long_description_keeps_its_suffix(tmp_path: Path) -> None:
    save(dataset(SeriesDescription="x" * 64, SeriesNumber=2**31 - 5), tmp_path / "in" / "a")
    new = pydicom.dcmread(copied(opened(tmp_path / "in"), tmp_path / "out") / "a")
    assert new.SeriesDescription == "x" * 61 + "_DN" and 0 < new.SeriesNumber < 2**31


def test_private_elements_and_command_elements(tmp_path: Path) -> None:
    item = dataset()
    item.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "keep me")
    path = save(item, tmp_path / "in" / "a")
    data = path.read_bytes()
    at = data.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in data else data.index(b"\x08\x00\x08\x00")
    path.write_bytes(data[:at] + b"\x00\x00\x00\x00UL\x04\x00\x00\x00\x00\x00" + data[at:])
    new = pydicom.dcmread(copied(opened(tmp_path / "in"), tmp_path / "out") / "a")
    assert new[0x0029, 0x1010].value == "keep me"
    assert not [tag for tag in new if tag.tag.group == 0]


def test_missing_uids_are_filled_in_and_illegal_ones_are_not_referenced(tmp_path: Path) -> None:
    item = dataset(StudyInstanceUID="", SeriesInstanceUID="", SOPClassUID="", FrameOfReferenceUID="")
    item.SOPInstanceUID = ""
    save(item, tmp_path / "in" / "a")
    item = dataset(series="1.2.77")
    item.SOPInstanceUID = "0.0.1.2"
    save(item, tmp_path / "in" / "b")
    for series in scanned(tmp_path / "in").series:
        out = copied(open_series(series), tmp_path / "out")
        (new,) = [pydicom.dcmread(f) for f in out.iterdir()]
        for keyword in (
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "SOPInstanceUID",
            "SOPClassUID",
            "FrameOfReferenceUID",
        ):
            assert new[keyword].value, keyword
        if series.uid == "1.2.77":
            assert "SourceImageSequence" not in new and "0.0.1.2" in new.DerivationDescription
        else:
            assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == item.SOPInstanceUID or new.SourceImageSequence


def test_enhanced_files_come_back_with_all_frames_and_the_same_geometry(shared: Path, tmp_path: Path) -> None:
    source = opened(shared / "geometry_cases" / "philips_enhanced" / "anatomical" / "001")
    out = copied(source, tmp_path)
    again = opened(out)
    assert again.series.geometry == source.series.geometry
    for i in range(len(source)):
        np.testing.assert_array_equal(again.read(i), source.read(i))


def test_nothing_is_visible_before_the_end_and_nothing_stays_after_an_abort(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    source = opened(tmp_path / "in")
    for format in ("same", "dicom", "nifti", "png"):
        sink = open_sink(source, tmp_path / "out", OutputRules(format=format), Provenance())
        sink.write(0, source.read(0))
        assert not scanned(tmp_path / "in").skipped
        assert [p for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == []
        sink.abort()
        assert list((tmp_path / "out").iterdir()) == []


def test_a_series_with_holes_is_not_published(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    source = opened(tmp_path / "in")
    for format in ("same", "nifti", "png"):
        sink = open_sink(source, tmp_path / "out", OutputRules(format=format), Provenance())
        sink.write(0, source.read(0))
        with pytest.raises(ValueError, match="1 slices were not written"):
            sink.finish()
        sink.abort()


def test_a_second_run_does_not_overwrite_the_first(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0])
    source = opened(tmp_path / "in")
    for format in ("same", "nifti", "png"):
        first, second = (copied(source, tmp_path / "out", format=format) for _ in range(2))
        assert first != second and first.exists() and second.exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_nowhere_keeps_its_name_as_any_other_file_does(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0])
    source = opened(tmp_path / "in")
    for format in ("same", "nifti", "png"):
        first = copied(source, tmp_path / format, format=format)
        _remove(first)
        first.symlink_to(tmp_path / "nowhere")
        second = copied(source, tmp_path / format, format=format)
        assert second != first and second.exists() and first.is_symlink()


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0])
    (tmp_path / "taken").write_text("a file")
    source = opened(tmp_path / "in")
    for format in ("same", "nifti", "png"):
        with pytest.raises(UserError, match=r"Cannot write to .*taken"):
            open_sink(source, tmp_path / "taken" / "out", OutputRules(format=format), Provenance())


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0])
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(), Provenance())
    (partial,) = (tmp_path / "out").iterdir()
    (partial / "000.dcm").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"Cannot write to .*No space left"):
        sink.write(0, source.read(0))
    sink.abort()


def test_what_is_not_denoised_has_no_sink(tmp_path: Path) -> None:
    save(dataset(sop_class=SC, modality="OT"), tmp_path / "in" / "a")
    with pytest.raises(UserError, match="Secondary capture"):
        open_sink(opened(tmp_path / "in"), tmp_path / "out", OutputRules(), Provenance())


def test_files_of_one_name_from_two_folders_both_arrive(tmp_path: Path) -> None:
    for i in (0, 1):
        save(dataset(number=i, z=float(i)), tmp_path / "in" / str(i) / "slice.dcm")
    out = copied(opened(tmp_path / "in"), tmp_path / "out")
    assert sorted(f.name for f in out.iterdir()) == ["slice.dcm", "slice_2.dcm"]


def test_arrays_keep_their_type_and_their_full_precision_where_nothing_changed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    values = np.random.default_rng(0).random((6, 5)) * 1000
    np.save(tmp_path / "in" / "a1.npy", values)
    source = opened(tmp_path / "in")
    same = np.load(copied(source, tmp_path / "out") / "a1.npy")
    assert same.dtype == np.float64
    np.testing.assert_array_equal(same, values)
    moved = np.load(copied(source, tmp_path / "out", change=0.25) / "a1.npy")
    np.testing.assert_allclose(moved, values + 0.25, atol=1e-3)


@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba", "la", "deep", "jpeg", "tiff", "float_tiff", "int_npy"])
def test_images_keep_format_name_mode_and_scale(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    grey = np.random.default_rng(0).integers(20, 200, (6, 5), dtype=np.uint8)
    colour = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=2)
    match kind:
        case "rgba":
            values = np.dstack([colour, grey])
        case "la":
            values = np.dstack([grey, grey])
        case "rgb":
            values = colour
        case "deep" | "tiff":
            values = grey.astype(np.uint16) * 256
        case "float_tiff":
            values = grey.astype(np.float32) / 7
        case "int_npy":
            values = grey.astype(np.int32) - 50
        case _:
            values = grey
    name = {"jpeg": "x1.jpg", "tiff": "x1.tif", "float_tiff": "x1.tif", "int_npy": "x1.npy"}.get(kind, "x1.png")
    if name.endswith(".tif"):
        tifffile.imwrite(folder / name, values)
    elif name.endswith(".npy"):
        np.save(folder / name, values)
    else:
        Image.fromarray(values).save(folder / name)
    out = copied(opened(folder), tmp_path / "out", change=2.0)
    # JPEG leaves as PNG: a second lossy compression would change every pixel.
    written = "x1.png" if kind == "jpeg" else name
    assert [f.name for f in out.iterdir()] == [written]

    def load(path: Path) -> np.ndarray:
        if path.suffix == ".tif":
            return tifffile.imread(path)
        return np.load(path) if path.suffix == ".npy" else np.asarray(Image.open(path))

    old, new = load(folder / name), load(out / written)
    assert new.dtype == old.dtype and new.shape == old.shape
    channels = slice(None, 3) if kind == "rgba" else slice(None, 1) if kind == "la" else slice(None)
    difference = new[..., channels].astype(float) - old[..., channels]
    np.testing.assert_allclose(difference, 2.0, atol=1e-5)
    if kind in ("rgba", "la"):
        np.testing.assert_array_equal(new[..., -1], old[..., -1])


def test_grey_pictures_stored_as_rgb_go_back_as_rgb(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "in" / "x1.png")
    source = opened(tmp_path / "in")
    assert source.read(0).shape == (8, 8)
    with Image.open(copied(source, tmp_path / "out", change=1) / "x1.png") as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image)[..., 1], grey + 1)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nrrd", "v.mha", "v.mhd", "v.npy", "v.tif"])
def test_volumes_keep_format_type_and_geometry(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 30
    if name == "v.npy":
        np.save(tmp_path / "in" / name, values)
    elif name == "v.tif":
        tifffile.imwrite(tmp_path / "in" / name, values, photometric="minisblack")
    else:
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((0.5, 0.75, 2.0))
        image.SetOrigin((10.0, -5.0, 3.0))
        image.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        sitk.WriteImage(image, str(tmp_path / "in" / name))
    source = opened(tmp_path / "in")
    out = copied(source, tmp_path / "out", change=1.4)
    assert out.name == name.replace("v.", "v_DN.")
    again = opened(tmp_path / "out")
    assert again.series.bits == 16
    assert again.series.geometry == source.series.geometry
    np.testing.assert_array_equal(np.stack([again.read(i) for i in range(3)]), values + 1)


def test_nifti_has_the_affine_that_simpleitk_reads_from_the_dicom_files(tmp_path: Path) -> None:
    axes = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]
    step = np.cross(axes[:3], axes[3:]) * 2.5
    for i in range(4):
        item = dataset(number=i, ImageOrientationPatient=axes, stored=np.arange(120).reshape(12, 10) + i)
        item.ImagePositionPatient = [float(round(v, 6)) for v in step * i + (1, 2, 3)]
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"1.2.6.{i}"
        save(item, tmp_path / "in" / f"{i}.dcm")
    source = opened(tmp_path / "in")
    result = sitk.ReadImage(str(copied(source, tmp_path / "out", format="nifti")))
    expected = sitk.ReadImage([str(f) for f in source.series.files])
    assert result.GetSpacing() == pytest.approx(expected.GetSpacing(), abs=1e-4)
    assert result.GetOrigin() == pytest.approx(expected.GetOrigin(), abs=1e-4)
    assert result.GetDirection() == pytest.approx(expected.GetDirection(), abs=1e-4)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result), sitk.GetArrayFromImage(expected))
    assert result.GetPixelID() == sitk.sitkInt16


def test_nifti_refuses_what_it_cannot_place(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0, 2, 4, 12])
    with pytest.raises(UserError, match="unevenly spaced"):
        open_sink(opened(tmp_path / "in"), tmp_path / "out", OutputRules(format="nifti"), Provenance())


def test_png_output_keeps_whole_values_and_writes_its_scale(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    source = opened(tmp_path / "in")
    out = copied(source, tmp_path / "out", format="png")
    scale = json.loads((out / "scale.json").read_text())
    for i in range(2):
        with Image.open(out / f"slice_{i + 1:04d}.png") as image:
            levels = np.asarray(image).astype(float)
        np.testing.assert_array_equal(levels * scale["slope"] + scale["offset"], source.read(i))


def _inverted(path: Path, stored: np.ndarray) -> None:
    save(dataset(stored=stored, signed=False, modality="CR", PhotometricInterpretation="MONOCHROME1"), path)


def test_an_inverted_scan_becomes_a_png_that_looks_like_it_and_gives_back_its_values(tmp_path: Path) -> None:
    stored = np.arange(120).reshape(12, 10) * 30
    _inverted(tmp_path / "in" / "a", stored)
    out = copied(opened(tmp_path / "in"), tmp_path / "out", format="png")
    scale = json.loads((out / "scale.json").read_text())
    with Image.open(out / "slice_0001.png") as image:
        levels = np.asarray(image).astype(int)
    assert levels[0, 0] == 4095 and (np.diff(levels.ravel()) == -30).all()
    np.testing.assert_array_equal(levels * scale["slope"] + scale["offset"], stored)


def test_an_inverted_picture_of_bytes_stays_one_of_bytes(tmp_path: Path) -> None:
    values = np.arange(120, dtype=np.uint8).reshape(12, 10)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "x1.tif", values, photometric="miniswhite", metadata=None)
    out = copied(opened(tmp_path / "in"), tmp_path / "out", format="png")
    scale = json.loads((out / "scale.json").read_text())
    with Image.open(out / "slice_0001.png") as image:
        assert image.mode == "L"
        levels = np.asarray(image).astype(int)
    np.testing.assert_array_equal(levels, 255 - values.astype(int))
    np.testing.assert_array_equal(levels * scale["slope"] + scale["offset"], values)


def test_an_inverted_scan_becomes_a_tiff_whose_zero_is_white(tmp_path: Path) -> None:
    stored = np.arange(120).reshape(12, 10)
    _inverted(tmp_path / "in" / "a", stored)
    out = copied(opened(tmp_path / "in"), tmp_path / "out", format="tiff")
    with tifffile.TiffFile(out) as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(tiff.asarray().reshape(12, 10), stored)
    assert only(tmp_path / "out").inverted


@pytest.mark.parametrize("format", ["same", "dicom", "nifti", "nrrd", "tiff", "png"])
def test_values_through_a_look_up_table_are_refused_in_every_format(tmp_path: Path, format: str) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [3, 0, 16], "US"
    table.add_new("LUTData", "US", [0, 10, 1000])
    save(dataset(modality="MR", sop_class=MR, ModalityLUTSequence=[table]), tmp_path / "in" / "a")
    source = open_series(replace(only(tmp_path / "in"), treat="denoise"))
    with pytest.raises(UserError, match="look-up table") as caught:
        open_sink(source, tmp_path / "out", OutputRules(format=format), Provenance())
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_what_a_killed_program_left_goes_after_a_day_and_what_is_at_work_stays(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0])
    old, young, own = (tmp_path / "out" / f".{name}.part" for name in ("CT_DN.abc_def1", "CT_DN.ghi_jkl2", "my_data"))
    for folder in (old, young, own):
        folder.mkdir(parents=True)
        (folder / "000.dcm").write_bytes(b"half")
    long_ago = time.time() - 2 * 86400
    for folder in (old, own):
        os.utime(folder, (long_ago, long_ago))
    copied(opened(tmp_path / "in"), tmp_path / "out")
    assert not old.exists() and (young / "000.dcm").exists()
    assert (own / "000.dcm").exists(), "a folder of the user's"


def test_what_this_program_wrote_is_not_denoised_again_unasked(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0])
    source = opened(tmp_path / "in")
    for format in ("same", "nifti"):
        copied(source, tmp_path / format, format=format)
        again = only(tmp_path / format)
        assert again.treat == "view" and "Already denoised" in again.reason
