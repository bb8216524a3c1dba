"""Recorrupted-to-Recorrupted (Pang et al., CVPR 2021): from one noisy scan two whose noise is independent.

To a scan whose noise is Gaussian with covariance Σ, noise n of the same covariance is added, y + a·n, and taken,
y − n/a: the noise of the two has the covariance Σ − Σ = 0. So they are input and target as in Noise2Noise, however
correlated the noise is. Its spectrum is measured in the flat areas of each series, its strength all over each slice.
What Σ misses is left in, or taken twice, in a share of (Σ − Σ')/(Σ + a²Σ'): little for large a.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aegui.data.item import Item
from aegui.data.own_noise import FlatAreas, OwnNoise, own_noise
from aegui.data.slices import Stock
from aegui.data.split import Split
from aegui.data.targets.kind import Block, Drawn, Kind, Place, build_kind, cutting
from aegui.errors import UserError
from aegui.imaging import Pixels
from aegui.measure.local import detail, spread
from aegui.recipes.run import Run
from aegui.recipes.targets import Recorrupted


class AddedAndTaken(Kind):
    """Input and target are the same slice with noise added and taken."""

    score = "the scan with noise taken"
    told = (
        "There are no clean scans: the model gets the scan with noise added, and PSNR is measured against the scan "
        "with that noise taken, which is noisy too. It is much lower than the true one, but ranks models alike."
    )

    def __init__(self, part: Recorrupted, cache: Path) -> None:
        super().__init__()
        self._added = part.added
        self._file = cache / "detail.bin"
        self._file.write_bytes(b"")
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._seen: dict[str, FlatAreas] = defaultdict(FlatAreas)
        self._noise: dict[str, OwnNoise] = {}

    def learn(self, image: Pixels, item: Item) -> None:
        """The strength of the noise all over the slice, and its flat areas."""
        usable = np.asarray(np.isfinite(image).all(axis=0))
        known = np.nan_to_num(image)
        energies = np.stack([detail(channel, usable) for channel in known])
        with self._file.open("ab") as handle:
            self._places.append((handle.tell(), energies.shape))
            handle.write(energies.tobytes())
        self._seen[item.series.uid].look(known.mean(axis=0), usable)

    def part(self, items: Sequence[Item], blocks: Sequence[Block], run: Run) -> Split:
        """Measures as well, so that scans which tell too little of their noise are refused before the run."""
        everything = own_noise([one for areas in self._seen.values() for one in areas.blocks])
        if self._seen and everything is None:
            raise UserError(
                "The scans have too few flat areas to measure their noise in.",
                "Learn with a blind spot instead (Noise2Void), or choose series with larger even parts.",
            )
        for uid, areas in self._seen.items():
            noise = own_noise(areas.blocks) or everything
            assert noise is not None
            self._noise[uid] = noise
        self._seen.clear()
        return super().part(items, blocks, run)

    def cut(
        self, stock: Stock, member: int, place: Place, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, Pixels, float | None]:
        """The patch with noise added, and with noise taken."""
        image = np.asarray(stock.noisy[member][cutting(place, size)])
        noise = self._noise[stock.items[member].series.uid]
        offset, shape = self._places[member]
        energies = spread(np.memmap(self._file, np.float32, "r", offset, shape), place, size)
        added = np.stack([noise.draw(channel, rng) for channel in energies])
        more, less = image + np.float32(self._added) * added, image - added / np.float32(self._added)
        return more, less, stock.items[member].level * float(np.hypot(1, self._added))

    def used(self, noisy: Pixels, clean: Pixels, level: float) -> Drawn:
        """Without the noise."""
        more = 1 + self._added**2
        return Drawn(np.asarray((noisy + self._added**2 * clean) / more), clean, level / float(np.sqrt(more)))


@build_kind.register
def _(part: Recorrupted, cache: Path) -> Kind:
    return AddedAndTaken(part, cache)
