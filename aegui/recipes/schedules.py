"""Learning-rate schedules as plain factors of the step: the plot and torch's LambdaLR use them alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Annotated, Literal

from pydantic import Field

from aegui.spec import Spec, knob

Factor = Callable[[int], float]


class ScheduleBase(Spec):
    """Any schedule may begin with a warm-up."""

    warmup: float = knob(
        0.0, title="Warm-up", help="Rise from zero over this many epochs", unit="epochs", ge=0, le=1000
    )


class ConstantSchedule(ScheduleBase):
    """Constant: the learning rate stays."""

    kind: Literal["constant"] = "constant"


class StepSchedule(ScheduleBase):
    """Steps: multiplied by a factor every few epochs."""

    kind: Literal["step"] = "step"
    every: float = knob(10.0, title="Every", help="Time between two steps down", unit="epochs", gt=0, le=100_000)
    drop: float = knob(0.5, title="Multiplied by", help="At every step", gt=0, lt=1)


class CosineSchedule(ScheduleBase):
    """Cosine: falls to a fraction of the peak."""

    kind: Literal["cosine"] = "cosine"
    final: float = knob(0.01, title="Ends at", help="Fraction of the peak learning rate", ge=0, le=1)


class WarmRestarts(ScheduleBase):
    """Warm restarts: falls along a cosine and starts again."""

    kind: Literal["restarts"] = "restarts"
    period: float = knob(10.0, title="First period", help="Until the first restart", unit="epochs", gt=0, le=100_000)
    growth: float = knob(2.0, title="Grows by", help="Each period is this many times as long", ge=1, le=10)
    final: float = knob(0.01, title="Falls to", help="Fraction of the peak learning rate", ge=0, le=1)


class OneCycle(ScheduleBase):
    """One cycle: up, then down to almost nothing."""

    kind: Literal["onecycle"] = "onecycle"
    rise: float = knob(0.3, title="Rises for", help="Share of the run", gt=0, lt=1)
    start: float = knob(0.04, title="Starts at", help="Fraction of the peak learning rate", gt=0, le=1)
    final: float = knob(4e-6, title="Ends at", help="Fraction of the peak learning rate", ge=0, le=1)


class Cyclical(ScheduleBase):
    """Cyclical: up and down between two rates, again and again."""

    kind: Literal["cyclical"] = "cyclical"
    period: float = knob(4.0, title="Period", help="Up and down once", unit="epochs", gt=0, le=100_000)
    low: float = knob(0.1, title="Lowest", help="Fraction of the peak learning rate", ge=0, lt=1)
    form: Literal["triangular", "halving", "exp_range"] = knob(
        "triangular",
        title="Peaks",
        help="How peaks change from cycle to cycle",
        titles={"triangular": "Stay", "halving": "Halve", "exp_range": "Fall exponentially"},
    )
    decay: float = knob(
        0.9, title="Per epoch", help="Factor of the peaks, where they fall exponentially", gt=0, le=1, advanced=True
    )


class Plateau(ScheduleBase):
    """On a plateau: multiplied by a factor when validation has not gained for some epochs."""

    kind: Literal["plateau"] = "plateau"
    patience: int = knob(5, title="Patience", help="Epochs without gain", unit="epochs", ge=1, le=10_000)
    drop: float = knob(0.5, title="Multiplied by", help="Each time", gt=0, lt=1)
    final: float = knob(1e-3, title="At least", help="Fraction of the peak learning rate", ge=0, le=1)


Schedule = Annotated[
    ConstantSchedule | StepSchedule | CosineSchedule | WarmRestarts | OneCycle | Cyclical | Plateau,
    Field(discriminator="kind"),
]


def factor(schedule: ScheduleBase, steps: int, steps_per_epoch: int) -> Factor:
    """The learning-rate factor at a step counted from 0, of `steps` in all.

    A plateau's drops depend on the run; here it is constant, and training multiplies its drops in.
    """
    warmup = schedule.warmup * steps_per_epoch
    shape = _shape(schedule, max(1.0, steps - warmup), steps_per_epoch)

    def at(step: int) -> float:
        return (step + 1) / (warmup + 1) if step < warmup else shape(step - warmup)

    return at


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@singledispatch
def _shape(schedule: ScheduleBase, steps: float, steps_per_epoch: int) -> Callable[[float], float]:
    return lambda step: 1.0


@_shape.register
def _(schedule: StepSchedule, steps: float, steps_per_epoch: int) -> Callable[[float], float]:
    every = max(1.0, schedule.every * steps_per_epoch)
    return lambda step: float(schedule.drop ** (step // every))


@_shape.register
def _(schedule: CosineSchedule, steps: float, steps_per_epoch: int) -> Callable[[float], float]:
    return lambda step: _cosine(1.0, schedule.final, step / steps)


@_shape.register
def _(schedule: WarmRestarts, steps: float, steps_per_epoch: int) -> Callable[[float], float]:
    period = max(1.0, schedule.period * steps_per_epoch)

    def at(step: float) -> float:
        length = period
        while step >= length:
            step -= length
            length *= schedule.growth
        return _cosine(1.0, schedule.final, step / length)

    return at


@_shape.register
def _(schedule: OneCycle, steps: float, steps_per_epoch: int) -> Callable[[float], float]:
    peak = max(1e-9, schedule.rise * steps - 1)

    def at(step: float) -> float:
        if step <= peak:
            return _cosine(schedule.start, 1.0, step / peak)
        return _cosine(1.0, schedule.final, (step - peak) / max(1e-9, steps - 1 - peak))

    return at


@_shape.register
def _(schedule: Cyclical, steps: float, steps_per_epoch: int) -> Callable[[float], float]:
    half = max(1.0, schedule.period * steps_per_epoch / 2)

    def at(step: float) -> float:
        cycle = math.floor(1 + step / (2 * half))
        height = max(0.0, 1 - abs(step / half - 2 * cycle + 1))
        if schedule.form == "halving":
            height *= 0.5 ** (cycle - 1)
        elif schedule.form == "exp_range":
            height *= schedule.decay ** (step / steps_per_epoch)
        return schedule.low + (1 - schedule.low) * height

    return at
