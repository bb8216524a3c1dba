"""Models that see the slices beside the one they denoise, in use."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, workflow
from aegui.events import finish
from aegui.imaging import Pixels, Series, SliceSource
from aegui.inference import check
from aegui.inference.denoiser import Denoiser, run
from aegui.inference.engines import TorchEngine, Unavailable, build
from aegui.inference.kinds import KINDS
from aegui.inference.tiles import reach
from aegui.models.slicenet import SliceNet, fingerprint
from aegui.models.zoo import Model
from tests.twohalf import SIDE, SLICES, card, model, network, saved, stacked, volumes

CPU = torch.device("cpu")
Change = Callable[[int, Pixels], Pixels]


@pytest.fixture
def volume(tmp_path: Path) -> Series:
    return volumes(tmp_path / "scans")[0]


class Changed:
    """A source with other pixels in some of its slices; counts what is read."""

    def __init__(self, source: SliceSource, change: Change = lambda index, pixels: pixels) -> None:
        self.series = source.series
        self._source, self._change = source, change
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> Pixels:
        self.reads.append(index)
        return self._change(index, self._source.read(index).copy())

    def valid(self, index: int) -> np.ndarray:
        return self._source.valid(index)

    def close(self) -> None:
        self._source.close()


def result(series: Series, index: int, change: Change, neighbours: int = 1) -> Pixels:
    source = Changed(imaging.open_series(series), change)
    denoiser = Denoiser(model(neighbours), source, CPU)
    try:
        return denoiser.slice(index).pixels
    finally:
        source.close()


def only(*numbers: int) -> Change:
    """Takes something away from these slices."""
    return lambda index, pixels: pixels - 60 if index in numbers else pixels


def test_a_result_depends_on_the_slices_beside_and_on_no_others(volume: Series) -> None:
    plain = result(volume, 2, only())
    for number in (1, 3):
        assert np.abs(result(volume, 2, only(number)) - plain).max() > 0.01
    np.testing.assert_array_equal(result(volume, 2, only(0, 4, 5)), plain)
    assert np.abs(result(volume, 2, only(0), 2) - result(volume, 2, only(), 2)).max() > 0.01


def test_beyond_a_gap_nothing_is_looked_at(volume: Series) -> None:
    gap = stacked(volume, [0, 2, 4, 20, 22, 24])
    np.testing.assert_array_equal(result(gap, 2, only(3)), result(gap, 2, only()))
    assert np.abs(result(gap, 2, only(1)) - result(gap, 2, only())).max() > 0.01


def test_a_slice_alone_is_its_own_neighbour(volume: Series) -> None:
    source = imaging.open_series(volume)
    denoiser = Denoiser(model(), source, CPU)
    pixels, valid = source.read(2), source.valid(2)
    alone = denoiser.pixels(pixels, valid)
    thrice = denoiser.pixels(pixels, valid, seen=[(pixels, valid)] * 3)
    np.testing.assert_array_equal(alone.pixels, thrice.pixels)
    around = [(source.read(k), source.valid(k)) for k in (1, 2, 3)]
    np.testing.assert_array_equal(denoiser.pixels(pixels, valid, seen=around).pixels, denoiser.slice(2).pixels)
    assert not np.array_equal(alone.pixels, denoiser.slice(2).pixels)
    source.close()


def test_the_noise_level_is_that_of_the_middle_slice(volume: Series) -> None:
    source = imaging.open_series(volume)
    denoiser = Denoiser(model(), source, CPU)
    one = denoiser.at(2)
    assert one.level == denoiser.prepared(source.read(2), source.valid(2)).level > 0
    assert denoiser.planes(one).shape == (3, SIDE, SIDE)
    source.close()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e30, 1e9])
def test_no_wild_value_of_a_neighbour_reaches_the_network(volume: Series, wrong: float) -> None:
    def change(index: int, pixels: Pixels) -> Pixels:
        if index == 3:
            pixels[10:20, 10:20] = wrong
        return pixels

    found = result(volume, 2, change)
    assert np.isfinite(found).all() and np.abs(found).max() < 1000


@pytest.mark.parametrize("neighbours", [0, 1, 2])
@pytest.mark.parametrize("slices", [1, 2, SLICES])
def test_a_series_in_one_go_equals_its_slices_one_by_one(tmp_path: Path, neighbours: int, slices: int) -> None:
    (series,) = volumes(tmp_path / "scans", slices=slices)
    source = imaging.open_series(series)
    denoiser = Denoiser(model(neighbours), source, CPU)
    alone = ((k, denoiser.prepared(source.read(k), source.valid(k))) for k in range(slices))
    joined = list(denoiser.with_neighbours(alone))
    assert [index for index, _ in joined] == list(range(slices))
    for index, one in joined:
        np.testing.assert_array_equal(denoiser.planes(one), denoiser.planes(denoiser.at(index)))
    source.close()


def test_few_slices_wait_for_others_however_long_the_series_is(volume: Series) -> None:
    source = imaging.open_series(replace(stacked(replace(volume, slices=100), [2.0 * k for k in range(100)])))
    denoiser = Denoiser(model(2), source, CPU)
    prepared = denoiser.prepared(np.ones((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), bool))
    given: list[int] = []

    def slices():  # type: ignore[no-untyped-def]
        for k in range(100):
            given.append(k)
            yield k, prepared

    for index, _ in denoiser.with_neighbours(slices()):
        assert len(given) <= index + 3
    source.close()


@pytest.mark.parametrize("average", [1, 4])
def test_a_batch_equals_slice_by_slice(tmp_path: Path, average: int) -> None:
    several = volumes(tmp_path / "scans", 2)
    job = workflow.DenoiseJob(str(saved(tmp_path)), several, tmp_path / "out", device="cpu", average=average)
    report = finish(workflow.denoise(job))
    assert [row.status for row in report.series] == ["done", "done"], [row.reason for row in report.series]
    for series, row in zip(several, report.series, strict=True):
        made = np.load(row.output)
        source = imaging.open_series(series)
        denoiser = Denoiser(model(), source, CPU, average=average)
        for index in range(series.slices):
            np.testing.assert_allclose(made[index], denoiser.slice(index).pixels, atol=1e-3)
        source.close()


def test_a_batch_reads_no_slice_again_for_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = volumes(tmp_path / "scans", slices=20)
    opened: list[Changed] = []
    plain, sink = imaging.open_series, imaging.open_sink

    def opening(one: Series) -> Changed:
        opened.append(Changed(plain(one)))
        return opened[-1]

    monkeypatch.setattr(imaging, "open_series", opening)
    monkeypatch.setattr(imaging, "open_sink", lambda source, *rest: sink(source._source, *rest))
    for neighbours in (0, 2):
        path = saved(tmp_path, neighbours)
        finish(
            workflow.denoise(
                workflow.DenoiseJob(str(path), series, tmp_path / f"out{neighbours}", device="cpu", engine="torch")
            )
        )
    alone, beside = (Counter(source.reads) for source in opened)
    assert alone == beside and len(alone) == 20


def test_the_preview_of_the_window_looks_beside(tmp_path: Path, volume: Series) -> None:
    path = saved(tmp_path)
    source = imaging.open_series(volume)
    denoiser = Denoiser(model(), source, CPU)
    np.testing.assert_allclose(workflow.preview(str(path), source, 2), denoiser.slice(2).pixels, atol=1e-4)
    source.close()


def test_the_preview_is_that_of_the_model_as_the_file_is_now(tmp_path: Path, volume: Series) -> None:
    source = imaging.open_series(volume)
    first = workflow.preview(str(saved(tmp_path, 0)), source, 2)
    path = saved(tmp_path, 1)
    os.utime(path, ns=(1, 1))
    assert not np.allclose(workflow.preview(str(path), source, 2), first, atol=0.1)
    source.close()


@pytest.mark.parametrize("average", [2, 4, 8])
def test_views_turn_all_planes_alike(volume: Series, average: int) -> None:
    """What is mirrored or turned before is, with as many views, mirrored or turned afterwards."""
    source = imaging.open_series(volume)
    denoiser = Denoiser(model(), source, CPU, average=average)
    around = [(source.read(k), source.valid(k)) for k in (1, 2, 3)]
    turned = [(pixels[:, ::-1].copy(), valid[:, ::-1].copy()) for pixels, valid in around]
    one = denoiser.pixels(*around[1], noise_level=20.0, seen=around)
    other = denoiser.pixels(*turned[1], noise_level=20.0, seen=turned)
    np.testing.assert_allclose(other.pixels[:, ::-1], one.pixels, atol=1e-3)
    assert one.spread is not None and one.spread.shape == (SIDE, SIDE) and one.spread.max() > 0
    source.close()


def test_tiles_give_what_the_whole_slice_gives() -> None:
    net = network()
    assert 0 < (reach(net) or 0) < 100
    x = np.random.default_rng(0).random((1, 3, 700, 530), dtype=np.float32)
    levels = np.full(1, 0.1, np.float32)
    engine = TorchEngine(net, CPU)
    from aegui.inference.tiles import Tiler

    sizes = []

    def through(part: Pixels) -> Pixels:
        sizes.append(part.shape)
        return run(engine, net, part, levels)

    whole = run(engine, net, x, levels)
    tiled = Tiler(net, CPU, memory=1).run(through, x)
    assert len(sizes) > 1 and all(size[1] == 3 for size in sizes)
    assert tiled.shape == whole.shape == (1, 1, 700, 530)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_colours_go_through_one_by_one_with_their_neighbours() -> None:
    net = network()
    colours = np.random.default_rng(0).random((2, 9, 20, 20), dtype=np.float32)
    levels = np.array([0.1, 0.2], np.float32)
    engine = TorchEngine(net, CPU)
    together = run(engine, net, colours, levels)
    assert together.shape == (2, 3, 20, 20)
    for colour in range(3):
        alone = run(engine, net, np.ascontiguousarray(colours[:, colour::3]), levels)
        np.testing.assert_allclose(together[:, colour], alone[:, 0], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "torch"])
def test_engines_do_what_torch_does_and_are_checked_with_neighbours(name: str, volume: Series) -> None:
    net: SliceNet = network()
    plain = TorchEngine(net, CPU)
    try:
        engine = build(name, net, CPU, fingerprint(net))
    except Unavailable as reason:
        pytest.skip(f"{KINDS[name].title}: {reason}")
    source = imaging.open_series(volume)
    found = check.references(Denoiser(Model(card(), net, "m"), source, CPU), plain)
    assert found[0].sample.x.shape == (3, SIDE, SIDE) and found[0].removed.shape == (1, SIDE, SIDE)
    for number, one in enumerate(found):
        assert one.problem(plain, thorough=True) == ""
        assert one.problem(engine, thorough=number == 0) == ""
    other = network(seed=4)
    assert "differs by" in found[0].problem(TorchEngine(other, CPU), thorough=False)
    source.close()


@pytest.mark.parametrize("format", [format for format in workflow.FORMATS if format != "adapter"])
def test_an_export_takes_the_slices_beside_and_says_so(format: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    done = finish(workflow.export(str(path), format, tmp_path / "out"))
    assert done.verified and done.normalised < 1e-4
    words = _about(format, done.path)
    assert "slice -1, image, slice +1" in words and "middle" in words


def _about(format: str, path: Path) -> str:
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].shape[1] == 3 and session.get_outputs()[0].shape[1] == 1
        return str(session.get_modelmeta().custom_metadata_map["aegui.input"])
    if format == "safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            return str(file.metadata()["aegui.input"])
    import zipfile

    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith(("input.txt", "metadata.json")))
        text = archive.read(name).decode()
    if format == "monai":
        assert '"num_channels": 3' in text and '"1": "image"' in text
    return text
