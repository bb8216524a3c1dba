"""A dialog as large as its work needs: the user drags it to a size, and it comes back at that size."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizeGrip, QWidget

from aegui.gui import theme
from aegui.gui.dialogs import Dialog
from aegui.gui.session import Session

EDGE = 48  # px of the window that stay to be seen around it
LEAST = (760, 480)


class Sheet(Dialog):
    """key: by which its size is remembered. usual: its size at first, as far as the window has room."""

    def __init__(
        self, window: QWidget, session: Session, key: str, title: str, icon: str, usual: tuple[int, int]
    ) -> None:
        super().__init__(window, title, icon)
        self.session = session
        self._key = key
        self._usual = usual
        self._fitted = QSize()
        self.setMinimumSize(*LEAST)
        self.setMaximumSize(QSize(16_777_215, 16_777_215))
        self._grip = QSizeGrip(self)
        self._grip.setFixedSize(16, 16)
        self._grip.setToolTip("Drag to resize")
        self.finished.connect(self._remember)

    def fit(self) -> None:
        """The size it was left at, within the window."""
        parent = self.parentWidget()
        assert parent is not None
        wide, high = self.session.settings.sizes.get(
            self._key, (theme.scaled(self._usual[0]), theme.scaled(self._usual[1]))
        )
        room = (parent.width() - EDGE, parent.height() - EDGE)
        self.resize(max(LEAST[0], min(wide, room[0])), max(LEAST[1], min(high, room[1])))
        self._fitted = self.size()

    def _remember(self) -> None:
        if self.size() == self._fitted:
            return  # as large as the window allowed, not as the user wanted it
        sizes = {**self.session.settings.sizes, self._key: (self.width(), self.height())}
        self.session.change_settings(sizes=sizes)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        corner = self.rect().bottomRight()
        self._grip.move(corner.x() - 17, corner.y() - 17)
        self._grip.raise_()

    def show_over(self, first: QWidget) -> None:
        """Open it, with the keyboard on what comes first."""
        self.open()
        self.activateWindow()
        first.setFocus(Qt.FocusReason.OtherFocusReason)
