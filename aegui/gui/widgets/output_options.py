"""Where and how denoised series are written."""

from __future__ import annotations

import math
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFileDialog, QFrame, QLineEdit, QSpinBox, QWidget

from aegui import paths
from aegui.errors import UserError
from aegui.gui import theme
from aegui.gui.widgets.basic import button, column, holder, label, row
from aegui.gui.widgets.painted import Segmented
from aegui.imaging import OutputRules
from aegui.imaging.series import Series

FORMATS = ("same", "dicom", "nifti", "png")
_TELL = {
    "same": "Same kind of files; DICOM as a new series with new UIDs.",
    "dicom": "Written as new derived series with new UIDs.",
    "nifti": "One .nii.gz per series, real units.",
    "png": "One 16-bit PNG per slice.",
}


class OutputOptions(QFrame):
    """changed: some value reads differently."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", "plain")
        self._unit = ""
        self.format = Segmented(("Same", "DICOM", "NIfTI", "PNG"))
        self.format.setAccessibleName("Save as")
        self.folder = QLineEdit()
        self.folder.setMinimumWidth(140)
        self.folder.setPlaceholderText("Choose a folder")
        self.browse = button(kind="icon", icon="folder-open", tip="Choose the output folder", clicked=self._browse)
        self.suffix = QLineEdit("_DN")
        self.suffix.setMaxLength(16)
        self.suffix.setFixedWidth(88)
        self.strength = QSpinBox()
        self.strength.setRange(0, 100)
        self.strength.setValue(100)
        self.strength.setSuffix(" %")
        self.strength.setSingleStep(5)
        self.strength.setFixedWidth(88)
        self.strength.lineEdit().setTextMargins(8, 0, 0, 0)
        self.strength.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.noise = QLineEdit()
        self.noise.setPlaceholderText("auto")
        self.noise.setFixedWidth(88)
        first = holder(row(self._field("Save as", self.format), (self._field("Folder", self.folder, self.browse), 1)))
        self._noise_box = self._field("Noise SD", self.noise)
        self._noise_label = self._noise_box.findChild(type(label()))
        ends = self._field("Name ends with", self.suffix)
        self.second = holder(row(ends, self._field("Strength", self.strength), self._noise_box, gap=16))
        first.layout().setSpacing(16)  # type: ignore[union-attr]
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.setContentsMargins(16, 12, 16, 12)
        self._box.setSpacing(16)
        self._box.addWidget(first, 1)
        self._box.addWidget(self.second, 0, Qt.AlignmentFlag.AlignLeft)
        self.format.changed.connect(self._tell)
        for line in (self.folder, self.suffix, self.noise):
            line.textChanged.connect(self._tell)
        self.strength.valueChanged.connect(self._tell)
        self.suffix.setToolTip("Added to the series description, or to the file name")
        self.noise.setToolTip("SD of the noise in the scans; empty: measured on each slice")
        self.set_noise_level(False, "")

    def _field(self, title: str, widget: QWidget, extra: QWidget | None = None) -> QWidget:
        if not isinstance(widget, Segmented):
            widget.setAccessibleName(title)
        inner = row((widget, 1), extra, gap=4) if extra else row(widget, gap=4)
        return holder(column(label(title, "cap", buddy=widget), inner, gap=6))

    def _tell(self, *_args: object) -> None:
        self.changed.emit()

    def _browse(self) -> None:
        start = self.folder.text() or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Folder for denoised series", start)
        if chosen:
            self.folder.setText(chosen)

    def set_noise_level(self, wanted: bool, unit: str) -> None:
        """Whether the model takes a noise level, and in which unit it is given."""
        self._noise_box.setVisible(wanted)
        self._unit = unit
        words = f"Noise SD, {unit}" if unit else "Noise SD"
        if self._noise_label is not None:
            self._noise_label.setText(words)
        self.noise.setAccessibleName(words)
        if not wanted:
            self.noise.clear()

    def format_name(self) -> str:
        """As OutputRules names it."""
        return FORMATS[max(0, self.format.current)]

    def rules(self) -> OutputRules:
        """What is chosen here."""
        return OutputRules.parse({"format": self.format_name(), "suffix": self.suffix.text()})

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
        for line in (self.folder, self.suffix, self.noise):
            theme.set_property(line, fld="err" if line is field else "")

    def example(self, series: Series | None) -> str:
        """What will be written, in words."""
        form = self.format_name()
        words = f"{_TELL[form]} Originals are never changed."
        if series is None:
            return words
        dicom = form == "dicom" or (form == "same" and series.form == "dicom")
        name = series.description or ("Series" if dicom else series.files[0].stem if series.files else "series")
        return f"{words} Example: “{name}{self.suffix.text()}”." if dicom else words

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide = self.width() >= theme.scaled(800)
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        self._box.setSpacing(16 if wide else 8)
