"""Slices run side by side, each with its share of the threads, and come out as they do one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, workflow
from aegui.errors import UserError
from aegui.events import finish
from aegui.imaging import in_order
from aegui.inference.choose import Engines
from aegui.inference.denoiser import Denoiser, Prepared, Removed
from aegui.inference.engines import Unavailable
from aegui.inference.kinds import KINDS
from aegui.inference.streams import Streams, alone, side_by_side
from aegui.models.zoo import load_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("threads", "expected"),
    [
        (1, (1, 1)),
        (2, (2, 1)),
        (3, (3, 1)),
        (4, (4, 1)),
        (5, (4, 1)),
        (6, (3, 2)),
        (7, (3, 2)),
        (8, (4, 2)),
        (16, (4, 4)),
    ],
)
def test_streams_share_the_threads(threads: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    streams = side_by_side(CPU)
    assert (streams.count, streams.threads) == expected
    assert side_by_side(torch.device("cuda")) == side_by_side(CPU, 1) == alone() == Streams(1, threads)
    assert side_by_side(CPU, 2).count == min(2, threads)


def test_each_stream_has_its_threads_and_what_comes_after_has_all_of_them() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Streams(2, 1).open() as pool:
            met = threading.Barrier(2)
            assert list(pool.map(lambda _: (torch.get_num_threads(), met.wait())[0], range(2))) == [1, 1]
            assert torch.get_num_threads() == 2
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [2] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_is_begun_is_finished_and_the_rest_dropped_when_the_streams_close() -> None:
    ran: list[int] = []
    with pytest.raises(KeyError), Streams(2, 1).open() as pool:
        for number in range(50):
            pool.submit(lambda number=number: ran.append(number) or threading.Event().wait(0.01))
        raise KeyError
    assert len(ran) < 50
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stream")]


def test_pieces_come_out_in_order_with_no_more_than_asked_for_at_once() -> None:
    taken, given = 0, 0
    most = 0

    def pieces() -> Iterator[int]:
        nonlocal taken, most
        for number in range(20):
            taken += 1
            most = max(most, taken - given)
            yield number

    def work(number: int) -> int:
        threading.Event().wait(0.01 * (number % 3 == 0))
        return number

    found = []
    with Streams(2, 1).open() as pool:
        for one in in_order(pool, work, pieces(), 3):
            given += 1
            found.append(one)
    assert found == list(range(20)) and most == 3


@pytest.mark.parametrize("name", list(KINDS))
def test_an_engine_gives_the_same_in_several_streams_as_in_one(name: str) -> None:
    net = load_model("general-small").net
    try:
        single, several = (Engines(net, CPU, streams).get(name) for streams in (alone(), Streams(2, 1)))
    except Unavailable as reason:
        pytest.skip(f"{KINDS[name].title}: {reason}")
    rng = np.random.default_rng(0)
    slices = [rng.normal(0, 0.1, (1, 1, 64 + 8 * number, 64)).astype(np.float32) for number in range(6)]
    level = np.array([0.1], np.float32)
    with several.streams.open() as pool:
        found = list(pool.map(lambda x: several.run(x, level), slices))
    lost = 0.02 if KINDS[name].precision == "bf16" else 1e-5
    for x, one in zip(slices, found, strict=True):
        assert np.sqrt(np.mean((one - single.run(x, level)) ** 2)) < lost * 0.1


@pytest.fixture
def series(tmp_path: Path) -> imaging.Series:
    volume = 300 + np.random.default_rng(0).normal(0, 15, (9, 40, 48))
    (tmp_path / "scans").mkdir()
    np.save(tmp_path / "scans" / "v.npy", volume.astype(np.float32))
    found: imaging.Series = finish(workflow.scan([tmp_path / "scans"])).series[0]
    return found


def test_a_series_in_several_streams_is_what_its_slices_are_one_by_one(
    series: imaging.Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegui.inference.streams.side_by_side", lambda *_: Streams(3, 1))
    report = finish(workflow.denoise(workflow.DenoiseJob("general-small", (series,), tmp_path / "out", device="cpu")))
    assert [row.status for row in report.series] == ["done"]
    written = finish(workflow.scan([tmp_path / "out"])).series[0]
    source, out = imaging.open_series(series), imaging.open_series(written)
    try:
        denoiser = Denoiser(load_model("general-small"), source, CPU)
        for index in range(len(source)):
            np.testing.assert_allclose(out.read(index), denoiser.slice(index).pixels, atol=2e-3)
    finally:
        source.close()
        out.close()


def test_a_slice_that_fails_in_a_stream_fails_the_series_and_leaves_no_file(
    series: imaging.Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Denoiser.removed

    def removed(self: Denoiser, slices: Sequence[Prepared]) -> list[Removed]:
        if slices[0].level == 12.5:
            raise UserError("No numbers.", "None.")
        return real(self, slices)

    monkeypatch.setattr(Denoiser, "removed", removed)
    job = workflow.DenoiseJob("general-small", (series,), tmp_path / "out", device="cpu", noise_level=12.5)
    row = finish(workflow.denoise(job)).series[0]
    assert row.status == "failed" and "No numbers." in row.reason
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


def test_streams_that_cannot_begin_leave_no_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ThreadPoolExecutor.submit
    handed: list[int] = []

    def submit(self: ThreadPoolExecutor, work: Callable[..., object]) -> object:
        handed.append(1)
        if len(handed) == 2:
            raise RuntimeError("can't start new thread")
        return real(self, work)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with pytest.raises(RuntimeError, match="new thread"), Streams(2, 1).open():
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stream")]
