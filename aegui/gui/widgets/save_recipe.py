"""Saving a recipe as a file of the user's own, under a title of the user's choice."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QLineEdit, QWidget

from aegui.gui.dialogs import Dialog
from aegui.gui.widgets.basic import button, column, holder, label
from aegui.recipes import Recipe, shipped

RECIPES = "Recipes (*.yaml *.yml)"


def slug(title: str) -> str:
    """A title as an id: “My CT, 2nd” → “my-ct-2nd”."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "recipe"


def named(recipe: Recipe, title: str) -> Recipe:
    """The recipe under another title, and an id that goes with it."""
    title = title.strip()
    if not title or title == recipe.title:
        return recipe
    return own(recipe.model_copy(update={"title": title, "id": slug(title)}))


def own(recipe: Recipe) -> Recipe:
    """The recipe, under another id if a shipped one has its own."""
    taken = {one.id for one in shipped() if one != recipe}
    return recipe.model_copy(update={"id": f"{recipe.id}-own"}) if recipe.id in taken else recipe


class SaveRecipe(Dialog):
    """chosen: file and title."""

    chosen = Signal(object, str)

    def __init__(self, window: QWidget, recipe: Recipe, folder: str) -> None:
        super().__init__(window, "Save recipe", "save")
        self._folder = folder
        self.title_line = QLineEdit(recipe.title)
        self.title_line.setAccessibleName("Title")
        self.title_line.setMaxLength(60)
        self.title_line.selectAll()
        self.hint = label("", "ter")
        self.body.addWidget(
            label("A file with every value, for this window, the command line, or a colleague.", "cap1", wrap=True)
        )
        self.body.addWidget(holder(column(label("Title", "sec", buddy=self.title_line), self.title_line, self.hint)))
        self.save = button("Choose where to save…", "primary", clicked=self._ask)
        self.foot.addStretch(1)
        self.foot.addWidget(button("Cancel", clicked=self.reject))
        self.foot.addWidget(self.save)
        self.title_line.textChanged.connect(self._on_title)
        self.title_line.returnPressed.connect(self._ask)
        self._on_title(recipe.title)
        self.title_line.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot(str)
    def _on_title(self, title: str) -> None:
        self.save.setEnabled(bool(title.strip()))
        self.hint.setText(f"{slug(title)}.yaml" if title.strip() else "A recipe needs a title.")

    @Slot()
    def _ask(self) -> None:
        title = self.title_line.text().strip()
        if not title:
            return
        start = str(Path(self._folder) / f"{slug(title)}.yaml")
        name, _ = QFileDialog.getSaveFileName(self, "Save recipe", start, RECIPES)
        if name:
            self.accept()
            self.chosen.emit(Path(name), title)
