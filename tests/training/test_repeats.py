"""From repeats in a folder to a model: proposed, confirmed, checked, trained, hold-out left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegui import recipes, workflow
from aegui.data.dataset import prepare
from aegui.events import Warned, finish
from aegui.imaging.phantom_dicom import PhantomSeries, write_slice
from aegui.models.zoo import load_model
from aegui.recipes.targets import PairedTargets

REPEATS = 3
SLICES = 3


@pytest.fixture
def job(tmp_path: Path) -> workflow.TrainJob:
    """Three repeats of each of three patients, all pairs confirmed."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:48, :48] - 24
    for patient in "ABC":
        for repeat in range(REPEATS):
            header = PhantomSeries(
                study=patient,
                patient=patient,
                sex="O",
                number=repeat + 1,
                description=f"Head run {repeat + 1}",
                exposure=100.0,
                thickness=2.0,
                spacing=(2.0, 0.8, 0.8),
                origin=(0.0, 0.0, 0.0),
            )
            for index in range(SLICES):
                body = np.where(np.hypot(x, y) < 20 - index, 50.0, -1000.0)
                pixels = (body + rng.normal(0, 25, body.shape)).astype(np.float32)
                write_slice(tmp_path / f"{patient}{repeat}{index}.dcm", header, index, pixels)
    found = finish(workflow.scan([tmp_path])).series
    (proposal,) = workflow.propose(found)
    assert (proposal.kind, proposal.title) == ("repeats", "3 repeated scans found")
    recipe = recipes.load("denoise").with_set(["run.epochs=1", "run.batch_size=4", "run.patch_size=32"])
    recipe = recipe.model_copy(update={"targets": PairedTargets()})
    return workflow.TrainJob(
        "classic-small", recipe, found, tmp_path / "run", pairs=proposal.pairs, init="random", device="cpu"
    )


def test_confirmed_repeats_pass_the_check_and_train_with_a_word_about_their_figures(job: workflow.TrainJob) -> None:
    problems = workflow.check(job)
    assert not [problem for problem in problems if problem.blocking]
    assert any("as noisy as the input" in problem.message for problem in problems)
    told = list(workflow.train(job))
    assert any("as noisy as the input" in event.message for event in told if isinstance(event, Warned))
    assert told[-1].result.bundle.exists()  # type: ignore[attr-defined]


def test_a_held_out_repeat_is_no_target_either(job: workflow.TrainJob) -> None:
    held = job.noisy[1].uid
    assert any(pair.clean.uid == held for pair in job.pairs)
    model = load_model("classic-small", "random", 0)
    reading = prepare(job.recipe, model.card, model.net.channels, job.noisy, job.pairs, {}, (held,), job.run)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            data = end.value
            break
    data.close()
    kept = [pair for pair in job.pairs if pair.noisy.uid == held or pair.clean.uid != held]
    assert 0 < len(kept) < len(job.pairs)
    assert len(data.items) == SLICES * len(kept)
    assert {data.items[i].series.uid for i in data.split.holdout} == {held}


def test_pairs_of_one_acquisition_say_that_they_teach_blur(job: workflow.TrainJob) -> None:
    blurred = replace(job, pairs=tuple(replace(pair, kind="shared-noise") for pair in job.pairs))
    assert [p.message for p in workflow.check(blurred) if p.where == ("targets",)] == [
        "Also teaches blur; same noise on both sides."
    ]
