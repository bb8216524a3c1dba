"""What one series, or one multi-frame file, splits into."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from aegui.imaging import Series
from aegui.imaging.dicom import grouping
from aegui.imaging.dicom.headers import Header, read_header
from aegui.imaging.geometry import obstacle
from tests.imaging.made_files import MR, dataset, only, save, scanned
from tests.imaging.made_frames import ENHANCED_CT, enhanced

PT = "1.2.840.10008.5.1.4.1.1.128"


def classic(folder: Path, slices: list[dict[str, Any]], **more: Any) -> list[Series]:
    """The series of MR files of these slices (z and what else), numbered in the order given."""
    for number, told in enumerate(slices, 1):
        told = dict(told)
        change = told.pop("change", None)
        item = dataset(number=number, sop_class=MR, modality="MR", **{**more, **told})
        if change:
            change(item)
        save(item, folder / f"{number:03d}.dcm")
    return list(scanned(folder).series)


def names(found: list[Series]) -> dict[str, list[str]]:
    """Files of each volume by what its description adds."""
    return {
        series.description.removeprefix("Thorax").strip(" ·"): [f.stem[1:] for f in series.files] for series in found
    }


def private(group: int, creator: str, element: int, vr: str, value: Any) -> Any:
    def change(item: Dataset) -> None:
        item.private_block(group, creator, create=True).add_new(element, vr, value)

    return change


# ------------------------------------------------------------------------------------------ classic files


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("EchoTime", (10, 90), ("Echo 1 of 2", "Echo 2 of 2")),
        ("EchoNumbers", (1, 2), ("Echo 1 of 2", "Echo 2 of 2")),
        ("InversionTime", (100, 900), ("Inversion 1 of 2", "Inversion 2 of 2")),
        ("DiffusionBValue", (0, 1000), ("b 0", "b 1000")),
        ("TemporalPositionIdentifier", (1, 2), ("Repeat 1 of 2", "Repeat 2 of 2")),
        ("AcquisitionNumber", (4, 5), ("Acquisition 1 of 2", "Acquisition 2 of 2")),
        ("AcquisitionTime", ("101500", "101600"), ("Repeat 1 of 2", "Repeat 2 of 2")),
        ("SequenceName", ("*ep_b1000#1", "*ep_b1000#2"), ("Direction 1 of 2", "Direction 2 of 2")),
    ],
)
def test_what_differs_at_one_position_names_the_volumes(
    tmp_path: Path, keyword: str, values: tuple[Any, Any], words: tuple[str, str]
) -> None:
    found = classic(tmp_path, [{"z": z, keyword: value} for z in (0.0, 3.0, 6.0) for value in values])
    assert names(found) == {words[0]: ["01", "03", "05"], words[1]: ["02", "04", "06"]}
    assert [series.uid for series in found] == ["1.2.3.1", "1.2.3.1#2"]
    assert found[0].geometry == found[1].geometry


@pytest.mark.parametrize(
    ("maker", "tag", "vr", "raw"),
    [
        ("SIEMENS", (0x0019, "SIEMENS MR HEADER", 0x0C), "IS", ("0", "1000")),
        ("Philips Medical Systems", (0x2001, "Philips Imaging DD 001", 0x03), "FL", (0.0, 1000.0)),
        (
            "GE MEDICAL SYSTEMS",
            (0x0043, "GEMS_PARM_01", 0x39),
            "IS",
            (["0", "8", "0", "0"], ["1000001000", "8", "0", "0"]),
        ),
    ],
)
def test_b_values_of_the_makers_count_where_the_standard_one_is_absent(
    tmp_path: Path, maker: str, tag: tuple[int, str, int], vr: str, raw: tuple[Any, Any]
) -> None:
    found = classic(
        tmp_path,
        [{"z": z, "change": private(*tag, vr, value)} for value in raw for z in (0.0, 3.0)],
        Manufacturer=maker,
    )
    assert names(found) == {"b 0": ["01", "02"], "b 1000": ["03", "04"]}
    assert [series.acquisition["b_value"] for series in found] == [0, 1000]


def test_directions_of_one_b_value_are_no_repeats(tmp_path: Path) -> None:
    slices = [{"z": z, "DiffusionBValue": 0} for z in (0.0, 3.0)]
    axes = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    slices += [{"z": z, "DiffusionBValue": 800, "DiffusionGradientOrientation": a} for a in axes for z in (0.0, 3.0)]
    found = classic(tmp_path, slices)
    assert set(names(found)) == {"b 0", "b 800 · Direction 1 of 2", "b 800 · Direction 2 of 2"}
    unknown = classic(tmp_path / "b", [{"z": z, "DiffusionBValue": 800} for _ in range(2) for z in (0.0, 3.0)])
    assert set(names(unknown)) == {"Volume 1 of 2", "Volume 2 of 2"}


def test_magnitude_and_phase_part_and_only_magnitude_is_denoised(tmp_path: Path) -> None:
    slices = [
        {"z": z, "EchoTime": te, "ImageType": ["ORIGINAL", "PRIMARY", part, "ND"]}
        for z in (0.0, 3.0)
        for te in (5, 10)
        for part in ("M", "P")
    ]
    found = classic(tmp_path, slices)
    assert {series.description: series.treat for series in found} == {
        "Thorax · Magnitude · Echo 1 of 2": "denoise",
        "Thorax · Magnitude · Echo 2 of 2": "denoise",
        "Thorax · Phase · Echo 1 of 2": "view",
        "Thorax · Phase · Echo 2 of 2": "view",
    }
    assert [s.reason for s in found if s.treat == "view"] == ["Phase image: shown, not denoised."] * 2


def test_the_complex_component_of_ge_is_told_by_a_private_number(tmp_path: Path) -> None:
    slices = [
        {"z": z, "change": private(0x0043, "GEMS_PARM_01", 0x2F, "SS", number)} for z in (0.0, 3.0) for number in (0, 1)
    ]
    found = classic(tmp_path, slices, Manufacturer="GE MEDICAL SYSTEMS")
    assert {series.description: series.treat for series in found} == {
        "Thorax · Magnitude": "denoise",
        "Thorax · Phase": "view",
    }


def test_water_and_fat_are_told_by_what_differs_in_their_image_type(tmp_path: Path) -> None:
    slices = [
        {"z": z, "ImageType": ["DERIVED", "PRIMARY", "DIXON", kind]} for z in (0.0, 3.0) for kind in ("WATER", "FAT")
    ]
    assert set(names(classic(tmp_path, slices))) == {"WATER", "FAT"}


def test_a_map_in_a_series_of_images_is_kept_apart_wherever_it_lies(tmp_path: Path) -> None:
    slices = [{"z": z} for z in (0.0, 3.0)]
    slices += [{"z": 6.0, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}]
    found = classic(tmp_path, slices)
    assert {series.description: (series.slices, series.treat) for series in found} == {
        "Thorax": (2, "denoise"),
        "Thorax · Derived map": (1, "view"),
    }


def test_phases_of_a_heart_beat_are_counted_at_each_slice(tmp_path: Path) -> None:
    # The heart beats a little faster at the second slice, so no trigger time is met twice.
    slices = [{"z": z, "TriggerTime": step * phase} for z, step in ((0.0, 40.0), (8.0, 37.5)) for phase in (2, 0, 1)]
    assert names(classic(tmp_path, slices)) == {
        "Phase 1 of 3": ["02", "05"],
        "Phase 2 of 3": ["03", "06"],
        "Phase 3 of 3": ["01", "04"],
    }


def test_moments_of_one_slice_stay_together_but_its_echoes_do_not(tmp_path: Path) -> None:
    film = classic(tmp_path / "film", [{"z": 4.0, "TriggerTime": 30.0 * i} for i in range(4)])
    assert [(s.slices, s.description) for s in film] == [(4, "Thorax")]
    assert film[0].warnings == ("4 slices at one position",)
    slices = [{"z": 4.0, "EchoTime": te, "AcquisitionTime": f"10000{i}"} for te in (5, 10) for i in range(3)]
    assert names(classic(tmp_path / "echoes", slices)) == {
        "Echo 1 of 2": ["01", "02", "03"],
        "Echo 2 of 2": ["04", "05", "06"],
    }


def test_a_slice_that_is_there_twice_does_not_spoil_the_volume(tmp_path: Path) -> None:
    slices = [{"z": 3.0 * i} for i in range(5)] + [{"z": 6.0}]
    whole, double = classic(tmp_path, slices)
    assert (whole.slices, double.slices) == (5, 1)
    assert whole.warnings == ("1 slice at positions already taken kept apart",)
    assert obstacle(whole.geometry) == ""


def test_slices_that_turn_about_an_axis_stay_one_series_without_other_planes(tmp_path: Path) -> None:
    slices = []
    for angle in np.radians(np.arange(0, 180, 30)):
        axes = [float(np.cos(angle)), float(np.sin(angle)), 0.0, 0.0, 0.0, -1.0]
        slices.append({"z": 0.0, "ImageOrientationPatient": axes})
    (series,) = classic(tmp_path, slices)
    assert (series.slices, series.treat) == (6, "denoise")
    assert series.warnings == ("Every slice has an orientation of its own",)
    assert obstacle(series.geometry) == "Slice positions are not known"


def test_slices_shifted_sideways_are_told(tmp_path: Path) -> None:
    slices = [{"z": 3.0 * i, "ImagePositionPatient": [-10.0 + (5.0 if i == 2 else 0.0), 0, 3.0 * i]} for i in range(5)]
    (series,) = classic(tmp_path, slices)
    assert series.warnings == ("Slices shifted sideways by up to 5 mm",)
    assert obstacle(series.geometry) == "The slices are shifted sideways"


def test_slices_without_positions_say_that_their_numbers_sort_them(tmp_path: Path) -> None:
    (series,) = classic(tmp_path, [{"z": None}, {"z": None}])
    assert series.warnings == ("Slice positions are not told: sorted by number",)
    assert obstacle(series.geometry) == "Slice positions are not known"


@pytest.mark.parametrize("axes", [[0] * 6, [1, 0, 0, 1, 0, 0], [5, 0, 0, 0, 5, 0]])
def test_direction_cosines_that_span_no_plane_are_not_believed(tmp_path: Path, axes: list[float]) -> None:
    (series,) = classic(tmp_path, [{"z": z, "ImageOrientationPatient": axes} for z in (6.0, 0.0, 3.0)])
    assert series.geometry.positions == () and [file.stem for file in series.files] == ["001", "002", "003"]
    assert series.warnings == ("Slice positions are not told: sorted by number",)


def test_dynamic_pet_parts_by_the_time_of_its_frames(tmp_path: Path) -> None:
    slices = [{"z": z, "FrameReferenceTime": t} for t in (5000.0, 65000.0) for z in (0.0, 4.0)]
    for number, told in enumerate(slices, 1):
        save(dataset(number=number, sop_class=PT, modality="PT", Units="BQML", **told), tmp_path / f"{number:03d}.dcm")
    found = list(scanned(tmp_path).series)
    assert names(found) == {"Repeat 1 of 2": ["01", "02"], "Repeat 2 of 2": ["03", "04"]}
    assert {series.unit for series in found} == {"Bq/ml"}


# ------------------------------------------------------------------------------------------ what is told, speed


def test_the_dose_of_an_enhanced_ct_is_told(tmp_path: Path) -> None:
    item = enhanced([{"z": 0.0}, {"z": 3.0}], sop_class=ENHANCED_CT)
    exposure, kernel = Dataset(), Dataset()
    exposure.ExposureInmAs, exposure.XRayTubeCurrentInmA, exposure.CTDIvol = 120.0, 200.0, 8.5
    kernel.ConvolutionKernel = "Br40"
    shared = item.SharedFunctionalGroupsSequence[0]
    shared.CTExposureSequence, shared.CTReconstructionSequence = Sequence([exposure]), Sequence([kernel])
    save(item, tmp_path / "a.dcm")
    told = only(tmp_path).acquisition
    assert (told["exposure"], told["tube_current"], told["ctdi"], told["kernel"]) == (120, 200, 8.5, "Br40")


def test_micro_ampere_seconds_become_milli(tmp_path: Path) -> None:
    save(dataset(ExposureInuAs=2500, FlipAngle=15, NumberOfAverages=2), tmp_path / "a.dcm")
    told = only(tmp_path).acquisition
    assert (told["exposure"], told["flip_angle"], told["averages"]) == (2.5, 15, 2)


def test_suv_factors_and_the_value_map_are_told(tmp_path: Path) -> None:
    tracer, mapping, unit = Dataset(), Dataset(), Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = "3.7e8", "6586.2"
    tracer.RadiopharmaceuticalStartTime = "093000"
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "g/ml{SUVbw}", "UCUM", "SUV"
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 0.0002, 0.0
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, 30000
    mapping.LUTLabel = "SUV"
    mapping.MeasurementUnitsCodeSequence = Sequence([unit])
    item = dataset(sop_class=PT, modality="PT", Units="BQML", PatientWeight=70, DecayCorrection="START")
    item.RescaleSlope, item.RescaleIntercept = 2.5, 0
    item.RadiopharmaceuticalInformationSequence = Sequence([tracer])
    item.RealWorldValueMappingSequence = Sequence([mapping])
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    told = series.acquisition
    assert (told["activity"], told["half_life"], told["weight"]) == (370000000, 6586.2, 70)
    assert (told["injected"], told["decay_correction"]) == ("093000", "START")
    assert told["real_world"] == "0.0002 × stored + 0 g/ml{SUVbw}"
    assert series.unit == "Bq/ml"  # values are read by the rescale


def test_a_value_map_of_the_same_scale_gives_the_unit(tmp_path: Path) -> None:
    mapping, unit = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "ms", "UCUM", "ms"
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 1.0, 0.0
    mapping.MeasurementUnitsCodeSequence = Sequence([unit])
    item = dataset(sop_class=MR, modality="MR", RealWorldValueMappingSequence=Sequence([mapping]))
    save(item, tmp_path / "a.dcm")
    assert only(tmp_path).unit == "ms"


def _many(files: int, groups: int, source: Path) -> list[Header]:
    """Headers of one series whose slices have as many orientations as there are groups."""
    header = read_header(save(dataset(), source))
    assert isinstance(header, Header)
    made = []
    for i in range(files):
        angle = np.pi * (i % groups) / groups
        axes = (float(np.cos(angle)), float(np.sin(angle)), 0.0, 0.0, 0.0, -1.0)
        values = {name: getattr(header, name) for name in Header.__slots__}
        values |= {"file": source.with_name(f"{i}.dcm"), "sop_uid": f"1.2.{i}", "number": i}
        values |= {"orientation": axes, "position": (0.0, 0.0, float(i))}
        made.append(Header(**values))
    return made


def test_thousands_of_slices_in_hundreds_of_groups_are_sorted_quickly(tmp_path: Path) -> None:
    headers = _many(2000, 500, tmp_path / "a.dcm")
    before = time.process_time()
    ((found, doubles),) = grouping.gather(headers)
    seconds = time.process_time() - before
    # Neighbouring directions differ by 0.006, which is rounding; so they are fewer than 500 groups.
    assert not doubles and sum(series.slices for series in found) == 2000 and len(found) > 100
    assert seconds < 3, seconds
