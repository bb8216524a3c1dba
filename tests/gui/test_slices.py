from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aegui.errors import UserError
from aegui.gui import slices

pytestmark = pytest.mark.usefixtures("qapp")


class Source:
    """Counts and, while `gate` is closed, holds every fetch."""

    def __init__(self) -> None:
        self.fetched: list[int] = []
        self.began = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.closed = threading.Event()
        self.bad: set[int] = set()

    @contextmanager
    def opened(self) -> Iterator[Any]:
        yield self.fetch
        self.closed.set()

    def fetch(self, index: int) -> str:
        self.fetched.append(index)
        self.began.set()
        assert self.gate.wait(5)
        if index in self.bad:
            raise UserError("Slice is cut short.")
        return f"slice {index}"


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.gate.set()
    slices.end_all()


def test_the_latest_wish_wins_and_wishes_in_between_are_never_fetched(qtbot: Any, source: Source) -> None:
    lane = slices.start(slices.SliceLane(source.opened, 50, reach=0))
    source.gate.clear()
    lane.want(10)
    assert source.began.wait(5)
    for index in (11, 12, 13, 40):
        lane.want(index)
    with qtbot.waitSignal(lane.ready, check_params_cb=lambda index, _value: index == 40):
        source.gate.set()
    assert source.fetched == [10, 40]
    assert lane.value(40) == "slice 40"
    assert lane.value(12) is None


def test_neighbours_come_after_the_wish(qtbot: Any, source: Source) -> None:
    lane = slices.start(slices.SliceLane(source.opened, 9, reach=1))
    lane.want(8)
    qtbot.waitUntil(lambda: len(source.fetched) == 2)
    lane.want(0)
    qtbot.waitUntil(lambda: source.fetched == [8, 7, 0, 1])


def test_a_sweep_fetches_every_slice_once_and_says_when_it_is_done(qtbot: Any, source: Source) -> None:
    source.bad = {3}
    lane = slices.SliceLane(source.opened, 10, keep=4)
    failures: list[int] = []
    lane.failed.connect(lambda index, _error: failures.append(index))
    with qtbot.waitSignal(lane.swept):
        slices.start(lane)
        lane.sweep()
    assert sorted(source.fetched) == list(range(10))
    assert failures == [3]
    assert sum(lane.value(index) is not None for index in range(10)) == 4


def test_a_wish_is_kept_when_a_sweep_fills_the_cache(qtbot: Any, source: Source) -> None:
    lane = slices.start(slices.SliceLane(source.opened, 30, keep=3, reach=0))
    with qtbot.waitSignal(lane.ready):
        lane.want(20)
    with qtbot.waitSignal(lane.swept):
        lane.sweep()
    assert lane.value(20) == "slice 20"


def test_an_ended_lane_closes_its_source_and_says_nothing_more(qtbot: Any, source: Source) -> None:
    lane = slices.start(slices.SliceLane(source.opened, 5))
    heard: list[int] = []
    lane.ready.connect(lambda index, _value: heard.append(index))
    source.gate.clear()
    lane.want(2)
    assert source.began.wait(5)
    lane.end()
    source.gate.set()
    slices.end_all()
    qtbot.wait(20)
    assert source.closed.is_set()
    assert heard == []
    assert lane.isFinished()


def test_a_source_that_does_not_open_is_told_with_index_minus_one(qtbot: Any) -> None:
    @contextmanager
    def opened() -> Iterator[Any]:
        raise UserError("The folder is gone.")
        yield

    lane = slices.SliceLane(opened, 5)
    with qtbot.waitSignal(lane.failed) as told:
        slices.start(lane)
    assert told.args[0] == -1
    assert str(told.args[1]) == "The folder is gone."
    slices.end_all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 133])
def test_coarse_to_fine_names_every_slice_once(count: int) -> None:
    assert sorted(slices.coarse_to_fine(count)) == list(range(count))
