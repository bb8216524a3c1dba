"""The removed noise as a series of its own: denoised + noise = original, exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from aegui.errors import UserError
from aegui.imaging import OutputRules, Provenance, open_sink
from tests.imaging.made_files import MR, WHEEL, copied, dataset, opened, save, stack
from tests.imaging.made_frames import enhanced, mosaic
from tests.imaging.round_trips import VERIFIER, errors, identity, series_of, travel


def _denoised(folder: Path, out: Path, pixels: np.ndarray, **rules: object) -> tuple[Path, Path]:
    source = opened(folder)
    sink = open_sink(source, out, OutputRules(noise_series=True, **rules), Provenance(model="m"))
    for index in range(len(source)):
        sink.write(index, pixels.astype(np.float32))
    done = sink.finish()
    return done, done.with_name(f"{done.name}_noise")


def _sum(done: Path, noise: Path, name: str = "a.dcm") -> np.ndarray:
    return pydicom.dcmread(done / name).pixel_array.astype(np.int64) + pydicom.dcmread(noise / name).pixel_array


def test_denoised_and_noise_add_up_in_stored_integers_with_a_rescale_per_slice(tmp_path: Path) -> None:
    for z in range(3):
        item = dataset(number=z, z=2.0 * z, modality="PT", sop_class="1.2.840.10008.5.1.4.1.1.128")
        item.RescaleSlope, item.RescaleIntercept = [0.25, 1.7, 3.01][z], 0
        save(item, tmp_path / "in" / f"{z}.dcm")
    done = copied(opened(tmp_path / "in"), tmp_path / "out", change=11.3, noise_series=True)
    noise = done.with_name(f"{done.name}_noise")
    for z in range(3):
        np.testing.assert_array_equal(_sum(done, noise, f"{z}.dcm"), np.arange(120).reshape(12, 10))
        told = pydicom.dcmread(noise / f"{z}.dcm")
        assert (float(told.RescaleSlope), float(told.RescaleIntercept)) == ([0.25, 1.7, 3.01][z], 0)


def test_the_noise_series_is_signed_has_no_intercept_and_says_what_it_is(tmp_path: Path) -> None:
    item = dataset(WindowCenter=40, WindowWidth=400, signed=False, bits=12)
    item.add_new("PixelPaddingValue", "US", 4000)
    save(item, tmp_path / "in" / "a.dcm")
    done, noise = _denoised(tmp_path / "in", tmp_path / "out", np.full((12, 10), -1000.0))
    old, new, told = item, pydicom.dcmread(done / "a.dcm"), pydicom.dcmread(noise / "a.dcm")
    np.testing.assert_array_equal(_sum(done, noise), np.arange(120).reshape(12, 10))
    assert (told.PixelRepresentation, told.BitsAllocated, told.BitsStored, told.HighBit) == (1, 16, 16, 15)
    assert (told.RescaleSlope, told.RescaleIntercept, new.RescaleIntercept) == (1, 0, -1024)
    assert "WindowCenter" not in told and "PixelPaddingValue" not in told and "WindowCenter" in new
    assert list(told.ImageType) == ["DERIVED", "SECONDARY", "AXIAL", "NOISE"]
    assert told.SeriesDescription == "Thorax_DN removed noise"
    assert (new.SeriesNumber, told.SeriesNumber) == (1003, 2003)
    assert told.DerivationCodeSequence[0].CodeValue == "NOISE"
    assert told.DerivationDescription.startswith("Removed noise: original minus denoised")
    assert told.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    uids = {dataset.SOPInstanceUID for dataset in (old, new, told)}
    assert len(uids) == len({dataset.SeriesInstanceUID for dataset in (old, new, told)}) == 3
    assert told.StudyInstanceUID == old.StudyInstanceUID and told.FrameOfReferenceUID == old.FrameOfReferenceUID


def test_32_bits_are_allocated_in_all_files_where_16_do_not_hold_the_noise_of_one(tmp_path: Path) -> None:
    for z, stored in enumerate((np.full((12, 10), 7), np.full((12, 10), 65000))):
        item = dataset(number=z, z=2.0 * z, stored=stored, signed=False, modality="MR", sop_class=MR)
        save(item, tmp_path / "in" / f"{z}.dcm")
    done, noise = _denoised(tmp_path / "in", tmp_path / "out", np.full((12, 10), 5.0), transfer_syntax="rle")
    for z, value in enumerate((7, 65000)):
        told = pydicom.dcmread(noise / f"{z}.dcm")
        assert (told.BitsAllocated, told.BitsStored, told.HighBit, told.PixelRepresentation) == (32, 32, 31, 1)
        assert (_sum(done, noise, f"{z}.dcm") == value).all()


def test_padding_holds_no_noise_and_overlays_stay_with_the_image(tmp_path: Path) -> None:
    stored = np.full((12, 10), 100)
    stored[0] = 3
    stored[4, 4] |= 0x1000
    item = dataset(stored=stored, bits=12, signed=False, modality="MR", sop_class=MR)
    item.add_new("PixelPaddingValue", "US", 3)
    for tag, vr, value in ((0x0010, "US", 12), (0x0011, "US", 10), (0x0100, "US", 16), (0x0102, "US", 12)):
        item.add_new((0x6000, tag), vr, value)
    save(item, tmp_path / "in" / "a.dcm")
    done, noise = _denoised(tmp_path / "in", tmp_path / "out", np.full((12, 10), 90.0))
    told = pydicom.dcmread(noise / "a.dcm")
    assert (told.pixel_array[0] == 0).all() and (told.pixel_array[1:] == 10).all()
    assert not [tag for tag in told if tag.tag.group == 0x6000]
    assert np.flatnonzero(pydicom.dcmread(done / "a.dcm").overlay_array(0x6000)).tolist() == [44]


def test_frames_of_an_enhanced_file_add_up_with_the_slope_of_each(tmp_path: Path) -> None:
    frames = [
        {"z": 2.0 * z, "slope": 0.5 + z, "intercept": -3.0, "type": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}
        for z in range(4)
    ]
    save(enhanced(frames), tmp_path / "in" / "a.dcm")
    done = copied(opened(tmp_path / "in"), tmp_path / "out", change=9.0, noise_series=True)
    noise = done.with_name(f"{done.name}_noise")
    np.testing.assert_array_equal(_sum(done, noise)[:, 0, 0], range(4))
    told = pydicom.dcmread(noise / "a.dcm")
    values = [group.PixelValueTransformationSequence[0] for group in told.PerFrameFunctionalGroupsSequence]
    assert [float(value.RescaleSlope) for value in values] == [0.5, 1.5, 2.5, 3.5]
    assert {float(value.RescaleIntercept) for value in values} == {0.0}
    assert told.ImageType[3] == "SUBTRACTION"
    assert not [file for file in done.iterdir() if file.suffix == ".part"]


def test_tiles_of_a_mosaic_add_up(tmp_path: Path) -> None:
    save(mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1]), tmp_path / "in" / "a.dcm")
    before = pydicom.dcmread(tmp_path / "in" / "a.dcm").pixel_array
    done = copied(opened(tmp_path / "in"), tmp_path / "out", change=-4.0, noise_series=True)
    np.testing.assert_array_equal(_sum(done, done.with_name(f"{done.name}_noise")), before)


@pytest.mark.parametrize(("family", "modality"), [("1.1", "DX"), ("6.1", "US"), ("12.1", "XA")])
def test_noise_of_unsigned_image_classes_is_a_secondary_capture(family: str, modality: str, tmp_path: Path) -> None:
    storage = "1.2.840.10008.5.1.4.1.1."
    item = dataset(modality=modality, sop_class=f"{storage}{family}", signed=False, bits=8, z=None)
    save(item, tmp_path / "in" / "a.dcm")
    done, noise = _denoised(tmp_path / "in", tmp_path / "out", np.full((12, 10), 50.0))
    told = pydicom.dcmread(noise / "a.dcm")
    assert pydicom.dcmread(done / "a.dcm").SOPClassUID == f"{storage}{family}"
    assert (told.SOPClassUID, told.ConversionType) == (f"{storage}7", "WSD")
    assert told.file_meta.MediaStorageSOPClassUID == told.SOPClassUID
    np.testing.assert_array_equal(_sum(done, noise), np.arange(120).reshape(12, 10))


def test_noise_of_colours_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    for series in series_of(WHEEL / "SC_rgb_small_odd.dcm", tmp_path / "in"):
        trip = travel(series, tmp_path / "out", identity(), noise_series=True)
        assert "The removed noise is kept of grey images only" in trip.outcome


def test_a_failed_rename_of_the_noise_takes_the_images_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "in", [0.0, 2.0])
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(noise_series=True), Provenance())
    for index in range(2):
        sink.write(index, source.read(index))
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if str(target).endswith("_noise"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError, match="No space left"):
        sink.finish()
    sink.abort()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_while_noise_is_widened_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for z in range(2):
        stored = np.full((12, 10), 65000 * z)
        item = dataset(number=z, z=2.0 * z, stored=stored, signed=False, modality="MR", sop_class=MR)
        save(item, tmp_path / "in" / f"{z}.dcm")
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(noise_series=True), Provenance())
    for index in range(2):
        sink.write(index, np.zeros((12, 10), np.float32))

    def fail(*_: object, **__: object) -> None:
        # As pydicom does where a write fails.
        raise OSError("Traceback …") from OSError(28, "No space left on device")

    monkeypatch.setattr(Dataset, "save_as", fail)
    with pytest.raises(UserError) as caught:
        sink.finish()
    sink.abort()
    assert caught.value.message == f"Cannot write to {tmp_path / 'out'}: No space left on device."
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(VERIFIER is None, reason="needs dicom3tools")
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm"])
def test_the_checker_finds_no_new_error_in_noise(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / name
    source.write_bytes((WHEEL / name).read_bytes())
    done = copied(opened(tmp_path / "in"), tmp_path / "out", change=2.0, noise_series=True)
    assert not errors(done.with_name(f"{done.name}_noise") / name) - errors(source)
    assert isinstance(pydicom.dcmread(source), Dataset)
