"""The learning rate of every parameter group over the run, as the schedule makes it."""

from __future__ import annotations

import numpy as np

from aegui.gui import theme
from aegui.gui.timers import once
from aegui.gui.widgets.knobs import choice_title, format_number
from aegui.gui.widgets.plots import GROUPS, SEVERAL, Plot, Style
from aegui.recipes import Recipe
from aegui.recipes.optimisers import LoRA
from aegui.recipes.schedules import Plateau, factor

STEPS = 8  # points per epoch at least, so that a short warm-up shows
POINTS = 800


class Curve:
    """One group: what it is called, its peak rate, the epoch from which it learns."""

    def __init__(self, name: str, rate: float, start: int, style: Style) -> None:
        self.name, self.rate, self.start, self.style = name, rate, start, style

    @property
    def words(self) -> str:
        name = self.name.lower() if len(self.name) < 12 else f"{self.name[:11].lower()}…"
        return f"{name}, from epoch {self.start}" if self.start > 1 else name


def curves(recipe: Recipe) -> list[Curve]:
    """What learns, and how fast at most."""
    if isinstance(recipe.adaptation, LoRA):
        return [Curve("Adapters", recipe.adaptation.learning_rate, 0, SEVERAL[0])]
    found = []
    for place, group in enumerate(recipe.groups):
        if group.train:
            style = GROUPS.get(group.match, SEVERAL[place % len(SEVERAL)])
            found.append(Curve(choice_title(group.match), group.rate, group.unfreeze_epoch, style))
    return found


class LearningRates(Plot):
    """Drawn a moment after the last edit, so that typing does not wait for it."""

    def __init__(self) -> None:
        super().__init__("Learning rate over the run", left=44)
        self.setFixedHeight(theme.scaled(132))
        self._recipe: Recipe | None = None
        self._timer = once(self, 40, self._draw)
        theme.changed().connect(self._redraw)

    def show_recipe(self, recipe: Recipe) -> None:
        parts = (recipe.schedule, recipe.groups, recipe.adaptation, recipe.run.epochs)
        old = self._recipe
        if old is None or parts != (old.schedule, old.groups, old.adaptation, old.run.epochs):
            self._recipe = recipe
            self._timer.start()

    def _redraw(self) -> None:
        if self._recipe is not None:
            self._timer.start()

    def _draw(self) -> None:
        assert self._recipe is not None
        recipe, epochs = self._recipe, self._recipe.run.epochs
        self.clear_all()
        every = max(STEPS, -(-400 // epochs))
        at = factor(recipe.schedule, epochs * every, every)
        count = min(epochs * every, POINTS)
        steps = np.linspace(0, epochs * every - 1, count).astype(int)
        shape = np.asarray([at(int(step)) for step in steps])
        x = (steps + 1) / every
        self.set_x(0, epochs)
        drawn = curves(recipe)
        rates = [curve.rate for curve in drawn]
        if not rates:
            self.setAccessibleDescription("Nothing is trained")
            return
        # Rates a decade apart would lie on each other on a linear axis.
        self.set_log(max(rates) > 8 * min(rates))
        words = []
        for place, curve in enumerate(drawn):
            # Epochs count from 1: a group that is let go at epoch 5 learns when four have passed.
            begins = max(0, curve.start - 1)
            line = self.line(f"{place} {curve.name}", curve.style)
            line.set(x, np.where(x > begins, curve.rate * shape, np.nan))
            if len(drawn) > 1 and begins < epochs:
                self._name(curve, place / len(drawn), begins, x, shape)
            words.append(f"{curve.words} up to {format_number(curve.rate)}")
        if self.log:
            low = min(rates) * max(float(shape.min()), 0.01)
            self.getPlotItem().setYRange(np.log10(low) - 0.2, np.log10(max(rates)) + 0.7, padding=0)
        else:
            self.getPlotItem().setYRange(0, 1.2 * max(rates), padding=0)
        self.setAccessibleDescription(f"Over {epochs} epochs: {', '.join(words)}")

    def _name(self, curve: Curve, share: float, begins: int, x: np.ndarray, shape: np.ndarray) -> None:
        """Write its name above the line, each further right, so that equal rates do not hide each other."""
        place = int(np.searchsorted(x, begins + (x[-1] - begins) * (0.04 + 0.8 * share)))
        place = min(place, len(x) - 1)
        high = curve.rate * float(shape[place])
        self.write(curve.words, curve.style.role, float(x[place]), high, ground=True)


def note(recipe: Recipe) -> str:
    """What the curve cannot show."""
    words = "Learning rate by epoch."
    if isinstance(recipe.schedule, Plateau):
        plan = recipe.schedule
        words = (
            f"It falls × {format_number(plan.drop)} whenever {plan.patience} epochs bring no gain, down to "
            f"{format_number(plan.final)} of the peak; when that will be, only the run shows."
        )
    if isinstance(recipe.adaptation, LoRA):
        words += " Only the adapters learn."
    if recipe.run.steps or recipe.run.minutes:
        words += " A limit in steps or minutes may end the run at another point."
    return words
