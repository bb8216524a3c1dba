"""Earlier runs, read from their folders."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from aegui import recipes, workflow
from aegui.recipes import Recipe

OLD_RECIPE = """\
schema_version: 1
id: denoise
title: Denoise
targets: {kind: gaussian, sigma_low: 20.0, sigma_high: 25.0}
losses: [{kind: mse, weight: 1.0}]
groups: [{match: rest, learning_rate: 0.0001}]
optimiser: {kind: adam}
schedule: {kind: constant}
gradient_clip: 2.0
run: {epochs: 3, ema: 0.99}
"""


def write_run(folder: Path, recipe: Recipe | str, psnr: tuple[float, ...] = (30.0, 31.5), **summary: object) -> Path:
    folder.mkdir(parents=True)
    text = recipe if isinstance(recipe, str) else recipe.to_yaml()
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    rows = ["epoch,val_loss,psnr,ssim,accuracy"]
    rows += [f"{n},{0.1 / n!r},{value!r},0.9," for n, value in enumerate(psnr, 1)]
    (folder / "metrics.csv").write_text("\r\n".join(rows) + "\r\n")
    values = {
        "schema": 1,
        "model": "general-small",
        "recipe": "denoise",
        "best_epoch": len(psnr),
        "epochs": len(psnr),
        "scores": {"psnr": psnr[-1], "ssim": 0.9},
        "baselines": {"input": {"psnr": 20.0, "ssim": 0.3}, "classical": {"psnr": 28.0, "ssim": 0.8}},
        "classical": "non-local means",
        "stopped": False,
        "seconds": 12.5,
    }
    (folder / "run.json").write_text(json.dumps(values | summary))
    return folder


def test_a_finished_run_tells_its_scores_and_curves(tmp_path: Path) -> None:
    write_run(tmp_path / "20260314-101500-denoise", recipes.load("denoise"), title="My run", init="random")
    (run,) = workflow.runs(tmp_path)
    assert run.finished and run.reason == ""
    assert (run.title, run.model, run.init, run.epochs, run.best_epoch) == ("My run", "general-small", "random", 2, 2)
    assert run.recipe == recipes.load("denoise")
    assert run.scores["psnr"] == 31.5 and run.baselines["classical"]["psnr"] == 28.0
    assert run.classical == "non-local means" and run.seconds == 12.5
    assert run.curves["psnr"] == [30.0, 31.5] and run.curves["epoch"] == [1, 2]
    assert all(math.isnan(value) for value in run.curves["accuracy"])


def test_the_latest_run_comes_first_by_what_it_or_its_folder_says(tmp_path: Path) -> None:
    recipe = recipes.load("denoise")
    write_run(tmp_path / "20260314-101500-denoise", recipe)
    write_run(tmp_path / "20260314-101501-denoise", recipe)
    write_run(tmp_path / "other", recipe, started="2026-03-14T12:00:00")
    old = write_run(tmp_path / "unnamed", recipe)
    os.utime(old / "recipe.yaml", (1e9, 1e9))
    names = [run.path.name for run in workflow.runs(tmp_path)]
    assert names == ["other", "20260314-101501-denoise", "20260314-101500-denoise", "unnamed"]


def test_a_run_of_the_first_schema_is_read_through_migration(tmp_path: Path) -> None:
    write_run(tmp_path / "old", OLD_RECIPE)
    (run,) = workflow.runs(tmp_path)
    assert run.recipe is not None and run.reason == ""
    assert run.recipe.targets.kind == "synthetic" and run.recipe.regularisation.gradient_clip == 2.0
    assert run.recipe.averaging.kind == "ema"
    assert run.init == ""  # such runs do not tell


def test_a_run_that_is_not_finished_is_listed_with_its_curves(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "20260314-101500-denoise", recipes.load("denoise"))
    (folder / "run.json").unlink()
    (folder / "last.pt").write_bytes(b"")
    (folder / "started.json").write_text(json.dumps({"model": "classic-small", "init": "pretrained"}))
    (run,) = workflow.runs(tmp_path)
    assert not run.finished and "interrupted after epoch 2, or still running" in run.reason
    assert run.curves["psnr"] == [30.0, 31.5]
    assert (run.model, run.init, run.epochs) == ("classic-small", "pretrained", 2)


def test_a_run_stopped_before_its_first_epoch_has_no_score_and_says_so(tmp_path: Path) -> None:
    scores = {"psnr": float("nan"), "ssim": float("nan")}
    folder = write_run(tmp_path / "a", recipes.load("denoise"), scores=scores, stopped=True, epochs=0)
    (folder / "metrics.csv").write_text("epoch,psnr\n")
    (run,) = workflow.runs(tmp_path)
    assert run.finished and run.stopped and run.scores == {}
    assert run.reason == "Stopped before its first epoch ended."


def test_a_run_that_only_told_of_its_start_is_not_finished(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", recipes.load("denoise"))
    (folder / "run.json").write_text(json.dumps({"schema": 1, "title": "T", "init": "random", "started": 1e9}))
    (run,) = workflow.runs(tmp_path)
    assert not run.finished and "still running" in run.reason
    assert (run.title, run.init, run.started) == ("T", "random", 1e9)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("run.json", "{", "run.json is damaged"),
        ("run.json", "[1, 2]", "run.json is damaged"),
        ("recipe.yaml", "losses: [", "recipe cannot be read"),
        ("recipe.yaml", "{id: x, title: x, losses: [{kind: mse, weight: -3}]}", "recipe cannot be read"),
        ("metrics.csv", "epoch,psnr\n1,3e1\n2,x\n", "curves cannot be read"),
        ("metrics.csv", "epoch,psnr\n1,3e1\n2\n", "curves cannot be read"),
    ],
)
def test_a_damaged_run_is_listed_with_the_reason_and_the_others_stay(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    folder = write_run(tmp_path / "bad", recipes.load("denoise"))
    (folder / name).write_text(content)
    write_run(tmp_path / "good", recipes.load("layerwise"))
    found = {run.path.name: run for run in workflow.runs(tmp_path)}
    assert found["good"].reason == "" and found["good"].finished
    assert words in found["bad"].reason


def test_values_of_another_kind_than_expected_do_no_harm(tmp_path: Path) -> None:
    strange = {
        "scores": [1],
        "baselines": {"input": 3},
        "epochs": "many",
        "seconds": None,
        "title": None,
        "started": {},
    }
    write_run(tmp_path / "a", recipes.load("denoise"), **strange)
    (run,) = workflow.runs(tmp_path)
    assert run.scores == {} and run.epochs == 2 and run.title == "Denoise"


def test_several_folders_and_a_runs_own_folder_are_looked_into_once(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a" / "x", recipes.load("denoise"))
    two = write_run(tmp_path / "b" / "y", recipes.load("denoise"))
    (tmp_path / "a" / "no run").mkdir()
    found = workflow.runs([tmp_path / "a", two, one, tmp_path / "gone"])
    assert {run.path for run in found} == {one, two}


def test_only_what_differs_between_recipes_is_listed(tmp_path: Path) -> None:
    first = recipes.load("denoise")
    other = first.with_set(["losses.tv.weight=0.05", "run.seed=7"])
    write_run(tmp_path / "a", first, init="pretrained")
    write_run(tmp_path / "b", other, init="pretrained")
    rows = {row.name: row for row in workflow.run_differences(sorted(workflow.runs(tmp_path), key=lambda r: r.path))}
    assert set(rows) == {"losses.tv", "run.seed"}
    assert rows["losses.tv"].values == ("Weight 0.01", "Weight 0.05")
    assert rows["losses.tv"].title == "Loss terms · Total variation"


def test_parts_that_one_run_has_and_the_other_has_not_are_told(tmp_path: Path) -> None:
    write_run(tmp_path / "a", recipes.load("denoise"), init="pretrained")
    write_run(tmp_path / "b", recipes.load("layerwise"), init="random", model="/x/20260101-000000-denoise/model.aegui")
    rows = {row.name: row for row in workflow.run_differences(sorted(workflow.runs(tmp_path), key=lambda r: r.path))}
    assert rows["losses.tv"].values == ("Weight 0.01", "–")
    assert rows["init"].values == ("Pretrained", "Random")
    assert rows["model"].values == ("general-small", "20260101-000000-denoise")
    assert rows["groups.encoder"].values == ("–", "Learning rate 1e-05")
    assert not any(name.startswith(("losses.tv.", "groups.encoder.")) for name in rows)  # one row says it all
    order = [name.partition(".")[0] for name in rows]
    assert order == sorted(order, key=["model", "init", *Recipe.model_fields].index)
    assert workflow.run_differences(workflow.runs(tmp_path)[:1]) == []


def test_from_scratch_is_the_same_job_from_random_weights_in_its_own_folder(tmp_path: Path) -> None:
    job = workflow.TrainJob("general-small", recipes.load("denoise"), (), tmp_path / "runs" / "one", resume=True)
    again = workflow.scratch_job(job)
    assert again.init == "random" and not again.resume and again.recipe == job.recipe
    assert again.run.parent == job.run.parent and again.run != job.run
    again.run.mkdir(parents=True)
    assert workflow.scratch_job(job).run != again.run


def test_a_run_whose_recipe_cannot_be_read_makes_no_difference_to_the_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        write_run(tmp_path / name, recipes.load("denoise").with_set([f"run.seed={seed}"]), init="pretrained")
    (tmp_path / "c" / "recipe.yaml").write_text("losses: [")
    (row,) = workflow.run_differences(sorted(workflow.runs(tmp_path), key=lambda r: r.path))
    assert row.name == "run.seed" and row.values == ("1", "2", "")
