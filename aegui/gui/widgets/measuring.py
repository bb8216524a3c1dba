"""A dialog that measures something in the background and then shows what it found, to be used or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QProgressBar, QWidget

from aegui.errors import UserError
from aegui.events import Events, Progress
from aegui.gui.dialogs import Dialog
from aegui.gui.job import Job
from aegui.gui.session import Session
from aegui.gui.widgets.basic import Note, button, column, holder, label, row
from aegui.gui.widgets.painted import Spinner
from aegui.gui.widgets.states import bar


class Measuring(Dialog):
    """Base. Subclasses put what they show into `results`, and say what to do with events and with the result."""

    def __init__(self, window: QWidget, session: Session, title: str, icon: str, purpose: str) -> None:
        super().__init__(window, title, icon)
        self.session = session
        self.title = title
        self._job: Job | None = None
        self.purpose = label(purpose, "cap1", wrap=True)
        self.state = label("Starting", "cap")
        self.bar: QProgressBar = bar()
        self.working = holder(column(row(Spinner(), (self.state, 1)), self.bar, gap=8))
        self.bar.hide()
        self.problem = Note("err")
        self.problem.hide()
        self.results = column(gap=12)
        self.shown = holder(self.results)
        self.shown.hide()
        for widget in (self.purpose, self.working, self.problem, self.shown):
            self.body.addWidget(widget)
        self.use = button("Use", "primary", clicked=self.accept)
        self.use.setEnabled(False)
        self.foot.addStretch(1)
        self.foot.addWidget(button("Close", clicked=self.reject))
        self.foot.addWidget(self.use)
        self.finished.connect(self._end)

    def measure(self, work: Callable[[], Events]) -> None:
        """Start. The job ends with the dialog."""
        try:
            self._job = self.session.lanes.create(work, self.title)
        except UserError as error:
            self._on_failed(error)
            return
        self._job.event.connect(self._on_event)
        self._job.done.connect(self._on_done, Qt.ConnectionType.QueuedConnection)
        self._job.failed.connect(self._on_failed)
        self._job.start()

    def take_event(self, event: Any) -> None:
        """Something came while measuring."""

    def take_result(self, result: Any) -> None:
        """It is there."""
        raise NotImplementedError

    @Slot(object)
    def _on_event(self, event: Any) -> None:
        if isinstance(event, Progress):
            self.state.setText(event.what)
        self.take_event(event)

    def show_progress(self, step: int, total: int) -> None:
        """How far it is."""
        self.bar.setVisible(True)
        self.bar.setMaximum(total)
        self.bar.setValue(step)

    def show_results(self) -> None:
        """Make room for what there is to see."""
        if self.shown.isHidden():
            self.shown.show()
            self.fit()

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        self._job = None
        if result is None:
            return
        self.working.hide()
        self.take_result(result)
        self.shown.show()
        self.fit()
        if self.use.isEnabled():
            self.use.setDefault(True)
            self.use.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        self._job = None
        self.working.hide()
        if isinstance(error, UserError):
            self.problem.show_text("err", error.hint, error.message)
            self.problem.show()
            self.fit()
        else:
            self.reject()
            self.session.report(error)

    @Slot(int)
    def _end(self, _result: int) -> None:
        if self._job is not None:
            self._job.abandon()
