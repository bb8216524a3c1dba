"""Zip exports of PACS and CDs: unpacked once, never outside the cache, and nothing in them passed over in silence."""

import shutil
import struct
import zipfile
from pathlib import Path

import pytest

from tests.imaging.made_files import WHEEL, dataset, only, save, scanned, stack


def pack(folder: Path, name: str = "scan.zip") -> Path:
    target = folder.parent / name
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return target


def locked(path: Path, member: str) -> None:
    """Mark a member as encrypted, in both of its headers."""
    data = bytearray(path.read_bytes())
    name = member.encode()
    for mark, flags, begin in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            if data[at + begin : at + begin + len(name)] == name:
                struct.pack_into("<H", data, at + flags, 1)
    path.write_bytes(data)


def test_a_zip_is_unpacked_once_and_scanned(tmp_path: Path) -> None:
    stack(tmp_path / "in" / "a", [0.0, 2.5])
    packed = pack(tmp_path / "in")
    series, again = only(packed), only(packed)
    assert series.slices == 2 and series.files == again.files
    assert packed.name in series.files[0].parts, "reports tell which zip file it was"


def test_a_zip_cannot_write_outside_its_folder_and_says_what_it_left(tmp_path: Path) -> None:
    item = save(dataset(), tmp_path / "in" / "a.dcm")
    names = ("../../evil.dcm", "/srv/evil.dcm", "C:\\evil.dcm", "..\\evil.dcm", "aux.dcm")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in (*names, "ok/a.dcm"):
            member = zipfile.ZipInfo("x")
            member.filename = name  # the constructor would make it harmless
            archive.writestr(member, item.read_bytes())
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    for _ in range(2):  # the second time it is unpacked already
        result = scanned(tmp_path / "evil.zip")
        assert [f.name for f in result.series[0].files] == ["a.dcm"]
        reasons = {str(s.file).split("evil.zip/", 1)[1]: s.reason for s in result.skipped}
        assert reasons == {
            **dict.fromkeys(
                (name.lstrip("/") for name in names[:4]), "Not unpacked: its name points outside the zip file."
            ),
            "aux.dcm": "Not unpacked: Windows keeps its name for devices.",
            "link": "Not unpacked: it is a link.",
        }
    assert not list(tmp_path.rglob("evil.dcm"))


def test_a_zip_bomb_and_a_broken_zip_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegui.imaging.limits.SMALL", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(30 << 20))
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    skipped = {s.file.name: s for s in scanned(tmp_path).skipped}
    assert skipped["bomb.zip"].reason.startswith("bomb.zip unpacks to more than")
    assert skipped["broken.zip"].reason == "broken.zip is damaged or not a zip file."
    assert skipped["broken.zip"].damaged
    assert not [p for p in (tmp_path / "homes").rglob("*") if p.name == "zeros"]


def test_a_damaged_member_is_named_and_the_others_are_scanned(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5, 5.0])
    packed = pack(tmp_path / "in")
    data = bytearray(packed.read_bytes())
    at = data.find(b"in/001.dcm") + 60
    data[at : at + 40] = bytes(40)
    packed.write_bytes(data)
    result = scanned(packed)
    assert result.series[0].slices == 2
    assert [(s.file, s.reason, s.damaged) for s in result.skipped] == [
        (packed / "in" / "001.dcm", "Damaged within the zip file: it cannot be unpacked.", True)
    ]


def test_a_password_is_named_for_the_whole_zip_and_for_one_member(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    one, both = pack(tmp_path / "in", "one.zip"), pack(tmp_path / "in", "both.zip")
    locked(one, "in/000.dcm")
    for member in ("in/000.dcm", "in/001.dcm"):
        locked(both, member)
    result = scanned(one)
    assert result.series[0].slices == 1
    assert [(s.file.name, s.reason) for s in result.skipped] == [
        ("000.dcm", "Not unpacked: it is protected by a password.")
    ]
    assert [s.reason for s in scanned(both).skipped] == ["both.zip is protected by a password."]


def test_a_zip_in_a_zip_an_empty_zip_and_a_name_given_twice_are_named(tmp_path: Path) -> None:
    item = save(dataset(), tmp_path / "in" / "a.dcm")
    inner = pack(tmp_path / "in", "inner.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.write(inner, "deep/inner.zip")
        archive.write(item, "a.dcm")
        archive.write(item, "a.dcm")
    result = scanned(tmp_path / "outer.zip", tmp_path / "empty.zip")
    assert result.series[0].slices == 1
    assert {s.file.name: s.reason for s in result.skipped} == {
        "inner.zip": "A zip file within a zip file: unpack it and open the folder.",
        "a.dcm": "Not unpacked: another file in the zip file has the same name.",
        "empty.zip": "Empty zip file.",
    }


def test_the_dicomdir_of_a_zipped_cd_is_listed_and_its_files_are_scanned(tmp_path: Path) -> None:
    shutil.copytree(WHEEL / "dicomdirtests", tmp_path / "in", ignore=shutil.ignore_patterns("DICOMDIR-*", "*nested*"))
    result = scanned(pack(tmp_path / "in"))
    assert len(result.series) >= 3
    assert "DICOMDIR: only lists other files." in [s.reason for s in result.skipped if s.file.name == "DICOMDIR"]


def test_a_full_disk_stops_the_unpacking_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    packed = pack(tmp_path / "in")

    class Full:
        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", *a, **k: Full() if mode == "xb" else opened(self, mode, *a, **k)
    )
    (skipped,) = scanned(packed).skipped
    assert skipped.reason == "Cannot be unpacked: No space left on device."
    assert not list((tmp_path / "homes" / "cache" / "archives").iterdir())
