"""The fastest engine that does what torch does is found once and remembered; the others are named with the reason."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import imaging, paths, workflow
from aegui.errors import UserError
from aegui.events import Event, finish
from aegui.inference import check, choose
from aegui.inference.choose import Choice, Engines
from aegui.inference.denoiser import Denoiser
from aegui.inference.engines import Engine, TorchEngine, Unavailable
from aegui.inference.kinds import KINDS
from aegui.inference.streams import Streams, alone
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model

CPU = torch.device("cpu")


class Twisted:
    """Does what torch does, and something to it."""

    def __init__(self, name: str, net: SliceNet, gain: float = 1.0, offset: float = 0.0) -> None:
        self.kind, self.streams = KINDS[name], alone()
        self.gain, self.offset, self.runs = gain, offset, 0
        self._plain = TorchEngine(net, CPU)

    def run(self, x: np.ndarray, level: np.ndarray) -> np.ndarray:
        self.runs += 1
        return self._plain.run(x, level) * np.float32(self.gain) + np.float32(self.offset)


class Broken:
    kind, streams = KINDS["openvino"], alone()

    def run(self, x: np.ndarray, level: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of order")


@pytest.fixture
def series(tmp_path: Path) -> imaging.Series:
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    y, x = np.mgrid[:64, :72] / 40
    volume = 300 + 100 * np.sin(4 * x) * np.cos(3 * y) + rng.normal(0, 15, (20, 64, 72))
    np.save(tmp_path / "scans" / "v.npy", volume.astype(np.float32))
    return finish(workflow.scan([tmp_path / "scans"])).series[0]  # type: ignore[no-any-return]


class Desk:
    """Chooses among engines that the test makes, and counts how often it tries them."""

    def __init__(self, series: imaging.Series, monkeypatch: pytest.MonkeyPatch) -> None:
        self.series = series
        self.net = load_model("classic-small").net
        self.made: dict[str, Engine] = {}
        self.tried = self.checked = 0
        monkeypatch.setattr(choose, "WORTH", 0.0)
        monkeypatch.setattr(choose, "build", self._build)

    def _build(self, name: str, net: SliceNet, device: torch.device, weights: str, streams: Streams) -> Engine:
        if name not in self.made:
            raise Unavailable("it is not made")
        return self.made[name]

    def choose(self, slices: int = 100, wanted: str = "auto", noise_level: float | None = None) -> Choice:
        source = imaging.open_series(self.series)
        try:
            denoiser = Denoiser(load_model("classic-small"), source, CPU)
            return self._drain(
                choose.choose(Engines(self.net, CPU, Streams(2, 1)), denoiser, slices, wanted, noise_level)
            )
        finally:
            source.close()

    def _drain(self, events: Generator[Event, None, Choice]) -> Choice:
        self.tried = self.checked = 0
        while True:
            try:
                what = getattr(next(events), "what", "")
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.tried += what.startswith("Looking")
            self.checked += what.startswith("Checking")


@pytest.fixture
def desk(series: imaging.Series, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(series, monkeypatch)


def faster(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Time them as the fastest, in this order; torch is last."""
    order = {name: float(place) for place, name in enumerate([*names, "torch"], 1)}
    real = choose._timed

    def timed(*args: object) -> Generator[Event, None, None]:
        yield from real(*args)  # type: ignore[arg-type]
        known = args[2]
        known.seconds = {name: order[name] for name in known.seconds if name in order}  # type: ignore[attr-defined]

    monkeypatch.setattr(choose, "_timed", timed)


def test_small_jobs_keep_torch_and_try_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "WORTH", 30.0)
    assert desk.choose(slices=100).engine.kind.name == "torch"
    assert desk.choose(slices=3).engine.kind.name == "torch"
    assert desk.tried == 0 and not (paths.cache_home() / "engines.json").exists()


