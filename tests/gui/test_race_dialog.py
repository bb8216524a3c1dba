"""“Compare recipes”: who may race, what is shown of it, and what is taken from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, Qt
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from aegui import recipes, workflow
from aegui.events import Done, Event, Progress
from aegui.gui.races import Choice, Races, choices
from aegui.gui.session import Session
from aegui.gui.widgets.picture_grid import Picture, PictureGrid
from aegui.gui.widgets.race_dialog import RaceDialog, open_race
from tests.gui.generated import MODEL, scanned, write_ct

QUICK = ["run.batch_size=2", "run.patch_size=32"]
Show = Callable[[], RaceDialog]


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
def session(host: QWidget, tmp_path: Path) -> Session:
    """Three patients with five slices each, and a recipe that is quick."""
    made = Session(host)
    for patient in "ABC":
        write_ct(tmp_path / "scans" / patient, "Thin", slices=5, sd=5, patient=patient)
    made.set_scan(scanned(tmp_path / "scans"), [tmp_path / "scans"])
    made.set_model(MODEL)
    made.set_recipe(recipes.load("denoise").with_set(QUICK))
    return made


@pytest.fixture
def races(session: Session, qtbot) -> Iterator[Races]:
    made = Races(session, session)
    yield made
    if made.running:
        made.stop()
    qtbot.waitUntil(lambda: not session.lanes.running(), timeout=60_000)


@pytest.fixture
def show(host: QWidget, session: Session, races: Races) -> Show:
    return lambda: open_race(host, session, races)


def texts(dialog: RaceDialog) -> list[str]:
    QApplication.processEvents()
    return [made.text() for made in dialog.findChildren(QLabel) if made.isVisible() and made.text()]


def box(dialog: RaceDialog, title: str):
    return next(made for choice, made in dialog.entries if choice.recipe.title == title and not choice.now)


def test_the_recipe_of_the_form_stands_first_and_is_ticked(show: Show, session: Session) -> None:
    dialog = show()
    first, made = dialog.entries[0]
    assert first.now and first.recipe == session.recipe and made.isChecked()
    assert made.text() == "Denoise, as in the form"
    assert [choice.recipe for choice, other in dialog.entries if other.isChecked()] == dialog.picked()
    assert dialog.start.isEnabled()


def test_a_preset_that_cannot_run_is_off_and_says_why(show: Show) -> None:
    dialog = show()
    off = box(dialog, "Discriminative")
    assert not off.isEnabled()
    assert any("needs at least two classes" in text for text in texts(dialog))


def test_a_recipe_is_ticked_anywhere_in_its_row(show: Show, qtbot) -> None:
    dialog = show()
    layerwise = box(dialog, "Layer-wise")
    QApplication.processEvents()
    right = QPoint(layerwise.width() - 4, layerwise.height() // 2)
    qtbot.mouseClick(layerwise, Qt.MouseButton.LeftButton, pos=right)
    assert layerwise.isChecked()


def test_without_scans_it_leads_to_them(host: QWidget, qtbot) -> None:
    session = Session(host)
    session.set_model(MODEL)
    pages: list[str] = []
    session.page_requested.connect(pages.append)
    dialog = open_race(host, session, Races(session, session))
    assert "There are no scans to race on" in texts(dialog)
    assert not dialog.side.isVisible()
    next(b for b in dialog.findChildren(QPushButton) if "Go to Scans" in b.text()).click()
    assert pages == ["scans"] and not dialog.isVisible()


def test_no_recipe_ticked_means_no_start(show: Show) -> None:
    dialog = show()
    dialog.entries[0][1].setChecked(False)
    assert not dialog.start.isEnabled() and dialog.hint.text() == "Tick at least one recipe."
    dialog.entries[0][1].setChecked(True)
    assert dialog.hint.text() == "About 1 min 18 s in all"
    dialog.time.setCurrentIndex(0)
    assert dialog.hint.text() == "About 33 s in all"


def test_another_job_is_waited_for_in_words(show: Show, session: Session, qtbot) -> None:
    def work() -> Iterator[Event]:
        for _ in range(10_000):
            yield Progress(0, None, "…")
        yield Done()

    job = session.lanes.create(work, "Training")
    job.pause()
    job.start()
    dialog = show()
    assert not dialog.start.isEnabled() and dialog.hint.text() == "“Training” is still running."
    job.abandon()
    qtbot.waitUntil(lambda: dialog.start.isEnabled(), timeout=10_000)


def test_pairs_fit_presets_that_add_noise_but_not_those_for_noisy_scans(session: Session, tmp_path: Path) -> None:
    write_ct(tmp_path / "pairs", "Low", slices=3)
    write_ct(tmp_path / "pairs", "High", slices=3)
    found = scanned(tmp_path / "pairs")
    session.set_scan(found, [tmp_path / "pairs"])
    one, other = found.series
    session.set_pairs(workflow.match_pairs([one], [other]))
    kinds = {choice.recipe.title: choice.recipe.targets.kind for choice in choices(session, ())}
    assert kinds["Layer-wise"] == "paired"
    blind = recipes.load("denoise").with_set(["id=b", "title=B", "targets={kind: noise2void}", "losses=[{kind: mse}]"])
    found = choices(session, [blind])
    assert Choice(blind, "") in found
    off = [bool(choice.reason) for choice in found]
    assert any(off) and off == sorted(off)  # what cannot run stands last


def test_a_race_is_shown_ranked_and_a_recipe_is_taken_from_it(
    show: Show, session: Session, races: Races, qtbot
) -> None:
    dialog = show()
    races.start([session.recipe, recipes.load("layerwise").with_set(QUICK)], 1, True)
    assert not dialog.start.isVisible() and dialog.stop.isVisible()
    assert dialog.hint.text() == "The race goes on while this is closed."
    qtbot.waitUntil(lambda: sum(lap.image is not None for lap in races.laps) >= 3, timeout=60_000)
    assert [view.title for view in dialog.grid.views][:2] == ["Noisy input", "Model as it is"]
    # Closed and opened again, it is still there.
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert races.running
    dialog = show()
    assert "Noisy input" in texts(dialog)
    qtbot.waitUntil(lambda: not races.running, timeout=120_000)
    result = races.result
    assert result is not None and races.error is None
    titles = [view.title for view in dialog.grid.views]
    assert titles[0] == "Noisy input" and titles[-1] == "Reference"
    assert result.classical is not None and titles[1] == result.classical.name
    assert titles[2:-1] == ["Model as it is", "Denoise", "Layer-wise", "Denoise, from scratch"]
    assert len({id(view.link) for view in dialog.grid.views}) == 1
    denoise = next(row for row in result.rows if row.name == "Denoise")
    assert denoise.psnr is not None and result.classical.psnr is not None
    gain = f"{denoise.psnr - result.classical.psnr:+.2f}".replace("-", "−")
    assert dialog.grid.views[3].bottom_right == (f"{denoise.psnr:.2f} dB", f"{gain} over classical")
    said = texts(dialog)
    assert f"{gain} dB" in said and f"{denoise.psnr:.2f} dB" in said
    assert any("R = 400 HU" in text and "held-out slices" in text for text in said)
    names = [text for text in said if text in {row.name for row in result.rows}]
    assert names == [row.name for row in result.ranked]
    use = [b for b in dialog.findChildren(QPushButton) if b.text() == "Use this recipe"]
    assert {b.accessibleName() for b in use} == {"Use the recipe Denoise", "Use the recipe Layer-wise"}
    next(b for b in use if b.accessibleName().endswith("Layer-wise")).click()
    assert session.recipe == recipes.load("layerwise").with_set(QUICK) and session.preset == recipes.load("layerwise")
    assert not dialog.isVisible()
    session.undo.undo()
    assert session.preset.id == session.recipe.id == "denoise"


def test_stopping_keeps_what_is_there(show: Show, session: Session, races: Races, qtbot) -> None:
    dialog = show()
    races.start([session.recipe], 300, False)
    qtbot.waitUntil(lambda: len(races.laps) > 6 and races.laps[6].progress > 0, timeout=120_000)
    dialog.stop.click()
    assert not dialog.stop.isEnabled()
    qtbot.waitUntil(lambda: not races.running, timeout=60_000)
    assert races.result is not None and races.result.stopped
    said = " ".join(texts(dialog))
    assert "Stopped before its time was up." in said and "The race was stopped early." in said
    assert dialog.start.isVisible() and dialog.start.isEnabled()


def test_another_project_hears_nothing_of_the_race_before(session: Session, races: Races, qtbot) -> None:
    races.start([session.recipe], 5, False)
    qtbot.waitUntil(lambda: bool(races.laps), timeout=60_000)
    session.reset()
    assert races.laps == [] and races.result is None
    qtbot.waitUntil(lambda: not races.running, timeout=60_000)
    assert races.laps == [] and races.result is None


def test_a_problem_is_told_in_the_dialog(show: Show, session: Session, races: Races, qtbot) -> None:
    for series in session.series:
        for file in series.files:
            file.unlink()
    dialog = show()
    races.start([session.recipe], 1, False)
    qtbot.waitUntil(lambda: not races.running, timeout=60_000)
    assert dialog.note.isVisible()
    assert any("no longer there" in text for text in texts(dialog))
    assert dialog.start.isEnabled()


def test_pictures_are_laid_out_as_large_as_they_can_be(host: QWidget, qtbot) -> None:
    grid = PictureGrid()
    qtbot.addWidget(grid)
    grid.resize(800, 200)
    image = np.zeros((8, 8), np.float32)
    grid.show_pictures([Picture(str(n), image) for n in range(4)], (1.0, 0.5))
    assert len({view.y() for view in grid.views}) == 1 and len({view.x() for view in grid.views}) == 4
    grid.resize(400, 400)
    QApplication.sendPostedEvents()
    grid._place()
    assert len({view.y() for view in grid.views}) == 2
    grid.show_pictures([Picture("one", image)], None)
    assert len(grid.views) == 1 and grid.views[0].size() == grid.size()
