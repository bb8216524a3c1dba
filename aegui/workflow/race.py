"""A recipe race: several recipes on crops of the user's own scans for a minute each, judged on the same slices."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aegui import imaging
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Progress, Raced, Step, Stop
from aegui.imaging import Pixels, auto_window
from aegui.recipes import Recipe
from aegui.recipes.targets import SyntheticTargets
from aegui.workflow.adapt import TrainJob, train
from aegui.workflow.course import Course, Judged, lay_out
from aegui.workflow.loss_problems import card_of
from aegui.workflow.problems import check

if TYPE_CHECKING:
    from aegui.classical import Filter
    from aegui.models.zoo import Model

Kind = Literal["input", "pretrained", "classical", "recipe"]
Apply = Callable[[Judged], Pixels]

GAP = 0.1  # seconds between two reports of progress
STEPS_PER_EPOCH = 10  # so that the best of several epochs is kept within the minute
VALIDATION = 2  # slices of that


@dataclass(frozen=True)
class RaceRow:
    """How a contender did. recipe: which one it was; None for others, and from scratch.

    image: its result on the slice that is shown. ssim: None where single pixels are compared. seconds: spent on
    learning or tuning. reason: why it has no scores. note: what to know of it.
    """

    name: str
    kind: Kind
    recipe: Recipe | None = None
    psnr: float | None = None
    ssim: float | None = None
    seconds: float = 0.0
    image: Pixels | None = None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class RaceResult:
    """rows: in the order they ran. noisy, reference: the slice that is shown; the reference is None if there is none.

    window: (width, level). slices: how many judged. words: how, and psnr_range against what R.
    """

    rows: tuple[RaceRow, ...]
    noisy: Pixels
    reference: Pixels | None
    window: tuple[float, float]
    inverted: bool
    slices: int
    words: str
    psnr_range: str
    stopped: bool = False

    @property
    def classical(self) -> RaceRow | None:
        """The best of the classical filters."""
        found = [row for row in self.rows if row.kind == "classical" and row.psnr is not None]
        return max(found, key=lambda row: row.psnr or 0.0, default=None)

    @property
    def ranked(self) -> tuple[RaceRow, ...]:
        """Best first; those without scores last."""
        return tuple(sorted(self.rows, key=lambda row: -(row.psnr if row.psnr is not None else -float("inf"))))


def race(job: TrainJob, recipes: Sequence[Recipe], seconds: float = 60.0, include_scratch: bool = False) -> Events:
    """Let recipes learn from crops for so long each, beside the input, the model as it is and classical filters.

    Nothing is written into the run's folder. include_scratch: the job's own recipe runs once more from random
    weights. A recipe that cannot run is listed with the reason. Stop keeps what is there. Done(RaceResult).
    """
    card = card_of(job.model)
    with tempfile.TemporaryDirectory(prefix="aegui-race-", ignore_cleanup_errors=True) as folder:
        course = yield from lay_out(
            job.recipe,
            recipes,
            job.noisy,
            job.clean,
            job.pairs,
            job.labels,
            job.holdout,
            Path(folder),
            0 if card is None else card.neighbours,
        )
        yield from _Race(job, course, tuple(recipes), seconds, include_scratch, Path(folder)).run()


@dataclass(frozen=True)
class _Contender:
    name: str
    kind: Kind
    work: Callable[[int], Generator[Event, None, RaceRow]]
    recipe: Recipe | None = None


class _Race:
    def __init__(
        self,
        job: TrainJob,
        course: Course,
        recipes: tuple[Recipe, ...],
        seconds: float,
        scratch: bool,
        folder: Path,
    ) -> None:
        self.job, self.course, self.seconds, self.folder = job, course, seconds, folder
        self.entries = [(recipe.title, recipe, job.init) for recipe in recipes]
        if scratch and job.init != "random":
            self.entries.append((f"{job.recipe.title}, from scratch", job.recipe, "random"))
        self.rows: list[RaceRow] = []
        self.count = 0

    def run(self) -> Events:
        """All contenders, then Done(RaceResult)."""
        from aegui.classical import FILTERS

        contenders = [
            _Contender("Noisy input", "input", self._input),
            _Contender("Model as it is", "pretrained", self._pretrained),
            *(_Contender(_capital(one.name), "classical", partial(self._filter, candidate=one)) for one in FILTERS),
        ]
        for name, recipe, init in self.entries:
            work = partial(self._learn, name=name, recipe=recipe, init=init)
            contenders.append(_Contender(name, "recipe", work, recipe if init == self.job.init else None))
        self.count = len(contenders)
        stopped = False
        try:
            for at, one in enumerate(contenders):
                yield Raced(at, self.count, one.name, 0.0, one.kind)
                try:
                    row = yield from one.work(at)
                except UserError as error:
                    row = RaceRow(one.name, one.kind, one.recipe, reason=f"{error.message} {error.hint}".strip())
                self.rows.append(row)
                yield Raced(at, self.count, one.name, 1.0, one.kind, row.psnr, row.image, row.reason)
        except Stop:
            stopped = True
            self.rows += [
                RaceRow(one.name, one.kind, one.recipe, reason="Stopped before its time was up.")
                for one in contenders[len(self.rows) :]
            ]
        yield Done(self._result(stopped))

    def _result(self, stopped: bool) -> RaceResult:
        course, shown = self.course, self.course.shown
        series = shown.series
        return RaceResult(
            tuple(self.rows),
            shown.noisy,
            shown.reference if course.whole else None,
            auto_window(shown.reference, shown.valid, series.modality),
            series.inverted,
            course.slices,
            course.words,
            course.range.name,
            stopped,
        )

    # ---- contenders
    def _input(self, at: int) -> Generator[Event, None, RaceRow]:
        return (yield from self._judge(at, "Noisy input", "input", lambda one: one.noisy))

    def _filter(self, at: int, candidate: Filter) -> Generator[Event, None, RaceRow]:
        from aegui.classical import tune

        began = time.monotonic()
        slices = [(one.noisy, one.reference, self.course.range.value, one.counted) for one in self.course.tuning]
        (tuned,) = yield from tune(slices, [candidate])
        seconds = time.monotonic() - began
        row = yield from self._judge(at, _capital(candidate.name), "classical", lambda one: tuned(one.noisy))
        return replace(row, seconds=seconds)

    def _pretrained(self, at: int) -> Generator[Event, None, RaceRow]:
        from aegui.models.zoo import load_model

        yield Progress(0, None, "Loading the model")
        model = load_model(self.job.model)
        if model.card.weights is None and not self.job.model.endswith(_FILES):
            raise UserError("This model has no trained weights yet.")
        return (yield from self._judge(at, "Model as it is", "pretrained", self._network(model)))

    def _learn(self, at: int, name: str, recipe: Recipe, init: Any) -> Generator[Event, None, RaceRow]:
        from aegui.models.zoo import load_model

        job = self._entry(at, recipe, init)
        problem = next((p for p in check(job) if p.blocking), None)
        if problem is not None:
            raise UserError(problem.message, problem.hint)
        began = 0.0
        told = time.monotonic()
        work = train(job)
        result: Any = None
        asked = False
        try:
            event: Event | None = next(work, None)
            while event is not None:
                now = time.monotonic()
                if isinstance(event, Done):
                    result = event.result
                    break
                if isinstance(event, Step) and not began:
                    began = now - event.seconds
                # Only between steps: what comes after the last one finishes by itself.
                over = isinstance(event, Step) and now - began >= self.seconds
                if now - told >= GAP:
                    told = now
                    part = min(1.0, (now - began) / self.seconds) if began else 0.0
                    yield event if isinstance(event, Progress) and not began else Raced(at, self.count, name, part)
                if over and not asked:
                    asked = True
                    event = work.throw(Stop())  # type: ignore[attr-defined]
                else:
                    event = next(work, None)
        finally:
            work.close()  # type: ignore[attr-defined]
        seconds = min(time.monotonic() - began, self.seconds) if began else 0.0
        row = yield from self._judge(at, name, "recipe", self._network(load_model(str(result.bundle))))
        kept = result.best_epoch == 0 and init == "pretrained" and not recipe.needs_labels
        note = "In this time it found nothing better than the model as it is." if kept else ""
        return replace(row, recipe=recipe if init == self.job.init else None, seconds=seconds, note=note)

    def _entry(self, at: int, recipe: Recipe, init: Any) -> TrainJob:
        """The recipe as it runs here: for so long, on the crops, in a folder that goes away."""
        run = recipe.run.model_copy(
            update={
                "steps": None,
                "minutes": self.seconds / 60,
                "steps_per_epoch": recipe.run.steps_per_epoch or STEPS_PER_EPOCH,
                "validation_slices": VALIDATION,
                "holdout_fraction": 0.0,
                "seed": self.job.recipe.run.seed,
                "keep_every": None,
            }
        )
        stopping = recipe.stopping.model_copy(update={"patience": None})
        course = self.course
        adds = isinstance(recipe.targets, SyntheticTargets)
        return replace(
            self.job,
            recipe=recipe.model_copy(update={"run": run, "stopping": stopping}),
            noisy=course.scans if adds else course.noisy,
            clean=(),
            pairs=course.pairs,
            labels=course.labels,
            holdout=(),
            run=self.folder / f"run{at}",
            init=init,
            resume=False,
        )

    def _network(self, model: Model) -> Apply:
        from aegui.inference.denoiser import Denoiser
        from aegui.training.step import choose_device

        device = choose_device(self.job.device)
        known: dict[str, Denoiser] = {}

        def apply(one: Judged) -> Pixels:
            uid = one.series.uid
            if uid not in known:
                source = imaging.open_series(one.series)
                try:
                    known[uid] = Denoiser(model, source, device)
                finally:
                    source.close()
            result: Pixels = known[uid].pixels(one.noisy, one.valid, 1.0, one.level, one.seen).pixels
            return result

        return apply

    # ---- judging
    def _judge(self, at: int, name: str, kind: Kind, apply: Apply) -> Generator[Event, None, RaceRow]:
        from aegui.measure import psnr, ssim, ssim_window

        course = self.course
        scores: list[tuple[float, float]] = []
        for one in course.judged:
            output = apply(one)
            clip, ssim_range, _ = ssim_window(one.series.modality, course.range)
            scores.append(
                (
                    psnr(output, one.reference, course.range.value, one.counted),
                    ssim(output, one.reference, ssim_range, one.counted, clip) if course.whole else 0.0,
                )
            )
            yield Progress(len(scores), len(course.judged), f"Judging {name}")
        means = np.asarray(scores).mean(axis=0)
        image = apply(course.shown)
        return RaceRow(name, kind, None, float(means[0]), float(means[1]) if course.whole else None, image=image)


_FILES = (".aegui", ".safetensors", ".pt", ".pth")


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
