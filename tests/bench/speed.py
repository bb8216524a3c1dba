"""How fast a model runs here, beside BM3D, non-local means and bare torch; what a whole series costs; what memory.

    python tests/bench/speed.py                       # generated slices
    python tests/bench/speed.py --data ../shared/data/ct_abdomen_j2k
    python tests/bench/speed.py --only series --engine openvino-bf16
    python tests/bench/speed.py --only memory --slices 1000

All that is compared takes turns on the same slices; medians count, and ratios are taken turn by turn, so that what
else the machine does befalls all alike. Asked: a whole series (read, denoise, write) at most 1.2 × the network's own
time, slice after slice; at most 1.5 GB beyond start-up for 1,000 slices of 512². The network is also timed side by
side, as a series runs it. BM3D (pip install bm3d, not free for commercial use) and OpenVINO are left out where they
are not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch

from aegui import imaging, workflow
from aegui.classical.filters import non_local_means
from aegui.events import finish
from aegui.imaging import phantom_dicom
from aegui.inference.check import references
from aegui.inference.choose import Engines
from aegui.inference.denoiser import Denoiser, Prepared
from aegui.inference.denoiser import run as run_net
from aegui.inference.engines import Engine, Unavailable
from aegui.inference.kinds import KINDS
from aegui.inference.streams import alone, side_by_side
from aegui.measure import estimate_noise
from aegui.models.zoo import load_model

RATIO, MEMORY = 1.2, 1.5e9
SIDE, NOISE = 512, 15.0
CPU = torch.device("cpu")


def main() -> int:
    torch.set_num_threads(os.cpu_count() or 1)
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, help="a folder with scans; generated ones else")
    words.add_argument("--model", default="general-small")
    words.add_argument("--engine", default="auto", help="of the whole series and the memory; auto: the fastest")
    words.add_argument("--only", choices=["slice", "series", "memory"])
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--slices", type=int, default=0, help="of the series (40) or the memory (1000)")
    words.add_argument("--slow", action="store_true", help="BM3D and non-local means, too (seconds per slice)")
    given = words.parse_args()
    good = True
    with tempfile.TemporaryDirectory(prefix="aegui-speed-") as folder:
        for kind in ("CONFIG", "DATA", "CACHE"):
            os.environ[f"AEGUI_{kind}_HOME"] = str(Path(folder, kind.lower()))
        work = Path(folder)
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        print(f"{torch.get_num_threads()} threads; load of the machine before it began {load:.1f}")
        if given.only in (None, "slice"):
            per_slice(given.model, scans(given.data, work, 3), given.rounds, given.slow)
        if given.only in (None, "series"):
            series = scans(given.data, work, given.slices or 40)
            good = whole_series(given.model, given.engine, series, work, given.rounds) and good
        if given.only in (None, "memory"):
            good = memory(given.model, given.engine, scans(None, work, given.slices or 1000), work) and good
    return 0 if good else 1


def scans(data: Path | None, work: Path, count: int) -> imaging.Series:
    """The longest series of a folder; or `count` generated CT slices."""
    if data is not None:
        return max(finish(workflow.scan([data])).series, key=lambda series: series.slices)
    folder = work / f"scans{count}"
    if not folder.exists():
        folder.mkdir()
        header = phantom_dicom.PhantomSeries(
            "speed", "speed", "O", 1, "Generated", 20.0, 1.0, (1.0, 0.8, 0.8), (0.0, 0.0, 0.0)
        )
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
        body = np.where(x**2 + 1.6 * y**2 < 0.2, 40.0, -1000.0) + 60 * (np.sin(40 * x) * np.cos(31 * y) > 0.4)
        for index in range(count):
            noise = np.random.default_rng(index).normal(0, NOISE, body.shape)
            pixels = np.maximum(body + noise, -1000.0).astype(np.float32)
            phantom_dicom.write_slice(folder / f"{index:05}.dcm", header, index, pixels)
    return max(finish(workflow.scan([folder])).series, key=lambda series: series.slices)  # type: ignore[no-any-return]


# --- one slice ---------------------------------------------------------------------------------------------------


def per_slice(model: str, series: imaging.Series, rounds: int, slow: bool) -> None:
    """Every engine on one slice, in turn."""
    source = imaging.open_series(series)
    denoiser = Denoiser(load_model(model), source, CPU)
    engines = Engines(denoiser.net, CPU, alone())
    checks = references(denoiser, engines.plain)
    check = checks[0]
    pixels, valid = source.read(len(source) // 2), source.valid(len(source) // 2)
    sd = estimate_noise(pixels, valid)
    runs: dict[str, Callable[[], object]] = {}
    notes: dict[str, str] = {}
    for name, kind in KINDS.items():
        try:
            engine = engines.get(name)
        except Unavailable as reason:
            print(f"{kind.title}: {reason}")
            continue
        problems = (one.problem(engine, thorough=True) for one in checks)
        notes[name] = next(filter(None, problems), "does what torch does")
        runs[name] = lambda engine=engine: check.run(engine)  # type: ignore[misc]
    if slow:
        runs["non-local means"] = lambda: non_local_means(pixels, 0.8)
        try:
            import bm3d

            runs["BM3D"] = lambda: bm3d.bm3d(pixels.astype(np.float64), sd)
        except ImportError:
            print("BM3D is not installed")
    times = in_turn(runs, rounds)
    print(f"\n{model}, one slice of {series.columns} × {series.rows}, noise SD {sd:.1f}, {rounds} rounds")
    for name, taken in times.items():
        ratio = median(a / b for a, b in zip(times["torch"], taken, strict=True))
        words = f"{ratio:6.2f} × as fast as torch  {notes.get(name, '')}"
        print(f"  {name:<16} {1000 * median(taken):8.1f} ms (best {1000 * min(taken):7.1f})  {words}")
    source.close()


def in_turn(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:  # the first round prepares
                times[name].append(time.perf_counter() - start)
    return times


# --- a whole series ------------------------------------------------------------------------------------------------


def job(model: str, engine: str, series: imaging.Series, out: Path) -> workflow.DenoiseJob:
    return workflow.DenoiseJob(model, (series,), out, engine=engine, device="cpu")


def whole_series(model: str, engine: str, series: imaging.Series, work: Path, rounds: int) -> bool:
    """Read, denoise and write beside the network alone on the same slices."""
    out = work / "out"
    if engine == "auto":
        row = finish(workflow.denoise(job(model, engine, series, out))).series[0]  # so that it is chosen
        engine = next(name for name, kind in KINDS.items() if kind.title == row.engine)
    source = imaging.open_series(series)
    denoiser = Denoiser(load_model(model), source, CPU)
    inputs = [(source.read(i), source.valid(i)) for i in range(len(source))]
    source.close()
    prepared = [denoiser.prepared(*one) for one in inputs]
    del inputs
    found, beside = (Engines(denoiser.net, CPU, streams).get(engine) for streams in (alone(), side_by_side(CPU)))

    def through(engine: Engine, one: Prepared) -> None:
        run_net(engine, denoiser.net, one.x[None], np.array([one.level / denoiser.scale.span], np.float32))

    def network() -> None:
        for one in prepared:
            through(found, one)

    def streams() -> None:
        list(pool.map(lambda one: through(beside, one), prepared))

    steps: list[float] = []
    checked = True

    def series_job() -> None:
        nonlocal checked
        shutil.rmtree(out, ignore_errors=True)
        report = finish(workflow.denoise(job(model, engine, series, out)))
        checked = checked and report.series[0].engine == found.kind.title
        steps.append(report.series[0].seconds)

    # The job checks an engine that is asked for on a few slices with torch, which one that is chosen was before.
    with unchecked(), beside.streams.open() as pool:
        times = in_turn({"network": network, "streams": streams, "job": series_job}, rounds)
    ratios, to_streams = (
        [b / a for a, b in zip(times[name], steps[1:], strict=True)] for name in ("network", "streams")
    )
    print(f"\n{model}, {found.kind.title}, a series of {len(prepared)} slices, {rounds} rounds in turn")
    single = median(times["network"])
    print(f"  network alone    {single:7.2f} s, {1000 * single / len(prepared):.0f} ms per slice")
    several = median(times["streams"])
    print(
        f"  {beside.streams.count} slices at once {several:6.2f} s, {1000 * several / len(prepared):.0f} ms per slice"
    )
    print(f"  whole series     {median(steps[1:]):7.2f} s")
    print(f"  ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; asked: at most {RATIO})")
    print(f"  ratio of the best of each {min(steps[1:]) / min(times['network']):.2f}")
    print(f"  ratio to several at once {median(to_streams):.2f}")
    if not checked:
        print("  the job ran with another engine than the one measured")
    return checked and median(ratios) <= RATIO


@contextmanager
def unchecked() -> Iterator[None]:
    from aegui.inference.check import Reference

    real = Reference.problem
    Reference.problem = lambda self, engine, thorough: ""  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Reference.problem = real  # type: ignore[method-assign]


# --- memory --------------------------------------------------------------------------------------------------------


def memory(model: str, engine: str, series: imaging.Series, work: Path) -> bool:
    """The most that a job holds beyond what the program holds once the model is loaded."""
    load_model(model)
    process = psutil.Process()
    start = process.memory_info().rss
    highest = start
    marks: dict[int, int] = {}
    running = True

    def watch() -> None:
        nonlocal highest
        while running:
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.monotonic()
    try:
        for event in workflow.denoise(job(model, engine, series, work / "memory")):
            done = getattr(event, "index", 0)
            if done and done % max(1, series.slices // 4) == 0 and done not in marks:
                marks[done] = process.memory_info().rss
    finally:
        running = False
        thread.join()
    row = json.loads((work / "memory" / "report.json").read_text())["series"][0]
    grown = highest - start
    print(f"\n{model}, {row['engine']}, {series.slices} slices of {series.columns} × {series.rows}: {row['status']}")
    print(f"  {time.monotonic() - began:.0f} s")
    print(f"  highest {grown / 1e9:.2f} GB beyond start-up (asked: at most {MEMORY / 1e9})")
    print("  on the way: " + ", ".join(f"{(value - start) / 1e9:.2f} GB at {at}" for at, value in marks.items()))
    return grown <= MEMORY


if __name__ == "__main__":
    sys.exit(main())
