"""Walks through the program as a person would, with a real mouse and keyboard on a screen of its own.

python tests/gui/walk.py --out pictures --theme light
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
if __package__ in (None, ""):
    sys.path.insert(0, str(REPOSITORY))

from aegui import events, imaging, sample  # noqa: E402
from tests.gui.desk import Desk, missing, screen  # noqa: E402

MOST_CLICKS = 4
EPOCHS = 8


def scans(folder: Path) -> dict[str, Path]:
    """Three phantom patients at two doses, four slices each."""
    made: dict[str, Path] = events.finish(sample.generate(folder, slices=4, patients=3))
    shutil.rmtree(made.pop("other"))
    return made


def alone(folder: Path) -> Path:
    """A copy with a parent of its own, so that what is written beside it is in nobody's way."""
    return Path(shutil.copytree(folder, folder.parents[1] / "alone" / folder.name))


@contextmanager
def desk(display: str, look: str, out: Path | None, prefix: str) -> Iterator[Desk]:
    """The program at its first start, in a home of its own. The look is all that is set."""
    with tempfile.TemporaryDirectory(prefix="aegui-walk-") as folder:
        home = Path(folder)
        (home / "config").mkdir()
        (home / "config" / "settings.yaml").write_text(f"theme: {look}\n")
        made = Desk(display, home, out, prefix)
        try:
            yield made
        finally:
            made.end()


def report(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "report.json").read_text())["series"]
    return found


def wait_for(file: Path, patience: float = 60) -> None:
    until = time.monotonic() + patience
    while not file.exists():
        assert time.monotonic() < until, f"{file} was not written"
        time.sleep(0.2)


def denoise_now(display: str, folder: Path, look: str = "dark", out: Path | None = None) -> int:
    """First start to denoised series. Returns how many clicks it took."""
    with desk(display, look, out, f"{look}-now-") as user:
        user.find("Denoise now")
        user.shot("1-first-start")
        user.click("Denoise now")
        user.answer_dialog("Choose the folder to denoise", folder)
        user.find("Denoise all")
        user.shot("2-deliver")
        user.click("Denoise all")
        output = folder.parent / f"{folder.name}_denoised"
        wait_for(output / "report.json")
        user.find(like=r"^\d+ series denoised")
        user.shot("3-done")
        assert user.clicks <= MOST_CLICKS, user.clicks
        listed = report(output)
        assert len(listed) == 3
        assert {row["status"] for row in listed} <= {"done", "flagged"}, listed
        assert len(list(output.rglob("*.dcm"))) == 12
        assert user.close() == 0, user.words()
        assert "Traceback" not in user.words(), user.words()
        return user.clicks


def train(display: str, made: dict[str, Path], look: str = "dark", out: Path | None = None) -> None:
    """Open, pair, adapt with a pause, review, accept, export, denoise."""
    with desk(display, look, out, f"{look}-train-") as user:
        home = user.log.parent
        _open(user, made)
        _recipe(user)
        _train(user, home)
        _review(user)
        _deliver(user, home / "files")
        assert user.close() == 0, user.words()
        assert "Traceback" not in user.words(), user.words()


def _open(user: Desk, made: dict[str, Path]) -> None:
    user.click("Adapt a model")
    user.answer_dialog("Open a folder of scans", made["low"].parent)
    user.find("Continue to Recipe")
    user.find("Use as noisy → clean")
    view = user.find(like=r"^Axial, slice 3 of 4")
    user.point(view)
    user.wheel(1)
    user.find(like=r"^Axial, slice 4 of 4")
    user.click(like=r"^Axial, slice 4 of 4")  # single keys are the viewport's while it has the focus
    user.keys("2")
    user.find(like=r"window 1500 level .600$")
    user.keys("1")
    user.shot("1-scans")
    user.click("Use as noisy → clean")
    user.find("Undo")
    user.shot("1-scans-paired")
    rows = [one for one in user.look(like="low dose") if one["rect"][3] > 30 and one["rect"][0] < 420]
    assert len(rows) >= 3, rows
    user.point(rows[-1])
    user._do("click", 1)
    user.click(like="^Hold-out")
    user.click("Continue to Recipe")


