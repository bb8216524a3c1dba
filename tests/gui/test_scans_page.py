"""Scans: first run, loading, roles, pairs, bad input, and the short way to denoising."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.data import DATA_ROOT
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QPushButton

from aegui.events import Done, Progress, Stop
from aegui.gui.dialogs import Dialog
from aegui.gui.scanning import Wish, _work
from aegui.gui.skipped import skipped_lines
from aegui.gui.widgets.first_run import SAMPLES
from aegui.gui.widgets.series_rows import spacing_words
from aegui.imaging.series import Skipped
from tests.gui import generated


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch):
    """choose(folder): what the folder dialog answers."""

    def set_(folder: Path) -> None:
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_a, **_k: str(folder))

    return set_


def loaded(window, qtbot) -> None:
    qtbot.waitUntil(lambda: bool(window.session.series) and not window.scans.scanning.running, timeout=20_000)


def test_first_start_offers_to_denoise_now_to_adapt_a_model_and_sample_data(window):
    first = window.scans.first
    assert first.isVisible()
    assert first.denoise.accessibleName() == "Denoise now"
    assert first.adapt.accessibleName() == "Adapt a model"
    assert len(first.samples) == len(SAMPLES) == 3
    assert window.scans.subtitle == "Nothing loaded yet"


def test_denoise_now_leads_to_deliver_with_a_shipped_model_after_one_dialog(window, qtbot, choose, phantom):
    choose(phantom["low"])
    qtbot.mouseClick(window.scans.first.denoise, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.page.key == "deliver", timeout=20_000)
    assert window.session.model_ref
    assert len(window.session.to_denoise) == 2


def test_a_folder_is_shown_as_studies_with_the_first_slice_in_the_viewer(opened, qtbot, phantom):
    window = opened(phantom["low"], phantom["full"])
    page = window.scans
    assert len(list(page.tree.indexes())) == 4
    assert page.subtitle.startswith("2 studies, 4 series, 4 in use.")
    assert window.rail.items[0].note == "4 series"
    qtbot.waitUntil(lambda: page.viewer.main.pixels is not None, timeout=10_000)
    assert page.viewer.main.title == "Axial"
    assert page.viewer.main.letters == ("R", "L", "A", "P")
    qtbot.waitUntil(lambda: page.viewer.sides[0].pixels is not None, timeout=10_000)
    qtbot.waitUntil(lambda: len(page.tree.thumbs) == 4, timeout=10_000)


def test_scrolling_reads_other_slices_and_the_probe_follows_the_mouse(opened, qtbot, phantom):
    window = opened(phantom["low"])
    viewer = window.scans.viewer
    qtbot.waitUntil(lambda: viewer.main.pixels is not None, timeout=10_000)
    first = viewer.main.pixels.copy()
    viewer.link.set_slice(0)
    qtbot.waitUntil(lambda: (viewer.main.pixels != first).any(), timeout=10_000)
    viewer.main.hovered.emit(128.0, 128.0)
    assert viewer.place.text() == "x 128  y 128  z 1"
    assert viewer.value.text().endswith("HU")
    assert viewer.count.text() == "1 / 6"


def test_nothing_is_in_millimetres_where_the_pixel_size_is_not_known(opened, tmp_path):
    generated.write_ct(tmp_path / "known", "Known", slices=1)
    generated.write_ct(tmp_path / "bare", "Bare", slices=1, patient="B")
    (bare,) = (tmp_path / "bare").iterdir()
    dataset = pydicom.dcmread(bare)
    del dataset.PixelSpacing
    dataset.save_as(bare)
    window = opened(tmp_path)
    viewer, found = window.scans.viewer, {}
    for series in window.session.series:
        window.scans.tree.select(series.uid)
        found[series.description] = viewer.main.scale_bar, viewer.ruler.unit, spacing_words(series)
    assert found == {"Known": (True, "mm", "0.80 × 0.80 mm"), "Bare": (False, "px", "64 × 64 px")}


def test_window_chips_and_keys_change_all_planes(opened, qtbot, phantom):
    window = opened(phantom["low"])
    viewer = window.scans.viewer
    qtbot.waitUntil(lambda: viewer.main.pixels is not None, timeout=10_000)
    qtbot.mouseClick(viewer.preset_button(2), Qt.MouseButton.LeftButton)
    assert [(link.width, link.level) for link in (viewer.link, *viewer.side_links)] == [(1500, -600)] * 3
    assert viewer.preset_button(2).isChecked()
    assert not viewer.preset_button(1).isChecked()


def test_a_click_with_the_probe_moves_the_crosshair_in_all_planes(opened, qtbot, phantom):
    window = opened(phantom["low"])
    viewer = window.scans.viewer
    qtbot.waitUntil(lambda: viewer.sides[0].pixels is not None, timeout=10_000)
    viewer.tools.button(2).click()
    viewer.main.pressed.emit(40.0, 70.0)
    assert (viewer.main.cross.x, viewer.main.cross.y) == (40, 70)
    assert viewer.sides[0].own_axis[0] == 70
    assert viewer.sides[1].own_axis[0] == 40


def test_a_role_is_given_to_the_selection_and_ctrl_z_takes_it_back(opened, qtbot, phantom):
    window = opened(phantom["low"])
    page = window.scans
    qtbot.mouseClick(page.side.rows["holdout"], Qt.MouseButton.LeftButton)
    uid = page.tree.selected()[0].uid
    assert window.session.role(uid) == "holdout"
    assert page.side.rows["holdout"].count.text() == "1"
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.session.role(uid) == "noisy"
    assert page.side.rows["noisy"].radio.isChecked()


def test_a_proposed_pair_is_used_after_the_click_and_undone_again(opened, qtbot, phantom):
    window = opened(phantom["low"], phantom["full"])
    (card,) = window.scans.side.pairs.cards
    assert card.isVisible()
    assert card.use.isVisible()
    assert window.session.pairs == ()
    qtbot.mouseClick(card.use, Qt.MouseButton.LeftButton)
    assert len(window.session.pairs) == 2
    assert len(window.session.clean) == 2
    assert "dose" in card.title.text()
    assert card.undo.isVisible()
    assert not card.use.isVisible()
    qtbot.mouseClick(card.undo, Qt.MouseButton.LeftButton)
    assert window.session.pairs == ()
    assert window.session.clean == ()


def test_a_second_folder_is_added_and_the_filter_finds_a_series(opened, qtbot, phantom):
    window = opened(phantom["low"])
    window = opened(phantom["other"])
    page = window.scans
    total = len(window.session.series)
    assert total == 4
    qtbot.keyClicks(page.filter, "MR")
    assert len(list(page.tree.indexes())) == 1
    page.filter.clear()
    assert len(list(page.tree.indexes())) == total


def test_hide_unused_leaves_unused_series_out_of_the_tree(opened, phantom):
    window = opened(phantom["low"])
    window.session.set_roles([window.session.series[0].uid], "unused")
    window.scans.unused.click()
    assert len(list(window.scans.tree.indexes())) == 1
    window.scans.unused.click()
    assert len(list(window.scans.tree.indexes())) == 2


def test_an_empty_folder_gets_one_plain_sentence_and_the_first_page_stays(opened, tmp_path):
    folder = tmp_path / "nothing here"
    folder.mkdir()
    window = opened(folder)
    assert "nothing here" in window.notices.text
    assert "Choose the folder" in window.notices.text
    assert window.scans.first.isVisible()


def test_a_folder_of_texts_says_how_many_files_and_why(opened, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("no image", encoding="utf-8")
    window = opened(folder)
    assert "2 files" in window.notices.text
    assert "a.txt" in window.notices.text


def test_a_truncated_file_is_listed_and_the_others_are_shown(opened, qtbot, phantom, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    files = sorted(phantom["other"].iterdir())
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "cut.dcm").write_bytes(files[0].read_bytes()[:400])
    window = opened(folder)
    assert len(window.session.series) == 2
    assert len(window.session.skipped) == 1
    assert "1 file is in no series." in window.scans.side.skipped.text()


def test_cancelling_a_scan_leaves_what_was_loaded_as_it_was(opened, qtbot, phantom):
    window = opened(phantom["low"])
    before = window.session.series
    window.scans.open_paths([phantom["full"]])
    window.scans.scanning.cancel()
    qtbot.waitUntil(lambda: not window.session.lanes.busy("scan"), timeout=10_000)
    assert window.session.series[: len(before)] == before


def test_a_folder_opened_at_the_moment_a_scan_ends_is_scanned_next(window, opened, phantom):
    scanning = window.scans.scanning
    seen = []

    def at_the_first(wish) -> None:
        if len(seen) == 0:
            window.scans.open_paths([phantom["full"]])  # the thread of the scan before still ends
            seen.append((window.session.lanes.busy("scan"), scanning.running))

    scanning.ended.connect(at_the_first)
    opened(phantom["low"])
    assert seen == [(True, True)]
    assert len(window.session.series) == 4


def test_cancelling_gives_up_what_waits_for_a_scan_to_end_too(window, opened, qtbot, phantom):
    scanning = window.scans.scanning
    ended = []

    def at_the_first(wish) -> None:
        ended.append(wish)
        if len(ended) == 1:
            window.scans.open_paths([phantom["full"]])
            scanning.cancel()

    scanning.ended.connect(at_the_first)
    opened(phantom["low"])
    qtbot.waitUntil(lambda: not window.session.lanes.busy("scan"), timeout=10_000)
    assert len(ended) == 2
    assert not scanning.running
    assert len(window.session.series) == 2
    assert window.scans.views.currentIndex() == 2


def test_a_zip_a_dicomdir_and_single_files_can_be_dropped_together(window, qtbot, phantom, tmp_path):
    single = sorted(phantom["full"].rglob("*.dcm"))[0]
    packed = Path(shutil.make_archive(str(tmp_path / "export"), "zip", phantom["other"]))
    listing = Path(DATA_ROOT, "test_files", "dicomdirtests", "DICOMDIR")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in (single, packed, listing)])
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, left, none))
    loaded(window, qtbot)
    names = {file.name for series in window.session.series for file in series.files}
    assert single.name in names
    assert len({series.modality for series in window.session.series}) > 1  # of the zip
    named = [s for s in window.session.series if s.files[0].is_relative_to(listing.parent)]
    assert len(named) > 3


def test_a_stopped_scan_keeps_what_it_has_found_and_names_the_rest(phantom):
    work = _work(Wish((phantom["low"], phantom["full"])))
    for event in work:
        if isinstance(event, Progress) and event.what == "Scanning":
            break
    events = [work.throw(Stop()), *work]
    assert isinstance(events[-1], Done)
    result, opened, _ = events[-1].result
    assert opened == (phantom["low"], phantom["full"])
    assert any(one.reason.startswith("Not read") for one in result.skipped)


def test_skipped_files_are_grouped_by_reason_with_the_damaged_first():
    lines = skipped_lines(
        [
            Skipped(Path("/a/notes.txt"), "Not an image."),
            Skipped(Path("/a/b/more.txt"), "Not an image."),
            Skipped(Path("/a/2.dcm"), "Copy of 1.dcm."),
            Skipped(Path("/a/cut.dcm"), "Truncated: 31 % of its pixel data are there.", damaged=True),
        ]
    )
    assert lines == [
        "In /a",
        "",
        "Truncated · 1 file · should have been slices",
        "    cut.dcm  (Truncated: 31 % of its pixel data are there)",
        "",
        "Not an image · 2 files",
        "    notes.txt",
        "    b/more.txt",
        "",
        "Copy of another file · 1 file",
        "    2.dcm  (Copy of 1.dcm)",
    ]


def test_the_list_of_skipped_files_can_be_copied(opened, qtbot, phantom, tmp_path):
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    window = opened(phantom["low"], tmp_path / "notes.txt")
    assert window.scans.side.skipped.text() == "1 file is in no series."
    window.scans.side.list_skipped.click()
    dialog = window.findChild(Dialog)
    next(made for made in dialog.findChildren(QPushButton) if made.accessibleName() == "Copy").click()
    assert QGuiApplication.clipboard().text().startswith("Not an image")
    dialog.reject()


def test_a_second_scan_replaces_the_one_that_runs(window, qtbot, phantom):
    window.scans.open_paths([phantom["low"]])
    window.scans.open_paths([phantom["other"]])
    qtbot.waitUntil(lambda: phantom["other"] in window.session.paths, timeout=20_000)
    qtbot.waitUntil(lambda: not window.session.lanes.busy("scan"), timeout=20_000)


def test_sample_data_are_made_and_opened(window, qtbot, monkeypatch, phantom):
    made = []

    def generate(folder: Path):
        from aegui.events import Done, Progress

        made.append(folder)
        yield Progress(1, 1, "Making sample scans")
        yield Done(phantom)

    monkeypatch.setattr("aegui.sample.generate", generate)
    qtbot.mouseClick(window.scans.first.samples["pair"], Qt.MouseButton.LeftButton)
    loaded(window, qtbot)
    assert len(made) == 1
    assert len(window.session.series) == 4
    assert [card.proposal.kind for card in window.scans.side.pairs.cards] == ["dose"]


def test_a_project_that_was_saved_opens_with_its_scans_and_roles(opened, qtbot, phantom, tmp_path):
    from aegui.gui import project

    window = opened(phantom["low"])
    uid = window.session.series[0].uid
    window.session.set_roles([uid], "holdout")
    file = tmp_path / "mine.aeguiproject"
    project.save(window.session, file)
    window.new_project()
    assert window.scans.first.isVisible()
    window.open_paths([file])
    loaded(window, qtbot)
    assert window.session.role(uid) == "holdout"
    assert window.session.name == "mine"
    assert window.top.saved.text() == "Saved"
