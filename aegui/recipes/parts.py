"""The parts a recipe is made of. Value checks only: no torch here.

`kind` names the choice in files and forms; builders turn a part into a torch object elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from aegui.spec import Spec, knob

# ---------------------------------------------------------------- loss terms


class LossTerm(Spec):
    """One term of the objective, in the model's normalised units."""

    weight: float = knob(1.0, title="Weight", help="How much this term counts", ge=0, le=1e6)


class MSE(LossTerm):
    """Mean squared error: stay close to the clean image."""

    kind: Literal["mse"] = "mse"


class L1(LossTerm):
    """Mean absolute error: close to the clean image, less disturbed by outliers."""

    kind: Literal["l1"] = "l1"


class TotalVariation(LossTerm):
    """Anisotropic total variation of the output: smooth flat areas, keep edges."""

    kind: Literal["tv"] = "tv"
    # Of the mean, 0.1 cost the default model 1.6 dB on cardiac MR at σ 25; 0.01 kept what it had.
    weight: float = knob(0.01, title="Weight", help="Higher smooths more", ge=0, le=1e6)
    reduction: Literal["mean", "sum"] = knob(
        "mean", title="Reduction", help="As a sum it grows with the image and swamps the other terms"
    )


class CrossEntropy(LossTerm):
    """Classification cross-entropy on the head: features that tell the classes apart."""

    kind: Literal["ce"] = "ce"
    weight: float = knob(0.5, title="Weight", help="Share of the classification term", ge=0, le=1e6)


Loss = Annotated[MSE | L1 | TotalVariation | CrossEntropy, Field(discriminator="kind")]

# ---------------------------------------------------------------- targets


class PairedTargets(Spec):
    """A clean series for every noisy one."""

    kind: Literal["paired"] = "paired"


class SyntheticNoise(Spec):
    """Gaussian noise is added to the scans, which serve as the clean target."""

    kind: Literal["gaussian"] = "gaussian"
    sigma_low: float = knob(
        25.0, title="Noise from", help="SD of the added noise, in 255ths of the range", unit="of 255", ge=0, le=255
    )
    sigma_high: float = knob(
        25.0, title="Noise to", help="Each patch draws its own SD between the two", unit="of 255", ge=0, le=255
    )
    grain: float = knob(
        0.0,
        title="Grain up to",
        help="Half of the patches get correlated noise, as CT has, of grains up to this wide; 0: white noise only",
        unit="px",
        ge=0,
        le=8,
        advanced=True,
    )
    average: int = knob(
        1,
        title="Average first",
        help="Average blocks of this many pixels: less noise in the target, at a coarser grid",
        unit="px",
        ge=1,
        le=4,
        advanced=True,
    )
    own_noise_limit: float | None = knob(
        None,
        title="Own noise at most",
        help="Slices that are noisier than this themselves are no clean targets and are left out; empty: all are used",
        unit="of 255",
        gt=0,
        le=255,
        advanced=True,
    )

    def model_post_init(self, context: object) -> None:
        """Check that the range is one."""
        if self.sigma_high < self.sigma_low:
            raise ValueError(f"“Noise to” ({self.sigma_high:g}) must not be below “Noise from” ({self.sigma_low:g}).")


Targets = Annotated[PairedTargets | SyntheticNoise, Field(discriminator="kind")]

# ---------------------------------------------------------------- optimisation


class ParameterGroup(Spec):
    """Parameters that share a learning rate. The first group that matches takes a parameter."""

    match: Literal["encoder", "decoder", "head", "rest"] = knob(
        "rest", title="Group", help="Part of the model; “rest” takes what no other group took"
    )
    learning_rate: float = knob(1e-4, title="Learning rate", help="Step size at the schedule's peak", gt=0, le=10)
    train: bool = knob(True, title="Train", help="Off keeps these weights as they are")


class Adam(Spec):
    """Adaptive moments, the usual choice."""

    kind: Literal["adam"] = "adam"
    weight_decay: float = knob(0.0, title="Weight decay", help="L2 penalty added to the gradient", ge=0, le=1)


class AdamW(Spec):
    """Adam with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = knob(0.01, title="Weight decay", help="Shrinks weights at every step", ge=0, le=1)


Optimiser = Annotated[Adam | AdamW, Field(discriminator="kind")]


class ConstantSchedule(Spec):
    """The learning rate stays."""

    kind: Literal["constant"] = "constant"
    warmup: float = knob(
        0.0, title="Warm-up", help="Rise from zero over this many epochs", unit="epochs", ge=0, le=1000
    )


class CosineSchedule(Spec):
    """Falls along a cosine to a fraction of the start."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = knob(
        0.0, title="Warm-up", help="Rise from zero over this many epochs", unit="epochs", ge=0, le=1000
    )
    final: float = knob(0.01, title="Ends at", help="Fraction of the peak learning rate", ge=0, le=1)


Schedule = Annotated[ConstantSchedule | CosineSchedule, Field(discriminator="kind")]


def factor(schedule: ConstantSchedule | CosineSchedule, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning-rate factor at a step counted from 0; the plot and torch's LambdaLR use it alike."""
    warmup = schedule.warmup * steps_per_epoch
    total = epochs * steps_per_epoch

    def at(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if isinstance(schedule, ConstantSchedule):
            return 1.0
        progress = min(1.0, (step - warmup) / max(1.0, total - warmup))
        return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))

    return at


# ---------------------------------------------------------------- run


class Augmentation(Spec):
    """Random changes of the training patches."""

    flips: bool = knob(True, title="Flips", help="Mirror left-right and up-down")
    rotations: bool = knob(True, title="Rotations", help="Turn by quarter turns")


class Run(Spec):
    """How long, how much at a time, and from which random numbers."""

    epochs: int = knob(50, title="Epochs", help="Passes over the training slices", unit="epochs", ge=1, le=100_000)
    steps_per_epoch: int | None = knob(
        None, title="Steps per epoch", help="Empty: one patch of every slice", ge=1, le=1_000_000, advanced=True
    )
    batch_size: int = knob(16, title="Batch", help="Patches per step", unit="patches", ge=1, le=4096)
    patch_size: int | None = knob(
        64, title="Patch", help="Side of the training patches; empty uses whole slices", unit="px", ge=16, le=4096
    )
    validation_fraction: float = knob(
        0.2, title="Validation", help="Share of patients that steer the run but are not trained on", gt=0, lt=0.9
    )
    holdout_fraction: float = knob(
        0.0, title="Hold-out", help="Share of patients kept for Review, besides those you marked", ge=0, lt=0.9
    )
    validation_slices: int = knob(
        12, title="Validation slices", help="At most this many, spread evenly", ge=1, le=10_000, advanced=True
    )
    seed: int = knob(0, title="Seed", help="The same seed repeats the run", ge=0, le=2**31 - 1)
    precision: Literal["fp32", "bf16"] = knob(
        "fp32", title="Precision", help="bf16 is faster where the processor has it", advanced=True
    )
    ema: float | None = knob(
        None, title="Weight averaging", help="Decay of the averaged weights; empty: off", gt=0, lt=1, advanced=True
    )
