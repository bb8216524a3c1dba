"""Noise and other corruption that is put on clean scans to learn from. Strengths are ranges; each patch draws its own.

“of 255” is σ·R/255 with R the data range of `aegui.measure`. Value checks only: no numpy here.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from aegui.spec import Spec, knob, refuse


class Corruption(Spec):
    """One kind of corruption; those of a recipe are applied in their order.

    made_by: PS3 codes of the modalities whose scanners make such noise; empty: any.
    """

    made_by: ClassVar[tuple[str, ...]] = ()
    inline: ClassVar[tuple[str, ...]] = ("low", "high")

    def model_post_init(self, context: object) -> None:
        """Check that the range is one."""
        low, high = getattr(self, "low", 0.0), getattr(self, "high", 0.0)
        if high < low:
            fields = type(self).model_fields
            refuse((f"Must not be below “{fields['low'].title}”. Try {low:g}.", ("high",)))


def _share() -> float:
    share: float = knob(
        1.0, title="Share of patches", help="1: every patch has it; below: this share has", gt=0, le=1, advanced=True
    )
    return share


class Gaussian(Corruption):
    """Gaussian noise: the same everywhere, white or with grain."""

    family: ClassVar[str] = "Noise"
    kind: Literal["gaussian"] = "gaussian"
    low: float = knob(25.0, title="From", help="SD of the added noise", unit="of 255", ge=0, le=255)
    high: float = knob(25.0, title="To", help="Each patch draws its own between the two", unit="of 255", ge=0, le=255)
    grain: float = knob(
        0.0,
        title="Grain up to",
        help="Half of the patches get correlated noise, as CT has, of grains up to this wide; 0: white noise only",
        unit="px",
        ge=0,
        le=8,
        advanced=True,
    )
    share: float = _share()


class PoissonGaussian(Corruption):
    """Photon noise (Poisson–Gaussian): grows with the signal, as in X-ray and nuclear medicine."""

    made_by: ClassVar = ("CR", "DX", "DR", "RF", "XA", "MG", "RG", "NM", "PT", "CT", "SM", "GM")
    family: ClassVar[str] = "Noise"
    kind: Literal["poisson"] = "poisson"
    low: float = knob(50.0, title="Photons from", help="Counts per pixel at the top of the range", gt=0, le=1e7)
    high: float = knob(500.0, title="Photons to", help="Fewer photons are noisier", gt=0, le=1e7)
    read_noise: float = knob(
        2.0, title="Read-out noise", help="Gaussian noise of the detector besides", unit="of 255", ge=0, le=255
    )
    share: float = _share()


class Rician(Corruption):
    """MR magnitude noise (Rician): Gaussian in both channels, so that dark areas become brighter."""

    made_by: ClassVar = ("MR",)
    family: ClassVar[str] = "Noise"
    kind: Literal["rician"] = "rician"
    low: float = knob(10.0, title="From", help="SD in each channel", unit="of 255", ge=0, le=255)
    high: float = knob(40.0, title="To", help="Each patch draws its own between the two", unit="of 255", ge=0, le=255)
    coils: int = knob(1, title="Coils", help="Above 1: non-central chi, as sum of squares gives", ge=1, le=64)
    share: float = _share()


class Speckle(Corruption):
    """Speckle: multiplies the signal, as in ultrasound."""

    made_by: ClassVar = ("US", "IVUS", "OCT", "OPT")
    family: ClassVar[str] = "Noise"
    kind: Literal["speckle"] = "speckle"
    low: float = knob(0.1, title="From", help="SD relative to the signal", ge=0, le=2)
    high: float = knob(0.4, title="To", help="Each patch draws its own between the two", ge=0, le=2)
    grain: float = knob(1.0, title="Grain", help="Width of the speckles; 0: single pixels", unit="px", ge=0, le=8)
    share: float = _share()


class LowDoseCT(Corruption):
    """CT at lower dose: noise put into the projections, so that it streaks and varies as a scanner's does."""

    made_by: ClassVar = ("CT",)
    family: ClassVar[str] = "Noise of a scanner"
    kind: Literal["ct_dose"] = "ct_dose"
    low: float = knob(0.1, title="Dose from", help="Fraction of the scan's own dose", gt=0, le=1)
    high: float = knob(0.5, title="Dose to", help="Each patch draws its own between the two", gt=0, le=1)
    photons: float = knob(
        2e5,
        title="Photons a ray",
        help="In air, at the scan's own dose, on 0.6 × 0.6 mm; fewer are noisier",
        gt=100,
        le=1e8,
    )
    electronic: float = knob(
        5.0, title="Electronic noise", help="SD of the detector's noise, in photons", ge=0, le=1e4, advanced=True
    )
    kernel: Literal["smooth", "medium", "sharp"] = knob(
        "medium", title="Kernel", help="Reconstruction filter: sharp ones have finer, stronger noise"
    )
    share: float = _share()


