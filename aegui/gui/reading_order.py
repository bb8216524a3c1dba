"""The Tab key goes through a form as it is read: column by column, row by row, whatever was made when."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QWidget

ROW = 14  # px between middles of widgets that stand in one row


def stops(inside: QWidget, columns: int) -> list[QWidget]:
    """The visible widgets that take the focus by Tab, in the order in which they are read."""
    wide = max(1, inside.width() // columns)
    placed = []
    for widget in inside.findChildren(QWidget):
        takes = widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.focusProxy() is None
        if takes and widget.isVisibleTo(inside) and widget.isEnabled():
            middle = widget.mapTo(inside, QPoint(0, widget.height() // 2))
            placed.append((middle.x() // wide, middle.y(), middle.x(), widget))
    placed.sort(key=lambda item: item[:3])
    found: list[tuple[int, int, int, QWidget]] = []
    top = -ROW
    row = column = 0
    for side, y, x, widget in placed:
        if side != column or y - top > ROW:
            row, top, column = row + 1, y, side
        found.append((side, row, x, widget))
    found.sort(key=lambda item: item[:3])
    return [widget for *_, widget in found]
