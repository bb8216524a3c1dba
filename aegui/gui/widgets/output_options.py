"""Where and how denoised series are written: what is chosen often, in view, and the way to the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QComboBox, QFileDialog, QFrame, QLineEdit, QSpinBox, QWidget

from aegui import paths
from aegui.errors import UserError
from aegui.gui import theme
from aegui.gui.delivery import Delivery
from aegui.gui.widgets.basic import ElidedLabel, button, column, holder, icon_label, label, row
from aegui.gui.widgets.editors import ChoiceEditor, Editor
from aegui.gui.widgets.forms import Form
from aegui.gui.widgets.knobs import knobs
from aegui.gui.widgets.output_dialog import OutputDialog, summary, usual
from aegui.gui.widgets.rows import Cell, Message
from aegui.imaging import OutputRules
from aegui.inference.views import COUNTS

FORMATS = next(knob for knob in knobs(OutputRules) if knob.name == "format")
WIDE = 900  # from here on everything stands in one line
CRAMPED = 580  # below, the button of the further options has a short word
SHORT, CHOICE = 92, 104  # widths of fields


class OutputOptions(QFrame):
    """changed: some value reads differently."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", "plain")
        self.caution: Callable[[OutputRules], dict[str, str]] = lambda rules: {}  # what to mind, by field
        self._forms: frozenset[str] = frozenset()
        self._rules = OutputRules()
        self.message = Message()
        self.form = Form(OutputRules, self, lambda knob: not knob.advanced, self._cell)
        self.folder = QLineEdit()
        self.folder.setMinimumWidth(140)
        self.folder.setPlaceholderText("Choose a folder")
        self.browse = button(kind="icon", icon="folder-open", tip="Choose the output folder", clicked=self._browse)
        self.strength = QSpinBox()
        self.strength.setRange(0, 100)
        self.strength.setValue(100)
        self.strength.setSuffix(" %")
        self.strength.setSingleStep(5)
        self.strength.lineEdit().setTextMargins(8, 0, 0, 0)
        self.strength.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.views = QComboBox()
        for count in COUNTS:
            self.views.addItem("Off" if count == 1 else f"{count} views", count)
        self.views.setToolTip(
            "Each slice is denoised in several mirrored and turned views, which are averaged: a little less error, "
            "but as many times as long"
        )
        self.noise = QLineEdit()
        self.noise.setPlaceholderText("auto")
        self.noise.setToolTip(
            "What the model is told: SD of the finest noise, which in correlated noise is less than that of a region. "
            "Empty: measured on each slice; reports say what was"
        )
        self.more = button("More options…", icon="sliders-horizontal", clicked=self.open_more)
        self.summary = ElidedLabel("", "cap", Qt.TextElideMode.ElideRight)
        self.reset = button("Reset", "link", name="Reset the further options", clicked=self._reset)
        self.special = holder(row(icon_label("sliders-horizontal", 14, "accentText"), (self.summary, 1), self.reset))
        self._noise_box = self._field("Noise SD", self.noise)
        self._noise_label = self._noise_box.findChild(type(label()))
        self._build()
        for line in (self.folder, self.noise):
            line.textChanged.connect(self._tell)
        self.strength.valueChanged.connect(self._tell)
        self.views.currentIndexChanged.connect(self._tell)
        self.form.checked.connect(self._tell)
        self.set_noise_level(False, "")
        self.set_rules(self._rules)
        self._fit()

    def _build(self) -> None:
        first: list[QWidget] = []
        second: list[QWidget] = []
        for editor in self.form.editors.values():
            editor.setToolTip(editor.knob.help)
            (first if isinstance(editor, ChoiceEditor) else second).append(self._field(editor.knob.title, editor))
        folder = self._field("Folder", self.folder, self.browse)
        upper = holder(row(*first, (folder, 1), gap=16))
        more = holder(column(label(), self.more, gap=6))
        strength, views = self._field("Strength", self.strength), self._field("Average", self.views)
        lower = holder(row(*second, strength, views, self._noise_box, more, gap=16))
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._box.setSpacing(16)
        self._box.addWidget(upper, 1)
        self._box.addWidget(lower, 0, Qt.AlignmentFlag.AlignLeft)
        self.setLayout(column(self._box, self.message, self.special, margins=(16, 12, 16, 12), gap=8))

    def _cell(self, editor: Editor, name: str) -> Cell:
        return Cell(editor, name, self.message)

    def _field(self, title: str, widget: QWidget, extra: QWidget | None = None) -> QWidget:
        target = widget.inputs()[0] if isinstance(widget, Editor) else widget
        if target is widget:
            widget.setAccessibleName(title)
        inner = row((widget, 1), extra, gap=4) if extra else row(widget, gap=4)
        return holder(column(label(title, "cap", buddy=target), inner, gap=6))

    @Slot()
    def _tell(self) -> None:
        rules = self.form.value()
        if rules is not None:
            self._rules = rules
        words = summary(self._rules)
        self.summary.setText(words)
        self.more.setAccessibleDescription(words)
        self.special.setVisible(bool(words))
        self.changed.emit()

    def _browse(self) -> None:
        start = self.folder.text() or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Folder for denoised series", start)
        if chosen:
            self.folder.setText(chosen)

    # ---- the rules
    def set_rules(self, rules: OutputRules) -> None:
        """Show these."""
        self._rules = rules
        self.form.set_value(rules)

    def known(self) -> OutputRules:
        """What is chosen; fields that are wrong count as they were before."""
        return self._rules

    def rules(self) -> OutputRules:
        """What is chosen. SpecError if a field is wrong."""
        for error in self.form.errors():
            raise error
        return self._rules

    def set_forms(self, forms: Iterable[str]) -> None:
        """Which forms of series are queued."""
        self._forms = frozenset(forms)

    def not_dicom(self) -> str:
        """Why choices about DICOM concern nothing that will be written; “” if they do."""
        if self._rules.format == "same":
            return "Only for DICOM; no queued series is DICOM." if self._forms and "dicom" not in self._forms else ""
        if self._rules.format == "dicom":
            return ""
        return f"Only for DICOM; the output is {FORMATS.titles[self._rules.format]}."

    def open_more(self) -> OutputDialog:
        """The further options, over the window."""
        dialog = OutputDialog(self.window(), self._rules, self.not_dicom(), self.caution)
        dialog.chosen.connect(self.set_rules)
        dialog.open()
        return dialog

    def _reset(self) -> None:
        self.set_rules(usual(self._rules))
        self.more.setFocus(Qt.FocusReason.OtherFocusReason)

    # ---- the rest
    def set_noise_level(self, wanted: bool, unit: str) -> None:
        """Whether the model takes a noise level, and in which unit it is given."""
        self._noise_box.setVisible(wanted)
        words = f"Noise SD, {unit}" if unit else "Noise SD"
        if self._noise_label is not None:
            self._noise_label.setText(words)
        self.noise.setAccessibleName(words)
        if not wanted:
            self.noise.clear()

    def noise_level(self) -> float | None:
        """None: measured. UserError if it is no number."""
        text = self.noise.text().strip().replace(",", ".")
        if not text or text.lower() == "auto":
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"“{text}” is not a noise level.", "Type an SD such as 20, or leave it empty for auto.")
        return value

    def set_delivery(self, delivery: Delivery) -> None:
        """Show this."""
        self.strength.setValue(round(100 * delivery.strength))
        self.views.setCurrentIndex(self.views.findData(delivery.average))
        self.noise.setText("" if delivery.noise_level is None else f"{delivery.noise_level:.12g}")

    def delivery(self) -> Delivery:
        """What is chosen; a noise level that is no number counts as none."""
        try:
            level = self.noise_level()
        except UserError:
            level = None
        return Delivery(strength=self.strength.value() / 100, average=self.views.currentData(), noise_level=level)

    def read(self) -> tuple[Path, Delivery, OutputRules]:
        """Folder, how to denoise, and rules. UserError if one is wrong; its field is marked."""
        self.mark(None)
        wrong: QWidget | None = self.folder
        try:
            folder = self.output()
            wrong = self.noise
            self.noise_level()
            wrong = None
            return folder, self.delivery(), self.rules()
        except UserError:
            self.mark(wrong)
            raise

    def output(self) -> Path:
        """The folder, made if need be. UserError if it cannot be written."""
        text = self.folder.text().strip()
        if not text:
            raise UserError("No output folder is chosen.", "Choose the folder for the denoised series.")
        folder = Path(text).expanduser()
        paths.require_writable(folder, "output folder")
        return folder

    def mark(self, field: QWidget | None) -> None:
        """Frame the field that is wrong; None: all are well."""
        for line in (self.folder, self.noise):
            theme.set_property(line, fld="err" if line is field else "")

    def _fit(self) -> None:
        """Fields grow with the text."""
        for editor in self.form.editors.values():
            editor.setFixedWidth(theme.scaled(CHOICE if isinstance(editor, ChoiceEditor) else SHORT))
        for field in (self.strength, self.views, self.noise):
            field.setFixedWidth(theme.scaled(SHORT))
        wide = self.width() >= theme.scaled(WIDE)
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        self._box.setSpacing(16 if wide else 8)
        self.more.setText(" More…" if self.width() < theme.scaled(CRAMPED) else " More options…")

    # Qt overrides

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._fit()
