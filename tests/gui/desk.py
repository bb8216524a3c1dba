"""A screen of its own (Xvfb), the real program on it, and a real mouse and keyboard (xdotool)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NEEDED = ("Xvfb", "xdotool", "openbox", "import")
LAUNCHER = Path(__file__).with_name("launch.py")
SCREEN = (1456, 948)  # leaves 1440×900 for the window inside its frame
PATIENCE = 60.0

Seen = dict[str, Any]


def missing() -> list[str]:
    """Which of the tools a walk needs are not here."""
    return [name for name in NEEDED if shutil.which(name) is None]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def screen() -> Iterator[str]:
    """The name of a new display with a window manager on it."""
    reading, writing = os.pipe()
    size = f"{SCREEN[0]}x{SCREEN[1]}x24"
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            display = f":{pipe.readline().strip()}"
        manager = subprocess.Popen(
            ["openbox", "--sm-disable"],
            env=os.environ | {"DISPLAY": display},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield display
        finally:
            _end(manager)
    finally:
        _end(server)


class Desk:
    """The started program, seen and handled as a person would."""

    def __init__(self, display: str, home: Path, pictures: Path | None, prefix: str = "") -> None:
        self.clicks = 0
        self.log = home / "output.txt"
        self._place = str(home / "s")  # short: addresses of local sockets are
        self._pictures = pictures
        self._prefix = prefix
        self._env = os.environ | {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "HOME": str(home), "LC_ALL": "C.UTF-8"}
        for name in ("WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "QT_SCALE_FACTOR", "PYTEST_CURRENT_TEST"):
            self._env.pop(name, None)
        for kind in ("CONFIG", "DATA", "CACHE"):
            self._env[f"AEGUI_{kind}_HOME"] = str(home / kind.lower())
            self._env[f"XDG_{kind}_HOME"] = str(home / f"xdg-{kind.lower()}")
        self._output = self.log.open("wb")
        self._program = subprocess.Popen(
            [sys.executable, str(LAUNCHER), self._place], env=self._env, stdout=self._output, stderr=self._output
        )

    def close(self) -> int:
        """Close the window as its frame's button does; the exit code."""
        try:
            self.keys("alt+F4")
            return self._program.wait(20)
        finally:
            self.end()

    def end(self) -> None:
        if self._program.poll() is None:
            _end(self._program)
        self._output.close()

    def words(self) -> str:
        """What the program wrote to its terminal."""
        return self.log.read_text(errors="replace")

    # ---- eyes
    def look(self, name: str = "", like: str = "") -> list[Seen]:
        """What is seen by that name or text now."""
        if self._program.poll() is not None:
            raise AssertionError(f"the program ended with code {self._program.returncode}:\n{self.words()}")
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(self._place)
            line.sendall(json.dumps({"like": like} if like else {"name": name}).encode() + b"\n")
            with line.makefile("rb") as answer:
                found: list[Seen] = json.loads(answer.readline())
                return found

    def find(self, name: str = "", like: str = "", patience: float = PATIENCE, enabled: bool = True) -> Seen:
        """Wait until it is seen (and can be used)."""
        until = time.monotonic() + patience
        while True:
            found: list[Seen] = []
            with suppress(FileNotFoundError, ConnectionRefusedError):  # the program is still starting
                found = [one for one in self.look(name, like) if one["enabled"] or not enabled]
            if found:
                return max(found, key=lambda one: one["kind"] not in ("QLabel", "QWidget"))
            if time.monotonic() > until:
                self.shot("stuck")
                raise AssertionError(f"“{name or like}” is not to be seen. The program wrote:\n{self.words()}")
            time.sleep(0.1)

    def shot(self, name: str) -> None:
        """A picture of the whole screen."""
        if self._pictures is not None:
            time.sleep(0.4)  # hover, toasts
            self._pictures.mkdir(parents=True, exist_ok=True)
            target = self._pictures / f"{self._prefix}{name}.png"
            subprocess.run(["import", "-window", "root", str(target)], env=self._env, check=True)

    # ---- hands
    def _do(self, *words: object) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self._env, check=True, timeout=30)

    def point(self, at: Seen, x: float = 0.5, y: float = 0.5) -> None:
        """Move the mouse there; x, y: part of its width and height."""
        left, top, width, height = at["rect"]
        self._do("mousemove", left + int(x * (width - 1)), top + int(y * (height - 1)))

    def click(self, name: str = "", like: str = "", patience: float = PATIENCE) -> Seen:
        """One click of the left button, counted."""
        found = self.find(name, like, patience)
        self.point(found)
        time.sleep(0.05)
        self._do("click", 1)
        self.clicks += 1
        return found

    def drag(self, at: Seen, start: float, stop: float) -> None:
        """Drag along its width with the left button."""
        self.point(at, start)
        self._do("mousedown", 1)
        for part in range(1, 9):
            self.point(at, start + (stop - start) * part / 8)
            time.sleep(0.02)
        self._do("mouseup", 1)

    def wheel(self, down: int) -> None:
        """Turn the wheel where the mouse is."""
        self._do("click", "--repeat", down, "--delay", 40, 5)

    def keys(self, *names: str) -> None:
        self._do("key", "--delay", 60, *names)

    def type(self, text: str) -> None:
        self._do("type", "--delay", 8, "--", text)

    def answer_dialog(self, title: str, path: Path) -> None:
        """Type a path into a file dialog and press Enter."""
        self.find(title)
        field = self.find(like="^(Directory|File name):?$", enabled=False)
        assert field is not None
        time.sleep(0.3)
        self.keys("ctrl+a")
        self.type(str(path))
        self.keys("Return")
        until = time.monotonic() + 5
        while self.look(title):
            if time.monotonic() > until:
                self.shot("stuck")
                raise AssertionError(f"the dialog “{title}” stays open")
            time.sleep(0.1)
