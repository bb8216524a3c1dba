"""Which corruptions and augmentations do not go together with the scans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aegui.data.corruption.dose import PIXEL
from aegui.data.corruption.patch import UNKNOWN, fits
from aegui.imaging import Series
from aegui.recipes.corruptions import (
    Corruption,
    Gaussian,
    Impulse,
    LowDoseCT,
    Measured,
    Missing,
    PoissonGaussian,
    Rician,
    Speckle,
    Stripes,
)
from aegui.recipes.targets import SyntheticTargets
from aegui.workflow.finding import Findings

if TYPE_CHECKING:
    from aegui.workflow.adapt import TrainJob

_WORDS: dict[type[Corruption], str] = {
    Rician: "the noise of MR",
    Speckle: "the noise of ultrasound",
    PoissonGaussian: "the noise of photons",
}
_DROWNED = 128  # of 255: half of the data range


def noise_problems(job: TrainJob) -> Findings:
    """Everything about what is put on the scans. Reads no pixels."""
    usable = [series for series in job.noisy if series.uid not in job.holdout]
    if isinstance(job.recipe.targets, SyntheticTargets):
        targets = job.recipe.targets
        # Of several that a patch gets one of, each is put on scans that it fits, if any does.
        unfit = [series for series in usable if not any(fits(part, series) for part in targets.corruptions)]
        for index, part in enumerate(targets.corruptions):
            place = ("targets", "synthetic", "corruptions", index, part.kind)
            gets = usable
            if targets.each == "one":
                gets = [series for series in usable if series in unfit or fits(part, series)]
            for message, hint, field, blocking in (*_kind(part, gets), *_dose(part, gets), *_strength(part)):
                yield f"“{_title(part)}” {message}", hint, (*place, field) if field else place, blocking
    others = sorted({series.modality for series in usable} - {"MR", *UNKNOWN})
    if job.recipe.augmentation.kspace and others:
        yield (
            f"“k-space” lowers the resolution as MR does, but there are {' and '.join(others)} scans.",
            "Set it to 0, or use zoom.",
            ("augmentation", "kspace"),
            False,
        )


def _title(part: Corruption) -> str:
    return (type(part).__doc__ or "").partition(":")[0]


# What comes after the title, hint, field, whether it is blocking
_Found = Iterator[tuple[str, str, str, bool]]


def _kind(part: Corruption, usable: Sequence[Series]) -> _Found:
    if isinstance(part, LowDoseCT):
        others = sorted({series.modality for series in usable if series.modality != "CT" and series.unit != "HU"})
        if known := [modality for modality in others if modality not in UNKNOWN]:
            yield (
                f"needs the attenuation that CT values tell, but there are {' and '.join(known)} scans.",
                "Choose another corruption, or leave these series out.",
                "",
                True,
            )
        elif others:
            yield "takes the values of these scans for HU: nothing says that they are.", "", "", False
    elif type(part) in _WORDS:
        others = sorted({series.modality for series in usable if not fits(part, series)})
        if others:
            yield (
                f"is {_WORDS[type(part)]}; there are {' and '.join(others)} scans.",
                "“Match my scanner” measures which noise they have.",
                "",
                False,
            )


def _dose(part: Corruption, usable: Sequence[Series]) -> _Found:
    if not isinstance(part, LowDoseCT):
        return
    if any(min(series.geometry.spacing[1:]) <= 0 for series in usable):
        yield f"does not know the pixel size of all scans; {PIXEL:g} mm is taken.", "", "", False
    if any(abs(_normal(series)[2]) < 0.7 for series in usable):
        yield (
            "streaks within axial slices; some of these are coronal or sagittal.",
            "Leave them out, or use measured noise.",
            "",
            False,
        )
    if part.low >= 1:
        yield "adds nothing at the scan's own dose.", "Lower the dose.", "low", False


def _normal(series: Series) -> tuple[float, float, float]:
    row, column = np.reshape(series.geometry.orientation, (2, 3))
    x, y, z = np.cross(row, column)
    return float(x), float(y), float(z)


def _strength(part: Corruption) -> _Found:
    if isinstance(part, Gaussian | Rician | Measured | Stripes) and part.high > _DROWNED:
        yield (
            f"is up to {part.high:g} of 255: more than half of the data range, where little of the image is left.",
            "Lower it, unless the scans are as noisy.",
            "high",
            False,
        )
    if isinstance(part, Impulse | Missing) and part.high > 0.5:
        yield f"takes up to {part.high:.0%} of the pixels.", "Lower the share.", "high", False
    if getattr(part, "high", None) == 0 and not (isinstance(part, Missing) and part.rows):
        yield "has strength 0 and changes nothing.", "Raise it, or take it out.", "high", False
