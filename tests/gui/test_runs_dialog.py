"""“Compare runs”: what is listed, drawn and said to differ."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from aegui import paths, recipes, workflow
from aegui.gui.session import Session
from aegui.gui.widgets.plots import SEVERAL
from aegui.gui.widgets.runs_dialog import MOST, RunsDialog, open_runs
from tests.gui.generated import ct
from tests.test_runs import write_run

Show = Callable[..., RunsDialog]


@pytest.fixture
def host(themed) -> Iterator[QWidget]:
    made = QWidget()
    made.resize(1280, 720)
    made.show()
    yield made
    made.close()
    made.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def session(host: QWidget) -> Session:
    return Session(host)


@pytest.fixture
def show(host: QWidget, session: Session, qtbot) -> Iterator[Show]:
    """show(begin): the dialog after it has read its folders."""
    opened: list[RunsDialog] = []

    def make(begin: Callable[[workflow.TrainJob], object] = lambda job: None) -> RunsDialog:
        dialog = open_runs(host, session, begin)
        opened.append(dialog)
        qtbot.waitUntil(lambda: not session.lanes.busy("runs"), timeout=10_000)
        return dialog

    yield make
    qtbot.waitUntil(lambda: not session.lanes.running(), timeout=10_000)


def place(name: str) -> Path:
    return paths.data_home() / "runs" / name


def three() -> None:
    first = recipes.load("denoise")
    write_run(place("20260301-100000-denoise"), first, (30.0, 31.0, 32.0), init="pretrained")
    write_run(place("20260302-100000-denoise-scratch"), first, (20.0, 25.0, 29.0), init="random")
    write_run(place("20260303-100000-layerwise"), recipes.load("layerwise"), (30.0, 33.0), init="pretrained")


def texts(dialog: RunsDialog) -> list[str]:
    QApplication.processEvents()  # what was put into a layout is shown by an event
    return [made.text() for made in dialog.findChildren(QLabel) if made.isVisible() and made.text()]


def test_without_runs_it_says_how_to_get_some(show: Show) -> None:
    dialog = show()
    assert dialog.stack.currentWidget() is dialog.none
    assert "No runs yet" in texts(dialog)
    assert not dialog.load.isVisible()


def test_the_latest_runs_are_drawn_each_in_its_own_look(show: Show) -> None:
    three()
    dialog = show()
    assert [made.run.title for made in dialog.rows] == ["Layer-wise", "Denoise", "Denoise"]
    assert all(made.box.isChecked() for made in dialog.rows)
    lines = dialog.plot.lines
    assert list(lines) == ["Layer-wise", "Denoise, from scratch", "Denoise"]
    x, y = lines["Denoise, from scratch"].data
    assert np.array_equal(x, [1, 2, 3]) and np.array_equal(y, [20, 25, 29])
    assert [line.style for line in lines.values()] == list(SEVERAL[:3])
    assert all(line.label is not None and line.label.isVisible() for line in lines.values())


def test_what_is_asked_for_while_it_reads_is_read_after(host: QWidget, session: Session, qtbot, monkeypatch) -> None:
    gate, read = threading.Event(), workflow.runs
    monkeypatch.setattr(workflow, "runs", lambda folders: (read(folders), gate.wait(10))[0])
    dialog = open_runs(host, session, lambda job: None)
    three()
    dialog.read()
    gate.set()
    qtbot.waitUntil(lambda: len(dialog.rows) == 3, timeout=10_000)
    qtbot.waitUntil(lambda: not session.lanes.running(), timeout=10_000)


def test_another_curve_is_shown_at_the_press_of_a_button(show: Show, qtbot) -> None:
    three()
    dialog = show()
    qtbot.mouseClick(dialog.kind.button(2), Qt.MouseButton.LeftButton)
    assert dialog.plot.log and "same loss terms" in dialog.caption.text()
    _, y = dialog.plot.lines["Layer-wise"].data
    assert np.allclose(y, [0.1, 0.05])


def test_the_table_tells_only_what_differs(show: Show) -> None:
    three()
    dialog = show()
    dialog.rows[0].box.setChecked(False)  # the two that are left differ in their start alone
    said = texts(dialog)
    assert "Weights" in said and "Random" in said and "Pretrained" in said
    assert not any(text.startswith("Parameter groups") for text in said)
    dialog.rows[0].box.setChecked(True)
    assert "Parameter groups · encoder" in texts(dialog)
    for made in dialog.rows[1:]:
        made.box.setChecked(False)
    assert "Tick two runs to see what their recipes do differently." in texts(dialog)


def test_names_at_line_ends_do_not_lie_over_each_other(show: Show, qtbot) -> None:
    first = recipes.load("denoise")
    for number in range(4):
        write_run(place(f"2026030{number + 1}-10000{number}-denoise"), first, (30.0, 32.0), init="pretrained")
    dialog = show()
    for made in dialog.rows:
        made.box.setChecked(True)
    box = dialog.plot.getPlotItem().getViewBox()
    _, high = box.viewPixelSize()
    tops = sorted(line.label.pos().y() / high for line in dialog.plot.lines.values())  # type: ignore[union-attr]
    assert len(tops) == 4 and min(np.diff(tops)) >= 10


def test_damaged_and_unfinished_runs_are_listed_with_the_reason(show: Show) -> None:
    three()
    (place("20260303-100000-layerwise") / "recipe.yaml").write_text("losses: [")
    (place("20260302-100000-denoise-scratch") / "run.json").unlink()
    dialog = show()
    said = " ".join(texts(dialog))
    assert "Its recipe cannot be read" in said and "Not finished" in said
    assert dialog.current is not None and dialog.current.recipe is None
    assert not dialog.load.isEnabled() and dialog.load.toolTip() == "Its recipe cannot be read"
    assert not dialog.scratch.isEnabled()


def test_no_more_curves_are_drawn_than_can_be_told_apart(show: Show) -> None:
    for number in range(MOST + 1):
        write_run(place(f"2026030{number + 1}-100000-denoise"), recipes.load("denoise"))
    dialog = show()
    for made in dialog.rows:
        made.box.setChecked(made.box.isEnabled())
    assert len(dialog.picked()) == MOST
    last = next(made for made in dialog.rows if not made.box.isChecked())
    assert not last.box.isEnabled() and "untick one" in last.box.toolTip()
    dialog.rows[0].box.setChecked(False)
    assert last.box.isEnabled()


def test_a_folder_is_added_once_and_remembered(show: Show, session: Session, tmp_path: Path, qtbot) -> None:
    write_run(tmp_path / "elsewhere" / "one", recipes.load("denoise"))
    dialog = show()
    told: list[str] = []
    session.toast.connect(lambda tone, text, detail: told.append(text))
    (tmp_path / "none").mkdir()
    dialog.add_folder(tmp_path / "none")
    assert told == ["No runs there"] and session.settings.run_folders == ()
    dialog.add_folder(tmp_path / "elsewhere")
    qtbot.waitUntil(lambda: len(dialog.rows) == 1, timeout=10_000)
    dialog.add_folder(tmp_path / "elsewhere")
    qtbot.waitUntil(lambda: not session.lanes.busy("runs"), timeout=10_000)
    assert session.settings.run_folders == (str(tmp_path / "elsewhere"),)
    assert Session().settings.run_folders == (str(tmp_path / "elsewhere"),)
    assert dialog.stack.currentWidget() is dialog.work


def test_the_recipe_of_a_run_can_be_taken(show: Show, session: Session) -> None:
    three()
    dialog = show()
    pages: list[str] = []
    session.page_requested.connect(pages.append)
    dialog.load.click()
    assert session.recipe == recipes.load("layerwise") and pages == ["recipe"]
    session.undo.undo()
    assert session.recipe == recipes.load("denoise")


def test_a_run_from_scratch_starts_with_its_recipe_on_the_open_scans(
    show: Show, session: Session, tmp_path: Path
) -> None:
    three()
    asked: list[Any] = []
    dialog = show(asked.append)
    assert not dialog.scratch.isEnabled() and "Open the scans" in dialog.scratch.toolTip()
    dialog.reject()
    series = ct(tmp_path / "scans")
    from tests.gui.generated import scanned

    session.set_scan(scanned(tmp_path / "scans"), [tmp_path / "scans"])
    session.ensure_model()
    dialog = show(asked.append)
    dialog.scratch.click()
    (job,) = asked
    assert job.init == "random" and job.recipe == recipes.load("layerwise") and job.model == "general-small"
    assert [one.uid for one in job.noisy] == [series.uid]
    assert job.run.parent == paths.data_home() / "runs" and "scratch" in job.run.name


def test_a_run_from_scratch_needs_no_other_one(show: Show) -> None:
    three()
    dialog = show()
    dialog._on_chosen(dialog.rows[1].run)
    assert dialog.scratch.toolTip() == "This run was from scratch"


def test_escape_closes_it_and_its_size_is_remembered(show: Show, session: Session, qtbot) -> None:
    dialog = show()
    assert dialog.width() <= 1280 - 48 and dialog.height() <= 720 - 48
    dialog.resize(900, 560)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
    again = show()
    assert (again.width(), again.height()) == (900, 560)
