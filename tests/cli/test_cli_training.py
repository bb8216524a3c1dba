"""Training, judging and exporting from the command line."""

import json
from pathlib import Path

import pydicom
import pytest
import yaml

from aegui import recipes, sample
from aegui.cli import run
from aegui.errors import UserError
from aegui.events import finish
from tests.cli.printed import QUICK, printed


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


def test_scans_are_not_their_own_clean_partners(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low, full = str(scans["low"]), str(scans["full"])
    assert run(["evaluate", "--model", "classic-small", "--noisy", low, "--clean", low]) == 1
    assert "are the same" in capsys.readouterr().err
    words = ["train", "--model", "classic-small", "--data", low, full, "--clean", full, "--out", str(tmp_path / "run")]
    assert run([*words, "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert (
        said.count("Paired by geometry: Simulated low dose") == 3 and "Paired by geometry: Simulated full" not in said
    )


def test_a_model_without_weights_says_that_it_starts_from_random_ones(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "xray-small", "--data", str(scans["low"]), "--out", str(tmp_path / "run"), "--dry-run"]
    assert run(words) == 0
    said = capsys.readouterr().err
    assert "has no trained weights: it starts from random ones" in said and "pretrain-xray-small" in said
    assert run([*words, "--init", "random"]) == 0
    assert "random ones" not in capsys.readouterr().err


def test_what_is_for_viewing_only_is_not_offered_to_learn_from(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(scans["low"].rglob("*.dcm"))
    dataset = pydicom.dcmread(file)
    dataset.ImageType = ["DERIVED", "SECONDARY", "LOCALIZER"]
    (tmp_path / "scans").mkdir()
    dataset.save_as(tmp_path / "scans" / "a.dcm")
    assert run(["train", "--data", str(tmp_path / "scans"), "--out", str(tmp_path / "run")]) == 1
    assert "but not learnt from" in capsys.readouterr().err


def test_a_run_folder_is_not_overwritten_but_resumed(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "classic-small", "--data", str(scans["low"]), "--out", str(tmp_path), "--set", *QUICK]
    assert run(words) == 0
    capsys.readouterr()
    assert run(words) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert run([*words, "--resume"]) == 0


def test_repeats_are_learnt_from_once_they_are_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    low = finish(sample.generate(tmp_path / "made", slices=4, patients=1))["low"]
    (tmp_path / "scans").mkdir()
    for again in (1, 2):
        for file in low.rglob("*.dcm"):
            dataset = pydicom.dcmread(file)
            dataset.SeriesInstanceUID, dataset.AcquisitionNumber = f"1.2.3.{again}", again
            dataset.AcquisitionDate, dataset.AcquisitionTime = "20200101", f"12{again}000"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{again}.{file.stem[-3:]}"
            dataset.save_as(tmp_path / "scans" / f"{again}{file.name}")
    words = ["train", "--model", "classic-small", "--recipe", "repeats", "--data", str(tmp_path / "scans")]
    words += ["--out", str(tmp_path / "run"), "--set", *QUICK]
    assert run(words) == 1
    assert "2 repeats found." in (said := capsys.readouterr().err) and "--accept-pairs" in said
    assert run([*words, "--accept-pairs"]) == 0


def test_going_on_where_no_run_is_says_that_a_new_one_starts(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "classic-small", "--data", str(scans["low"]), "--out", str(tmp_path / "run")]
    assert run([*words, "--set", *QUICK, "--resume"]) == 0
    assert "no run to go on with. A new one starts." in capsys.readouterr().err


def test_what_several_parts_of_a_recipe_have_to_say_alike_is_said_once(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = "{kind: gaussian, low: 0, high: 0}"
    words = ["train", "--model", "classic-small", "--data", str(scans["low"]), "--out", str(tmp_path), "--set", *QUICK]
    assert run([*words, f"targets={{kind: synthetic, corruptions: [{nothing}, {nothing}]}}"]) == 0
    assert capsys.readouterr().err.count("has strength 0") == 1


def test_evaluate_prints_the_scores_of_input_and_output(
    scans: dict[str, Path], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--noisy", scans["low"] / "patient01", "--clean", scans["full"] / "patient01", "--json"]
    assert run(["evaluate", "--model", str(trained / "model.aegui"), *map(str, words)]) == 0
    found = printed(capsys)
    for part in ("input", "output"):
        assert {"psnr", "ssim", "rmse", "bias"} <= set(found[part])
    assert found["input"]["rmse"] > 5
    words.remove("--json")
    assert run(["evaluate", "--model", str(trained / "model.aegui"), *map(str, words)]) == 0
    said = capsys.readouterr().out
    assert f"PSNR with {found['psnr_range']}; {found['ssim_window']}" in said and "R = 400 HU" in said


def test_export_prints_the_largest_difference(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [trained / "model.aegui", "--format", "safetensors", "--output", tmp_path / "m.safetensors", "--json"]
    assert run(["export", *map(str, words)]) == 0
    found = printed(capsys)
    assert Path(found["path"]).stat().st_size > 1000
    assert found["max_difference"] == 0


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


# ---------------------------------------------------------------- recipes and help in choosing


def job(scans: dict[str, Path], *more: str) -> list[str]:
    return ["--model", "classic-small", "--data", str(scans["low"]), "--device", "cpu", "--set", *QUICK, *more]


def test_recipes_are_listed_shown_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes"]) == 0
    assert "Robust: " in (said := capsys.readouterr().out) and "For: " in said
    assert run(["recipes", "show", "robust", "--json"]) == 0
    assert printed(capsys)["recipe"]["id"] == "robust"
    assert run(["recipes", "show", "robust"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert recipes.Recipe.parse(shown) == recipes.load("robust")
    assert run(["recipes", "fields"]) == 0
    said = capsys.readouterr().out
    for name in ("patience", "label_smoothing", "layer_decay", "kind: ct_dose", "kind: onecycle"):
        assert name in said
    assert run(["recipes", "fields", "--json"]) == 0
    assert {section["address"] for section in printed(capsys)["sections"]} >= {"losses", "targets", "run", "stopping"}
    assert run(["recipes", "show"]) == 1
    assert "Which recipe?" in capsys.readouterr().err


def test_forecast_measures_with_and_without_scans(scans: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["forecast", *job(scans), "--json"]) == 0
    found = printed(capsys)
    assert (found["steps"], found["epochs"]) == (4, 2)
    assert found["step_seconds"] > 0 and found["memory_bytes"] > 0
    assert run(["forecast", "--model", "classic-small", "--set", "run.patch_size=32", "run.batch_size=1"]) == 0
    said = capsys.readouterr().out
    assert "One step: " in said and "Memory: " in said and "In all" not in said


def test_a_dry_run_writes_nothing_and_says_what_is_wrong_and_what_it_takes(
    scans: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(["train", *job(scans, "run.patch_size=999"), "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "Patches of 999 px are larger than the smallest slice" in said.err
    assert "In all: " in said.out
    assert run(["train", *job(scans), "--recipe", "discriminative", "--out", str(out), "--dry-run", "--json"]) == 0
    assert run(["train", *job(scans, "targets={kind: paired}"), "--out", str(out), "--dry-run"]) == 1
    assert "targets: No noisy series has a matching clean series." in capsys.readouterr().err
    assert not out.exists()


def test_find_rate_names_a_rate_for_every_group(scans: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["find-rate", *job(scans), "--json"]) == 0
    found = printed(capsys)
    assert found["points"] and found["words"]
    assert set(found["rates"]) <= {"rest"}


def test_a_race_has_rows_for_recipes_and_filters(scans: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["race", *job(scans), "--recipe", "denoise", "structure", "--seconds", "1", "--json"]) == 0
    found = printed(capsys)
    assert {row["kind"] for row in found["rows"]} >= {"recipe", "input"}
    assert [row["recipe"] for row in found["rows"] if row["kind"] == "recipe"] == ["denoise", "structure"]
    assert found["judged"] and "image" not in found["rows"][0]


def test_runs_are_listed_with_what_they_do_differently(
    scans: dict[str, Path], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [*job(scans, "losses.tv.weight=0.5"), "--init", "random", "--out", str(tmp_path / "other")]
    assert run(["train", *other]) == 0
    capsys.readouterr()
    assert run(["runs", str(trained), str(tmp_path), "--json"]) == 0
    found = printed(capsys)
    assert {run["recipe"] for run in found["runs"]} == {"denoise"} and len(found["runs"]) == 2
    assert [row["name"] for row in found["differences"]] == ["losses.tv"]
    assert {run["psnr_range"] for run in found["runs"]} == {"R = 400 HU"}
    assert run(["runs", str(trained), str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "best epoch" in said and "(R = 400 HU)" in said and "0.5" in said
    assert run(["runs", str(tmp_path / "nowhere")]) == 1


def test_settings_are_named_as_the_reference_names_them_and_wrong_names_say_what_there_is() -> None:
    plan = recipes.load("denoise")
    short, long = "targets.corruptions.gaussian.high=50", "targets.synthetic.corruptions.gaussian.high=50"
    assert plan.with_set([short]) == plan.with_set([long]) != plan
    with pytest.raises(UserError, match=r"There are mse, tv\. To add one, write a recipe file"):
        plan.with_set(["losses.ssim.weight=0.3"])
    with pytest.raises(UserError, match=r"no setting “run2” .* There are schema_version, id, .*run"):
        plan.with_set(["run2.epochs=3"])
