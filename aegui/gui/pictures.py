"""Pictures of the real window with a finished run in it, taken off screen."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegui.events import Event, Progress
from aegui.imaging import ScanResult

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from aegui.gui.window import Window
    from aegui.workflow import Report, TrainJob

SIZE = (1440, 900)
QUIET, PATIENCE = 1.0, 25.0  # seconds without a change before a picture is taken; seconds to wait for that


def shoot(
    out: Path, found: ScanResult, job: TrainJob, events: Sequence[Event], result: Any, report: Report
) -> Generator[Event, None, list[Path]]:
    """Write a PNG of each page to `out`, as the window shows this run; returns the files.

    events: what training said. The user's settings and last project stay untouched.
    """
    with _private_homes(), _quiet():
        app = _application()
        from aegui.gui.pages.deliver import DeliverPage
        from aegui.gui.pages.review import ReviewPage
        from aegui.gui.pages.train import TrainPage
        from aegui.gui.window import Window

        window = Window()
        window.session.toast.disconnect()  # they would cover what is pictured
        window.resize(*SIZE)
        window.show()
        files: list[Path] = []
        try:
            _fill(window, found, job)
            out.mkdir(parents=True, exist_ok=True)
            for number, page in enumerate(window.pages):
                if isinstance(page, TrainPage):
                    page.replay(job, events, result)
                if isinstance(page, ReviewPage):
                    held = window.session.find(job.holdout[0]) if job.holdout else None
                    window.session.look = (held, held.slices // 2) if held else None
                window.show_page(number)
                if isinstance(page, DeliverPage):
                    page.show_report(report)
                for _ in _settled(app, window):
                    yield Progress(number, len(window.pages), "Taking pictures of the window")
                file = out / f"{number + 1}-{page.key}.png"
                window.grab().save(str(file))
                files.append(file)
        finally:
            _close(app, window)
    return files


@contextmanager
def _private_homes() -> Iterator[None]:
    """Settings, data and caches of this window alone."""
    names = [f"AEGUI_{kind}_HOME" for kind in ("CONFIG", "DATA", "CACHE")]
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="aegui-", ignore_cleanup_errors=True) as root:
        for name in names:
            os.environ[name] = str(Path(root, name))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the remarks of the offscreen platform about what it cannot do."""
    from PySide6.QtCore import qInstallMessageHandler

    before = qInstallMessageHandler(lambda kind, context, text: None)
    try:
        yield
    finally:
        qInstallMessageHandler(before)


def _application() -> QApplication:
    from PySide6.QtWidgets import QApplication

    from aegui.gui import theme

    if QApplication.instance() is None:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    app = QApplication.instance() or QApplication(["aegui"])
    assert isinstance(app, QApplication)
    theme.apply(app, "dark", 100)
    return app


def _fill(window: Window, found: ScanResult, job: TrainJob) -> None:
    session = window.session
    session.set_scan(found, sorted({series.root for series in found.series}))
    session.set_roles([series.uid for series in job.clean], "clean")
    session.set_roles(job.holdout, "holdout")
    session.set_pairs(job.pairs)
    session.set_model(job.model)
    session.set_recipe(job.recipe)


def _settled(app: QApplication, window: Window) -> Iterator[None]:
    """Run the event loop until the window has shown the same for a while."""
    began = changed = time.monotonic()
    last = None
    while time.monotonic() - began < PATIENCE and time.monotonic() - changed < QUIET:
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            app.processEvents()
            time.sleep(0.01)
        now = window.grab().toImage()
        if now != last:
            last, changed = now, time.monotonic()
        yield


def _close(app: QApplication, window: Window) -> None:
    until = time.monotonic() + 20
    while not window.close() and time.monotonic() < until:
        app.processEvents()
        time.sleep(0.02)
    for _ in range(5):
        app.processEvents()
    window.deleteLater()
    app.processEvents()
