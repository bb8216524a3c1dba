"""Loss terms: what makes a result good, as numbers to make small. Value checks only: no torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field

from aegui.spec import Spec, knob


class LossTerm(Spec):
    """One term of the objective, in the model's normalised units.

    short: on a curve. pointwise: compares single pixels, so that it may count at some of them only. exact: needs a
    target without noise. compares: looks at the target at all.
    """

    short: ClassVar[str] = ""
    pointwise: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    compares: ClassVar[bool] = True
    inline: ClassVar[tuple[str, ...]] = ("weight",)
    weight: float = knob(1.0, title="Weight", help="How much this term counts", ge=0, le=1e6)
    starts: float = knob(
        0.0, title="Counts from", help="Weight 0 before this epoch", unit="epochs", ge=0, le=100_000, advanced=True
    )
    ramp: float = knob(
        0.0, title="Grows over", help="From 0 to its weight in this time", unit="epochs", ge=0, le=1e5, advanced=True
    )
    final: float = knob(
        1.0,
        title="Ends at",
        help="Fraction of the weight at the end of the run, along a cosine",
        ge=0,
        le=100,
        advanced=True,
    )

    @property
    def name(self) -> str:
        """What curves and columns call it."""
        return str(getattr(self, "kind", ""))

    @classmethod
    def another(cls, present: Sequence[Spec]) -> Self | None:
        """One that is not among them yet."""
        return cls._unlike(present, [cls()])

    @classmethod
    def _unlike(cls, present: Sequence[Spec], candidates: Sequence[Self]) -> Self | None:
        names = {term.name for term in present if isinstance(term, LossTerm)}
        return next((term for term in candidates if term.name not in names), None)


class ImageLoss(LossTerm):
    """A term that compares images, if wanted in the window in which readers look."""

    window: Literal["full", "lung", "bone", "brain", "abdomen", "mediastinum"] = knob(
        "full",
        title="Window",
        help="Compare what this CT window shows, instead of all values",
        titles={"full": "All values"},
        advanced=True,
    )

    @property
    def name(self) -> str:
        """What curves and columns call it."""
        return super().name if self.window == "full" else f"{super().name}_{self.window}"

    @classmethod
    def another(cls, present: Sequence[Spec]) -> Self | None:
        """One in a window in which it does not compare yet."""
        windows = get_args(cls.model_fields["window"].annotation)
        return cls._unlike(present, [cls(window=window) for window in windows])


class MSE(ImageLoss):
    """Mean squared error: stay close to the clean image."""

    family: ClassVar[str] = "Pixels"
    short: ClassVar[str] = "MSE"
    pointwise: ClassVar[bool] = True
    kind: Literal["mse"] = "mse"


class L1(ImageLoss):
    """Mean absolute error: close to the clean image, less disturbed by outliers."""

    family: ClassVar[str] = "Pixels"
    short: ClassVar[str] = "L1"
    pointwise: ClassVar[bool] = True
    kind: Literal["l1"] = "l1"


class Huber(ImageLoss):
    """Huber: squared for small errors, absolute for large ones."""

    family: ClassVar[str] = "Pixels"
    short: ClassVar[str] = "Huber"
    pointwise: ClassVar[bool] = True
    kind: Literal["huber"] = "huber"
    delta: float = knob(0.05, title="Turns at", help="Error from which it is absolute, of the range", gt=0, le=10)


class Charbonnier(ImageLoss):
    """Charbonnier: a smooth absolute error, √(error² + ε²)."""

    family: ClassVar[str] = "Pixels"
    short: ClassVar[str] = "Charbonnier"
    pointwise: ClassVar[bool] = True
    kind: Literal["charbonnier"] = "charbonnier"
    epsilon: float = knob(1e-3, title="ε", help="Errors below this count as squared, of the range", gt=0, le=1)


class LogarithmicError(ImageLoss):
    """Logarithmic: every slice gains alike in dB, so that those with little noise count as much as others."""

    family: ClassVar[str] = "Pixels"
    short: ClassVar[str] = "Log"
    pointwise: ClassVar[bool] = True
    kind: Literal["log"] = "log"
    # Its value is in dB, some hundreds of times those of the terms beside it.
    weight: float = knob(0.01, title="Weight", help="How much this term counts", ge=0, le=1e6)
    of: Literal["absolute", "squared"] = knob(
        "absolute",
        title="Error",
        help="Absolute learns faster; squared is what PSNR counts",
        titles={"absolute": "Absolute", "squared": "Squared"},
    )
    floor: float = knob(0.01, title="Floor", help="Errors far below this hardly count, of the range", gt=0, le=1)

    @property
    def name(self) -> str:
        """What curves and columns call it."""
        return super().name if self.of == "absolute" else f"{super().name}_{self.of}"

    @classmethod
    def another(cls, present: Sequence[Spec]) -> Self | None:
        """One of the other error, or in a window in which it does not compare yet."""
        return cls._unlike(present, [cls(), cls(of="squared")]) or super().another(present)


class BinaryCrossEntropy(ImageLoss):
    """Binary cross-entropy: for models whose output is 0 to 1, as of a sigmoid."""

    family: ClassVar[str] = "Pixels"
    short: ClassVar[str] = "BCE"
    exact: ClassVar[bool] = True
    kind: Literal["bce"] = "bce"


class TotalVariation(LossTerm):
    """Total variation: smooth flat areas, keep edges."""

    family: ClassVar[str] = "Structure"
    short: ClassVar[str] = "TV"
    compares: ClassVar[bool] = False
    kind: Literal["tv"] = "tv"
    # Of the mean, 0.1 cost the default model 1.6 dB on cardiac MR at σ 25; 0.01 kept what it had.
    weight: float = knob(0.01, title="Weight", help="Higher smooths more", ge=0, le=1e6)
    reduction: Literal["mean", "sum"] = knob(
        "mean", title="Reduction", help="As a sum it grows with the image and swamps the other terms"
    )
    form: Literal["anisotropic", "isotropic"] = knob(
        "anisotropic", title="Form", help="Anisotropic favours edges along rows and columns", advanced=True
    )


class SSIM(ImageLoss):
    """Structure (SSIM): keep edges and texture alike."""

    family: ClassVar[str] = "Structure"
    short: ClassVar[str] = "1 − SSIM"
    exact: ClassVar[bool] = True
    kind: Literal["ssim"] = "ssim"
    weight: float = knob(0.2, title="Weight", help="Weight of 1 − SSIM", ge=0, le=1e6)


class MultiScaleSSIM(ImageLoss):
    """Structure, several scales: SSIM at growing pixel sizes together."""

    family: ClassVar[str] = "Structure"
    short: ClassVar[str] = "1 − MS-SSIM"
    exact: ClassVar[bool] = True
    kind: Literal["ms_ssim"] = "ms_ssim"
    weight: float = knob(0.2, title="Weight", help="Weight of 1 − MS-SSIM", ge=0, le=1e6)
    scales: int = knob(3, title="Scales", help="Each halves the image once more", ge=2, le=5)

    @property
    def smallest(self) -> int:
        """Side of the smallest patch it can compare, px."""
        return 10 * (1 << (self.scales - 1)) + 1


class Edges(ImageLoss):
    """Edges: the differences between neighbours must agree (mean squared error of both slopes)."""

    family: ClassVar[str] = "Structure"
    short: ClassVar[str] = "Edges"
    exact: ClassVar[bool] = True
    kind: Literal["edges"] = "edges"
    # Absolute errors of slopes made edges flatter than squares of pixels alone do: most slopes are nearly 0.
    weight: float = knob(1.0, title="Weight", help="Higher gives sharper edges", ge=0, le=1e6)


class Fourier(ImageLoss):
    """Spectrum: the detail at every frequency must have the strength of the target's."""

    family: ClassVar[str] = "Frequency"
    short: ClassVar[str] = "Spectrum"
    exact: ClassVar[bool] = True
    kind: Literal["fourier"] = "fourier"
    weight: float = knob(0.05, title="Weight", help="Higher keeps more texture", ge=0, le=1e6)
    compare: Literal["amplitude", "radial"] = knob(
        "amplitude",
        title="Compare",
        help="Every frequency, or the noise power spectrum averaged over directions",
        titles={"amplitude": "Every frequency", "radial": "Noise power spectrum"},
    )


