"""The noise power of one region, before and after."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QFrame, QStackedLayout, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, column, holder, label, row
from aegui.gui.widgets.painted import LineKey

_DASH = (2.0, 2.0)


class NoisePlot(QWidget):
    """Title, unit, legend, and two curves over spatial frequency; or the reason why there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.title = label("Noise power", "h3")
        self.unit = label("", "ter")
        self.reason = label("", "ter", wrap=True)
        self.reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.plot = pg.PlotWidget()
        self.plot.setFrameShape(QFrame.Shape.NoFrame)
        self.plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        item = self.plot.getPlotItem()
        item.hideButtons()
        item.setMenuEnabled(False)
        item.setMouseEnabled(False, False)
        item.setContentsMargins(0, 4, 8, 0)
        self._before, self._after = self.plot.plot(), self.plot.plot()
        legend = row(
            LineKey("c_noisy", _DASH), label("before", "ter"), 4, LineKey("c_den"), label("after", "ter"), gap=6
        )
        stack = QWidget()
        self._stack = QStackedLayout(stack)
        self._stack.setContentsMargins(0, 0, 0, 0)
        self._stack.addWidget(self.plot)
        self._stack.addWidget(holder(column(STRETCH, self.reason, STRETCH)))
        self.setLayout(column(row(self.title, self.unit, STRETCH, legend), (stack, 1), margins=(16, 10, 8, 6), gap=4))
        theme.changed().connect(self._dress)
        self._dress()

    def _dress(self) -> None:
        self.plot.setBackground(theme.colour("panel"))
        item = self.plot.getPlotItem()
        for name in ("left", "bottom"):
            axis = item.getAxis(name)
            axis.setPen(pg.mkPen(theme.colour("line2"), width=1))
            axis.setTextPen(theme.colour("text3"))
            axis.setTickFont(theme.font(11))
            axis.setStyle(tickLength=0, tickTextOffset=6, autoExpandTextSpace=False, maxTickLevel=0)
        item.getAxis("left").setWidth(theme.scaled(44))
        item.getAxis("bottom").setHeight(theme.scaled(22))
        item.showGrid(x=False, y=True, alpha=theme.number("grid") / 255)
        app = QApplication.instance()
        # Cosmetic pens ignore the screen's scale.
        ratio = app.devicePixelRatio() if isinstance(app, QApplication) else 1.0
        dashed = pg.mkPen(theme.colour("c_noisy"), width=2 * ratio)
        dashed.setDashPattern(list(_DASH))
        self._before.setPen(dashed)
        self._after.setPen(pg.mkPen(theme.colour("c_den"), width=2.4 * ratio))

    def show_reason(self, name: str, words: str) -> None:
        """Why there is no curve."""
        self.title.setText(f"Noise power, {name}" if name else "Noise power")
        self.unit.setText("")
        self.reason.setText(words)
        self._stack.setCurrentIndex(1)

    def show_curves(
        self, name: str, unit: str, length: str, frequency: np.ndarray, before: np.ndarray, after: np.ndarray
    ) -> None:
        """unit: of the slice. length: of a pixel's sides; frequency is one over it."""
        self.title.setText(f"Noise power, {name}")
        self.unit.setText(f"{unit}² {length}²" if unit else f"{length}²")
        self._before.setData(frequency, before)
        self._after.setData(frequency, after)
        top, right = float(max(before.max(), after.max(), 1e-12)), float(frequency.max())
        view = self.plot.getPlotItem()
        # Room for the last tick's unit, which would not be drawn across the edge.
        view.setXRange(0, right * 1.12, padding=0)
        view.setYRange(0, top * 1.12, padding=0)
        view.getAxis("left").setTicks([[(value, f"{value:.3g}") for value in _ticks(top, 4)]])
        marks = [(value, f"{value:.2g}") for value in _ticks(right, 4)]
        if marks:
            marks[-1] = (marks[-1][0], f"{marks[-1][1]} {length}⁻¹")
        view.getAxis("bottom").setTicks([marks])
        self._stack.setCurrentIndex(0)
        self.plot.setAccessibleName(f"Noise power of {name}")
        self.plot.setAccessibleDescription(f"Largest before {before.max():.3g}, after {after.max():.3g}")


def _ticks(top: float, count: int) -> list[float]:
    step = 10.0 ** np.floor(np.log10(top))
    step *= next((factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if top / (step * factor) <= count + 0.5), 1.0)
    return [float(value) for value in np.arange(step, top + step * 1e-6, step)]
