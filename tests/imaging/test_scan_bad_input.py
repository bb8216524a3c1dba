"""Broken, hostile and vanishing files: each is named with its reason, and the rest goes on."""

import os
import shutil
import socket
import struct
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid

from aegui.events import Done, Progress, finish
from aegui.imaging import Skipped, scan
from aegui.imaging.dicom import grouping, headers
from tests.imaging.made_files import WHEEL, dataset, only, save, scanned, stack


def fate(path: Path) -> Skipped:
    """What is said of the one file beside two good slices."""
    stack(path.parent / "good", [0.0, 2.5], series="1.2.77")
    result = scanned(path.parent)
    assert [s.slices for s in result.series if s.uid == "1.2.77"] == [2]
    (skipped,) = result.skipped
    assert skipped.file == path
    return skipped


def patched(path: Path, tag: tuple[int, int], value: bytes, vr: bytes = b"US") -> Path:
    """Overwrite the value of a short explicit element."""
    data = bytearray(path.read_bytes())
    at = data.find(struct.pack("<HH", *tag) + vr, 132)
    assert at > 0
    data[at + 8 : at + 8 + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": None}, "Damaged: Rows not given."),
        ({"Columns": None}, "Damaged: Columns not given."),
        ({"BitsAllocated": None}, "Damaged: Bits Allocated not given."),
        ({"Rows": None, "Columns": None}, "Damaged: Rows, Columns not given."),
        ({"Rows": 0}, "Damaged: Rows not given."),
    ],
)
def test_what_pixels_cannot_be_read_without_is_named_when_it_is_missing(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    skipped = fate(save(dataset(**change), tmp_path / "a.dcm"))
    assert (skipped.reason, skipped.damaged) == (reason, True)


def test_a_header_that_claims_more_than_any_memory_holds_is_refused_without_taking_it(tmp_path: Path) -> None:
    item = dataset(Rows=65535, Columns=65535, NumberOfFrames=10000)
    plain = save(item, tmp_path / "plain" / "a.dcm")
    item = dataset(series="1.2.5", Rows=65535, Columns=65535, NumberOfFrames=10000, syntax="1.2.840.10008.1.2.4.70")
    item.PixelData = encapsulate([b"\xff\xd8\xff\xd9" * 10])
    item["PixelData"].is_undefined_length = True
    packed = save(item, tmp_path / "packed" / "a.dcm")
    tracemalloc.start()
    for path in (plain, packed):
        skipped = fate(path)
        assert skipped.reason == "Its header claims 65535 × 65535 pixels, more than can be read."
        assert skipped.damaged
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_video_that_claims_more_frames_than_it_has_bytes_is_refused(tmp_path: Path) -> None:
    item = dataset(NumberOfFrames=900_000_000, syntax="1.2.840.10008.1.2.4.100")
    item.PixelData = encapsulate([b"\0" * 64])
    item["PixelData"].is_undefined_length = True
    skipped = fate(save(item, tmp_path / "a.dcm"))
    assert skipped.reason == "Its header claims 900000000 frames, more than it has bytes."


@pytest.mark.parametrize("claimed", [10**9, 2**31 - 1, 999_999_999_999])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"])
def test_an_absurd_number_of_frames_is_refused_and_not_taken_for_one(tmp_path: Path, claimed: int, syntax: str) -> None:
    item = dataset(NumberOfFrames=claimed, syntax=syntax)
    if syntax.endswith(".5"):
        item.PixelData = encapsulate([b"\0" * 64])
        item["PixelData"].is_undefined_length = True
    skipped = fate(save(item, tmp_path / "a.dcm"))
    assert skipped.reason == f"Its header claims {claimed} frames, more than can be read."
    assert skipped.damaged


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_a_header_broken_anywhere_is_told_in_our_words(tmp_path: Path, syntax: str) -> None:
    item = dataset(syntax=syntax, RequestAttributesSequence=[dataset()])
    data = save(item, tmp_path / "whole.dcm").read_bytes()
    reasons = set()
    for at in range(130, len(data) - 250, 5):
        for broken in (data[:at], data[:at] + b"\xff" * 8 + data[at + 8 :]):
            (tmp_path / "a.dcm").write_bytes(broken)
            found = headers.read_header(tmp_path / "a.dcm")
            if isinstance(found, Skipped):
                reasons.add(found.reason.removeprefix("Damaged: ").split(" not given")[0])
    assert "Damaged DICOM file: its header cannot be read." in reasons
    assert reasons <= {
        "Damaged DICOM file: its header cannot be read.",
        "Truncated: the file ends before its pixel data.",
        "Holds no pixel data.",
        "Not an image.",
        *("Rows", "Columns", "Bits Allocated"),
    }


def test_a_multi_frame_file_with_fewer_frames_than_it_claims_is_truncated(tmp_path: Path) -> None:
    item = dataset(NumberOfFrames=10000, syntax="1.2.840.10008.1.2.5")
    item.PixelData = encapsulate([b"\0" * 64, b"\0" * 64])
    item["PixelData"].is_undefined_length = True
    skipped = fate(save(item, tmp_path / "a.dcm"))
    assert skipped.reason == "Truncated: 2 of its 10000 frames are there."
    assert skipped.damaged
    plain = fate(save(dataset(NumberOfFrames=10000), tmp_path / "b" / "b.dcm"))
    assert plain.reason.startswith("Truncated: 0 %") and plain.damaged


def test_a_file_cut_anywhere_is_damaged_and_never_a_traceback(tmp_path: Path) -> None:
    whole = save(dataset(KVP=120), tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "whole.dcm").unlink()
    for length in range(1, len(whole), 7):
        (tmp_path / f"{length:05d}.dcm").write_bytes(whole[:length])
    result = scanned(tmp_path)
    assert result.series == ()
    assert len(result.skipped) == len(range(1, len(whole), 7))
    assert all(skipped.damaged for skipped in result.skipped), [s.reason for s in result.skipped if not s.damaged]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", ["NaN", "NaN"]),
        ("PixelSpacing", ["a", "b"]),
        ("PixelSpacing", ["0", "-1"]),
        ("PixelSpacing", ["1e400", "1e400"]),
        ("ImagePositionPatient", ["x", "y", "z"]),
        ("ImageOrientationPatient", ["NaN"] * 6),
        ("ImageOrientationPatient", ["0"] * 6),
        ("InstanceNumber", "seven"),
        ("SliceThickness", "thick"),
        ("EchoTime", "long\\short"),
        ("ImageType", ""),
        ("StudyDate", "yesterday"),
        ("SeriesDescription", "line\nbreak\x07\x00 \\ and more" * 40),
    ],
)
def test_text_where_numbers_belong_does_not_cost_the_slices(tmp_path: Path, keyword: str, value: Any) -> None:
    for i in range(2):
        item = dataset(number=i + 1, z=i * 2.5)
        raw = "\\".join(value) if isinstance(value, list) else value
        item.add_new(keyword, "LT", raw)
        save(item, tmp_path / f"{i}.dcm")
    result = scanned(tmp_path)
    assert sum(series.slices for series in result.series) == 2
    for series in result.series:
        assert all(np.isfinite(series.geometry.spacing)) and all(np.isfinite(series.geometry.orientation))
        assert all(0 <= value < 1e6 for value in series.geometry.spacing)


