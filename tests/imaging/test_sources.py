"""Series → slices in real units, with what is padding."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from aegui.errors import UserError
from aegui.imaging import WINDOWS, auto_window, open_series, thumbnail, window_for
from tests.imaging.made_files import MR, WHEEL, dataset, only, opened, save, scanned, stack


def test_values_come_rescaled_slice_by_slice(tmp_path: Path) -> None:
    save(dataset(number=1, z=0.0, RescaleSlope=2, RescaleIntercept=-1000), tmp_path / "a")
    save(dataset(number=2, z=1.0, RescaleSlope="0.5", RescaleIntercept=7), tmp_path / "b")
    source = opened(tmp_path)
    ramp = np.arange(120).reshape(12, 10)
    assert source.read(0).dtype == np.float32
    np.testing.assert_array_equal(source.read(0), ramp * 2 - 1000)
    np.testing.assert_array_equal(source.read(1), ramp * 0.5 + 7)
    assert len(source) == 2
    with pytest.raises(IndexError):
        source.read(2)


def test_inverted_pictures_keep_their_values_and_say_so(tmp_path: Path) -> None:
    save(dataset(PhotometricInterpretation="MONOCHROME1", modality="CR"), tmp_path / "a")
    source = opened(tmp_path)
    np.testing.assert_array_equal(source.read(0).ravel(), np.arange(120))
    assert source.series.acquisition["photometric"] == "MONOCHROME1"
    assert thumbnail(source.series, 32)[16, 5] > thumbnail(source.series, 32)[30, 26]


def test_unused_bits_above_the_stored_ones_do_not_count(tmp_path: Path) -> None:
    stored = np.full((12, 10), 100)
    stored[0, 0] = 100 | 0x8000
    save(dataset(bits=12, signed=False, stored=stored, modality="MR", sop_class=MR), tmp_path / "a")
    assert np.unique(opened(tmp_path).read(0)).tolist() == [100]


@pytest.mark.parametrize("padding", [-2000, 63536])
def test_padding_is_found_whether_its_value_is_written_signed_or_not(tmp_path: Path, padding: int) -> None:
    stored = np.full((12, 10), 1000)
    stored[:3] = -2000
    item = dataset(stored=stored, modality="MR", sop_class=MR)
    item.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
    save(item, tmp_path / "a")
    np.testing.assert_array_equal(opened(tmp_path).valid(0), stored == 1000)


def test_a_padding_range_covers_what_lies_between(tmp_path: Path) -> None:
    item = dataset(stored=np.arange(120).reshape(12, 10), modality="MR", sop_class=MR)
    item.add_new("PixelPaddingValue", "SS", 0)
    item.add_new("PixelPaddingRangeLimit", "SS", 9)
    save(item, tmp_path / "a")
    assert opened(tmp_path).valid(0).sum() == 110


def test_ct_outside_the_field_of_view_is_not_valid(tmp_path: Path) -> None:
    stored = np.full((40, 40), 1000)
    stored[:5] = -1976  # −3000 HU
    save(dataset(stored=stored, rows=40, columns=40), tmp_path / "a")
    np.testing.assert_array_equal(opened(tmp_path).valid(0), stored == 1000)


def test_constant_corners_outside_the_circle_of_a_ct_are_not_valid(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 31.5
    stored = rng.integers(20, 60, (64, 64))
    stored[np.hypot(x, y) > 32] = 0
    save(dataset(stored=stored, rows=64, columns=64), tmp_path / "a")
    valid = opened(tmp_path).valid(0)
    assert not valid[0, 0] and not valid[-1, -1] and valid[32, 0] and valid[10, 32]
    save(dataset(stored=rng.integers(0, 9, (64, 64)), rows=64, columns=64), tmp_path / "b" / "a")
    assert opened(tmp_path / "b").valid(0).all()


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small_implicit"],
)
def test_every_encoding_of_one_image_reads_the_same(tmp_path: Path, name: str) -> None:
    shutil.copy(WHEEL / f"{name}.dcm", tmp_path / "a.dcm")
    expected = pydicom.dcmread(WHEEL / "MR_small.dcm").pixel_array
    np.testing.assert_array_equal(opened(tmp_path).read(0), expected)


def test_twelve_bit_jpeg_goes_through_the_second_decoder(tmp_path: Path) -> None:
    shutil.copy(WHEEL / "JPGExtended.dcm", tmp_path / "a.dcm")
    pixels = opened(tmp_path).read(0)
    assert pixels.shape == (1024, 256) and pixels.max() > 200
    np.testing.assert_array_equal(pixels, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.dcm")))[0])


def test_frames_of_one_file_are_slices_in_the_order_of_their_positions(shared: Path) -> None:
    folder = shared / "geometry_cases" / "philips_enhanced" / "anatomical" / "001"
    source = opened(folder)
    truth = sitk.ReadImage(str(folder.parent / "001_ground_truth.nii.gz"))
    values = sitk.GetArrayFromImage(truth)
    ours = np.stack([source.read(i) for i in range(len(source))])
    # NIfTI keeps no order of its own: compare up to the flips of its axes.
    flips = [values[::a, ::b, ::c] for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    assert min(np.abs(ours - flip).max() for flip in flips) < 0.01
    assert source.series.geometry.spacing == pytest.approx((1.2, 1.0, 1.0), abs=1e-4)


def test_truncated_pixels_are_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    (path,) = stack(tmp_path, [0.0])
    source = opened(tmp_path)
    os.truncate(path, path.stat().st_size - 50)
    with pytest.raises(UserError, match=r"000\.dcm"):
        source.read(0)
    (png := tmp_path / "p").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50), dtype=np.uint8)).save(png / "x.png")
    os.truncate(png / "x.png", 300)
    with pytest.raises(UserError, match=r"x\.png"):
        opened(png).read(0)


def test_a_file_that_has_gone_is_named_when_the_series_is_opened(tmp_path: Path) -> None:
    (path,) = stack(tmp_path, [0.0])
    series = only(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"000\.dcm is no longer there"):
        open_series(series)


def test_two_threads_read_one_source_alike(tmp_path: Path) -> None:
    stack(tmp_path, [float(z) for z in range(12)])
    source = opened(tmp_path)
    expected = [source.read(i) for i in range(12)]
    wrong: list[int] = []

    def read(seed: int) -> None:
        order = [int(i) for i in np.random.default_rng(seed).integers(0, 12, 60)]
        wrong.extend(i for i in order if not np.array_equal(source.read(i), expected[i]) or not source.valid(i).all())

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_images_of_many_kinds_read_as_they_are(tmp_path: Path) -> None:
    grey = (np.arange(30).reshape(5, 6) * 8).astype(np.uint8)
    deep = (np.arange(30).reshape(5, 6) * 2000).astype(np.uint16)
    real = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 6)
    colour = np.stack([grey, grey[::-1], grey.T.reshape(5, 6)], axis=2)
    kinds = {
        "grey.png": grey,
        "deep.png": deep,
        "colour.png": colour,
        "deep.tif": deep,
        "real.tiff": real,
        "double.npy": real.astype(np.float64),
        "colour.npy": colour,
    }
    for name, values in kinds.items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        if name.endswith(".png"):
            Image.fromarray(values).save(folder / name)
        elif name.endswith(".npy"):
            np.save(folder / name, values)
        else:
            tifffile.imwrite(folder / name, values)
        source = opened(folder)
        np.testing.assert_array_equal(source.read(0), values.astype(np.float32), err_msg=name)
        assert source.series.channels == (3 if values.ndim == 3 else 1)
        assert source.series.bits == values.dtype.itemsize * 8


def test_not_a_number_reads_as_zero_and_is_not_valid(tmp_path: Path) -> None:
    values = np.ones((4, 4), np.float32)
    values[1, 2] = np.nan
    np.save(tmp_path / "a.npy", values)
    source = opened(tmp_path)
    assert source.read(0)[1, 2] == 0 and np.isfinite(source.read(0)).all()
    np.testing.assert_array_equal(source.valid(0), np.isfinite(values))


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii", "v.nrrd", "v.mha", "v.mhd"])
def test_volumes_read_with_their_geometry(tmp_path: Path, name: str) -> None:
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((10.0, -5.0, 3.0))
    image.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / name))
    source = opened(tmp_path)
    geometry = source.series.geometry
    np.testing.assert_array_equal(np.stack([source.read(i) for i in range(3)]), values)
    assert geometry.spacing == pytest.approx((2.0, 0.75, 0.5))
    assert geometry.orientation == pytest.approx((0, 1, 0, 0, 0, 1))
    assert geometry.positions[2] == pytest.approx(image.TransformIndexToPhysicalPoint((0, 0, 2)), abs=1e-5)


def test_a_volume_that_is_cut_off_is_listed_or_refused(tmp_path: Path) -> None:
    for name in ("v.mha", "v.nii", "v.nii.gz"):
        sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).random((5, 40, 40))), str(tmp_path / name))
        os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
    result = scanned(tmp_path)
    assert not result.series and len(result.skipped) == 3


def test_the_window_of_the_file_comes_before_the_automatic_one(tmp_path: Path) -> None:
    save(dataset(WindowCenter=[40, 300], WindowWidth=[350, 1500]), tmp_path / "a" / "a")
    save(dataset(), tmp_path / "b" / "b")
    assert window_for(only(tmp_path / "a")) == (350.0, 40.0)
    width, level = window_for(only(tmp_path / "b"))
    assert -1024 < level < -900 and 100 < width < 125


def test_enhanced_objects_keep_their_window_in_the_frame(tmp_path: Path) -> None:
    item = dataset(NumberOfFrames=2, stored=np.zeros((24, 10)))
    item.Rows = 12
    item.PerFrameFunctionalGroupsSequence = [pydicom.Dataset(), pydicom.Dataset()]
    for group, (width, level) in zip(item.PerFrameFunctionalGroupsSequence, [(80, 40), (1500, -600)], strict=True):
        group.FrameVOILUTSequence = [pydicom.Dataset()]
        group.FrameVOILUTSequence[0].WindowWidth, group.FrameVOILUTSequence[0].WindowCenter = width, level
    save(item, tmp_path / "a")
    assert window_for(only(tmp_path)) == (1500.0, -600.0)


def test_automatic_windows_fit_the_slice() -> None:
    rng = np.random.default_rng(0)
    body_and_air = rng.normal(40, 30, (50, 50)) - 1000 * (rng.random((50, 50)) < 0.5)
    assert auto_window(body_and_air, None, "CT") == WINDOWS["Mediastinum"]
    width, level = auto_window(rng.uniform(0, 1000, (50, 50)), None, "MR")
    assert width == pytest.approx(990, abs=20) and level == pytest.approx(500, abs=20)
    assert auto_window(np.full((4, 4), 7.0))[0] > 0
    mask = np.zeros((4, 4), bool)
    assert auto_window(np.zeros((4, 4)), mask)[0] > 0


def test_thumbnails_are_square_grey_and_keep_the_shape_of_the_slice(tmp_path: Path) -> None:
    save(
        dataset(rows=40, columns=20, PixelSpacing=[1, 1], stored=np.full((40, 20), 5) + np.eye(40, 20, dtype=int)),
        tmp_path / "a",
    )
    small = thumbnail(only(tmp_path), 64)
    assert small.shape == (64, 64) and small.dtype == np.uint8
    assert not small[:, :14].any() and not small[:, 50:].any() and small[:, 20:44].any()


def test_a_broken_series_has_a_black_thumbnail(tmp_path: Path) -> None:
    (path,) = stack(tmp_path, [0.0])
    series = only(tmp_path)
    os.truncate(path, path.stat().st_size - 50)
    assert not thumbnail(series, 32).any()
