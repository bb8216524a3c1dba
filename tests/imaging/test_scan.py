"""Folders, files and zips → series."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aegui.events import Done, Found, Progress, Stop, finish
from aegui.imaging import scan
from tests.imaging.made_files import CT, MR, SC, WHEEL, dataset, only, opened, save, scanned, stack


def test_slices_are_sorted_by_position_and_never_by_name_or_number(tmp_path: Path) -> None:
    zs = [5.0, -2.5, 0.0, 2.5]
    stack(tmp_path, zs)
    series = only(tmp_path)
    assert [p[2] for p in series.geometry.positions] == sorted(zs)
    assert [f.name for f in series.files] == ["001.dcm", "002.dcm", "003.dcm", "000.dcm"]
    assert series.geometry.spacing == (2.5, 0.5, 0.75)
    assert (series.rows, series.columns, series.slices, series.unit) == (12, 10, 4, "HU")
    assert series.warnings == ()


def test_without_positions_the_instance_number_orders_and_then_the_name_in_natural_order(tmp_path: Path) -> None:
    for number, name in ((3, "a"), (1, "c"), (2, "b")):
        save(dataset(number=number, z=None), tmp_path / "numbered" / name)
    for i in (10, 9, 1):
        item = dataset(series="1.2.3.2", number=None, z=None, stored=np.full((12, 10), i))
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"1.2.5.{i}"
        save(item, tmp_path / "named" / f"slice{i}")
    named, numbered = scanned(tmp_path).series
    assert [f.name for f in numbered.files] == ["c", "b", "a"]
    assert [f.name for f in named.files] == ["slice1", "slice9", "slice10"]
    assert named.geometry.positions == ()


def test_the_acquisition_names_only_what_the_header_has(tmp_path: Path) -> None:
    save(dataset(KVP=120, ConvolutionKernel=["Br38f", "3"], Manufacturer="MAKER"), tmp_path / "a")
    series = only(tmp_path)
    known = {"kernel": "Br38f\\3", "kvp": 120, "thickness": 2.5, "manufacturer": "MAKER"}
    assert series.acquisition == known | {"image_type": "ORIGINAL\\PRIMARY\\AXIAL"}


def test_no_name_of_a_patient_enters_a_series(tmp_path: Path) -> None:
    save(dataset(), tmp_path / "a")
    series = only(tmp_path)
    assert "Doe" not in repr(series) and "P1" not in repr(series.patient)
    assert series.label.startswith("ANON-")


def test_one_patient_keeps_one_key_and_label_over_folders_and_scans(tmp_path: Path) -> None:
    save(dataset(series="1.2.3.1"), tmp_path / "a" / "x")
    save(dataset(series="1.2.3.2"), tmp_path / "b" / "x")
    save(dataset(series="1.2.3.3", PatientID="P2"), tmp_path / "c" / "x")
    one, two, three = scanned(tmp_path).series
    assert one.patient == two.patient != three.patient
    assert one.label == two.label != three.label
    assert only(tmp_path / "b").label == one.label


def test_files_without_extension_preamble_or_file_meta_are_dicom_all_the_same(tmp_path: Path) -> None:
    save(dataset(z=0.0), tmp_path / "IM0")
    bare = dataset(number=2, z=2.5)
    meta = bare.file_meta
    del bare.file_meta
    bare.save_as(tmp_path / "IM1", implicit_vr=True, little_endian=True)
    assert meta is not None and (tmp_path / "IM1").read_bytes()[128:132] != b"DICM"
    source = opened(tmp_path)
    assert len(source) == 2
    np.testing.assert_array_equal(source.read(0), source.read(1))


def test_texts_and_other_files_are_listed_and_not_taken_for_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("\x08\x00 looks odd " * 40)
    (tmp_path / "README").write_text("read me")
    (tmp_path / "fake.dcm").write_text("not a scan " * 50)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "zeros").write_bytes(bytes(4096))
    result = scanned(tmp_path)
    assert result.series == ()
    assert {s.file.name: s.reason for s in result.skipped} == {
        "notes.txt": "Not an image.",
        "README": "Not an image.",
        "fake.dcm": "Not a DICOM file, whatever its name says.",
        "empty.dcm": "Empty file.",
        "zeros": "Not an image.",
    }


def test_an_empty_folder_gives_an_empty_result(tmp_path: Path) -> None:
    result = scanned(tmp_path)
    assert result.series == () and result.skipped == ()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = scanned(tmp_path / "gone")
    assert [(s.file.name, s.reason) for s in result.skipped] == [("gone", "Does not exist.")]


def test_a_truncated_dicom_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    paths = stack(tmp_path, [0.0, 2.5, 5.0])
    os.truncate(paths[1], paths[1].stat().st_size - 100)
    data = paths[2].read_bytes()
    (tmp_path / "short.dcm").write_bytes(data[:300])
    result = scanned(tmp_path)
    assert result.series[0].slices == 2
    reasons = {s.file.name: s.reason for s in result.skipped}
    assert reasons["001.dcm"] == "Truncated: 58 % of its pixel data are there."
    assert "short.dcm" in reasons


def test_a_truncated_compressed_file_is_noticed_by_its_fragments(tmp_path: Path) -> None:
    data = (WHEEL / "MR_small_RLE.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(data[:-700])
    (skipped,) = scanned(tmp_path).skipped
    assert skipped.reason.startswith("Truncated")


def test_dicom_without_pixels_directories_and_reports_say_what_they_are(tmp_path: Path) -> None:
    save(dataset(PixelData=None), tmp_path / "nopixels")
    for name in ("test-SR.dcm", "rtplan.dcm", "rtstruct.dcm"):
        shutil.copy(WHEEL / name, tmp_path / name)
    shutil.copy(WHEEL / "dicomdirtests" / "DICOMDIR", tmp_path / "DICOMDIR")
    result = scanned(tmp_path)
    assert result.series == ()
    assert {s.file.name: s.reason for s in result.skipped} == {
        "nopixels": "Holds no pixel data.",
        "test-SR.dcm": "Structured report: holds no image.",
        "rtplan.dcm": "Radiotherapy plan: holds no image.",
        "rtstruct.dcm": "Radiotherapy structure set: holds no image.",
        "DICOMDIR": "DICOMDIR: only lists other files. 31 of the 31 files it names are not there.",
    }


def test_unequal_slice_sizes_become_series_of_their_own_with_a_warning(tmp_path: Path) -> None:
    stack(tmp_path / "a", [0.0, 2.5, 5.0])
    save(dataset(number=4, z=7.5, rows=20), tmp_path / "b.dcm")
    small, large = sorted(scanned(tmp_path).series, key=lambda s: s.rows)
    assert (small.uid, large.uid) == ("1.2.3.1", "1.2.3.1#2")
    assert (small.slices, large.slices) == (3, 1)
    assert "Slices of unequal size: 10 × 12 kept apart" in small.warnings
    assert "Slices of unequal size: 10 × 20 kept apart" in large.warnings


def test_unequal_orientations_become_series_of_their_own(tmp_path: Path) -> None:
    stack(tmp_path / "a", [0.0, 2.5])
    save(dataset(number=3, z=9.0, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), tmp_path / "b")
    assert sorted(s.slices for s in scanned(tmp_path).series) == [1, 2]


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("EchoTime", (10, 90), "Echo"),
        ("TemporalPositionIdentifier", (1, 2), "Repeat"),
        ("AcquisitionNumber", (4, 5), "Acquisition"),
    ],
)
def test_repeats_at_one_position_become_volumes_of_their_own(
    tmp_path: Path, keyword: str, values: tuple[int, int], words: str
) -> None:
    number = 0
    for z in (0.0, 3.0, 6.0):
        for value in values:
            number += 1
            save(
                dataset(number=number, z=z, sop_class=MR, modality="MR", **{keyword: value}), tmp_path / f"{number}.dcm"
            )
    first, second = scanned(tmp_path).series
    assert (first.uid, second.uid) == ("1.2.3.1", "1.2.3.1#2")
    assert [f.stem for f in first.files] == ["1", "3", "5"]
    assert first.description == f"Thorax · {words} 1 of 2"
    assert first.geometry == second.geometry


def test_repeats_that_no_element_tells_apart_are_dealt_out_by_number(tmp_path: Path) -> None:
    for number, z in enumerate((0.0, 3.0, 0.0, 3.0), 1):
        save(dataset(number=number, z=z), tmp_path / f"{number}.dcm")
    first, second = scanned(tmp_path).series
    assert [[f.stem for f in s.files] for s in (first, second)] == [["1", "2"], ["3", "4"]]


def test_many_images_of_one_position_stay_one_series(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save(dataset(number=number, z=4.0), tmp_path / f"{number}.dcm")
    series = only(tmp_path)
    assert series.slices == 3 and "3 slices at one position" in series.warnings


def test_gaps_uneven_distances_tilt_and_single_slices_are_told_in_words(tmp_path: Path) -> None:
    stack(tmp_path / "gap", [0, 2, 4, 12, 14], series="1.2.1")
    stack(tmp_path / "uneven", [0, 2, 4, 7, 9], series="1.2.2")
    for i in range(4):
        item = dataset(series="1.2.4", number=i, z=i * 2.0)
        item.ImageOrientationPatient = [1, 0, 0, 0, np.cos(np.radians(12)), -np.sin(np.radians(12))]
        save(item, tmp_path / "tilt" / str(i))
    save(dataset(series="1.2.5"), tmp_path / "one" / "a")
    warnings = {s.files[0].parent.name: s.warnings for s in scanned(tmp_path).series}
    assert warnings["gap"] == ("Gap: 3 slices missing after 3",)
    assert warnings["uneven"] == ("Slice distance varies: 2 to 3 mm",)
    assert warnings["tilt"] == ("Gantry tilt 12°",)
    assert warnings["one"] == ("One slice only",)


def test_missing_uids_are_made_the_same_each_time_and_one_folder_is_one_series(tmp_path: Path) -> None:
    for i in range(3):
        item = dataset(number=i, z=i * 2.0, StudyInstanceUID="", SeriesInstanceUID="", PatientID="")
        item.SOPInstanceUID = item.SOPClassUID = ""
        save(item, tmp_path / f"{i}")
    series, again = only(tmp_path), only(tmp_path)
    assert series == again
    assert series.slices == 3 and series.uid.startswith("2.25.") and series.study_uid.startswith("2.25.")
    assert "Study and Series UID missing: made from the files" in series.warnings
    assert "SOP Instance UIDs taken from the file meta" in series.warnings


def test_localizers_captures_and_colour_can_be_seen_but_not_denoised(tmp_path: Path) -> None:
    stack(tmp_path / "a", [0.0, 2.5])
    save(dataset(number=9, z=1.0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path / "scout")
    save(dataset(series="1.2.7", sop_class=SC, modality="OT"), tmp_path / "capture")
    shutil.copy(WHEEL / "examples_palette.dcm", tmp_path / "palette.dcm")
    shutil.copy(WHEEL / "examples_rgb_color.dcm", tmp_path / "rgb.dcm")
    shutil.copy(WHEEL / "liver_1frame.dcm", tmp_path / "seg.dcm")
    found = {s.files[0].name: (s.treat, s.reason) for s in scanned(tmp_path).series}
    assert found == {
        "000.dcm": ("denoise", ""),
        "scout": ("view", "Localizer: shown, not denoised."),
        "capture": ("view", "Secondary capture: shown, not denoised."),
        "palette.dcm": ("view", "Palette colours: shown, not denoised."),
        "rgb.dcm": ("view", "Colour ultrasound: shown, not denoised."),
        "seg.dcm": ("list", "Segmentation: not a scan."),
    }


def test_a_copied_file_is_counted_once_as_a_copy(tmp_path: Path) -> None:
    paths = stack(tmp_path, [0.0, 2.5])
    shutil.copy(paths[0], tmp_path / "copy.dcm")
    result = scanned(tmp_path)
    assert result.series[0].slices == 2
    assert [s.reason for s in result.skipped] == ["Copy of 000.dcm."]


def test_a_file_given_twice_is_found_once(tmp_path: Path) -> None:
    stack(tmp_path / "a", [0.0, 2.5])
    assert scanned(tmp_path, tmp_path / "a").series[0].slices == 2


def test_images_are_grouped_by_folder_size_and_the_patient_in_their_names(tmp_path: Path) -> None:
    for name in ("SC-HF-I-06-IM-0001-0079", "SC-HF-I-06-IM-0001-0080", "SC-N-03-IM-0001-0009"):
        Image.fromarray(np.zeros((8, 6), np.uint8)).save(tmp_path / f"{name}.dcm.png")
    Image.fromarray(np.zeros((9, 6), np.uint8)).save(tmp_path / "SC-N-03-IM-0001-0010.dcm.png")
    one, two, three = scanned(tmp_path).series
    assert [s.slices for s in (one, two, three)] == [2, 1, 1]
    assert one.patient != two.patient == three.patient


def test_class_folders_keep_their_names_and_their_patients(tmp_path: Path) -> None:
    for kind in ("lesion", "healthy"):
        (tmp_path / kind).mkdir()
        np.save(tmp_path / kind / "subject7_slice_001.npy", np.zeros((5, 5)))
    healthy, lesion = scanned(tmp_path).series
    assert (healthy.description, lesion.description) == ("healthy", "lesion")
    assert healthy.files[0].parent.name == "healthy"
    assert healthy.patient == lesion.patient


def test_a_pixel_size_that_no_file_tells_is_not_called_measured(tmp_path: Path) -> None:
    pixels = Image.fromarray(np.zeros((8, 8), np.uint8))
    for name, options in (("plain", {}), ("screen", {"dpi": (96, 96)}), ("scanned", {"dpi": (127, 127)})):
        (tmp_path / name).mkdir()
        pixels.save(tmp_path / name / "a.png", **options)
    (tmp_path / "array").mkdir()
    np.save(tmp_path / "array" / "a.npy", np.zeros((3, 8, 8), np.float32))
    save(dataset(PixelSpacing=[1, 1]), tmp_path / "dicom" / "a.dcm")
    save(dataset(PixelSpacing=None), tmp_path / "bare" / "a.dcm")
    names = ("plain", "screen", "scanned", "array", "dicom", "bare")
    assert [name for name in names if only(tmp_path / name).geometry.measured] == ["scanned", "dicom"]


def test_grey_pictures_stored_as_rgb_are_grey(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    (tmp_path / "a").mkdir()
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "a" / "x1.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(np.stack([grey, grey, 0 * grey], axis=2)).save(tmp_path / "b" / "x1.png")
    a, b = scanned(tmp_path).series
    assert (a.channels, b.channels) == (1, 3)


def test_raw_files_belong_to_their_header_and_a_missing_one_is_named(tmp_path: Path) -> None:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 2\nElementType = MET_SHORT\nElementSpacing = 1 2 3\n"
    values = np.arange(40, dtype="<i2").reshape(2, 5, 4)
    for i in (1, 2):
        (tmp_path / f"part_{i:03d}.raw").write_bytes(values[i - 1].tobytes())
    (tmp_path / "whole.mhd").write_text(f"{head}ElementDataFile = part_%03d.raw 1 2 1\n")
    (tmp_path / "lost.mhd").write_text(f"{head}ElementDataFile = gone.raw\n")
    result = scanned(tmp_path)
    (series,) = result.series
    assert [f.name for f in series.files] == ["whole.mhd", "part_001.raw", "part_002.raw"]
    assert (series.slices, series.rows, series.columns, series.geometry.spacing) == (2, 5, 4, (3.0, 2.0, 1.0))
    assert [(s.file.name, s.reason) for s in result.skipped] == [("lost.mhd", "Its data file gone.raw is missing.")]


def test_arrays_of_three_dimensions_are_volumes_and_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.zeros((4, 6, 5), np.float32))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    result = scanned(tmp_path)
    assert (result.series[0].form, result.series[0].slices) == ("volume", 4)
    assert [s.file.name for s in result.skipped] == ["objects.npy"]


def test_hounsfield_arrays_without_a_header_are_taken_for_ct_and_say_so(tmp_path: Path) -> None:
    np.save(tmp_path / "ct1.npy", np.linspace(-1000, 800, 64, dtype=np.float32).reshape(8, 8))
    series = only(tmp_path)
    assert (series.modality, series.unit) == ("CT", "HU")
    assert "Taken for CT by its values" in series.warnings


def test_progress_comes_first_then_every_series_then_the_result(tmp_path: Path) -> None:
    stack(tmp_path / "a", [0.0, 2.5])
    save(dataset(series="1.2.8"), tmp_path / "b")
    events = list(scan([tmp_path]))
    assert isinstance(events[0], Progress) and isinstance(events[-1], Done)
    assert [e.series.uid for e in events if isinstance(e, Found)] == [s.uid for s in events[-1].result.series]


def test_a_scan_that_is_stopped_still_gives_what_it_has(tmp_path: Path) -> None:
    stack(tmp_path, [0.0, 2.5])
    job = scan([tmp_path])
    next(job)
    event = job.throw(Stop())
    while not isinstance(event, Done):
        event = next(job)
    assert event.result.series == ()
    assert [s.reason for s in event.result.skipped] == ["Not read: the scan was stopped."] * 2


def test_a_scan_that_is_abandoned_leaves_no_thread(tmp_path: Path) -> None:
    stack(tmp_path, [0.0, 2.5])
    job = scan([tmp_path])
    next(job)
    job.close()  # type: ignore[attr-defined]


def test_outputs_in_the_making_are_passed_by(tmp_path: Path) -> None:
    save(dataset(), tmp_path / ".out.abc.part" / "a.dcm")
    result = finish(scan([tmp_path]))
    assert result.series == () and result.skipped == ()


def test_all_files_of_the_pydicom_wheel_are_counted_once() -> None:
    result = scanned(WHEEL)
    assert len(result.series) > 30
    assert all(skipped.reason.endswith(".") for skipped in result.skipped)
    assert CT


def test_the_shared_scans_give_the_series_they_hold(shared: Path) -> None:
    abdomen = only(shared / "ct_abdomen_j2k")
    assert (abdomen.slices, abdomen.geometry.spacing[0], abdomen.unit) == (20, 2.0, "HU")
    bold = scanned(shared / "mr_bold_repeats").series
    assert [s.slices for s in bold] == [35] * 12
    assert len({s.geometry for s in bold}) == 1
    t1 = only(shared / "mr_t1_studyforrest")
    assert (t1.slices, t1.rows, t1.columns) == (200, 384, 274)
    assert len(scanned(shared / "ct_chest_tcga").series) == 69
    assert len({s.patient for s in scanned(shared / "ct_chest_tcga").series}) == 40
    assert len({s.patient for s in scanned(shared / "mr_cine_sunnybrook").series}) == 30
    assert [len(s.files) for s in scanned(shared / "ct_noise_fda").series] == [41]


def test_awkward_geometry_is_told(shared: Path) -> None:
    found = {}
    for series in scanned(shared / "geometry_cases").series:
        if series.form == "dicom":
            found.setdefault(series.files[0].relative_to(shared / "geometry_cases").parts[1], []).append(series)
    assert found["gantrytilting"][0].warnings == ("Gantry tilt 14°",)
    assert found["notavolume"][0].warnings == ("4 slices at one position",)
    assert "Gap: 1 slice missing after 3" in found["sliceincrement"][0].warnings
    assert [s.slices for s in found["sliceorientation"]] == [2, 2]
    assert found["rgb"][0].treat == "view"
    assert [s.slices for s in found["anatomical"]] == [8, 8, 8]
