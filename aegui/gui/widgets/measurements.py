"""Review's foot: regions and noise power, or one line that sums them up."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, column, frame, holder, icon_label, label, row
from aegui.gui.widgets.noise_plot import NoisePlot
from aegui.gui.widgets.painted import KeyCap
from aegui.gui.widgets.regions_table import RegionsModel, RegionsTable, arrow, figure

LOW = 800  # height of a window without room for them


class _Line(QFrame):
    clicked = Signal()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.clicked.emit()


class Measurements(QWidget):
    """folded: only the line is shown. add_asked: the user wants to draw a region."""

    add_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.folded = False
        self._chosen = False  # whether the user has folded or opened them
        self.model = RegionsModel(self)
        self.table = RegionsTable(self.model)
        self.plot = NoisePlot()
        self.caption = label("", "ter")
        self.add = button(
            "Add region", "link", "plus", tip="Draw a circle on the image (G)", clicked=self.add_asked.emit
        )
        copy = button("Copy table", "link", "copy", clicked=self.table.copy)
        fold = button(kind="icon", icon="chevron-down", size="s", tip="Fold (M)", clicked=lambda: self.set_folded(True))
        fold.setAccessibleName("Fold measurements")
        head = row(label("Regions", "h3"), self.caption, STRETCH, self.add, 8, copy, fold)
        left = frame(column(head, (self.table, 1), margins=(16, 6, 8, 4), gap=2), panel="plain")
        self._right = frame(column(self.plot), panel="right")
        self._right.setFixedWidth(400)
        self._open = frame(row((left, 1), self._right, gap=0), panel="foot")
        self._open.setFixedHeight(184)
        self._line = _Line()
        self._line.setProperty("panel", "foot")
        self._line.setFixedHeight(40)
        self._line.setCursor(Qt.CursorShape.PointingHandCursor)
        self._line.clicked.connect(lambda: self.set_folded(False))
        self._values = [(label("", "ter"), label("", "h3")) for _ in range(3)]
        self._none = label("No regions yet. Press G and draw one on an image.", "ter")
        items: list[QWidget | int] = [icon_label("chevron-up"), label("Measurements", "h3"), 8, self._none]
        for name, value in self._values:
            items += [holder(row(name, value, gap=6)), 8]
        self._hint = label("opens with", "ter")
        self._line.setLayout(row(*items, STRETCH, self._hint, KeyCap("M"), margins=(16, 0, 16, 0)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._open)
        layout.addWidget(self._line)
        self.set_folded(False)

    def set_folded(self, folded: bool) -> None:
        """Show the line alone, or everything."""
        self.folded = folded
        self._open.setVisible(not folded)
        self._line.setVisible(folded)

    def toggle(self) -> None:
        """Fold or open them for good."""
        self._chosen = True
        self.set_folded(not self.folded)

    def fit(self, height: int) -> None:
        """Fold in a low window, unless the user chose."""
        if not self._chosen:
            self.set_folded(height < LOW)

    def refresh(self) -> None:
        """Sum up the table in the line."""
        model = self.model
        found = [
            (region, comparison) for region, comparison in zip(model.regions, model.figures, strict=False) if comparison
        ]
        unit = f" {model.unit}" if model.unit else ""
        words: list[tuple[str, str]] = []
        if found:
            region, first = found[0]
            words.append((f"Noise, {region.name} SD", arrow((first.before.sd, first.after.sd)) + unit))
            if not model.contrast:
                words.append((f"SNR, {region.name}", arrow(first.snr())))
            elif len(found) > 1:
                other, second = found[-1]
                words.append((f"CNR {other.name} to {region.name}", arrow(second.cnr(first))))
            bias = max((comparison.bias for _, comparison in found), key=abs)
            words.append(("Largest bias", figure(bias, 1, sign=True) + unit))
        self._none.setVisible(not model.regions)
        for index, (name, value) in enumerate(self._values):
            shown = index < len(words)
            holder_ = name.parentWidget()
            if isinstance(holder_, QWidget):
                holder_.setVisible(shown)
            if shown:
                self._put(name, words[index][0])
                self._put(value, words[index][1])

    @staticmethod
    def _put(widget: QLabel, text: str) -> None:
        if widget.text() != text:
            widget.setText(text)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = self.width() < theme.scaled(1260)
        self._right.setFixedWidth(320 if narrow else 400)
        self._hint.setVisible(not narrow)
