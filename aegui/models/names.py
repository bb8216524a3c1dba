"""Names of a model's parameters, read from the heads of its files: neither torch nor weights are loaded."""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from aegui.models.library import file_of, is_file

Shapes = Mapping[str, tuple[int, ...]]

_known: dict[tuple[Path, int], Shapes] = {}
ADAPTER = "adapter.safetensors"  # low-rank adapters, in a bundle and beside it
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def part_of(name: str) -> str:
    """ "encoder", "decoder", "head" or "rest" for a parameter name."""
    first = name.split(".", 1)[0]
    if first in ("head", "classifier"):
        return "head"
    return first if first in ("encoder", "decoder") else "rest"


def norms(shapes: Shapes) -> frozenset[str]:
    """Layers that normalise: weight and bias are vectors, unlike those of convolutions and activations."""
    layers = (name.removesuffix(".weight") for name, shape in shapes.items() if name.endswith(".weight"))
    return frozenset(
        layer for layer in layers if len(shapes[f"{layer}.weight"]) == 1 == len(shapes.get(f"{layer}.bias", ()))
    )


def has_batch_norm(shapes: Shapes) -> bool:
    """Whether any layer keeps running statistics."""
    return any(name.endswith(".running_mean") for name in shapes)


def parameters(shapes: Iterable[str]) -> list[str]:
    """Names that are trained, in the file's order."""
    return [name for name in shapes if not name.endswith(_BUFFERS)]


def has_adapter(ref: str | Path) -> bool:
    """Whether a model was trained with low-rank adapters, which can be exported by themselves."""
    file = Path(str(ref))
    if file.name.endswith(".adapter.safetensors"):
        return file.is_file()
    if file.suffix != ".aegui":
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return ADAPTER in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def shapes_of(ref: str | Path) -> Shapes | None:
    """Shape by name of a model's parameters and statistics; None where only running its code could tell."""
    name = str(ref)
    file = Path(name)
    if not is_file(name):
        from aegui.models.card import Card

        card = Card.load_known(file_of(name))
        if card.weights is None:
            return _built(card)
        file = file_of(name).parent / card.weights
    if file.suffix not in (".safetensors", ".aegui") or not file.is_file():
        return None
    key = (file, file.stat().st_mtime_ns)
    if key not in _known:
        found = _read(file)
        if found is None:
            return None
        _known[key] = found
    return _known[key]


def _read(file: Path) -> Shapes | None:
    try:
        if file.suffix == ".safetensors":
            with file.open("rb") as stream:
                return _header(stream)
        with zipfile.ZipFile(file) as bundle, bundle.open("weights.safetensors") as stream:
            return _header(stream)
    except (OSError, ValueError, KeyError, AttributeError, struct.error, zipfile.BadZipFile):
        return None


def _header(stream: IO[bytes]) -> Shapes:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > 2**24:
        raise ValueError("not a safetensors file")
    entries = json.loads(stream.read(length))
    if "aegui.adapter" in entries.get("__metadata__", {}):
        raise ValueError("an adapter: its model is another file")
    return {name: tuple(entry["shape"]) for name, entry in entries.items() if name != "__metadata__"}


def _built(card: object) -> Shapes | None:
    # Building imports torch, which a check before the start must not be the first to do.
    if "torch" not in sys.modules:
        return None
    import torch

    from aegui.models.card import Card
    from aegui.models.slicenet import build

    assert isinstance(card, Card)
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build(card).net.state_dict().items()}
