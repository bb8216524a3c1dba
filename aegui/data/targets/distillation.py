"""Distillation: a larger model's result is the target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aegui.data.targets.kind import Kind, build_kind
from aegui.errors import UserError
from aegui.imaging import Pixels, Read, Series, SliceSource
from aegui.imaging.filling import filled
from aegui.measure import TISSUE, level_of
from aegui.models.intensity import Scale, scale_for
from aegui.recipes.targets import Distillation

if TYPE_CHECKING:
    from aegui.models.zoo import Model


class Taught(Kind):
    """The teacher sees every slice once, on reading; the student learns to give the same."""

    score = "the teacher's results"
    told = "PSNR and SSIM are measured against the teacher's results: how well it is copied, not how good it is."

    def __init__(self, part: Distillation) -> None:
        super().__init__()
        self._name = part.teacher
        self._teacher: Model | None = None
        self._scale: Scale | None = None
        self._hounsfield = False

    def begin(self, series: Series, source: SliceSource, scale: Scale) -> None:
        """The teacher has a scale of its own."""
        if self._teacher is None:
            from aegui.models.zoo import load_model

            try:
                self._teacher = load_model(self._name)
            except UserError as error:
                raise UserError(f"The teacher “{self._name}” cannot be loaded: {error}", error.hint) from error
            if self._teacher.card.neighbours:
                raise UserError(*sees_beside(self._name))
        self._scale = scale_for(self._teacher.card, series, source)
        self._hounsfield = series.unit == "HU"

    def target(self, read: Read, scale: Scale) -> Pixels | None:
        """What the teacher makes of the slice; values outside its limits stay."""
        import torch

        assert self._teacher is not None and self._scale is not None
        planes = read.pixels[None] if read.pixels.ndim == 2 else np.moveaxis(read.pixels, -1, 0)
        low, high = self._scale.limits
        inside = read.valid & ((planes >= low) & (planes <= high)).all(axis=0)
        x = filled(self._scale.normalise(planes), inside)
        grey = planes.mean(axis=0)
        level = level_of(grey, inside, TISSUE if self._hounsfield else None) / self._scale.span
        with torch.inference_mode():
            y = self._teacher.net(torch.from_numpy(x[None]), torch.tensor([level], dtype=torch.float32))[0].numpy()
        result = np.where(inside, self._scale.restore(y), planes).astype(np.float32)
        return result[0] if read.pixels.ndim == 2 else np.moveaxis(result, 0, -1)


def sees_beside(teacher: str) -> tuple[str, str]:
    """(message, hint) of a teacher that would need the slices beside the one it is shown."""
    return f"The teacher “{teacher}” looks at the slices beside.", "Choose one that looks at single slices."


@build_kind.register
def _(part: Distillation, cache: Path) -> Kind:
    return Taught(part)
