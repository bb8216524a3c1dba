"""The command line: what it prints, its exit codes, and that it starts without torch."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import typer
from rich.console import Console
from rich.progress import Progress as Progressbars

from aegui import recipes, sample
from aegui.cli import app, arguments, run
from aegui.cli.show import _Bars, drive, plain
from aegui.errors import Cancelled
from aegui.events import (
    Done,
    Event,
    Noted,
    Progress,
    SeriesStarted,
    SliceDone,
    Started,
    Step,
    Stop,
    Warned,
    finish,
)
from aegui.imaging import OutputRules

QUICK = ["run.epochs=2", "run.steps_per_epoch=2", "run.batch_size=2", "run.patch_size=32", "run.validation_slices=2"]


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return finish(sample.generate(tmp_path_factory.mktemp("scans"), slices=2, patients=3))


@pytest.fixture(scope="session")
def trained(scans: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    words = ["--model", "classic-small", "--init", "random", "--data", str(scans["low"]), "--device", "cpu"]
    assert run(["train", *words, "--set", *QUICK, "--out", str(out)]) == 0
    return out


@pytest.fixture
def odd(scans: dict[str, Path], tmp_path: Path) -> Path:
    """A folder with a localizer alone."""
    folder = Path(shutil.copytree(scans["low"] / "patient01", tmp_path / "odd"))
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.save_as(file)
    return folder


def aegui(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    command = [sys.executable, "-c", "from aegui.cli import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == 1
    return value


# ---------------------------------------------------------------- words


def test_a_folder_alone_opens_in_the_window() -> None:
    assert arguments([]) == ["gui"]
    assert arguments(["/scans"]) == ["gui", "/scans"]
    assert arguments(["scan", "/scans"]) == ["scan", "/scans"]
    assert arguments(["--help"]) == ["--help"]


def test_several_folders_may_follow_one_option() -> None:
    given = ["train", "--data", "a", "b", "--clean", "c", "--data", "d", "--set", "x=1", "y=2", "--out", "r"]
    read = "train --data a --data b --clean c --data d --set x=1 --set y=2 --out r"
    assert arguments(given) == read.split()


def test_numbers_that_are_none_are_null_in_json() -> None:
    assert plain({"a": float("nan"), "b": np.float32(1.5), "c": (Path("x"), float("inf"))}) == {
        "a": None,
        "b": 1.5,
        "c": ["x", None],
    }


# ---------------------------------------------------------------- lists


def test_scan_prints_every_series_and_every_skipped_file(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert run(["scan", str(scans["low"]), str(tmp_path / "notes.txt"), "--json"]) == 0
    found = printed(capsys)
    assert len(found["series"]) == 3
    for series in found["series"]:
        assert series["modality"] == "CT"
        assert (series["rows"], series["columns"], series["slices"], series["files"]) == (256, 256, 2, 2)
        assert series["spacing_mm"] == [100.0, 1.5, 1.5]
        assert series["acquisition"]["kernel"] == "STANDARD"
        assert series["acquisition"]["kVp"] == 120
        assert series["warnings"] == []
        assert "Simulated low dose" in series["description"]
    assert [Path(row["file"]).name for row in found["skipped"]] == ["notes.txt"]
    assert found["skipped"][0]["reason"]
    assert found["skipped"][0]["damaged"] is False
    assert found["pairs"] == []
    assert sum(series["files"] for series in found["series"]) + len(found["skipped"]) == 7


def test_scan_in_words(scans: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scan", str(scans["full"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "2 slices of 256×256, 100 × 1.5 × 1.5 mm" in lines[0]


def test_scan_says_what_is_only_shown_and_what_could_be_learnt_from(
    scans: dict[str, Path], odd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["scan", str(odd)]) == 0
    said = capsys.readouterr().out
    assert "    For viewing only, not denoised: " in said
    assert run(["scan", str(scans["low"]), str(scans["full"])]) == 0
    assert "Could be learnt from: " in capsys.readouterr().out
    assert run(["scan", str(scans["low"]), str(scans["full"]), "--json"]) == 0
    found = printed(capsys)
    uids = {series["uid"] for series in found["series"]}
    pairs = [pair for proposal in found["pairs"] for pair in proposal["pairs"]]
    assert pairs
    assert {pair[side] for pair in pairs for side in ("noisy", "clean")} <= uids
    assert all(proposal["words"] and proposal["kind"] for proposal in found["pairs"])


def test_models_and_recipes_list_the_default_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    cards = printed(capsys)["models"]
    assert [card["id"] for card in cards[:2]] == ["general-small", "classic-small"]
    assert run(["recipes", "--json"]) == 0
    assert [recipe["id"] for recipe in printed(capsys)["recipes"]] == ["denoise", "discriminative", "layerwise"]


@pytest.mark.parametrize(
    "words", [["--help"], ["models", "--json"], ["recipes", "--json"], ["scan", "{low}", "--json"]]
)
def test_help_lists_and_scan_start_without_torch_or_qt(words: list[str], scans: dict[str, Path]) -> None:
    words = [word.format(low=scans["low"]) for word in words]
    code = (
        "import sys; from aegui.cli import run; code = run(sys.argv[1:]); "
        "slow = {'torch', 'monai', 'PySide6'} & set(sys.modules); "
        "sys.exit(f'imported {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- train, export, evaluate, denoise


def test_train_leaves_the_model_the_curves_and_the_recipe(trained: Path) -> None:
    assert (trained / "model.aegui").is_file()
    assert len((trained / "metrics.csv").read_text().splitlines()) == 3
    recipe = recipes.load(trained / "recipe.yaml")
    assert (recipe.run.epochs, recipe.run.patch_size) == (2, 32)


def test_train_with_clean_scans_learns_from_pairs(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "classic-small", "--data", scans["low"], "--clean", scans["full"]]
    words += ["--set", *QUICK, "--out", tmp_path / "run", "--json"]
    assert run([str(word) for word in words]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["schema"] == 1
    assert Path(result["bundle"]).is_file()
    assert said.err.count("Paired by geometry") == 3
    assert recipes.load(tmp_path / "run" / "recipe.yaml").targets.kind == "paired"


def test_a_run_folder_is_not_overwritten_but_resumed(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "classic-small", "--data", str(scans["low"]), "--out", str(tmp_path), "--set", *QUICK]
    assert run(words) == 0
    capsys.readouterr()
    assert run(words) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert run([*words, "--resume"]) == 0


def test_evaluate_prints_the_scores_of_input_and_output(
    scans: dict[str, Path], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--noisy", scans["low"] / "patient01", "--clean", scans["full"] / "patient01", "--json"]
    assert run(["evaluate", "--model", str(trained / "model.aegui"), *map(str, words)]) == 0
    found = printed(capsys)
    for part in ("input", "output"):
        assert {"psnr", "ssim", "rmse", "bias"} <= set(found[part])
    assert found["input"]["rmse"] > 5


def test_export_prints_the_largest_difference(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [trained / "model.aegui", "--format", "safetensors", "--output", tmp_path / "m.safetensors", "--json"]
    assert run(["export", *map(str, words)]) == 0
    found = printed(capsys)
    assert Path(found["path"]).stat().st_size > 1000
    assert found["max_difference"] == 0


def test_denoise_writes_dicom_and_a_report(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["denoise", "--input", str(scans["low"]), "--output", str(out), "--json"]) == 0
    rows = printed(capsys)["series"]
    assert len(rows) == 3
    report = json.loads((out / "report.json").read_text())
    assert report["schema"] == 1
    assert [row["uid"] for row in report["series"]] == [row["uid"] for row in rows]
    for row in rows:
        assert row["status"] in ("done", "flagged")
        assert row["slices"] == 2
        files = [pydicom.dcmread(f) for f in Path(row["output"]).rglob("*.dcm")]
        assert len(files) == 2
        assert {ds.SeriesInstanceUID for ds in files}.isdisjoint({row["uid"]})


def test_every_output_choice_is_an_option_with_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    command = typer.main.get_command(app).commands["denoise"]  # type: ignore[attr-defined]
    options = {option.name: option for option in command.params}
    for name, field in OutputRules.model_fields.items():
        assert options[name].opts == [f"--{name.replace('_', '-')}"]
        assert options[name].help == f"{field.description}."
        assert options[name].default == field.default
    assert run(["denoise", "--help"]) == 0
    assert "--deterministic-uids" in capsys.readouterr().out


def test_output_choices_reach_the_files(scans: dict[str, Path], tmp_path: Path) -> None:
    words = ["--model", "classic-small", "--input", scans["low"] / "patient01", "--output", tmp_path]
    words += ["--suffix", "_quiet", "--series-number", "+7", "--noise-series", "--private-tags", "drop"]
    words += ["--set", "transfer_syntax=rle", "series_description={description} by {model}{suffix}"]
    assert run(["denoise", *map(str, words)]) == 0
    read = [pydicom.dcmread(file) for file in tmp_path.rglob("*.dcm")]
    source = pydicom.dcmread(next((scans["low"] / "patient01").rglob("*.dcm")))
    clean = [ds for ds in read if ds.SeriesDescription.endswith("by classic-small_quiet")]
    assert (len(read), len(clean)) == (4, 2)
    assert {ds.SeriesNumber for ds in clean} == {source.SeriesNumber + 7}
    assert {ds.file_meta.TransferSyntaxUID for ds in clean} == {pydicom.uid.RLELossless}


def test_the_same_uids_come_again_on_request(scans: dict[str, Path], tmp_path: Path) -> None:
    def uids(name: str, *more: str) -> set[str]:
        words = ["--model", "classic-small", "--input", str(scans["low"] / "patient01"), "--output"]
        assert run(["denoise", *words, str(tmp_path / name), *more]) == 0
        return {pydicom.dcmread(file).SOPInstanceUID for file in (tmp_path / name).rglob("*.dcm")}

    assert uids("a", "--deterministic-uids") == uids("b", "--deterministic-uids")
    assert uids("c").isdisjoint(uids("d"))


def test_a_patient_is_not_named_after_de_identification(scans: dict[str, Path], tmp_path: Path) -> None:
    words = ["--model", "classic-small", "--input", scans["low"] / "patient01", "--output", tmp_path, "--deidentify"]
    before = pydicom.dcmread(next((scans["low"] / "patient01").rglob("*.dcm")))
    assert run(["denoise", *map(str, words)]) == 0
    for file in tmp_path.rglob("*.dcm"):
        after = pydicom.dcmread(file)
        assert after.PatientIdentityRemoved == "YES"
        assert str(after.PatientName) != str(before.PatientName)
        assert str(before.PatientName).encode() not in file.read_bytes()


def test_de_identification_warns_of_text_in_pictures(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(scans["low"] / "patient01", tmp_path / "scans"))
    words = ["denoise", "--model", "classic-small", "--input", str(folder), "--output", str(tmp_path / "out")]
    assert run([*words, "--deidentify"]) == 0
    assert "written into the picture" not in capsys.readouterr().err
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        dataset.BurnedInAnnotation = "YES"
        dataset.save_as(file)
    assert run(words) == 0
    assert "written into the picture" not in capsys.readouterr().err
    assert run([*words, "--deidentify"]) == 0
    assert "Warning: De-identification cleans headers, not pictures." in capsys.readouterr().err


def test_what_is_for_viewing_only_is_denoised_when_it_is_included(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["denoise", "--model", "classic-small", "--input", str(odd), "--output", str(tmp_path / "out"), "--json"]
    assert run(words) == 1
    said = capsys.readouterr()
    assert "--include all" in said.err
    assert said.out == ""
    assert run([*words, "--include", "all"]) == 0
    (row,) = printed(capsys)["series"]
    assert row["status"] in ("done", "flagged")
    assert {"clipped", "reason", "output"} <= set(row)
    assert run([*words, "--include", row["uid"]]) == 0
    capsys.readouterr()
    assert run([*words, "--include", "1.2.3"]) == 1
    assert "There is no series 1.2.3" in capsys.readouterr().err


def test_a_damaged_file_makes_the_exit_code_2_and_another_file_does_not(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(scans["low"] / "patient01", tmp_path / "scans"))
    (folder / "notes.txt").write_text("hello")
    words = ["denoise", "--model", "classic-small", "--input", str(folder), "--output", str(tmp_path / "out"), "--json"]
    assert run(words) == 0
    assert [row["damaged"] for row in printed(capsys)["skipped"]] == [False]
    file = sorted(folder.rglob("*.dcm"))[0]
    file.write_bytes(file.read_bytes()[:3000])
    assert run(words) == 2
    found = printed(capsys)
    assert {Path(row["file"]).name: row["damaged"] for row in found["skipped"]} == {"notes.txt": False, file.name: True}


def test_strength_zero_gives_the_input_back(scans: dict[str, Path], tmp_path: Path) -> None:
    source = scans["low"] / "patient01"
    words = ["--model", "classic-small", "--input", source, "--output", tmp_path, "--strength", "0"]
    assert run(["denoise", *map(str, words)]) == 0

    def pixels(folder: Path) -> dict[float, np.ndarray]:
        read = [pydicom.dcmread(file) for file in folder.rglob("*.dcm")]
        return {float(ds.SliceLocation): ds.pixel_array for ds in read}

    before, after = pixels(source), pixels(tmp_path)
    assert set(before) == set(after)
    assert all((before[z] == after[z]).all() for z in before)


def test_a_checkpoint_can_be_added_and_used_by_its_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from aegui.models.zoo import load_model

    net = load_model("classic-small", init="random", seed=5).net.net
    torch.save(net.state_dict(), tmp_path / "My Net.pt")
    assert run(["models", "--add", str(tmp_path / "My Net.pt"), "--json"]) == 0
    name = printed(capsys)["model"]["id"]
    assert run(["models", "--json"]) == 0
    assert name in [card["id"] for card in printed(capsys)["models"]]
    loaded = load_model(name).net.net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in net.state_dict().items())


# ---------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--bogus"], "--bogus"),
        (["train"], "--data"),
        (["denoise", "--input", ".", "--output", "o", "--strength", "2"], "--strength"),
        (["denoise", "--input", ".", "--output", "o", "--noise-level", "-3"], "-3"),
        (["denoise", "--input", ".", "--output", "o", "--noise-level", "much"], "much"),
        (["export", "general-small", "--format", "exe", "--output", "o"], "exe"),
        (["scan", "/no/such/folder"], "/no/such/folder"),
        (["/no/such/folder"], "/no/such/folder"),
        (["fly"], "fly"),
        (["denoise", "--input", "{low}", "--output", "o", "--format", "floppy"], "floppy"),
        (["denoise", "--input", "{low}", "--output", "o", "--series-number", "many"], "+1000"),
        (["denoise", "--input", "{low}", "--output", "o", "--set", "colour=red"], "colour"),
        (["denoise", "--input", "{low}", "--output", "o", "--suffix", "_much_too_long_one"], "at most 16"),
        (["denoise", "--model", "nobody", "--input", "{low}", "--output", "o"], "nobody"),
        (["train", "--recipe", "nothing", "--data", "{low}", "--out", "o"], "nothing"),
    ],
)
def test_wrong_use_ends_with_1_and_a_sentence(
    words: list[str],
    says: str,
    scans: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([word.format(low=scans["low"]) for word in words]) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir() if path.name != "homes"] == []


def test_an_unexpected_error_is_a_sentence_that_names_the_log(
    homes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], expect_log: Any
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("inside")

    expect_log("unexpected: aegui recipes")
    monkeypatch.setattr("aegui.recipes.shipped", broken)
    assert run(["recipes"]) == 1
    said = capsys.readouterr().err
    log = homes / "data" / "aegui.log"
    assert str(log) in said
    assert "Traceback" not in said
    assert "ZeroDivisionError: inside" in log.read_text()


def test_main_py_runs_the_command_line(repository: Path) -> None:
    command = [sys.executable, str(repository / "main.py"), "recipes", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["recipes"][0]["id"] == "denoise"


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -c 'from aegui.cli import main; main()' models --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


# ---------------------------------------------------------------- progress


def test_bars_show_training_and_what_else_goes_on() -> None:
    bars = Progressbars(console=Console(file=io.StringIO()))
    show = _Bars(bars)
    show.take(Progress(3, 7, "Reading"))
    assert [(task.description, task.completed, task.total) for task in bars.tasks] == [("Reading", 3, 7)]
    show.take(Started(5, 20, 2, 40, {}, None, 0, ""))
    show.take(Step(3, 41, 0.5, {}, {}, 0.1, 0.01))
    show.take(Progress(1, None, "Validating"))
    assert sorted((task.description, task.completed, task.total) for task in bars.tasks) == [
        ("Training", 41, 100),
        ("Validating", 1, None),
    ]
    show.take(SeriesStarted("u", 1, 4, 9))
    show.take(SliceDone("u", 2, 9))
    assert ("Series 2 of 4", 3, 9) in [(task.description, task.completed, task.total) for task in bars.tasks]


def test_warnings_are_said_even_when_only_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    def job() -> Iterator[Event]:
        yield Progress(0, 1, "work")
        yield Noted("a milestone")
        yield Warned("Look out.", "Left of you.")
        yield Done(7)

    assert drive(job(), quiet=True) == 7
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Warning: Look out. Left of you.\n")


# ---------------------------------------------------------------- Ctrl+C


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_stops_and_keeps_the_result() -> None:
    def job() -> Iterator[Event]:
        done = 0
        try:
            for done in range(100):
                if done == 3:
                    press()
                yield Progress(done, 100, "work")
        except Stop:
            yield Progress(done, 100, "tidying")
        yield Done(done)

    before = signal.getsignal(signal.SIGINT)
    assert drive(job()) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_abandons() -> None:
    closed = threading.Event()

    def job() -> Iterator[Event]:
        try:
            while True:
                press()
                try:
                    yield Progress(0, None, "work")
                except Stop:
                    continue
        finally:
            closed.set()

    with pytest.raises(Cancelled, match="Abandoned"):
        drive(job())
    assert closed.is_set()


def test_a_job_with_nothing_to_keep_just_stops() -> None:
    def job() -> Iterator[Event]:
        while True:
            press()
            yield Progress(0, None, "work")

    with pytest.raises(Cancelled, match="Stopped"):
        drive(job())