class Perceptual(ImageLoss):
    """Perceptual: features of a frozen network must agree."""

    family: ClassVar[str] = "Features"
    short: ClassVar[str] = "Perceptual"
    exact: ClassVar[bool] = True
    kind: Literal["perceptual"] = "perceptual"
    weight: float = knob(0.1, title="Weight", help="Weight of the squared difference of features", ge=0, le=1e6)
    features: Literal["own", "lpips", "radimagenet"] = knob(
        "own",
        title="Features of",
        help="The model's own encoder works everywhere; the others need their weights installed",
        titles={"own": "The model's own encoder", "lpips": "LPIPS", "radimagenet": "RadImageNet"},
    )


class Adversarial(LossTerm):
    """Adversarial: a second network must not tell the result from a clean image."""

    family: ClassVar[str] = "Features"
    short: ClassVar[str] = "Adversarial"
    exact: ClassVar[bool] = True
    kind: Literal["adversarial"] = "adversarial"
    weight: float = knob(0.005, title="Weight", help="Small: it can make up detail", ge=0, le=1e6)
    learning_rate: float = knob(
        1e-4, title="Its learning rate", help="Of the patch discriminator, with Adam", gt=0, le=1
    )


class CrossEntropy(LossTerm):
    """Classification: features that tell the classes apart (cross-entropy of a head)."""

    family: ClassVar[str] = "Classes"
    short: ClassVar[str] = "CE"
    compares: ClassVar[bool] = False
    kind: Literal["ce"] = "ce"
    weight: float = knob(0.5, title="Weight", help="Share of the classification term", ge=0, le=1e6)
    class_weights: Literal["none", "balanced"] = knob(
        "none",
        title="Class weights",
        help="Balanced: rare classes count as much as frequent ones",
        titles={"none": "Equal", "balanced": "Balanced"},
    )
    label_smoothing: float = knob(
        0.0, title="Label smoothing", help="Share of certainty given to the other classes", ge=0, lt=1
    )


