"""Targets that do not go with the scans are named before the start."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from aegui import recipes, workflow
from aegui.data.pairs import Pair
from aegui.imaging import Geometry, Series
from aegui.workflow.target_problems import target_problems


def series(uid: str, slices: int = 6, step: float = 3.0, thickness: float = 3.0, known: bool = True) -> Series:
    return Series(
        uid=uid,
        study_uid="1",
        patient="p",
        label="ANON-0001",
        study_date="",
        modality="MR",
        description=uid,
        form="dicom",
        files=tuple(Path("/scans", uid, str(i)) for i in range(slices)),
        rows=32,
        columns=32,
        slices=slices,
        geometry=Geometry((step, 1.0, 1.0), positions=tuple((0.0, 0.0, step * i) for i in range(slices)))
        if known
        else Geometry((0.0, 1.0, 1.0)),
        acquisition={"thickness": thickness},
    )


def repeats(*scans: Series) -> tuple[Pair, ...]:
    return tuple(
        Pair(a, b, tuple((i, i) for i in range(a.slices)), "geometry", True, "again", "repeat")
        for a, b in pairwise(scans)
    )


def problems(
    targets: str, *scans: Series, pairs: tuple[Pair, ...] = (), holdout: tuple[str, ...] = (), more: str = "run.seed=0"
) -> list[tuple[str, bool]]:
    recipe = recipes.load("denoise").with_set([f"targets={targets}", more])
    job = workflow.TrainJob("general-small", recipe, scans, Path("run"), pairs=pairs, holdout=holdout)
    return [(message, blocking) for message, _, _, blocking in target_problems(job)]


@pytest.mark.parametrize(
    "targets",
    ["{kind: synthetic}", "{kind: noise2void}", "{kind: noise2self}", "{kind: neighbor2neighbor}", "{kind: slices}"],
)
def test_scans_that_fit_have_no_problem(targets: str) -> None:
    assert problems(targets, series("a")) == []


def test_repeats_that_are_held_out_leave_too_few() -> None:
    a, b, c = (series(name) for name in "abc")
    assert problems("{kind: noise2noise}", a, b, c, pairs=repeats(a, b, c), holdout=("c",)) == []
    ((words, blocking),) = problems("{kind: noise2noise}", a, b, pairs=repeats(a, b), holdout=("b",))
    assert "Too few repeats" in words and blocking


def test_one_slice_needs_four_repeats() -> None:
    single = [series(name, slices=1) for name in "abcd"]
    assert problems("{kind: noise2noise}", *single, pairs=repeats(*single)) == []
    ((words, blocking),) = problems("{kind: noise2noise}", *single[:3], pairs=repeats(*single[:3]))
    assert "four of one" in words and blocking


def test_clean_pairs_that_repeats_do_not_use_are_told() -> None:
    a, b, c = (series(name) for name in "abc")
    pairs = (*repeats(a, b), replace(repeats(b, c)[0], kind="clean"))
    ((words, blocking),) = problems("{kind: noise2noise}", a, b, c, pairs=pairs)
    assert words.startswith("1 confirmed pair has a clean target that is not used") and not blocking


def test_slices_further_apart_than_allowed_are_told_with_their_distance() -> None:
    ((words, blocking),) = problems("{kind: slices, distance: 2}", series("a", step=5.0))
    assert "the nearest are 5 mm apart" in words and blocking
    ((words, blocking),) = problems("{kind: slices, distance: 3}", series("a"), series("b", step=5.0))
    assert words.startswith("6 of 12 slices have no neighbour") and not blocking


def test_single_slices_have_no_neighbours() -> None:
    ((words, blocking),) = problems("{kind: slices}", series("a", slices=1), series("b", slices=1))
    assert "single slice" in words and blocking


def test_unknown_distances_and_overlapping_slices_are_told() -> None:
    ((words, blocking),) = problems("{kind: slices}", series("a", known=False))
    assert "not known" in words and not blocking
    ((words, blocking),) = problems("{kind: slices}", series("a", step=1.0))
    assert "overlap" in words and not blocking


def test_a_teacher_that_is_not_there_or_was_never_trained_is_told() -> None:
    ((words, blocking),) = problems("{kind: distillation, teacher: none.aegui}", series("a"))
    assert "none.aegui is not there" in words and blocking
    ((words, blocking),) = problems("{kind: distillation, teacher: monai-autoencoder}", series("a"))
    assert "no trained weights" in words and blocking
    ((words, blocking),) = problems("{kind: distillation, teacher: nobody}", series("a"))
    assert "no model “nobody”" in words and blocking
    ((words, blocking),) = problems("{kind: distillation, teacher: general-small}", series("a"))
    assert "nothing to learn" in words and not blocking
    assert problems("{kind: distillation, teacher: classic-small}", series("a")) == []


def test_ssim_is_no_judge_without_clean_targets() -> None:
    ((words, blocking),) = problems("{kind: noise2void}", series("a"), more="stopping.metric=ssim")
    assert "SSIM is measured against noise" in words and not blocking


def test_the_check_of_a_job_tells_them_with_the_address_of_the_field() -> None:
    recipe = recipes.load("denoise").with_set(["targets={kind: slices, distance: 2}"])
    job = workflow.TrainJob("general-small", recipe, (series("a", step=5.0),), Path("run"))
    assert ("targets", "slices", "distance") in [problem.where for problem in workflow.check(job)]
