"""Which slices are neighbours in space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aegui.imaging import Geometry, Series, beside


def series(places: list[tuple[float, float, float]], distance: float = 2.0, slices: int = 0) -> Series:
    return Series(
        uid="1",
        study_uid="1",
        patient="p",
        label="ANON-0001",
        study_date="",
        modality="CT",
        description="",
        form="dicom",
        files=(Path("a"),),
        rows=8,
        columns=8,
        slices=slices or len(places),
        geometry=Geometry((distance, 0.8, 0.8), positions=tuple(places)),
    )


def stack(*along: float) -> Series:
    return series([(10.0, -4.0, z) for z in along])


def test_neighbours_are_the_slices_before_and_after_in_order() -> None:
    volume = stack(0, 2, 4, 6, 8)
    assert beside(volume, 2, 1) == (1, 2, 3)
    assert beside(volume, 2, 2) == (0, 1, 2, 3, 4)
    assert beside(volume, 2, 0) == (2,)


def test_at_the_ends_the_slice_stands_for_the_one_that_is_not_there() -> None:
    volume = stack(0, 2, 4, 6)
    assert beside(volume, 0, 1) == (0, 0, 1)
    assert beside(volume, 3, 1) == (2, 3, 3)
    assert beside(volume, 1, 2) == (1, 0, 1, 2, 3)


def test_there_is_no_neighbour_beyond_a_gap() -> None:
    volume = stack(0, 2, 4, 10, 12)
    assert beside(volume, 2, 1) == (1, 2, 2) and beside(volume, 3, 1) == (3, 3, 4)
    assert beside(volume, 2, 2) == (0, 1, 2, 2, 2), "nor behind it"


def test_steps_that_are_rounded_or_slightly_uneven_are_no_gap() -> None:
    assert beside(stack(0, 2.05, 3.95, 6), 1, 1) == (0, 1, 2)
    assert beside(stack(0, 2.0, 3.0, 6, 8), 1, 1) == (0, 1, 1)


def test_a_stack_may_run_either_way() -> None:
    assert beside(stack(8, 6, 4, 2), 1, 1) == (0, 1, 2)


def test_a_cine_and_repeats_of_one_place_have_no_neighbours() -> None:
    assert beside(stack(0, 0, 0), 1, 1) == (1, 1, 1)
    repeats = series([(0, 0, z) for z in (0.0, 0.0, 2.0, 2.0, 4.0, 4.0)])
    assert beside(repeats, 2, 1)[0] != 0 and beside(repeats, 1, 1) == (1, 1, 2)


def test_pictures_and_slices_of_unknown_place_have_no_neighbours() -> None:
    assert beside(series([], 0.0, slices=4), 1, 1) == (1, 1, 1)
    assert beside(series([(0, 0, 0)]), 0, 1) == (0, 0, 0)
    some = replace(stack(0, 2, 4), slices=5)
    assert beside(some, 1, 1) == (1, 1, 1)


def test_a_volume_whose_file_tells_the_distance_of_its_slices_is_a_stack() -> None:
    file = series([], 2.0, slices=4)
    assert beside(replace(file, form="volume"), 1, 1) == (0, 1, 2)
    assert beside(file, 1, 1) == (1, 1, 1), "DICOM slices without positions may be views or points in time"


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_slices_that_do_not_lie_upon_each_other_are_no_neighbours(shift: float) -> None:
    tilted = series([(0, shift * k, 2.0 * k) for k in range(4)])
    assert beside(tilted, 1, 1) == ((1, 1, 1) if shift > 0.2 else (0, 1, 2))
