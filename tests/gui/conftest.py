"""A themed application, and a window on generated scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from aegui import events, sample
from aegui.gui import slices, theme
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.session import Session
from aegui.gui.window import Window
from tests.gui import generated


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the sample data, small: two patients at two doses, and single CT and MR slices."""
    folder = tmp_path_factory.mktemp("phantom")
    found: dict[str, Path] = events.finish(sample.generate(folder, slices=6, patients=2))
    return found


@pytest.fixture
def themed(qapp: QApplication) -> QApplication:
    """The application in the dark theme at its usual text size."""
    if (theme.choice(), theme.text_size()) != ("dark", 100) or not qapp.styleSheet():
        theme.apply(qapp, "dark", 100)  # every widget that is still there would be restyled
    return qapp


@pytest.fixture
def window(themed: QApplication, qtbot) -> Iterator[Window]:
    """The whole window, closed and emptied of threads at the end."""
    made = Window()
    made.show()
    qtbot.waitExposed(made)
    yield made
    made._leaving = True  # no question at the end of a test
    made.close()
    qtbot.waitUntil(lambda: not made.session.lanes.running(), timeout=20_000)
    made.close()
    slices.end_all()
    made.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def opened(window: Window, qtbot) -> Callable[..., Window]:
    """opened(folder, …): the window after it has scanned them."""

    def open_(*folders: Path, then: str = "") -> Window:
        window.scans.open_paths(list(folders), then=then)
        qtbot.waitUntil(lambda: not window.scans.scanning.running, timeout=20_000)
        return window

    return open_


@pytest.fixture
def deliver_page(qtbot: Any, qapp: QApplication, tmp_path: Path) -> Iterator[DeliverPage]:
    """Deliver with two CT series in the project, a small model, an output folder."""
    theme.apply(qapp, "dark")
    for name in ("Thin", "Thick"):
        generated.write_ct(tmp_path / "scans" / name, name, slices=4)
    session = Session()
    session.set_scan(generated.scanned(tmp_path / "scans"), [tmp_path / "scans"])
    session.set_model(generated.MODEL)
    made = DeliverPage(session)
    qtbot.addWidget(made)
    made.resize(1336, 756)
    with qtbot.waitExposed(made):
        made.show()
    made.enter()
    made.options.folder.setText(str(tmp_path / "out"))
    yield made
    for job in session.lanes.running():
        job.abandon()
    session.lanes.wait_all(20_000)
    made.release()
    slices.end_all()
