from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QPushButton

from aegui.events import Done, SeriesDone, SeriesStarted, SliceDone
from aegui.gui import exports, slices, theme, toasts
from aegui.gui.dialogs import Dialog
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.session import Session
from aegui.gui.widgets.queue import REASON, Entry, clock, ranges
from aegui.imaging.series import ScanResult, Skipped
from tests.gui import generated
from tests.gui.deliveries import ct_only, cut_short, entry, finished, text


@pytest.fixture
def page(deliver_page: DeliverPage) -> DeliverPage:
    return deliver_page


def test_everything_in_the_queue_is_denoised_and_reported(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    assert page.bar.run.text().strip() == "Denoise all"
    qtbot.mouseClick(page.bar.run, Qt.MouseButton.LeftButton)
    finished(qtbot, page)
    assert [one.status for one in page.batch.model.entries] in (["done"] * 2, ["flagged"] * 2, ["done", "flagged"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {row["uid"] for row in report["series"]} == {one.series.uid for one in page.batch.model.entries}
    written = generated.scanned(tmp_path / "out").series
    assert sorted(one.description for one in written) == ["Thick_DN", "Thin_DN"]
    assert page.rail_state() == ("done", "2 series")
    assert page.progress.done_words.text() == "2 of 2 denoised"


def test_a_failed_series_is_shown_with_its_reason_and_the_queue_goes_on(page: DeliverPage, qtbot: Any) -> None:
    first = page.batch.model.entries[0]
    cut_short(first.series)
    page.start()
    finished(qtbot, page)
    other = page.batch.model.entries[1]
    assert first.status == "failed"
    assert first.series.files[1].name in text(page, first, REASON)
    assert first.action == "Retry"
    assert other.status in ("done", "flagged")
    assert "1 failed" in page.bar.counts.text()
    assert page.rail_state() == ("warn", "1 failed")


def test_retry_runs_a_repaired_series_alone(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    first = page.batch.model.entries[0]
    whole = cut_short(first.series)
    page.start()
    finished(qtbot, page)
    first.series.files[1].write_bytes(whole)
    started: list[object] = []
    page.session.lanes.started.connect(started.append)
    page.view.acted.emit([first], "Retry")
    finished(qtbot, page)
    assert first.status in ("done", "flagged")
    assert len(generated.scanned(tmp_path / "out").series) == 2
    assert len(started) == 1


def test_several_failed_series_are_retried_in_one_go(page: DeliverPage, qtbot: Any) -> None:
    entries = page.batch.model.entries
    whole = [cut_short(one.series) for one in entries]
    page.start()
    finished(qtbot, page)
    assert [one.status for one in entries] == ["failed", "failed"]
    for one, content in zip(entries, whole, strict=True):
        one.series.files[1].write_bytes(content)
    page.view.selectAll()
    qtbot.keyClick(page.view, Qt.Key.Key_Return)
    finished(qtbot, page)
    assert {one.status for one in entries} <= {"done", "flagged"}


def test_another_modality_than_the_models_is_skipped_unless_included(
    page: DeliverPage, qtbot: Any, tmp_path: Path
) -> None:
    generated.write_volume(tmp_path / "more")
    page.batch.add_series(generated.scanned(tmp_path / "more").series)
    page.session.set_model(ct_only(tmp_path / "ct.aegui"))
    volume = page.batch.model.entries[-1]
    assert volume.status == "skipped"
    assert text(page, volume, REASON) == f"{volume.series.modality}; model is for CT"
    page.start()
    finished(qtbot, page)
    assert volume.status == "skipped"
    page.view.acted.emit([volume], "Denoise anyway")
    assert volume.status == "waiting"
    page.start()
    finished(qtbot, page)
    assert volume.status in ("done", "flagged")
    assert (tmp_path / "out").is_dir()
    assert volume.output


def test_an_output_folder_that_cannot_be_written_is_said_beside_it(page: DeliverPage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    page.options.folder.setText(str(tmp_path / "file" / "out"))
    page.start()
    assert page.problem.isVisible()
    assert "cannot be written" in page.problem.accessibleName()
    assert "Choose another folder" in page.problem.accessibleName()
    assert page.options.folder.property("fld") == "err"
    assert not page.batch.running
    assert page.batch.model.count("waiting") == 2
    page.options.folder.setText(str(tmp_path / "out"))
    assert not page.problem.isVisible()


def test_a_noise_level_that_is_no_number_is_said(page: DeliverPage) -> None:
    page.session.set_model("general-small")
    assert page.options.noise.isVisible()
    page.options.noise.setText("loud")
    page.start()
    assert "“loud” is not a noise level" in page.problem.accessibleName()
    assert not page.batch.running
    page.options.noise.setText("12,5")
    assert page.options.noise_level() == 12.5
    page.session.set_model(generated.MODEL)
    assert not page.options.noise.isVisible()


def test_stop_keeps_what_is_finished_and_leaves_the_rest_waiting(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def stop_in_the_second(event: object) -> None:
        if isinstance(event, SliceDone) and event.uid == page.batch.model.entries[1].series.uid and not seen:
            seen.append(("stopped", event.uid))
            page.batch.stop()  # in the job's own thread, before its next slice

    page.start()
    job = page.session.lanes.job()
    assert job is not None
    job.event.connect(stop_in_the_second, Qt.ConnectionType.DirectConnection)
    finished(qtbot, page)
    first, second = page.batch.model.entries
    assert first.status in ("done", "flagged")
    assert second.status == "waiting"
    assert second.reason == "Stopped, not written"
    assert len(generated.scanned(tmp_path / "out").series) == 1
    assert page.bar.run.isEnabled()


def test_pause_holds_the_queue_until_it_is_resumed(page: DeliverPage, qtbot: Any, monkeypatch: Any) -> None:
    from aegui import workflow

    gate = threading.Semaphore(0)

    def denoise(job: workflow.DenoiseJob) -> Iterator[Any]:
        for number, one in enumerate(job.series):
            yield SeriesStarted(one.uid, number, len(job.series), one.slices)
            for index in range(one.slices):
                assert gate.acquire(timeout=10)
                yield SliceDone(one.uid, index, one.slices)
            yield SeriesDone(one.uid, workflow.SeriesResult(one.uid, one.label, one.description, "done", seconds=2))
        yield Done(workflow.Report((), job.output / "report.json"))

    monkeypatch.setattr(workflow, "denoise", denoise)
    first, second = page.batch.model.entries
    page.start()
    gate.release()
    qtbot.waitUntil(lambda: first.done == 1, timeout=10_000)
    assert page.progress.left_words.text() == ""  # too early to tell
    page.toggle_pause()
    assert page.bar.pause.text().strip() == "Resume queue"
    assert page.progress.left_words.text() == "Paused"
    gate.release(7)
    qtbot.wait(100)
    assert first.done <= 2
    page.bar.pause.click()
    finished(qtbot, page)
    assert [first.status, second.status] == ["done", "done"]
    assert text(page, first, 4) == "0:02"


def test_a_folder_added_while_the_queue_runs_is_denoised_after_it(
    page: DeliverPage, qtbot: Any, tmp_path: Path
) -> None:
    generated.write_ct(tmp_path / "late", "Late", patient="C", slices=2)
    page.start()
    page.toggle_pause()
    page.add_paths([tmp_path / "late"])
    qtbot.waitUntil(lambda: any(e.series.description == "Late" for e in page.batch.model.entries), timeout=20_000)
    page.toggle_pause()
    qtbot.waitUntil(lambda: entry(page, "Late").status in ("done", "flagged"), timeout=60_000)
    finished(qtbot, page)


def test_a_folder_without_scans_is_said(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    page.add_paths([tmp_path / "empty"])
    qtbot.waitUntil(page.problem.isVisible, timeout=20_000)
    assert page.problem.accessibleName()
    assert len(page.batch.model.entries) == 2


def test_look_opens_review_at_the_first_flagged_slice(page: DeliverPage, qtbot: Any) -> None:
    one = page.batch.model.entries[0]
    page.batch.model.update_entry(one, status="flagged", flagged=(2, 3))
    assert text(page, one, REASON) == "Structure in slices 3–4"
    index = page.batch.model.index(0, REASON)
    area = page.view.visualRect(index).adjusted(8, 0, -8, 0)
    link = page.view.delegate.link_rect(area, one)
    with qtbot.waitSignal(page.session.page_requested) as asked:
        qtbot.mouseClick(page.view.viewport(), Qt.MouseButton.LeftButton, pos=link.center())
    assert asked.args == ["review"]
    assert page.session.look == (one.series, 2)


def test_arriving_without_a_run_finds_a_model_and_an_output_folder(
    qtbot: Any, qapp: QApplication, tmp_path: Path
) -> None:
    theme.apply(qapp, "light")
    generated.write_ct(tmp_path / "scans", "Thin", slices=2)
    session = Session()
    session.set_scan(generated.scanned(tmp_path / "scans"), [tmp_path / "scans"])
    made = DeliverPage(session)
    qtbot.addWidget(made)
    made.enter()
    assert session.model_ref
    listed = [made.exports.chooser.itemText(row) for row in range(made.exports.chooser.count())]
    assert made.exports.chooser.currentText() in listed
    assert "CT, small" in listed and "General, large" not in listed, "only what was trained"
    assert made.options.folder.text() == str(tmp_path / "scans_denoised")
    assert made.bar.run.isEnabled()
    assert "“Thin_DN”" in made.example.text()
    made.release()
    slices.end_all()


def test_strength_from_review_is_taken_over(page: DeliverPage) -> None:
    page.session.strength = 0.6
    page.session.set_accepted(True)
    assert page.options.strength.value() == 60
    assert "accepted in Review" in page.subtitle


def test_averaged_views_are_in_the_report(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.options.views.setCurrentIndex(page.options.views.findData(2))
    page.start()
    finished(qtbot, page)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert all(row["spread"] > 0 for row in report["series"])


def view_only(page: DeliverPage, treat: str = "view") -> Entry:
    """The project again, its first series being no image to denoise."""
    first, second = (one.series for one in page.batch.model.entries)
    odd = replace(first, treat=treat, reason="Localizer: shown, not denoised.")
    page.session.set_scan(ScanResult((odd, second), ()), page.session.paths)
    return page.batch.model.entries[0]


def answer(page: DeliverPage, words: str) -> None:
    (dialog,) = [one for one in page.window().findChildren(Dialog) if one.isVisible()]
    (chosen,) = [one for one in dialog.findChildren(QPushButton) if one.text() == words]
    chosen.click()


def test_a_view_only_series_is_denoised_when_the_user_insists(page: DeliverPage, qtbot: Any) -> None:
    one = view_only(page)
    assert (one.status, one.action) == ("skipped", "Denoise anyway")
    assert text(page, one, REASON) == "Localizer: shown, not denoised."
    page.view.acted.emit([one], one.action)
    answer(page, "Leave out")
    assert one.status == "skipped"
    page.view.acted.emit([one], one.action)
    answer(page, "Denoise anyway")
    assert (one.status, one.action) == ("waiting", "Leave out")
    assert page.session.insisted == {one.series.uid}
    page.session.undo.undo()
    assert one.status == "skipped"
    page.session.undo.redo()
    page.start()
    finished(qtbot, page)
    assert one.status in ("done", "flagged")


def test_what_is_no_scan_can_never_be_denoised(page: DeliverPage) -> None:
    one = view_only(page, "list")
    assert (one.status, one.action) == ("skipped", "")
    page.batch.include([one])
    assert one.status == "skipped"


def test_files_that_are_in_no_series_are_counted_and_listed(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    assert not page.left_out.isVisible()
    known = (Skipped(tmp_path / "notes.txt", "Not an image."), Skipped(tmp_path / "half.dcm", "Truncated.", True))
    page.session.set_scan(ScanResult(page.session.series, known), page.session.paths)
    assert page.left_out.words.text() == "1 file is damaged and left out · 1 other file belongs to no series"
    page.left_out.show_files.click()
    (dialog,) = [one for one in page.window().findChildren(Dialog) if one.isVisible()]
    lines = dialog.findChildren(QPlainTextEdit)[0].toPlainText().splitlines()
    assert lines == [f"Damaged: {tmp_path / 'half.dcm'}: Truncated.", f"{tmp_path / 'notes.txt'}: Not an image."]
    dialog.reject()
    page.start()
    finished(qtbot, page)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [Path(row["file"]).name for row in report["skipped_files"]] == ["notes.txt", "half.dcm"]


def test_each_series_is_announced_to_screen_readers_when_it_ends(
    page: DeliverPage, qtbot: Any, monkeypatch: Any
) -> None:
    said: list[str] = []
    monkeypatch.setattr("aegui.gui.pages.deliver.announce", lambda widget, words: said.append(words))
    assert toasts.announce
    page.start()
    finished(qtbot, page)
    assert [words.rsplit(". ", 1)[1] for words in said] == ["1 of 2.", "2 of 2."]
    assert page.batch.model.entries[0].name in said[0]


def test_a_series_that_is_planned_is_left_out_only_after_the_queue_has_stopped(page: DeliverPage, qtbot: Any) -> None:
    one = view_only(page)
    page.batch.include([one])
    said: list[str] = []
    page.session.toast.connect(lambda tone, words, detail: said.append(words))
    page.start()
    page.view.acted.emit([one], "Leave out")
    assert said == ["The queue is running"]
    finished(qtbot, page)
    assert one.status in ("done", "flagged")


def test_words_of_slices_times_and_small_numbers() -> None:
    assert ranges((27, 28, 29, 40)) == "28–30, 41"
    assert ranges((0, 2, 4, 6, 8)) == "1, 3, 5, 7 …"
    assert [clock(s) for s in (0, 14.4, 61, 3725)] == ["0:00", "0:14", "1:01", "1:02:05"]
    assert [exports.figure(v) for v in (0, 0.0012, 2.4e-6, 1.5)] == ["0", "0.0012", "2.4e−6", "1.5"]
