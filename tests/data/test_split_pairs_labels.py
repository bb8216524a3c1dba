"""Who trains, who validates, and which slices belong together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from aegui import imaging
from aegui.data.labels import folder_labels, label_of, read_labels
from aegui.data.pairs import match_pairs, require_pairs
from aegui.data.split import GAP, split
from aegui.errors import UserError
from aegui.events import finish
from aegui.imaging import Geometry, Series


def series(
    uid: str, slices: int = 4, patient: str = "p", form: str = "dicom", names: str = "s{}", z: float = 3.0
) -> Series:
    return Series(
        uid=uid,
        study_uid="1",
        patient=patient,
        label="ANON-0001",
        study_date="",
        modality="CT",
        description=uid,
        form=form,  # type: ignore[arg-type]
        files=tuple(Path("/scans") / uid / names.format(i) for i in range(slices)),
        rows=32,
        columns=32,
        slices=slices,
        geometry=Geometry((z, 1.0, 1.0), positions=tuple((0.0, 0.0, z * i) for i in range(slices))),
    )


def test_patients_are_never_on_both_sides() -> None:
    slices = [(f"p{p}", p) for p in range(8) for _ in range(5)]
    parts = split(slices, 0.25, 0.25, seed=3)
    sides = [{slices[i][0] for i in part} for part in (parts.train, parts.validation, parts.holdout)]
    assert [len(side) for side in sides] == [4, 2, 2]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sorted([*parts.train, *parts.validation, *parts.holdout]) == list(range(40))
    assert not parts.warnings


@pytest.mark.parametrize("patients", [3, 4, 7])
def test_however_many_validate_one_patient_is_left_to_train(patients: int) -> None:
    parts = split([(f"p{p}", p) for p in range(patients)], 0.899, 0.5, seed=0)
    assert len(parts.train) == 1 and len(parts.validation) == patients - 1 and not parts.holdout


def test_the_split_follows_the_seed() -> None:
    slices = [(f"p{p}", p) for p in range(20)]
    assert split(slices, 0.3, 0, 1) == split(slices, 0.3, 0, 1) != split(slices, 0.3, 0, 2)


def test_few_patients_are_split_by_blocks_with_a_gap_and_a_warning() -> None:
    parts = split([("p", 0)] * 60, 0.2, 0.2, seed=0)
    assert min(parts.validation) - max(parts.train) == GAP + 1
    assert min(parts.holdout) - max(parts.validation) == GAP + 1
    assert "optimistic" in parts.warnings[0]


def test_marked_patients_are_held_out() -> None:
    slices = [(f"p{p}", p) for p in range(5)]
    assert split(slices, 0.2, 0, 0, frozenset({"p2"})).holdout == (2,)


def test_one_slice_is_not_enough_to_train() -> None:
    with pytest.raises(UserError, match="at least two slices"):
        split([("p", 0)], 0.2, 0, 0)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 14])
def test_short_series_still_train_and_validate(count: int) -> None:
    parts = split([("p", 0)] * count, 0.2, 0, 0)
    assert parts.train and parts.validation and not set(parts.train) & set(parts.validation)


@pytest.mark.parametrize(
    ("blocks", "shares"), [([0] * 3, (0.2, 0.5)), ([0] * 7, (0.4, 0.5)), ([0, 1, 1, 1], (0.5, 0.4))]
)
def test_no_slice_is_held_out_and_learnt_from(blocks: list[int], shares: tuple[float, float]) -> None:
    parts = split([("p", block) for block in blocks], *shares, 0)
    every = [*parts.train, *parts.validation, *parts.holdout]
    assert parts.train and parts.validation and len(every) == len(set(every))


@pytest.mark.parametrize(
    ("slices", "shares"),
    [([(f"p{n % 2}", n % 2) for n in range(4)], (0.2, 0.4)), ([(f"p{n}", n) for n in range(3)], (0.6, 0.3))],
)
def test_a_hold_out_that_came_out_empty_is_told(slices: list[tuple[str, int]], shares: tuple[float, float]) -> None:
    parts = split(slices, *shares, 0)
    assert not parts.holdout and "Nothing is held out" in parts.warnings[-1]
    assert not any("Nothing is held out" in words for words in split(slices, shares[0], 0, 0).warnings)


def test_series_pair_by_position_even_when_one_is_shorter() -> None:
    noisy, clean = series("a", 6), series("b", 4)
    (pair,) = match_pairs([noisy], [clean])
    assert pair.slices == ((0, 0), (1, 1), (2, 2), (3, 3)) and pair.sure and pair.method == "geometry"


def test_another_patient_is_never_a_sure_pair() -> None:
    pairs = match_pairs([series("a")], [series("b", patient="q", names="t{}")])
    assert [(p.method, p.sure) for p in pairs] == [("order", False)]


def test_images_pair_by_name_and_ask_for_confirmation() -> None:
    noisy, clean = series("a", form="images"), series("b", form="images")
    clean = replace(clean, files=clean.files[::-1])
    (pair,) = match_pairs([noisy], [clean])
    assert pair.method == "name" and not pair.sure
    assert pair.slices == ((0, 3), (1, 2), (2, 1), (3, 0))


def test_unequal_counts_do_not_pair_by_order() -> None:
    clean = series("b", 5, form="images", names="t{}")
    assert match_pairs([series("a", 4, form="images")], [clean]) == []
    with pytest.raises(UserError, match="No clean series matches “a”"):
        require_pairs([series("a", 4, form="images")], [clean])


def test_labels_are_found_by_uid_path_and_folder(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("path,label\na,lung\nscans/b,liver\nc/s1,spleen\n")
    labels = read_labels(file)
    assert label_of(series("a"), 0, labels) == "lung"
    assert label_of(series("b"), 2, labels) == "liver"
    assert [label_of(series("c"), i, labels) for i in range(3)] == [None, "spleen", None]


def test_sub_folders_are_classes() -> None:
    assert folder_labels([series("a"), series("b")]) == {"a": "a", "b": "b"}
    assert folder_labels([series("a")]) == {}


def test_a_label_file_with_one_column_names_its_row(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("a,lung\nb\n")
    with pytest.raises(UserError, match=r"Row 2 of labels\.csv"):
        read_labels(file)


def test_a_label_file_that_says_two_things_of_one_scan_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("a,lung\nb,liver\na, lung\na,liver\n")
    with pytest.raises(UserError, match="gives “a” two labels: “lung”, and “liver” in row 4"):
        read_labels(file)


def test_the_volumes_of_one_file_pair_in_order_and_its_values_are_no_slices(tmp_path: Path) -> None:
    import nibabel

    for folder in ("noisy", "clean"):
        (tmp_path / folder).mkdir()
        values = np.random.default_rng(0).normal(0, 1, (20, 24, 3, 2)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / folder / "v.nii")
        sitk.WriteImage(sitk.GetImageFromArray(values[..., 0]), str(tmp_path / folder / "w.mhd"))
    noisy, clean = (finish(imaging.scan([tmp_path / folder])).series for folder in ("noisy", "clean"))
    pairs = match_pairs(noisy, clean)
    assert [(a.noisy.description, a.clean.description) for a in pairs] == [
        (s.description, s.description) for s in noisy
    ]
    assert all(pair.method == "name" for pair in pairs)
    header = next(series for series in noisy if series.files[0].suffix == ".mhd")
    assert label_of(header, header.slices - 1, {"noisy": "N"}) == "N"