def test_wrong_value_representations_are_read_for_what_they_hold(tmp_path: Path) -> None:
    item = dataset()
    for keyword, vr, value in (("Rows", "IS", "12"), ("Columns", "DS", "10"), ("BitsAllocated", "UL", 16)):
        item.add_new(keyword, vr, value)
    save(item, tmp_path / "a.dcm")
    series = only(tmp_path)
    assert (series.rows, series.columns) == (12, 10)


@pytest.mark.parametrize(
    "name",
    [
        "line\nbreak",
        "quote'\"s",
        "x" * 200,
        "ünï ✓ 胸",
        "tab\tand\x1bescape",
        " lead and trail ",
        "%s {0} $HOME",
        "-rf",
    ],
)
def test_any_name_a_file_system_takes_is_scanned(tmp_path: Path, name: str) -> None:
    stack(tmp_path / "in" / name, [0.0, 2.5])
    save(dataset(series="1.2.9"), tmp_path / "in" / f"{name}.dcm")
    (tmp_path / "in" / f"{name}.txt").write_text("notes")
    for _ in range(2):
        result = scanned(tmp_path / "in")
        assert sorted(s.slices for s in result.series) == [1, 2]
        assert [(s.file.name, s.reason) for s in result.skipped] == [(f"{name}.txt", "Not an image.")]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_unicode_is_scanned(tmp_path: Path) -> None:
    source = save(dataset(), tmp_path / "a.dcm")
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    Path(os.fsdecode(folder)).mkdir()
    shutil.move(source, os.fsdecode(folder + b"/\xe9.dcm"))
    for entry in (Path(os.fsdecode(folder)) / os.fsdecode(b"\xe9.dcm"), Path(os.fsdecode(folder))):
        os.utime(entry, (time.time() - 3600,) * 2)
    assert only(tmp_path) == only(tmp_path)


