"""What the frames of one multi-frame file become."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from aegui.imaging import Series, open_series
from aegui.imaging.dicom.frames import frames_of
from tests.imaging.made_files import dataset, only, save, scanned
from tests.imaging.made_frames import ENHANCED_CT, enhanced

NM = "1.2.840.10008.5.1.4.1.1.20"
SIDEWAYS = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def frames(found: list[Series]) -> dict[str, tuple[int, ...]]:
    return {series.description.removeprefix("Thorax").strip(" ·"): series.frames for series in found}


def test_echoes_of_an_enhanced_file_become_volumes_with_their_own_frames(tmp_path: Path) -> None:
    told = [{"z": z, "te": te} for z in (6.0, 0.0, 3.0) for te in (80.0, 20.0)]
    save(enhanced(told), tmp_path / "a.dcm")
    first, second = found = list(scanned(tmp_path).series)
    assert frames(found) == {"Echo 1 of 2": (3, 5, 1), "Echo 2 of 2": (2, 4, 0)}
    assert (first.uid, second.uid) == ("1.2.3.1", "1.2.3.1#2")
    assert first.files == second.files and first.geometry == second.geometry
    assert first.geometry.spacing == (3.0, 0.5, 0.75)
    assert [series.acquisition["te"] for series in found] == [20, 80]
    source = open_series(second)
    assert [float(source.read(i)[0, 0]) for i in range(3)] == [2.0, 4.0, 0.0]


def test_every_mark_of_frames_tells_volumes_apart(tmp_path: Path) -> None:
    for name, values, words in (
        ("b", (0.0, 1000.0), ("b 0", "b 1000")),
        ("temporal", (1, 2), ("Repeat 1 of 2", "Repeat 2 of 2")),
        ("trigger", (10.0, 200.0), ("Phase 1 of 2", "Phase 2 of 2")),
        ("component", ("MAGNITUDE", "PHASE"), ("Magnitude", "Phase")),
    ):
        told = [{"z": z, name: value} for value in values for z in (0.0, 3.0)]
        save(enhanced(told, series=f"1.2.{len(name)}.7"), tmp_path / name / "a.dcm")
        assert frames(list(scanned(tmp_path / name).series)) == {words[0]: (0, 1), words[1]: (2, 3)}, name


def test_frames_that_nothing_tells_apart_are_dealt_out_in_their_order(tmp_path: Path) -> None:
    save(enhanced([{"z": z} for z in (0.0, 0.0, 3.0, 3.0)]), tmp_path / "a.dcm")
    assert frames(list(scanned(tmp_path).series)) == {"Repeat 1 of 2": (0, 2), "Repeat 2 of 2": (1, 3)}


def test_frames_of_two_orientations_are_two_stacks_and_both_are_denoised(tmp_path: Path) -> None:
    told = [{"z": 0.0, "stack": "1"}, {"z": 3.0, "stack": "1"}, {"z": 1.0, "stack": "2", "axes": SIDEWAYS}]
    save(enhanced(told), tmp_path / "a.dcm")
    large, small = scanned(tmp_path).series
    assert (large.frames, small.frames) == ((0, 1), (2,))
    assert {series.treat for series in (large, small)} == {"denoise"}
    assert "Slices of unequal orientation kept apart" in small.warnings


def test_stacks_of_one_orientation_stay_apart_too(tmp_path: Path) -> None:
    told = [{"z": z, "stack": stack} for stack in ("A", "B") for z in ((0.0, 3.0) if stack == "A" else (100.0, 103.0))]
    save(enhanced(told), tmp_path / "a.dcm")
    assert [series.frames for series in scanned(tmp_path).series] == [(0, 1), (2, 3)]


def test_a_derived_map_among_the_frames_is_shown_only(tmp_path: Path) -> None:
    plain, adc = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
    told = [{"z": z, "type": kind} for kind in (plain, adc) for z in (0.0, 3.0)]
    save(enhanced(told, ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "MIXED"]), tmp_path / "a.dcm")
    images, map_ = scanned(tmp_path).series
    assert (images.frames, images.treat) == ((0, 1), "denoise")
    assert (map_.frames, map_.treat, map_.reason) == ((2, 3), "view", "Derived map: shown, not denoised.")


def test_each_frame_keeps_its_own_rescale(tmp_path: Path) -> None:
    told = [{"z": 3.0 * i, "slope": 2.0 + i, "intercept": -1.0} for i in (1, 0)]
    save(enhanced(told), tmp_path / "a.dcm")
    series = only(tmp_path)
    assert series.frames == (1, 0)
    source = open_series(series)
    # Frame n holds n everywhere; frame 1 lies first.
    assert [float(source.read(i)[0, 0]) for i in range(2)] == [1 * 2.0 - 1, 0 * 3.0 - 1]


def test_enhanced_files_of_one_frame_make_one_stack(tmp_path: Path) -> None:
    for i, z in enumerate((6.0, 0.0, 3.0)):
        save(enhanced([{"z": z}], sop_class=ENHANCED_CT, number=i), tmp_path / f"{i}.dcm")
    series = only(tmp_path)
    assert [file.stem for file in series.files] == ["1", "2", "0"]
    assert series.frames == () and series.geometry.spacing == (3.0, 0.5, 0.75)


def test_two_enhanced_files_at_the_same_places_are_repeats(tmp_path: Path) -> None:
    for i in (1, 2):
        told = [{"z": z} for z in (0.0, 3.0)]
        save(enhanced(told, number=i, AcquisitionTime=f"10000{i}"), tmp_path / f"{i}.dcm")
    assert frames(list(scanned(tmp_path).series)) == {"Repeat 1 of 2": (0, 1), "Repeat 2 of 2": (0, 1)}


def test_reconstructed_slices_of_nuclear_medicine_know_where_they_lie(tmp_path: Path) -> None:
    item = dataset(sop_class=NM, modality="NM", z=None, stored=np.zeros((4, 12, 10)), NumberOfFrames=4, series="1.2.8")
    item.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    item.SliceVector = [1, 2, 3, 4]
    item.SpacingBetweenSlices = 4.0
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [0, 0, 50], [1, 0, 0, 0, -1, 0]
    item.DetectorInformationSequence = Sequence([detector])
    save(item, tmp_path / "tomo.dcm")
    series = only(tmp_path)
    # The normal points downwards: slice 1 is at 50 mm, slice 4 at 38.
    assert [place[2] for place in series.geometry.positions] == [50, 46, 42, 38]
    assert series.geometry.spacing[0] == 4.0


def test_energy_windows_and_detectors_of_nuclear_medicine_are_volumes(tmp_path: Path) -> None:
    item = dataset(sop_class=NM, modality="NM", z=None, stored=np.zeros((4, 12, 10)), NumberOfFrames=4)
    item.EnergyWindowVector, item.DetectorVector = [1, 1, 2, 2], [1, 2, 1, 2]
    save(item, tmp_path / "a.dcm")
    assert frames(list(scanned(tmp_path).series)) == {
        "Energy window 1 of 2 · Detector 1 of 2": (0,),
        "Energy window 1 of 2 · Detector 2 of 2": (1,),
        "Energy window 2 of 2 · Detector 1 of 2": (2,),
        "Energy window 2 of 2 · Detector 2 of 2": (3,),
    }


def test_a_loop_of_frames_without_places_stays_as_it_is(tmp_path: Path) -> None:
    us = "1.2.840.10008.5.1.4.1.1.3.1"
    item = dataset(sop_class=us, modality="US", z=None, stored=np.zeros((5, 12, 10)), NumberOfFrames=5)
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.slices, series.frames, series.treat) == (5, (0, 1, 2, 3, 4), "denoise")


def test_real_enhanced_files_of_pydicom(tmp_path: Path) -> None:
    folder = Path(pytest.importorskip("data_store").__file__).parent / "data"
    for name in ("eCT_Supplemental.dcm", "emri_small.dcm"):
        shutil.copy(folder / name, tmp_path / name)
    perfusion, head = scanned(tmp_path).series
    # Two frames of regional cerebral blood flow, the second 10 mm further along the normal, which points downwards.
    assert (perfusion.frames, perfusion.geometry.spacing[0]) == ((1, 0), 10.0)
    assert (perfusion.treat, perfusion.reason, perfusion.unit) == ("view", "Derived map: shown, not denoised.", "")
    assert perfusion.acquisition["thickness"] == 10 and "stored" in perfusion.acquisition["real_world"]
    # Ten frames without functional groups.
    assert (head.slices, head.frames, head.treat) == (10, tuple(range(10)), "denoise")


def test_a_file_that_claims_more_frames_than_anyone_has_is_named(tmp_path: Path) -> None:
    item = enhanced([{"z": 0.0}, {"z": 3.0}])
    item.NumberOfFrames = 5_000_000
    with pytest.raises(ValueError, match="5000000 frames"):
        frames_of(item)


def test_an_enhanced_file_without_groups_per_frame_is_still_a_stack(tmp_path: Path) -> None:
    item = enhanced([{"z": 0.0}, {"z": 3.0}])
    item.PerFrameFunctionalGroupsSequence = Sequence([])
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.slices, series.geometry.positions) == (2, ())
