"""Low-rank adapters: what they change, what they leave, and their files."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import recipes, workflow
from aegui.errors import UserError
from aegui.events import Step, finish
from aegui.models import adapter, bundle, lora
from aegui.models.names import shapes_of
from aegui.models.own import add
from aegui.models.zoo import load_model
from aegui.recipes.optimisers import LoRA
from aegui.training import optimisation
from tests.training.small import Small, classic, loss_of, recipe, residual, slices, train

ADAPTED = ("adaptation={kind: lora, rank: 2, alpha: 2.0, learning_rate: 1.0e-2}",)
MODELS = ["general-small", "classic-small", "monai-autoencoder"]


@pytest.mark.parametrize("ref", MODELS)
def test_a_model_with_fresh_adapters_computes_what_it_computed_without(ref: str) -> None:
    net = load_model(ref).net
    x, level = torch.rand(1, 1, 48, 40), torch.tensor([0.1])
    with torch.inference_mode():
        before = net(x, level)
    lora.attach(net, LoRA(), 0)
    with torch.inference_mode():
        assert torch.equal(net(x, level), before)
    assert set(lora.attached(net)) == set(lora.layers(net)) and lora.attached(net)


def test_an_adapted_weight_is_the_weight_plus_the_scaled_product() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 3, 2)
    low = lora.LowRank(weight, 2, 0.5)
    torch.nn.init.normal_(low.B)
    expected = weight.clone()
    for out in range(6):
        for column in range(5):
            for h in range(3):
                for w in range(2):
                    expected[out, column, h, w] += 0.5 * (low.B[out * 3 + h] @ low.A[:, column * 2 + w])
    torch.testing.assert_close(low(weight), expected)
    change = (low(weight) - weight).permute(0, 2, 1, 3).reshape(18, 10)
    assert torch.linalg.matrix_rank(change) == 2


def test_only_the_adapters_are_trained_and_the_loss_falls() -> None:
    net = residual()
    before = copy.deepcopy(net.net.state_dict())
    losses = train(net, recipe(*ADAPTED), 30)
    assert losses[-1] < 0.9 * losses[0]
    after = net.net.state_dict()
    for name, value in before.items():
        kept = name.replace(".weight", ".parametrizations.weight.original")
        assert torch.equal(after[kept if kept in after else name], value), name
    assert any(not torch.equal(before[name], value) for name, value in lora.merged(net).items())


def test_merged_weights_do_what_the_adapted_network_does() -> None:
    net, plain = residual(), residual()
    train(net, recipe(*ADAPTED), 5)
    state = lora.merged(net)
    assert list(state) == list(plain.net.state_dict())
    plain.net.load_state_dict(state)
    noisy, _ = slices()
    with torch.inference_mode():
        torch.testing.assert_close(plain.eval()(noisy), net.eval()(noisy), rtol=0, atol=1e-6)


def test_a_new_head_is_trained_at_the_rate_of_its_group() -> None:
    part = recipes.load("discriminative").with_set(["groups=[{match: head, learning_rate: 3.0e-3}]", *ADAPTED])
    optimiser, _ = optimisation.build(part, classic(classes=3), 1)
    assert optimisation.rates(optimiser) == {"adapters": 1e-2, "head": 3e-3}
    held = [p.shape for p in optimiser.param_groups[1]["params"]]
    assert held == [(3, 32), (3,)]


def test_adapters_can_be_put_on_some_layers_only() -> None:
    net = residual()
    lora.attach(net, LoRA(match="decoder.*"), 0)
    assert lora.attached(net) and all(name.startswith("decoder.") for name in lora.attached(net))
    with pytest.raises(UserError, match="“middle” matches no convolution") as raised:
        lora.attach(residual(), LoRA(match="middle"), 0)
    assert "encoder.stem" in raised.value.hint


def test_the_same_seed_gives_the_same_adapters() -> None:
    def drawn(seed: int) -> torch.Tensor:
        net = classic()
        lora.attach(net, LoRA(), seed)
        return next(iter(lora.attached(net).values())).A

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_an_adapted_run_goes_on_to_the_bit() -> None:
    whole = Small(residual(), recipe(*ADAPTED))
    whole.run(0, 8)
    first = Small(residual(), recipe(*ADAPTED))
    first.run(0, 3)
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second = Small(residual(), recipe(*ADAPTED))
    second.load(torch.load(buffer, weights_only=True))
    second.run(3, 8)
    one, two = lora.merged(whole.net), lora.merged(second.net)
    assert all(torch.equal(one[name], two[name]) for name in one)


# ---------------------------------------------------------------- files


def adapted(path: Path, ref: str = "general-small") -> tuple[Path, torch.Tensor]:
    """A bundle of a model with adapters, and what it computes."""
    model = load_model(ref)
    part = recipe(*ADAPTED)
    train(model.net, part, 3)
    card = model.card.model_copy(update={"id": "mine", "title": "Mine"})
    bundle.save(path, card, model.net, part, "", {}, base=model.card)
    noisy, _ = slices()
    with torch.inference_mode():
        return path, model.net.eval()(noisy, torch.full((4,), 0.1))


def computes(ref: str | Path) -> torch.Tensor:
    noisy, _ = slices()
    with torch.inference_mode():
        return load_model(ref).net(noisy, torch.full((4,), 0.1))


def test_a_bundle_holds_merged_weights_and_loads_like_any_other(tmp_path: Path) -> None:
    file, expected = adapted(tmp_path / "model.aegui")
    torch.testing.assert_close(computes(file), expected, rtol=0, atol=1e-6)
    assert bundle.self_test(file) < 1e-5
    assert load_model(file).card.parameters == load_model("general-small").card.parameters
    assert shapes_of(file) == shapes_of("general-small")


def test_an_adapter_file_finds_its_base_among_the_known_models(tmp_path: Path) -> None:
    file, _ = adapted(tmp_path / "model.aegui")
    small = tmp_path / "adapter.safetensors"
    assert small.stat().st_size < 0.05 * file.stat().st_size
    model = load_model(small)
    assert (model.card.title, model.recipe.id if model.recipe else None) == ("Mine", "denoise")
    assert torch.equal(computes(small), computes(file))
    assert load_model(small).card.id == "mine"


def test_an_adapter_is_exported_verified_and_works_where_it_is_taken(tmp_path: Path) -> None:
    file, _ = adapted(tmp_path / "model.aegui")
    result = finish(workflow.export(str(file), "adapter", tmp_path))
    assert result.path == tmp_path / "mine.adapter.safetensors" and result.verified
    assert torch.equal(computes(result.path), computes(file))
    assert result.path.read_bytes() == (tmp_path / "adapter.safetensors").read_bytes()
    again = finish(workflow.export(str(result.path), "adapter", tmp_path / "again"))
    assert again.path.read_bytes() == result.path.read_bytes()


def test_an_adapter_of_general_small_with_rank_four_takes_154_kilobytes() -> None:
    model = load_model("general-small")
    lora.attach(model.net, LoRA(), 0)
    size = len(adapter.pack(model.net, model.card, model.card, recipe(*ADAPTED)))
    assert size == pytest.approx(154_000, rel=0.03)


def test_an_adapter_without_its_base_says_which_model_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted(tmp_path / "model.aegui")
    monkeypatch.setattr(adapter, "cards", list)
    with pytest.raises(UserError, match="adapter is for the model “General, small”") as raised:
        load_model(tmp_path / "adapter.safetensors")
    assert "--add" in raised.value.hint


def test_an_adapter_of_ones_own_model_works_once_that_is_added(tmp_path: Path) -> None:
    torch.manual_seed(4)
    torch.save(classic().net.state_dict(), tmp_path / "own.pt")
    file, _ = adapted(tmp_path / "model.aegui", str(tmp_path / "own.pt"))
    with pytest.raises(UserError, match="adapter is for the model “own”"):
        load_model(tmp_path / "adapter.safetensors")
    add(tmp_path / "own.pt")
    assert torch.equal(computes(tmp_path / "adapter.safetensors"), computes(file))


def test_a_damaged_adapter_file_is_refused_in_plain_words(tmp_path: Path) -> None:
    adapted(tmp_path / "model.aegui")
    file = tmp_path / "adapter.safetensors"
    content = file.read_bytes()
    for cut in (40, len(content) // 2, len(content) - 5):
        file.write_bytes(content[:cut])
        with pytest.raises(UserError):
            load_model(file)
    file.write_bytes(content.replace(b"encoder.stem", b"encoder.what"))
    with pytest.raises(UserError, match="does not fit"):
        load_model(file)


def test_a_run_with_adapters_writes_both_files_and_resumes_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for case in range(3):
        folder = tmp_path / "scans" / f"case{case}"
        folder.mkdir(parents=True)
        np.save(folder / "volume.npy", rng.normal(200, 30, (3, 40, 40)).astype(np.float32))
    series = finish(workflow.scan([tmp_path / "scans"])).series
    part = recipes.load("denoise").with_set([*ADAPTED, "run.epochs=2", "run.batch_size=2", "run.patch_size=32"])
    job = workflow.TrainJob("general-small", part, series, tmp_path / "whole", device="cpu")
    whole = finish(workflow.train(job))
    events = workflow.train(replace(job, run=tmp_path / "cut"))
    for event in events:
        if isinstance(event, Step) and event.epoch == 2:
            assert event.lr.keys() == {"adapters"}
            break
    events.close()  # type: ignore[attr-defined]
    resumed = finish(workflow.train(replace(job, run=tmp_path / "cut", resume=True)))
    one, two = (load_model(result.bundle).net.state_dict() for result in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(computes(whole.run / "adapter.safetensors"), computes(whole.bundle))
    assert loss_of(load_model(whole.bundle).net) != loss_of(load_model("general-small").net)
