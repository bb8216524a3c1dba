"""The learning-rate finder: the loss over rising rates, the suggested one marked; another can be dragged to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QWidget

from aegui import workflow
from aegui.events import RatePoint
from aegui.gui import theme
from aegui.gui.session import Session
from aegui.gui.widgets.basic import STRETCH, holder, label, row
from aegui.gui.widgets.editors import NumberEditor
from aegui.gui.widgets.knobs import choice_title, format_number, knobs
from aegui.gui.widgets.measuring import Measuring
from aegui.gui.widgets.plots import INPUT, LIMIT, TRAIN, Plot, pen
from aegui.gui.widgets.rows import Message
from aegui.recipes.optimisers import LoRA, ParameterGroup

RATE = next(knob for knob in knobs(ParameterGroup) if knob.name == "learning_rate")
PURPOSE = (
    "The rate rises from step to step, on a copy of the model, until the loss runs away. A good rate lies where the "
    "loss falls steeply, well before its lowest point."
)
KEY = "Loss over learning rate: single steps dotted, smoothed solid. Drag the dashed line to another rate."


class RatePlot(Plot):
    """Loss over rate on a decade axis. picked: the mark was dragged or clicked to a rate."""

    picked = Signal(float)

    def __init__(self) -> None:
        super().__init__("Loss over learning rate", left=56)
        self.setFixedHeight(theme.scaled(230))
        self._points: list[tuple[float, float, float]] = []
        self.single = self.line("single steps", INPUT)
        self.smoothed = self.line("smoothed", TRAIN)
        self.mark = pg.InfiniteLine(-4, angle=90, movable=True, pen=pen(LIMIT))
        self.mark.sigDragged.connect(self._on_dragged)
        self.mark.hide()
        self.add(self.mark)
        self.scene().sigMouseClicked.connect(self._on_clicked)

    def add_point(self, point: RatePoint) -> None:
        """Draw one more; the axis reaches to the last rate that is planned."""
        self._points.append((math.log10(point.rate), point.loss, point.smoothed))
        first, last = self._points[0][0], self._points[-1][0]
        passed = max(1, len(self._points) - 1)
        self.draw(first + (last - first) / passed * (point.total - 1))

    def draw(self, end: float | None = None) -> None:
        """end: where the axis ends, as a decade; None: at the last point."""
        found = np.asarray(self._points)
        self.single.set(found[:, 0], found[:, 1])
        self.smoothed.set(found[:, 0], found[:, 2])
        end = found[-1, 0] if end is None else end
        low, high = math.floor(found[0, 0] + 1e-6), max(math.ceil(end - 1e-6), math.floor(found[0, 0]) + 1)
        self.set_x(low, high)
        ticks = [(decade, format_number(10.0**decade)) for decade in range(low, high + 1)]
        self.getPlotItem().getAxis("bottom").setTicks([ticks])
        # Where the loss runs away it would flatten everything else.
        start, least = float(found[:5, 2].mean()), float(found[:, 2].min())
        room = max(start - least, 1e-9 * abs(start), 1e-12)
        self.getPlotItem().setYRange(least - 0.25 * room, start + 0.9 * room, padding=0)

    def show_mark(self, rate: float) -> None:
        self.mark.setPos(math.log10(rate))
        self.mark.show()

    def _on_dragged(self, mark: pg.InfiniteLine) -> None:
        self.picked.emit(10 ** float(mark.value()))

    def _on_clicked(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            at = self.getPlotItem().getViewBox().mapSceneToView(event.scenePos()).x()
            self.picked.emit(10 ** float(at))


class RateDialog(Measuring):
    """chosen: by what all learning rates are to be multiplied."""

    chosen = Signal(float)

    def __init__(self, window: QWidget, session: Session, job: workflow.TrainJob) -> None:
        super().__init__(window, session, "Find learning rate", "trending-up", PURPOSE)
        recipe = job.recipe
        self.lora = isinstance(recipe.adaptation, LoRA)
        self.groups = {group.match: group.rate for group in recipe.groups if group.train}
        if isinstance(recipe.adaptation, LoRA):
            self.groups = {"adapters": recipe.adaptation.learning_rate}
        self.fastest = max(self.groups.values(), default=1e-4)
        self.plot = RatePlot()
        self.plot.picked.connect(self._on_picked)
        self.rate = NumberEditor(RATE)
        self.rate.name_inputs("Learning rate")
        self.rate.setFixedWidth(theme.scaled(140))
        self.rate.changed.connect(self._on_typed)
        self._good = self.fastest
        self.words = label("", "cap1", wrap=True)
        self.effect = Message()
        fastest = "Learning rate" if len(self.groups) < 2 else "Rate of the fastest group"
        self.choice = holder(row(label(fastest, "sec", buddy=self.rate.line), self.rate, STRETCH, gap=12))
        self.choice.hide()
        self.results.addWidget(self.plot)
        self.results.addWidget(label(KEY, "ter", wrap=True))
        for widget in (self.words, self.choice, self.effect):
            self.results.addWidget(widget)
        self.accepted.connect(self._on_accepted)
        self.measure(lambda: workflow.find_rate(job))

    def take_event(self, event: Any) -> None:
        if isinstance(event, RatePoint):
            self.state.setText(f"Step {event.step}, at a rate of {format_number(float(f'{event.rate:.2g}'))}")
            self.show_progress(event.step, event.total)
            self.plot.add_point(event)
            self.show_results()

    def take_result(self, result: Any) -> None:
        self.plot.draw()
        self.words.setText(result.words)
        self.choice.show()
        rate = result.suggestion
        if rate is None:
            rate = self.fastest
        self._show(rate, typed=False)

    @Slot(float)
    def _on_picked(self, rate: float) -> None:
        if self._job is None:
            self._show(min(10.0, float(f"{rate:.1e}")), typed=False)

    @Slot()
    def _on_typed(self) -> None:
        value = self.rate.raw()
        good = isinstance(value, int | float) and 0 < value <= 10
        if good:
            self._show(float(value), typed=True)
        else:
            self.rate.set_tone("err")
            self.effect.show_text("err", f"Must be more than 0 and at most 10. Try {format_number(self._good)}.")
            self.use.setEnabled(False)
            self.use.setText("Use")
            self.use.setAccessibleName("Use")

    def _show(self, rate: float, typed: bool) -> None:
        if not typed:
            self.rate.set_raw(rate)
            self._good = rate
        self.rate.set_tone("")
        self.plot.show_mark(rate)
        factor = rate / self.fastest
        parts = [
            f"{choice_title(match)} {format_number(float(f'{old * factor:.3g}'))}" for match, old in self.groups.items()
        ]
        together = "All groups keep their ratio: " if len(parts) > 1 else "Then: "
        self.effect.show_text("", f"{together}{', '.join(parts)}. Now: {format_number(self.fastest)}.")
        self.use.setEnabled(True)
        self.use.setText(f"Use {format_number(rate)}")
        self.use.setAccessibleName(self.use.text())

    @Slot()
    def _on_accepted(self) -> None:
        value = self.rate.raw()
        if isinstance(value, int | float):
            self.chosen.emit(float(value) / self.fastest)
