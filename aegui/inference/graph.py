"""A network as an ONNX graph for other runtimes, kept in the cache folder."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from aegui import paths
from aegui.models.networks import Halved
from aegui.models.slicenet import SliceNet

_KEPT = 16  # graphs in the cache folder, each as large as its model's weights
_SIDE = 64  # of the example, before it is made a multiple of the network's own


class _Removed(nn.Module):
    """image (N, planes, H, W), level (N,) → what the network takes away; of halved networks their second half alone."""

    def __init__(self, net: SliceNet) -> None:
        super().__init__()
        self.net = net.net

    def forward(self, image: Tensor, level: Tensor | None = None) -> Tensor:
        if isinstance(self.net, Halved):
            return self.net.removed(image)
        removed: Tensor = image - self.net.outputs(image, level).image  # type: ignore[operator]
        return removed


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """torch deprecates jit in favour of export and its exporters warn of their internals: nothing to act on."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def write(net: SliceNet, path: Path) -> None:
    """Write the graph, for slices of any number and size. Inputs "image" (halved networks: features) and "level"."""
    side = math.lcm(_SIDE, net.multiple)
    plain = copy.deepcopy(net).cpu().eval()
    image, level = torch.rand((2, net.planes, side, side)), torch.full((2,), 0.05)
    dynamic = torch.export.Dim.DYNAMIC
    inputs: dict[str, Tensor] = {"image": image, "level": level}
    if isinstance(plain.net, Halved):
        with torch.no_grad():
            inputs = {"image": plain.net.first(image, level)}
    shapes = {name: {0: dynamic, **({2: dynamic, 3: dynamic} if name == "image" else {})} for name in inputs}
    with quiet():
        program = torch.onnx.export(
            _Removed(plain).eval(),
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=["removed"],
            verbose=False,
        )
        assert program is not None
        program.save(path, external_data=False)


def file_of(net: SliceNet, name: str) -> Path:
    """The graph of a network whose fingerprint is `name`, written where it is not there yet."""
    folder = paths.cache_home() / "graphs"
    path = folder / f"{name}.onnx"
    if not path.is_file():
        with paths.atomic(path) as temporary:
            write(net, temporary)
        others = sorted(folder.glob("*.onnx"), key=lambda file: file.stat().st_mtime)
        for file in others[:-_KEPT]:
            with suppress(OSError):  # another program may have it open, or have removed it
                file.unlink()
    return path
