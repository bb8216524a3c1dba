"""Filters with one strength each, and their tuning on noisy-clean pairs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from aegui.events import Event, Progress
from aegui.imaging import Mask, Pixels
from aegui.measure import estimate_noise, psnr


def gaussian(image: Pixels, strength: float) -> Pixels:
    """strength: SD of the kernel, px."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, strength), dtype=np.float32)


def non_local_means(image: Pixels, strength: float) -> Pixels:
    """strength: filter parameter h, in estimated noise SDs (Buades et al. 2005; 5×5 patches, distance 6)."""
    from skimage.restoration import denoise_nl_means

    sd = estimate_noise(image) or 1e-6
    filtered = denoise_nl_means(image / sd, patch_size=5, patch_distance=6, h=strength, sigma=1.0, fast_mode=True)
    return np.asarray(filtered * sd, dtype=np.float32)


def total_variation(image: Pixels, strength: float) -> Pixels:
    """strength: weight of the total variation, in estimated noise SDs (Rudin et al. 1992; Chambolle 2004)."""
    from skimage.restoration import denoise_tv_chambolle

    sd = estimate_noise(image) or 1e-6
    return np.asarray(denoise_tv_chambolle(image / sd, weight=strength) * sd, dtype=np.float32)


def curvature_diffusion(image: Pixels, strength: float) -> Pixels:
    """strength: conductance, in the image's own mean gradient, which noise makes (Whitaker and Xue 2001)."""
    import SimpleITK

    filtered = SimpleITK.CurvatureAnisotropicDiffusion(
        SimpleITK.GetImageFromArray(np.ascontiguousarray(image, dtype=np.float32)),
        timeStep=0.125,  # the largest that is stable in two dimensions
        conductanceParameter=strength,
        numberOfIterations=10,
    )
    return np.asarray(SimpleITK.GetArrayFromImage(filtered), dtype=np.float32)


@dataclass(frozen=True)
class Filter:
    """A filter and the strengths worth trying."""

    name: str
    apply: Callable[[Pixels, float], Pixels]
    grid: tuple[float, ...]


# Quick enough for the start of every run.
QUICK = (
    Filter("Gaussian", gaussian, (0.5, 0.7, 0.9, 1.1, 1.4, 1.8, 2.4)),
    Filter("non-local means", non_local_means, (0.3, 0.45, 0.6, 0.75, 0.9, 1.1, 1.4, 1.8, 2.5)),
    Filter("total variation", total_variation, (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)),
)
FILTERS = (*QUICK, Filter("curvature diffusion", curvature_diffusion, (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)))


@dataclass(frozen=True)
class Tuned:
    """A filter with the strength that gave the best mean PSNR."""

    filter: Filter
    strength: float
    psnr: float

    def __call__(self, image: Pixels) -> Pixels:
        """Filter a slice."""
        return self.filter.apply(image, self.strength)

    @property
    def name(self) -> str:
        """For people."""
        return self.filter.name


def tune(
    pairs: Sequence[tuple[Pixels, Pixels, float, Mask]], filters: Sequence[Filter] = FILTERS
) -> Generator[Event, None, list[Tuned]]:
    """Try every strength on (noisy, clean, range, valid mask) slices; returns the filters, best first.

    A step up the grid stops once it has become worse, as PSNR has one maximum in the strength.
    """
    results: list[Tuned] = []
    for number, candidate in enumerate(filters):
        best: Tuned | None = None
        for strength in candidate.grid:
            yield Progress(number, len(filters), f"Tuning {candidate.name}")
            scores = [
                psnr(candidate.apply(noisy, strength), clean, data_range, mask)
                for noisy, clean, data_range, mask in pairs
            ]
            score = float(np.mean(scores))
            if best is not None and score < best.psnr:
                break
            best = Tuned(candidate, strength, score)
        assert best is not None
        results.append(best)
    return sorted(results, key=lambda tuned: -tuned.psnr)
