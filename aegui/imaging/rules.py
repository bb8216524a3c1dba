"""What derived series say of their origin, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import NAMESPACE_OID, uuid4, uuid5

from aegui.imaging.series import Series
from aegui.imaging.text import safe_name
from aegui.output_rules import OutputRules

__all__ = ["OutputRules", "Provenance", "output_name"]


@dataclass(frozen=True)
class Provenance:
    """Where derived pixels come from.

    noise_level: SD given to the model, None when it was measured on each slice. weights: SHA-256 of the weights, hex.
    lead: what ran the first volume of the source series, whose volumes stay one series even if another runs this one.
    views: how many mirrored and turned copies of a slice its result is the mean of.
    batch: what new UIDs are made from where they need not be the same on a re-run; series of one batch that
    come from one source series share their Series Instance UID. salt: what the UIDs and names of de-identified
    series are made from; the same on every run, secret, and without it those of one batch alone agree.
    """

    model: str = ""
    title: str = ""
    model_version: str = ""
    weights: str = ""
    strength: float = 1.0
    noise_level: float | None = None
    engine: str = "torch"
    precision: str = "fp32"
    lead: str = ""
    views: int = 1
    batch: str = field(default_factory=lambda: uuid4().hex)
    salt: str = field(default="", repr=False)

    @property
    def secret(self) -> str:
        """What de-identified UIDs and names are made from."""
        return self.salt or self.batch

    def pseudonym(self, series: Series) -> str:
        """What the patient is called in de-identified output; nobody without the salt can find it from the ID."""
        return f"ANON-{uuid5(NAMESPACE_OID, f'{self.secret}/patient/{series.patient}').hex[:8].upper()}"

    @property
    def words(self) -> str:
        """How it was made, in one sentence."""
        level = "" if self.noise_level is None else f", noise level {self.noise_level:g}"
        views = f", mean of {self.views} views" if self.views > 1 else ""
        return f"Denoised by aegui, model {self.model}, strength {self.strength:g}{level}{views}"


def output_name(series: Series, rules: OutputRules, origin: Provenance) -> str:
    """Stem of the folder or file of a derived series; where that is de-identified, without the source's own text."""
    if rules.deidentify:
        return safe_name(f"{origin.pseudonym(series)}_{series.modality}{rules.suffix}")
    return safe_name(f"{series.label}_{series.description or series.modality}{rules.suffix}")
