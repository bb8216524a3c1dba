"""The figures of the regions, before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from aegui.gui import theme
from aegui.gui.widgets.regions import Region
from aegui.measure.regions import Comparison

Index = QModelIndex | QPersistentModelIndex
REGION = int(Qt.ItemDataRole.UserRole)
TONE = REGION + 1
Figures = Sequence[Comparison | None]


def figure(value: float, digits: int = 1, sign: bool = False) -> str:
    """A number with a true minus; “–” if it cannot be told."""
    if not math.isfinite(value):
        return "–"
    if round(value, digits) == 0:
        value, sign = 0.0, False
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def arrow(pair: tuple[float, float], digits: int = 1) -> str:
    """“35.0 → 12.6”."""
    before, after = (figure(value, digits) for value in pair)
    return "–" if before == after == "–" else f"{before} → {after}"


class RegionsModel(QAbstractTableModel):
    """unit: “HU” or nothing. contrast: CNR to the first region (CT) instead of SNR (MR, counts)."""

    renamed = Signal(int, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.regions: tuple[Region, ...] = ()
        self.figures: Figures = ()
        self.unit, self.contrast = "", False

    def show_figures(self, regions: tuple[Region, ...], figures: Figures, unit: str, contrast: bool) -> None:
        """One comparison per region; None where there is none yet."""
        same = len(regions) == len(self.regions)
        if not same:
            self.beginResetModel()
        changed_head = (unit, contrast) != (self.unit, self.contrast) or self.regions[:1] != regions[:1]
        self.regions, self.figures, self.unit, self.contrast = regions, figures, unit, contrast
        if not same:
            self.endResetModel()
        elif regions:
            self.dataChanged.emit(self.index(0, 0), self.index(len(regions) - 1, len(self.heads()) - 1))
        if changed_head:
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self.heads()) - 1)

    def heads(self) -> tuple[str, ...]:
        unit = f" {self.unit}" if self.unit else ""
        first = self.regions[0].name if self.regions else "first"
        last = f"CNR to {first}" if self.contrast else "SNR"
        return ("Region", f"Mean{unit}", "SD before", "SD after", last, f"Bias{unit}")

    def cells(self, row: int) -> tuple[str, ...]:
        """The figures of a row as text."""
        region, found = self.regions[row], self.figures[row] if row < len(self.figures) else None
        if found is None:
            return (region.name, "–", "–", "–", "–", "–")
        digits = self._digits()
        if self.contrast:
            first = self.figures[0]
            last = "–" if row == 0 or first is None else arrow(found.cnr(first))
        else:
            last = arrow(found.snr())
        before, after = found.before, found.after
        return (
            region.name,
            figure(after.mean, max(0, digits - 1)),
            figure(before.sd, digits),
            figure(after.sd, digits),
            last,
            figure(found.bias, digits, sign=True),
        )

    def _digits(self) -> int:
        """So many that the smallest SD shows two figures."""
        spreads = [c.before.sd for c in self.figures if c is not None and c.before.sd > 0]
        return max(1, min(6, 1 - math.floor(math.log10(min(spreads))))) if spreads and min(spreads) < 1 else 1

    def text(self) -> str:
        """The table for the clipboard, tabs between cells."""
        rows = [self.heads(), *(self.cells(row) for row in range(len(self.regions)))]
        return "\n".join("\t".join(row) for row in rows)

    # Qt overrides

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.regions)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else 6

    def flags(self, index: Index) -> Qt.ItemFlag:
        plain = super().flags(index)
        return plain | Qt.ItemFlag.ItemIsEditable if index.column() == 0 else plain

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.heads()[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section else Qt.AlignmentFlag.AlignLeft
            return int(side | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if not index.isValid():
            return None
        if role == REGION:
            return self.regions[index.row()]
        if role == TONE:
            found = self.figures[index.row()] if index.row() < len(self.figures) else None
            better = found is not None and found.after.sd < 0.99 * found.before.sd
            return "ok" if index.column() == 3 and better else "text"
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole, Qt.ItemDataRole.AccessibleTextRole):
            return self.cells(index.row())[index.column()]
        return None

    def setData(self, index: Index, value: Any, role: int = int(Qt.ItemDataRole.EditRole)) -> bool:
        if role == Qt.ItemDataRole.EditRole and index.column() == 0:
            self.renamed.emit(index.row(), str(value))
            return True
        return False


class _Delegate(QStyledItemDelegate):
    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = option.rect
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, theme.colour("selected"))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, theme.colour("hover"))
        painter.setPen(QPen(theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        text, inner = str(index.data()), area.adjusted(8, 0, -8, 0)
        if index.column() == 0:
            self._ring(painter, QRectF(inner.x(), inner.center().y() - 9, 20, 20), index.data(REGION))
            painter.setFont(theme.font(13, 500))
            painter.setPen(theme.colour("text"))
            room = inner.adjusted(30, 0, 0, 0)
            shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, room.width())
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, shown)
        else:
            painter.setFont(theme.font(13))
            painter.setPen(theme.colour(index.data(TONE)))
            painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, text)
        painter.restore()

    @staticmethod
    def _ring(painter: QPainter, place: QRectF, region: Region) -> None:
        if theme.name() == "light":
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("text"))
            painter.drawEllipse(place)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(region.ink), 1.6))
        painter.drawEllipse(place.adjusted(1.5, 1.5, -1.5, -1.5))
        painter.setFont(theme.font(11, 600))
        painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(region.number))


class RegionsTable(QTableView):
    """removed: Delete was pressed on a row. picked: a row was chosen."""

    removed = Signal(int)
    picked = Signal(int)

    def __init__(self, model: RegionsModel) -> None:
        super().__init__()
        self.setModel(model)
        self.setItemDelegate(_Delegate(self))
        self.setAccessibleName("Regions, before and after")
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked | QAbstractItemView.EditTrigger.EditKeyPressed)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(34)
        head = self.horizontalHeader()
        head.setFixedHeight(30)
        head.setHighlightSections(False)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.selectionModel().currentRowChanged.connect(lambda now, _old: self.picked.emit(now.row()))
        theme.changed().connect(self.viewport().update)

    def copy(self) -> None:
        """The whole table, for a spreadsheet."""
        model = self.model()
        if isinstance(model, RegionsModel):
            QApplication.clipboard().setText(model.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        row = self.currentIndex().row()
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and row >= 0:
            self.removed.emit(row)
        else:
            super().keyPressEvent(event)
