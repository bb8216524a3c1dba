"""How the recipe's knobs are arranged in cards, in one column or two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QWidget

from aegui.gui import theme
from aegui.gui.parameters import Parameters
from aegui.gui.reading_order import stops
from aegui.gui.widgets.basic import STRETCH, Note, button, card, column, holder, label, row, scroll
from aegui.gui.widgets.forms import Form
from aegui.gui.widgets.knobs import choice_title, format_number
from aegui.gui.widgets.painted import Badge
from aegui.gui.widgets.rates_plot import LearningRates, note
from aegui.gui.widgets.rows import Fold
from aegui.gui.widgets.table import TableEditor
from aegui.models.told import count_words
from aegui.recipes import Recipe
from aegui.recipes.optimisers import LoRA
from aegui.recipes.targets import SyntheticTargets

NARROW = 800  # below this width of the form there is one column


def balance(recipe: Recipe, counts: Mapping[str, int]) -> str:
    """What the rates of the groups mean for each other. counts: parameters by group, as far as they are known."""
    if isinstance(recipe.adaptation, LoRA):
        return "The weights of the groups stay as they are: only adapters are trained, and a classification head."
    training = sorted((g for g in recipe.groups if g.train and counts.get(g.match, 1)), key=lambda group: group.rate)
    if len(training) < 2 or training[-1].rate < 2 * training[0].rate:
        return ""
    slow, fast, times = training[0], training[-1], training[-1].rate / training[0].rate
    often = f"{times:.3g}" if times < 1000 else format_number(float(f"{times:.0e}"))
    words = f"{choice_title(slow.match)} learns {often} × slower than {choice_title(fast.match).lower()}."
    return f"{words} That keeps what it already knows." if slow.match == "encoder" else words


class RecipeForm(QWidget):
    """All knobs of a recipe. Whatever no card names stands under “More settings”. edited: checked again."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.form = Form(Recipe, self)
        self._placed: set[tuple[str, ...]] = set()
        self._parameters = Parameters()
        self.neighbours: tuple[QWidget | None, QWidget | None] = (None, None)
        self.rates = LearningRates()
        self.rates_note = label("", "ter", wrap=True)
        self.find_rate = button("Find learning rate…", "link", "trending-up")
        self.match_scanner = button("Match my scanner…", "link", "wand-sparkles")
        self.match_scanner.setToolTip("Measure the noise of your own scans, to put the same on clean ones")
        self.balance = Note("info")
        self.trainable = Badge("")
        first = column(
            self._card(
                "Goal",
                "targets",
                ("run", "patch_size"),
                ("run", "batch_size"),
                ("run", "validation_fraction"),
                ("run", "holdout_fraction"),
                beside=self.match_scanner,
            ),
            self._card("", "losses"),
            self._card("Regularisation", "regularisation", "averaging", "augmentation"),
            gap=16,
        )
        second = column(
            self._card("", "groups", self.balance),
            self._card("", "adaptation"),
            self._card(
                "Optimiser and schedule",
                "optimiser",
                "schedule",
                self.rates,
                self.rates_note,
                beside=self.find_rate,
            ),
            self._card("Stopping", ("run", "epochs"), ("run", "steps"), ("run", "minutes"), "stopping"),
            self._more(),
            gap=16,
        )
        self.form.row("groups").head.insertWidget(2, self.trainable)
        first.addStretch(1)
        second.addStretch(1)
        self._columns = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._columns.setContentsMargins(24, 16, 24, 24)
        self._columns.setSpacing(16)
        self._columns.addLayout(first, 1)
        self._columns.addLayout(second, 1)
        self._inside = holder(self._columns)
        self.area = scroll(self._inside)
        layout = column((self.area, 1))
        self.setLayout(layout)
        self.form.checked.connect(self._on_checked)

    def show_model(self, ref: str | Path) -> None:
        """The model whose parameters the groups divide."""
        self._parameters = Parameters.of(ref)
        self._count()

    def _count(self) -> None:
        """Number of parameters beside the groups, and of those that are trained."""
        recipe = self.form.value()
        if recipe is None:
            return
        table = self.form.editors[("groups",)]
        assert isinstance(table, TableEditor)
        counts: Mapping[str, int] = self._parameters.by_group(recipe.groups)
        table.set_facts("Params", {match: count_words(count) for match, count in counts.items()})
        words = balance(recipe, counts)
        self.balance.setVisible(bool(words))
        self.balance.show_text("info", words)
        trained = sum(counts.get(group.match, 0) for group in recipe.groups if group.train)
        adapted = isinstance(recipe.adaptation, LoRA)
        self.trainable.setVisible(bool(counts))
        self.trainable.show_text("Adapters only" if adapted else f"{count_words(trained)} trainable")

    def _rows(self, title: str, *wanted: Any) -> list[QWidget]:
        """Widgets as they are; for a field its row; for a nested Spec the rows of all its fields."""
        made: list[QWidget] = []
        seldom: list[QWidget] = []
        for item in wanted:
            if isinstance(item, QWidget):
                made.append(item)
                continue
            prefix = (item,) if isinstance(item, str) else item
            inside = [a for a in self.form.rows if a[: len(prefix)] == prefix and a not in self._placed]
            self._placed.update(inside)
            switches = [a for a in inside if len(prefix) < len(a) and self.form.editors[a].knob.kind == "switch"]
            for address in inside:
                if address not in switches:
                    (seldom if self.form.editors[address].knob.advanced else made).append(self.form.row(*address))
            if switches:
                made.append(self.form.check_row(*prefix))
        return [*made, Fold(seldom, f"More on {title.lower()}")] if seldom else made

    def _card(self, title: str, *wanted: Any, beside: QWidget | None = None) -> QFrame:
        head = [row(label(title, "h2"), STRETCH, beside)] if title else []
        return card(*head, *self._rows(title, *wanted), gap=10)

    def _more(self) -> QFrame:
        rest = [address for address in self.form.rows if address not in self._placed]
        self.more = Fold([self.form.row(*address) for address in rest], "More settings", "Fewer settings")
        return card(self.more, gap=10)

    def _on_checked(self) -> None:
        recipe = self.form.value()
        if recipe is None:
            self.balance.hide()
        else:
            self.rates.show_recipe(recipe)
            self.rates_note.setText(note(recipe))
            self.match_scanner.setVisible(isinstance(recipe.targets, SyntheticTargets))
            self._count()
        self.edited.emit()

    def scale_rates(self, factor: float) -> Recipe | None:
        """The recipe with all learning rates times a factor, so that they keep their ratios."""
        recipe = self.form.value()
        if recipe is None:
            return None

        def times(value: float) -> float:
            return min(10.0, float(format_number(float(f"{value * factor:.3g}"))))

        groups = tuple(g.model_copy(update={"learning_rate": times(g.learning_rate)}) for g in recipe.groups)
        changed: Recipe = recipe.model_copy(update={"groups": groups})
        if isinstance(recipe.adaptation, LoRA):
            rate = times(recipe.adaptation.learning_rate)
            changed = changed.model_copy(
                update={"adaptation": recipe.adaptation.model_copy(update={"learning_rate": rate})}
            )
        return changed

    def stops(self) -> list[QWidget]:
        """What Tab goes through, in reading order."""
        two = self._columns.direction() == QBoxLayout.Direction.LeftToRight
        return stops(self._inside, 2 if two else 1)

    def focusNextPrevChild(self, forward: bool) -> bool:
        # Rows come and go with what is chosen, so that Qt's own order is the order in which they were made.
        focus, order = self.focusWidget(), self.stops()
        if focus not in order:
            return super().focusNextPrevChild(forward)
        place = order.index(focus) + (1 if forward else -1)
        if 0 <= place < len(order):
            after: QWidget | None = order[place]
        else:
            after = self.neighbours[1 if forward else 0]
        if after is None:
            return super().focusNextPrevChild(forward)
        self._focus(after, forward)
        return True

    def enter(self, focus: QWidget | None, forward: bool) -> bool:
        """Take the focus by Tab, if that is on what stands before the form, or on what stands behind it."""
        order = self.stops()
        if focus is None or focus is not self.neighbours[0 if forward else 1] or not order:
            return False
        self._focus(order[0 if forward else -1], forward)
        return True

    def _focus(self, widget: QWidget, forward: bool) -> None:
        widget.setFocus(Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason)
        if self._inside.isAncestorOf(widget):
            self.area.ensureWidgetVisible(widget, 0, 48)

    def resizeEvent(self, event: QResizeEvent) -> None:
        wide = event.size().width() >= theme.scaled(NARROW)
        way = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        if self._columns.direction() != way:
            self._columns.setDirection(way)
        super().resizeEvent(event)
