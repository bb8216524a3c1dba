"""What long jobs say while they run.

A job is a generator of these frozen events and ends in `Done`. The thread that runs it reads a
request between events: pause (do not advance), stop (`throw(Stop())`: finish early, keep the best,
still yield `Done`), abandon (`close()`: release and leave the run resumable).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


class Stop(Exception):  # noqa: N818 - a request, not an error
    """Thrown into a job's generator: finish now, keep what is best so far."""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """done of total (None: not known yet) units of the work named by `what`."""

    done: int
    total: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something the user should look at; the job goes on."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """A milestone in plain words ("Passed classical baseline, 34.6 dB"). icon: a Lucide name."""

    message: str
    icon: str = "info"


@dataclass(frozen=True, slots=True)
class Found(Event):
    """A series was completed while scanning."""

    series: Any


@dataclass(frozen=True, slots=True)
class Started(Event):
    """Training begins. epochs and steps per epoch planned; `epoch` and `step` already behind us (resume)."""

    epochs: int
    steps_per_epoch: int
    epoch: int
    step: int
    groups: Mapping[str, int]
    clip: float | None
    seed: int
    selection: str


@dataclass(frozen=True, slots=True)
class Baselines(Event):
    """Validation scores to beat. scores: {"input" | "pretrained" | "classical": {"psnr": dB, "ssim": 0..1}}.

    A baseline that could not be computed is absent.
    """

    scores: Mapping[str, Mapping[str, float]]
    classical_name: str
    psnr_range: str
    ssim_window: str


@dataclass(frozen=True, slots=True)
class Step(Event):
    """One optimiser step. epoch and step count from 1; lr by parameter group; grad_norm before clipping."""

    epoch: int
    step: int
    loss: float
    terms: Mapping[str, float]
    lr: Mapping[str, float]
    grad_norm: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Epoch(Event):
    """One epoch with its validation. train, val: {"loss": total, term name: unweighted value …}."""

    epoch: int
    epochs: int
    train: Mapping[str, float]
    val: Mapping[str, float]
    psnr: float
    ssim: float
    lr: Mapping[str, float]
    best: bool
    best_epoch: int
    seconds: float
    accuracy: float | None = None
    auc: float | None = None


@dataclass(frozen=True, slots=True)
class Preview(Event):
    """One validation slice in real units: noisy, output, reference (rows, columns). window: (width, level).

    slot: which of the `slots` slices that an epoch shows. target: what the reference is called.
    """

    label: str
    epoch: int
    noisy: Image
    output: Image
    reference: Image
    window: tuple[float, float]
    psnr_noisy: float
    psnr_output: float
    inverted: bool = False  # low values are shown bright
    slot: int = 0
    slots: int = 1
    target: str = "Reference"


@dataclass(frozen=True, slots=True)
class Features(Event):
    """What a classifying recipe tells apart after an epoch.

    points: (n, 2), pooled latents of slices on the axes of `method` ("PCA", "UMAP"). labels: (n,), class numbers.
    validation: (n,), else it is a training slice. confusion: (classes, classes), validation slices by true class and
    class found; it is empty, and accuracy and auc (mean over classes, each against the rest) are None, where no term
    trains a classification. auc is None also where only one class is present.
    """

    epoch: int
    points: Image
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    accuracy: float | None
    auc: float | None
    method: str
    validation: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Raced(Event):
    """A contender of a recipe race: number `index` of `count`, how far it is (0 … 1), its score when it is done.

    image: its result on the judged slice that is shown, in real units. reason: why it has no score.
    """

    index: int
    count: int
    name: str
    progress: float
    kind: Literal["input", "pretrained", "classical", "recipe"] = "recipe"
    psnr: float | None = None
    image: Image | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RatePoint(Event):
    """Step `step` of `total` of a learning-rate search. rate: of the fastest group. smoothed: a running mean of losses.

    loss: how far above or below the untouched model's on the same patches, added to that model's mean.
    """

    step: int
    total: int
    rate: float
    loss: float
    smoothed: float


@dataclass(frozen=True, slots=True)
class SeriesStarted(Event):
    """Batch work reached a series."""

    uid: str
    index: int
    total: int
    slices: int


@dataclass(frozen=True, slots=True)
class SliceDone(Event):
    """Slice `index` (from 0) of a series was denoised."""

    uid: str
    index: int
    slices: int


@dataclass(frozen=True, slots=True)
class SeriesDone(Event):
    """A series ended; `result` is its row in the report."""

    uid: str
    result: Any


@dataclass(frozen=True, slots=True)
class Done(Event):
    """The last event of every job."""

    result: Any = None
    warnings: tuple[str, ...] = field(default=())


Events = Iterator[Event]


def finish(events: Events) -> Any:
    """Run a job to its end and return what its `Done` holds."""
    result: Any = None
    for event in events:
        if isinstance(event, Done):
            result = event.result
    return result
