"""One export format: what it is for, how it stands, and its one button."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame

from aegui.gui import theme
from aegui.gui.exports import Export, Exported
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, frame, icon_label, label, row
from aegui.gui.widgets.painted import Spinner

_LOOKS = {"ok": ("badge-check", "ok"), "none": ("circle-dashed", "text3"), "err": ("circle-x", "err")}


class ExportCard(QFrame):
    """States: not yet, running, verified, failed."""

    export_asked = Signal(str)
    show_asked = Signal(str)
    cancel_asked = Signal(str)

    def __init__(self, export: Export) -> None:
        super().__init__()
        self.export = export
        self.result: Exported | None = None
        self.state = "none"
        self.setProperty("card", "plain")
        inner = row(STRETCH, icon_label(export.icon, 20), STRETCH)
        box = frame(column(STRETCH, inner, STRETCH), card="flat")
        box.setFixedSize(44, 44)
        self._icon = icon_label("circle-dashed", 14, "text3")
        self._spinner = Spinner(14)
        self._spinner.hide()
        self.words = ElidedLabel("Not exported yet", "ter", Qt.TextElideMode.ElideRight)
        self.button = button("Export…", icon="upload", size="s", name=f"Export {export.title}", clicked=self._pressed)
        words = column(label(export.title, "h3"), ElidedLabel(export.about, "ter", Qt.TextElideMode.ElideRight), gap=2)
        state = row(self._icon, self._spinner, (self.words, 1), gap=6)
        top = row((words, 1), column(self.button, STRETCH), gap=8)
        self.setLayout(row(column(box, STRETCH), (column(top, state, gap=4), 1), margins=(12, 10, 12, 10), gap=12))

    def _pressed(self) -> None:
        signal = {"running": self.cancel_asked, "ok": self.show_asked}.get(self.state, self.export_asked)
        signal.emit(self.export.kind)

    def _put(self, state: str, words: str, t: str, text: str, icon: str) -> None:
        self.state = state
        running = state == "running"
        self._spinner.setVisible(running)
        self._icon.setVisible(not running)
        if not running:
            name, role = _LOOKS[state]
            theme.set_icon(self._icon, name, role, 14)
        self.words.setText(words)
        theme.set_property(self.words, t=t)
        self.button.setText(f" {text}")
        self.button.setAccessibleName(f"{text.rstrip('…')} {self.export.title}")
        theme.set_icon(self.button, icon, "text2")
        self.button.setToolTip("")

    def show_none(self) -> None:
        """Nothing was exported of this model."""
        self.result = None
        self._put("none", "Not exported yet", "ter", "Export…", "upload")

    def show_running(self, words: str) -> None:
        """Written or checked now."""
        self._put("running", words, "info", "Cancel", "x")

    def show_done(self, result: Exported) -> None:
        """Written, loaded again and compared."""
        self.result = result
        self._put("ok", result.words(), "ok", "Show file", "folder-open")
        self.words.setToolTip(f"{result.path}\nchecked {result.checked}")

    def show_failed(self, reason: str) -> None:
        """Why nothing was written."""
        self.result = None
        self._put("err", reason, "err", "Export…", "upload")
        self.words.setToolTip(reason)
