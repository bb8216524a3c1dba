import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from aegui import demo
from aegui.events import Done, Event, Progress, Stop


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """One epoch of it, in a process of its own as on the command line."""
    out = tmp_path_factory.mktemp("demo") / "out"
    words = ["demo", "--out", str(out), "--epochs", "1", "--json"]
    command = [sys.executable, "-c", "from aegui.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return out, json.loads(done.stdout)


def test_the_demo_pictures_every_page_of_the_window(shown: tuple[Path, dict[str, object]], homes: Path) -> None:
    out, _ = shown
    pictures = sorted((out / "pictures").glob("*.png"))
    assert [file.stem for file in pictures] == ["1-scans", "2-recipe", "3-train", "4-review", "5-deliver"]
    shots = [np.asarray(Image.open(file).convert("RGB")) for file in pictures]
    assert {shot.shape for shot in shots} == {(900, 1440, 3)}
    for shot in shots:
        assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 500, "a page with nothing on it"
    assert not (homes / "config" / "settings.yaml").exists()


def test_the_demo_walks_the_whole_path(shown: tuple[Path, dict[str, object]]) -> None:
    out, summary = shown
    assert (out / "run" / "model.aegui").is_file()
    assert (out / "model.onnx").is_file()
    report = json.loads((out / "denoised" / "report.json").read_text())
    assert [row["status"] in ("done", "flagged") for row in report["series"]] == [True] * 4
    assert len(list((out / "denoised").rglob("*.dcm"))) == 40
    assert json.loads((out / "summary.json").read_text()) == summary


def test_the_demo_judges_on_a_patient_it_did_not_train_on(shown: tuple[Path, dict[str, object]]) -> None:
    out, summary = shown
    psnr = summary["psnr_db"]
    assert isinstance(psnr, dict)
    assert set(psnr) == {"input", "classical", "pretrained", "fine_tuned"}
    assert all(np.isfinite(value) for value in psnr.values())
    assert psnr["fine_tuned"] > psnr["input"]
    noise = summary["noise_sd_hu"]
    assert isinstance(noise, dict)
    assert noise["after"] < noise["before"]
    held = {pydicom.dcmread(f).PatientID for f in (out / "sample" / "low_dose" / "patient04").glob("*.dcm")}
    assert held == {"PHANTOM04"}


def test_the_demo_in_words_names_the_figures(shown: tuple[Path, dict[str, object]]) -> None:
    text = demo.words(shown[1])
    assert "fine-tuned" in text and "HU before" in text and "model.onnx" in text


def test_stop_reaches_the_job_that_runs() -> None:
    heard = []

    def inner() -> object:
        try:
            while True:
                yield Progress(0, None, "inside")
        except Stop:
            heard.append("stop")
            yield Done("kept")

    def outer() -> object:
        kept = yield from demo._end(inner())
        yield Done(kept)

    job = outer()
    next(job)
    event: Event = job.throw(Stop())
    assert heard == ["stop"]
    assert isinstance(event, Done) and event.result == "kept"
