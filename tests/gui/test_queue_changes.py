"""What is changed while the queue runs, or after it ran, is what counts next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegui.gui.pages.deliver import DeliverPage
from tests.gui import generated
from tests.gui.deliveries import cut_short, finished


@pytest.fixture
def page(deliver_page: DeliverPage) -> DeliverPage:
    return deliver_page


def uids(page: DeliverPage) -> list[str]:
    return [entry.series.uid for entry in page.batch.model.entries]


def test_retry_goes_by_the_options_on_the_screen(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    first = page.batch.model.entries[0]
    whole = cut_short(first.series)
    page.start()
    finished(qtbot, page)
    first.series.files[1].write_bytes(whole)
    page.options.folder.setText(str(tmp_path / "elsewhere"))
    page.view.acted.emit([first], "Retry")
    finished(qtbot, page)
    assert first.status in ("done", "flagged")
    assert len(generated.scanned(tmp_path / "elsewhere").series) == 1


def test_another_folder_does_not_undo_what_is_done(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.start()
    finished(qtbot, page)
    generated.write_ct(tmp_path / "more", "More", slices=4, patient="B")
    page.add_paths([tmp_path / "more"])
    qtbot.waitUntil(lambda: len(page.batch.model.entries) == 3, timeout=20_000)
    assert [entry.status for entry in page.batch.model.entries][:2] != ["waiting", "waiting"]
    assert page.batch.model.count("waiting") == 1


def test_a_row_that_was_removed_stays_away_until_its_folder_is_added_again(
    page: DeliverPage, qtbot: Any, tmp_path: Path
) -> None:
    gone, stays = page.batch.model.entries
    page.batch.remove([gone])
    page.session.set_roles([stays.series.uid], "holdout")
    assert uids(page) == [stays.series.uid]
    page.add_paths([tmp_path / "scans"])
    qtbot.waitUntil(lambda: len(uids(page)) == 2, timeout=20_000)


def test_what_changed_while_it_ran_is_taken_over_at_its_end(page: DeliverPage, qtbot: Any) -> None:
    first, second = page.batch.model.entries
    page.start()
    page.session.set_roles([second.series.uid], "clean")
    page.session.set_model("ct-small")
    finished(qtbot, page)
    qtbot.waitUntil(lambda: uids(page) == [first.series.uid], timeout=5000)
    assert first.status == "waiting", "what another model made is none of this one's"


def test_what_was_taken_out_of_the_queue_comes_back_by_undo_or_when_its_folder_is_opened_anew(
    page: DeliverPage, tmp_path: Path
) -> None:
    first, second = page.batch.model.entries
    both = uids(page)
    page.batch.remove([first, second])
    assert uids(page) == []
    page.session.undo.undo()
    assert uids(page) == both and page.batch.model.entries[0] is first
    page.session.undo.redo()
    page.session.set_roles([both[0]], "holdout")
    assert uids(page) == []
    page.session.set_scan(generated.scanned(tmp_path / "scans"), [tmp_path / "scans"])
    assert uids(page) == both


def test_a_strength_set_here_is_not_changed_by_another_model(page: DeliverPage) -> None:
    page.session.set_strength(0.3)
    page.session.set_accepted(True)
    page.options.strength.setValue(45)
    page.session.set_model("ct-small")
    assert page.session.accepted is None and page.options.strength.value() == 45


def test_what_was_done_stays_on_the_screen_where_it_cannot_be_done_again(page: DeliverPage, qtbot: Any) -> None:
    page.start()
    finished(qtbot, page)
    before = [entry.status for entry in page.batch.model.entries]
    assert "waiting" not in before
    page.session.lanes.create(iter(()), "Training")
    with qtbot.waitSignal(page.session.notice) as told:
        page.start()
    assert "“Training” is still running" in told.args[0].message
    assert [entry.status for entry in page.batch.model.entries] == before
    page.session.lanes._running.clear()
    page.start()
    assert page.batch.running and page.batch.model.count("done", "flagged") == 0
    finished(qtbot, page)


def test_the_queue_never_starts_by_itself_later(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.start()
    page.batch.add_series([])  # a folder of what is there already
    finished(qtbot, page)
    generated.write_ct(tmp_path / "more", "More", slices=4, patient="B")
    more = generated.scanned(tmp_path / "more")
    page.session.set_scan(more, [tmp_path / "more"], add=True)
    assert page.batch.model.count("waiting") == 1
    page.session.lanes.ended.emit(None)  # any job
    assert not page.batch.running


def test_another_project_begins_with_an_empty_queue(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    generated.write_ct(tmp_path / "more", "More", slices=4, patient="B")
    page.add_paths([tmp_path / "more"])
    qtbot.waitUntil(lambda: len(uids(page)) == 3, timeout=20_000)
    page.start()
    page.session.reset()
    finished(qtbot, page)
    qtbot.waitUntil(lambda: not uids(page), timeout=5000)


def test_the_strength_that_was_set_here_stays_until_review_looks_at_another(page: DeliverPage) -> None:
    page.session.set_strength(0.7)
    assert page.options.strength.value() == 70
    page.options.strength.setValue(100)
    page.enter()
    assert page.options.strength.value() == 100
    page.options.strength.setValue(80)
    page.session.set_strength(1.0)
    assert page.options.strength.value() == 100
