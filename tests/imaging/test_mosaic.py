"""Siemens mosaics: where their tiles lie."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from aegui.imaging import open_series
from aegui.imaging.dicom.mosaic import parse_csa, tiles_of
from tests.imaging.made_files import only, save, scanned
from tests.imaging.made_frames import csa, mosaic

OBLIQUE = [0.96, 0.28, 0.0, 0.0, 0.0, -1.0]  # rows to the left and back, columns downwards
NORMAL = [-0.28, 0.96, 0.0]  # their cross product


def _wrappers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls itself experimental
        return pytest.importorskip("nibabel.nicom.dicomwrappers")


def test_tiles_are_slices_where_the_formula_puts_them(tmp_path: Path) -> None:
    # By hand: 5 tiles in a 3 × 3 picture of 18 × 12 pixels; the first tile begins (18 − 6) / 2 rows of 2 mm and
    # (12 − 4) / 2 columns of 1.5 mm further in than Image Position tells: 12 mm and 6 mm.
    item = mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1])
    assert list(item.ImagePositionPatient) == [1 - 6, 2 - 12, 3]
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.rows, series.columns, series.slices, series.mosaic) == (6, 4, 5, 3)
    assert series.frames == (0, 1, 2, 3, 4)
    assert series.geometry.spacing == (3.0, 2.0, 1.5)
    np.testing.assert_allclose(series.geometry.positions, [[1, 2, 3 + 3 * n] for n in range(5)])
    assert (series.treat, series.warnings) == ("denoise", ())


def test_a_normal_against_rows_and_columns_turns_the_order_of_the_tiles(tmp_path: Path) -> None:
    save(mosaic(4, [0.0, 0.0, 30.0], [0, 0, -1]), tmp_path / "a.dcm")
    series = only(tmp_path)
    assert series.frames == (3, 2, 1, 0)
    np.testing.assert_allclose([place[2] for place in series.geometry.positions], [21, 24, 27, 30])


@pytest.mark.parametrize("second", [True, False], ids=["csa2", "csa1"])
@pytest.mark.parametrize("turn", [1, -1])
def test_geometry_agrees_with_nibabel(second: bool, turn: int) -> None:
    dicomwrappers = _wrappers()
    item = mosaic(7, [10.0, -20.0, 30.0], np.multiply(NORMAL, turn), OBLIQUE, second=second, number=3)
    tiles = tiles_of(item)
    assert tiles is not None
    other = dicomwrappers.MosaicWrapper(item)
    assert other.image_shape == (tiles.rows, tiles.columns, 7)
    ours = np.asarray(tiles.positions)
    # nibabel's affine goes from (row, column, tile) to the patient.
    theirs = np.array([other.affine @ [0, 0, n, 1] for n in range(7)])[:, :3]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(ours[0], [10, -20, 30], atol=1e-5)


@pytest.mark.parametrize(("name", "weighting"), [("siemens_dwi_0", 0), ("siemens_dwi_1000", 1000)])
def test_real_mosaics_agree_with_nibabel(tmp_path: Path, name: str, weighting: int) -> None:
    dicomwrappers = _wrappers()
    source = Path(dicomwrappers.__file__).parent / "tests" / "data" / f"{name}.dcm.gz"
    if not source.is_file():
        pytest.skip("this nibabel came without its test files")
    (tmp_path / "a.dcm").write_bytes(gzip.decompress(source.read_bytes()))
    series = only(tmp_path)
    other = dicomwrappers.wrapper_from_file(tmp_path / "a.dcm")
    assert (series.rows, series.columns, series.slices) == other.image_shape == (128, 128, 48)
    assert (series.mosaic, series.frames, series.acquisition["b_value"]) == (7, tuple(range(48)), weighting)
    theirs = np.array([other.affine @ [0, 0, n, 1] for n in range(48)])[:, :3]
    np.testing.assert_allclose(series.geometry.positions, theirs, atol=1e-4)


def test_numbers_of_both_kinds_of_csa_header_are_read() -> None:
    told = {"Empty": [], "SliceNormalVector": [0.0, 0.5, -0.5], "B_value": [1000.0], "Last": []}
    for second in (True, False):
        assert parse_csa(csa(told, second)) == {"SliceNormalVector": (0.0, 0.5, -0.5), "B_value": (1000.0,)}


def test_the_first_tag_of_a_csa_header_may_hold_items() -> None:
    told = {"EchoLinePosition": [64.0], "SliceNormalVector": [0.0, 0.5, -0.5], "Last": []}
    for second in (True, False):
        assert parse_csa(csa(told, second)) == {"EchoLinePosition": (64.0,), "SliceNormalVector": (0.0, 0.5, -0.5)}


def test_a_broken_csa_header_leaves_the_normal_of_the_plane(tmp_path: Path) -> None:
    item = mosaic(4, [0.0, 0.0, 30.0], [0, 0, -1])
    item[0x0029, 0x1010].value = b"SV10" + b"\xff" * 60
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert series.frames == (0, 1, 2, 3)
    assert series.geometry.positions[3] == (0.0, 0.0, 39.0)


def test_the_number_of_tiles_may_stand_in_the_csa_header_only(tmp_path: Path) -> None:
    item = mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1])
    del item[0x0019, 0x100A]
    save(item, tmp_path / "a.dcm")
    assert only(tmp_path).slices == 5


def test_a_mosaic_that_does_not_say_how_many_tiles_it_has_is_shown_as_one_picture(tmp_path: Path) -> None:
    item = mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1])
    del item[0x0019, 0x100A], item[0x0029, 0x1010]
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.rows, series.columns, series.slices, series.mosaic, series.frames) == (18, 12, 1, 0, ())
    assert series.treat == "view" and "cannot be told apart" in series.reason


def test_mosaics_of_one_series_are_repeats_or_b_values(tmp_path: Path) -> None:
    for number, (weighting, moment) in enumerate([(0, 1), (1000, 2), (0, 3), (1000, 4)]):
        item = mosaic(4, [0.0, 0.0, 0.0], [0, 0, 1], number=number, AcquisitionTime=f"10000{moment}")
        item.private_block(0x0019, "SIEMENS MR HEADER").add_new(0x0C, "IS", str(weighting))
        save(item, tmp_path / f"{number}.dcm")
    found = {series.files[0].stem: series for series in scanned(tmp_path).series}
    assert {name: series.description for name, series in found.items()} == {
        "0": "Thorax · b 0 · Repeat 1 of 2",
        "2": "Thorax · b 0 · Repeat 2 of 2",
        "1": "Thorax · b 1000 · Repeat 1 of 2",
        "3": "Thorax · b 1000 · Repeat 2 of 2",
    }
    assert {series.geometry for series in found.values()} == {found["0"].geometry}
    assert [found[name].acquisition["b_value"] for name in "0123"] == [0, 1000, 0, 1000]
    assert len({series.uid for series in found.values()}) == 4


def test_tiles_are_read_in_the_order_of_their_places(tmp_path: Path) -> None:
    save(mosaic(4, [0.0, 0.0, 30.0], [0, 0, -1]), tmp_path / "a.dcm")
    source = open_series(only(tmp_path))
    assert [float(source.read(i).mean()) for i in range(4)] == [103, 102, 101, 100]
    assert source.read(0).shape == (6, 4)
    assert pydicom.dcmread(tmp_path / "a.dcm").Rows == 12
