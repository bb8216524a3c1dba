"""Corruptions that do not go together with the scans are named before the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from aegui import recipes, workflow
from aegui.imaging import Geometry, Series
from aegui.recipes import corruptions as parts
from aegui.recipes.corruptions import Corruption
from aegui.recipes.run import Augmentation
from aegui.recipes.targets import PairedTargets, SyntheticTargets

SERIES = Series(
    "1", "1", "p", "l", "", "CT", "d", "dicom", (Path("x"),), 64, 64, 4, Geometry((3.0, 0.7, 0.7)), unit="HU"
)


def found(
    corruptions: Sequence[Corruption],
    modality: str = "CT",
    augmentation: Augmentation | None = None,
    each: Literal["all", "one"] = "all",
    **fields: object,
) -> list[workflow.Problem]:
    """Problems of the corruptions or the augmentation alone."""
    series = replace(SERIES, modality=modality, unit="HU" if modality == "CT" else "", **fields)  # type: ignore[arg-type]
    recipe = recipes.load("denoise").model_copy(
        update={
            "targets": SyntheticTargets(corruptions=tuple(corruptions), each=each),
            "augmentation": augmentation or Augmentation(),
        }
    )
    job = workflow.TrainJob("general-small", recipe, (series,), Path("run"))
    return [
        problem
        for problem in workflow.check(job)
        if problem.where[:2] == ("targets", "synthetic") or problem.where[:1] == ("augmentation",)
    ]


def test_corruptions_that_fit_raise_no_problem() -> None:
    assert found([parts.Gaussian(), parts.LowDoseCT(), parts.Blur(), parts.PoissonGaussian()]) == []
    assert found([parts.Rician()], "MR", Augmentation(kspace=20)) == []
    assert found([parts.Speckle()], "US") == []
    assert found([parts.Rician()], "OT") == []


def test_ct_dose_on_other_scans_blocks_and_says_where() -> None:
    (problem,) = found([parts.Gaussian(), parts.LowDoseCT()], "MR")
    assert problem.blocking and problem.where == ("targets", "synthetic", "corruptions", 1, "ct_dose")
    assert "MR" in problem.message and problem.message.startswith("“CT at lower dose”") and problem.hint
    (problem,) = found([parts.LowDoseCT()], "OT")
    assert not problem.blocking and "HU" in problem.message


def test_of_several_that_a_patch_gets_one_of_each_is_put_on_scans_it_fits() -> None:
    several = [parts.Gaussian(), parts.LowDoseCT(), parts.Rician()]
    assert found(several, "MR", each="one") == found(several, "CT", each="one") == []
    (problem,) = found([parts.LowDoseCT()], "MR", each="one")
    assert problem.blocking


@pytest.mark.parametrize(
    ("part", "modality"), [(parts.Rician(), "CT"), (parts.Speckle(), "MR"), (parts.PoissonGaussian(), "MR")]
)
def test_noise_that_such_a_scanner_does_not_make_is_a_warning(part: Corruption, modality: str) -> None:
    (problem,) = found([part], modality)
    assert not problem.blocking and modality in problem.message and "Match my scanner" in problem.hint


def test_dose_warns_of_unknown_pixels_reformats_and_full_dose() -> None:
    (problem,) = found([parts.LowDoseCT()], geometry=Geometry((3.0, 0.0, 0.0)))
    assert "pixel size" in problem.message
    (problem,) = found([parts.LowDoseCT()], geometry=Geometry((3.0, 0.7, 0.7), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)))
    assert "coronal or sagittal" in problem.message
    (problem,) = found([parts.LowDoseCT(low=1, high=1)])
    assert problem.where[-1] == "low" and "adds nothing" in problem.message


def test_strengths_without_sense_are_warned_of() -> None:
    for part, words in (
        (parts.Gaussian(low=10, high=200), "more than half"),
        (parts.Impulse(low=0.1, high=0.8), "80%"),
        (parts.Gaussian(low=0, high=0), "changes nothing"),
    ):
        (problem,) = found([part])
        assert words in problem.message and problem.where[-1] == "high" and not problem.blocking
    assert found([parts.Missing(low=0, high=0, rows=0.1)]) == []


def test_k_space_of_other_scans_is_warned_of() -> None:
    (problem,) = found([parts.Gaussian()], "CT", Augmentation(kspace=20))
    assert problem.where == ("augmentation", "kspace") and not problem.blocking


def test_corruptions_of_recipes_that_add_no_noise_are_not_looked_at() -> None:
    recipe = recipes.load("denoise").model_copy(update={"targets": PairedTargets()})
    job = workflow.TrainJob("general-small", recipe, (SERIES,), Path("run"))
    assert not [problem for problem in workflow.check(job) if "corruptions" in problem.where]
