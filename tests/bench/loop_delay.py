"""How late the window's event loop is while it trains and then denoises: what a user feels as sluggishness.

    python tests/bench/loop_delay.py --minutes 5

A timer of 5 ms runs in the window's thread; a tick's lateness is what the loop was busy with something else.
Asked: at most 50 ms for 99 of 100 ticks, and at most one tick later than 200 ms in ten minutes.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

EVERY = 5.0  # ms
LIMIT, WORST = 50.0, 200.0  # ms
LATE = 120.0  # ms after which --stacks tells where the threads are


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--minutes", type=float, default=5, help="of training")
    words.add_argument("--model", default="", help="default: the shipped one that comes first")
    words.add_argument("--patients", type=int, default=3)
    words.add_argument("--slices", type=int, default=24, help="of each patient")
    words.add_argument("--data", type=Path, help="scans instead of the sample data")
    words.add_argument("--stacks", action="store_true", help="print what the window did when it was late by 50 ms")
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="aegui-delay-") as folder:
        for kind in ("CONFIG", "DATA", "CACHE"):
            os.environ[f"AEGUI_{kind}_HOME"] = str(Path(folder, kind.lower()))
        return measure(given, Path(folder))


def measure(given: argparse.Namespace, folder: Path) -> int:
    from PySide6.QtCore import QEvent, QObject, Qt, QTimer

    from aegui import events, sample
    from aegui.gui import app
    from aegui.gui.pages.deliver import DeliverPage
    from aegui.gui.pages.recipe import RecipePage
    from aegui.gui.pages.train import TrainPage
    from aegui.gui.window import Window

    scans = given.data
    if scans is None:
        print(f"Making scans: {given.patients} patients, {given.slices} slices each", flush=True)
        scans = events.finish(sample.generate(folder / "scans", slices=given.slices, patients=given.patients))["low"]

    class Probe(QObject):
        """Lateness of every tick, by what the program is doing."""

        def __init__(self) -> None:
            super().__init__()
            self.phase = ""
            self.late: dict[str, list[float]] = {}
            self.seconds: dict[str, float] = {}
            self.timer = QTimer(self)
            self.timer.setTimerType(Qt.TimerType.PreciseTimer)
            self.timer.setInterval(int(EVERY))
            self.timer.timeout.connect(self.tick)
            self.last = time.perf_counter()

        def begin(self, phase: str) -> None:
            self.phase = phase
            self.last = time.perf_counter()
            self.timer.start()

        def tick(self) -> None:
            now = time.perf_counter()
            gap = now - self.last
            self.last = now
            late = max(0.0, 1000 * gap - EVERY)
            self.late.setdefault(self.phase, []).append(late)
            self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + gap
            if late > WORST:
                print(f"  {self.phase}: {late:.0f} ms late after {self.seconds[self.phase]:.0f} s", flush=True)

    result: list[int] = []

    def drive(window: Window) -> None:
        probe = Probe()
        session = window.session
        recipe = next(p for p in window.pages if isinstance(p, RecipePage))
        train = next(p for p in window.pages if isinstance(p, TrainPage))
        deliver = next(p for p in window.pages if isinstance(p, DeliverPage))
        window.probe = probe  # type: ignore[attr-defined]
        watch = Watch() if given.stacks else None

        def scanned() -> None:
            loaded = "aegui.training.fit" in sys.modules and gc.isenabled()  # nobody trains before that
            if not loaded or window.scans.scanning.running or not session.series:
                QTimer.singleShot(200, scanned)
                return
            if given.model:
                session.set_model(given.model)
            session.ensure_model()
            session.set_recipe(session.recipe.with_set(["run.epochs=100000"]))
            session.train_job = recipe.job()
            window.show_page_named("train")
            probe.begin("training")
            if watch is not None:
                probe.timer.timeout.connect(watch.tick)
            QTimer.singleShot(int(given.minutes * 60_000), train.stop)
            session.result_changed.connect(trained)

        def trained() -> None:
            session.result_changed.disconnect(trained)
            print(f"  trained for {train.epoch} epochs", flush=True)
            if watch is not None:
                print(f"  imported meanwhile: {watch.imported()}", flush=True)
            QTimer.singleShot(1500, denoise)

        def denoise() -> None:
            window.show_page_named("deliver")
            deliver.options.folder.setText(str(folder / "out"))
            probe.begin("denoising")
            deliver.start()
            deliver.batch.ended.connect(lambda _report: QTimer.singleShot(500, over))

        def over() -> None:
            probe.timer.stop()
            if watch is not None:
                print(f"  imported meanwhile: {watch.imported()}", flush=True)
                watch.stop()
            result.append(say(probe.late, probe.seconds))
            window.close()

        scanned()

    class Starter(QObject):
        """Catches the window when the program shows it."""

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if isinstance(watched, Window) and event.type() == QEvent.Type.Show and not self.seen:
                self.seen = True
                QTimer.singleShot(1500, lambda: drive(watched))
            return False

        seen = False

    from PySide6.QtWidgets import QApplication

    qt = QApplication(sys.argv[:1])
    starter = Starter()
    qt.installEventFilter(starter)

    # The filter is only needed until the window is there; in Python it would slow every event.
    def unfilter() -> None:
        if starter.seen:
            qt.removeEventFilter(starter)
        else:
            QTimer.singleShot(200, unfilter)

    QTimer.singleShot(200, unfilter)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    app.run(scans)
    return result[0] if result else 1


class Watch:
    """What all threads are at when a tick is late (told without the interpreter's lock), and long collections."""

    def __init__(self) -> None:
        self._modules = set(sys.modules)
        self._began = 0.0
        gc.callbacks.append(self._collecting)

    def tick(self) -> None:
        faulthandler.dump_traceback_later(LATE / 1000, exit=False)

    def stop(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        gc.callbacks.remove(self._collecting)

    def imported(self) -> list[str]:
        """Top packages that came since the last call."""
        fresh, self._modules = set(sys.modules) - self._modules, set(sys.modules)
        return sorted({".".join(name.split(".")[:2]) for name in fresh})

    def _collecting(self, phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif (taken := 1000 * (time.perf_counter() - self._began)) > 20:
            print(f"  collection of generation {about['generation']} took {taken:.0f} ms", flush=True)


def say(late: dict[str, list[float]], seconds: dict[str, float]) -> int:
    fine = True
    for phase, values in late.items():
        over = sum(value > WORST for value in values)
        p99 = quantile(values, 0.99)
        allowed = max(1, round(seconds[phase] / 600))
        fine = fine and p99 <= LIMIT and over <= allowed
        print(
            f"{phase}: {seconds[phase]:.0f} s, {len(values)} ticks, late by {quantile(values, 0.5):.1f} ms (median), "
            f"{p99:.1f} ms (99 %), {quantile(values, 0.999):.1f} ms (99.9 %), {max(values):.0f} ms (most); "
            f"{sum(value > LIMIT for value in values)} over {LIMIT:g} ms, {over} over {WORST:g} ms"
        )
    print(f"load {os.getloadavg()[0]:.1f} at the end: {'as asked' if fine else 'NOT as asked'}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
