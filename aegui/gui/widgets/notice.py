"""The place under the page head where problems are told until they are dismissed or replaced."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from aegui.gui.widgets.basic import Note, button, row


class NoticeBar(QWidget):
    """One problem at a time, the latest."""

    def __init__(self) -> None:
        super().__init__()
        self.note = Note("err", "")
        close = button(icon="x", kind="icon", size="s", tip="Dismiss", clicked=self.hide)
        layout = self.note.layout()
        assert layout is not None
        layout.addWidget(close)
        self.setLayout(row((self.note, 1), margins=(24, 12, 24, 12)))
        self.setAccessibleName("Notice")
        self.hide()

    @property
    def text(self) -> str:
        """What it says, empty when hidden."""
        return self.note.accessibleName() if not self.isHidden() else ""

    def show_problem(self, message: str, hint: str = "", tone: str = "err") -> None:
        """Tell a problem and what to do about it."""
        self.note.show_text(tone, hint, message)
        self.show()
