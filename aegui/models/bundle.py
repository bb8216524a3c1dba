"""The bundle `model.aegui`: one zip with weights, card, recipe, metrics, versions, split hashes and a self-test.

No slice of the user's is inside; the split holds salted hashes whose key stays in the run folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import platform
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from aegui import __version__, paths
from aegui.errors import UserError
from aegui.models import adapter
from aegui.models.card import Card
from aegui.models.checkpoint import apply
from aegui.models.lora import attached, merged
from aegui.models.names import ADAPTER, parameters
from aegui.models.slicenet import SliceNet, build
from aegui.recipes import Recipe

if TYPE_CHECKING:
    from aegui.models.zoo import Model

TEST_SIDE = 64


def versions() -> dict[str, str]:
    """What the model was made with."""
    packages = ("torch", "monai", "numpy", "pydicom", "SimpleITK", "scikit-image")
    return {
        "aegui": __version__,
        "python": platform.python_version(),
        "platform": platform.system(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def test_input(card: Card) -> tuple[np.ndarray[Any, np.dtype[np.float32]], float]:
    """A generated slice in normalised units (1, 1, 64, 64) and its noise level; nothing of the user's.

    Models that see neighbours get those too, (1, 2·neighbours + 1, 64, 64): the same with other noise.
    """
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:TEST_SIDE, :TEST_SIDE] / TEST_SIDE
    image = 0.5 + 0.25 * np.sin(9 * x) * np.cos(7 * y) + 0.2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.08)
    level = 0.05
    slices = 2 * card.neighbours + 1
    return (image + rng.normal(0, level, (slices, *image.shape))).astype(np.float32)[None], level


def run_test(net: SliceNet, card: Card) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The network's output for the generated input."""
    x, level = test_input(card)
    with torch.inference_mode():
        result = net.cpu().eval()(torch.from_numpy(x), torch.tensor([level]))
    return np.asarray(result.numpy(), dtype=np.float32)


def _npy(array: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def save(
    path: Path,
    card: Card,
    net: SliceNet,
    recipe: Recipe | None,
    metrics: str,
    split: Mapping[str, list[str]],
    base: Card | None = None,
) -> Card:
    """Write a bundle atomically; returns the card as stored. metrics: the run's CSV. split: part → salted hashes.

    recipe: that made the model, None if it is not known.
    Adapters are merged into the weights. base: of the model they were put on; then they are kept apart as well, in
    the bundle and in a file of their own beside it.
    """
    from safetensors.torch import save as to_bytes

    net.cpu()
    state = {k: v.detach().contiguous() for k, v in merged(net).items()}
    weights = to_bytes(state)
    card = card.model_copy(
        update={
            "weights": "weights.safetensors",
            "sha256": hashlib.sha256(weights).hexdigest(),
            "parameters": sum(state[name].numel() for name in parameters(state)),
        }
    )
    content = {
        "card.yaml": card.to_yaml().encode(),
        "weights.safetensors": weights,
        **({"recipe.yaml": recipe.to_yaml().encode()} if recipe else {}),
        "metrics.csv": metrics.encode(),
        "split.json": json.dumps(split, indent=1).encode(),
        "versions.json": json.dumps(versions(), indent=1).encode(),
        "test_input.npy": _npy(test_input(card)[0]),
        "test_output.npy": _npy(run_test(net, card)),
    }
    if base is not None and recipe is not None and attached(net):
        content[ADAPTER] = adapter.pack(net, base, card, recipe)
        with paths.atomic(path.with_name(ADAPTER)) as temporary:
            temporary.write_bytes(content[ADAPTER])
    with paths.atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in content.items():
            bundle.writestr(name, data)
    return card


def _open(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Check the name of the model file.")
    try:
        with zipfile.ZipFile(path) as bundle:
            return {name: bundle.read(name) for name in bundle.namelist()}
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:
        raise UserError(f"{path.name} is not a model bundle.", f"It may be cut short. ({error})") from None


def _spec(content: dict[str, bytes], name: str, path: Path) -> Any:
    try:
        return yaml.safe_load(content[name].decode())
    except (KeyError, UnicodeDecodeError, yaml.YAMLError):
        raise UserError(f"{path.name} is not a complete model bundle: {name} is missing or damaged.") from None


def split(path: Path) -> dict[str, list[str]]:
    """The salted hashes of slices by the part of the run that they were in."""
    try:
        parts: dict[str, list[str]] = json.loads(_open(path)["split.json"])
    except (KeyError, ValueError):
        raise UserError(f"{path.name} is not a complete model bundle: split.json is missing or damaged.") from None
    return parts


def read_adapter(path: Path) -> bytes | None:
    """The adapters of a bundle, as their own file holds them; None where all weights were trained."""
    return _open(path).get(ADAPTER)


def read(path: Path) -> Model:
    """The model in a bundle; its weights are checked against their hash."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    from aegui.models.zoo import Model

    content = _open(path)
    card = Card.parse(_spec(content, "card.yaml", path), path.name)
    recipe = Recipe.parse(_spec(content, "recipe.yaml", path), path.name) if "recipe.yaml" in content else None
    weights = content.get("weights.safetensors", b"")
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise UserError(f"The weights in {path.name} were changed or damaged.", "Use another copy of the file.")
    try:
        tensors = from_bytes(weights)
    except SafetensorError as error:
        raise UserError(f"The weights in {path.name} cannot be read.", f"({error})") from None
    net = build(card)
    fit = apply(net, dict(tensors))
    if not fit.complete:
        raise UserError(f"The weights in {path.name} do not fit its card: {fit.words()}.")
    return Model(card, net.eval(), str(path), recipe)


def self_test(path: Path) -> float:
    """Largest difference between the stored and the recomputed test output, in normalised units."""
    content = _open(path)
    model = read(path)
    expected = np.load(io.BytesIO(content["test_output.npy"]), allow_pickle=False)
    return float(np.abs(run_test(model.net, model.card) - expected).max())