class Contrastive(LossTerm):
    """Contrast of classes: features of one class close together (supervised contrastive)."""

    family: ClassVar[str] = "Classes"
    short: ClassVar[str] = "Contrast"
    compares: ClassVar[bool] = False
    kind: Literal["supcon"] = "supcon"
    weight: float = knob(0.1, title="Weight", help="Weight of the supervised contrastive loss", ge=0, le=1e6)
    temperature: float = knob(0.1, title="Temperature", help="Smaller looks at the closest only", gt=0, le=10)


class KullbackLeibler(LossTerm):
    """Latent spread (KL): for variational models, keeps the latent near a normal distribution."""

    family: ClassVar[str] = "Latent"
    short: ClassVar[str] = "KL"
    compares: ClassVar[bool] = False
    kind: Literal["kl"] = "kl"
    weight: float = knob(1e-4, title="Weight", help="β of a β-VAE, per latent value", ge=0, le=1e6)


class Sparsity(LossTerm):
    """Latent sparsity: few features at a time (mean absolute value of the latent)."""

    family: ClassVar[str] = "Latent"
    short: ClassVar[str] = "Sparsity"
    compares: ClassVar[bool] = False
    kind: Literal["sparsity"] = "sparsity"
    weight: float = knob(1e-3, title="Weight", help="Higher leaves fewer active features", ge=0, le=1e6)


Loss = Annotated[
    MSE
    | L1
    | Huber
    | Charbonnier
    | LogarithmicError
    | BinaryCrossEntropy
    | TotalVariation
    | SSIM
    | MultiScaleSSIM
    | Edges
    | Fourier
    | Perceptual
    | Adversarial
    | CrossEntropy
    | Contrastive
    | KullbackLeibler
    | Sparsity,
    Field(discriminator="kind"),
]

LOSSES: tuple[type[LossTerm], ...] = get_args(get_args(Loss)[0])


def short_name(name: str) -> str:
    """What a curve of the term called `name` in files is labelled: “mse_lung” → “MSE, lung”."""
    kinds = {str(term.model_fields["kind"].default): term.short for term in LOSSES}
    kind = max((kind for kind in kinds if name == kind or name.startswith(f"{kind}_")), key=len, default="")
    window = name.removeprefix(kind).removeprefix("_")
    return ", ".join(part for part in (kinds.get(kind, ""), window) if part) or name


def weight_at(term: LossTerm, epoch: float, epochs: float) -> float:
    """The weight of a term when `epoch` (from 0, with fractions) of `epochs` have passed."""
    if epoch < term.starts:
        return 0.0
    grown = 1.0 if not term.ramp else min(1.0, (epoch - term.starts) / term.ramp)
    fallen = 1 + (term.final - 1) * 0.5 * (1 - math.cos(math.pi * min(1.0, epoch / max(epochs, 1e-9))))
    return term.weight * grown * fallen
