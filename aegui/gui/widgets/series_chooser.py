"""Which series Review shows: those that training never saw come first."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox

from aegui.imaging.series import Series

_SERIES = int(Qt.ItemDataRole.UserRole) + 1


class SeriesChooser(QComboBox):
    """chosen: the user picked a series."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Series")
        self.setFixedWidth(220)
        self.activated.connect(lambda row: self.chosen.emit(self.itemData(row, _SERIES)))

    def show_series(self, series: Iterable[Series], held_out: Collection[str], current: Series | None) -> None:
        """List them; the current one is listed even if it is not among them."""
        listed = sorted(series, key=lambda one: one.uid not in held_out)
        if current is not None and all(one.uid != current.uid for one in listed):
            listed.append(current)
        self.clear()
        for row, one in enumerate(listed):
            words = " · ".join(part for part in (one.label, one.description) if part) or one.modality
            self.addItem(f"{words} (held out)" if one.uid in held_out else words)
            self.setItemData(row, one, _SERIES)
            self.setItemData(row, words, Qt.ItemDataRole.ToolTipRole)
            if current is not None and one.uid == current.uid:
                self.setCurrentIndex(row)
        self.setVisible(bool(listed))

    def first(self) -> Series | None:
        """The series to begin with."""
        return self.itemData(0, _SERIES) if self.count() else None
