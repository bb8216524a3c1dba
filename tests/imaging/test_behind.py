"""Work handed to another thread comes back in order, and nothing of it is left."""

from __future__ import annotations

import threading

import pytest

from aegui.imaging import behind


def test_results_come_back_in_the_order_of_what_was_handed_over() -> None:
    with behind(lambda number: number * 2) as worker:
        found = [done for number in range(20) for done in worker.put(number)]
        found += worker.rest()
    assert found == [2 * number for number in range(20)]


def test_only_a_few_pieces_wait() -> None:
    go = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        go.wait(5)
        return number

    with behind(work) as worker:
        assert worker.put(0) == worker.put(1) == []
        threading.Timer(0.5, go.set).start()
        assert worker.put(2)[0] == 0, "the third waits for the first"
        list(worker.rest())
    assert begun == [0, 1, 2]


def test_what_goes_wrong_is_raised_where_the_work_is_handed_over() -> None:
    def work(number: int) -> None:
        raise OSError(f"no room for {number}")

    with pytest.raises(OSError, match="no room for 0"), behind(work) as worker:
        for number in range(5):
            worker.put(number)


def test_after_an_error_elsewhere_what_has_not_begun_is_dropped_and_the_thread_is_gone() -> None:
    go, started = threading.Event(), threading.Event()
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        started.set()
        go.wait(5)

    with pytest.raises(KeyError), behind(work) as worker:
        worker.put(0)
        worker.put(1)
        started.wait(5)
        threading.Timer(0.5, go.set).start()
        raise KeyError
    assert begun == [0]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("behind")]
