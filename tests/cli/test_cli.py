"""The command line: words, lists, exit codes, and that it starts without torch."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress as Progressbars

from aegui import sample
from aegui.cli import arguments, inputs, main, run
from aegui.cli.show import _Bars, drive, plain, print_json, print_text
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
)
from tests.cli.printed import printed

# ---------------------------------------------------------------- words


def test_a_folder_alone_opens_in_the_window() -> None:
    assert arguments([]) == ["gui"]
    assert arguments(["/scans"]) == ["gui", "/scans"]
    assert arguments(["scan", "/scans"]) == ["scan", "/scans"]
    assert arguments(["--help"]) == ["--help"]


def test_a_verb_that_there_is_not_is_said_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denois", "--input", "a", "--output", "b"]) == 1
    assert capsys.readouterr().err == "There is no folder or verb “denois”. Did you mean `aegui denoise`?\n"
    assert run(["xyz", "--data", "a"]) == 1
    assert "`aegui --help`" in capsys.readouterr().err


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
    assert len(lines) == 6
    assert "2 slices of 256×256, 100 × 1.5 × 1.5 mm" in lines[0]
    assert Path(lines[1].strip()).is_relative_to(scans["full"])


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


def test_models_and_recipes_list_the_default_first_and_models_without_weights_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "--json"]) == 0
    cards = printed(capsys)["models"]
    assert cards[0]["id"] == "general-small"
    trained = [card["weights"] is not None for card in cards]
    assert trained == sorted(trained, reverse=True)
    assert run(["recipes", "--json"]) == 0
    listed = [recipe["id"] for recipe in printed(capsys)["recipes"]]
    assert listed[:6] == ["denoise", "discriminative", "layerwise", "robust", "structure", "no-clean-scans"]


def test_a_scan_of_pictures_of_unknown_size_tells_no_millimetres(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "picture.npy", np.random.default_rng(0).normal(0, 1, (16, 16)).astype(np.float32))
    assert run(["scan", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "1 slice of 16×16" in text and "mm" not in text
    assert run(["scan", str(tmp_path), "--json"]) == 0
    assert printed(capsys)["series"][0]["spacing_mm"] == [0.0, 0.0, 0.0]


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


def test_without_a_log_an_unexpected_error_is_told_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], expect_log: Any
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("inside")

    (tmp_path / "file").touch()
    monkeypatch.setenv("AEGUI_DATA_HOME", str(tmp_path / "file" / "data"))
    expect_log("unexpected: aegui recipes")
    monkeypatch.setattr("aegui.recipes.shipped", broken)
    assert run(["recipes"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and "(inside)" in said
    assert "Traceback" not in said


def test_a_log_takes_names_that_are_no_unicode(homes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes"]) == 0
    logging.getLogger("aegui").info("caf\udce9")
    assert "caf\\udce9" in (homes / "data" / "aegui.log").read_text()
    assert "Logging error" not in capsys.readouterr().err


@pytest.mark.parametrize("json_too", [True, False])
@pytest.mark.parametrize(("encoding", "name"), [("cp1252", "胸😀é→"), ("ascii", "胸😀é→"), ("utf-8", "caf\udce9 胸")])
def test_letters_that_stdout_does_not_know_are_written_in_others(
    encoding: str, name: str, json_too: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wordy(_: object) -> int:
        if json_too:
            print_json({"name": name})
        else:
            print_text(name)
        return 0

    monkeypatch.setattr("aegui.cli.run", wordy)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    sys.stdout.flush()
    written = sys.stdout.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    if json_too:
        assert json.loads(written)["name"] == name
    else:
        assert written == name.encode(encoding, "backslashreplace").decode(encoding) + os.linesep


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


def test_slices_are_counted_under_their_series_after_an_engine_was_tried() -> None:
    bars = Progressbars(console=Console(file=io.StringIO()))
    show = _Bars(bars)
    show.take(SeriesStarted("u", 0, 2, 120))
    show.take(Progress(4, 5, "Looking for the fastest way"))
    show.take(SliceDone("u", 4, 120))
    assert [(task.description, task.completed, task.total) for task in bars.tasks] == [("Series 1 of 2", 5, 120)]


@pytest.mark.parametrize(
    ("status", "stopped", "code"), [("done", False, 0), ("done", True, 2), ("failed", False, 1), ("skipped", True, 1)]
)
def test_a_batch_that_was_stopped_is_not_all_done(status: str, stopped: bool, code: int) -> None:
    rows = [SimpleNamespace(status=status)]
    assert inputs.outcome(SimpleNamespace(skipped=(), series=(1,)), rows, stopped) == code  # type: ignore[arg-type]


def test_warnings_are_said_even_when_only_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    def job() -> Iterator[Event]:
        yield Progress(0, 1, "work")
        yield Noted("a milestone")
        yield Warned("Look out.", "Left of you.")
        yield Done(7)

    assert drive(job(), quiet=True) == 7
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Warning: Look out. Left of you.\n")


def test_what_many_series_are_warned_of_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def found(*names: str) -> SimpleNamespace:
        series = [SimpleNamespace(description=n, uid="", warnings=("One slice only",), treat="denoise") for n in names]
        return SimpleNamespace(skipped=(), series=series)

    inputs.usable(found("Chest", "Scout"), quiet=False)  # type: ignore[arg-type]  # what it reads of a scan
    assert capsys.readouterr().err.splitlines() == ["Warning: Chest: One slice only", "Warning: Scout: One slice only"]
    inputs.usable(found("a", "b", "c", "d", "e"), quiet=False)  # type: ignore[arg-type]  # as above
    assert capsys.readouterr().err == "Warning: 5 series, a, b, c, …: One slice only\n"


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


def test_a_demo_that_was_stopped_is_partly_done_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(folder: Path) -> Iterator[Event]:
        while True:
            press()
            yield Progress(0, None, "work")

    monkeypatch.setattr(sample, "generate", generate)
    assert run(["demo", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert f"Stopped. What is done lies in {tmp_path / 'out'}; the same command goes on." in said.err
    assert "Nothing was written" not in said.err
    assert said.out == ""
