"""Set up a fresh machine that has only Python 3.11 (or newer), then run one thing. Standard library only.

python3 packaging/bootstrap.py demo [options of `aegui demo`]   the main job on sample data
python3 packaging/bootstrap.py test [options of pytest]         all checks, then the tests
python3 packaging/bootstrap.py gui [folder]                     the window
python3 packaging/bootstrap.py build                            the frozen program (packaging/build.py)

Everything goes into .venv beside this checkout. On Debian and Ubuntu the system libraries that Qt needs
are installed with apt-get, when run by root or where sudo asks no password; otherwise they are named.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
BUILD_BACKEND = ("hatchling", "editables", "pathspec", "pluggy", "trove-classifiers", "packaging")

# fmt: off
QT_LIBRARIES = (
    "libegl1", "libgl1", "libglib2.0-0", "libdbus-1-3", "libfontconfig1", "libxkbcommon0", "libxkbcommon-x11-0",
    "libx11-xcb1", "libxcb-cursor0", "libxcb-icccm4", "libxcb-image0", "libxcb-keysyms1", "libxcb-randr0",
    "libxcb-render-util0", "libxcb-shape0", "libxcb-sync1", "libxcb-xfixes0", "libxcb-xkb1",
)
# fmt: on
# A virtual screen with a window manager, a mouse, a keyboard and a camera for it, a judge of DICOM files, and
# other decoders to compare pixels with.
TEST_PROGRAMS = ("xvfb", "openbox", "xdotool", "imagemagick", "dicom3tools", "dcmtk", "ffmpeg", "openjph-tools")
# A PACS. Under systemd its package would start a server that stays, so there only who wants one installs it.
TEST_SERVERS = () if Path("/run/systemd/system").is_dir() else ("orthanc",)
CHECKS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("mypy", ["mypy"]),
    ("import contracts", ["lint-imports"]),
)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def attempt(command: list[str], tries: int = 3, **options: object) -> bool:
    """Run it; networks hiccup, so once more after a pause."""
    for trial in range(tries):
        if trial:
            time.sleep(5 * trial)
        if subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **options).returncode == 0:  # type: ignore[call-overload]
            return True
    return False


# --- system packages -----------------------------------------------------------------------------------------


def is_installed(package: str) -> bool:
    # Newer releases renamed some libraries (libglib2.0-0 is libglib2.0-0t64 there).
    for name in (package, f"{package}t64"):
        answer = subprocess.run(
            ["dpkg-query", "-W", "-f=${db:Status-Status}", name], capture_output=True, text=True, check=False
        )
        if answer.stdout == "installed":
            return True
    return False


def root_prefix() -> list[str] | None:
    """What to put before apt-get; None: no way to become root without asking."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def system_packages(packages: list[str]) -> None:
    """Install what is missing, on systems with apt; never fatal, since what is missing may be there by another name."""
    if sys.platform != "linux" or not shutil.which("apt-get") or not shutil.which("dpkg-query"):
        return
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return
    prefix = root_prefix()
    if prefix is None:
        say(f"missing system packages; install them with: sudo apt-get install {' '.join(missing)}")
        return
    say(f"installing system packages: {' '.join(missing)}")
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    attempt([*command, "update"], stdout=subprocess.DEVNULL)
    install = [*command, "install", "-y", "--no-install-recommends"]
    if attempt([*install, *missing], stdout=subprocess.DEVNULL):
        return
    for package in missing:  # one that this release lacks must not keep the others out
        if not attempt([*install, package], tries=1, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            say(f"could not install {package}")


# --- Python packages -----------------------------------------------------------------------------------------


def make_environment() -> None:
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    say(f"making {ENVIRONMENT.name}")
    if not importlib.util.find_spec("ensurepip"):  # Debian's python3 comes without it
        system_packages([f"python{sys.version_info.major}.{sys.version_info.minor}-venv"])
    venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt", prompt="aegui").create(ENVIRONMENT)


def python_packages(extra: str) -> None:
    """Install aegui (editable) with the pinned versions, unless that was done before with the same files."""
    stamp = ENVIRONMENT / f".installed-{extra or 'base'}"
    contents = CONSTRAINTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()
    digest = hashlib.sha256(contents).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    say("installing Python packages (about 2 GB on disk; the first time takes a few minutes)")
    pip = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--retries", "8"]
    pip += ["-c", str(CONSTRAINTS)]
    # The build backend is installed here, pinned, rather than fetched unpinned into pip's own build environment.
    target = f"{ROOT}[{extra}]" if extra else str(ROOT)
    if not (attempt([*pip, *BUILD_BACKEND]) and attempt([*pip, "--no-build-isolation", "-e", target])):
        raise SystemExit("The Python packages could not be installed. Check the network and run the command again.")
    stamp.write_text(digest)


def set_up(extra: str = "", programs: tuple[str, ...] = ()) -> None:
    system_packages([*QT_LIBRARIES, *programs])
    make_environment()
    python_packages(extra)


# --- what to run -----------------------------------------------------------------------------------------------


def test(arguments: list[str]) -> int:
    """All checks, then the tests; the tests last, so that their closing line is the last one printed."""
    set_up("dev", (*TEST_PROGRAMS, *TEST_SERVERS))
    failed = []
    for name, command in CHECKS:
        say(name)
        if subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode:
            failed.append(name)
            say(f"{name} FAILED")
    say("pytest")
    tests = subprocess.run([PYTHON, "-m", "pytest", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    return tests.returncode or int(bool(failed))


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before anything has checked it
        raise SystemExit("aegui needs Python 3.11 or newer.")
    # A PYTHONPATH or user site of the machine must not mix with the environment made here.
    for variable in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(variable, None)
    os.environ["PYTHONNOUSERSITE"] = "1"
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb in ("demo", "gui"):
        set_up()
        return subprocess.run([PYTHON, ROOT / "main.py", verb, *rest], check=False).returncode
    if verb == "test":
        return test(rest)
    if verb == "build":
        set_up("build")
        return subprocess.run([PYTHON, ROOT / "packaging" / "build.py", *rest], check=False).returncode
    print(__doc__)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
