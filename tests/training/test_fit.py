"""A whole run: events, files, stopping, resuming."""

from __future__ import annotations

import csv
import errno
import json
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from aegui import recipes, workflow
from aegui.errors import UserError
from aegui.events import (
    Baselines,
    Epoch,
    Event,
    Features,
    Noted,
    Preview,
    Progress,
    Started,
    Step,
    Stop,
    Warned,
    finish,
)
from aegui.models import bundle
from aegui.models.zoo import load_model
from aegui.training import loop, step
from aegui.training.fit import TrainResult
from aegui.training.runfolder import RunFolder
from tests.training.runs import assert_same_weights, of, run, short_job, write_scans


@pytest.fixture
def job(tmp_path: Path) -> workflow.TrainJob:
    return short_job(tmp_path)


def test_a_run_tells_its_story_in_order(job: workflow.TrainJob) -> None:
    events, result = run(job)
    kinds = [type(e) for e in events if type(e) in (Started, Baselines, Step, Epoch, Preview)]
    assert kinds[:3] == [Started, Baselines, Step]
    assert len(of(events, Epoch)) == 3 and len(of(events, Step)) == 3 * 3
    assert set(of(events, Baselines)[0].scores) == {"input", "classical"}
    assert result.best_epoch in (1, 2, 3)
    preview = of(events, Preview)[0]
    assert preview.noisy.shape == preview.output.shape == preview.reference.shape == (48, 48)
    assert 100 < preview.reference.mean() < 300  # real units
    assert any("New best" in note.message for note in of(events, Noted))


