"""The further choices about derived series, as a form over the window. Every change counts at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QWidget

from aegui.gui import theme
from aegui.gui.dialogs import Dialog
from aegui.gui.widgets.basic import button, column, holder, scroll
from aegui.gui.widgets.forms import Form
from aegui.gui.widgets.knobs import knobs
from aegui.gui.widgets.rows import Row, Where
from aegui.imaging import OutputRules

ROWS, AROUND = 516, 216  # px: all rows at the usual text size; title, buttons and the edge of the window
FURTHER = {knob.name for knob in knobs(OutputRules) if knob.advanced}


def summary(rules: OutputRules) -> str:
    """“De-identified · noise kept · RLE”: which of the further choices are not as usual."""
    words = " · ".join(words for name, words in rules.changes().items() if name in FURTHER)
    return words[:1].upper() + words[1:]


def usual(rules: OutputRules) -> OutputRules:
    """The further choices as they are by default, the others kept."""
    return OutputRules(**rules.model_dump(exclude=FURTHER))


@dataclass(frozen=True)
class Caution:
    """Something to mind about a field; see forms.Problem."""

    message: str
    where: Where
    hint: str = ""
    blocking: bool = False


class OutputDialog(Dialog):
    """chosen: the rules after a change, as long as they are valid.

    not_dicom: why choices about DICOM concern nothing, or “”. caution: what to mind about rules, by field.
    """

    chosen = Signal(object)

    def __init__(
        self, window: QWidget, rules: OutputRules, not_dicom: str, caution: Callable[[OutputRules], dict[str, str]]
    ) -> None:
        super().__init__(window, "More options", "sliders-horizontal")
        self._caution = caution
        self._rules = rules
        self.form = Form(OutputRules, self, lambda knob: knob.advanced)
        self.form.set_value(rules, preset=OutputRules())
        rows = [row for row in self.form.rows.values() if isinstance(row, Row)]
        for row in rows:
            row.set_unavailable(not_dicom if row.editor.knob.only == "DICOM" else "")
        self._inside = holder(column(*rows, gap=12, margins=(0, 0, 8, 0)))
        self._area = scroll(self._inside)
        self.body.addWidget(self._area)
        self.reset = button("Reset", "ghost", "rotate-ccw", name="Reset all", clicked=self._reset)
        self.close_button = button("Done", "primary", clicked=self._finish)
        self.foot.addWidget(self.reset)
        self.foot.addStretch(1)
        self.foot.addWidget(self.close_button)
        self.form.checked.connect(self._on_checked)
        self._on_checked()
        first = next((row for row in rows if not row.unavailable), None)
        if first is not None:
            first.editor.inputs()[0].setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot()
    def _on_checked(self) -> None:
        rules = self.form.value()
        if rules is not None:
            found = [Caution(words, (name,)) for name, words in self._caution(rules).items()]
            self.form.set_problems(found)
            self._rules = rules
            self.reset.setEnabled(bool(summary(rules)))
            self.chosen.emit(rules)

    def _reset(self) -> None:
        self.form.set_value(usual(self._rules))

    def _finish(self) -> None:
        errors = self.form.errors()
        if errors:
            self.form.refresh()
            self.form.reveal(errors[0].where)
        else:
            self.accept()

    def fit(self) -> None:
        """As high as the rows usually need, or as the window allows; then they scroll."""
        parent, sheet, outer = self.parentWidget(), self._area.parentWidget(), self.layout()
        if parent is None or sheet is None or outer is None:
            return
        self._area.setFixedHeight(min(theme.scaled(ROWS), parent.height() - AROUND))
        # Nested layouts keep what they have measured until Qt works off its events.
        inner = sheet.layout()
        if inner is not None:
            inner.activate()
        outer.invalidate()
        super().fit()
