"""What every test gets: private folders, an offscreen Qt, no network, and a look at what it left behind."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# More OpenMP threads than cores slow small networks down many times; torch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))

# Fixtures of a wider scope than one test, and processes started outside a test, must not see the user's folders either.
_SESSION_HOME = tempfile.TemporaryDirectory(prefix="aegui-tests-", ignore_cleanup_errors=True)
for _kind in ("CONFIG", "DATA", "CACHE"):
    os.environ[f"AEGUI_{_kind}_HOME"] = str(Path(_SESSION_HOME.name, _kind.lower()))

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared" / "data"
LIBRARY_THREADS = ("tqdm_monitor", "pytest_timeout", "QueueFeederThread")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves_threads: the test may leave a thread alive (say why)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA card")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real scans that may lie beside the checkout; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("the shared real scans are not here")
    return SHARED


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty settings, data and cache folders for this test alone; returns their parent."""
    root = tmp_path / "homes"
    for kind in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"AEGUI_{kind}_HOME", str(root / kind.lower()))
    return root


# --- stray log records -------------------------------------------------------------------------------------


class _Records:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.expected: list[str] = []

    def problems(self) -> list[str]:
        stray = [f"stray {text}" for text in self.seen if not any(re.search(p, text) for p in self.expected)]
        missing = [f"no record like {p!r}" for p in self.expected if not any(re.search(p, text) for text in self.seen)]
        return stray + missing


@pytest.fixture(autouse=True)
def _log_records(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Records]:
    records = _Records()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    deliver = logging.Logger.callHandlers

    # Not a handler: the program's own log set-up replaces all handlers of the root logger.
    def note(logger: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            records.seen.append(f"{record.levelname} {record.name}: {record.getMessage()}")
        deliver(logger, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", note)
    yield records
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    if problems := records.problems():
        pytest.fail("log records at WARNING or above:\n" + "\n".join(problems), pytrace=False)


@pytest.fixture
def expect_log(_log_records: _Records) -> Callable[[str], None]:
    """expect_log(pattern): a record at WARNING or above that matches "LEVEL logger: message" must come, and may."""
    return _log_records.expected.append


# --- no network --------------------------------------------------------------------------------------------


def _is_local(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return host == socket.gethostname()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    attempts: list[str] = []

    def guard(host: Any) -> None:
        if not _is_local(host):
            attempts.append(str(host))
            raise OSError(f"tests may not reach the network: {host}")

    def guarded_connect(real: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                guard(address[0])
            return real(self, address)

        return connect

    real_lookup = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **options: Any) -> Any:
        guard(host)
        return real_lookup(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield
    # An attempt that the code swallowed is still one.
    if attempts:
        pytest.fail(f"the test tried to reach the network: {', '.join(attempts)}", pytrace=False)


# --- threads left behind -----------------------------------------------------------------------------------


def _running_qthreads() -> list[Any]:
    core = sys.modules.get("PySide6.QtCore")
    if core is None:
        return []
    import shiboken6

    # type(), not isinstance(): asking lazy proxies for their __class__ would import what they stand for.
    known = {thread.ident for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}
    if busy := set(sys._current_frames()) - known:
        # While another thread runs Python, get_objects() would hand out tuples that it is still filling.
        return [f"running Python as {ident}" for ident in busy]
    threads = [thing for thing in gc.get_objects() if issubclass(type(thing), core.QThread)]
    return [thread for thread in threads if shiboken6.isValid(thread) and thread.isRunning()]


def _new_threads(before: set[threading.Thread], qt: bool) -> list[str]:
    # A _DummyThread is how Python names a thread of another library that once ran Python code; it never "ends".
    python = [
        thread.name
        for thread in threading.enumerate()
        if thread not in before
        and not isinstance(thread, threading._DummyThread)
        and not thread.name.startswith(LIBRARY_THREADS)
        and type(thread).__name__ != "TMonitor"
    ]
    return python + [f"QThread {thread!r}" for thread in (_running_qthreads() if qt else [])]


@pytest.fixture(autouse=True)
def _no_thread_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    if request.node.get_closest_marker("leaves_threads"):
        return
    qt = "qapp" in request.fixturenames
    deadline = time.monotonic() + 5
    while left := _new_threads(before, qt):
        if time.monotonic() > deadline:
            pytest.fail(f"threads still alive after the test: {', '.join(left)}", pytrace=False)
        if qt:
            # A job that has ended may wait for its `finished` to be delivered.
            sys.modules["PySide6.QtCore"].QCoreApplication.processEvents()
        time.sleep(0.02)
