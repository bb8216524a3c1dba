"""The bar of presets above the recipe's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QMenu, QPushButton

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, chip, label, row
from aegui.recipes import Recipe

CHIPS = 6  # the rest is in the menu
LONGEST = 24  # letters of a title on a chip


def use(recipe: Recipe) -> str:
    """When to use it, or at least what it is."""
    return recipe.use or recipe.summary


class Presets(QFrame):
    """Chips, the rest under “More” with a line about their use; there, what lacks something says what."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "bar")
        self.setFixedHeight(theme.scaled(56))
        self.setMinimumWidth(300)  # chips that find no room go into the menu; they never hold the window open
        self.extra: list[Recipe] = []
        self.chips: dict[str, QPushButton] = {}
        self._presets: list[Recipe] = []
        self._lacking: Mapping[str, str] = {}
        self._shown: tuple[object, ...] = ()
        self._group = QButtonGroup(self)
        self._chips = row(gap=8)
        self.more = button("More", "ghost", "chevron-down")
        self.menu = QMenu(self)  # not the button's, which runs from right to left for its icon
        self.more.setMenu(self.menu)
        self._words = label("Start from", "sec")
        self.setLayout(row(self._words, self._chips, STRETCH, self.more, margins=(24, 0, 16, 0), gap=12))

    def add(self, recipe: Recipe) -> None:
        """A recipe from the user's file."""
        self.extra = [kept for kept in self.extra if kept.id != recipe.id] + [recipe]

    def show_presets(self, presets: Sequence[Recipe], current: Recipe, lacking: Mapping[str, str]) -> None:
        """lacking: why presets cannot be used, by id."""
        place = self.width() // 8, theme.text_size()
        state = (tuple((r.id, r.title, use(r)) for r in presets), current.id, dict(lacking), place)
        if state == self._shown:
            return
        self._shown = state
        self._presets, self._current, self._lacking = list(presets), current, lacking
        for old in self.chips.values():
            self._group.removeButton(old)
            self._chips.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.chips.clear()
        self.menu.clear()
        beside = self._words.sizeHint().width() + self.more.sizeHint().width() + 24 + 16 + 3 * 12
        room = self.width() - beside if self.width() > 300 else 10_000
        chips = {preset.id: self._chip(preset, preset.id == current.id) for preset in presets}
        if current.id in chips:  # it is always shown
            room -= chips[current.id].sizeHint().width() + 8
        for preset in presets:
            why, made = lacking.get(preset.id, ""), chips[preset.id]
            if preset.id != current.id and not why:
                room -= made.sizeHint().width() + 8
            if preset.id != current.id and (why or room < 0 or len(self.chips) >= CHIPS):
                action = self.menu.addAction(f"{preset.title}\t{why or use(preset)}")
                action.setEnabled(not why)
                action.triggered.connect(lambda _=False, preset=preset: self.chosen.emit(preset))
                made.deleteLater()
                continue
            made.clicked.connect(lambda _=False, preset=preset: self.chosen.emit(preset))
            self._group.addButton(made)
            self._chips.addWidget(made)
            self.chips[preset.id] = made
        self.more.setVisible(not self.menu.isEmpty())

    def _chip(self, preset: Recipe, current: bool) -> QPushButton:
        title = preset.title if len(preset.title) <= LONGEST else f"{preset.title[: LONGEST - 1].rstrip()}…"
        made = chip(title, current, tip=f"{preset.title}: {use(preset)}" if title != preset.title else use(preset))
        made.ensurePolished()  # its width counts before it is shown
        made.setAccessibleName(preset.title)
        made.setAccessibleDescription(use(preset))
        if current:
            theme.set_icon(made, "check", "text")
        return made

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() != QEvent.Type.StyleChange:
            return
        self.setFixedHeight(theme.scaled(56))
        if self._presets:
            self.show_presets(self._presets, self._current, self._lacking)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._presets:
            self.show_presets(self._presets, self._current, self._lacking)
