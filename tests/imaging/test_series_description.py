"""Series Description: the user's words in the character set that the source declares."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from tests.imaging.made_files import copied, dataset, only, opened, save


@pytest.mark.parametrize(
    ("charset", "description", "suffix", "expected"),
    [
        (None, "Thorax", "_geglättet", "Thorax_geglattet"),
        ("ISO_IR 100", "Übersicht", "_geglättet", "Übersicht_geglättet"),
        ("ISO_IR 100", "Übersicht", "_降噪_DN", "Übersicht__DN"),
        ("ISO_IR 192", "胸部", "_降噪", "胸部_降噪"),
        (["", "ISO 2022 IR 87"], "胸部", "_é", "胸部_e"),
        ("NO SUCH SET", "Thorax", "_é", "Thorax_e"),
    ],
)
def test_the_suffix_is_spelled_in_the_sources_characters(
    tmp_path: Path, charset: str | list[str] | None, description: str, suffix: str, expected: str
) -> None:
    item = dataset(SeriesDescription=description)
    if charset is not None:
        item.SpecificCharacterSet = charset
    save(item, tmp_path / "in" / "a.dcm")
    (path,) = copied(opened(tmp_path / "in"), tmp_path / "out", suffix=suffix).iterdir()
    new = pydicom.dcmread(path)
    assert new.SeriesDescription == expected
    assert new.get("SpecificCharacterSet") == charset


def test_what_is_shown_of_a_header_is_one_plain_line(tmp_path: Path) -> None:
    item = dataset(Modality="CT", SeriesDescription="Head\x1b[2J\nneck \u202egnol")
    item.SpecificCharacterSet = "ISO_IR 192"
    save(item, tmp_path / "in" / "a.dcm")
    assert only(tmp_path / "in").description == "Head [2J neck gnol"
    item.SeriesDescription = ["A", "B"]
    save(item, tmp_path / "in" / "a.dcm")
    assert only(tmp_path / "in").description == r"A\B"