def test_the_curves_equal_the_csv(job: workflow.TrainJob) -> None:
    events, result = run(job)
    with (result.run / "metrics.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    for row, epoch in zip(rows, of(events, Epoch), strict=True):
        assert float(row["psnr"]) == epoch.psnr
        assert float(row["val_mse"]) == epoch.val["mse"]
        assert float(row["train_loss"]) == epoch.train["loss"]
        assert float(row["lr_rest"]) == epoch.lr["rest"]
    with (result.run / "steps.csv").open() as handle:
        losses = [float(row["loss"]) for row in csv.DictReader(handle)]
    assert losses == [step.loss for step in of(events, Step)]


def table(result: TrainResult, name: str) -> list[dict[str, str]]:
    with (result.run / name).open() as handle:
        return list(csv.DictReader(handle))


def test_an_epoch_tells_the_rate_of_its_last_step_after_a_break_too(job: workflow.TrainJob) -> None:
    falling = job.recipe.with_set(["schedule={kind: step, every: 1, drop: 0.1}"])
    job = replace(job, recipe=falling)
    events = workflow.train(job)
    for event in events:
        if isinstance(event, Progress) and event.what == "Validating":
            break
    events.throw(Stop())  # type: ignore[attr-defined]
    finish(events)
    again, result = run(replace(job, resume=True))
    last = [row["lr_rest"] for row in table(result, "steps.csv") if row["step"] == "3"]
    assert [row["lr_rest"] for row in table(result, "metrics.csv")] == last
    assert [epoch.lr["rest"] for epoch in of(again, Epoch)] == pytest.approx([1e-3, 1e-4, 1e-5])


def test_training_learns(job: workflow.TrainJob) -> None:
    longer = replace(job, recipe=job.recipe.with_set(["run.epochs=25", "groups.rest.learning_rate=5e-3"]))
    events, _ = run(longer)
    epochs = of(events, Epoch)
    assert epochs[-1].val["mse"] < 0.5 * epochs[0].val["mse"]


def test_the_bundle_holds_the_best_weights_and_no_names(job: workflow.TrainJob) -> None:
    _, result = run(job)
    assert bundle.self_test(result.bundle) < 1e-5
    with zipfile.ZipFile(result.bundle) as archive:
        names = set(archive.namelist())
        hashes = json.loads(archive.read("split.json"))
        everything = b"".join(archive.read(name) for name in names)
    assert names >= {"weights.safetensors", "card.yaml", "recipe.yaml", "metrics.csv", "versions.json", "split.json"}
    assert len(hashes["train"]) == 12 and len(hashes["validation"]) == 4
    for series in job.noisy:
        assert series.uid.encode() not in everything
        assert str(series.files[0].parent).encode() not in everything


def test_stop_keeps_the_best(job: workflow.TrainJob) -> None:
    events = workflow.train(replace(job, recipe=job.recipe.with_set(["run.epochs=50"])))
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        if isinstance(event, Epoch) and event.epoch == 2:
            break
    seen.append(events.throw(Stop()))  # type: ignore[attr-defined]
    seen += list(events)
    result = seen[-1].result  # type: ignore[attr-defined]
    assert result.stopped and result.best_epoch in (1, 2)
    card = load_model(result.bundle).card
    assert card.metrics["best_epoch"] == result.best_epoch
    (score,) = card.scores
    assert score.psnr == result.scores["psnr"]
    assert score.others[result.classical_name] == result.baselines["classical"]["psnr"]
    assert set(card.gains()[1]) == {"validation"}


def test_a_run_stopped_before_its_baselines_were_known_measures_them_when_it_goes_on(job: workflow.TrainJob) -> None:
    tuned = replace(job, init="pretrained")
    events = workflow.train(tuned)
    for event in events:
        if isinstance(event, Progress) and event.what == "Validating":
            break
    events.throw(Stop())  # type: ignore[attr-defined]
    finish(events)
    again, result = run(replace(tuned, resume=True))
    assert set(of(again, Baselines)[0].scores) == {"input", "classical", "pretrained"}
    assert result.scores["psnr"] >= result.baselines["pretrained"]["psnr"]


def test_a_run_stopped_while_it_looks_at_features_still_marks_that_epoch_as_the_best(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.epochs=1"], "discriminative")
    events = workflow.train(job)
    for event in events:
        if isinstance(event, Progress) and event.what == "Looking at features":
            break
    events.throw(Stop())  # type: ignore[attr-defined]
    finish(events)
    again, result = run(replace(job, resume=True))
    assert [epoch.best for epoch in of(again, Epoch)] == [True]
    assert any("New best" in note.message for note in of(again, Noted))
    assert [row["best"] for row in table(result, "metrics.csv")] == ["1"]


def test_a_fresh_run_takes_no_weights_of_an_older_one_in_its_folder(job: workflow.TrainJob) -> None:
    run(job)
    (job.run / "last.pt").unlink()
    events = workflow.train(replace(job, model="general-small"))
    next(event for event in events if isinstance(event, Step))
    assert not (job.run / "best.safetensors").exists()
    events.throw(Stop())  # type: ignore[attr-defined]
    result = finish(events)
    assert load_model(result.bundle).card.architecture == "residual_autoencoder"


def test_a_model_made_for_ct_fits_what_it_was_trained_on(job: workflow.TrainJob, tmp_path: Path) -> None:
    model = load_model(job.model)
    ct = tmp_path / "ct.aegui"
    bundle.save(ct, model.card.model_copy(update={"modalities": ("CT",)}), model.net, job.recipe, "", {})
    _, result = run(replace(job, model=str(ct)))
    assert load_model(result.bundle).card.modalities == ("CT", job.noisy[0].modality)


def test_nothing_that_was_read_is_left_behind_by_a_run_that_could_not_begin(job: workflow.TrainJob) -> None:
    events = workflow.train(job)
    next(event for event in events if isinstance(event, Progress))
    with pytest.raises(Stop):
        events.throw(Stop())  # type: ignore[attr-defined]
    assert not (job.run / "cache").exists()


def test_an_abandoned_run_resumes_to_the_weights_of_an_uninterrupted_one(
    job: workflow.TrainJob, tmp_path: Path
) -> None:
    _, whole = run(job)
    other = replace(job, run=tmp_path / "other")
    events = workflow.train(other)
    for event in events:
        if isinstance(event, Step) and (event.epoch, event.step) == (2, 2):
            break
    events.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "other").glob("cache"))
    _, resumed = run(replace(other, resume=True))
    assert_same_weights(whole.bundle, resumed.bundle)
    assert (whole.run / "steps.csv").read_text() == (resumed.run / "steps.csv").read_text()


