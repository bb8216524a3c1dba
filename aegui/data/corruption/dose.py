"""CT at a lower dose: the noise that is missing, made in the projections of each slice.

Log projections have the variance e^p/N of the photons and σ²e^2p/N² of the electronics (p: attenuation along the ray,
N: photons, ∝ dose). At a share d of the dose they have 1/d and 1/d² times as much: the difference is added.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from aegui.data.corruption.projection import Projector, projector
from aegui.data.item import Item
from aegui.imaging import Pixels
from aegui.recipes.corruptions import LowDoseCT

WATER = 0.02  # 1/mm, at some 70 keV
PIXEL = 0.75  # mm, where the series does not tell
VIEWS, DETECTOR = 1000, 0.6  # of the scanner to whose rays `photons` refers: per half turn; mm at the centre, square
THICKNESS = 1.0  # mm, where the series does not tell
STARVED = 10.0  # photons at the lowest dose: scanners put what surrounds it in place of a ray that got fewer
PHOTON_FIELDS, ELECTRONIC_FIELDS = 4, 2
SHIFT = 8  # px: a field is put on up to this far from its place, over which its statistics hardly change
KERNELS = {"smooth": 0.34, "medium": 0.55, "sharp": 0.9}  # 1/mm, where they have half their height


class DoseFields:
    """For each slice a few independent noise fields at its own dose, of the photons and of the electronics.

    Random unit sums of them have the same statistics, streaks and all. Kept as bytes in one file.
    """

    def __init__(self, part: LowDoseCT, file: Path) -> None:
        self._part = part
        self._file = file
        self._file.write_bytes(b"")
        self._steps: list[npt.NDArray[np.float32]] = []  # HU per count of each field
        self._places: list[tuple[int, tuple[int, int]]] = []

    def learn(self, image: Pixels, item: Item) -> None:
        """Make the fields of the next slice; image: (channels, H, W), normalised."""
        values = item.scale.restore(image.mean(axis=0))
        shape = (values.shape[0], values.shape[1])
        rng = np.random.default_rng([len(self._places), item.index, *shape])
        fields = unit_fields(self._part, values, spacing(item, shape), thickness(item), rng)
        steps = np.abs(fields).max(axis=(1, 2)) / 127
        counts = np.rint(fields / np.maximum(steps, 1e-12)[:, None, None]).astype(np.int8)
        with self._file.open("ab") as handle:
            self._places.append((handle.tell(), shape))
            handle.write(counts.tobytes())
        self._steps.append(steps.astype(np.float32))

    def skip(self) -> None:
        """No fields for the next slice."""
        self._places.append((0, (0, 0)))
        self._steps.append(np.zeros(0, dtype=np.float32))

    def noise(self, member: int, place: tuple[int, int], size: tuple[int, int], dose: float, seed: int) -> Pixels:
        """Noise of a patch, HU: what is missing at the share `dose`."""
        rng = np.random.default_rng(seed)
        offset, shape = self._places[member]
        count = PHOTON_FIELDS + ELECTRONIC_FIELDS
        fields = np.memmap(self._file, np.int8, "r", offset, (count, *shape))
        top, left = (
            int(np.clip(at + rng.integers(-SHIFT, SHIFT + 1), 0, side - length))
            for at, side, length in zip(place, shape, size, strict=True)
        )
        weights = np.concatenate(
            [
                _unit(PHOTON_FIELDS, rng) * np.sqrt(1 / dose - 1),
                _unit(ELECTRONIC_FIELDS, rng) * np.sqrt(1 / dose**2 - 1),
            ]
        )
        part = np.asarray(fields[:, top : top + size[0], left : left + size[1]], dtype=np.float32)
        return np.tensordot((weights * self._steps[member]).astype(np.float32), part, 1)


def unit_fields(
    part: LowDoseCT, values: Pixels, mm: tuple[float, float], thick: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Noise in HU at the scan's own dose, (fields, rows, columns): of the photons, then of the electronics.

    values: HU; NaN is air. mm: pixel spacing, (y, x). thick: of the slice, mm.
    """
    rays = projector((values.shape[0], values.shape[1]), mm)
    attenuation = WATER * np.maximum(1 + np.nan_to_num(values, nan=-1000.0) / 1000, 0)
    # Fewer views with wider rays collect as many photons in all, and thick slices those of several detector rows.
    gathered = VIEWS / rays.angles * rays.step / DETECTOR * thick / DETECTOR
    photons = np.maximum(part.photons * np.exp(-np.maximum(rays.project(attenuation), 0)), STARVED / part.low)
    kernel = kernel_factor(part.kernel, rays)
    sds = [1 / np.sqrt(photons * gathered)] * PHOTON_FIELDS
    sds += [part.electronic / (photons * np.sqrt(gathered))] * ELECTRONIC_FIELDS
    fields = [
        rays.reconstruct(sd.astype(np.float32) * rng.standard_normal(sd.shape, dtype=np.float32), kernel) for sd in sds
    ]
    return np.stack(fields) * np.float32(1000 / WATER)


def kernel_factor(kernel: str, rays: Projector) -> npt.NDArray[np.float64]:
    """What is put on the ramp, at the frequencies of the rays: a Gaussian."""
    return np.asarray(0.5 ** ((rays.frequencies / KERNELS[kernel]) ** 2))


def spacing(item: Item, shape: tuple[int, int]) -> tuple[float, float]:
    """mm, (y, x), of a slice that may have been averaged to fewer pixels."""
    series = item.series
    dy, dx = (step if step > 0 else PIXEL for step in series.geometry.spacing[1:])
    return float(dy * (series.rows // shape[0] or 1)), float(dx * (series.columns // shape[1] or 1))


def thickness(item: Item) -> float:
    """mm of the slice."""
    try:
        return float(item.series.acquisition.get("thickness") or 0) or THICKNESS
    except (TypeError, ValueError):
        return THICKNESS


def _unit(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    weights = rng.normal(0, 1, count)
    return np.asarray(weights / np.linalg.norm(weights))
