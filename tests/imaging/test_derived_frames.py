"""Multi-frame files and mosaics stay what they are, with the frames of their series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from aegui.errors import UserError
from aegui.imaging import OutputRules, Provenance, Series, open_series, open_sink
from tests.imaging.made_files import copied, dataset, only, opened, save, scanned
from tests.imaging.made_frames import ENHANCED_MR, enhanced, mosaic
from tests.imaging.round_trips import identity, travel

FRAME_TYPE = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]
LEGACY_CT = "1.2.840.10008.5.1.4.1.1.2.2"


def _diffusion(path: Path) -> list[Series]:
    """Three places with two b-values each, place by place; Dimension Index Values are (place, b)."""
    frames = [{"z": 3.0 * place, "b": 1000.0 * b, "type": FRAME_TYPE} for place in range(3) for b in range(2)]
    item = enhanced(frames, ImageType=FRAME_TYPE)
    for number, group in enumerate(item.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.DimensionIndexValues = [number // 2 + 1, number % 2 + 1]
        group.FrameContentSequence = Sequence([content])
    save(item, path)
    return sorted(scanned(path.parent).series, key=lambda series: series.acquisition.get("b_value", 0.0))


def _written(series: Series, out: Path, change: float = 0.0, origin: Provenance | None = None) -> Dataset:
    source = open_series(series)
    sink = open_sink(source, out, OutputRules(), origin or Provenance(model="m"))
    for index in range(len(source)):
        sink.write(index, source.read(index) + np.float32(change))
    (file,) = sink.finish().iterdir()
    return pydicom.dcmread(file)


def test_a_volume_of_an_enhanced_file_takes_its_own_frames_along(tmp_path: Path) -> None:
    first, second = _diffusion(tmp_path / "in" / "a.dcm")
    assert (first.frames, second.frames) == ((0, 2, 4), (1, 3, 5))
    new = _written(second, tmp_path / "out", change=10.0)
    assert new.SOPClassUID == ENHANCED_MR and new.NumberOfFrames == 3
    np.testing.assert_array_equal(new.pixel_array[:, 0, 0], [11, 13, 15])
    groups = list(new.PerFrameFunctionalGroupsSequence)
    assert [group.MRDiffusionSequence[0].DiffusionBValue for group in groups] == [1000.0] * 3
    assert [list(group.FrameContentSequence[0].DimensionIndexValues) for group in groups] == [[1, 1], [2, 1], [3, 1]]
    steps = [group.DerivationImageSequence[0] for group in groups]
    assert [step.SourceImageSequence[0].ReferencedFrameNumber for step in steps] == [2, 4, 6]
    assert {step.DerivationCodeSequence[0].CodeValue for step in steps} == {"DENOISED"}
    assert "SourceImageSequence" not in new
    (study,) = new.SourceImageEvidenceSequence
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.1"


def test_both_volumes_share_one_series_as_two_instances(tmp_path: Path) -> None:
    origin = Provenance(model="m")
    first, second = (_written(one, tmp_path / "out", 0.0, origin) for one in _diffusion(tmp_path / "in" / "a.dcm"))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)


def test_image_and_frame_types_of_enhanced_files_have_their_four_values(tmp_path: Path) -> None:
    new = _written(_diffusion(tmp_path / "in" / "a.dcm")[0], tmp_path / "out")
    expected = ["DERIVED", "PRIMARY", "DIFFUSION", "FILTERED"]
    assert list(new.ImageType) == expected
    types = [group.MRImageFrameTypeSequence[0].FrameType for group in new.PerFrameFunctionalGroupsSequence]
    assert [list(kind) for kind in types] == [expected] * 3


def test_a_fourth_value_that_tells_how_pixels_were_made_stays(tmp_path: Path) -> None:
    item = enhanced([{"z": 0.0}, {"z": 2.0}], ImageType=["DERIVED", "PRIMARY", "VOLUME", "MEAN"])
    save(item, tmp_path / "in" / "a.dcm")
    assert list(_written(only(tmp_path / "in"), tmp_path / "out").ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "MEAN"]


def test_a_shared_derivation_moves_into_the_frames_before_the_new_one(tmp_path: Path) -> None:
    item = enhanced([{"z": 0.0}, {"z": 2.0}])
    step = Dataset()
    step.DerivationDescription = "Averaged"
    item.SharedFunctionalGroupsSequence[0].DerivationImageSequence = Sequence([step])
    save(item, tmp_path / "in" / "a.dcm")
    new = _written(only(tmp_path / "in"), tmp_path / "out")
    assert "DerivationImageSequence" not in new.SharedFunctionalGroupsSequence[0]
    for group in new.PerFrameFunctionalGroupsSequence:
        before, ours = group.DerivationImageSequence
        assert before.DerivationDescription == "Averaged" and ours.DerivationDescription.startswith("Denoised")


def test_frames_come_back_in_file_order_whatever_the_order_of_the_slices(tmp_path: Path) -> None:
    save(enhanced([{"z": 9.0}, {"z": 0.0}, {"z": 3.0}, {"z": 6.0}]), tmp_path / "in" / "a.dcm")
    series = only(tmp_path / "in")
    assert series.frames == (1, 2, 3, 0)
    new = _written(series, tmp_path / "out")
    np.testing.assert_array_equal(new.pixel_array[:, 0, 0], range(4))
    assert travel(series, tmp_path / "again", identity()).outcome == "same"


@pytest.mark.parametrize("noise", [False, True])
def test_a_file_may_be_called_anything(tmp_path: Path, noise: bool) -> None:
    save(enhanced([{"z": 0.0}, {"z": 2.0}]), tmp_path / "in" / "frames.part")
    out = copied(opened(tmp_path / "in"), tmp_path / "out", change=5.0, noise_series=noise)
    (file,) = out.iterdir()
    np.testing.assert_array_equal(pydicom.dcmread(file).pixel_array[:, 0, 0], [5, 6])


def _named(*names: str) -> Sequence:
    items = [Dataset() for _ in names]
    for item, name in zip(items, names, strict=True):
        item.EnergyWindowName = name
    return Sequence(items)


def test_nuclear_medicine_keeps_of_its_vectors_what_is_there_and_counts_it_anew(tmp_path: Path) -> None:
    item = dataset(
        modality="NM",
        sop_class="1.2.840.10008.5.1.4.1.1.20",
        stored=np.arange(4)[:, None, None] + np.zeros((4, 12, 10), int),
        signed=False,
        z=None,
        NumberOfFrames=4,
        ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"],
    )
    item.FrameIncrementPointer = [0x00540010, 0x00540020]
    item.EnergyWindowVector, item.DetectorVector = [1, 1, 2, 2], [1, 2, 1, 2]
    item.NumberOfEnergyWindows = item.NumberOfDetectors = 2
    item.EnergyWindowInformationSequence, item.DetectorInformationSequence = _named("W1", "W2"), _named("D1", "D2")
    save(item, tmp_path / "in" / "a.dcm")
    found: dict[int, tuple[str, str]] = {}
    for one in scanned(tmp_path / "in").series:
        new = _written(one, tmp_path / "out")
        vectors = [np.atleast_1d(new[f"{what}Vector"].value) for what in ("EnergyWindow", "Detector")]
        told = [new.EnergyWindowInformationSequence, new.DetectorInformationSequence]
        for vector, items, count in zip(vectors, told, (new.NumberOfEnergyWindows, new.NumberOfDetectors), strict=True):
            assert len(vector) == new.NumberOfFrames
            assert sorted(set(vector)) == list(range(1, count + 1)) and len(items) == count
        for frame, *numbers in zip(new.pixel_array.reshape(-1, 12, 10), *vectors, strict=True):
            window, detector = (items[n - 1].EnergyWindowName for items, n in zip(told, numbers, strict=True))
            found[int(frame[0, 0])] = (window, detector)
    assert found == {0: ("W1", "D1"), 1: ("W1", "D2"), 2: ("W2", "D1"), 3: ("W2", "D2")}


def test_a_mosaic_leaves_as_a_mosaic_and_says_so(tmp_path: Path) -> None:
    save(mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1]), tmp_path / "in" / "a.dcm")
    before = pydicom.dcmread(tmp_path / "in" / "a.dcm")
    source = opened(tmp_path / "in")
    new = pydicom.dcmread(copied(source, tmp_path / "out", change=7.0) / "a.dcm")
    expected = before.pixel_array.copy()
    expected[:6], expected[6:12, :8] = expected[:6] + 7, expected[6:12, :8] + 7
    np.testing.assert_array_equal(new.pixel_array, expected)
    assert list(new.ImageType) == ["DERIVED", "SECONDARY", "M", "ND", "MOSAIC"]
    assert "mosaic" in new.DerivationDescription
    again = only(tmp_path / "out")
    assert (again.mosaic, again.geometry) == (source.series.mosaic, source.series.geometry)


@pytest.mark.parametrize("rule", [{"private_tags": "drop"}, {"deidentify": True}])
def test_a_mosaic_without_its_private_attributes_is_refused(rule: dict[str, object], tmp_path: Path) -> None:
    save(mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1]), tmp_path / "in" / "a.dcm")
    with pytest.raises(UserError, match="private attributes"):
        open_sink(opened(tmp_path / "in"), tmp_path / "out", OutputRules(**rule), Provenance())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("valid", [True, False])
def test_a_legacy_converted_file_keeps_its_class_only_if_that_is_valid(valid: bool, tmp_path: Path) -> None:
    item = enhanced([{"z": 0.0}, {"z": 2.0}], sop_class=LEGACY_CT)
    item.Modality = "CT"
    for number, group in enumerate(item.PerFrameFunctionalGroupsSequence if valid else ()):
        converted = Dataset()
        converted.ReferencedSOPClassUID, converted.ReferencedSOPInstanceUID = LEGACY_CT[:-2], f"1.2.3.9.{number}"
        group.ConversionSourceAttributesSequence = Sequence([converted])
    save(item, tmp_path / "in" / "a.dcm")
    series = only(tmp_path / "in")
    if valid:
        assert _written(series, tmp_path / "out").SOPClassUID == LEGACY_CT
    else:
        with pytest.raises(UserError, match="converted from"):
            _written(series, tmp_path / "out")


def test_a_real_enhanced_file_comes_back_with_all_frames_and_no_new_error(shared: Path, tmp_path: Path) -> None:
    series = only(shared / "geometry_cases" / "philips_enhanced" / "anatomical" / "001")
    trip = travel(series, tmp_path / "out", identity())
    assert trip.outcome == "same" and not trip.new_errors
