"""Short messages at the bottom right: two at most, six seconds, one action. Errors are never only here."""

from __future__ import annotations

from collections.abc import Callable

import shiboken6
from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QFrame, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import ElidedLabel, button, column, icon_label, label, row

SECONDS, MOST, WIDTH = 6, 2, 372
_ICONS = {"ok": "circle-check", "info": "info", "warn": "triangle-alert"}


def announce(widget: QWidget, text: str) -> None:
    """Let screen readers say something once."""
    QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(widget, text))


class Toast(QFrame):
    """One message."""

    def __init__(self, tone: str, text: str, detail: str, action: str, do: Callable[[], object] | None) -> None:
        super().__init__()
        self.setProperty("card", "raised")
        self.setFixedWidth(WIDTH)
        self.setAccessibleName(f"{text} {detail}".strip())
        words = column(ElidedLabel(text, "h3"), label(detail, "ter", wrap=True) if detail else None, gap=0)
        act = button(action, "link", clicked=do) if action and do else None
        close = button(icon="x", kind="icon", size="s", tip="Dismiss", clicked=self.close)
        self.setLayout(row(icon_label(_ICONS[tone], 18, tone), (words, 1), act, close, margins=(12, 8, 8, 8), gap=12))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)


class Toasts(QObject):
    """Stacks toasts over the bottom right corner of a window."""

    def __init__(self, window: QWidget, bottom: int) -> None:
        super().__init__(window)
        self._window, self._bottom = window, bottom
        self.shown: list[Toast] = []
        window.installEventFilter(self)
        theme.changed().connect(self._place)

    def show(
        self, tone: str, text: str, detail: str = "", action: str = "", do: Callable[[], object] | None = None
    ) -> Toast:
        """Say something that needs no answer."""
        toast = Toast(tone, text, detail, action, do)
        toast.setParent(self._window)
        self.shown.append(toast)
        toast.destroyed.connect(self._prune)
        while len(self.shown) > MOST:
            self.shown.pop(0).close()
        timer = QTimer(toast)
        timer.setSingleShot(True)
        timer.timeout.connect(toast.close)
        timer.start(SECONDS * 1000)
        toast.show()
        self._place()
        announce(toast, toast.accessibleName())
        return toast

    @Slot()
    def _prune(self) -> None:
        self.shown = [toast for toast in self.shown if shiboken6.isValid(toast)]
        self._place()

    def _place(self) -> None:
        y = self._window.height() - self._bottom - 16
        for toast in reversed(self.shown):
            toast.setFixedHeight(max(52, toast.heightForWidth(WIDTH) if toast.hasHeightForWidth() else 0))
            y -= toast.height()
            toast.move(self._window.width() - WIDTH - 16, y)
            toast.raise_()
            y -= 8

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False
