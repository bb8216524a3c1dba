"""What the command line shows while a job runs, and how Ctrl+C reaches it. Results go to stdout, all else to stderr."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

from aegui import events as ev
from aegui.errors import Cancelled

SCHEMA = 1


def say(text: str) -> None:
    """A line for the reader, out of the way of stdout."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def warn(message: str, hint: str = "") -> None:
    """A warning on stderr."""
    say(f"Warning: {message} {hint}".rstrip())


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses and specs as objects, paths as text, nan as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # numpy scalars
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(values: Any) -> None:
    """One JSON object on stdout, of a mapping or a dataclass."""
    import json

    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps({"schema": SCHEMA, **plain(values)}, ensure_ascii=not unicode, indent=1) + "\n")


def print_text(text: str = "") -> None:
    """A result for people, on stdout."""
    sys.stdout.write(text + "\n")


class _Asked:
    """How often Ctrl+C was pressed; the third press ends the program where it stands."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.times += 1
        if self.times == 1:
            say("Stopping after this step. Press Ctrl+C again to abandon.")
        elif self.times > 2:
            raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[_Asked]:
    # A KeyboardInterrupt raised inside the generator would kill it; the handler only counts.
    asked = _Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, asked)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def drive(events: ev.Events, quiet: bool = False) -> Any:
    """Run a job and return what its Done holds. First Ctrl+C: stop and keep the best; second: abandon."""
    job = cast("Generator[ev.Event, None, None]", events)
    result: Any = None
    stopped = False
    with _interrupts() as asked, _shown(quiet) as show:
        try:
            event = next(job)
            while True:
                show(event)
                if isinstance(event, ev.Done):
                    result = event.result
                if asked.times >= 2:
                    job.close()
                    raise Cancelled("Abandoned. What was finished before is kept.")
                if asked.times == 1 and not stopped:
                    stopped = True
                    event = job.throw(ev.Stop())
                else:
                    event = next(job)
        except StopIteration:
            pass
        except ev.Stop:
            raise Cancelled("Stopped. Nothing was written.") from None
    return result


@contextmanager
def _shown(quiet: bool) -> Iterator[Any]:
    if quiet:
        yield _Lines(quiet=True).take
    elif not sys.stderr.isatty():
        yield _Lines().take
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Bars(bars).take


def _score(values: Mapping[str, float]) -> str:
    return f"{values['psnr']:.2f} dB" if "psnr" in values else "–"


class _Lines:
    """Milestones as lines, for logs and pipes. quiet: warnings only."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def line(self, text: str) -> None:
        say(text)

    def take(self, event: ev.Event) -> None:
        """Show one event."""
        match event:
            case ev.Warned(message=message, hint=hint):
                self.line(f"Warning: {message} {hint}".rstrip())
            case ev.Done(warnings=warnings):
                for text in warnings:
                    self.line(f"Warning: {text}")
            case _ if self._quiet:
                pass
            case ev.Noted(message=message):
                self.line(message)
            case ev.Baselines(scores=scores):
                named = ", ".join(f"{name} {_score(values)}" for name, values in scores.items())
                self.line(f"To beat (PSNR, {event.psnr_range}): {named}")
            case ev.Epoch():
                best = "  best so far" if event.best else ""
                loss = event.train.get("loss", float("nan"))
                val = event.val.get("loss", float("nan"))
                self.line(
                    f"Epoch {event.epoch}/{event.epochs}: loss {loss:.4g}, validation {val:.4g}, "
                    f"PSNR {event.psnr:.2f} dB, SSIM {event.ssim:.4f}{best}"
                )
            case _:
                pass


class _Bars(_Lines):
    """Progress bars of rich, with the milestones above them."""

    def __init__(self, bars: Any) -> None:
        super().__init__()
        self._bars = bars
        self._training: Any = None
        self._now: Any = None  # the bar of whatever else goes on; one at a time
        self._what = ""
        self._series = ""
        self._steps = 0

    def line(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False)

    def _bar(self, what: str, done: int, total: int | None) -> None:
        if what != self._what:
            if self._now is not None:
                self._bars.remove_task(self._now)
            self._now, self._what = self._bars.add_task(what, total=total), what
        self._bars.update(self._now, completed=done, total=total)

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.Progress(done=done, total=total, what=what):
                self._bar(what, done, total)
            case ev.Started():
                self._steps = event.step
                total = event.epochs * event.steps_per_epoch
                self._training = self._bars.add_task("Training", total=total, completed=event.step)
            case ev.Step() if self._training is not None:
                self._steps += 1
                self._bars.update(self._training, completed=self._steps)
            case ev.SeriesStarted():
                self._series = f"Series {event.index + 1} of {event.total}"
                self._bar(self._series, 0, event.slices)
            case ev.SliceDone():
                self._bar(self._series, event.index + 1, event.slices)
            case _:
                super().take(event)
