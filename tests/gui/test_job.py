"""A job's thread: requests between events, coalesced steps, errors, and nothing left running."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QObject, Signal

from aegui.errors import UserError
from aegui.events import Done, Epoch, Event, Progress, Step, Stop
from aegui.gui.job import STEP_GAP, Job, Lanes


def a_step(number: int, epoch: int = 1) -> Step:
    return Step(epoch, number, 0.1, {"mse": 0.1}, {"rest": 1e-4}, 1.0, 0.01)


def an_epoch(number: int) -> Epoch:
    return Epoch(number, 3, {"loss": 1.0}, {"loss": 1.0}, 30.0, 0.9, {"rest": 1e-4}, True, number, 1.0)


class Watcher(QObject):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.ends: list[object] = []
        job.event.connect(self.events.append)
        job.done.connect(lambda result: self.ends.append(("done", result)))
        job.failed.connect(lambda error: self.ends.append(("failed", error)))
        job.cancelled.connect(lambda: self.ends.append("cancelled"))


def counting(log: list[str], most: int = 10_000, nap: float = 0.002) -> Iterator[Event]:
    done = 0
    try:
        while done < most:
            time.sleep(nap)
            done += 1
            yield Progress(done, most, "Counting")
    except Stop:
        log.append("stopped")
        yield Progress(done, most, "Finishing")
        yield Done(f"best of {done}")
        return
    finally:
        log.append("released")
    yield Done(done)


def ended(qtbot, job: Job) -> None:
    qtbot.waitUntil(job.isFinished, timeout=5000)
    qtbot.wait(20)  # the last queued signals


def test_a_job_delivers_every_event_in_order_and_its_result(qtbot):
    job = Job(counting([], most=20, nap=0))
    watch = Watcher(job)
    job.start()
    ended(qtbot, job)
    assert [event.done for event in watch.events] == list(range(1, 21))
    assert watch.ends == [("done", 20)]
    assert job.result == 20


def test_the_generator_is_made_and_advanced_in_the_jobs_thread_only(qtbot):
    seen: set[int] = set()

    def work() -> Iterator[Event]:
        seen.add(threading.get_ident())
        yield Progress(1, 1, "x")
        seen.add(threading.get_ident())
        yield Done()

    job = Job(work)
    job.start()
    ended(qtbot, job)
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_stop_is_thrown_into_the_generator_and_the_best_so_far_still_comes(qtbot):
    log: list[str] = []
    job = Job(counting(log))
    watch = Watcher(job)
    job.start()
    qtbot.waitUntil(lambda: len(watch.events) > 3)
    job.stop()
    ended(qtbot, job)
    assert log == ["stopped", "released"]
    assert watch.events[-1].what == "Finishing"
    assert len(watch.ends) == 1
    assert watch.ends[0][1].startswith("best of")


def test_abandon_closes_the_generator_and_tells_that_there_is_no_result(qtbot):
    log: list[str] = []
    job = Job(counting(log))
    watch = Watcher(job)
    job.start()
    qtbot.waitUntil(lambda: len(watch.events) > 3)
    job.abandon()
    ended(qtbot, job)
    assert log == ["released"]
    assert watch.ends == ["cancelled"]


def test_a_paused_job_does_not_advance_and_a_resumed_one_loses_nothing(qtbot):
    job = Job(counting([], most=60))
    watch = Watcher(job)
    job.start()
    qtbot.waitUntil(lambda: len(watch.events) > 3)
    job.pause()
    qtbot.wait(400)  # what is under way comes to its end
    before = len(watch.events)
    qtbot.wait(100)
    assert len(watch.events) == before
    job.resume()
    ended(qtbot, job)
    assert [event.done for event in watch.events] == list(range(1, 61))


@pytest.mark.parametrize("request_", ["stop", "abandon"])
def test_a_paused_job_can_be_ended_without_resuming_it(qtbot, request_):
    job = Job(counting([]))
    watch = Watcher(job)
    job.start()
    qtbot.waitUntil(lambda: bool(watch.events))
    job.pause()
    qtbot.wait(30)
    getattr(job, request_)()
    ended(qtbot, job)
    assert len(watch.ends) == 1


def test_stop_in_work_that_cannot_finish_early_is_a_cancellation_and_no_error(qtbot):
    def stubborn() -> Iterator[Event]:
        while True:
            time.sleep(0.002)
            yield Progress(1, None, "x")

    job = Job(stubborn())
    watch = Watcher(job)
    job.start()
    qtbot.waitUntil(lambda: bool(watch.events))
    job.stop()
    ended(qtbot, job)
    assert watch.ends == ["cancelled"]


def test_steps_come_at_most_twenty_times_a_second_and_the_latest_before_each_epoch(qtbot):
    def training() -> Iterator[Event]:
        for epoch in (1, 2, 3):
            for step in range(1, 101):
                time.sleep(0.001)
                yield a_step(step, epoch)
            yield an_epoch(epoch)
        yield Done()

    job = Job(training())
    watch = Watcher(job)
    began = time.monotonic()
    job.start()
    ended(qtbot, job)
    seconds = time.monotonic() - began
    steps = [event for event in watch.events if isinstance(event, Step)]
    epochs = [at for at, event in enumerate(watch.events) if isinstance(event, Epoch)]
    assert len(epochs) == 3
    assert len(steps) <= seconds / STEP_GAP + 1 + 3  # one more before each epoch
    for at in epochs:
        before = watch.events[at - 1]
        assert isinstance(before, Step)
        assert before.step == 100


def test_a_user_error_and_a_bug_both_arrive_as_failed_with_the_exception(qtbot, expect_log):
    def failing(error: Exception) -> Iterator[Event]:
        yield Progress(0, 1, "x")
        raise error

    expect_log("ERROR aegui.gui.job: Reading failed")
    for error in (UserError("The folder is gone."), ZeroDivisionError("bug")):
        job = Job(failing(error), "Reading")
        watch = Watcher(job)
        job.start()
        ended(qtbot, job)
        assert watch.ends == [("failed", error)]


def test_a_lane_takes_one_job_and_names_the_one_that_runs(qtbot):
    lanes = Lanes()
    job = lanes.create(counting([]), "Training")
    job.start()
    with pytest.raises(UserError, match="“Training” is still running"):
        lanes.create(counting([]), "Denoising")
    beside = lanes.create(counting([], most=5), "Scanning", "scan")
    beside.start()
    qtbot.waitUntil(lambda: not lanes.busy("scan"))
    job.stop()
    qtbot.waitUntil(lambda: not lanes.running())


def test_the_next_job_may_start_in_the_done_slot_of_the_one_before(qtbot):
    lanes = Lanes()
    results: list[int] = []

    def start(most: int) -> None:
        job = lanes.create(counting([], most=most, nap=0), f"Job {most}")
        job.done.connect(results.append)
        if most > 1:
            job.done.connect(lambda _result: start(most - 1))
        job.start()

    start(3)
    qtbot.waitUntil(lambda: results == [3, 2, 1] and not lanes.running())


def test_what_waits_for_the_lane_hears_of_it_once_the_next_job_has_it(qtbot):
    lanes = Lanes()
    told: list[str] = []
    lanes.started.connect(lambda job: told.append(f"{job.title} started"))
    lanes.ended.connect(
        lambda job: told.append(f"{job.title} ended, {lanes.job().title if lanes.job() else 'none'} runs")
    )
    first = lanes.create(counting([], most=1, nap=0), "First")
    first.start()
    while not first.over:
        time.sleep(0.01)
    second = lanes.create(counting([], most=1, nap=0), "Second")  # before a signal of the first was delivered
    assert told == ["First ended, Second runs"]
    second.start()
    qtbot.waitUntil(lambda: not lanes.running())
    assert told == ["First ended, Second runs", "Second started", "Second ended, none runs"]


def test_a_job_abandoned_during_its_last_step_has_no_result(qtbot):
    at_the_end, go = threading.Event(), threading.Event()

    def work() -> Iterator[Event]:
        at_the_end.set()
        assert go.wait(10)
        yield Done("too late")

    job = Job(work())
    watch = Watcher(job)
    job.start()
    assert at_the_end.wait(10)
    job.abandon()
    go.set()
    ended(qtbot, job)
    assert watch.ends == ["cancelled"]


def test_a_job_that_nobody_else_holds_lives_until_its_thread_has_ended(qtbot):
    lanes = Lanes()
    watch = []
    job = lanes.create(counting([], most=50), "Held")
    job.done.connect(watch.append)
    job.start()
    del job
    qtbot.waitUntil(lambda: watch == [50] and not lanes.running())


def test_emitting_a_bool_many_times_keeps_the_reference_count_of_true():
    """PySide6 6.12.0 on Python 3.11 loses one reference per emit and aborts after some thousand."""

    class Sender(QObject):
        told = Signal(bool)

    sender, heard = Sender(), []
    sender.told.connect(lambda value: heard.append(1))
    before = sys.getrefcount(True)
    for _ in range(2000):
        sender.told.emit(True)
    assert len(heard) == 2000
    # Immortal objects (Python 3.12 on) do not count at all.
    assert abs(sys.getrefcount(True) - before) < 200
