"""The table of what is denoised, shown and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID_dictionary

from aegui.imaging import open_series
from aegui.imaging.dicom.kinds import KINDS, Facts, component, kind_of, without_pixels
from tests.imaging.made_files import CT, MR, SC, dataset, only, save, scanned
from tests.imaging.made_frames import ENHANCED_CT, ENHANCED_MR

ROOT = "1.2.840.10008.5.1.4.1.1."
DENOISED = {
    "CT": ("2", "2.1", "2.2"),
    "MR": ("4", "4.1", "4.4"),
    "PT": ("128", "128.1", "130"),
    "NM": ("20", "5"),
    "CR": ("1",),
    "DX": ("1.1", "1.1.1"),
    "IO": ("1.3", "1.3.1"),
    "XA": ("12.1", "12.1.1", "12.3", "13.1.1", "13.1.2"),
    "RF": ("12.2", "12.2.1"),
    "US": ("6.1", "3.1", "6", "3", "6.2"),
}
VIEWED = ("1.2", "1.2.1", "13.1.3", "13.1.4", "13.1.5", "7", "7.2", "7.3", "7.4", "4.3", "77.1.1", "77.1.4", "77.1.5.1")
VIEWED += ("77.1.5.4", "14.1", "601.1")
LISTED = (
    "66.4",
    "66.5",
    "30",
    "481.1",
    "481.2",
    "481.3",
    "481.5",
    "481.8",
    "481.23",
    "88.11",
    "88.59",
    "88.67",
    "11.1",
)
LISTED += ("104.1", "104.2", "9.1.1", "9.4.1", "77.1.6", "66.1", "66.3", "67", "4.2", "66", "7.1", "200.1", "80.1")


def facts(below: str, **more: Any) -> Facts:
    return Facts(sop_class=ROOT + below, **more)


@pytest.mark.parametrize(("modality", "below"), [(m, below) for m, many in DENOISED.items() for below in many])
def test_acquired_grey_images_are_denoised(modality: str, below: str) -> None:
    kind = kind_of(facts(below, modality=modality, types=frozenset(["AXIAL"])))
    assert (kind.treat, kind.reason) == ("denoise", "")


@pytest.mark.parametrize("below", VIEWED)
def test_what_is_no_acquired_image_is_shown_with_a_reason(below: str) -> None:
    kind = kind_of(facts(below))
    assert kind.treat == "view" and kind.reason.endswith(".")


@pytest.mark.parametrize("below", LISTED)
def test_what_is_no_image_is_listed_with_a_reason(below: str) -> None:
    kind = kind_of(facts(below))
    assert kind.treat == "list" and kind.reason.endswith(".")


def test_every_storage_class_of_the_standard_has_a_row_of_its_own() -> None:
    # Industrial scans, and what the standard retired before there were pixels in it.
    other = ("501.", "601.", "40", "12.77", "131", "201.", "43.", "44.", "45.", "6.3", "77.1", "77.2")
    unknown = []
    for uid, (name, sort, *_) in UID_dictionary.items():
        below = uid.removeprefix(ROOT)
        if (
            below == uid
            or sort != "SOP Class"
            or any(below == o or (o[-1] == "." and below.startswith(o)) for o in other)
        ):
            continue
        if kind_of(Facts(sop_class=uid)).name == "Other kind of object":
            unknown.append((below, name))
    assert unknown == []


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"types": frozenset(["LOCALIZER"])}, "Localizer"),
        ({"description": "3-plane LOCALIZER_BH"}, "Localizer"),
        ({"description": "Survey", "types": frozenset(["M_FFE", "M"])}, "Localizer"),
        ({"types": frozenset(["DIFFUSION", "ADC"])}, "Derived map"),
        ({"types": frozenset(["DIFFUSION", "FA", "ND"])}, "Derived map"),
        ({"types": frozenset(["PERFUSION", "RELCBV"])}, "Derived map"),
        ({"types": frozenset(["T1 MAP", "M"])}, "Derived map"),
        ({"types": frozenset(["VELOCITY MAP"])}, "Velocity map"),
        ({"types": frozenset(["MIP"])}, "Projection"),
        ({"calculation": "MAX_IP"}, "Projection"),
        ({"component": "PHASE"}, "Phase image"),
        ({"component": "IMAGINARY"}, "Real or imaginary part"),
        ({"types": frozenset(["FUSED"])}, "Fused image"),
        ({"types": frozenset(["SCREEN SAVE"])}, "Screen capture"),
        ({"lut": True}, "Values through a look-up table"),
        ({"photometric": "PALETTE COLOR"}, "Palette colours"),
        ({"photometric": "RGB", "samples": 3}, "Colour"),
        ({"photometric": "RGB", "samples": 3, "modality": "US"}, "Colour ultrasound"),
        ({"modality": "CT", "quantity": "Z_EFF"}, "CT values other than HU"),
        ({"modality": "PT", "units": "1CM"}, "PET parametric image"),
    ],
)
def test_image_type_and_encoding_make_an_image_one_that_is_shown(more: dict[str, Any], name: str) -> None:
    kind = kind_of(facts("4", **more))
    assert (kind.name, kind.treat) == (name, "view")


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"bits": 1}, "One-bit image"),
        ({"allocated": 1, "bits": 1}, "One-bit image"),
        ({"samples": 2}, "Unusual encoding"),
        ({"allocated": 64, "bits": 64}, "Unusual encoding"),
        ({"allocated": 8, "bits": 12}, "Unusual encoding"),
    ],
)
def test_some_encodings_are_only_listed(more: dict[str, Any], name: str) -> None:
    kind = kind_of(facts("4", **more))
    assert (kind.name, kind.treat) == (name, "list")


@pytest.mark.parametrize(("allocated", "bits"), [(8, 8), (12, 12), (16, 10), (24, 20), (32, 32)])
def test_two_to_thirty_two_bits_are_read(allocated: int, bits: int) -> None:
    assert kind_of(facts("4", allocated=allocated, bits=bits)).treat == "denoise"


@pytest.mark.parametrize(
    "types",
    [["TRACEW", "DIFFUSION"], ["DIXON", "WATER"], ["MPR", "NORM"], ["SUB"], ["OTHER", "M", "SE"], ["T1", "NONE"]],
)
def test_weighted_reformatted_and_subtracted_images_are_denoised(types: list[str]) -> None:
    assert kind_of(facts("4", types=frozenset(types), modality="MR")).treat == "denoise"


@pytest.mark.parametrize("quantity", ["", "HU", "US", "HU_MOD", "HOUNDSFIELD UNIT"])
def test_ct_in_hounsfield_units_is_denoised_however_that_is_said(quantity: str) -> None:
    assert kind_of(facts("2", modality="CT", quantity=quantity)).treat == "denoise"


def test_radiotherapy_localization_is_no_localizer() -> None:
    assert kind_of(facts("2", modality="CT", description="LOCALIZATION")).treat == "denoise"


def test_a_missing_class_is_made_up_for_by_the_modality() -> None:
    found = {modality: kind_of(Facts(modality=modality)).treat for modality in ("CT", "MG", "SEG", "OT", "RTDOSE", "")}
    assert found == {"CT": "denoise", "MG": "view", "SEG": "list", "OT": "denoise", "RTDOSE": "list", "": "denoise"}


def test_a_private_class_is_shown() -> None:
    assert kind_of(Facts(sop_class="1.3.12.2.1107.5.9.1", modality="MR")).name == "Other kind of object"


def test_components_of_complex_data_are_told_by_element_number_or_image_type() -> None:
    magnitude = ("ORIGINAL", "PRIMARY", "M", "ND")
    assert component("PHASE", magnitude, "MR") == "PHASE"
    assert component("2", magnitude, "MR") == "REAL"
    assert component("", magnitude, "MR") == "MAGNITUDE"
    assert component("", ("ORIGINAL", "PRIMARY", "P"), "MR") == "PHASE"
    assert component("MIXED", ("ORIGINAL", "PRIMARY", "OTHER"), "MR") == ""
    assert component("", ("ORIGINAL", "P", "M"), "CT") == ""  # the second value is no component; CT has none


def test_every_row_says_in_words_what_it_is() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert kind.told_by and kind.name[0].isupper()
        assert bool(kind.reason) == (kind.treat != "denoise"), kind.name
        assert not kind.reason or kind.reason.endswith(".")


def test_objects_without_pixels_are_named() -> None:
    assert without_pixels(f"{ROOT}88.11", "SR") == "Structured report: holds no image."
    assert without_pixels(f"{ROOT}88.59", "KO") == "Key object note: holds no image."
    assert without_pixels("", "RTPLAN") == "Radiotherapy plan: holds no image."
    assert without_pixels(f"{ROOT}104.1", "OT") == "Document: holds no image."
    assert without_pixels(CT, "CT") == "Holds no pixel data."


# ------------------------------------------------------------------------------------------ through a scan


@pytest.mark.parametrize(
    ("sop_class", "modality", "more", "verdict"),
    [
        (f"{ROOT}1.1", "DX", {"PresentationIntentType": "FOR PRESENTATION"}, ("denoise", "")),
        (f"{ROOT}1.1.1", "DX", {"PresentationIntentType": "FOR PROCESSING"}, ("denoise", "")),
        (f"{ROOT}1.2", "MG", {}, ("view", "Mammography: shown, denoised only where you switch it on.")),
        (MR, "MR", {"ComplexImageComponent": "PHASE"}, ("view", "Phase image: shown, not denoised.")),
        (CT, "CT", {"RescaleType": "Z_EFF"}, ("view", "The values are not HU: shown, not denoised.")),
        (SC, "CT", {}, ("view", "Secondary capture: shown, not denoised.")),
        (f"{ROOT}30", "MR", {}, ("list", "Parametric map: not a scan.")),
        (f"{ROOT}481.2", "RTDOSE", {}, ("list", "Radiotherapy dose: not a scan.")),
        (f"{ROOT}128", "PT", {"Units": "BQML"}, ("denoise", "")),
        (f"{ROOT}20", "NM", {}, ("denoise", "")),
    ],
)
def test_a_scan_gives_the_verdict_of_the_table(
    tmp_path: Path, sop_class: str, modality: str, more: dict[str, Any], verdict: tuple[str, str]
) -> None:
    save(dataset(sop_class=sop_class, modality=modality, **more), tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.treat, series.reason) == verdict
    if "PresentationIntentType" in more:
        assert series.acquisition["intent"] == more["PresentationIntentType"]


def test_values_through_a_modality_lut_are_shown_as_they_are_stored(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [3, 0, 16], "US"
    table.add_new("LUTData", "US", [0, 10, 1000])
    item = dataset(sop_class=f"{ROOT}1", modality="CR", signed=False, ModalityLUTSequence=Sequence([table]))
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.treat, series.reason) == ("view", "Values through a look-up table: shown, not denoised.")
    assert open_series(series).read(0).max() == 119  # the highest stored value


def test_units_follow_what_the_values_are(tmp_path: Path) -> None:
    for i, (units, unit) in enumerate(
        [("BQML", "Bq/ml"), ("CNTS", "counts"), ("GML", "g/ml"), ("PROPCPS", "∝ counts/s")]
    ):
        item = dataset(sop_class=f"{ROOT}128", modality="PT", series=f"1.2.{i + 1}", Units=units)
        save(item, tmp_path / "pt" / f"{i}.dcm")
        assert next(s.unit for s in scanned(tmp_path / "pt").series if s.uid == f"1.2.{i + 1}") == unit
    save(dataset(RescaleType="Houndsfield Unit"), tmp_path / "spelt" / "a.dcm")
    assert only(tmp_path / "spelt").unit == "HU"
    save(dataset(ImageType=["DERIVED", "PRIMARY", "PERFUSION", "CBF"]), tmp_path / "map" / "a.dcm")
    assert only(tmp_path / "map").unit == ""


def test_enhanced_classes_are_the_kin_of_the_plain_ones() -> None:
    assert kind_of(Facts(sop_class=ENHANCED_CT, modality="CT")).name == "CT"
    assert kind_of(Facts(sop_class=ENHANCED_MR, modality="MR")).name == "MR"
