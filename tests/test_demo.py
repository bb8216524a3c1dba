import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from aegui import demo
from aegui.events import Done, Event, Progress, Stop, finish


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, finish(demo.run(out, epochs=1, pictures=False))


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
    assert psnr["fine_tuned"] > psnr["input"] + 1
    noise = summary["noise_sd_hu"]
    assert isinstance(noise, dict)
    assert noise["after"] < noise["before"] / 2
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