KILLED = """
import os
import signal
import sys
from pathlib import Path
from aegui import recipes, workflow
from aegui.events import Baselines, Epoch, Event, Features, Noted, Preview, Started, Step, Stop, Warned, finish
from aegui.training import loop
import torch
torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS = 0.0
found = finish(workflow.scan([Path(sys.argv[1])]))
recipe = recipes.load("denoise").with_set(["run.epochs=12", "run.batch_size=4", "run.patch_size=32"])
job = workflow.TrainJob(
    "general-small", recipe, found.series, Path(sys.argv[2]), init="random", device="cpu", resume=True
)
for event in workflow.train(job):
    if isinstance(event, Step) and event.epoch == 5 and sys.argv[3] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    scans = write_scans(tmp_path / "scans")

    def start(out: str, end: str = "") -> int:
        return subprocess.run([sys.executable, "-c", KILLED, str(scans), str(tmp_path / out), end]).returncode

    assert start("whole") == 0
    assert start("killed", "killed") == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.aegui").exists()
    assert start("killed") == 0
    assert_same_weights(tmp_path / "whole" / "model.aegui", tmp_path / "killed" / "model.aegui")


def test_a_run_folder_is_not_overwritten(job: workflow.TrainJob) -> None:
    run(job)
    assert any("already holds a run" in p.message for p in workflow.check(job))
    with pytest.raises(UserError, match="already holds a run"):
        run(job)


def test_resuming_with_another_recipe_is_refused(job: workflow.TrainJob) -> None:
    run(job)
    other = replace(job, recipe=job.recipe.with_set(["losses.tv.weight=0.2"]), resume=True)
    with pytest.raises(UserError, match="another recipe"):
        run(other)


def test_resuming_with_another_hold_out_labels_model_or_start_is_refused(tmp_path: Path) -> None:
    job = short_job(tmp_path, recipe="class-aware")
    run(job)
    held = replace(job, holdout=(job.noisy[0].uid,), resume=True)
    with pytest.raises(UserError, match="other scans, labels or hold-out"):
        run(held)
    names = dict(zip(sorted(set(job.labels.values())), sorted(set(job.labels.values()), reverse=True), strict=True))
    with pytest.raises(UserError, match="other scans, labels or hold-out"):
        run(replace(job, labels={where: names[name] for where, name in job.labels.items()}, resume=True))
    with pytest.raises(UserError, match="another model, or other first weights"):
        run(replace(job, init="pretrained", resume=True))


def test_resuming_with_scans_whose_pixels_were_changed_is_refused(job: workflow.TrainJob) -> None:
    run(job)
    file = job.noisy[0].files[0]
    np.save(file, np.rot90(np.load(file), axes=(1, 2)))
    with pytest.raises(UserError, match="other scans, labels or hold-out"):
        run(replace(job, resume=True))


@pytest.mark.parametrize("at", ["save_state", "save_best", "write_text"])
def test_a_full_disk_is_told_in_words(job: workflow.TrainJob, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, at, full)
    with pytest.raises(UserError, match="cannot be written: No space left on device") as caught:
        run(job)
    assert "resumed" in caught.value.hint


def test_a_run_stopped_before_its_first_score_leaves_json_that_everybody_reads(job: workflow.TrainJob) -> None:
    events = workflow.train(job)
    for event in events:
        if isinstance(event, Baselines):
            break
    events.throw(Stop())  # type: ignore[attr-defined]  # a generator
    for _ in events:
        pass
    told = (job.run / "run.json").read_text()
    assert "NaN" not in told and json.loads(told)["scores"] == {}
    assert workflow.result_of(job.run, job.noisy) is not None


def test_a_run_that_diverges_ends_with_its_best_epoch(job: workflow.TrainJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*given: Any, **more: Any) -> Any:
        if given[6] >= 2:  # epochs that are over
            raise step.DivergenceError(
                "The loss is no longer a number.", "Lower the learning rates, or clip gradients."
            )
        return step.train_step(*given, **more)

    monkeypatch.setattr(loop, "train_step", breaks)
    events, result = run(job)
    assert result.best_epoch in (1, 2) and not result.stopped
    assert load_model(result.bundle).card.metrics["best_epoch"] == result.best_epoch
    (warned,) = [event for event in of(events, Warned) if "no longer a number" in event.message]
    assert warned.message.startswith("Ended in epoch 3") and "Lower the learning rates" in warned.hint
    assert "no longer a number" in json.loads((job.run / "run.json").read_text())["ended"]


def test_a_run_that_diverges_before_it_has_learnt_anything_says_so_and_ends(
    job: workflow.TrainJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: Any, **more: Any) -> Any:
        raise step.DivergenceError("The loss is no longer a number.", "Lower the learning rates, or clip gradients.")

    monkeypatch.setattr(loop, "train_step", breaks)
    with pytest.raises(UserError, match="no longer a number"):
        run(job)
    assert not (job.run / "model.aegui").exists()


def test_other_series_of_a_patient_with_hold_out_that_are_learnt_from_are_told(tmp_path: Path) -> None:
    job = short_job(tmp_path)
    for number, series in enumerate(job.noisy):
        for name in "ab":
            folder = tmp_path / "subjects"
            folder.mkdir(exist_ok=True)
            np.save(folder / f"sub-{number}_{name}.npy", np.load(series.files[0]))
    noisy = finish(workflow.scan([tmp_path / "subjects"])).series
    events, _ = run(replace(job, noisy=noisy, holdout=(noisy[0].uid,)))
    assert any("One other series of a patient with hold-out" in event.message for event in of(events, Warned))
    both = tuple(series.uid for series in noisy if series.patient == noisy[0].patient)
    assert len(both) == 2
    events, _ = run(replace(job, noisy=noisy, holdout=both, run=tmp_path / "other"))
    assert not any("other series of a patient" in event.message for event in of(events, Warned))


def test_the_card_tells_what_the_training_took(job: workflow.TrainJob) -> None:
    _, result = run(job)
    told = load_model(result.bundle).card.training
    assert told.recipe == job.recipe.id and 0 < told.seconds < 600
    assert told.threads == torch.get_num_threads() and told.machine


def test_a_run_of_a_version_with_fewer_fields_is_resumed(job: workflow.TrainJob) -> None:
    _, first = run(job)
    file = job.run / "last.pt"
    state = torch.load(file, weights_only=False)
    for name in ("asked", "recipe"):
        told = yaml.safe_load(state[name])
        assert told["run"].pop("evenly") == "slice"
        state[name] = yaml.safe_dump(told)
    torch.save(state, file)
    _, again = run(replace(job, resume=True))
    assert again.best_epoch == first.best_epoch


def test_the_untouched_model_counts_as_epoch_zero(job: workflow.TrainJob, tmp_path: Path) -> None:
    _, first = run(job)
    ruin = job.recipe.with_set(["groups.rest.learning_rate=1.0", "run.epochs=2"])
    events, result = run(replace(job, model=str(first.bundle), recipe=ruin, run=tmp_path / "ruin", init="pretrained"))
    assert result.best_epoch == 0
    assert any("No epoch beat" in w.message for w in of(events, Warned))
    assert_same_weights(first.bundle, result.bundle)


def test_classes_come_from_folders_and_are_learned(job: workflow.TrainJob, tmp_path: Path) -> None:
    recipe = recipes.load("discriminative").with_set(["run.epochs=2", "run.batch_size=4", "run.patch_size=32"])
    labels = workflow.folder_labels(job.noisy)
    events, result = run(replace(job, recipe=recipe, labels=labels))
    card = load_model(result.bundle).card
    assert card.classes == ("case0", "case1", "case2", "case3")
    assert of(events, Epoch)[0].accuracy is not None
    assert load_model(result.bundle).net.head is not None


def test_labels_for_other_files_are_refused(job: workflow.TrainJob) -> None:
    recipe = recipes.load("discriminative")
    wrong = replace(job, recipe=recipe, labels={"nowhere/else.dcm": "a", "nowhere/other.dcm": "b"})
    assert any("two classes" in p.message for p in workflow.check(wrong))
    with pytest.raises(UserError, match="needs at least two classes; 0 found"):
        run(wrong)


def test_pairs_are_learned_from_and_guesses_need_a_word(tmp_path: Path) -> None:
    write_scans(tmp_path / "clean")
    rng = np.random.default_rng(9)
    for file in (tmp_path / "clean").rglob("*.npy"):
        target = tmp_path / "noisy" / file.parent.name / file.name
        target.parent.mkdir(parents=True)
        values = np.load(file)
        np.save(target, values + rng.normal(0, 20, values.shape).astype(np.float32))
    noisy = finish(workflow.scan([tmp_path / "noisy"])).series
    clean = finish(workflow.scan([tmp_path / "clean"])).series
    recipe = recipes.load("denoise").with_set(
        ["targets={kind: paired}", "run.epochs=1", "run.batch_size=4", "run.patch_size=32"]
    )
    job = workflow.TrainJob("classic-small", recipe, noisy, tmp_path / "run", clean=clean, init="random", device="cpu")
    with pytest.raises(UserError, match="by name only"):
        run(job)
    events, _ = run(replace(job, pairs=tuple(workflow.match_pairs(noisy, clean))))
    assert of(events, Preview)[0].psnr_noisy < 30


def test_colour_slices_train_a_grey_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    from PIL import Image

    for k in range(6):
        (tmp_path / "rgb").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 44, 3), dtype=np.uint8)).save(tmp_path / "rgb" / f"a{k}.png")
    series = finish(workflow.scan([tmp_path / "rgb"])).series
    recipe = recipes.load("denoise").with_set(["run.epochs=1", "run.batch_size=2", "run.patch_size=32"])
    job = workflow.TrainJob("classic-small", recipe, series, tmp_path / "run", init="random", device="cpu")
    assert run(job)[1].bundle.exists()


def test_events_come_often_enough(job: workflow.TrainJob) -> None:
    last, slowest = time.monotonic(), 0.0
    for _ in workflow.train(job):
        now = time.monotonic()
        slowest, last = max(slowest, now - last), now
    assert slowest < 5  # loading torch is the longest single thing


def test_check_names_every_problem_at_once(job: workflow.TrainJob) -> None:
    recipe = recipes.load("discriminative").with_set(["targets={kind: paired}"])
    problems = workflow.check(replace(job, recipe=recipe, noisy=job.noisy[:1]))
    assert {p.where for p in problems if p.blocking} == {("targets",), ("losses", 1)}
    assert any("optimistic" in p.message for p in problems)


def test_up_to_four_slices_are_shown_and_the_one_asked_for_first(job: workflow.TrainJob) -> None:
    more = replace(job, recipe=job.recipe.with_set(["run.validation_fraction=0.5", "run.epochs=1"]))
    events, _ = run(more)
    shown = of(events, Preview)
    assert [(one.slot, one.slots) for one in shown] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert len({one.label for one in shown}) == 4
    third = shown[2].label
    series = next(s for s in job.noisy if third.startswith(s.label))
    wanted = (series.uid, int(third.rsplit(" ", 1)[1]) - 1)
    again, _ = run(replace(more, run=job.run.with_name("again"), preview=wanted))
    assert of(again, Preview)[0].label == third


def test_run_json_says_what_the_run_was_from_the_start(job: workflow.TrainJob) -> None:
    events = workflow.train(job)
    for event in events:
        if isinstance(event, Step):
            break
    events.close()  # type: ignore[attr-defined]
    before = json.loads((job.run / "run.json").read_text())
    assert before["init"] == "random" and before["model"] == "classic-small"
    assert before["title"] == "Denoise" and before["summary"] == job.recipe.summary
    assert before["started"][:2] == "20" and "T" in before["started"]
    run(replace(job, resume=True))
    after = json.loads((job.run / "run.json").read_text())
    assert after["started"] == before["started"]
    assert after["epochs"] == 3 and after["ended"] == ""


def test_a_classifying_run_tells_accuracy_auc_and_features(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.validation_fraction=0.5"], "discriminative")
    events, result = run(job)
    for epoch, features in zip(of(events, Epoch), of(events, Features), strict=True):
        assert epoch.accuracy == features.accuracy
        assert epoch.auc == features.auc is not None
    with (result.run / "metrics.csv").open() as handle:
        assert [float(row["auc"]) for row in csv.DictReader(handle)] == [e.auc for e in of(events, Epoch)]
