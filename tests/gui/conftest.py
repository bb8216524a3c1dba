"""A themed application, and a window on generated scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from aegui import events, sample
from aegui.gui import slices, theme
from aegui.gui.window import Window


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
