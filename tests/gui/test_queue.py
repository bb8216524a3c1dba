"""The queue of Deliver: counts, words, and that its length costs nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication

from aegui.events import Progress, SeriesDone, SeriesStarted, SliceDone
from aegui.gui import slices, theme
from aegui.gui.batch import Batch
from aegui.gui.session import Session
from aegui.gui.thumbs import Thumbnails
from aegui.gui.widgets.queue import Entry, QueueModel
from aegui.gui.widgets.queue_view import QueueView
from aegui.imaging.series import Series
from aegui.workflow import SeriesResult
from tests.gui import generated


def many(folder: Path, number: int) -> list[Series]:
    one = generated.ct(folder, "Thin", slices=3)
    return [replace(one, uid=f"{one.uid}.{i}", description=f"Series {i}") for i in range(number)]


def counted(model: QueueModel) -> dict[str, int]:
    return {state: number for state in ("waiting", "running", "done", "failed") if (number := model.count(state))}


def test_counts_follow_every_change(qapp: QApplication, tmp_path: Path) -> None:
    model = QueueModel()
    entries = [Entry(one) for one in many(tmp_path, 5)]
    model.set_entries(entries[:3])
    model.add(entries[3:])
    assert counted(model) == {"waiting": 5}
    model.update_entry(entries[4], status="running", done=2)
    assert (counted(model), model.progress()) == ({"waiting": 4, "running": 1}, (2, 15))
    model.update_entry(entries[4], status="failed")
    assert (counted(model), model.progress()) == ({"waiting": 4, "failed": 1}, (0, 12))
    model.remove([entries[0], entries[2]])
    assert [one.series.description for one in model.entries] == ["Series 1", "Series 3", "Series 4"]
    assert model.find(entries[3].series.uid) is entries[3]
    assert model.find(entries[0].series.uid) is None
    assert (counted(model), model.progress()) == ({"waiting": 2, "failed": 1}, (0, 6))
    entries[1].reset()
    entries[1].status = "done"
    model.refresh()
    assert counted(model) == {"waiting": 1, "done": 1, "failed": 1}


@pytest.mark.parametrize(
    ("values", "words", "action"),
    [
        ({"status": "waiting"}, "–", ""),
        ({"status": "skipped", "reason": "Colour", "can_include": True}, "Colour", "Denoise anyway"),
        ({"status": "skipped", "reason": "Dose"}, "Dose", ""),
        ({"status": "waiting", "reason": "Colour; included by you", "included": True}, "Colour;", "Leave out"),
        ({"status": "failed", "reason": "Cut short"}, "Cut short", "Retry"),
        ({"status": "done"}, "Saved", "Look"),
        ({"status": "done", "reason": "12 pixels were cut"}, "12 pixels were cut", "Look"),
        ({"status": "flagged", "flagged": (2,), "clipped": 12}, "Structure in slice 3 · 12 pixels clipped", "Look"),
    ],
)
def test_a_row_says_why_and_what_can_be_done(values: dict[str, Any], words: str, action: str, tmp_path: Path) -> None:
    one = Entry(replace(generated.ct(tmp_path, slices=3), warnings=()))
    for name, value in values.items():
        setattr(one, name, value)
    assert one.words.startswith(words)
    assert one.action == action


def test_the_reason_of_a_flagged_series_is_in_its_tooltip(tmp_path: Path) -> None:
    one = Entry(generated.ct(tmp_path), "flagged", "Structure in the removed noise; 5 pixels were cut", flagged=(1,))
    assert "5 pixels were cut" in one.details


def test_warnings_of_the_scan_stand_in_the_row_until_it_runs(tmp_path: Path) -> None:
    one = Entry(replace(generated.ct(tmp_path), warnings=("Gap: 3 slices missing after 41",)))
    assert one.words == "Gap: 3 slices missing after 41"


def test_a_row_says_what_goes_on_before_its_first_slice_and_what_ran_the_model(
    qapp: QApplication, tmp_path: Path
) -> None:
    batch = Batch(Session())
    (one,) = many(tmp_path, 1)
    batch.set_series([one])
    (entry,) = batch.model.entries
    batch._on_event(SeriesStarted(one.uid, 0, 1, 3))
    assert entry.words == "Slice 0 of 3"
    batch._on_event(Progress(0, 5, "Trying OpenVINO"))
    assert entry.words == "Trying OpenVINO"
    batch._on_event(SliceDone(one.uid, 0, 3))
    assert entry.words == "Slice 1 of 3"
    result = SeriesResult(one.uid, "", "", "done", slices=3, engine="OpenVINO", engine_note="Torch is slower")
    batch._on_event(SeriesDone(one.uid, result))
    batch._on_event(Progress(0, None, "Loading the model"))  # of the next job
    assert entry.details == "Saved\nRun with OpenVINO. Torch is slower"


def test_an_event_costs_the_same_in_a_queue_of_two_thousand(qapp: QApplication, tmp_path: Path) -> None:
    def seconds(series: list[Series]) -> float:
        batch = Batch(Session())
        batch.set_series(series)
        one = series[-1]
        events: list[Any] = [SeriesStarted(one.uid, 0, 1, 3)]
        events += [SliceDone(one.uid, index, 3) for index in range(3)] * 100
        events.append(SeriesDone(one.uid, SeriesResult(one.uid, "", "", "done", slices=3)))
        began = time.perf_counter()
        for event in events:
            batch._on_event(event)
        took = time.perf_counter() - began
        assert batch.model.count("done") == 1
        return took

    few, lots = many(tmp_path, 20), many(tmp_path, 2000)
    assert min(seconds(lots) for _ in range(3)) < 5 * max(0.005, min(seconds(few) for _ in range(3)))


def test_pictures_are_drawn_for_the_rows_in_view_alone(themed: QApplication, qtbot: Any, tmp_path: Path) -> None:
    model = QueueModel()
    view = QueueView(model)
    thumbs = Thumbnails(model)
    view.seen.connect(thumbs.load)
    qtbot.addWidget(view)
    view.resize(900, 480)
    view.show()
    model.set_entries([Entry(one) for one in many(tmp_path, 300)])

    def drawn() -> list[int]:
        return [row for row, entry in enumerate(model.entries) if entry.thumb is not None]

    qtbot.waitUntil(lambda: len(drawn()) >= 8, timeout=10_000)
    qtbot.wait(100)
    assert drawn() == list(range(len(drawn())))
    assert len(drawn()) < 14
    view.scrollToBottom()
    qtbot.waitUntil(lambda: 299 in drawn(), timeout=10_000)
    assert 150 not in drawn()
    thumbs.release()
    slices.end_all()
    assert theme.name() == "dark"
