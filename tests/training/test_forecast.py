"""Time, memory and the batch that fits, from a few steps of the real recipe."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from aegui import recipes, workflow
from aegui.events import finish
from aegui.training.forecast import Forecast
from aegui.training.probe import Need
from tests.training.runs import run, short_job, write_scans


def told(job: workflow.TrainJob, *changes: str) -> Forecast:
    result: Forecast = finish(workflow.forecast(replace(job, recipe=job.recipe.with_set(list(changes)))))
    return result


def test_the_forecast_counts_steps_epochs_and_validation(tmp_path: Path) -> None:
    job = short_job(tmp_path)
    found = told(job)
    assert (found.steps, found.epochs) == (9, 3)
    assert found.seconds == pytest.approx(9 * found.step_seconds + 3 * (found.validation_seconds or 0))
    assert found.parameters["encoder"] > 0 and found.fits
    assert told(job, "run.accumulate=3").steps == 3
    assert told(job, "run.steps=4").epochs == 2
    minutes = told(job, "run.minutes=0.5")
    assert minutes.seconds is not None and minutes.seconds < 31
    assert not job.run.exists()


def test_a_run_takes_about_as_long_as_forecast(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.epochs=6", "run.batch_size=8", "run.steps_per_epoch=10"])
    job = replace(job, model="general-small")
    found = told(job)
    began = time.monotonic()
    _, result = run(job)
    assert found.seconds is not None
    # Much longer or shorter is what a machine that others use may do.
    assert result.seconds / 8 < found.seconds < (time.monotonic() - began) * 8


def test_memory_grows_with_the_batch_and_the_patch_and_names_the_batch_that_fits(tmp_path: Path) -> None:
    job = short_job(tmp_path)
    need = [told(job, f"run.batch_size={count}").memory_bytes for count in (1, 4, 16)]
    assert need[0] < need[1] < need[2]
    assert told(job, "run.patch_size=16").memory_bytes < need[1]
    two = Need(fixed=100, sample=50)
    assert two.of(3) == 250
    assert two.largest(1000) == 14 and two.largest(10) == 1


def test_a_batch_that_does_not_fit_is_told_without_being_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegui.training.forecast.free_bytes", lambda device: 2_000_000)
    found = told(short_job(tmp_path), "run.batch_size=4000")
    assert not found.fits
    assert 1 <= found.largest_batch < 64


def test_without_scans_the_length_stays_open(tmp_path: Path) -> None:
    job = workflow.TrainJob("classic-small", recipes.load("discriminative"), (), tmp_path / "run", device="cpu")
    found = told(job, "run.patch_size=32")
    assert found.step_seconds > 0 and found.memory_bytes > 0
    assert (found.steps, found.epochs, found.seconds, found.validation_seconds) == (None, None, None, None)


@pytest.mark.parametrize(
    "targets",
    ["{kind: noise2noise}", "{kind: paired}", "{kind: neighbor2neighbor}", "{kind: slices}", "{kind: noise2self}"],
)
def test_every_kind_of_target_can_be_tried_before_there_are_scans(targets: str, tmp_path: Path) -> None:
    plan = recipes.load("denoise").with_set([f"targets={targets}", "losses=[{kind: mse}]", "run.patch_size=32"])
    found = told(workflow.TrainJob("classic-small", plan, (), tmp_path / "run", device="cpu"))
    assert found.step_seconds > 0


def test_many_series_are_tried_on_a_few_slices_and_counted_in_full(tmp_path: Path) -> None:
    write_scans(tmp_path / "scans", patients=10, slices=12)
    job = short_job(tmp_path)
    events = list(workflow.forecast(job))
    read = [event for event in events if getattr(event, "what", "") == "Reading slices"]
    assert len(read) <= 16
    assert events[-1].result.steps == 3 * 24  # type: ignore[attr-defined]


def test_a_held_out_series_does_not_train_in_the_forecast_either(tmp_path: Path) -> None:
    job = short_job(tmp_path)
    assert told(replace(job, holdout=(job.noisy[0].uid,))).steps == 3 * 2
