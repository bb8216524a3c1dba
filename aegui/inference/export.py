"""Models for other programs; each file is loaded again and compared with the model."""

from __future__ import annotations

import io
import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aegui import __version__, paths
from aegui.errors import UserError
from aegui.events import Done, Event, Progress
from aegui.inference.graph import quiet
from aegui.models import adapter, bundle
from aegui.models.card import FixedRange
from aegui.models.checkpoint import apply, read_weights
from aegui.models.slicenet import SliceNet, build
from aegui.models.zoo import CARD, Model

FORMATS = ("onnx", "pt2", "torchscript", "safetensors", "monai", "adapter")
SUFFIX = {
    "onnx": ".onnx",
    "pt2": ".pt2",
    "torchscript": ".ts",
    "safetensors": ".safetensors",
    "monai": ".zip",
    "adapter": ".adapter.safetensors",
}
SIZES = ((128, 128), (192, 160), (101, 75))
LIMIT = 1e-4

Run = Callable[[Tensor, Tensor], np.ndarray[Any, np.dtype[np.float32]]]


@dataclass(frozen=True)
class ExportResult:
    """max_difference: largest |file − model| over the sizes, in `unit` (`normalised` repeats it before scaling)."""

    path: Path
    format: str
    max_difference: float
    normalised: float
    unit: str
    limit: float
    sizes: tuple[tuple[int, int], ...]

    @property
    def verified(self) -> bool:
        """Whether the file does what the model does."""
        return self.normalised <= self.limit


