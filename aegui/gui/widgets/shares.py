"""How the weights of several terms compare: a coloured dot for each, and a bar of their shares."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QLabel, QWidget

from aegui.gui import theme

SERIES = ("c_den", "c_pre", "c_ref", "c_cls", "c_verm", "c_alt")


class Dot(QLabel):
    """A round mark in a series colour."""

    def __init__(self, role: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.role = role
        self.setFixedSize(10, 10)
        theme.changed().connect(self.update)

    def set_role(self, role: str) -> None:
        self.role = role
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour(self.role))
        painter.drawEllipse(self.rect())


class ShareBar(QWidget):
    """One bar, divided as the weights are."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shares: list[tuple[float, str]] = []
        self.setFixedHeight(8)
        self.setAccessibleName("Share of each term")
        theme.changed().connect(self.update)

    def show_shares(self, shares: list[tuple[float, str]], words: str) -> None:
        self.shares = shares
        self.setToolTip(words)
        self.setAccessibleDescription(words)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        total = sum(share for share, _ in self.shares)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        path = QPainterPath()
        path.addRoundedRect(QRectF(self.rect()), 4, 4)
        painter.setClipPath(path)
        painter.fillRect(self.rect(), theme.colour("track"))
        left = 0.0
        for share, role in self.shares:
            width = self.width() * share / total if total else 0
            painter.fillRect(
                QRectF(left, 0, max(0.0, width - (2 if left + width < self.width() - 1 else 0)), 8), theme.colour(role)
            )
            left += width
