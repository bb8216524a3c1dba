"""The bar of presets above the recipe's form."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QMenu, QPushButton

from aegui.gui import theme
from aegui.gui.widgets.basic import ElidedLabel, button, chip, label, row
from aegui.recipes import Recipe


class Presets(QFrame):
    """Chips, the rest under “More”. A preset that lacks something is disabled, and says why."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "bar")
        self.setFixedHeight(theme.scaled(56))
        self.extra: list[Recipe] = []
        self.chips: dict[str, QPushButton] = {}
        self._presets: list[Recipe] = []
        self._shown: tuple[object, ...] = ()
        self._group = QButtonGroup(self)
        self._chips = row(gap=8)
        self.reason = ElidedLabel("", "ter")
        self.more = button("More", "ghost", "chevron-down")
        self.menu = QMenu(self.more)
        self.more.setMenu(self.menu)
        self.setLayout(
            row(label("Start from", "sec"), self._chips, (self.reason, 1), self.more, margins=(24, 0, 16, 0), gap=12)
        )

    def add(self, recipe: Recipe) -> None:
        """A recipe from the user's file."""
        self.extra = [kept for kept in self.extra if kept.id != recipe.id] + [recipe]

    def show_presets(self, shipped: Sequence[Recipe], current: Recipe, no_labels: str) -> None:
        """no_labels: why presets that need class labels are off, or nothing."""
        presets = [*shipped, *(r for r in self.extra if r not in shipped)]
        state = (tuple(r.id + r.summary for r in presets), current.id, no_labels, self.width() // 8)
        if state == self._shown:
            return
        self._shown = state
        self._presets = presets
        self._current, self._no_labels = current, no_labels
        for old in self.chips.values():
            self._group.removeButton(old)
            self._chips.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.chips.clear()
        self.menu.clear()
        room = self.width() - theme.scaled(90) - 80 if self.width() > 300 else 10_000
        off = []
        for preset in presets:
            lacking = no_labels if preset.needs_labels else ""
            made = chip(preset.title, preset.id == current.id, tip=preset.summary)
            made.setAccessibleDescription(preset.summary)
            room -= made.sizeHint().width() + 8
            if room < 0 and preset.id != current.id:
                action = self.menu.addAction(preset.title)
                action.setEnabled(not lacking)
                action.setToolTip(lacking or preset.summary)
                action.triggered.connect(lambda _=False, preset=preset: self.chosen.emit(preset))
                made.deleteLater()
                continue
            if lacking:
                made.setEnabled(False)
                made.setToolTip(f"{preset.title} {lacking}")
                off.append(preset.title)
            if preset.id == current.id:
                theme.set_icon(made, "check", "text")
            made.clicked.connect(lambda _=False, preset=preset: self.chosen.emit(preset))
            self._group.addButton(made)
            self._chips.addWidget(made)
            self.chips[preset.id] = made
        self.more.setVisible(not self.menu.isEmpty())
        self.reason.setText(f"{', '.join(off)} {no_labels}" if off else "")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._presets:
            self.show_presets([p for p in self._presets if p not in self.extra], self._current, self._no_labels)