class _Plain(nn.Module):
    """The exported signature: image (N, 1, H, W) and level (N,) → image, in normalised units.

    Models that see neighbours get (N, 2·neighbours + 1, H, W), along the series, and give the middle slice; those for
    colour get and give (N, 3, H, W).
    """

    def __init__(self, net: SliceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        return self.net.both(image, level)[0]


def _example(model: Model, size: tuple[int, int], seed: int, count: int = 2) -> tuple[Tensor, Tensor]:
    """count: slices. Of one alone exporters would take that there is always one."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((count, model.net.planes, *size), generator=generator), torch.linspace(0.05, 0.1, count)


def _card_json(model: Model) -> str:
    return json.dumps(model.card.model_dump(mode="json"))


def _planes(model: Model) -> list[str]:
    """What each plane of the input is."""
    if model.net.channels > 1:
        return ["red", "green", "blue"] if model.net.channels == 3 else [f"{k + 1}" for k in range(model.net.channels)]
    beside = model.net.neighbours
    return ["image" if step == 0 else f"slice {step:+d}" for step in range(-beside, beside + 1)]


def _input(model: Model) -> str:
    """What the input is, in words."""
    if model.net.channels > 1:
        planes = ", ".join(_planes(model))
        return f"image: (N, {model.net.channels}, rows, columns), normalised as the card says, channels {planes}."
    if not model.net.neighbours:
        return "image: (N, 1, rows, columns), normalised as the card says."
    return (
        f"image: (N, {model.net.slices}, rows, columns), normalised as the card says: slices of a series in order "
        f"({', '.join(_planes(model))}). The middle one is denoised; where a series has no slice beside it, put it in "
        "that place itself."
    )


def _about(model: Model) -> dict[str, str]:
    """What a file says of itself, by name."""
    return {CARD: _card_json(model), "aegui.input": _input(model)}


def _extra_files(model: Model) -> dict[str, str]:
    return {"card.json": _card_json(model), "input.txt": _input(model)}


def _shapes() -> dict[str, dict[int, Any]]:
    """Which sizes of the inputs are free: slices, rows and columns."""
    free = torch.export.Dim.DYNAMIC
    return {"image": {0: free, 2: free, 3: free}, "level": {0: free}}


def _onnx(model: Model, path: Path) -> None:
    image, level = _example(model, SIZES[0], 0)
    plain = _Plain(model.net).eval()
    with quiet():
        program = torch.onnx.export(
            plain,
            (image, level),
            dynamo=True,
            dynamic_shapes=_shapes(),
            input_names=["image", "level"],
            output_names=["denoised"],
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props.update(_about(model))
        program.save(path, external_data=False)


def _run_onnx(path: Path, model: Model) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}

    def run(image: Tensor, level: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
        feeds = {"image": image.numpy(), "level": level.numpy()}
        return np.asarray(session.run(None, {k: v for k, v in feeds.items() if k in names})[0])

    return run


def _pt2(model: Model, path: Path) -> None:
    with quiet():
        program = torch.export.export(_Plain(model.net).eval(), _example(model, SIZES[0], 0), dynamic_shapes=_shapes())
        # Into memory: where the disk is full torch's own writer ends the whole program.
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=_extra_files(model))
    path.write_bytes(content.getvalue())


def _run_pt2(path: Path, model: Model) -> Run:
    with quiet():
        module = torch.export.load(path).module()
    return lambda image, level: module(image, level).numpy()


def _torchscript(model: Model, path: Path) -> None:
    with quiet():
        script = torch.jit.trace(  # type: ignore[no-untyped-call]
            _Plain(model.net).eval(), _example(model, SIZES[0], 0), check_trace=False
        )
        content = io.BytesIO()
        torch.jit.save(script, content, _extra_files=_extra_files(model))
    path.write_bytes(content.getvalue())


def _run_torchscript(path: Path, model: Model) -> Run:
    with quiet():
        script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return lambda image, level: script(image, level).numpy()


def _safetensors(model: Model, path: Path) -> None:
    from safetensors.torch import save

    weights = {k: v.detach().cpu().contiguous() for k, v in model.net.net.state_dict().items()}
    path.write_bytes(save(weights, metadata=_about(model)))


def _run_safetensors(path: Path, model: Model) -> Run:
    net = build(model.card)
    fit = apply(net, read_weights(path))
    if not fit.complete:
        raise UserError(f"The exported weights do not load: {fit.words()}.")
    net.eval()
    return lambda image, level: net.both(image, level)[0].numpy()


def _monai(model: Model, path: Path) -> None:
    card = model.card
    plane = {"type": "image", "format": "magnitude", "dtype": "float32", "is_patch_data": False}
    plane |= {"spatial_shape": ["*", "*"], "value_range": []}
    planes = _planes(model)
    given = planes if model.net.channels > 1 else ["image"]
    metadata = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": __version__,
        "changelog": {__version__: "exported"},
        "monai_version": "1.5.0",
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {},
        "task": "Denoising",
        "description": f"{card.about or card.title}\n{_input(model)}",
        "authors": "",
        "copyright": card.licence,
        "intended_use": "Research use only; not for primary diagnosis.",
        "network_data_format": {
            "inputs": {
                "image": plane
                | {"num_channels": len(planes), "channel_def": {str(k): name for k, name in enumerate(planes)}},
                "level": {"type": "tuple", "format": "raw", "num_channels": 1, "dtype": "float32"},
            },
            "outputs": {
                "pred": plane | {"num_channels": len(given), "channel_def": {str(k): n for k, n in enumerate(given)}}
            },
        },
        "aegui_card": card.model_dump(mode="json"),
    }
    inference = {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
        "network": "$@network_def.eval()",
    }
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        script = Path(folder) / "model.ts"
        _torchscript(model, script)
        bundle.writestr("configs/metadata.json", json.dumps(metadata, indent=2))
        bundle.writestr("configs/inference.json", json.dumps(inference, indent=2))
        bundle.write(script, "models/model.ts")


def _run_monai(path: Path, model: Model) -> Run:
    from monai.bundle import ConfigParser

    folder = tempfile.TemporaryDirectory()
    with zipfile.ZipFile(path) as bundle:
        bundle.extractall(folder.name)
    parser = ConfigParser()
    with quiet():
        parser.read_config(str(Path(folder.name) / "configs" / "inference.json"))
        parser["bundle_root"] = folder.name
        parser["device"] = "$torch.device('cpu')"
        network = parser.get_parsed_content("network")
    folder.cleanup()
    return lambda image, level: network(image, level).numpy()


def _adapter(model: Model, path: Path) -> None:
    source = Path(model.ref)
    if source.suffix == ".aegui":
        content = bundle.read_adapter(source)
    else:
        content = source.read_bytes() if adapter.about(source) is not None else None
    if content is None:
        raise UserError(
            f"“{model.card.title}” has no adapters.",
            "Only models that were trained with adapters (LoRA) can be exported as an adapter file.",
        )
    path.write_bytes(content)


def _run_adapter(path: Path, model: Model) -> Run:
    net = adapter.read(path).net
    return lambda image, level: net.both(image, level)[0].numpy()


_WRITERS: dict[str, tuple[Callable[[Model, Path], None], Callable[[Path, Model], Run]]] = {
    "onnx": (_onnx, _run_onnx),
    "pt2": (_pt2, _run_pt2),
    "torchscript": (_torchscript, _run_torchscript),
    "safetensors": (_safetensors, _run_safetensors),
    "monai": (_monai, _run_monai),
    "adapter": (_adapter, _run_adapter),
}


def _unit(model: Model) -> tuple[float, str]:
    """(real units per normalised unit, name) of the first modality with a fixed range."""
    for modality, intensity in model.card.intensity.items():
        if modality == "CT" and isinstance(intensity, FixedRange):
            return intensity.high - intensity.low, "HU"
    return 1.0, "of the input range"


def export(model: Model, format: str, output: Path) -> Iterator[Event]:
    """Write and verify one format. Done(ExportResult); a file that differs is kept from its final name."""
    if format not in _WRITERS:
        raise UserError(f"There is no export format “{format}”.", f"Choose one of {', '.join(FORMATS)}.")
    write, reader = _WRITERS[format]
    path = output / f"{model.card.id}{SUFFIX[format]}" if output.is_dir() else output
    model.net.cpu().eval()
    if not path.name.endswith(SUFFIX[format]):
        path = path.with_name(path.name + SUFFIX[format])
    if paths.exists(path) and path.resolve() == Path(model.ref).resolve():
        raise UserError(f"{path.name} is the model itself.", "Name another file to write to.")
    yield Progress(0, 1 + len(SIZES), f"Writing {path.name}")
    try:
        with paths.atomic(path) as temporary:
            write(model, temporary)
            worst = yield from _compare(model, reader(temporary, model))
            if not worst <= LIMIT:
                raise UserError(
                    f"The {format} file does not do what the model does: it differs by {worst:.2g}.",
                    "Choose another format; nothing was written.",
                )
    except OSError as error:
        raise UserError(f"{path} cannot be written.", f"Choose another place. ({error.strerror or error})") from None
    gain, unit = _unit(model)
    yield Done(ExportResult(path, format, worst * gain, worst, unit, LIMIT, SIZES))


def _compare(model: Model, run: Run) -> Generator[Event, None, float]:
    """Returns the largest difference."""
    worst = 0.0
    plain = _Plain(model.net).eval()
    for number, size in enumerate(SIZES):
        yield Progress(1 + number, 1 + len(SIZES), f"Checking at {size[0]} × {size[1]}")
        image, level = _example(model, size, number + 1, count=number + 1)
        with torch.inference_mode():
            expected = plain(image, level).numpy()
            difference = float(np.abs(run(image, level) - expected).max())
            worst = max(worst, difference) if np.isfinite(difference) else math.inf
    return worst
