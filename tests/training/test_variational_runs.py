"""Whole runs of a variational model with a judge beside it: resumed to the bit, saved, loaded, used, exported."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import recipes, workflow
from aegui.events import Step, finish
from aegui.imaging import open_series
from aegui.models import bundle
from aegui.models.zoo import import_checkpoint, load_model
from aegui.recipes import Recipe
from tests.training.looks import image


@pytest.fixture
def job(tmp_path: Path) -> workflow.TrainJob:
    for number, patient in enumerate("abc"):
        (tmp_path / "scans" / patient).mkdir(parents=True)
        slices = 300 * image(2, 32, noise=0.01, seed=number)[:, 0].numpy()
        np.save(tmp_path / "scans" / patient / "volume.npy", slices)
    found = finish(workflow.scan([tmp_path / "scans"]))
    values = recipes.load("denoise").model_dump(mode="json")
    values["losses"] = [{"kind": "mse"}, {"kind": "kl", "weight": 0.01}, {"kind": "adversarial", "starts": 1}]
    recipe = Recipe.parse(values).with_set(
        ["run.epochs=3", "run.batch_size=2", "run.patch_size=16", "groups.rest.learning_rate=1e-3"]
    )
    return workflow.TrainJob("monai-autoencoder-kl", recipe, found.series, tmp_path / "run", device="cpu")


def test_a_resumed_run_draws_the_same_latents_and_has_the_same_judge(job: workflow.TrainJob, tmp_path: Path) -> None:
    whole = finish(workflow.train(job))
    other = replace(job, run=tmp_path / "other")
    with contextlib.closing(workflow.train(other)) as events:  # type: ignore[type-var]
        for event in events:
            if isinstance(event, Step) and (event.epoch, event.step) == (2, 2):
                break
    resumed = finish(workflow.train(replace(other, resume=True)))
    assert (whole.run / "steps.csv").read_text() == (resumed.run / "steps.csv").read_text()
    one, two = (load_model(result.bundle).net.state_dict() for result in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_model_of_a_run_is_loaded_used_and_exported(job: workflow.TrainJob, tmp_path: Path) -> None:
    result = finish(workflow.train(job))
    assert bundle.self_test(result.bundle) < 1e-5
    source = open_series(job.noisy[0])
    try:
        first, again = (workflow.preview(str(result.bundle), source, 0) for _ in range(2))
    finally:
        source.close()
    assert first.shape == (32, 32) and bool(np.isfinite(first).all())
    np.testing.assert_array_equal(first, again)  # nothing is drawn outside training
    exported = finish(workflow.export(str(result.bundle), "safetensors", tmp_path / "weights"))
    card, net, fit = import_checkpoint(exported.path)
    assert fit.complete and card.architecture == "monai_autoencoder_kl" and card.variational
    x = image(1, 32)
    with torch.inference_mode():
        torch.testing.assert_close(net.eval()(x), load_model(result.bundle).net(x))


def test_the_latent_is_drawn_only_while_training() -> None:
    net = load_model("monai-autoencoder-kl", "random", 3).net
    x = image(1, 32)
    with torch.no_grad():
        torch.manual_seed(0)
        one, two = net.train().outputs(x), net.outputs(x)
        still = net.eval().outputs(x)
    assert not torch.equal(one.image, two.image)
    assert one.moments is not None and two.moments is not None and still.moments is not None
    assert torch.equal(one.moments[0], two.moments[0]) and torch.equal(still.latent, still.moments[0])
    assert torch.equal(still.image, net.outputs(x).image.detach())
