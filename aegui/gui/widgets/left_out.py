"""The line under the queue that says how many files are in no series, so that none is left out silently."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QFrame, QLabel

from aegui.gui import dialogs, theme
from aegui.gui.widgets.basic import ElidedLabel, button, row
from aegui.imaging.series import Skipped


class LeftOut(QFrame):
    """Hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped: Sequence[Skipped] = ()
        self.icon = QLabel()
        self.icon.setFixedSize(14, 14)
        self.words = ElidedLabel("", "ter")
        self.show_files = button("Show them", "link", name="Show files left out", clicked=self._list)
        self.setLayout(row(self.icon, (self.words, 1), self.show_files, margins=(10, 2, 10, 2)))

    def show_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Count these."""
        self._skipped = skipped
        damaged = sum(one.damaged for one in skipped)
        other = len(skipped) - damaged
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
        self.setVisible(bool(skipped))

    def _list(self) -> None:
        skipped = sorted(self._skipped, key=lambda one: not one.damaged)
        lines = [f"{'Damaged: ' if one.damaged else ''}{one.file}: {one.reason}" for one in skipped]
        dialogs.text_dialog(self.window(), "Files that are not in the queue", lines)