def _recipe(user: Desk) -> None:
    user.find("Start training")
    user.shot("2-recipe")
    user.point(user.find("Optimiser and schedule"))
    user.wheel(30)
    user.find("At most")
    user.click("At most")
    user.keys("ctrl+a")
    user.type("0")
    user.keys("Tab")
    user.find(like="^1 thing to fix")
    user.shot("2-recipe-error")
    user.click("At most")
    user.keys("ctrl+a")
    user.type(str(EPOCHS))
    user.keys("Tab")
    user.click("Start training")


def _train(user: Desk, home: Path) -> None:
    user.find(like=rf"^Epoch \d of {EPOCHS}$")
    user.keys("ctrl+period")
    user.find("Resume")
    user.shot("3-train-paused")
    (table,) = home.glob("data/runs/*/metrics.csv")
    time.sleep(2)  # the step under way ends, and an epoch with it
    before = table.read_text()
    time.sleep(2)
    assert table.read_text() == before, "it trained on while it was paused"
    assert len(before.splitlines()) - 1 < EPOCHS, "it ended before it could be paused"
    user.click("Resume")
    user.find("Continue to Review", patience=120)
    user.shot("3-train-done")
    with table.open(newline="") as handle:
        assert [row["epoch"] for row in csv.DictReader(handle)] == [str(n) for n in range(1, EPOCHS + 1)]
    assert (table.parent / "model.aegui").exists()
    user.click("Continue to Review")


def _review(user: Desk) -> None:
    user.find("Accept and continue")
    view = user.find(like=r"^Noisy, slice \d of 4")
    time.sleep(1)
    user.shot("4-review-side")
    user.point(view)
    user.wheel(4)
    user.find(like=r"^Noisy, slice 4 of 4")
    user.keys("Home")
    user.find(like=r"^Noisy, slice 1 of 4")
    user.keys("bracketleft", "bracketleft")
    user.find("90 %")
    slider = user.find("Strength")
    user.drag(slider, 0.9, 0.5)
    shown = user.find(like=r"^\d+ %$", enabled=False)["text"]
    assert 40 <= int(shown.split()[0]) <= 60, shown
    user.drag(slider, 0.5, 0.8)
    user.point(view)
    user._do("click", 1)
    user.keys("c")
    user.find(like="^Curtain")
    user.keys("shift+Left", "shift+Left")
    user.shot("4-review-curtain")
    user.keys("d")
    user.shot("4-review-difference")
    user.keys("s", "m")
    user.shot("4-review-folded")
    user.click("Accept and continue")


def _deliver(user: Desk, folder: Path) -> None:
    folder.mkdir()
    user.find("Denoise all")
    user.click("Export safetensors")
    file = folder / "mine.safetensors"
    user.answer_dialog("Export as safetensors", file)
    user.find("Show file safetensors")
    assert file.stat().st_size > 10_000
    user.click("Folder")
    user.keys("ctrl+a")
    user.type(str(folder / "denoised"))
    user.keys("Tab")
    user.click("More options")
    user.find("Series description")
    user.click("Series number")
    user.keys("ctrl+a")
    user.type("901")
    user.click("Keep the removed noise")
    user.shot("5-deliver-options")
    user.click("Done")
    user.find("Series number 901 · noise kept")
    user.click("Denoise all")
    wait_for(folder / "denoised" / "report.json")
    user.find(like=r"^\d series denoised")
    user.shot("5-deliver")
    listed = report(folder / "denoised")
    assert listed
    assert {row["status"] for row in listed} <= {"done", "flagged"}, listed
    written = [series.slices for series in events.finish(imaging.scan([folder / "denoised"])).series]
    assert written == [4] * 2 * len(listed)  # denoised, and what was removed


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, help="folder for pictures of every page")
    words.add_argument("--theme", choices=("dark", "light"), action="append", help="both if none is named")
    given = words.parse_args()
    if gone := missing():
        sys.exit(f"Not installed: {', '.join(gone)}.")
    for look in given.theme or ("dark", "light"):
        with tempfile.TemporaryDirectory(prefix="aegui-scans-") as folder, screen() as display:
            made = scans(Path(folder) / "phantom")
            began = time.monotonic()
            clicks = denoise_now(display, alone(made["low"]), look, given.out)
            sys.stdout.write(f"{look}: denoised in {clicks} clicks, {time.monotonic() - began:.0f} s\n")
            began = time.monotonic()
            train(display, made, look, given.out)
            sys.stdout.write(f"{look}: the whole walk through training, {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
