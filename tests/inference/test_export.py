"""Every export does what the model does, at any size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aegui import recipes, workflow
from aegui.errors import UserError
from aegui.events import Progress, finish
from aegui.inference import export as module
from aegui.models import bundle
from aegui.models.card import Card
from aegui.models.slicenet import build
from aegui.models.zoo import load_model

MODELS = ["general-small", "classic-small", "monai-autoencoder", "monai-autoencoder-kl"]


@pytest.mark.parametrize("format", [format for format in workflow.FORMATS if format != "adapter"])
@pytest.mark.parametrize("model", MODELS)
def test_an_export_equals_the_model_at_every_size(model: str, format: str, tmp_path: Path) -> None:
    start = load_model(model)
    if start.card.weights is None:  # only what was trained is exported
        model = str(tmp_path / "model.aegui")
        bundle.save(Path(model), start.card, start.net, recipes.load("denoise"), "", {})
    result = finish(workflow.export(model, format, tmp_path / "exported"))
    assert result.path.is_file() and result.path.suffix == module.SUFFIX[format]
    assert result.verified and result.normalised <= 1e-4
    assert any(h % 8 or w % 8 for h, w in result.sizes) and len(set(result.sizes)) == 3


@pytest.mark.parametrize("format", ["onnx", "pt2", "torchscript"])
def test_a_model_for_colour_is_exported_for_colour(format: str, tmp_path: Path) -> None:
    options = {"channels": 3, "widths": [8, 16], "blocks": [1, 1]}
    card = Card(id="c", title="C", architecture="residual_autoencoder", options=options, noise_level=True)
    net = build(card).eval()
    torch.nn.init.normal_(net.net.decoder.out.weight, std=0.1)
    bundle.save(tmp_path / "c.aegui", card, net, None, "", {})
    path = finish(workflow.export(str(tmp_path / "c.aegui"), format, tmp_path / "exported")).path
    model = load_model(tmp_path / "c.aegui")
    image, level = torch.rand(1, 3, 40, 56), torch.tensor([0.1])
    with torch.inference_mode():
        expected = model.net.both(image, level)[0].numpy()
        found = module._WRITERS[format][1](path, model)(image, level)
    assert found.shape == (1, 3, 40, 56)
    np.testing.assert_allclose(found, expected, atol=module.LIMIT)
    assert "(N, 3, rows, columns)" in module._input(model) and "red, green, blue" in module._input(model)


@pytest.mark.parametrize("format", ["onnx", "pt2", "torchscript"])
def test_files_pad_and_crop_by_themselves_as_the_guide_says(format: str, tmp_path: Path) -> None:
    model = load_model("general-small")
    path = finish(workflow.export("general-small", format, tmp_path / "exported")).path
    run = module._WRITERS[format][1](path, model)
    small = [(1, 1), (8, 300)]  # a side of no more than the multiple
    for size in [(9, 9), (37, 53), *small]:
        image, level = module._example(model, size, 1, count=1)
        with torch.inference_mode():
            if format == "pt2" and size in small:
                with pytest.raises(AssertionError, match="Guard failed"):
                    run(image, level)
            else:
                expected = model.net.both(image, level)[0].numpy()
                np.testing.assert_allclose(run(image, level), expected, atol=module.LIMIT)


def test_weights_that_were_exported_come_back_with_their_card(tmp_path: Path) -> None:
    path = finish(workflow.export("ct-small", "safetensors", tmp_path / "mine.safetensors")).path
    ours, again = load_model("ct-small"), load_model(path)
    assert (again.card.intensity, again.card.modalities) == (ours.card.intensity, ("CT",))
    other = finish(workflow.export("classic-small", "safetensors", tmp_path / "other.safetensors")).path
    save_file(load_file(path), other, {"aegui.card": "{}"})
    with pytest.raises(UserError, match=r"other\.safetensors"):
        load_model(other)


def test_weights_are_not_exported_over_themselves(tmp_path: Path) -> None:
    path = finish(workflow.export("classic-small", "safetensors", tmp_path / "mine.safetensors")).path
    card = load_model(path).card
    own = path.rename(tmp_path / f"{card.id}.safetensors")
    before = own.read_bytes()
    with pytest.raises(UserError, match="is the model itself"):
        finish(workflow.export(str(own), "safetensors", tmp_path))
    assert own.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("format", module.FORMATS[:4])
def test_a_full_disk_is_said_and_nothing_else_happens(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(_path: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    monkeypatch.setattr(module.paths, "atomic", full)
    with pytest.raises(UserError, match=r"cannot be written") as told:
        finish(workflow.export("classic-small", format, tmp_path / "exported"))
    assert "No space left" in told.value.hint


def test_the_formats_of_the_window_and_the_exporter_are_the_same() -> None:
    assert workflow.FORMATS == module.FORMATS == tuple(module._WRITERS)


def test_a_model_without_adapters_has_no_adapter_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no adapters"):
        finish(workflow.export("classic-small", "adapter", tmp_path / "a"))
    assert not list(tmp_path.glob("a*"))


def test_a_file_that_differs_is_refused_and_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = module._WRITERS["safetensors"]

    def read_wrongly(path: Path, model: object) -> module.Run:
        run = read(path, model)  # type: ignore[arg-type]
        return lambda image, level: run(image, level) + 0.01

    monkeypatch.setitem(module._WRITERS, "safetensors", (write, read_wrongly))
    with pytest.raises(UserError, match="does not do what the model does"):
        finish(workflow.export("classic-small", "safetensors", tmp_path / "wrong.safetensors"))
    assert not list(tmp_path.glob("*wrong*"))


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no export format “tflite”"):
        finish(workflow.export("classic-small", "tflite", tmp_path / "a"))


def test_an_export_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        finish(workflow.export("classic-small", "safetensors", tmp_path / "file" / "model"))


def test_the_largest_difference_is_given_in_real_units(tmp_path: Path) -> None:
    result = finish(workflow.export("general-small", "onnx", tmp_path / "m.onnx"))
    assert result.unit == "HU" and result.max_difference == pytest.approx(400 * result.normalised)


def test_an_export_reports_progress(tmp_path: Path) -> None:
    events = list(workflow.export("classic-small", "safetensors", tmp_path / "m"))
    assert sum(isinstance(event, Progress) for event in events) >= 4
