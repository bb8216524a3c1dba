"""Build the frozen program: a folder, then from it a tarball and a .deb (Linux).

python packaging/build.py [--out DIST] [--only folder]

Run it with a Python that has `aegui[build]`, as `python3 packaging/bootstrap.py build` does.
On Windows it makes the folder; `iscc packaging/windows.iss` then makes the installer.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGING = ROOT / "packaging"
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "aegui" / "__init__.py").read_text(encoding="utf-8"))[1]  # type: ignore[index]

# What the frozen folder does not bring along: it uses the machine's own OpenGL, X11 and C library.
DEPENDS = (
    f"libc6 (>= {platform.libc_ver()[1] or '2.28'}), libegl1, libgl1, libdbus-1-3, libfontconfig1, libxkbcommon0, "
    "libxkbcommon-x11-0, libx11-xcb1, libxcb-cursor0, libxcb-icccm4, libxcb-image0, libxcb-keysyms1, libxcb-randr0, "
    "libxcb-render-util0, libxcb-shape0, libxcb-sync1, libxcb-xfixes0, libxcb-xkb1"
)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def megabytes(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if not file.is_symlink()]
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:,.0f} MB"


def make_icon(target: Path) -> None:
    """The .ico for the Windows programs, drawn from the one SVG."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QGuiApplication, QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    app = QGuiApplication.instance() or QGuiApplication([])
    image = QImage(256, 256, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(str(PACKAGING / "aegui.svg")).render(painter)
    painter.end()
    image.save(str(target))
    del app


def freeze(out: Path, work: Path) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        make_icon(work / "aegui.ico")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--clean", "--log-level", "WARN"]
    command += ["--distpath", str(out), "--workpath", str(work), str(PACKAGING / "aegui.spec")]
    subprocess.run(
        command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL, env={**os.environ, "AEGUI_BUILD": str(work)}
    )
    folder = out / "aegui"
    if sys.platform == "linux" and shutil.which("strip"):
        # Its symbol table is 90 MB; nothing reads it at run time.
        subprocess.run(["strip", "--strip-unneeded", folder / "_internal/torch/lib/libtorch_cpu.so"], check=True)
    return folder


def make_tarball(folder: Path, name: str) -> Path:
    target = folder.parent / f"{name}.tar.gz"
    with tarfile.open(target, "w:gz", compresslevel=6) as tar:
        tar.add(folder, arcname=name)
        tar.add(PACKAGING / "aegui.desktop", arcname=f"{name}/aegui.desktop")
        tar.add(PACKAGING / "aegui.svg", arcname=f"{name}/aegui.svg")
    return target


def make_deb(folder: Path, work: Path) -> Path:
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    stage = work / "deb"
    shutil.rmtree(stage, ignore_errors=True)
    try:
        shutil.copytree(folder, stage / "opt" / "aegui", symlinks=True, copy_function=os.link)
    except shutil.Error:  # another file system
        shutil.rmtree(stage)
        shutil.copytree(folder, stage / "opt" / "aegui", symlinks=True)
    share = stage / "usr" / "share"
    for source, target in (
        (PACKAGING / "aegui.desktop", share / "applications" / "aegui.desktop"),
        (PACKAGING / "aegui.svg", share / "icons" / "hicolor" / "scalable" / "apps" / "aegui.svg"),
        (ROOT / "LICENSE", share / "doc" / "aegui" / "copyright"),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    link = stage / "usr" / "bin" / "aegui"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../opt/aegui/aegui")
    size = sum(file.stat().st_size for file in stage.rglob("*") if file.is_file() and not file.is_symlink())
    control = stage / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(
        f"Package: aegui\nVersion: {VERSION}\nArchitecture: {architecture}\nSection: science\nPriority: optional\n"
        f"Maintainer: aegui developers <aegui@localhost>\nInstalled-Size: {size // 1024}\nDepends: {DEPENDS}\n"
        "Description: adapts denoising autoencoders to a scanner's own noise\n"
        " Opens folders of DICOM and other scans, fine-tunes a pretrained denoising\n"
        " autoencoder on them, and denoises whole folders with it. For research only.\n"
    )
    target = folder.parent / f"aegui_{VERSION}_{architecture}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", str(stage), str(target)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(stage)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--work", type=Path, default=ROOT / "build")
    parser.add_argument("--only", choices=["folder", "archives"], help="archives: from a folder already built")
    options = parser.parse_args()
    out, work = options.out.resolve(), options.work.resolve()
    folder = out / "aegui"

    if options.only != "archives":
        start = time.monotonic()
        freeze(out, work)
        say(f"{folder}: {megabytes(folder)}, {time.monotonic() - start:.0f} s")
    if options.only == "folder" or sys.platform != "linux":
        return 0
    start = time.monotonic()
    tarball = make_tarball(folder, f"aegui-{VERSION}-linux-{platform.machine()}")
    say(f"{tarball}: {megabytes(tarball)}, {time.monotonic() - start:.0f} s")
    if shutil.which("dpkg-deb"):
        start = time.monotonic()
        deb = make_deb(folder, work)
        say(f"{deb}: {megabytes(deb)}, {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
