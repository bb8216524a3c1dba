"""The noise plot of a region: what it is of, and in which unit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from aegui.gui import reports
from aegui.gui.review_slices import Read
from aegui.gui.session import Session
from aegui.gui.widgets.measurements import Measurements
from aegui.gui.widgets.region_figures import RegionFigures
from aegui.gui.widgets.regions import Region
from aegui.imaging.series import Geometry, Series
from aegui.measure.regions import Circle

SERIES = Series("1", "2", "p", "A", "", "CR", "", "dicom", (), 128, 128, 1, Geometry((0.0, 0.5, 0.5)))
UNKNOWN = replace(SERIES, geometry=Geometry((0.0, 1.0, 1.0), measured=False))
NOISE = np.random.default_rng(0).normal(100, 10, (128, 128)).astype(np.float32)
REGION = Region(1, "Region 1", Circle(64, 64, 15.0))


@pytest.fixture
def figures(themed: QApplication, qtbot: Any) -> RegionFigures:
    view = Measurements()
    qtbot.addWidget(view)
    view.set_folded(False)
    return RegionFigures(Session(), view)


def plotted(figures: RegionFigures, series: Series, padded: int = 0) -> Any:
    """The plot of a region, where so many columns at the left are padding."""
    valid = np.ones(NOISE.shape, np.bool_)
    valid[:, :padded] = False
    pixels = np.where(valid, NOISE, np.float32(-2000))
    figures.open(series)
    figures.regions.set_items((REGION,), 0)
    figures.update_figures(Read(pixels, valid), pixels / 2, 100, 0)
    return figures._view.plot


def test_padding_is_no_noise(figures: RegionFigures) -> None:
    square = replace(SERIES, geometry=Geometry((0.0, 1.0, 1.0)))
    plotted(figures, square, padded=50)  # in the circle, but not in the square that is measured
    assert figures.noise is not None
    plot = plotted(figures, square, padded=56)
    assert figures.noise is None
    assert plot.reason.text() == "The region reaches into padding."


@pytest.mark.parametrize(("series", "length"), [(SERIES, "mm"), (UNKNOWN, "px")])
def test_noise_power_is_of_pixels_where_their_size_is_not_known(
    figures: RegionFigures, series: Series, length: str
) -> None:
    plot = plotted(figures, series)
    assert plot.unit.text() == f"{length}²"
    (*_, (_, last)) = plot.plot.getPlotItem().getAxis("bottom")._tickLevels[0]
    assert last.endswith(f" {length}⁻¹")
    shown = reports.Shown(series, 0, NOISE, NOISE, None, (200, 100), 60.0, 100)
    (drawn,) = reports.review_report(shown, [], (), (), figures.noise, [], 1, None).plots
    assert (drawn.x_unit, drawn.y_unit) == (f"{length}⁻¹", f"{length}²")
