"""What does not fit the model is named before the start, quickly and without torch."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from aegui import recipes, workflow
from aegui.models import bundle, names
from aegui.models.zoo import load_model
from aegui.training import groups
from aegui.workflow.optimiser_problems import optimiser_problems

MODELS = ["general-small", "classic-small", "monai-autoencoder", "monai-autoencoder-kl"]


def found(*settings: str, model: str = "general-small", preset: str = "denoise") -> list[tuple[str, tuple, bool]]:  # type: ignore[type-arg]
    job = workflow.TrainJob(model, recipes.load(preset).with_set(settings), (), Path("run"))
    return [(message, where, blocking) for message, _, where, blocking in optimiser_problems(job)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("preset", ["denoise", "layerwise", "discriminative"])
def test_the_founding_recipes_have_no_such_problem(model: str, preset: str) -> None:
    assert not found(model=model, preset=preset)


@pytest.mark.parametrize("model", MODELS)
def test_names_from_the_file_are_those_of_the_network(model: str) -> None:
    net = load_model(model).net
    shapes = names.shapes_of(model)
    assert shapes is not None
    assert shapes == {name: tuple(value.shape) for name, value in net.net.state_dict().items()}
    assert names.parameters(shapes) == [name for name in shapes if name in dict(net.net.named_parameters())]
    assert names.norms(shapes) == {name for name in groups.norm_layers(net) if f"{name}.weight" in shapes}


def test_a_pattern_that_matches_nothing_is_named_with_examples() -> None:
    job = workflow.TrainJob(
        "general-small",
        recipes.load("denoise").with_set(["groups=[{match: middle.*}, {match: rest}]"]),
        (),
        Path("run"),
    )
    ((message, hint, where, blocking),) = optimiser_problems(job)
    assert (where, blocking) == (("groups", 0, "match"), True)
    assert "“middle.*” matches no parameter" in message and "encoder.stem.weight" in hint


def test_head_rates_without_a_head_are_named() -> None:
    by = "groups=[{match: head}, {match: rest}]"
    ((message, where, blocking),) = found(by)
    assert "no head" in message and where == ("groups", 0, "match") and not blocking
    assert not found(by, preset="discriminative")


def test_a_group_that_others_leave_nothing_is_named() -> None:
    ((message, where, _),) = found("groups=[{match: encoder}, {match: encoder.stages.*}, {match: rest}]")[:1]
    assert "left with nothing" in message and where == ("groups", 1, "match")
    ((message, _, _),) = found("groups=[{match: norm}, {match: rest}]")
    assert "no normalisation layers" in message


def test_a_recipe_that_trains_nothing_of_the_model_is_named() -> None:
    assert found("groups=[{match: head}]")[-1][1:] == (("groups",), True)
    ((message, _, blocking),) = found("groups=[{match: rest, unfreeze_epoch: 5}]")
    assert "Nothing is trained before epoch 5" in message and blocking


@pytest.mark.parametrize("choice", ["statistics", "freeze", "recalibrate"])
def test_a_batch_norm_choice_on_a_model_without_it_is_named(choice: str) -> None:
    ((message, where, blocking),) = found(f"regularisation.batch_norm={choice}")
    assert "no batch normalisation" in message and where == ("regularisation", "batch_norm") and not blocking


def test_groups_beside_adapters_are_named() -> None:
    adapted = "adaptation={kind: lora}"
    assert not found(adapted)
    assert not found(adapted, preset="discriminative")
    told = found(adapted, preset="layerwise")
    assert [where for _, where, _ in told] == [("groups", 0), ("groups", 1)]
    assert all("no effect" in message and not blocking for message, _, blocking in told)


def test_adapters_for_layers_that_are_not_there_or_too_large_are_named() -> None:
    ((message, where, blocking),) = found("adaptation={kind: lora, match: bridge}")
    assert "matches no convolution" in message and where == ("adaptation", "lora", "match") and blocking
    assert not found("adaptation={kind: lora, rank: 16}")
    ((message, _, blocking),) = found("adaptation={kind: lora, rank: 256}")
    assert "as large as the layers" in message and not blocking


def test_lbfgs_with_several_rates_is_named_as_the_run_would() -> None:
    told = found("optimiser={kind: lbfgs}", preset="layerwise")
    assert [(where, blocking) for _, where, blocking in told] == [
        (("optimiser",), True),
        (("regularisation", "gradient_clip"), False),
    ]
    assert not found("optimiser={kind: lbfgs}")


def test_bundles_and_checkpoints_are_read_too(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = load_model("classic-small")
    bundle.save(tmp_path / "m.aegui", model.card, model.net, recipes.load("denoise"), "", {})
    save_file(model.net.net.state_dict(), tmp_path / "m.safetensors")
    torch.save(model.net.net.state_dict(), tmp_path / "m.pt")
    by = "groups=[{match: nothing.*}, {match: rest}]"
    for name in ("m.aegui", "m.safetensors"):
        assert len(found(by, model=str(tmp_path / name))) == 1
    # Names in a .pt are known only to torch: the run itself says what is wrong.
    assert not found(by, model=str(tmp_path / "m.pt"))
    (tmp_path / "m.safetensors").write_bytes(b"\xff" * 100)
    assert not found(by, model=str(tmp_path / "m.safetensors"))
    assert not found(by, model="no-such-model")


def test_the_look_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from aegui import recipes; from aegui.workflow.adapt import TrainJob\n"
        "from aegui.workflow.optimiser_problems import optimiser_problems\n"
        "for model in ('general-small', 'monai-autoencoder'):\n"
        "    job = TrainJob(model, recipes.load('layerwise'), (), Path('run'))\n"
        "    assert not list(optimiser_problems(job))\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    found()
    began = time.process_time()
    for _ in range(10):
        found("groups=[{match: encoder.*}, {match: rest}]")
    assert (time.process_time() - began) / 10 < 0.05
