"""Denoising from the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
import typer
from PIL import Image

from aegui.cli import app, run
from aegui.imaging import OutputRules
from tests.cli.printed import printed


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


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["denoise", "--input", str(scans["low"]), "--output", str(tmp_path / "out"), "--dry-run"]
    assert run([*words, "--json"]) == 0
    rows = printed(capsys)["series"]
    assert [row["reason"] for row in rows] == [""] * 3 and not (tmp_path / "out").exists()
    assert run([*words, "--model", "ultrasound-small"]) == 1
    assert "no trained weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--average", "3", "averaged over 3 views"),
        ("--engine", "torhc", "no engine “torhc”"),
        ("--model", "folder", "is a folder, not a model"),
        ("--model", "model.onnx", "is not a model file"),
        ("--noise-level", "20", "takes no noise level"),
        ("--output", "file", "is no folder"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse(
    option: str, value: str, words: str, scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("model.onnx", "file"):
        (tmp_path / name).write_text("")
    place = tmp_path / value
    given = {"--input": str(scans["low"]), "--output": str(tmp_path / "out"), "--model": "classic-small"}
    given[option] = str(place) if place.exists() else value
    assert run(["denoise", "--dry-run", *(word for pair in given.items() for word in pair)]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["denoise"], ["denoise", "--input", "a", "--output", "b", "--strength", "2"]])
def test_wrong_use_is_json_too_where_it_was_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--json"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["error"] in said.err and "aegui denoise --help" in found["hint"]


def test_errors_are_json_too_where_it_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["denoise", "--input", str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]
    assert run([*words, "--json"]) == 1
    found = printed(capsys)
    assert found["error"].startswith("There is no folder") and found["hint"]
    assert run(words) == 1 and capsys.readouterr().out == ""


def test_folders_of_damaged_files_name_every_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.dcm").write_text("no image")
    (tmp_path / "in" / "empty.dcm").touch()
    assert run(["denoise", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "text.dcm: " in said and "empty.dcm: " in said


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
    assert "--include all" in printed(capsys)["hint"]
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


def test_views_and_engine_are_options(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--input", str(scans["low"]), "--output", str(out), "--average", "2", "--engine", "torch", "--json"]
    assert run(["denoise", *options]) == 0
    rows = printed(capsys)["series"]
    assert all(row["engine"] == "torch, fp32" and row["spread"] > 0 for row in rows)
    file = next(Path(rows[0]["output"]).rglob("*.dcm"))
    assert "mean of 2 views" in pydicom.dcmread(file).DerivationDescription
    assert run(["denoise", *options[:4], "--average", "5"]) == 1
    assert "cannot be averaged over 5 views" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_no_unicode_pass_from_folder_to_output(
    scans: dict[str, Path], tmp_path: Path, repository: Path
) -> None:
    cafe, image, name = (os.fsdecode(word) for word in (b"caf\xe9", b"im\xe4", b"v\xe4"))
    folder = tmp_path / cafe
    values = np.random.default_rng(0).normal(100, 10, (2, 32, 32))
    shutil.copytree(scans["low"] / "patient01", folder / "dicom")
    (folder / "pictures").mkdir()
    for i, picture in enumerate(values.astype(np.uint8)):
        for kind in ("png", "tif"):
            Image.fromarray(picture).save(folder / "pictures" / f"{image}{i}.{kind}")
    for kind in ("nii.gz", "mha", "mhd", "nrrd"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.astype(np.int16)), str(tmp_path / f"v.{kind}"))
        (tmp_path / f"v.{kind}").rename(folder / f"{name * 70}.{kind}")
    (tmp_path / "v.raw").rename(folder / "v.raw")
    np.save(folder / f"{name}.npy", values)
    np.savez(folder / f"{name}.npz", a=values)
    (folder / f"{name}.txt").write_text("notes")

    words = ["denoise", "--model", "classic-small", "--engine", "torch", "--input", folder, "--output", folder / "out"]
    for encoding, more, series in (("utf-8", ["--json"], 9), ("cp1252", ["--include", "all"], 18)):
        done = subprocess.run(
            [sys.executable, repository / "main.py", *words, *more],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        said = done.stderr.decode(errors="replace")
        assert done.returncode == 0 and "Traceback" not in said and "Logging error" not in said, said
        rows = json.loads((folder / "out" / "report.json").read_text())["series"]
        assert len(rows) == series and {row["status"] for row in rows} <= {"done", "flagged"}
        assert all(Path(row["output"]).exists() for row in rows)
        if "--json" in more:
            assert [row["output"] for row in json.loads(done.stdout)["series"]] == [row["output"] for row in rows]
