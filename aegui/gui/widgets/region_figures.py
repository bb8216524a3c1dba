"""From regions and slices to the table and the noise plot; regions are kept per series and can be undone."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QUndoCommand

from aegui.errors import UserError
from aegui.gui.review_slices import Read
from aegui.gui.session import Session
from aegui.gui.widgets.measurements import Measurements
from aegui.gui.widgets.regions import Region, Regions, usual_radius
from aegui.gui.widgets.regions_table import figure
from aegui.imaging.series import Pixels, Series
from aegui.measure.nps import SMALLEST, noise_power, square
from aegui.measure.regions import Circle, Comparison, compare, flattest

_SOFT_TISSUE = (-150.0, 250.0)  # HU; a first region in air or bone would say little


class _Edit(QUndoCommand):
    """One change of a series' regions."""

    def __init__(self, owner: RegionFigures, uid: str, old: tuple[Region, ...], new: tuple[Region, ...]) -> None:
        super().__init__("Regions")
        self._owner, self._uid, self._old, self._new = owner, uid, old, new

    def redo(self) -> None:
        self._owner.restore(self._uid, self._new)

    def undo(self) -> None:
        self._owner.restore(self._uid, self._old)


class RegionFigures(QObject):
    """noise: (region, frequencies, before, after) as plotted, or None."""

    def __init__(self, session: Session, view: Measurements) -> None:
        super().__init__(view)
        self.regions = Regions(self)
        self.noise: tuple[str, np.ndarray, np.ndarray, np.ndarray] | None = None
        self._session, self._view = session, view
        self._series: Series | None = None
        self._kept: dict[str, tuple[Region, ...]] = {}
        self._selecting = False
        self.regions.edited.connect(self._on_edited)
        view.model.renamed.connect(self.regions.rename)
        view.table.removed.connect(self.regions.remove)
        view.table.picked.connect(self._on_picked)

    @property
    def _spacing(self) -> tuple[float, float]:
        assert self._series is not None
        _, y, x = self._series.geometry.spacing
        return (y or 1.0, x or 1.0)

    def open(self, series: Series) -> None:
        """Another series: its own regions."""
        self._series = series
        self.noise = None
        self.regions.set_items(self._kept.get(series.uid, ()), 0)

    def suggest(self, read: Read | None) -> None:
        """A first region on the flattest place, if there is none yet."""
        series = self._series
        if read is None or series is None or self.regions.items or series.uid in self._kept:
            return
        # Means of 4 × 4 voxels: single voxels of a noisy slice say little about the tissue they are in.
        pixels = _coarse(_coarse(_grey(read.pixels)))
        valid = _coarse(_coarse(read.valid.astype(np.float32))) == 1
        if series.modality == "CT":
            mask = valid & (pixels > _SOFT_TISSUE[0]) & (pixels < _SOFT_TISSUE[1])
        else:
            mask = valid & (pixels > pixels[valid].mean()) if valid.any() else valid
        radius = usual_radius((series.rows, series.columns), self._spacing)
        place = flattest(pixels, mask, max(2, round(1.6 * radius / min(self._spacing) / 4)))
        if place is not None:
            circle = Circle(4 * place[0] + 1.5, 4 * place[1] + 1.5, radius)
            self.restore(series.uid, (Region(1, "Region 1", circle),))

    def restore(self, uid: str, items: tuple[Region, ...]) -> None:
        """Put a series' regions back, shown or not."""
        self._kept[uid] = items
        if self._series is not None and self._series.uid == uid and self.regions.items != items:
            self.regions.set_items(items)

    @Slot(tuple, tuple)
    def _on_edited(self, old: tuple[Region, ...], new: tuple[Region, ...]) -> None:
        if self._series is not None:
            self._session.undo.push(_Edit(self, self._series.uid, old, new))

    @Slot(int)
    def _on_picked(self, row: int) -> None:
        if not self._selecting:
            self.regions.select(row)

    def update_figures(self, read: Read | None, after: Pixels | None, strength: int, index: int) -> tuple[str, str]:
        """Measure again, strength in %; returns the chosen region's SD before and after, in words."""
        series, regions = self._series, self.regions.items
        if series is None:
            return "", ""
        figures = [self._compare(read, after, region) for region in regions]
        contrast = series.modality == "CT"
        self._view.model.show_figures(regions, figures, series.unit, contrast)
        self._view.caption.setText(f"slice {index + 1}, after = strength {strength} %")
        self._view.refresh()
        row = self.regions.selected
        self._selecting = True
        if 0 <= row < len(regions) and self._view.table.currentIndex().row() != row:
            self._view.table.selectRow(row)
        self._selecting = False
        self._plot(read, after, regions[row] if 0 <= row < len(regions) else None)
        found = figures[row] if 0 <= row < len(figures) else None
        if found is None:
            return "", ""
        unit = f" {series.unit}" if series.unit else ""
        words = f"SD {regions[row].number}: "
        return f"{words}{figure(found.before.sd)}{unit}", f"{words}{figure(found.after.sd)}{unit}"

    def _compare(self, read: Read | None, after: Pixels | None, region: Region) -> Comparison | None:
        if read is None or after is None or after.shape != read.pixels.shape:
            return None
        try:
            return compare(read.pixels, after, region.circle, self._spacing, read.valid)
        except UserError:
            return None

    def _plot(self, read: Read | None, after: Pixels | None, region: Region | None) -> None:
        self.noise = None
        plot, series = self._view.plot, self._series
        if self._view.folded and region is None:
            return
        if region is None:
            plot.show_reason("", "Draw a region on a flat part of the image (G).")
            return
        if read is None or after is None or series is None:
            return
        before = [_grey(square(image, region.circle, self._spacing)) for image in (read.pixels, after)]
        if min(before[0].shape) < SMALLEST:
            plot.show_reason(
                region.name, f"The region is too small: noise power needs {SMALLEST}×{SMALLEST} px inside."
            )
            return
        if not square(read.valid.astype(np.float32), region.circle, self._spacing).all():
            plot.show_reason(region.name, "The region reaches into padding.")
            return
        spectra = [noise_power([part], self._spacing).radial() for part in before]
        frequency, (_, first), (_, second) = spectra[0][0], spectra[0], spectra[1]
        self.noise = (region.name, frequency, first, second)
        plot.show_curves(region.name, series.unit, series.geometry.length, frequency, first, second)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return pixels.mean(axis=-1) if pixels.ndim == 3 else pixels


def _coarse(image: np.ndarray) -> np.ndarray:
    rows, columns = (side // 2 * 2 for side in image.shape)
    cut: np.ndarray = image[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
    return cut