def test_identifiers_with_paths_in_them_are_only_words(tmp_path: Path) -> None:
    item = dataset(SeriesInstanceUID="../../1.2/../etc", StudyInstanceUID="/etc/passwd", PatientID="../P1")
    item.SOPInstanceUID = "../../../x"
    save(item, tmp_path / "in" / "a.dcm")
    before = sorted(tmp_path.rglob("*"))
    series = only(tmp_path / "in")
    assert series.uid == "../../1.2/../etc" and ".." not in series.patient + series.label
    assert [path for path in sorted(tmp_path.rglob("*")) if "homes" not in path.parts] == before


def test_uids_that_are_missing_everywhere_are_made_and_told(tmp_path: Path) -> None:
    for i in range(2):
        item = dataset(number=i, z=i * 2.0, StudyInstanceUID=None, SeriesInstanceUID=None)
        del item.SOPInstanceUID, item.SOPClassUID
        del item.file_meta
        path = tmp_path / "in" / str(i)
        path.parent.mkdir(exist_ok=True)
        item.save_as(path, implicit_vr=True, little_endian=True)
    series, again = only(tmp_path / "in"), only(tmp_path / "in")
    assert series.slices == 2 and series.uid == again.uid
    assert series.uid.startswith("2.25.") and series.study_uid.startswith("2.25.")
    assert "Study and Series UID missing: made from the files" in series.warnings
    assert any(warning.startswith("SOP Instance UIDs missing") for warning in series.warnings)


def links(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    stack(folder / "a", [0.0, 2.5])
    return folder


def test_links_in_a_loop_are_named_and_end(tmp_path: Path) -> None:
    folder = links(tmp_path)
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "one").symlink_to(folder / "two")
    (folder / "two").symlink_to(folder / "one")
    (folder / "dangling").symlink_to(folder / "nowhere")
    result = finish(scan([folder]))
    assert [s.slices for s in result.series] == [2]
    reasons = {s.file.name: s.reason for s in result.skipped}
    assert reasons["up"] == "A link to a folder that is scanned already."
    assert reasons["one"] == reasons["two"] == "Cannot be opened: Too many levels of symbolic links."
    assert reasons["dangling"] == "Cannot be opened: No such file or directory."


