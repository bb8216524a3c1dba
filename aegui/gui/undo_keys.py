"""Ctrl+Z belongs to the window, unless something was typed into the field that has the focus."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QLineEdit, QWidget


class UndoKeys(QObject):
    """Line edits take Ctrl+Z and Ctrl+Shift+Z for themselves, even when nothing was typed into them."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._entered = ""
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._on_focus)

    def _on_focus(self, old: QWidget | None, new: QWidget | None) -> None:
        if old is not None:
            old.removeEventFilter(self)
        line = _line(new)
        if new is not None and line is not None:
            self._entered = line.text()
            new.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        line = _line(watched)
        if line is None or event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        # What was typed before the field was left is the window's to take back.
        typed = line.isUndoAvailable() and line.text() != self._entered
        undo = event.matches(QKeySequence.StandardKey.Undo) and not typed
        redo = event.matches(QKeySequence.StandardKey.Redo) and not line.isRedoAvailable()
        if undo or redo:
            event.ignore()
        return undo or redo


def _line(widget: QObject | None) -> QLineEdit | None:
    if isinstance(widget, QComboBox | QAbstractSpinBox):
        return widget.lineEdit()
    return widget if isinstance(widget, QLineEdit) else None
