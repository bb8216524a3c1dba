"""The foot of the recipe: how long it takes, what is left to fix, start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QPushButton, QSizePolicy, QStyleOptionButton

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, holder, icon_label, label, row, rule

if TYPE_CHECKING:
    from aegui.training.forecast import Forecast


@dataclass(frozen=True)
class Plan:
    """What is known without measuring. steps: per epoch, 0 without scans. batch: None if it is to be found."""

    epochs: int
    steps: int
    batch: int | None


def size_words(size: float) -> str:
    """1.9 GB, 480 MB."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


def duration_words(seconds: float) -> str:
    """3 min 40 s, 2 h 5 min, 12 s."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total < 600 and total % 60 else f"{round(total / 60)} min"
    return f"{total // 3600} h {total % 3600 // 60} min"


class _Link(QPushButton):
    """A problem in words that end in dots where they have no room; the tooltip has them all."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("kind", "link")
        self.setAutoDefault(False)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(80)

    def say(self, words: str) -> None:
        self.setText(words)
        self.setToolTip(words)
        self.setAccessibleName(words)

    def initStyleOption(self, option: QStyleOptionButton) -> None:
        super().initStyleOption(option)
        option.text = self.fontMetrics().elidedText(option.text, Qt.TextElideMode.ElideRight, self.width())


class Foot(QFrame):
    """problem_opened: the address of a problem's field. batch_wanted: the one that fits."""

    problem_opened = Signal(object)
    batch_wanted = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "foot")
        self.setFixedHeight(theme.scaled(72))
        self.setMinimumWidth(100)
        self.time = label("", "h3")
        self.where = ElidedLabel("", "cap", Qt.TextElideMode.ElideRight)
        self.steps = ElidedLabel("", "ter", Qt.TextElideMode.ElideRight)
        self.memory = label("", "h3")
        self.memory_of = label("", "ter")
        self.use_batch = button("", "link", clicked=lambda: self.batch_wanted.emit(self._batch))
        self.use_batch.hide()
        self._batch = 0
        self.ok_icon = icon_label("circle-check", 16, "ok")
        self.ok = ElidedLabel("Nothing to fix", "cap", Qt.TextElideMode.ElideRight)
        self.memory_part = holder(
            row(
                rule(vertical=True, length=32),
                column(STRETCH, self.memory, self.memory_of, STRETCH, gap=2),
                self.use_batch,
                rule(vertical=True, length=32),
                gap=12,
            )
        )
        forecast = column(STRETCH, row(self.time, (self.where, 1), gap=6), self.steps, STRETCH, gap=2)
        self.calm = holder(
            row(icon_label("timer", 18), (forecast, 3), self.memory_part, self.ok_icon, (self.ok, 2), gap=12)
        )
        self.count = label("", "h3")
        self._where: tuple[str | int, ...] = ()
        self.link = _Link()
        self.link.clicked.connect(lambda: self.problem_opened.emit(self._where))
        self.others = label("", "ter")
        self.trouble = holder(
            row(
                icon_label("circle-alert", 18, "err"),
                (column(STRETCH, self.count, row(self.link, self.others, STRETCH, gap=12), STRETCH, gap=0), 1),
                gap=12,
            )
        )
        self.trouble.hide()
        self.save = button("Save recipe…", "ghost", "save")
        self.first: QPushButton = self.save  # that Tab comes to
        self.start = button("Start training", "primary", "play", "l")
        self.setLayout(row((self.calm, 1), (self.trouble, 1), self.save, self.start, margins=(24, 0, 24, 0), gap=12))

    def show_forecast(self, plan: Plan, found: Forecast | None) -> None:
        """Time and memory as far as they were measured."""
        self._show_time(plan, found)
        self.use_batch.hide()
        if found is None:
            state = psutil.virtual_memory()
            self.memory.setText(f"{size_words(state.available)} free")
            self.memory_of.setText(f"of {size_words(state.total)} memory")
            return
        self.memory.setText(size_words(found.memory_bytes))
        self.memory_of.setText(f"of {size_words(found.free_bytes)} free")
        self.memory_of.setToolTip(
            f"Needed by a step with {found.batch} patches. Batch that fits: {found.largest_batch}"
        )
        if not found.fits or plan.batch is None:
            self._batch = found.largest_batch if not found.fits else found.batch
            self.use_batch.setText(f"Batch that fits: {self._batch} \u2013 use")
            self.use_batch.setVisible(bool(self._batch))

    def _show_time(self, plan: Plan, found: Forecast | None) -> None:
        if not plan.steps:
            self.time.setText("No scans yet")
            self.where.setText("")
            self.steps.setText("The time depends on their number")
            return
        words = f"{plan.epochs} epochs × {plan.steps} step{'s' if plan.steps > 1 else ''}"
        if found is None or found.seconds is None or found.steps is None or found.epochs is None:
            self.time.setText("Time not known yet")
            self.where.setText("")
            self.steps.setText(words)
            return
        steps = max(1, found.steps // max(1, found.epochs))
        words = f"{found.epochs} epochs × {steps} step{'s' if steps > 1 else ''}"
        self.time.setText(f"≈ {duration_words(found.seconds)}")
        self.where.setText("with validation" if found.validation_seconds else "of steps, plus validation")
        self.steps.setText(f"{words}, measured just now")
        tip = f"One step took {found.step_seconds * 1000:.0f} ms"
        if found.validation_seconds:
            tip += f", a validation {found.validation_seconds:.1f} s"
        self.time.setToolTip(tip)

    def show_problems(self, found: Sequence[tuple[str, tuple[str | int, ...]]], notes: Sequence[str]) -> None:
        """found: words and address of everything that blocks. notes: what only warns."""
        count = len(found)
        self.calm.setVisible(not count)
        self.trouble.setVisible(bool(count))
        self.start.setEnabled(not count)
        self.start.setToolTip("" if not count else "; ".join(words for words, _ in found))
        things = "1 thing" if count == 1 else f"{count} things"
        self.count.setText(f"{things} to fix before you can start")
        if found:
            words, self._where = found[0]
            self.link.say(words)
        self.first = self.link if found else self.save
        self.others.setText(f"and {count - 1} more" if count > 1 else "")
        theme.set_icon(self.ok_icon, "triangle-alert" if notes else "circle-check", "warn" if notes else "ok")
        self.ok.setText(notes[0] + (f" (+{len(notes) - 1})" if len(notes) > 1 else "") if notes else "Nothing to fix")
        self.ok_icon.setToolTip("\n".join(notes))
        self.ok.setToolTip("\n".join(notes))

    def resizeEvent(self, event: QResizeEvent) -> None:
        # Where room is short, memory goes first: a problem with it would be named anyway.
        self.memory_part.setVisible(event.size().width() > theme.scaled(860))
        self.ok.setVisible(event.size().width() > theme.scaled(700))
        super().resizeEvent(event)
