import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from aegui import demo, workflow
from aegui.errors import UserError
from aegui.events import Done, Event, Progress, SliceDone, Step, Stop, finish
from aegui.workflow.batch import SeriesResult


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


# ---------------------------------------------------------------- broken off, and again


@pytest.fixture
def again(shown: tuple[Path, dict[str, object]], tmp_path: Path) -> Path:
    """A copy of what the demo has made."""
    return Path(shutil.copytree(shown[0], tmp_path / "out"))


@pytest.fixture
def denoising_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without judging and export, which come before and take long."""

    def nothing(*given: object) -> Iterator[Event]:
        yield Done()

    def classical(*given: object) -> Generator[Event, None, tuple[None, float]]:
        yield Progress(0, None, "nothing")
        return None, 0.0

    monkeypatch.setattr(workflow, "evaluate", nothing)
    monkeypatch.setattr(workflow, "export", nothing)
    monkeypatch.setattr(demo, "_classical", classical)


def stopped_at(out: Path, here: Callable[[Event], bool]) -> tuple[list[Event], list[Event]]:
    """What the demo says until it is stopped, and after."""
    job: Any = demo.run(out, epochs=1, pictures=False)
    before = []
    for event in job:
        before.append(event)
        if here(event):
            return before, [job.throw(Stop()), *job]
    raise AssertionError("it never came to where it is stopped")


def test_a_demo_stopped_in_training_ends_there_and_goes_on(again: Path) -> None:
    shutil.rmtree(again / "run")
    _, after = stopped_at(again, lambda event: isinstance(event, Step))
    assert after[-1] == Done(None)
    assert not [event for event in after if isinstance(event, Progress) and event.what == "Evaluating"]
    assert (again / "run" / "last.pt").is_file()
    before, after = stopped_at(again, lambda event: isinstance(event, Progress) and event.what == "Evaluating")
    assert next(event.step for event in before if isinstance(event, Step)) > 1
    assert after == [Done(None)]


@pytest.mark.usefixtures("denoising_alone")
def test_a_demo_stopped_while_it_denoises_measures_nothing(
    again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    _, after = stopped_at(again, lambda event: isinstance(event, SliceDone))
    assert after == [Done(None)]


@pytest.mark.usefixtures("denoising_alone")
def test_a_patient_that_could_not_be_denoised_is_named_with_the_reason(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denoise(job: workflow.DenoiseJob) -> Iterator[Event]:
        rows = tuple(SeriesResult(s.uid, s.label, s.description, "failed", "The disk is full.") for s in job.series)
        yield Done(workflow.Report(rows, job.output / "report.json", False))

    monkeypatch.setattr(workflow, "denoise", denoise)
    with pytest.raises(UserError, match=r"was not denoised\. The disk is full\."):
        finish(demo.run(again, epochs=1, pictures=False))


def test_other_epochs_in_the_same_folder_name_the_option_of_the_demo(again: Path) -> None:
    with pytest.raises(UserError, match="another recipe") as refused:
        finish(demo.run(again, epochs=2, pictures=False))
    assert "--out" in refused.value.hint and "run folder" not in refused.value.hint
