"""The list of events of a run."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, holder, icon_label, label, row, scroll

MOST = 200
ROLES = {"trending-up": "ok", "diamond": "text", "triangle-alert": "warn", "octagon-alert": "err"}


class EventList(QFrame):
    """What happened, newest first, in plain words."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", "plain")
        self.folder = ""
        self.words: list[str] = []  # newest first
        self._lines = column(gap=6)
        self._lines.addStretch(1)
        self.open = button("Open run folder", "link", clicked=self._open)
        self.open.hide()
        inner = holder(self._lines)
        self.setLayout(
            column(row(label("Events", "h3"), STRETCH, self.open), (scroll(inner), 1), margins=(16, 12, 8, 12), gap=6)
        )
        self.setMinimumWidth(min(theme.scaled(240), 320))

    def start(self, folder: str) -> None:
        """Another run: its folder, an empty list."""
        self.folder = folder
        self.open.setVisible(bool(folder))
        self.words.clear()
        while self._lines.count() > 1:
            self._drop(0)

    def add(self, words: str, icon: str = "info", at: float | None = None) -> None:
        """A line on top."""
        self.words.insert(0, words)
        clock = label(time.strftime("%H:%M", time.localtime(at)), "ter")
        mark = icon_label(icon, 14, ROLES.get(icon, "text3"))
        line: QWidget = holder(row(clock, mark, (ElidedLabel(words, "cap1", Qt.TextElideMode.ElideRight), 1)))
        self._lines.insertWidget(0, line)
        if len(self.words) > MOST:
            self.words.pop()
            self._drop(self._lines.count() - 2)

    def _drop(self, index: int) -> None:
        item = self._lines.takeAt(index)
        if item is not None and (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()

    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(self.folder))
