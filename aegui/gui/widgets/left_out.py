"""The line under the queue that says how many files are in no series, so that none is left out silently."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QLabel

from aegui.gui import theme
from aegui.gui.widgets.basic import ElidedLabel, button, row


class LeftOut(QFrame):
    """listed: the user wants to see them."""

    listed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.icon = QLabel()
        self.icon.setFixedSize(14, 14)
        self.words = ElidedLabel("", "ter")
        self.show_files = button("Show them", "link", name="Show files left out", clicked=self.listed.emit)
        self.setLayout(row(self.icon, (self.words, 1), self.show_files, margins=(10, 2, 10, 2)))

    def show_counts(self, damaged: int, total: int) -> None:
        """damaged of total files were to be slices and cannot be."""
        other = total - damaged
        parts = []
        if damaged:
            parts.append(f"{damaged} file{'s are' if damaged != 1 else ' is'} damaged and left out")
        if other:
            parts.append(
                f"{other} {'other ' if damaged else ''}file{'s belong' if other != 1 else ' belongs'} to no series"
            )
        self.words.setText(" · ".join(parts))
        theme.set_property(self.words, t="warn" if damaged else "ter")
        theme.set_icon(self.icon, "triangle-alert" if damaged else "info", "warn" if damaged else "text3", 14)
        self.setVisible(total > 0)
