"""The band above the plots: where the run stands, how long it takes, the best so far, and what can be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame

from aegui.events import Epoch, Started, Step
from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, holder, icon_label, label, row, rule
from aegui.gui.widgets.recipe_foot import duration_words
from aegui.gui.widgets.states import bar


class Clock:
    """How long a run took and will take, pauses left out. now: for tests."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._before = 0.0
        self._since: float | None = None
        self._first: tuple[float, int] | None = None
        self._steps = 0

    def start(self, before: float = 0.0) -> None:
        """before: seconds already spent."""
        self._before, self._since, self._first, self._steps = before, self._now(), None, 0

    def pause(self, on: bool) -> None:
        if on and self._since is not None:
            self._before += self._now() - self._since
            self._since = None
        elif not on and self._since is None:
            self._since = self._now()

    @property
    def elapsed(self) -> float:
        return self._before + (self._now() - self._since if self._since is not None else 0.0)

    def step(self, done: int, seconds: float) -> None:
        """`done` steps of the whole run are behind us; the last took `seconds`."""
        if self._first is None:
            self._first = (self.elapsed - seconds, done - 1)
        self._steps = done

    def left(self, total: int) -> float | None:
        """Seconds to go; None before the third step: never guess."""
        if self._first is None or self._steps - self._first[1] < 3:
            return None
        began, before = self._first
        return (self.elapsed - began) / (self._steps - before) * (total - self._steps)


class RunBand(QFrame):
    """Progress, best, Pause and Stop; after the run: Start again and Continue to Review."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "bar")
        self.setFixedHeight(theme.scaled(72))
        self.clock = Clock()
        self.epochs = self.steps = 1
        self.scores: Mapping[str, Mapping[str, float]] = {}
        self.epoch = label("", "h2")
        self.step = ElidedLabel("", "ter", Qt.TextElideMode.ElideRight)
        self.left = label("", "h3")
        self.so_far = label("", "ter")
        self.bar = bar(name="Progress of the training")
        self.best = label("–", "h2")
        self.gain = label("", "ok")
        self.pause = button("Pause", icon="pause")
        self.stop = button("Stop and keep best", icon="square")
        self.again = button("Start again", icon="rotate-ccw")
        self.resume = button("Resume", icon="play")
        self.on = button("Continue to Review", "primary", "arrow-right")
        words = row(self.epoch, (self.step, 1), self.left, self.so_far, gap=10)
        best = column(
            STRETCH,
            label("Best so far, validation", "ter"),
            row(icon_label("diamond", 14, "text"), self.best, self.gain, gap=6),
            STRETCH,
            gap=2,
        )
        self.best_part = holder(best)
        self.setLayout(
            row(
                (column(STRETCH, words, self.bar, STRETCH, gap=10), 1),
                rule(vertical=True, length=40),
                self.best_part,
                rule(vertical=True, length=40),
                self.pause,
                self.stop,
                self.again,
                self.resume,
                self.on,
                margins=(24, 0, 24, 0),
                gap=12,
            )
        )
        self.show_state("run")

    def show_state(self, state: str) -> None:
        """ "run", "paused", "stopping", "done", "failed"."""
        going = state in ("run", "paused", "stopping")
        self.pause.setVisible(going)
        self.stop.setVisible(going)
        self.pause.setEnabled(state != "stopping")
        self.stop.setEnabled(state != "stopping")
        self.stop.setText(" Stopping" if state == "stopping" else " Stop and keep best")
        self.pause.setText(" Resume" if state == "paused" else " Pause")
        theme.set_icon(self.pause, "play" if state == "paused" else "pause")
        self.again.setVisible(state in ("done", "failed"))
        self.resume.setVisible(state == "failed")
        self.on.setVisible(state == "done")
        theme.set_property(self.bar, tone={"paused": "warn", "done": "ok", "failed": "err"}.get(state, ""))
        self.clock.pause(state not in ("run", "stopping"))
        if state == "paused":
            self.left.setText("Paused")
        elif state == "stopping":
            self.left.setText("Stopping, the best is kept")
        elif state in ("done", "failed"):
            self.left.setText("")

    def prepare(self, words: str, done: int = 0, total: int | None = None) -> None:
        """Before the first step: what is being done."""
        self.step.setText(f"{done} of {total}" if total else "")
        self.epoch.setText(words)
        self.left.setText("")
        self.so_far.setText("")
        self.bar.setVisible(bool(total))
        if total:
            self.bar.setValue(round(1000 * done / total))

    def meanwhile(self, words: str, done: int = 0, total: int | None = None) -> None:
        """Between steps: what is being done, without touching the progress of the run."""
        self.step.setText(f"{words[:1].lower()}{words[1:]}" + (f", {done} of {total}" if total else ""))

    def begin(self, event: Started) -> None:
        self.epochs, self.steps = event.epochs, event.steps_per_epoch
        self.scores = {}
        self.clock.start()
        self.best.setText("–")
        self.gain.setText("")

    def show_step(self, event: Step) -> None:
        done = (event.epoch - 1) * self.steps + event.step
        total = self.epochs * self.steps
        self.clock.step(done, event.seconds)
        self.epoch.setText(f"Epoch {event.epoch} of {self.epochs}")
        self.step.setText(f"step {event.step} of {self.steps}")
        self.bar.setVisible(True)
        self.bar.setValue(round(1000 * done / total))
        left = self.clock.left(total)
        self.left.setText("" if left is None else f"{duration_words(left)} left")
        self.so_far.setText(f"{duration_words(self.clock.elapsed)} so far")

    def show_best(self, event: Epoch, best: float | None) -> None:
        """The best epoch's PSNR beside the strongest baseline there is."""
        if best is not None:
            self.show_score(best)

    def show_score(self, psnr: float) -> None:
        self.best.setText(f"{psnr:.2f} dB".replace("-", "\u2212"))
        words, gain = gain_words(psnr, self.scores)
        self.gain.setText(words)
        self.gain.setToolTip("PSNR in dB, mean over the validation slices")
        theme.set_property(self.gain, t="ok" if gain > 0 else "ter")


def gain_words(psnr: float, scores: Mapping[str, Mapping[str, float]]) -> tuple[str, float]:
    """(“+2.60 over classical”, 2.6), against the first baseline there is; (“0.40 below classical”, −0.4)."""
    for key, words in (("classical", "classical"), ("pretrained", "as it was"), ("input", "input")):
        if key in scores:
            gain = psnr - scores[key]["psnr"]
            return (f"+{gain:.2f} over {words}" if gain >= 0 else f"{-gain:.2f} below {words}"), gain
    return "", 0.0
