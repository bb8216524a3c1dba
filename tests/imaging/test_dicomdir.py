"""A DICOMDIR that is opened leads to the files it names, within its own folder."""

import os
import shutil
from pathlib import Path

import pydicom
from pydicom.fileset import FileSet

from tests.imaging.made_files import WHEEL, dataset, save, scanned


def medium(folder: Path, slices: int = 3) -> Path:
    """A file set with its DICOMDIR."""
    files = FileSet()
    for i in range(slices):
        item = dataset(number=i + 1, z=i * 2.0, StudyID="1", StudyTime="101010", AccessionNumber="")
        item.PatientName, item.SeriesNumber = "Doe^Jane", 3
        files.add(item)
    files.write(folder)
    files._stage["t"].cleanup()  # pydicom leaves that to the garbage collector, which warns
    return folder / "DICOMDIR"


def rename(dicomdir: Path, number: int, parts: list[str]) -> None:
    """Let the n-th image record name another file."""
    item = pydicom.dcmread(dicomdir)
    records = [record for record in item.DirectoryRecordSequence if "ReferencedFileID" in record]
    records[number].ReferencedFileID = parts
    item.save_as(dicomdir)


def test_a_dicomdir_that_is_opened_gives_the_series_it_names_and_nothing_else(tmp_path: Path) -> None:
    dicomdir = medium(tmp_path / "cd")
    save(dataset(series="1.2.99"), tmp_path / "cd" / "not_named.dcm")
    result = scanned(dicomdir)
    assert [(s.uid, s.slices, s.root) for s in result.series] == [("1.2.3.1", 3, tmp_path / "cd")]
    assert [(s.file.name, s.reason) for s in result.skipped] == [
        ("DICOMDIR", "DICOMDIR: the files it names were scanned.")
    ]


def test_in_a_folder_that_is_scanned_the_dicomdir_is_only_listed(tmp_path: Path) -> None:
    medium(tmp_path / "cd")
    result = scanned(tmp_path / "cd")
    assert [s.slices for s in result.series] == [3]
    assert [s.reason for s in result.skipped] == ["DICOMDIR: only lists other files."]


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    dicomdir = medium(tmp_path / "cd")
    lost = scanned(dicomdir).series[0].files[1]
    lost.unlink()
    result = scanned(dicomdir)
    assert result.series[0].slices == 2
    named = [s for s in result.skipped if s.file == lost]
    assert [(s.reason, s.damaged) for s in named] == [("Named by DICOMDIR, but missing.", True)]
    (skipped,) = scanned(tmp_path / "cd").skipped
    assert skipped.reason == "DICOMDIR: only lists other files. 1 of the 3 files it names is not there."


def test_a_dicomdir_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    secret = save(dataset(series="1.2.99"), tmp_path / "secret.dcm")
    dicomdir = medium(tmp_path / "cd", slices=4)
    rename(dicomdir, 0, ["..", "secret.dcm"])
    rename(dicomdir, 1, [str(secret)])
    (tmp_path / "cd" / "LINK").symlink_to(secret)
    rename(dicomdir, 2, ["LINK"])
    result = scanned(dicomdir)
    assert [(s.uid, s.slices) for s in result.series] == [("1.2.3.1", 1)]
    reasons = [s.reason for s in result.skipped if s.file.name != "DICOMDIR"]
    assert sorted(reasons) == [
        "Named by DICOMDIR, but it lies outside its folder.",
        "Named by DICOMDIR, but not a name that may be read.",
        "Named by DICOMDIR, but not a name that may be read.",
    ]


def test_names_on_a_cd_may_differ_in_case_and_carry_a_version(tmp_path: Path) -> None:
    dicomdir = medium(tmp_path / "cd")
    for file in scanned(dicomdir).series[0].files:
        file.rename(file.with_name(f"{file.name.lower()};1"))
    assert scanned(dicomdir).series[0].slices == 3


def test_a_dicomdir_is_known_by_its_content_and_a_broken_one_names_nothing(tmp_path: Path) -> None:
    dicomdir = medium(tmp_path / "cd")
    dicomdir.rename(tmp_path / "cd" / "index.dcm")
    assert scanned(tmp_path / "cd" / "index.dcm").series[0].slices == 3
    data = (tmp_path / "cd" / "index.dcm").read_bytes()
    (tmp_path / "cd" / "DICOMDIR").write_bytes(data[:400])
    result = scanned(tmp_path / "cd" / "DICOMDIR")
    assert result.series == () and len(result.skipped) == 1


def test_the_dicomdirs_of_real_cds_lead_to_their_files(tmp_path: Path) -> None:
    shutil.copytree(WHEEL / "dicomdirtests", tmp_path / "cd")
    result = scanned(tmp_path / "cd" / "DICOMDIR")
    assert sum(len(s.files) for s in result.series) == 31
    assert all(os.fspath(file).startswith(os.fspath(tmp_path)) for s in result.series for file in s.files)
