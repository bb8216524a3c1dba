"""Model cards: what a model is, what it was trained on, and which values it takes."""

from __future__ import annotations

from statistics import fmean
from typing import Any, Literal

from aegui.spec import Spec, knob

INPUT = "input"  # in scores: the slices as they were
Architecture = Literal["conv_autoencoder", "residual_autoencoder", "monai_autoencoder", "monai_autoencoder_kl"]


class FixedRange(Spec):
    """Values from low to high become 0 … 1."""

    kind: Literal["range"] = "range"
    low: float = knob(0.0, title="Low", help="Value that becomes 0")
    high: float = knob(1.0, title="High", help="Value that becomes 1")
    limits: tuple[float, float] | None = knob(
        None, title="Limits", help="Values outside pass through unchanged; empty: low and high"
    )


class RobustRange(Spec):
    """0 stays 0; the percentile of the series' foreground becomes 1."""

    kind: Literal["robust"] = "robust"
    percentile: float = knob(99.5, title="Percentile", help="Of the voxels above 0", gt=50, le=100)
    headroom: float = knob(
        4.0, title="Headroom", help="Values above this many times 1 pass through unchanged", ge=1, le=100
    )


class Training(Spec):
    """What a model was trained on."""

    datasets: tuple[dict[str, Any], ...] = knob((), title="Data", help="name, licence, doi, slices, patients")
    recipe: str = knob("", title="Recipe", help="Recipe that made it")
    seconds: float = knob(0.0, title="Time", help="Training time", unit="s", ge=0)
    machine: str = knob("", title="Machine", help="Kind of machine")
    threads: int = knob(
        0, title="Threads", help="Threads of the processor that it took; 0: a graphics card, or unknown", ge=0
    )


class Seen(Spec):
    """What the inputs of a model's training looked like, by modality: the least and the most of each figure."""

    slices: int = knob(0, title="Slices", help="That were looked at", ge=0)
    spacing: tuple[float, float] = knob(title="Pixel spacing", help="Within the slice", unit="mm")
    noise: tuple[float, float] = knob(title="Noise", help="SD as it is estimated", unit="of 255")
    grain: tuple[float, float] | None = knob(
        None, title="Grain", help="Mean frequency of the noise in flat areas: low is coarse", unit="1/px"
    )
    dark: tuple[float, float] = knob(title="Dark", help="Share of pixels below a tenth of the range: air, background")
    bright: tuple[float, float] = knob(title="Bright", help="Median of the other pixels, of the range")
    colour: bool = knob(False, title="Colour", help="Whether pictures in colour were among them")


class Score(Spec):
    """How well a model denoises one kind of scan with one kind of noise, on slices that it was not trained on."""

    scans: str = knob(title="Scans", help="Such as “CT”, or what the slices are")
    noise: str = knob(title="Noise", help="What was to be removed")
    slices: int = knob(title="Slices", help="That were scored", ge=1)
    psnr: float = knob(title="PSNR", help="Mean over the slices", unit="dB")
    others: dict[str, float] = knob({}, title="Others", help="Mean PSNR of “input” and of filters on the same slices")


Intensity = FixedRange | RobustRange


class Card(Spec):
    """A model card, as in resources/models/*.yaml and in every bundle."""

    schema_version: int = knob(1, title="Schema", help="Version of this file's form", ge=1, le=1)
    id: str = knob(title="Id", help="Short name")
    title: str = knob(title="Title", help="Name on the card")
    version: str = knob("", title="Version", help="Of the weights; the day of its training for a model of your own")
    summary: str = knob("", title="Summary", help="What it is for")
    architecture: Architecture = knob(title="Architecture", help="Network class")
    options: dict[str, Any] = knob({}, title="Options", help="Arguments of the network")
    modalities: tuple[str, ...] = knob((), title="Modalities", help="PS3 codes it fits; empty: any")
    intensity: dict[str, Intensity] = knob(
        {"*": RobustRange()}, title="Input range", help="By modality, “8-bit” for such images; “*” for every other"
    )
    noise_level: bool = knob(False, title="Takes a noise level", help="Whether the noise SD is an input")
    multiple: int = knob(1, title="Multiple", help="Sides are padded to a multiple of this", unit="px", ge=1)
    licence: str = knob("Apache-2.0", title="Licence", help="Of the weights")
    training: Training = knob(Training(), title="Training", help="What it was trained on")
    seen: dict[str, Seen] = knob({}, title="Seen", help="What its training inputs looked like, by modality")
    scores: tuple[Score, ...] = knob((), title="Scores", help="Measured on scans that were not trained on")
    scored_by: str = knob("", title="Scored by", help="How the scores were measured")
    metrics: dict[str, Any] = knob({}, title="Training run", help="What the run measured on its validation slices")
    classes: tuple[str, ...] = knob((), title="Classes", help="Names of the head's classes, in order")
    parameters: int = knob(0, title="Parameters", help="Number of weights", ge=0)
    weights: str | None = knob(None, title="Weights", help="File beside the card; empty: starts from random weights")
    sha256: str = knob("", title="Hash", help="SHA-256 of the weights file")

    def intensity_for(self, modality: str) -> Intensity:
        """The input range used for a modality."""
        return self.intensity.get(modality) or self.intensity.get("*") or RobustRange()

    def gains(self) -> tuple[str, dict[str, float]]:
        """(name of the strongest other, mean gain over it in dB by kind of scan); ("", {}) where nothing was scored."""
        names = set.intersection(*(set(score.others) for score in self.scores)) - {INPUT} if self.scores else set()
        if not names:
            return "", {}
        strongest = max(sorted(names), key=lambda name: fmean(score.others[name] for score in self.scores))
        found: dict[str, list[float]] = {}
        for score in self.scores:
            found.setdefault(score.scans, []).append(score.psnr - score.others[strongest])
        return strongest, {scans: fmean(values) for scans, values in found.items()}

    @property
    def variational(self) -> bool:
        """Whether its latent has a spread that a loss can act on."""
        return self.architecture == "monai_autoencoder_kl"

    @property
    def neighbours(self) -> int:
        """Slices on either side that the model sees besides the one it denoises."""
        found = self.options.get("neighbours", 0)
        return found if isinstance(found, int) else 0

    @property
    def sees(self) -> str:
        """That it looks at the slices beside, in words; "" where it looks at single slices."""
        if not self.neighbours:
            return ""
        beside = "the slice" if self.neighbours == 1 else f"{self.neighbours} slices"
        return f"looks at {beside} before and after, too"

    @property
    def about(self) -> str:
        """What it is for and what it looks at, in sentences."""
        if not self.sees:
            return self.summary
        end = "" if not self.summary or self.summary.endswith((".", "!", "?")) else "."
        return f"{self.summary}{end} {self.sees.capitalize()}.".lstrip()

    @property
    def normalises_slices(self) -> bool:
        """Whether it normalises the features of each slice by themselves, for which one pixel of them is too few."""
        return self.architecture == "monai_autoencoder" and self.options.get("norm", "instance") == "instance"

    @property
    def bounded(self) -> bool:
        """Whether its output is 0 … 1."""
        return self.architecture == "conv_autoencoder"

    def fits(self, modality: str) -> bool:
        """Whether the model was made for this modality."""
        return not self.modalities or modality in self.modalities