def test_the_fastest_engine_is_remembered_and_not_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.made["onnxruntime"] = Twisted("onnxruntime", desk.net)
    faster(monkeypatch, "onnxruntime")
    first = desk.choose()
    assert first.engine is desk.made["onnxruntime"] and first.notes == ()
    assert desk.tried > 0 and desk.checked == check.SLICES
    again = desk.choose(slices=3)
    assert again.engine is desk.made["onnxruntime"]
    assert desk.tried == desk.checked == 0


def test_an_engine_that_differs_gives_way_to_the_next_and_its_reason_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.made["openvino-bf16"] = Twisted("openvino-bf16", desk.net, gain=1.1)
    desk.made["openvino"] = Broken()
    desk.made["onnxruntime"] = Twisted("onnxruntime", desk.net)
    faster(monkeypatch, "openvino-bf16", "openvino", "onnxruntime")
    found = desk.choose()
    assert found.engine is desk.made["onnxruntime"]
    assert len(found.notes) == 1 and "OpenVINO, bf16 differs by" in found.notes[0] and "at most 2 %" in found.notes[0]
    (known,) = json.loads((paths.cache_home() / "engines.json").read_text()).values()
    assert known["missing"]["openvino"] == "it fails (RuntimeError: out of order)"
    assert known["missing"]["torch-bf16"] == "it is not made"
    assert desk.choose().notes == found.notes and desk.checked == 0, "and not tried in vain again"


def test_less_noise_than_an_engine_was_checked_with_is_checked_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Twisted("openvino-bf16", desk.net, gain=1.005)
    desk.made["openvino-bf16"] = engine
    faster(monkeypatch, "openvino-bf16")
    assert desk.choose(noise_level=200.0).engine is engine
    assert desk.choose(noise_level=300.0).engine is engine and desk.checked == 0
    assert desk.choose(noise_level=100.0).engine is engine and desk.checked == check.SLICES
    refused = desk.choose(noise_level=0.01)
    assert refused.engine.kind.name == "torch" and "differs" in refused.notes[0]
    assert desk.choose(noise_level=100.0).engine is engine and desk.checked == 0


