"""The six plots of a run: three cards with two x-linked plots each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QWidget

from aegui.events import Baselines
from aegui.gui import theme
from aegui.gui.curves import Curves
from aegui.gui.timers import once
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, holder, label, row
from aegui.gui.widgets.painted import LineKey
from aegui.gui.widgets.plots import (
    CLASSICAL,
    GROUPS,
    INPUT,
    LIMIT,
    NOW,
    PRETRAINED,
    SEVERAL,
    THIN,
    TRAIN,
    VALIDATION,
    Plot,
    pen,
)
from aegui.gui.widgets.plots import Style as LineStyle
from aegui.recipes.losses import short_name

LOW = 200  # card height below which one of its two plots is shown
GAP = 0.1  # seconds between two redraws
MARGIN = 1.04  # room for the words right of the last epoch


def signed(value: float, digits: int = 2) -> str:
    """With a true minus."""
    return f"{value:.{digits}f}".replace("-", "\u2212")


class PlotCard(QFrame):
    """Two plots above each other, or one with a toggle where there is no room for two."""

    def __init__(self, plots: Sequence[Plot], keys: Sequence[Sequence[QWidget]]) -> None:
        super().__init__()
        self.setProperty("card", "plain")
        self.plots = plots
        self._shown = 0
        self._parts: list[QWidget] = []
        self._toggles = []
        for index, plot in enumerate(plots):
            other = plots[1 - index].name
            toggle = button(kind="icon", icon="refresh-cw", size="s", tip=f"Show {other}", clicked=self.flip)
            toggle.hide()
            self._toggles.append(toggle)
            elided = any(isinstance(key, ElidedLabel) for key in keys[index])
            parts = [(key, 1) if isinstance(key, ElidedLabel) else key for key in keys[index]]
            stretch = None if elided else STRETCH
            heading = row(label(plot.name, "h3"), stretch, *parts, toggle, margins=(0, 0, 8, 0), gap=6)
            self._parts.append(holder(column(heading, (plot, 1), gap=4)))
        # Both get the same x range and neither zooms; pyqtgraph's own link goes astray when one of them is hidden.
        self.setLayout(column(*((part, 1) for part in self._parts), margins=(16, 12, 8, 8), gap=4))
        self.setMinimumHeight(150)

    def flip(self) -> None:
        """The other plot."""
        self._shown = 1 - self._shown
        self._arrange()

    def _arrange(self) -> None:
        tight = self.height() < theme.scaled(LOW)
        for index, (part, toggle) in enumerate(zip(self._parts, self._toggles, strict=True)):
            part.setVisible(not tight or index == self._shown)
            toggle.setVisible(tight)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()


def _key(text: str, style: LineStyle) -> QWidget:
    return holder(row(LineKey(style.role, [d / 2 for d in style.dash]), label(text, "ter"), gap=4))


class TrainingPlots(QWidget):
    """Draws a Curves at most ten times a second."""

    def __init__(self) -> None:
        super().__init__()
        self.curves = Curves()
        self.loss = Plot("Loss")
        self.terms = Plot("Loss terms, validation", log=True)
        self.psnr = Plot("PSNR, validation")
        self.ssim = Plot("SSIM, validation")
        self.rate = Plot("Learning rate by group", log=True)
        self.norm = Plot("Gradient norm")
        self.all = (self.loss, self.terms, self.psnr, self.ssim, self.rate, self.norm)
        self._baselines: Baselines | None = None
        self._clip: float | None = None
        self._now: list[pg.InfiniteLine] = []
        self._diamond: pg.ScatterPlotItem | None = None
        self._best: pg.TextItem | None = None
        self.unit = ElidedLabel("dB", "ter", Qt.TextElideMode.ElideRight)
        self.unit.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.cards = (
            PlotCard((self.loss, self.terms), ((_key("train", TRAIN), _key("validation", VALIDATION)), ())),
            PlotCard((self.psnr, self.ssim), ((self.unit,), ())),
            PlotCard((self.rate, self.norm), ((), ())),
        )
        self.setLayout(row(*((card, 1) for card in self.cards), gap=16))
        self._timer = once(self, round(GAP * 1000), self.draw)
        theme.changed().connect(self._redress)

    def begin(self, curves: Curves) -> None:
        """A run starts: empty plots over its whole planned length."""
        self.curves = curves
        self._baselines, self._clip = None, curves.clip
        self._now = []
        for plot in self.all:
            plot.clear_all()
            plot.set_x(0, curves.planned * MARGIN)
            now = pg.InfiniteLine(0, pen=pen(NOW))
            plot.add(now)
            self._now.append(now)
        self._diamond = pg.ScatterPlotItem(symbol="d", size=10)
        self.psnr.add(self._diamond)
        self._best = self.psnr.text("", "text", (1.0, 1.2))
        if curves.clip is not None:
            self.norm.level(curves.clip, f"clip at {curves.clip:g}", LIMIT)
        self._redress()
        self.draw()

    def show_baselines(self, event: Baselines) -> None:
        """Dashed lines of what the run has to beat, named and dated at their ends."""
        self._baselines = event
        classical = f"classical ({event.classical_name})" if event.classical_name else "classical"
        self.unit.setText(f"dB, {event.psnr_range}" if event.psnr_range else "dB")
        self.unit.setToolTip(f"PSNR over {event.psnr_range}; SSIM: {event.ssim_window}")
        for key, words, style in (
            ("input", "input", INPUT),
            ("pretrained", "as it was", PRETRAINED),
            ("classical", classical, CLASSICAL),
        ):
            scores = event.scores.get(key)
            if scores:
                self.psnr.level(scores["psnr"], f"{words} {signed(scores['psnr'], 1)}", style)
                self.ssim.level(scores["ssim"], f"{words.split(' (')[0]} {signed(scores['ssim'])}", style)
        self.refresh()

    def refresh(self) -> None:
        """Draw soon."""
        if not self._timer.isActive():
            self._timer.start()

    def draw(self) -> None:
        """Show everything the curves hold now."""
        table, steps = self.curves.epochs, self.curves.steps
        x = table["epoch"]
        for name, column_name, style in (("train", "train_loss", TRAIN), ("validation", "val_loss", VALIDATION)):
            self.loss.line(name, style).set(x, table.get(column_name, []))
        for index, term in enumerate(self.curves.terms):
            words = short_name(term)
            self.terms.line(words, SEVERAL[index % len(SEVERAL)], words).set(x, table[f"val_{term}"])
        self.psnr.line("PSNR", LineStyle("c_den", (), 2.4)).set(x, table.get("psnr", []))
        self.ssim.line("SSIM", LineStyle("c_den", (), 2.4)).set(x, table.get("ssim", []))
        for group in self.curves.groups:
            self.rate.line(group, GROUPS.get(group, TRAIN), group).set(steps["x"], steps[f"lr_{group}"])
        self.norm.line("norm", THIN).set(steps["x"], steps["grad_norm"])
        self._mark_best()
        at = steps["x"][-1] if steps["x"] else (x[-1] if x else 0)
        for now in self._now:
            now.setPos(at)
        self.loss.fit_y()
        self.terms.fit_y(1.0)
        self.psnr.fit_y(2.0)
        self.ssim.fit_y(0.05)
        self.rate.fit_y(1.0)
        self.norm.fit_y(0.1)
        for plot in self.all:
            plot.describe()

    def _mark_best(self) -> None:
        if self._diamond is None or self._best is None:
            return
        best = self.curves.best("psnr")
        if best is None:
            self._diamond.setData([], [])
            self._best.setText("")
            return
        epoch = self.curves.best_epoch
        self._diamond.setData([epoch], [best])
        self._best.setText(f"best {signed(best)}, epoch {epoch}")
        left = epoch < 0.5 * self.curves.planned
        self._best.setAnchor((0.0, 1.2) if left else (1.0, 1.2))
        self._best.setPos(epoch, best)

    def latest(self) -> Mapping[str, float]:
        """Last value of every epoch column."""
        return {name: values[-1] for name, values in self.curves.epochs.items() if values and np.isfinite(values[-1])}

    def _redress(self) -> None:
        for now in self._now:
            now.setPen(pen(NOW))
        if self._diamond is not None:
            self._diamond.setPen(pen(LineStyle("text", (), 1.6)))
            self._diamond.setBrush(theme.colour("panel"))