def test_linked_folders_and_files_are_followed_and_counted_once(tmp_path: Path) -> None:
    folder = links(tmp_path)
    stack(tmp_path / "elsewhere", [0.0, 2.5, 5.0], series="1.2.8")
    (folder / "0_link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "1_link").symlink_to(folder / "a", target_is_directory=True)
    (folder / "2_link").symlink_to(folder / "a" / "000.dcm")
    result = finish(scan([folder]))
    assert sorted((s.slices, s.files[0].parent.name) for s in result.series) == [(2, "a"), (3, "0_link")]
    assert [(s.file.name, s.reason) for s in result.skipped] == [
        ("1_link", "A link to a folder that is scanned already.")
    ]


@pytest.mark.skipif(os.name != "posix", reason="POSIX only")
def test_pipes_sockets_and_devices_are_named_and_never_opened(tmp_path: Path) -> None:
    folder = links(tmp_path)
    os.mkfifo(folder / "pipe.dcm")
    (folder / "device.dcm").symlink_to("/dev/zero")
    here = Path.cwd()
    os.chdir(folder)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as item:
            item.bind("socket.dcm")
    finally:
        os.chdir(here)
    result = finish(scan([folder]))
    assert [s.slices for s in result.series] == [2]
    assert {s.file.name: s.reason for s in result.skipped} == dict.fromkeys(
        ("pipe.dcm", "socket.dcm", "device.dcm"), "Not a file."
    )
    assert [s.reason for s in finish(scan([folder / "pipe.dcm"])).skipped] == ["Not a file."]


def test_a_folder_and_a_file_without_permission_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = links(tmp_path)
    closed = save(dataset(series="1.2.8"), folder / "closed" / "a.dcm")
    secret = save(dataset(series="1.2.9"), folder / "b" / "secret.dcm")
    scandir, opened = os.scandir, Path.open

    # The tests may run as root, whom no permission stops.
    def no_scandir(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def no_open(self: Path, *args: Any, **options: Any) -> Any:
        if self.name == "secret.dcm":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **options)

    monkeypatch.setattr(os, "scandir", no_scandir)
    monkeypatch.setattr(Path, "open", no_open)
    result = finish(scan([folder]))
    assert [s.slices for s in result.series] == [2]
    assert {s.file: (s.reason, s.damaged) for s in result.skipped} == {
        closed.parent: ("Cannot be opened: Permission denied.", True),
        secret: ("Cannot be read: Permission denied.", True),
    }


def test_files_that_vanish_during_the_scan_are_named(tmp_path: Path) -> None:
    paths = stack(tmp_path / "in", [0.0, 2.5, 5.0])
    job = scan([tmp_path / "in"])
    assert isinstance(next(job), Progress)
    paths[1].unlink()
    event = next(job)
    while not isinstance(event, Done):
        event = next(job)
    assert event.result.series[0].slices == 2
    assert [(s.file, s.reason) for s in event.result.skipped] == [
        (paths[1], "Cannot be read: No such file or directory.")
    ]


def test_files_that_vanish_after_they_were_read_stay_in_the_result(tmp_path: Path) -> None:
    for i in (1, 2):
        item = dataset(number=None, z=None)
        item.SOPInstanceUID = "1.2.3"
        save(item, tmp_path / "in" / f"{i}.dcm")
    found = [headers.read_header(path) for path in sorted((tmp_path / "in").iterdir())]
    shutil.rmtree(tmp_path / "in")

    assert all(isinstance(item, headers.Header) for item in found)
    series = [s for part, _ in grouping.gather(found) for s in part]  # type: ignore[arg-type]
    assert sum(len(s.files) for s in series) >= 1


def test_many_series_are_sorted_quickly(tmp_path: Path) -> None:
    path = save(dataset(), tmp_path / "a.dcm")
    header = headers.read_header(path)
    assert isinstance(header, headers.Header)

    many = [
        replace(header, file=tmp_path / f"{i}.dcm", series_uid=generate_uid(None), sop_uid=f"1.2.{i}")
        for i in range(500)
    ]
    start = time.process_time()
    assert sum(len(found) for found, _ in grouping.gather(many)) == 500
    assert time.process_time() - start < 1


def test_bytes_where_a_private_element_should_hold_a_number_do_no_harm(tmp_path: Path) -> None:
    item = dataset(modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4")
    block: Dataset = item
    block.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    block.add_new(0x0019100C, "UN", b"\xff\xfe\x00\x80\x81")
    block.add_new(0x20011003, "UN", b"\x00\x01")
    block.add_new(0x00431039, "OB", b"1\\2\\3\\x")
    save(item, tmp_path / "a.dcm")
    assert only(tmp_path).slices == 1


def test_files_of_the_wheel_are_damaged_where_slices_are_lost() -> None:
    # The slices of the CDs come without pixels.
    damaged = {
        s.file.name: s.reason for s in scanned(WHEEL).skipped if s.damaged and "dicomdirtests" not in str(s.file)
    }
    assert damaged == {
        "MR_truncated.dcm": "Truncated: 99 % of its pixel data are there.",
        "no_meta.dcm": "Not a DICOM file, whatever its name says.",
        "nested_priv_SQ.dcm": "Damaged: Rows, Columns, Bits Allocated not given.",
        "meta_missing_tsyntax.dcm": "Damaged: Rows, Columns, Bits Allocated not given.",
        "UN_sequence.dcm": "Holds no pixel data.",
        "priv_SQ.dcm": "Holds no pixel data.",
        "empty_charset_LEI.dcm": "Damaged DICOM file: it does not say what it holds.",
        "rtplan_truncated.dcm": "Truncated: the file ends before its pixel data.",
    }
