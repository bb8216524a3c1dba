"""The second scan of a folder reads nothing that has not changed; without a usable cache it reads everything."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aegui.events import Stop, finish
from aegui.imaging import ScanResult, cache
from aegui.imaging import scan as scanning
from aegui.imaging.dicom import grouping
from aegui.imaging.dicom.headers import Header
from tests.imaging.made_files import WHEEL, dataset, only, save, scanned, stack
from tests.imaging.made_frames import enhanced

MODULE = "aegui.imaging.scan"


def aged(*paths: Path) -> None:
    """Files of an hour ago: what has just been written is not remembered."""
    for path in paths:
        for file in [path, *path.rglob("*")]:
            os.utime(file, (time.time() - 3600,) * 2)


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    names: list[str] = []
    inspect = scanning.__globals__["_inspect"]

    def noted(file: Path, root: Path) -> object:
        names.append(file.name)
        return inspect(file, root)

    monkeypatch.setitem(scanning.__globals__, "_inspect", noted)
    return names


def same(a: ScanResult, b: ScanResult) -> bool:
    return a == b and [s.acquisition for s in a.series] == [s.acquisition for s in b.series]


def database(homes: Path) -> Path:
    return homes / "cache" / "scans.sqlite"


def test_a_second_scan_reads_no_file_and_finds_the_same(tmp_path: Path, inspected: list[str]) -> None:
    folder = tmp_path / "in"
    stack(folder / "a", [0.0, 2.5, 5.0], KVP=120)
    save(enhanced([{"z": 0.0}, {"z": 2.0}, {"z": 4.0}]), folder / "enhanced.dcm")
    for name in ("rtdose.dcm", "MR_small_RLE.dcm", "examples_palette.dcm", "SC_rgb_rle_2frame.dcm"):
        shutil.copy(WHEEL / name, folder / name)
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(folder / "p1.png")
    np.save(folder / "volume.npy", np.zeros((4, 6, 5), np.float32))
    aged(folder)
    first = scanned(folder)
    assert len(inspected) == 10
    inspected.clear()
    assert same(scanned(folder), first)
    assert inspected == []


@pytest.fixture
def sorted_again(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many headers were sorted into series, each time."""
    counts: list[int] = []
    gather = grouping.gather

    def noted(headers: Sequence[Header]) -> object:
        counts.append(len(headers))
        return gather(headers)

    monkeypatch.setattr(grouping, "gather", noted)
    return counts


def test_a_second_scan_sorts_nothing_again_and_still_names_copies_and_skipped_files(
    tmp_path: Path, sorted_again: list[int]
) -> None:
    folder = tmp_path / "in"
    one, _ = stack(folder, [0.0, 2.5])
    shutil.copy(one, folder / "copy.dcm")
    (folder / "notes.txt").write_text("words")
    aged(folder)
    first = scanned(folder)
    assert same(scanned(folder), first)
    assert sorted_again == [3]
    assert len(first.skipped) == 2


def remove(folder: Path) -> None:
    (folder / "1.dcm").unlink()


def add(folder: Path) -> None:
    save(dataset(z=7.5, number=4), folder / "3.dcm")
    aged(folder / "3.dcm")


def add_another_kind(folder: Path) -> None:
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(folder / "p1.png")
    aged(folder / "p1.png")


def add_a_volume_with_its_values_elsewhere(folder: Path) -> None:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 4 5 2\nElementType = MET_SHORT\nElementSpacing = 1 2 3\n"
    (folder / "a.mhd").write_text(f"{head}ElementDataFile = a.raw\n")
    (folder / "a.raw").write_bytes(bytes(80))
    aged(folder)


def change(folder: Path) -> None:
    data = (folder / "0.dcm").read_bytes()
    (folder / "0.dcm").write_bytes(data.replace(b"Thorax", b"Kidney"))
    os.utime(folder / "0.dcm", (time.time() - 1800,) * 2)


def damage(folder: Path) -> None:
    os.truncate(folder / "1.dcm", 400)
    aged(folder / "1.dcm")


def rename(folder: Path) -> None:
    (folder / "1.dcm").rename(folder / "z.dcm")


def swap(folder: Path) -> None:
    (folder / "1.dcm").rename(folder / "x")
    (folder / "0.dcm").rename(folder / "1.dcm")
    (folder / "x").rename(folder / "0.dcm")