def test_what_was_only_trusted_is_not_trusted_further(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.made["openvino-bf16"] = Twisted("openvino-bf16", desk.net)
    faster(monkeypatch, "openvino-bf16")
    desk.choose(noise_level=200.0)
    desk.choose(noise_level=170.0)
    assert desk.checked == 0
    desk.choose(noise_level=140.0)
    assert desk.checked == check.SLICES


def test_on_blank_slices_nothing_is_learnt_of_an_engine(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.made["openvino-bf16"] = Twisted("openvino-bf16", desk.net)
    faster(monkeypatch, "openvino-bf16")
    noisy = desk.series
    (tmp_path / "blank").mkdir()
    np.save(tmp_path / "blank" / "v.npy", np.full((20, 64, 72), 7, np.float32))
    desk.series = finish(workflow.scan([tmp_path / "blank"])).series[0]
    assert desk.choose().engine.kind.name == "torch"
    desk.series = noisy
    assert desk.choose().engine is desk.made["openvino-bf16"] and desk.checked == check.SLICES


def test_a_full_disk_does_not_shut_an_engine_out_for_good(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.made["openvino-bf16"] = Twisted("openvino-bf16", desk.net)
    faster(monkeypatch, "openvino-bf16")
    build = desk._build

    def full(name: str, *rest: object) -> Engine:
        if name == "openvino-bf16":
            raise OSError("No space left on device")
        return build(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(choose, "build", full)
    assert desk.choose().engine.kind.name == "torch"
    monkeypatch.setattr(choose, "build", build)
    assert desk.choose().engine is desk.made["openvino-bf16"]


def test_an_engine_asked_for_is_checked_too(desk: Desk) -> None:
    desk.made["onnxruntime"] = Twisted("onnxruntime", desk.net)
    assert desk.choose(slices=1, wanted="onnxruntime").engine is desk.made["onnxruntime"]
    desk.made["openvino"] = Twisted("openvino", desk.net, offset=0.01)
    found = desk.choose(wanted="openvino")
    assert found.engine.kind.name == "torch" and "OpenVINO, fp32 differs" in found.notes[0]


def test_an_engine_that_is_not_to_be_had_is_named(desk: Desk) -> None:
    with pytest.raises(UserError, match="OpenVINO, bf16 is not to be had here: it is not made"):
        desk.choose(wanted="openvino-bf16")
    with pytest.raises(UserError, match="no engine “tensorrt”"):
        desk.choose(wanted="tensorrt")


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', "\x00"])
def test_a_broken_memory_is_forgotten(desk: Desk, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    desk.made["onnxruntime"] = Twisted("onnxruntime", desk.net)
    faster(monkeypatch, "onnxruntime")
    (paths.cache_home() / "engines.json").write_text(content)
    assert desk.choose().engine is desk.made["onnxruntime"]
    assert desk.choose().engine is desk.made["onnxruntime"] and desk.tried == 0


def test_other_weights_are_another_model(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.made["onnxruntime"] = Twisted("onnxruntime", desk.net)
    faster(monkeypatch, "onnxruntime")
    desk.choose()
    with torch.no_grad():
        next(desk.net.parameters()).mul_(1.01)
    desk.made["onnxruntime"] = Twisted("onnxruntime", desk.net)
    desk.choose()
    assert desk.tried > 0


def test_a_real_job_ends_with_an_engine_that_is_there(series: imaging.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "WORTH", 0.0)
    job = workflow.DenoiseJob("classic-small", (series,), series.root.parent / "out", device="cpu")
    report = finish(workflow.denoise(job))
    assert report.series[0].status in ("done", "flagged")
    assert report.series[0].engine in {kind.title for kind in KINDS.values()}
    assert (paths.cache_home() / "engines.json").exists()


# --- the check itself ------------------------------------------------------------------------------------------


def reference(net: SliceNet, level: float = 0.04, hounsfield: bool = True) -> check.Reference:
    y, x = np.mgrid[:64, :64] / 40
    rng = np.random.default_rng(0)
    picture = (0.5 + 0.2 * np.sin(4 * x) * np.cos(3 * y) + rng.normal(0, level, x.shape))[None].astype(np.float32)
    sample = check.Sample(picture, np.ones((64, 64), bool), level, 400.0, hounsfield)
    return check.Reference(TorchEngine(net, CPU), net, sample)


def test_what_torch_itself_gives_has_no_problem() -> None:
    net = load_model("general-small").net
    assert reference(net).problem(TorchEngine(net, CPU), thorough=True) == ""


@pytest.mark.parametrize(
    ("name", "gain", "offset", "problem"),
    [
        ("onnxruntime", 1.0005, 0.0, ""),
        ("onnxruntime", 1.005, 0.0, "of the noise"),
        ("openvino-bf16", 1.005, 0.0, ""),
        ("openvino-bf16", 1.0, 0.1 / 400, "shifts values by 0.1 HU"),
        ("openvino-bf16", 1.05, 0.0, "of the noise"),
        ("openvino-bf16", float("nan"), 0.0, "no numbers"),
    ],
)
def test_engines_in_bf16_may_differ_more_than_those_in_fp32(
    name: str, gain: float, offset: float, problem: str
) -> None:
    net = load_model("general-small").net
    found = reference(net).problem(Twisted(name, net, gain, offset), thorough=True)
    assert problem in found and bool(problem) == bool(found)


def test_an_engine_that_leaves_more_noise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LOW_RMS", 1.0)
    monkeypatch.setattr(check, "LOW_SHIFT", 100.0)
    net = load_model("general-small").net
    engine = Twisted("openvino-bf16", net, gain=0.8)
    assert "dB more noise" in reference(net).problem(engine, thorough=True)
    assert reference(net).problem(engine, thorough=False) == ""


def test_next_to_no_noise_is_held_to_one_hounsfield_unit() -> None:
    net = load_model("general-small").net
    assert reference(net, level=0.0).sample.noise == pytest.approx(1 / 400)
    assert reference(net, level=0.0, hounsfield=False).sample.noise == pytest.approx(0.0025)
