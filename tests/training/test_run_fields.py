"""Length, batch, accumulation, precision, layout, mixup and kept epochs take effect; the same seed repeats a run."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from aegui import recipes, workflow
from aegui.data.draw import Batch
from aegui.events import Epoch, Noted, Progress, Started, Step, Stop
from aegui.models.networks import ConvAutoencoder, ResidualAutoencoder
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model
from aegui.recipes import Recipe
from aegui.training.length import Length, length_of
from aegui.training.losses import Context
from aegui.training.mixup import blended
from aegui.training.objective import Objective
from aegui.training.settle import steps_within
from aegui.training.step import to_device, train_step
from tests.training.runs import assert_same_weights, of, run, short_job

CPU = torch.device("cpu")


def batch(count: int, side: int = 32, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    clean = rng.random((count, 1, side, side), dtype=np.float32)
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)
    scale = np.tile(np.asarray([0, 1], np.float32), (count, 1))
    return Batch(noisy, clean, np.full(count, 0.1, np.float32), rng.integers(0, 2, count), scale)


def part(whole: Batch, rows: slice) -> Batch:
    return Batch(**{name: None if value is None else value[rows] for name, value in vars(whole).items()})


# ---------------------------------------------------------------- length


def test_steps_make_the_last_epoch_shorter(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.steps=8"])
    events, _ = run(job)
    assert (of(events, Started)[0].epochs, of(events, Started)[0].steps_per_epoch) == (3, 3)
    assert [(s.epoch, s.step) for s in of(events, Step)] == [
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 2),
        (2, 3),
        (3, 1),
        (3, 2),
    ]
    last = of(events, Epoch)[-1]
    steps = [s.loss for s in of(events, Step) if s.epoch == 3]
    assert last.train["loss"] == pytest.approx(np.mean(steps))


def test_steps_take_the_place_of_epochs() -> None:
    plan = recipes.load("denoise").with_set(["run.steps=100", "run.epochs=2", "run.batch_size=4", "run.accumulate=2"])
    assert length_of(plan, 24) == Length(per_epoch=3, total=100)
    assert Length(3, 100).epochs == 34 and Length(3, 100).steps(34) == 1


def test_a_time_holds_whole_epochs_with_their_validation_and_a_rest() -> None:
    assert steps_within(100, step=1, validation=10, per_epoch=20) == 3 * 20
    assert steps_within(105, step=1, validation=10, per_epoch=20) == 3 * 20 + 5
    assert steps_within(1, step=5, validation=10, per_epoch=20) == 1


def test_minutes_become_steps_that_a_second_run_repeats_exactly(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.minutes=0.05", "run.epochs=1"])
    began = time.monotonic()
    events, result = run(job)
    assert 0.2 < result.seconds < 12  # 3 s are asked for; other programs may run beside this one
    assert time.monotonic() - began < 60
    written = recipes.load(result.run / "recipe.yaml")
    assert written.run.minutes is None and written.run.steps == len(of(events, Step)) > 3
    assert any("steps fit into 0.05 minutes" in note.message for note in of(events, Noted))
    _, again = run(replace(job, recipe=written, run=tmp_path / "again"))
    assert_same_weights(result.bundle, again.bundle)


def test_a_run_in_minutes_resumes_with_the_steps_it_was_given(tmp_path: Path) -> None:
    job = short_job(tmp_path, ["run.minutes=0.05"])
    events = workflow.train(job)
    next(event for event in events if isinstance(event, Epoch))
    events.close()  # type: ignore[attr-defined]
    steps = recipes.load(job.run / "recipe.yaml").run.steps
    told, _ = run(replace(job, resume=True))
    assert recipes.load(job.run / "recipe.yaml").run.steps == steps
    assert of(told, Started)[0].epochs == -(-steps // 3)


def test_an_empty_batch_is_what_memory_allows_up_to_the_training_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = short_job(tmp_path, ["run.batch_size=null", "run.epochs=1"])
    _, result = run(job)
    assert recipes.load(result.run / "recipe.yaml").run.batch_size == 12
    monkeypatch.setattr("aegui.training.probe.free_bytes", lambda device: 600_000)
    _, small = run(replace(job, run=tmp_path / "small"))
    assert 1 <= (recipes.load(small.run / "recipe.yaml").run.batch_size or 0) < 12


def test_epochs_are_kept_as_asked(tmp_path: Path) -> None:
    _, result = run(short_job(tmp_path, ["run.epochs=5", "run.keep_every=2"]))
    kept = sorted((result.run / "epochs").iterdir())
    assert [file.name for file in kept] == ["epoch-0002.safetensors", "epoch-0004.safetensors"]
    one, other = (load_file(file) for file in kept)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert load_model(kept[0]).net.net.state_dict().keys() == one.keys()


# ---------------------------------------------------------------- steps


def gradients(net: SliceNet, recipe: Recipe, first: Batch, more: tuple[Batch, ...]) -> list[torch.Tensor]:
    optimiser = torch.optim.SGD([{"params": list(net.parameters()), "lr": 0.0}])
    train_step(net, Objective(recipe.losses, Context(deepcopy(net), CPU)), optimiser, first, CPU, recipe, more=more)
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def test_accumulated_gradients_equal_those_of_the_big_batch() -> None:
    torch.manual_seed(0)
    net = SliceNet(ConvAutoencoder(1, 2, "pooled"), 1, 4)
    whole = batch(8)
    plan = recipes.load("discriminative")
    at_once = gradients(net, plan, whole, ())
    parts = [part(whole, np.s_[k : k + 2]) for k in (0, 2, 4, 6)]
    added = gradients(net, plan, parts[0], tuple(parts[1:]))
    for a, b in zip(at_once, added, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)
    assert max(float(a.abs().max()) for a in at_once) > 1e-3


def test_accumulation_draws_so_many_batches_for_a_step(tmp_path: Path) -> None:
    events, _ = run(short_job(tmp_path, ["run.accumulate=3", "run.batch_size=2", "run.epochs=1"]))
    assert len(of(events, Step)) == 2  # 12 slices


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_layout_is_as_asked(channels_last: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[bool] = []
    outputs = SliceNet.outputs

    def spy(self: SliceNet, x: torch.Tensor, level: torch.Tensor | None = None) -> object:
        if self.training:
            seen.append(self.net.encoder[2].weight.is_contiguous(memory_format=torch.channels_last))  # type: ignore[index,union-attr,operator]
        return outputs(self, x, level)

    monkeypatch.setattr(SliceNet, "outputs", spy)
    run(short_job(tmp_path, [f"run.channels_last={channels_last}", "run.epochs=1"]))
    assert seen and set(seen) == {channels_last}


def test_bf16_computes_the_network_in_halves_and_the_loss_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = SliceNet(ResidualAutoencoder(1, (8, 16), (1, 1)), 1, 4)
    kinds: list[torch.dtype] = []
    net.net.encoder.stem.register_forward_hook(lambda m, i, o: kinds.append(o.dtype))  # type: ignore[union-attr,operator]
    plan = recipes.load("denoise").with_set(["run.precision=bf16"])
    optimiser = torch.optim.Adam([{"params": list(net.parameters()), "lr": 1e-3}])
    objective = Objective(plan.losses, Context(deepcopy(net), CPU))
    losses = [train_step(net, objective, optimiser, batch(4), CPU, plan).loss for _ in range(20)]
    assert set(kinds) == {torch.bfloat16}
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_mixup_blends_inputs_targets_and_both_labels() -> None:
    whole = batch(6, seed=3)
    torch.manual_seed(2)
    mixed, blend = blended(to_device(whole, CPU), 0.4)
    assert 0 < blend.share < 1
    torch.manual_seed(2)
    torch.distributions.Beta(0.4, 0.4).sample()
    order = torch.randperm(6)
    expected = blend.share * whole.clean + (1 - blend.share) * whole.clean[order]
    np.testing.assert_allclose(mixed.clean.numpy(), expected, rtol=1e-5)
    assert torch.equal(blend.labels, torch.from_numpy(whole.label)[order])
    assert torch.equal(mixed.label, torch.from_numpy(whole.label))


def test_the_loss_of_a_blend_is_that_of_both_labels() -> None:
    torch.manual_seed(0)
    net = SliceNet(ConvAutoencoder(1, 2, "pooled"), 1, 4)
    plan = recipes.load("discriminative").with_set(["regularisation.mixup=0.4"])
    whole = batch(6, seed=3)
    optimiser = torch.optim.SGD([{"params": list(net.parameters()), "lr": 0.0}])
    step = train_step(net, Objective(plan.losses, Context(deepcopy(net), CPU)), optimiser, whole, CPU, plan, seed=5)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        mixed, blend = blended(to_device(whole, CPU), 0.4)
        found = net.outputs(mixed.noisy, mixed.level)
        assert found.logits is not None
        ce = torch.nn.functional.cross_entropy
        both = blend.share * ce(found.logits, mixed.label) + (1 - blend.share) * ce(found.logits, blend.labels)
        expected = torch.nn.functional.mse_loss(found.image, mixed.clean) + 0.5 * both
    assert step.loss == pytest.approx(float(expected), rel=1e-5)


def test_too_little_memory_is_a_sentence_with_a_batch_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegui.errors import UserError

    def fails(*given: object, **more: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr("aegui.training.loop.train_step", fails)
    monkeypatch.setattr("aegui.training.probe.free_bytes", lambda device: 1_500_000)
    with pytest.raises(UserError, match=r"A batch of 4 patches of 32 × 32 px does not fit into memory. Try a batch of"):
        run(short_job(tmp_path))


# ---------------------------------------------------------------- the same again

REPEATED = {
    "EMA and dropout": ["averaging={kind: ema}", "regularisation.dropout=0.2"],
    "SWA and mixup": ["averaging={kind: swa, begins: 0.2}", "regularisation.mixup=0.3"],
    "LoRA": ["adaptation={kind: lora}"],
    "adversarial": ["losses=[{kind: l1}, {kind: adversarial}]"],
    "classes with mixup": ["losses=[{kind: mse}, {kind: ce}, {kind: supcon}]", "regularisation.mixup=0.3"],
    "blind spot": ["targets={kind: noise2void}", "losses=[{kind: mse}]"],
    "minutes of L2-SP": ["groups=[{match: rest, learning_rate: 1e-3, l2_sp: 0.1, layer_decay: 0.5}]", "run.steps=7"],
    "L-BFGS": ["optimiser={kind: lbfgs}", "regularisation.dropout=0.1"],
    "a plateau": ["schedule={kind: plateau, patience: 1}", "run.accumulate=2", "run.batch_size=2"],
}


@pytest.mark.parametrize("name", REPEATED)
def test_an_exported_recipe_gives_the_same_weights_again_and_after_breaks(name: str, tmp_path: Path) -> None:
    job = short_job(tmp_path, REPEATED[name])
    job = replace(job, model="general-small", init="pretrained")
    _, first = run(job)
    exported = load_model(first.bundle).recipe
    assert exported is not None and exported == recipes.load(first.run / "recipe.yaml")
    torch.rand(3)  # whatever else draws random numbers
    _, second = run(replace(job, recipe=exported, run=tmp_path / "second"))
    assert_same_weights(first.bundle, second.bundle)
    events = workflow.train(replace(job, run=tmp_path / "third"))
    next(event for event in events if isinstance(event, Step) and (event.epoch, event.step) == (2, 1))
    events.close()  # type: ignore[attr-defined]
    events = workflow.train(replace(job, run=tmp_path / "third", resume=True))
    told = (event for event in events if isinstance(event, Progress) and event.what == "Validating")
    next(told)
    next(told)
    events.throw(Stop())  # type: ignore[attr-defined]
    list(events)
    _, third = run(replace(job, run=tmp_path / "third", resume=True))
    assert_same_weights(first.bundle, third.bundle)
    last = [load_file(folder / "best.safetensors") for folder in (first.run, third.run)]
    assert last[0].keys() == last[1].keys()
