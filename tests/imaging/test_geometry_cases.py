"""Real headers of every awkward kind: what is wrong with each, found by reading its headers, and what we say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from aegui.imaging.geometry import obstacle
from aegui.imaging.series import Series
from tests.imaging.made_files import scanned


@dataclass(frozen=True)
class Case:
    """A folder and the series that are in it. truth: as its headers say. Of each series: slices, distance, what we
    say, whether it is denoised, why it has no other planes ("" where it has)."""

    folder: str
    truth: str
    slices: tuple[int, ...]
    distance: tuple[float, ...]
    said: tuple[tuple[str, ...], ...] = ((),)
    treat: str = "denoise"
    planes: str = ""
    first: str = ""


APART = "Slices of unequal orientation and pixel size kept apart"
CASES = (
    Case(
        "failing/gantrytilting/001",
        "Four CT slices 5 mm apart along the table, planes leaning by asin 0.2419 = 14.0°: 5 · cos 14° = 4.85 mm.",
        (4,),
        (4.8515,),
        (("Gantry tilt 14°",),),
        planes="The slices are stacked at an angle of 14°",
        first="IM-0001-0001.dcm",
    ),
    Case(
        "failing/notavolume/001",
        "Four images of a contrast bolus, acquisitions 12 to 15, all at z = 61.5.",
        (4,),
        (0.0,),
        (("4 slices at one position",),),
        planes="All slices lie at one position",
        first="001.dcm",
    ),
    Case(
        "failing/slicecount/001",
        "Two sagittal MR slices 1 mm apart: regular, only few.",
        (2,),
        (1.0,),
        first="IM-0001-0002-0001.dcm",  # rows to posterior, columns to inferior: the normal points to the right
    ),
    Case(
        "failing/sliceincrement/001",
        "CT at 18.1, 23.1, 28.1 and 38.1 mm: the slice at 33.1 is missing.",
        (4,),
        (5.0,),
        (("Gap: 1 slice missing after 3",),),
        planes="Slices are missing",
        first="IM-0001-0007-0001.dcm",
    ),
    Case(
        "failing/sliceincrement/002",
        "CT 0.778 mm apart along the table, planes leaning by asin 0.2672 = 15.5°: 0.7497 mm; number 4 is missing.",
        (4,),
        (0.7497,),
        (("Gap: 1 slice missing after 3", "Gantry tilt 16°"),),
        planes="Slices are missing",
        first="IM-0001-0001.dcm",
    ),
    Case(
        "failing/sliceorientation/001",
        "One series UID over two MR stacks: sagittal, 0.32 mm pixels, 3.3 mm apart; axial, 0.556 mm, 4.4 mm apart.",
        (2, 2),
        (3.3, 4.4),
        ((APART,), (APART,)),
    ),
    Case(
        "generic/compressed/001",
        "Four sagittal MR slices 1 mm apart, JPEG 2000 lossless: nothing wrong.",
        (4,),
        (1.0,),
        first="IM-0001-0004-0001.dcm",
    ),
    Case(
        "generic/rgb/001",
        "Secondary captures of a coloured map, RGB, 3 mm apart, Instance Numbers against the positions.",
        (4,),
        (3.0,),
        treat="view",
        first="IM-0001-0001-0001.dcm",
    ),
    Case(
        "philips_enhanced/anatomical/001",
        "Enhanced MR, eight sagittal frames 1.2 mm apart, first on the left: the normal points to the right.",
        (8,),
        (1.2,),
    ),
    Case(
        "philips_enhanced/anatomical/001_implicit",
        "Enhanced MR in implicit VR, eight oblique sagittal frames 1 mm apart.",
        (8,),
        (1.0,),
    ),
    Case(
        "siemens_multiframe/anatomical/001",
        "Enhanced MR, eight oblique axial frames 0.9 mm apart, all groups per frame.",
        (8,),
        (0.9,),
    ),
)


def _series(folder: Path) -> list[Series]:
    return [series for series in scanned(folder).series if series.form == "dicom"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_every_awkward_case_gets_its_verdict(shared: Path, case: Case) -> None:
    found = sorted(_series(shared / "geometry_cases" / case.folder), key=lambda series: series.geometry.spacing[0])
    assert [series.slices for series in found] == list(case.slices)
    np.testing.assert_allclose([series.geometry.spacing[0] for series in found], case.distance, atol=2e-4)
    assert [series.warnings for series in found] == list(case.said)
    assert {series.treat for series in found} == {case.treat}
    assert {obstacle(series.geometry) for series in found} == {case.planes}
    if case.first:
        assert found[0].files[0].name == case.first


def test_the_table_holds_every_case_there_is(shared: Path) -> None:
    root = shared / "geometry_cases"
    folders = {str(file.parent.relative_to(root)) for file in root.rglob("*.dcm")}
    assert folders == {case.folder for case in CASES}


def test_slices_of_every_case_ascend_along_their_normal(shared: Path) -> None:
    for series in _series(shared / "geometry_cases"):
        row, column = np.reshape(series.geometry.orientation, (2, 3))
        along = np.asarray(series.geometry.positions) @ np.cross(row, column)
        assert np.all(np.diff(along) >= -1e-6), series.files[0]


def test_frames_of_enhanced_cases_follow_their_positions(shared: Path) -> None:
    for series in _series(shared / "geometry_cases"):
        if series.frames:
            assert sorted(series.frames) == list(range(8))
            assert series.geometry.positions[0] != series.geometry.positions[-1]
