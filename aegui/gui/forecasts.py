"""Forecasts of the recipe as it stands: made in the background, remembered while nothing they depend on changes."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Qt, Signal, Slot

from aegui import workflow
from aegui.errors import UserError
from aegui.gui.runs import train_job
from aegui.gui.session import Session

LANE = "preview"


class Forecasts(QObject):
    """changed: one has come."""

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._known: dict[tuple[Any, ...], Any] = {}
        self._trying: tuple[Any, ...] = ()
        self._failed: set[tuple[Any, ...]] = set()

    def key(self) -> tuple[Any, ...]:
        """All that a forecast depends on; names of the recipe are not among it."""
        session = self.session
        recipe = session.recipe.model_copy(update={"id": "", "title": "", "summary": ""})
        scans = tuple(series.uid for series in (*session.noisy, *session.clean))
        return (str(session.model_ref), session.device, session.initial, scans, session.holdout, recipe)

    def current(self) -> Any:
        """The forecast for things as they stand (training.forecast.Forecast), or None."""
        return self._known.get(self.key())

    def take(self, key: tuple[Any, ...], found: Any) -> None:
        """Remember one."""
        if found is not None:
            self._known[key] = found
            self.changed.emit()

    def measure(self) -> None:
        """Try a few steps, unless that was done or something else is running."""
        key = self.key()
        lanes = self.session.lanes
        if key in self._known or key in self._failed or not self.session.model_ref or lanes.busy() or lanes.busy(LANE):
            return
        asked = train_job(self.session)
        job = lanes.create(lambda: workflow.forecast(asked), "Timing a step", lane=LANE)
        job.done.connect(lambda found, key=key: self.take(key, found), Qt.ConnectionType.QueuedConnection)
        job.failed.connect(self._on_failed)
        self._trying = key
        job.start()

    def try_again(self) -> None:
        """What could not be timed may be timed now."""
        self._failed.clear()

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        self._failed.add(self._trying)
        # What is wrong with the recipe or the scans is told at its field; here only the figures are missing.
        if not isinstance(error, UserError):
            self.session.report(error)
