"""Where things lie: shipped resources, settings, caches."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from aegui.errors import UserError


def _resource_root() -> Path:
    if getattr(sys, "frozen", False):
        return Path(sys._MEIPASS) / "resources"  # type: ignore[attr-defined]
    here = Path(__file__).resolve().parent
    wheel = here / "_resources"
    return wheel if wheel.is_dir() else here.parent / "resources"


def resource(*parts: str) -> Path:
    """A shipped file or folder, in a checkout, a wheel or the frozen program."""
    return _resource_root().joinpath(*parts)


def _home(kind: str, default: str) -> Path:
    variable = f"AEGUI_{kind}_HOME"
    folder = Path(os.environ.get(variable) or default)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The {kind.lower()} folder {folder} cannot be made.",
            f"Set {variable} to a folder that you may write to. ({error.strerror})",
        ) from None
    return folder


def config_home() -> Path:
    """Settings. AEGUI_CONFIG_HOME overrides it. UserError, as of the others, where it cannot be made."""
    return _home("CONFIG", platformdirs.user_config_dir("aegui", appauthor=False))


def data_home() -> Path:
    """The user's own models and runs. AEGUI_DATA_HOME overrides it."""
    return _home("DATA", platformdirs.user_data_dir("aegui", appauthor=False))


def cache_home() -> Path:
    """What can be made again. AEGUI_CACHE_HOME overrides it."""
    return _home("CACHE", platformdirs.user_cache_dir("aegui", appauthor=False))


def exists(path: Path) -> bool:
    """Whether something is there. Unlike Path.exists, False where the very name is refused, as too long a one is."""
    return os.path.exists(path)  # noqa: PTH110 - see above


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it on success and removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files only their owner can read; outputs follow the user's own umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(folder: Path, what: str) -> None:
    """Make the folder if need be; UserError naming it as `what` if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"The {what} {folder} cannot be written.", f"Choose another folder. ({error.strerror})"
        ) from None
