"""Every file of pydicom's own test set and of pydicom-data has the outcome that the table says."""

import csv
import shutil
from pathlib import Path

import pytest

from aegui.decoding import DecodingError
from aegui.errors import UserError
from aegui.imaging import open_series
from tests.imaging.made_files import scanned
from tests.imaging.pydicom_table import TABLE, Row, decoded, digest, files, greatest_difference, roots
from tests.imaging.pydicom_table import scanned as scanned_alone

ROWS = [Row(**row) for row in csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())]


def path_of(row: Row) -> Path:
    root, _, rest = row.file.partition("/")
    if root not in roots():
        pytest.skip("pydicom-data is not installed")
    path = roots()[root] / rest
    if not path.exists():
        pytest.skip("this version of pydicom has no such file")
    return path


def test_the_table_names_every_file_with_a_decoder_or_a_reason() -> None:
    assert {row.file for row in ROWS} >= {name for name, _ in files()}
    assert all(row.scan and row.pixels and bool(row.sha256) == bool(row.difference) for row in ROWS)
    assert sum(bool(row.sha256) for row in ROWS) > 150


@pytest.mark.parametrize("row", [row for row in ROWS if row.sha256], ids=lambda row: row.file)
def test_the_pixels_are_those_of_a_second_decoder(row: Row) -> None:
    path = path_of(row)
    frames, values = decoded(path)
    compared = greatest_difference(path, frames, values)
    if compared is not None:
        name, difference, allowed = compared
        assert difference <= allowed, f"{name} differs by {difference:g}"
    # What is exact is so on every machine, and was compared when the table was made.
    if row.difference == "0" or compared is None:
        assert digest(values) == row.sha256


@pytest.mark.parametrize("row", [row for row in ROWS if not row.sha256], ids=lambda row: row.file)
def test_what_has_no_readable_pixels_is_refused_in_words(row: Row) -> None:
    with pytest.raises((ValueError, DecodingError)) as caught:
        decoded(path_of(row))
    assert str(caught.value) == row.pixels


def test_scanning_each_file_alone_says_what_the_table_says() -> None:
    wrong = {}
    for row in ROWS:
        root, _, rest = row.file.partition("/")
        if root in roots() and (path := roots()[root] / rest).exists() and (found := scanned_alone(path)) != row.scan:
            wrong[row.file] = (row.scan, found)
    assert wrong == {}


def test_scanning_all_files_at_once_loses_none_and_every_slice_reads_or_is_refused(tmp_path: Path) -> None:
    for name, path in files():
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    refused = []
    for series in scanned(tmp_path).series:
        if series.treat == "list":
            continue
        source = open_series(series)
        for index in {0, len(source) // 2, len(source) - 1}:
            try:
                assert source.read(index).shape[:2] == source.valid(index).shape == (series.rows, series.columns)
            except UserError as error:
                refused.append(str(error))
        source.close()
    assert all("JPEG2000-embedded-sequence-delimiter.dcm" in reason for reason in refused)
