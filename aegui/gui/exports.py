"""Exports as Deliver lists them: what each is for, and the jobs that write and check them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aegui import paths
from aegui.errors import UserError
from aegui.events import Done, Event, Progress


@dataclass(frozen=True)
class Export:
    """One card. kind: as workflow.export names it, or “bundle”."""

    kind: str
    title: str
    icon: str
    about: str
    suffix: str


EXPORTS = (
    Export("bundle", "Bundle", "package", "Opens in this app", ".aegui"),
    Export("onnx", "ONNX", "hexagon", "Runs without Python", ".onnx"),
    Export("torchscript", "TorchScript", "flame", "For PyTorch and C++", ".ts"),
    Export("pt2", "PyTorch pt2", "flame", "Successor of TorchScript", ".pt2"),
    Export("safetensors", "safetensors", "layers", "Weights and model card", ".safetensors"),
    Export("monai", "MONAI bundle", "boxes", "With inference config", ".zip"),
    Export("adapter", "Adapter", "diff", "What was added to the base model", ".adapter.safetensors"),
)


@dataclass(frozen=True)
class Exported:
    """A written file that was loaded again and compared. unit: of max_difference."""

    path: Path
    max_difference: float
    unit: str
    checked: str

    def words(self) -> str:
        """“Verified, max |Δ| 0.0012 HU”."""
        return f"Verified, max |Δ| {figure(self.max_difference)} {self.unit}"


def figure(value: float) -> str:
    """A small number as people write it: 0, 0.0012, 2.4e-6."""
    if value == 0:
        return "0"
    if abs(value) >= 1e-3:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e\N{MINUS SIGN}{abs(int(exponent))}"


def run(ref: str | Path, kind: str, path: Path) -> Iterator[Event]:
    """Write one export and check it. Done(Exported)."""
    if kind == "bundle":
        yield from _bundle(ref, path)
        return
    from aegui import workflow

    for event in workflow.export(str(ref), kind, path):
        if isinstance(event, Done):
            result = event.result
            sizes = ", ".join(f"{rows}×{columns}" for rows, columns in result.sizes)
            unit = result.unit if result.unit == "HU" else "of the input range"
            event = Done(Exported(Path(result.path), result.max_difference, unit, f"at {sizes} px"))
        yield event


def _bundle(ref: str | Path, path: Path) -> Iterator[Event]:
    yield Progress(0, 2, f"Writing {path.name}")
    from aegui import recipes
    from aegui.inference.export import LIMIT
    from aegui.models import bundle, library, zoo

    source = Path(ref)
    try:
        with paths.atomic(path) as temporary:
            if source.suffix == ".aegui":
                shutil.copyfile(source, temporary)
            else:
                model = zoo.load_trained(ref)
                # A bundle holds the recipe that made its model; the card of a shipped model names it.
                named = model.card.training.recipe if model.card in library.shipped() else ""
                recipe = recipes.load(named) if named and model.recipe is None else model.recipe
                bundle.save(temporary, model.card, model.net, recipe, "", {})
            yield Progress(1, 2, "Checking")
            worst = bundle.self_test(temporary)
            if not worst <= LIMIT:
                raise UserError(
                    f"The bundle does not do what the model does: it differs by {worst:.2g}.",
                    "Choose another format; nothing was written.",
                )
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"Choose another place. ({error.strerror or error})") from None
    yield Done(Exported(path, worst, "of the input range", "on its own test slice"))
