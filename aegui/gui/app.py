"""Start the window. Nothing here imports Qt before it must: on Windows torch has to come first."""

from __future__ import annotations

import gc
import importlib.util
import logging
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PySide6.QtCore import QThread

    from aegui.gui.window import Window

_log = logging.getLogger(__name__)

SWITCH = 0.001  # s that a job may keep the interpreter while the window waits for it


def run(folder: Path | None = None) -> int:
    """Open the window, with a folder if one is given; returns the exit code."""
    if sys.platform == "win32":
        import torch  # noqa: F401 - after Qt its libraries do not load there; a splash covers the wait

    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from aegui import settings
    from aegui.gui import theme
    from aegui.gui.window import Window

    sys.setswitchinterval(SWITCH)
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)
    app.setApplicationName("aegui")
    app.setDesktopFileName("aegui")
    chosen = settings.load()
    theme.apply(app, chosen.theme, chosen.text_size)
    window = Window()
    _install_hooks(window)
    window.show()
    _close_splash()
    if folder is not None:
        QTimer.singleShot(0, lambda: window.open_paths([folder]))
    loader = _loader(window)
    QTimer.singleShot(400, loader.start)
    try:
        return app.exec()
    finally:
        loader.wait()  # a running QThread must not be dropped
        sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__


def _close_splash() -> None:
    """The frozen program's splash; the module exists only there."""
    if importlib.util.find_spec("pyi_splash") is not None:
        import pyi_splash

        pyi_splash.close()


def _loader(window: Window) -> QThread:
    """Loads what jobs need behind the shown window: the first one starts at once, and the device is known."""
    from PySide6.QtCore import QThread

    class Loader(QThread):
        def run(self) -> None:
            # The collector would walk through everything that is being loaded, again and again, with the window
            # waiting for each round; afterwards it has no need to look at any of it.
            gc.disable()
            try:
                # Imported to be loaded, not to be used.
                import skimage.restoration  # noqa: F401
                import torch

                from aegui.inference import denoiser  # noqa: F401
                from aegui.training import fit  # noqa: F401

                torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # loads what the first training step would
            finally:
                gc.freeze()
                gc.enable()

    loader = Loader()
    loader.finished.connect(window.top.refresh)
    return loader


def _install_hooks(window: Window) -> None:
    """Whatever nobody caught goes to the log and to the crash dialog, from any thread."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            window.close()
            return
        _log.error("not caught", exc_info=(kind, error, trace))
        window.session.crash.emit(error.with_traceback(trace))

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            report(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = report
    threading.excepthook = report_thread
