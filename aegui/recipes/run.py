"""Regularisation, augmentation, stopping and the length of a run. Value checks only: no torch here."""

from __future__ import annotations

from typing import Literal

from aegui.spec import Spec, knob

USUAL_BATCH = 16


class Regularisation(Spec):
    """What keeps a network from learning its training slices by heart."""

    gradient_clip: float | None = knob(
        None, title="Clip gradients", help="Largest gradient; empty: no clipping", gt=0, le=1e6
    )
    clip_by: Literal["norm", "value"] = knob(
        "norm",
        title="Clip by",
        help="The norm of all gradients together, or each value",
        titles={"norm": "Norm", "value": "Value"},
        advanced=True,
    )
    dropout: float = knob(0.0, title="Dropout", help="Share of the latent features switched off at a time", ge=0, lt=1)
    dropout_kind: Literal["spatial", "element"] = knob(
        "spatial",
        title="Drop",
        help="Whole feature maps, or single values",
        titles={"spatial": "Feature maps", "element": "Values"},
        advanced=True,
    )
    batch_norm: Literal["train", "statistics", "freeze", "recalibrate"] = knob(
        "train",
        title="Batch norm",
        help="For models with batch normalisation; small batches spoil its statistics",
        titles={
            "train": "Train",
            "statistics": "Freeze statistics",
            "freeze": "Freeze all of it",
            "recalibrate": "Recalibrate on these scans",
        },
        advanced=True,
    )
    mixup: float = knob(
        0.0, title="Mixup", help="Blends pairs of patches; 0.2 is usual, 0: off", ge=0, le=10, advanced=True
    )


class Augmentation(Spec):
    """Random changes of the training patches."""

    flips: bool = knob(True, title="Flips", help="Mirror left-right and up-down")
    rotations: bool = knob(True, title="Rotations", help="Turn by quarter turns")
    scale: float = knob(
        0.0, title="Zoom", help="Patches are up to this much larger or smaller", unit="%", ge=0, le=50, advanced=True
    )
    intensity: float = knob(
        0.0,
        title="Intensity",
        help="Values are multiplied by up to this much more or less",
        unit="%",
        ge=0,
        le=50,
        advanced=True,
    )
    kspace: float = knob(
        0.0,
        title="k-space",
        help="Up to this share of the outer k-space is cut off, in input and target",
        unit="%",
        ge=0,
        le=60,
        advanced=True,
    )
    dose: float = knob(
        0.0,
        title="Dose",
        help="Input noise is raised by up to this much, as at a lower dose",
        unit="%",
        ge=0,
        le=200,
        advanced=True,
    )


class Stopping(Spec):
    """Which epoch is the best one, and when there is nothing more to gain."""

    metric: Literal["auto", "psnr", "ssim", "loss", "accuracy", "auc"] = knob(
        "auto",
        title="Best by",
        help="On validation slices. Auto: PSNR, with classes the loss, without clean targets the held-out pixels",
        titles={"auto": "Auto", "psnr": "PSNR", "ssim": "SSIM", "loss": "Loss", "accuracy": "Accuracy", "auc": "AUC"},
    )
    patience: int | None = knob(
        None, title="Stop after", help="Epochs without gain; empty: run to the end", unit="epochs", ge=1, le=100_000
    )
    min_epochs: int = knob(
        0, title="Not before", help="Epochs that are run in any case", unit="epochs", ge=0, le=100_000, advanced=True
    )
    min_gain: float = knob(
        0.0,
        title="Smallest gain",
        help="Less than this counts as none, in the unit of the score",
        ge=0,
        le=100,
        advanced=True,
    )


class Run(Spec):
    """How long, how much at a time, and from which random numbers."""

    epochs: int = knob(50, title="At most", help="Passes over the training slices", unit="epochs", ge=1, le=100_000)
    steps: int | None = knob(
        None,
        title="Or steps",
        help="Steps in all, instead of the epochs; the last epoch may be shorter",
        unit="steps",
        ge=1,
        le=10**7,
        advanced=True,
    )
    minutes: float | None = knob(
        None,
        title="Or time",
        help="Time for steps and validation, instead of the epochs; the first steps are timed, and the number of steps "
        "that fits is written into the run's recipe",
        unit="min",
        gt=0,
        le=100_000,
        advanced=True,
    )
    steps_per_epoch: int | None = knob(
        None, title="Steps per epoch", help="Empty: one patch of every slice", ge=1, le=1_000_000, advanced=True
    )
    batch_size: int | None = knob(
        16, title="Batch", help="Patches per step; empty: what memory allows, up to 64", unit="patches", ge=1, le=4096
    )
    patch_size: int | None = knob(
        64, title="Patch", help="Side of the training patches; empty uses whole slices", unit="px", ge=16, le=4096
    )
    accumulate: int = knob(
        1,
        title="Accumulate",
        help="Batches whose gradients are added before a step",
        unit="batches",
        ge=1,
        le=1024,
        advanced=True,
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
    evenly: Literal["slice", "patient", "modality"] = knob(
        "slice",
        title="Draw evenly over",
        help="Patients: each as often; modalities: each as often, in it patients by the root of their slices",
        titles={"slice": "Slices", "patient": "Patients", "modality": "Modalities"},
        advanced=True,
    )
    seed: int = knob(0, title="Seed", help="The same seed repeats the run", ge=0, le=2**31 - 1)
    precision: Literal["fp32", "bf16"] = knob(
        "fp32",
        title="Precision",
        help="Mixed bf16 is faster where the processor or card has it",
        titles={"fp32": "fp32", "bf16": "bf16, mixed"},
        advanced=True,
    )
    channels_last: bool = knob(
        True, title="Channels last", help="Memory layout that convolutions like best", advanced=True
    )
    keep_every: int | None = knob(
        None,
        title="Keep every",
        help="Keeps the weights of each such epoch; empty: last and best only",
        unit="epochs",
        ge=1,
        le=100_000,
        advanced=True,
    )

    @property
    def batch(self) -> int:
        """Patches at a time; the usual number where it is left to memory, which is asked when a run starts."""
        return self.batch_size or USUAL_BATCH

    def total(self, steps_per_epoch: int) -> int:
        """Steps in all; a time limit is not known here."""
        return self.steps or self.epochs * steps_per_epoch
