"""How the recipe's knobs are arranged in cards, in one column or two, with the learning-rate curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, card, column, holder, label, row, scroll
from aegui.gui.widgets.forms import Form
from aegui.gui.widgets.knobs import choice_title
from aegui.gui.widgets.lists import TableEditor
from aegui.gui.widgets.plots import GROUPS, Plot
from aegui.gui.widgets.rows import Fold
from aegui.recipes import Recipe
from aegui.recipes.schedules import factor

NARROW = 800  # below this width of the form there is one column
STEPS = 8  # points per epoch at least, so that a short warm-up shows


class LearningRates(Plot):
    """The rate of every parameter group over the run."""

    def __init__(self) -> None:
        super().__init__("Learning rate over the run", left=44)
        self.setFixedHeight(theme.scaled(120))

    def show_recipe(self, recipe: Recipe) -> None:
        self.clear_all()
        epochs = recipe.run.epochs
        every = max(STEPS, -(-400 // epochs))
        at = factor(recipe.schedule, epochs * every, every)
        steps = np.unique(np.linspace(0, epochs * every - 1, min(epochs * every, 800)).astype(int))
        shape = np.asarray([at(int(step)) for step in steps])
        self.set_x(0, epochs)
        rates = [group.rate for group in recipe.groups if group.train]
        # Rates a decade apart would lie on each other on a linear axis.
        self.set_log(max(rates) > 8 * min(rates))
        words = []
        for group in (group for group in recipe.groups if group.train):
            line = self.line(choice_title(group.match), GROUPS[group.match])
            line.set((steps + 1) / every, group.learning_rate * shape)
            if len(rates) > 1:
                high = int(np.argmax(shape))
                self.write(
                    choice_title(group.match).lower(), line.style.role, (steps[high] + 1) / every, group.learning_rate
                )
            words.append(f"{choice_title(group.match)} up to {group.learning_rate:g}")
        if self.log:
            low = min(rates) * max(float(shape.min()), 0.01)
            self.getPlotItem().setYRange(np.log10(low) - 0.2, np.log10(max(rates)) + 0.7, padding=0)
        else:
            self.getPlotItem().setYRange(0, 1.14 * max(rates), padding=0)
        self.setAccessibleDescription(f"Over {epochs} epochs: {', '.join(words)}")


class RecipeForm(QWidget):
    """All knobs of a recipe. Whatever no card names stands under “More settings”. edited: checked again."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = Form(Recipe, self)
        self._placed: set[tuple[str, ...]] = set()
        self.rates = LearningRates()
        first = column(
            self._card(
                "Goal",
                ("targets",),
                ("run", "patch_size"),
                ("run", "batch_size"),
                ("run", "validation_fraction"),
                ("run", "holdout_fraction"),
            ),
            self._card("", ("losses",)),
            self._card(
                "Regularisation",
                "augmentation",
                ("regularisation", "gradient_clip"),
                ("regularisation", "dropout"),
                ("averaging",),
            ),
            gap=16,
        )
        second = column(
            self._card("", ("groups",)),
            self._card("What changes", ("adaptation",)),
            self._card("Optimiser and schedule", ("optimiser",), ("schedule",), self.rates),
            self._card(
                "Stopping", ("run", "epochs"), ("stopping", "metric"), ("stopping", "patience"), ("run", "seed")
            ),
            self._more(),
            gap=16,
        )
        first.addStretch(1)
        second.addStretch(1)
        self._columns = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._columns.setContentsMargins(24, 16, 24, 24)
        self._columns.setSpacing(16)
        self._columns.addLayout(first, 1)
        self._columns.addLayout(second, 1)
        self.area = scroll(holder(self._columns))
        layout = column((self.area, 1))
        self.setLayout(layout)
        self.form.checked.connect(self._on_checked)

    def show_parameters(self, counts: Any) -> None:
        """Number of parameters by part, beside the groups."""
        from aegui.gui.widgets.gallery import count_words

        table = self.form.editors[("groups",)]
        assert isinstance(table, TableEditor)
        named = {choice.match for choice in self.form.value().groups} if self.form.value() else set()
        left = sum(count for part, count in counts.items() if part not in named)
        facts = {part: count_words(count) for part, count in {**counts, "rest": left}.items()}
        table.set_facts("Params", facts if counts else {})
        self.form.refresh()

    def _rows(self, *wanted: Any) -> list[QWidget]:
        made: list[QWidget] = []
        for item in wanted:
            if isinstance(item, QWidget):
                made.append(item)
            elif isinstance(item, str):
                made.append(self.form.check_row(item))
                self._placed |= {address for address in self.form.rows if address[0] == item}
            else:
                made.append(self.form.row(*item))
                self._placed.add(item)
        return made

    def _card(self, title: str, *wanted: Any) -> QFrame:
        head = [row(label(title, "h2"), STRETCH)] if title else []
        return card(*head, *self._rows(*wanted), gap=10)

    def _more(self) -> QFrame:
        rest = [address for address in self.form.rows if address not in self._placed]
        self.more = Fold(self._rows(*rest), "More settings", "Fewer settings")
        return card(self.more, gap=10)

    def _on_checked(self) -> None:
        recipe = self.form.value()
        if recipe is not None:
            self.rates.show_recipe(recipe)
        self.edited.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        wide = event.size().width() >= theme.scaled(NARROW)
        way = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._columns.direction() != way:
            self._columns.setDirection(way)
        super().resizeEvent(event)
