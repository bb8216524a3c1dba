"""What a classifying recipe tells apart: its latent space, and which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from aegui.events import Features
from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, column, holder, label, row
from aegui.gui.widgets.plots import SEVERAL, Plot

MARKS = ("o", "s", "t1", "d", "p", "h")
CELL = 44  # px, of the table of classes


class Scatter(Plot):
    """Latents on two axes; colour and mark say the class, filled ones were not trained on."""

    def __init__(self) -> None:
        super().__init__("Latent space", left=8)
        for side in ("left", "bottom"):
            self.getPlotItem().getAxis(side).setStyle(showValues=False)
        self.getPlotItem().getAxis("bottom").setHeight(4)
        self._shown: Features | None = None

    def show_features(self, event: Features) -> None:
        self._shown = event
        self.clear_all()
        words = []
        for number, (name, style, mark) in enumerate(zip(event.classes, cycle(SEVERAL), cycle(MARKS), strict=False)):
            mine = event.labels == number
            colour = theme.colour(style.role)
            for chosen, brush in ((mine & event.validation, colour), (mine & ~event.validation, None)):
                if chosen.any():
                    item = pg.ScatterPlotItem(
                        pos=event.points[chosen], symbol=mark, size=9, pen=pg.mkPen(colour, width=1.4), brush=brush
                    )
                    self.add(item)
            if mine.any():
                x, y = event.points[mine, 0].mean(), event.points[mine, 1].max()
                self.text(name, style.role, (0.5, 1.4)).setPos(float(x), float(y))
                words.append(f"{name} {int(mine.sum())}")
        self._fit(event.points)
        self.setAccessibleDescription(f"{event.method} of {len(event.labels)} slices: {', '.join(words)}")

    def _fit(self, points: npt.NDArray[np.float32]) -> None:
        if not len(points):
            return
        low, high = points.min(axis=0), points.max(axis=0)
        pad = np.maximum((high - low) * 0.12, 1e-6)
        self.getPlotItem().setXRange(float(low[0] - pad[0]), float(high[0] + pad[0]), padding=0)
        self.getPlotItem().setYRange(float(low[1] - pad[1]), float(high[1] + 2 * pad[1]), padding=0)

    def dress(self) -> None:
        super().dress()
        if self.plotItem is not None and getattr(self, "_shown", None) is not None:
            assert self._shown is not None
            self.show_features(self._shown)

    def values(self) -> str:
        """Class, part and place of every point as tab-separated text."""
        rows = ["class\tpart\tx\ty"]
        if (event := self._shown) is not None:
            for (x, y), number, held in zip(event.points.tolist(), event.labels, event.validation, strict=True):
                rows.append(f"{event.classes[number]}\t{'validation' if held else 'training'}\t{x!r}\t{y!r}")
        return "\n".join(rows)


class ConfusionTable(QWidget):
    """Validation slices by true class (rows) and class found (columns)."""

    def __init__(self) -> None:
        super().__init__()
        self.classes: Sequence[str] = ()
        self.counts: npt.NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Classes found")
        theme.changed().connect(self.update)

    def show_counts(self, classes: Sequence[str], counts: npt.NDArray[np.int64]) -> None:
        self.classes, self.counts = classes, counts
        found = (
            f"{true} taken for {other} {counts[i, j]} times"
            for i, true in enumerate(classes)
            for j, other in enumerate(classes)
            if counts.size and counts[i, j]
        )
        self.setAccessibleDescription("; ".join(found))
        self.setToolTip("Rows: what a slice is. Columns: what the model takes it for.")
        self.updateGeometry()
        self.setFixedSize(self.sizeHint())
        self.update()

    def _left(self) -> int:
        metrics = QFontMetrics(theme.font(11, 500))
        return min(120, max((metrics.horizontalAdvance(name) for name in self.classes), default=0)) + 16

    def _cell(self) -> tuple[int, int]:
        count = max(1, len(self.classes))
        return min(theme.scaled(CELL), 220 // count), min(theme.scaled(28), 120 // count)

    def sizeHint(self) -> QSize:
        width, height = self._cell()
        return QSize(self._left() + width * len(self.classes) + 2, height * (len(self.classes) + 1) + 2)

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self.counts.size:
            return
        painter = QPainter(self)
        font = theme.font(11, 500)
        painter.setFont(font)
        metrics = QFontMetrics(font)
        left, (width, height) = self._left(), self._cell()
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        rows = self.counts.sum(axis=1)
        for i, name in enumerate(self.classes):
            painter.setPen(theme.colour("text3"))
            top = height * (i + 1)
            short = metrics.elidedText(name, Qt.TextElideMode.ElideRight, left - 8)
            painter.drawText(QRectF(0, top, left - 8, height), right, short)
            head = metrics.elidedText(name, Qt.TextElideMode.ElideRight, width - 4)
            painter.drawText(QRectF(left + width * i, 0, width, height), Qt.AlignmentFlag.AlignCenter, head)
            for j in range(len(self.classes)):
                share = self.counts[i, j] / rows[i] if rows[i] else 0.0
                box = QRectF(QPointF(left + width * j, top), QPointF(left + width * (j + 1) - 2, top + height - 2))
                ground = QColor(theme.colour("ok" if i == j else "warn"))
                ground.setAlphaF(0.08 + 0.32 * share)
                painter.fillRect(box, ground if self.counts[i, j] else theme.colour("inset"))
                painter.setPen(theme.colour("text" if self.counts[i, j] else "text3"))
                painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(self.counts[i, j]))


class FeatureView(QWidget):
    """The latent space beside the table of classes, accuracy and AUC."""

    def __init__(self) -> None:
        super().__init__()
        self.scatter = Scatter()
        self.table = ConfusionTable()
        self.figures = label("", "h3")
        self.legend = label("", "ter", wrap=True)
        self._right = holder(
            column(
                self.figures,
                label("True class in rows, found in columns", "ter"),
                self.table,
                self.legend,
                STRETCH,
                margins=(0, 0, 12, 8),
                gap=6,
            )
        )
        self._right.setFixedWidth(theme.scaled(270))
        self.setLayout(row((self.scatter, 1), self._right, margins=(12, 0, 0, 8), gap=12))

    def show_features(self, event: Features) -> None:
        self.scatter.show_features(event)
        self.table.show_counts(event.classes, event.confusion)
        parts = []
        if event.accuracy is not None:
            parts.append(f"Accuracy {event.accuracy * 100:.0f} %")
        if event.auc is not None:
            parts.append(f"AUC {event.auc:.3f}")
        self.figures.setText(" · ".join(parts))
        held = int(event.validation.sum())
        self.legend.setText(
            f"{event.method} of the latent. Filled: {held} validation slices, which the figures are of. "
            f"Open: {len(event.labels) - held} of the training slices."
        )