class Measured(Corruption):
    """Noise of my scanner: with the strength and the spectrum that were measured in your scans."""

    family: ClassVar[str] = "Noise of a scanner"
    kind: Literal["measured"] = "measured"
    low: float = knob(10.0, title="From", help="SD of the added noise", unit="of 255", ge=0, le=255)
    high: float = knob(30.0, title="To", help="Each patch draws its own between the two", unit="of 255", ge=0, le=255)
    spectrum: str = knob(
        "1",
        title="Spectrum",
        help="Noise power from frequency 0 to the highest in equal steps, relative; “1” is white",
        max_length=2000,
        advanced=True,
    )
    signal: float = knob(
        0.0,
        title="Grows with signal",
        help="Share of the noise's variance that is proportional to the signal",
        ge=0,
        le=1,
        advanced=True,
    )
    share: float = _share()

    def model_post_init(self, context: object) -> None:
        """Check the spectrum as well."""
        super().model_post_init(context)
        try:
            powers = self.powers
        except ValueError:
            powers = ()
        if not powers or not all(0 <= power < math.inf for power in powers) or max(powers) <= 0:
            words = "Must be numbers of 0 or more with spaces between them, one above 0. Try 0.2 0.8 1 0.6."
            refuse((words, ("spectrum",)))

    @property
    def powers(self) -> tuple[float, ...]:
        """Power at equal steps of the radial frequency, from 0 to half a cycle per pixel."""
        return tuple(float(word) for word in self.spectrum.split())


class Blur(Corruption):
    """Blur: a Gaussian point spread."""

    family: ClassVar[str] = "Artefacts"
    kind: Literal["blur"] = "blur"
    low: float = knob(0.5, title="From", help="SD of the blur", unit="px", ge=0, le=20)
    high: float = knob(1.5, title="To", help="Each patch draws its own between the two", unit="px", ge=0, le=20)
    share: float = _share()


class Stripes(Corruption):
    """Stripes: rows or columns that are too bright or too dark."""

    family: ClassVar[str] = "Artefacts"
    kind: Literal["stripes"] = "stripes"
    low: float = knob(5.0, title="From", help="SD of the stripes", unit="of 255", ge=0, le=255)
    high: float = knob(20.0, title="To", help="Each patch draws its own between the two", unit="of 255", ge=0, le=255)
    along: Literal["rows", "columns", "either"] = knob("either", title="Along", help="Either: drawn for each patch")
    share: float = _share()


class JPEG(Corruption):
    """JPEG artefacts: blocks and ringing of compression."""

    family: ClassVar[str] = "Compression"
    kind: Literal["jpeg"] = "jpeg"
    low: int = knob(20, title="Quality from", help="Low is strongly compressed", ge=1, le=100)
    high: int = knob(70, title="Quality to", help="Each patch draws its own between the two", ge=1, le=100)
    share: float = _share()


class JPEG2000(Corruption):
    """JPEG 2000 artefacts: smearing of wavelet compression."""

    family: ClassVar[str] = "Compression"
    kind: Literal["jpeg2000"] = "jpeg2000"
    low: float = knob(10.0, title="Ratio from", help="Compression ratio, 10 for 10 : 1", ge=1, le=500)
    high: float = knob(40.0, title="Ratio to", help="Each patch draws its own between the two", ge=1, le=500)
    share: float = _share()


class Impulse(Corruption):
    """Impulse noise: single pixels at the ends of the range (salt and pepper)."""

    family: ClassVar[str] = "Defects"
    kind: Literal["impulse"] = "impulse"
    low: float = knob(0.01, title="From", help="Share of the pixels", ge=0, le=1)
    high: float = knob(0.05, title="To", help="Each patch draws its own between the two", ge=0, le=1)
    share: float = _share()


class Missing(Corruption):
    """Missing pixels and rows: dead detector elements and lost lines."""

    family: ClassVar[str] = "Defects"
    kind: Literal["missing"] = "missing"
    low: float = knob(0.0, title="Pixels from", help="Share of single pixels that are lost", ge=0, le=1)
    high: float = knob(0.02, title="Pixels to", help="Each patch draws its own between the two", ge=0, le=1)
    rows: float = knob(0.01, title="Rows and columns", help="Share of whole lines that are lost, at most", ge=0, le=1)
    share: float = _share()


AnyCorruption = Annotated[
    Gaussian
    | PoissonGaussian
    | Rician
    | Speckle
    | LowDoseCT
    | Measured
    | Blur
    | Stripes
    | JPEG
    | JPEG2000
    | Impulse
    | Missing,
    Field(discriminator="kind"),
]
