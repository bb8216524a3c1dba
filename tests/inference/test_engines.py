"""Whatever runs a network gives what torch gives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from aegui.inference import graph
from aegui.inference.engines import Engine, TorchEngine, Unavailable, build
from aegui.inference.kinds import KINDS
from aegui.models.networks import ARCHITECTURES, Halved
from aegui.models.slicenet import SliceNet, fingerprint
from aegui.models.zoo import load_model

CPU = torch.device("cpu")
MODELS = ["general-small", "classic-small", "monai-autoencoder", "monai-autoencoder-kl"]
NOISE = 0.04


def engine(name: str, net: SliceNet) -> Engine:
    try:
        return build(name, net, CPU, fingerprint(net))
    except Unavailable as reason:
        pytest.skip(f"{KINDS[name].title}: {reason}")


def picture(count: int, rows: int, columns: int) -> np.ndarray:
    """Noise on steps from −2.5 to 0.5, as of CT: normalised, (count, 1, rows, columns)."""
    y, x = np.mgrid[:rows, :columns] / 40
    steps = np.where(np.sin(3 * x) * np.cos(2 * y) > 0, 0.5, -2.5)
    return (steps + np.random.default_rng(0).normal(0, NOISE, (count, 1, rows, columns))).astype(np.float32)


def levels(count: int) -> np.ndarray:
    return np.full(count, NOISE, np.float32)


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2))) / NOISE


def test_a_model_of_every_architecture_is_tried() -> None:
    assert {load_model(model).card.architecture for model in MODELS} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.precision == "fp32"])
@pytest.mark.parametrize("model", MODELS)
def test_an_engine_in_fp32_equals_the_model_for_slices_of_any_size_and_number(model: str, name: str) -> None:
    net = load_model(model).net
    found = engine(name, net)
    for shape in ((1, 64, 64), (3, 104, 72)):
        x = picture(*shape)
        with torch.inference_mode():
            expected = x - net(torch.from_numpy(x), torch.from_numpy(levels(shape[0]))).numpy()
        result = found.run(x, levels(shape[0]))
        assert result.dtype == np.float32 and result.shape == x.shape
        assert rms(result, expected) < 1e-3


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.precision == "bf16"])
def test_an_engine_in_bf16_keeps_noise_that_is_small_beside_the_values(name: str) -> None:
    net = load_model("general-small").net
    x = picture(2, 128, 128)
    plain = TorchEngine(net, CPU).run(x, levels(2))
    found = engine(name, net).run(x, levels(2))
    lost = rms(found, plain)
    assert 0 < lost < 0.03
    # What the first layer in bf16 would cost, and why it runs in fp32.
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        whole = x - net(torch.from_numpy(x), torch.from_numpy(levels(2))).float().numpy()
    assert rms(whole, plain) > 1.5 * lost


def test_the_halves_of_a_network_are_the_network() -> None:
    net = load_model("general-small").net.net
    assert isinstance(net, Halved)
    assert not isinstance(load_model("classic-small").net.net, Halved)
    x, level = torch.from_numpy(picture(2, 64, 48)), torch.from_numpy(levels(2))
    with torch.inference_mode():
        torch.testing.assert_close(x - net.removed(net.first(x, level)), net.outputs(x, level).image)


def test_no_mode_of_torch_stays_on_after_a_run() -> None:
    TorchEngine(load_model("general-small").net, CPU, "bf16").run(picture(1, 64, 64), levels(1))
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")


def test_a_graph_is_written_once_and_told_apart_by_its_weights() -> None:
    net = load_model("classic-small").net
    name = fingerprint(net)
    file = graph.file_of(net, name)
    written = file.stat().st_mtime_ns
    assert graph.file_of(net, name) == file and file.stat().st_mtime_ns == written
    with torch.no_grad():
        next(net.parameters()).add_(1e-3)
    assert fingerprint(net) != name


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_does_not_call_home() -> None:
    engine("openvino", load_model("classic-small").net)
    assert sys.modules.get("openvino_telemetry") is None and "openvino.tools.ovc" not in sys.modules


def test_the_processors_runtimes_do_not_run_on_a_graphics_card() -> None:
    net = load_model("classic-small").net
    with pytest.raises(Unavailable, match="processor only"):
        build("onnxruntime", net, torch.device("cuda"), fingerprint(net))


CTRL_C = """
import gc, os, signal, threading
import torch
from aegui.inference.engines import build
from aegui.models.slicenet import fingerprint
from aegui.models.zoo import load_model

seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
net = load_model("classic-small").net
made = [build("openvino", net, torch.device("cpu"), fingerprint(net))]
last = threading.Thread(target=lambda: (made.clear(), gc.collect()))
last.start()
last.join()
os.kill(os.getpid(), signal.SIGINT)
assert seen
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_ctrl_c_is_handled_after_an_engine_of_openvino_went_away() -> None:
    subprocess.run([sys.executable, "-c", CTRL_C], check=True, timeout=120)
