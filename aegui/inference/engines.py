"""What runs a network: torch, ONNX Runtime or OpenVINO, in fp32 or, where the processor has it, in bf16."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aegui.inference import graph
from aegui.inference.kinds import KINDS, Kind
from aegui.inference.streams import Streams, alone
from aegui.models.networks import Halved
from aegui.models.slicenet import SliceNet, on

Array = npt.NDArray[np.float32]


class Unavailable(Exception):  # noqa: N818 - says why an engine cannot be had, which is no error
    """This machine or this network has no such engine; the message says why."""


class Engine(Protocol):
    """A network made ready to run. streams: how many threads may run it at once, those of `streams.open()`."""

    kind: Kind
    streams: Streams

    def run(self, x: Array, level: Array) -> Array:
        """What the network takes away from x: (N, planes, H, W) normalised, sides multiples of the network's.

        level: noise SD in the same units, (N,). The result has the shape of x; of x with its neighbours that of one
        slice.
        """
        ...


class TorchEngine:
    """The network as it is."""

    def __init__(
        self, net: SliceNet, device: torch.device, precision: str = "fp32", streams: Streams | None = None
    ) -> None:
        self.streams = streams or alone()
        self.kind = KINDS["torch" if precision == "fp32" else f"torch-{precision}"]
        self.net = on(device, net).eval().net
        self.device = device

    def _low(self) -> contextlib.AbstractContextManager[None]:
        if self.kind.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def run(self, x: Array, level: Array) -> Array:
        """See Engine."""
        with torch.inference_mode():
            image = torch.from_numpy(x).to(self.device, memory_format=torch.channels_last)
            levels = torch.from_numpy(level).to(self.device)
            if isinstance(self.net, Halved):
                first = self.net.first(image, levels)
                with self._low():
                    removed = self.net.removed(first)
            else:
                with self._low():
                    found: Tensor = self.net.outputs(image, levels).image  # type: ignore[operator]
                removed = image - found.float()
            return np.ascontiguousarray(removed.float().cpu().numpy())


class _Graph:
    """Runs the network's ONNX graph with `call`; of halved networks torch runs the first half, in fp32."""

    def __init__(
        self,
        kind: Kind,
        net: SliceNet,
        streams: Streams,
        inputs: set[str],
        call: Callable[[dict[str, Array]], Array],
    ) -> None:
        self.kind = kind
        self.streams = streams
        self.net = net.net
        self._inputs = inputs
        self._call = call

    def run(self, x: Array, level: Array) -> Array:
        """See Engine."""
        feeds = {"image": x, "level": level}
        if isinstance(self.net, Halved):
            with torch.inference_mode():
                image = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
                feeds["image"] = self.net.first(image, torch.from_numpy(level)).contiguous().numpy()
        return self._call({name: values for name, values in feeds.items() if name in self._inputs})


def _onnxruntime(kind: Kind, net: SliceNet, path: Path, streams: Streams) -> Engine:
    if importlib.util.find_spec("onnxruntime") is None:
        raise Unavailable("ONNX Runtime is not installed")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = streams.threads
    options.log_severity_level = 3
    # Threads that wait busily take the cores from those that read and write meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}

    def call(feeds: dict[str, Array]) -> Array:
        return np.asarray(session.run(None, feeds)[0], dtype=np.float32)

    return _Graph(kind, net, streams, names, call)


@functools.cache
def _openvino_core() -> Any:
    """One for the life of the program: with the last one a stack would go that signals are still handled on.

    OpenVINO gives the thread that loads it a stack for signal handlers, as tiles of AMX make their frames large, and
    frees it with itself. Python's handlers use such stacks: Ctrl+C would end in a crash.
    """
    if importlib.util.find_spec("openvino") is None:
        raise Unavailable("OpenVINO is not installed")
    # Its converters, imported together with it, tell its makers of the import where the user has once agreed to that
    # for another program. This one never calls home, and OpenVINO does without them.
    for name in ("openvino.tools", "openvino_telemetry"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    import openvino

    return openvino.Core()


def _openvino(kind: Kind, net: SliceNet, path: Path, streams: Streams) -> Engine:
    core = _openvino_core()
    if kind.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("this processor has no bf16")
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if kind.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": streams.count * streams.threads,
        "NUM_STREAMS": streams.count,
    }
    compiled = core.compile_model(core.read_model(path), "CPU", options)
    names = {name for port in compiled.inputs for name in port.names}
    of_thread = threading.local()

    def call(feeds: dict[str, Array]) -> Array:
        if not hasattr(of_thread, "request"):
            of_thread.request = compiled.create_infer_request()
        # Copied: the tensor belongs to the request, which writes the next result into it.
        return np.array(of_thread.request.infer(feeds, share_inputs=True)[0], dtype=np.float32)

    return _Graph(kind, net, streams, names, call)


def processor() -> dict[str, Any]:
    """What the processor can do and what it is called ("cpu_name"), as far as this version of torch tells."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())


def _torch_bf16(device: torch.device) -> str:
    """Why torch has no bf16 here that is worth trying, or nothing."""
    if device.type == "cuda":
        return "" if torch.cuda.is_bf16_supported(including_emulation=False) else "this graphics card has no bf16"
    found = processor()
    has = any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return "" if has else "this processor has no bf16"


def build(name: str, net: SliceNet, device: torch.device, fingerprint: str, streams: Streams | None = None) -> Engine:
    """The engine of that name for a network. Unavailable where there is none; whatever else a runtime raises."""
    kind, streams = KINDS[name], streams or alone()
    if kind.runtime == "torch":
        if kind.precision == "bf16" and (reason := _torch_bf16(device)):
            raise Unavailable(reason)
        return TorchEngine(net, device, kind.precision, streams)
    if device.type != "cpu":
        raise Unavailable("it runs on the processor only")
    if kind.runtime == "OpenVINO":
        _openvino_core()  # before the graph is written, which takes seconds
    make = _openvino if kind.runtime == "OpenVINO" else _onnxruntime
    return make(kind, on(device, net).eval(), graph.file_of(net, fingerprint), streams)