@pytest.mark.parametrize(
    "edit",
    [remove, add, add_another_kind, add_a_volume_with_its_values_elsewhere, change, damage, rename, swap],
    ids=lambda f: f.__name__,
)
def test_a_folder_that_changed_gives_what_a_first_scan_gives(
    tmp_path: Path, edit: Callable[[Path], None], sorted_again: list[int]
) -> None:
    folder = tmp_path / "in"
    for i in range(3):
        save(dataset(z=2.5 * i, number=i + 1), folder / f"{i}.dcm")
    aged(folder)
    before = scanned(folder)
    assert same(scanned(folder), before)
    assert sorted_again == [3]
    edit(folder)
    after = scanned(folder)
    again = scanned(folder)
    cache.clear()
    fresh = scanned(folder)
    assert same(after, fresh)
    assert same(again, fresh)
    assert not same(fresh, before)


def test_a_scan_that_was_stopped_does_not_stand_for_the_whole_folder(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    job = scanning([tmp_path / "in"])
    next(job)
    job.throw(Stop())  # type: ignore[attr-defined]
    finish(job)
    assert only(tmp_path / "in").slices == 2


def test_a_change_of_the_code_reads_everything_anew(
    tmp_path: Path, inspected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    for text in ("a = 1", "a = 1", "a = 22"):
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "scan.py").write_text(text)
        os.utime(tmp_path / "code" / "scan.py", (1, 1))
        monkeypatch.setattr(cache, "_CODE", tmp_path / "code")
        cache._sources.cache_clear()
        scanned(tmp_path / "in")
    cache._sources.cache_clear()
    assert len(inspected) == 4


def test_another_root_is_told_even_of_files_that_are_known(tmp_path: Path) -> None:
    stack(tmp_path / "in" / "a", [0.0, 2.5])
    aged(tmp_path / "in")
    assert only(tmp_path / "in").root == tmp_path / "in"
    assert only(tmp_path / "in" / "a").root == tmp_path / "in" / "a"


def test_a_file_that_changed_is_read_again_though_it_kept_its_size(tmp_path: Path, inspected: list[str]) -> None:
    _, two = stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    scanned(tmp_path / "in")
    inspected.clear()
    data = two.read_bytes()
    two.write_bytes(data.replace(b"Thorax", b"Kidney"))
    os.utime(two, (time.time() - 1800,) * 2)
    assert {s.description for s in scanned(tmp_path / "in").series} >= {"Thorax"}
    assert inspected == [two.name]
    assert two.stat().st_size == len(data)


def test_a_file_written_this_moment_is_not_remembered(tmp_path: Path, inspected: list[str]) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    scanned(tmp_path / "in")
    scanned(tmp_path / "in")
    assert len(inspected) == 4


def test_a_damaged_file_is_looked_at_each_time_it_may_be_whole_again(tmp_path: Path, inspected: list[str]) -> None:
    path = save(dataset(), tmp_path / "in" / "a.dcm")
    os.truncate(path, path.stat().st_size - 20)
    aged(tmp_path / "in")
    for _ in range(2):
        assert scanned(tmp_path / "in").skipped[0].damaged
    assert inspected == ["a.dcm", "a.dcm"]


def test_a_volume_with_its_values_in_another_file_is_not_remembered(tmp_path: Path, inspected: list[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    add_a_volume_with_its_values_elsewhere(folder)
    assert len(scanned(folder).series) == 1
    (folder / "a.raw").unlink()
    assert scanned(folder).series == ()


def test_the_cache_holds_no_patient_id_and_only_its_owner_can_read_it(tmp_path: Path, homes: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.5], PatientID="PID-77123", PatientName="Planted^Name", PatientBirthDate="19701231")
    aged(tmp_path / "in")
    scanned(tmp_path / "in")
    data = database(homes).read_bytes()
    assert b"Thorax" in data
    for secret in (b"PID-77123", b"Planted", b"19701231"):
        assert secret not in data
    if os.name == "posix":
        assert stat.S_IMODE(database(homes).stat().st_mode) == 0o600


def rubbish(path: Path) -> None:
    path.write_bytes(b"not a database " * 500)


def wrong_items(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute('UPDATE items SET item = \'{"rows": "many"}\'')
        file.execute("UPDATE results SET part = '[[{}], []]'")
    file.close()


def wrong_kind(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("UPDATE items SET kind = 'pickle'")
        file.execute("DELETE FROM results")
    file.close()


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [rubbish, wrong_items, wrong_kind, cut_short, a_folder], ids=lambda f: f.__name__)
def test_a_broken_cache_costs_time_and_nothing_else(
    tmp_path: Path, homes: Path, inspected: list[str], spoil: object
) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    first = scanned(tmp_path / "in")
    assert callable(spoil)
    spoil(database(homes))
    inspected.clear()
    assert same(scanned(tmp_path / "in"), first)
    assert len(inspected) == 2


def test_a_cache_that_another_process_has_locked_is_gone_without(
    tmp_path: Path, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_WAIT", 0.05)
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    scanned(tmp_path / "in")
    other = sqlite3.connect(database(homes), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        assert only(tmp_path / "in").slices == 2
    finally:
        other.close()


def test_a_cache_that_cannot_be_written_is_gone_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    opened = cache._open

    def read_only(path: Path) -> sqlite3.Connection:
        opened(path).close()
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    monkeypatch.setattr(cache, "_open", read_only)
    assert only(tmp_path / "in").slices == 2


def test_another_version_of_the_program_reads_everything_anew(
    tmp_path: Path, inspected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    scanned(tmp_path / "in")
    monkeypatch.setattr(cache, "__version__", "99.0")
    scanned(tmp_path / "in")
    assert len(inspected) == 4


def known(homes: Path) -> Sequence[str]:
    with sqlite3.connect(database(homes)) as file:
        names = [Path(os.fsdecode(row[0])).parent.name for row in file.execute("SELECT path FROM items")]
    file.close()
    return sorted(set(names))


def test_what_was_not_used_for_long_is_forgotten_and_the_size_is_bounded(
    tmp_path: Path, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        stack(tmp_path / name, [0.0, 2.5], series=f"1.2.{ord(name)}")
    aged(*(tmp_path / name for name in "abc"))
    scanned(tmp_path / "a")
    scanned(tmp_path / "b")
    with sqlite3.connect(database(homes)) as file:
        file.execute("UPDATE items SET used = used - 100 * 86400 WHERE instr(path, CAST('/a/' AS BLOB))")
        file.execute("UPDATE items SET used = used - 2 * 86400 WHERE instr(path, CAST('/b/' AS BLOB))")
    file.close()
    scanned(tmp_path / "c")
    assert known(homes) == ["b", "c"]
    monkeypatch.setattr(cache, "_MOST", 2)
    stack(tmp_path / "d", [0.0, 2.5], series="1.2.9")
    aged(tmp_path / "d")
    scanned(tmp_path / "d")
    assert "b" not in known(homes)


def test_a_scan_of_more_than_is_kept_keeps_as_much_as_it_can(
    tmp_path: Path, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MOST", 3)
    stack(tmp_path / "a", [0.0, 2.5, 5.0, 7.5, 10.0])
    aged(tmp_path / "a")
    scanned(tmp_path / "a")
    with sqlite3.connect(database(homes)) as file:
        kept = file.execute("SELECT count(*) FROM items").fetchone()[0]
    file.close()
    assert kept == 3


def test_use_keeps_what_is_known_alive(tmp_path: Path, homes: Path) -> None:
    stack(tmp_path / "a", [0.0, 2.5])
    aged(tmp_path / "a")
    scanned(tmp_path / "a")
    with sqlite3.connect(database(homes)) as file:
        file.execute("UPDATE items SET used = used - 30 * 86400")
    file.close()
    scanned(tmp_path / "a")
    with sqlite3.connect(database(homes)) as file:
        oldest = file.execute("SELECT min(used) FROM items").fetchone()[0]
    file.close()
    assert time.time() - oldest < 60


def test_clearing_forgets_everything(tmp_path: Path, homes: Path, inspected: list[str]) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    aged(tmp_path / "in")
    scanned(tmp_path / "in")
    cache.clear()
    assert not database(homes).exists()
    cache.clear()
    scanned(tmp_path / "in")
    assert len(inspected) == 4


@pytest.mark.skipif(os.name != "posix", reason="other systems allow no such names")
def test_a_file_whose_name_is_no_unicode_is_found_each_time(tmp_path: Path, inspected: list[str]) -> None:
    folder = tmp_path / "in"
    stack(folder, [0.0, 2.5])
    save(dataset(z=5.0, number=3), Path(os.fsdecode(os.fsencode(folder) + b"/\xff.dcm")))
    aged(folder)
    first = scanned(folder)
    assert first.series[0].slices == 3
    assert same(scanned(folder), first)
    assert len(inspected) == 3


def test_what_was_made_of_a_folder_is_forgotten_when_it_is_not_opened_for_long(tmp_path: Path, homes: Path) -> None:
    for name in ("a", "b"):
        stack(tmp_path / name, [0.0, 2.5])
        aged(tmp_path / name)
        scanned(tmp_path / name)
        with sqlite3.connect(database(homes)) as file:
            assert file.execute("SELECT count(*) FROM results").fetchone()[0] == 1
            file.execute("UPDATE results SET used = used - 100 * 86400")
        file.close()
    scanned(tmp_path / "b")
    with sqlite3.connect(database(homes)) as file:
        assert time.time() - file.execute("SELECT used FROM results").fetchone()[0] < 60
    file.close()
