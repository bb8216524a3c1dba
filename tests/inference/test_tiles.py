"""Slices that the memory does not hold at once go through in tiles, and nobody can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, workflow
from aegui.events import finish
from aegui.inference import tiles
from aegui.inference.denoiser import run as through
from aegui.inference.engines import TorchEngine
from aegui.inference.tiles import Tiler, bytes_per_pixel, plan, reach
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model

CPU = torch.device("cpu")


def ramp() -> np.ndarray:
    y, x = np.mgrid[:333, :405] / 300
    noise = np.random.default_rng(0).normal(0, 0.1, x.shape)
    return ((x + y) / 2 + noise)[None, None].astype(np.float32)


def run(net: SliceNet, x: np.ndarray, memory: int | None) -> tuple[np.ndarray, int]:
    """The result, and in how many parts it was made."""
    engine, parts = TorchEngine(net, CPU), 0

    def whole(part: np.ndarray) -> np.ndarray:
        nonlocal parts
        parts += 1
        return through(engine, net, part, np.full(len(part), 0.1, np.float32))

    return Tiler(net, CPU, memory).run(whole, x), parts


@pytest.mark.parametrize("model", ["general-small", "classic-small"])
def test_a_ramp_in_tiles_is_the_ramp_in_one(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SMALLEST", 64)
    net = load_model(model).net
    whole, one = run(net, ramp(), None)
    tiled, many = run(net, ramp(), 1_000_000)
    assert one == 1 and many > 4
    assert np.abs(tiled - whole).max() < 1e-5


def test_a_real_slice_in_tiles_is_the_slice_in_one(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SMALLEST", 128)
    series = finish(workflow.scan([shared / "ct_abdomen_j2k"])).series[0]
    source = imaging.open_series(series)
    x = (source.read(0) / 400)[None, None].astype(np.float32)
    source.close()
    net = load_model("general-small").net
    whole, _ = run(net, x, None)
    tiled, many = run(net, x, 40_000_000)
    assert many > 1
    assert np.abs(tiled - whole).max() < 1e-4 * 15 / 400, "a ten-thousandth of the noise"


def test_slices_go_through_whole_where_the_memory_holds_them() -> None:
    net = load_model("general-small").net
    assert run(net, ramp(), 10_000_000_000)[1] == 1


def test_a_network_that_sees_the_whole_slice_is_not_given_tiles() -> None:
    net = load_model("monai-autoencoder").net
    assert reach(net) is None
    assert run(net, ramp(), 1_000_000)[1] == 1


def test_the_reach_is_as_far_as_the_layers_see() -> None:
    class Wide(torch.nn.Module):
        multiple, channels, head = 4, 1, None

        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 1, 21, padding=10)

        def outputs(self, x: torch.Tensor, level: torch.Tensor):  # type: ignore[no-untyped-def]
            from aegui.models.networks import Outputs

            return Outputs(self.conv(x), None, x)

    assert reach(SliceNet(Wide(), 1, 4)) == 10
    assert reach(load_model("general-small").net) > 64


def test_tiles_cover_every_pixel_once_and_start_on_the_networks_grid() -> None:
    seen = np.zeros((301, 777), int)
    for rows, columns, inner_rows, inner_columns in plan(301, 777, 300 * 300, 13, 8):
        seen[inner_rows, inner_columns] += 1
        for shown, inner in ((rows, inner_rows), (columns, inner_columns)):
            assert shown.start % 8 == inner.start % 8 == 0
            assert shown.start == 0 or inner.start - shown.start >= 13
            assert shown.start <= inner.start and inner.stop <= shown.stop
    assert (seen == 1).all()


def test_deeper_networks_need_more_memory() -> None:
    assert bytes_per_pixel(load_model("monai-autoencoder-kl").net) > bytes_per_pixel(load_model("classic-small").net)
