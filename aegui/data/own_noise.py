"""Noise like that of a scan itself: its spectrum from flat areas, its strength and direction from all over a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aegui.imaging import Mask, Pixels
from aegui.measure.flat import SIDES, Blocks, blocks, settled, together
from aegui.measure.local import detail, response

Array = npt.NDArray[np.float32]
TRIED = 512  # px, side of the field that tells how much detail such noise has
MARGIN = 16  # px, made besides and cut off, as fields made by FFT repeat themselves from border to border
SLICES, BLOCKS = 24, 500  # that are kept of a series, and of a slice for each size of block
TILT = 1.3  # most that c and s may be together: an amplitude that varies as cos 2θ has no more


class OwnNoise:
    """Gaussian noise of the power P(f)·(1 + c·cos 2θ + s·sin 2θ) at the frequency f in the direction θ.

    P is that of the flat areas; c, s and the variance are of each place.
    """

    def __init__(self, flat: Blocks) -> None:
        self._frequencies, self._power = flat.spectrum()
        # The corners of the frequency plane are not measured: the power falls on as it did before, or stays.
        rise = np.log(max(self._power[-1], 1e-6) / max(self._power[-3], 1e-6))
        self._fall = min(0.0, float(rise / (self._frequencies[-1] - self._frequencies[-3])))
        gain, cosine, sine = self._filters((TRIED, TRIED))
        twice = np.full(gain.shape[1], 2.0)  # frequencies of a real transform stand for their opposites too
        twice[[0, -1]] = 1
        fy, fx = np.meshgrid(np.fft.fftfreq(TRIED), np.fft.rfftfreq(TRIED), indexing="ij")
        seen = response(fy, fx) * gain**2 * twice / TRIED**2
        rows, columns, falling, rising = (float(part.sum()) for part in seen)
        self._tilts = (
            float(((seen[0] - seen[1]) * cosine).sum()) / (rows + columns),
            float(((seen[2] - seen[3]) * sine).sum()) / (falling + rising),
        )
        white = np.random.default_rng(0).standard_normal((TRIED, TRIED), dtype=np.float32)
        field = np.fft.irfft2(np.fft.rfft2(white) * gain, (TRIED, TRIED))
        # Flat areas tell the finest detail of noise of SD 1 itself; its power, to which the corners add, less well.
        fine = 12 * float((flat.fine / flat.variance).mean()) / flat.regained()
        self._of_one = detail(field, np.ones(field.shape, np.bool_)).mean(axis=(1, 2)) * fine / (rows + columns)

    def draw(self, energies: Pixels, rng: np.random.Generator) -> Pixels:
        """(H, W), in the image's unit. energies: (4, H, W), what `detail` found at each pixel."""
        from scipy.fft import next_fast_len

        height, width = energies.shape[1:]
        shape = next_fast_len(height + MARGIN, real=True), next_fast_len(width + MARGIN, real=True)
        gain, cosine, sine = self._filters(shape)
        white = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32)) * gain
        even, along, across = (
            np.fft.irfft2(part, shape)[:height, :width] for part in (white, white * cosine, white * sine)
        )
        variance, c, s = self._found(energies)
        # The amplitude 1 + k·cos 2φ has the power 1 + k²/2 + 2k·cos 2φ + …, of which c and s are parts.
        strayed = np.maximum(np.hypot(c, s), 1e-6)
        tilt = np.minimum(strayed, TILT)
        k = (2 - np.sqrt(4 - 2 * tilt**2)) / tilt
        field = even + k * (c * along + s * across) / strayed
        return np.asarray(field * np.sqrt(variance / (1 + k**2 / 2)), dtype=np.float32)

    def _found(self, energies: Pixels) -> tuple[Pixels, Pixels, Pixels]:
        """Variance, c and s at each pixel."""
        rows, columns, falling, rising = energies / self._of_one[:, None, None]
        least = np.float32(1e-20)
        c = (rows - columns) / np.maximum(rows + columns, least) / self._tilts[0]
        s = (falling - rising) / np.maximum(falling + rising, least) / self._tilts[1]
        return (rows + columns) / 2, c, s

    def _filters(self, shape: tuple[int, int]) -> tuple[Array, Array, Array]:
        """(root of P, cos 2θ, sin 2θ) at the frequencies of a real transform; white noise of SD 1 keeps that."""
        fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
        square = fy**2 + fx**2
        f = np.sqrt(square)
        power = np.interp(f, self._frequencies, self._power) * np.exp(self._fall * np.maximum(f - 0.5, 0))
        whole = np.concatenate([power, power[:, 1 : (shape[1] + 1) // 2]], axis=1)
        square[0, 0] = 1.0
        found = np.sqrt(power / whole.mean()), (fx**2 - fy**2) / square, 2 * fx * fy / square
        gain, cosine, sine = (one.astype(np.float32) for one in found)
        return gain, cosine, sine


class FlatAreas:
    """Blocks of a series, of slices spread evenly over all that are shown."""

    def __init__(self) -> None:
        self._slices: list[list[Blocks]] = []
        self._met, self._step = 0, 1

    def look(self, image: Pixels, usable: Mask) -> None:
        """At the next slice, (rows, columns)."""
        self._met += 1
        if (self._met - 1) % self._step:
            return
        sides = [side for side in SIDES if min(image.shape) >= 2 * side]
        self._slices.append([_thinned(blocks(image, usable, side)) for side in sides])
        if len(self._slices) > SLICES:
            self._slices, self._step = self._slices[::2], 2 * self._step

    @property
    def blocks(self) -> list[Blocks]:
        """All that are kept."""
        return [one for of_slice in self._slices for one in of_slice]


def _thinned(found: Blocks) -> Blocks:
    return found.where(np.arange(len(found)) % max(1, len(found) // BLOCKS) == 0)


def own_noise(found: Sequence[Blocks]) -> OwnNoise | None:
    """Of the blocks of some slices; None: too few are flat."""
    sides = {side: [one for one in found if one.side == side] for side in SIDES}
    flat = settled({side: together(parts).flat() for side, parts in sides.items() if parts})
    return None if flat is None else OwnNoise(flat)
