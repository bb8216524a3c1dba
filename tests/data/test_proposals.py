"""Which series are proposed as pairs, why, and which never are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from aegui import events, imaging
from aegui.data.proposals import Proposal, confirmed_again, propose
from aegui.imaging.series import Geometry, Series

MR = {"te": 30, "tr": 2000, "flip_angle": 90, "time": "120000", "temporal": 1, "acquisition": 4}
CT = {"kvp": 120, "kernel": "B30f", "thickness": 3, "exposure": 200, "time": "120000", "acquisition": 1}
_count = iter(range(10_000))


def series(
    description: str = "Scan", modality: str = "MR", start: float = 0.0, slices: int = 4, **taken: Any
) -> Series:
    base = MR if modality == "MR" else CT
    fields = {key: taken.pop(key) for key in ("patient", "study_uid", "treat", "warnings", "rows") if key in taken}
    number = next(_count)
    made: dict[str, Any] = {
        "uid": f"1.2.{number}",
        "study_uid": "1.2",
        "patient": "p",
        "label": "ANON-0001",
        "study_date": "",
        "modality": modality,
        "description": description,
        "form": "dicom",
        "files": tuple(Path(f"/scans/{number}/{i}.dcm") for i in range(slices)),
        "rows": 64,
        "columns": 64,
        "slices": slices,
        "geometry": Geometry((3.0, 1.0, 1.0), positions=tuple((0.0, 0.0, start + 3.0 * i) for i in range(slices))),
        "acquisition": {key: value for key, value in (base | taken).items() if value is not None},
    }
    return Series(**(made | fields))


def volume(path: str, slices: int = 3, modality: str = "OT") -> Series:
    file = Path("/scans") / path
    return Series(
        uid=path,
        study_uid=path,
        patient=path,
        label="",
        study_date="",
        modality=modality,
        description=file.stem,
        form="volume",
        files=(file,),
        rows=64,
        columns=64,
        slices=slices,
        geometry=Geometry((1.0, 1.0, 1.0)),
        root=Path("/scans"),
    )


def only(found: list[Proposal]) -> Proposal:
    assert len(found) == 1, [one.words for one in found]
    return found[0]


def test_repeats_of_one_protocol_are_one_proposal_in_which_each_is_an_input_once():
    members = [series(f"bold · Repeat {i} of 5", temporal=i, time=f"12000{i}", trigger=2000 * i) for i in range(1, 6)]
    found = only(propose(members[::-1]))
    assert (found.kind, found.title) == ("repeats", "5 repeats found")
    assert [pair.noisy for pair in found.pairs] == members
    assert [members.index(pair.clean) for pair in found.pairs] == [1, 2, 3, 4, 3]
    assert all(pair.kind == "repeat" and pair.slices == ((0, 0), (1, 1), (2, 2), (3, 3)) for pair in found.pairs)
    assert "not how close the result is to the truth" in found.warning
    assert found.on_by_default


def test_two_repeats_are_each_others_target():
    one, other = series(time="120000"), series("Scan repeat", time="120500", acquisition=5)
    found = only(propose([one, other]))
    assert {(pair.noisy.uid, pair.clean.uid) for pair in found.pairs} == {(one.uid, other.uid), (other.uid, one.uid)}


LATER = {"time": "120500", "temporal": 2, "acquisition": 5}


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("another echo", series("Scan · Echo 2 of 2", te=60, **LATER)),
        ("an echo whose time is unknown", series("Scan · Echo 2 of 2", **LATER)),
        ("another flip angle", series(flip_angle=15, **LATER)),
        ("another b-value", series(b_value=800, gradient="1\\0\\0", **LATER)),
        ("diffusion of unknown b-value", series("ep2d_diff_b800", **LATER)),
        ("a phase image", series(image_type="ORIGINAL\\PRIMARY\\P", **LATER)),
        ("a phase of the heartbeat", series(trigger=40, temporal=1, time="120001")),
        ("after contrast", series("Scan", contrast="GADOVIST", **LATER)),
        ("after contrast, by its name", series("Scan post", **LATER)),
        ("of another patient", series(patient="q", **LATER)),
        ("of another study", series(study_uid="1.3", **LATER)),
        ("of another place", series(start=1.5, **LATER)),
        ("of the same moment", series()),
        ("view only", series(treat="view", **LATER)),
    ],
)
def test_what_shows_another_signal_is_no_repeat(what: str, other: Series):
    assert propose([series(trigger=0), other]) == [], what


def test_phases_of_a_heartbeat_are_never_each_others_target():
    cine = [series(f"sa · Phase {i} of 20", trigger=40 * i, time=f"1200{i:02}", temporal=None) for i in range(1, 21)]
    assert propose(cine) == []
    gated = [series("sa", trigger=40 * i, time=f"1200{i:02}", cardiac_phases=20) for i in range(1, 21)]
    assert propose(gated) == []


def test_diffusion_repeats_of_one_direction_are_repeats_and_other_directions_are_not():
    first = series("dwi", b_value=800, gradient="1\\0\\0")
    again = series("dwi", b_value=800, gradient="1\\0\\0", **LATER)
    turned = series("dwi", b_value=800, gradient="0\\1\\0", time="121000", acquisition=6)
    assert {pair.clean.uid for pair in only(propose([first, again, turned])).pairs} == {first.uid, again.uid}


def test_low_and_full_dose_are_paired_with_the_one_that_has_more():
    low, full = series("Low", "CT", exposure=50), series("Full", "CT", exposure=200, time="121000", acquisition=2)
    found = only(propose([full, low]))
    pair = only_pair(found)
    assert (found.kind, pair.noisy, pair.clean, pair.kind) == ("dose", low, full, "clean")
    assert "25 % of the dose" in found.why


def test_the_dose_index_counts_before_the_exposure():
    low = series("a", "CT", ctdi=2.0, exposure=300)
    full = series("b", "CT", ctdi=8.0, exposure=200, acquisition=2)
    assert only_pair(only(propose([low, full]))).clean == full


def test_a_simulated_low_dose_is_told_by_its_name():
    low, full = series("Chest quarter dose", "CT"), series("Chest full dose", "CT", time="121000", acquisition=2)
    pair = only_pair(only(propose([low, full])))
    assert (pair.noisy, pair.clean) == (low, full)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("another kVp", {"kvp": 80}),
        ("another kernel", {"kernel": "B60f"}),
        ("contrast", {"contrast": "IOHEXOL"}),
        ("another place", {"start": 1.5}),
        ("another patient", {"patient": "q"}),
    ],
)
def test_two_doses_with_another_difference_are_not_paired(what: str, changes: dict[str, Any]):
    assert propose([series("a", "CT", exposure=50, **changes), series("a", "CT", acquisition=2)]) == [], what


def test_a_portal_phase_is_no_clean_target_for_a_native_low_dose_scan():
    native, portal = series("Native low dose", "CT", exposure=50), series("Portal venous", "CT", exposure=200)
    assert propose([native, portal]) == []


def test_many_averages_measured_apart_are_the_clean_partner_of_few():
    few, many = series(averages=1), series(averages=4, **LATER)
    found = only(propose([few, many]))
    assert (only_pair(found).noisy, only_pair(found).clean, found.kind) == (few, many, "dose")
    assert found.title == "Few / many averages found"


def test_two_kernels_of_one_acquisition_come_last_and_are_off_by_default():
    sharp, soft = series("Lung", "CT", kernel="B60f"), series("Soft", "CT", kernel="B30f")
    low = series("Low", "CT", kernel="B30f", exposure=50, time="121000", acquisition=2)
    found = propose([sharp, soft, low])
    assert [one.kind for one in found] == ["dose", "shared-noise"]
    pair = only_pair(found[1])
    assert (pair.noisy, pair.clean, pair.kind) == (sharp, soft, "shared-noise")
    assert found[1].warning == "Also teaches blur; same noise on both sides."
    assert not found[1].on_by_default


def test_a_thick_reconstruction_is_offered_for_a_thin_one_of_the_same_acquisition_only():
    thin, thick = series("Thin", "CT", thickness=1), series("Thick", "CT", thickness=5)
    assert only_pair(only(propose([thin, thick]))).clean == thick
    later = series("Thick", "CT", thickness=5, acquisition=2, time="121000")
    assert propose([thin, later]) == []


def test_an_average_is_offered_for_its_parts_with_the_same_warning():
    part = series("bold", image_type="ORIGINAL\\PRIMARY\\M")
    mean = series("bold", image_type="DERIVED\\PRIMARY\\M\\MEAN")
    found = only(propose([mean, part]))
    assert (found.kind, only_pair(found).clean, found.on_by_default) == ("shared-noise", mean, False)


def test_files_whose_folders_differ_in_the_dose_only_are_paired_by_name_and_not_for_sure():
    made = [volume(f"dose_{dose}/{name}/{name}.mhd") for dose in ("010", "100") for name in ("absent", "present")]
    found = only(propose(made))
    assert [(pair.noisy.uid, pair.clean.uid) for pair in found.pairs] == [
        ("dose_010/absent/absent.mhd", "dose_100/absent/absent.mhd"),
        ("dose_010/present/present.mhd", "dose_100/present/present.mhd"),
    ]
    assert not any(pair.sure for pair in found.pairs)
    assert "10 % of the dose" in found.why
    assert "Look first" in found.warning


def test_other_names_and_other_sizes_are_not_paired():
    assert propose([volume("a/quarter_1mm.nii"), volume("b/full_1mm.nii")]) == []
    assert propose([volume("a/quarter_1mm.nii"), volume("a/full_1mm.nii", slices=4)]) == []
    assert propose([volume("a/low.nii", modality="MR"), volume("a/high.nii", modality="MR")]) == []


def test_what_the_user_called_clean_comes_before_any_guess():
    noisy, full = series("Low", "CT", exposure=50), series("Full", "CT", exposure=200, acquisition=2)
    found = only(propose([noisy, full], [full]))
    assert (found.kind, only_pair(found).clean) == ("clean", full)


def test_confirmed_pairs_are_found_again_with_what_was_known_of_them():
    one, other = series(time="120000"), series(time="120500", acquisition=5)
    again = confirmed_again([one, other], [(one.uid, other.uid), ("gone", other.uid)])
    assert [(pair.noisy, pair.clean, pair.kind) for pair in again] == [(one, other, "repeat")]


def only_pair(found: Proposal) -> Any:
    assert len(found.pairs) == 1
    return found.pairs[0]


@pytest.mark.parametrize(
    ("folder", "kinds", "pairs"),
    [
        ("mr_bold_repeats", ["repeats"], 12),
        ("ct_phantom_dose", ["dose"], 2),
        ("ct_chest_tcga", [], 0),
        ("mr_cine_sunnybrook", [], 0),
        ("geometry_cases", [], 0),
    ],
)
def test_real_scans(shared: Path, folder: str, kinds: list[str], pairs: int):
    found = propose(events.finish(imaging.scan([shared / folder])).series)
    assert [one.kind for one in found] == kinds
    assert sum(len(one.pairs) for one in found) == pairs


def test_a_thousand_volumes_take_no_longer_than_a_second_or_two():
    many = [series(slices=20, temporal=i, time=f"{120000 + i}", trigger=800 * i) for i in range(1000)]
    began = time.process_time()  # others may use the machine meanwhile
    assert only(propose(many)).title == "1000 repeats found"
    assert time.process_time() - began < 5
