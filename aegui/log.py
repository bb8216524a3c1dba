"""Logging to a rotating file in the data folder; the console stays for the user."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers

from aegui import paths
from aegui.errors import UserError


def setup(verbose: bool = False) -> None:
    """Write the program's log; verbose also prints it. Warnings of libraries go there too: they tell users nothing."""
    logging.captureWarnings(True)
    handlers: list[logging.Handler] = []
    with contextlib.suppress(OSError, UserError):  # a read-only home must not keep the program from starting
        handlers.append(
            logging.handlers.RotatingFileHandler(
                paths.data_home() / "aegui.log",
                maxBytes=1_000_000,
                backupCount=3,
                encoding="utf-8",
                errors="backslashreplace",
            )
        )
    if verbose:
        handlers.append(logging.StreamHandler())
    if not handlers:
        handlers.append(logging.NullHandler())
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=handlers, force=True
    )


def file() -> str:
    """Where the program's log is; "" where it cannot be written."""
    files = (h.baseFilename for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler))
    return next(files, "")
