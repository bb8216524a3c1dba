"""“Match my scanner”: the noise of the user's own scans, measured, as corruptions to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QWidget

from aegui import workflow
from aegui.gui import theme
from aegui.gui.session import Session
from aegui.gui.widgets.basic import label
from aegui.gui.widgets.knobs import choice_title
from aegui.gui.widgets.measuring import Measuring
from aegui.gui.widgets.plots import TRAIN, Plot

PURPOSE = (
    "The noise in your noisy series is measured: its strength, its grain, and whether it grows with the signal. "
    "The same kind of noise is then put on the scans to learn from."
)


class ScannerDialog(Measuring):
    """chosen: the corruptions that were measured."""

    chosen = Signal(object)

    def __init__(self, window: QWidget, session: Session) -> None:
        super().__init__(window, session, "Match my scanner", "wand-sparkles", PURPOSE)
        self.corruptions: tuple[Any, ...] = ()
        self.words = label("", "body", wrap=True)
        self.plot = Plot("Noise power over spatial frequency", left=44)
        self.plot.setFixedHeight(theme.scaled(150))
        self.caption = label("Power by spatial frequency: flat is white noise, a hump is grain.", "ter", wrap=True)
        self.parts = label("", "ter", wrap=True)
        for widget in (self.words, self.plot, self.caption, self.parts):
            self.results.addWidget(widget)
        self.use.setText("Use this noise")
        self.accepted.connect(self._on_accepted)
        series = session.noisy
        self.measure(lambda: workflow.match_scanner(series))

    def take_result(self, result: Any) -> None:
        self.corruptions = tuple(result.corruptions)
        self.words.setText(result.words)
        power = np.asarray(result.spectrum, dtype=float)
        frequencies = np.asarray(result.frequencies, dtype=float)
        shown = power.size > 1
        self.plot.setVisible(shown)
        self.caption.setVisible(shown)
        if shown:
            self.plot.line("Noise power", TRAIN).set(frequencies, power / max(float(power.max()), 1e-30))
            self.plot.set_x(float(frequencies[0]), float(frequencies[-1]))
            self.plot.getPlotItem().setYRange(0, 1.08, padding=0)
            self.plot.describe()
        names = ", ".join(choice_title(type(part)) for part in self.corruptions)
        self.parts.setText(f"Replaces the corruptions of the recipe by: {names}. Ctrl+Z brings them back.")
        self.use.setEnabled(bool(self.corruptions))

    @Slot()
    def _on_accepted(self) -> None:
        self.chosen.emit(self.corruptions)
