"""Under the output options: what the next series will be called, and what de-identification cannot reach."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QWidget

from aegui.gui.batch import Batch
from aegui.gui.outlook import TextSearch, example
from aegui.gui.session import Session
from aegui.gui.widgets.basic import ElidedLabel, Note, column, icon_label, row
from aegui.gui.widgets.output_options import OutputOptions
from aegui.imaging import OutputRules
from aegui.imaging.outlook import caution
from aegui.imaging.series import Series
from aegui.models import card_of


class OutputOutlook(QWidget):
    """Reads the queue and the options; it answers the options when they ask what to mind."""

    def __init__(self, session: Session, batch: Batch, options: OutputOptions) -> None:
        super().__init__()
        self._session = session
        self._batch = batch
        self._options = options
        self._search = TextSearch(session, self)
        self._search.changed.connect(self.show_caution)
        self.caution = Note("warn", "")
        self.caution.hide()
        self.example = ElidedLabel("", "ter", Qt.TextElideMode.ElideRight)
        hint = row(icon_label("shield-check", 14, "text3"), (self.example, 1), gap=6)
        self.setLayout(column(self.caution, hint, gap=10))
        options.caution = self._cautions

    def show_example(self) -> None:
        """The names of what is written next."""
        entries = self._batch.model.entries
        upcoming = next((entry.series for entry in entries if entry.status in ("running", "waiting")), None)
        model, strength = card_of(self._session.model_ref), self._session.delivery.strength
        self.example.setText(example(upcoming, self._options.known(), model.id if model else "", strength))

    @Slot()
    def show_caution(self) -> None:
        """Look for text in the pictures where it matters; tell of what is known so far."""
        rules = self._options.known()
        if rules.deidentify:
            self._search.look(self._to_write())
        text = " ".join(self._cautions(rules).values())
        self.caution.show_text("warn", text)
        self.caution.setVisible(bool(text))

    def _cautions(self, rules: OutputRules) -> dict[str, str]:
        """What to mind, by field."""
        found = caution(self._search.found(self._to_write())) if rules.deidentify else ""
        return {"deidentify": found} if found else {}

    def _to_write(self) -> list[Series]:
        """What was or will be written."""
        return [entry.series for entry in self._batch.model.entries if entry.status not in ("skipped", "failed")]
