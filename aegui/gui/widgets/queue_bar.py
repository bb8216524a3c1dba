"""Above the queue: how many series, what can be done with them, and how far the batch is."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from aegui.gui import theme
from aegui.gui.batch import Batch
from aegui.gui.widgets.basic import ElidedLabel, button, label, row
from aegui.gui.widgets.queue import clock
from aegui.gui.widgets.states import bar


class QueueBar(QWidget):
    """Title, counts and buttons. The page connects the buttons that need more than the batch."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch
        self.counts = ElidedLabel("", "ter", Qt.TextElideMode.ElideRight)
        self.add = button("Add folder…", "ghost", "folder-plus")
        self.pause = button("Pause queue", icon="pause", clicked=batch.toggle_pause)
        self.stop = button("Stop", icon="square", clicked=batch.stop)
        self.run = button("Denoise all", "primary", "play")
        words = label("Denoise scan folders", "h2")
        self.setLayout(row(words, (self.counts, 1), self.add, self.stop, self.pause, self.run))

    def refresh(self) -> None:
        """Show how the batch stands."""
        batch, model = self._batch, self._batch.model
        running, waiting, done = batch.running, model.count("waiting"), model.count("done", "flagged")
        parts = [f"{len(model.entries):,} series"] if model.entries else []
        for number, words in (
            (done, "done"),
            (model.count("flagged"), "to look at"),
            (model.count("failed"), "failed"),
            (model.count("skipped"), "left out"),
        ):
            parts += [f"{number:,} {words}"] if number else []
        self.counts.setText(", ".join(parts))
        self.run.setVisible(not running)
        self.pause.setVisible(running)
        self.stop.setVisible(running)
        self.pause.setText(" Resume queue" if batch.paused else " Pause queue")
        theme.set_icon(self.pause, "play" if batch.paused else "pause")
        again = not waiting and done > 0
        self.run.setText(" Denoise again" if again else f" Denoise {'all' if waiting != 1 else '1 series'}")
        self.run.setEnabled(bool(waiting or again))
        self.run.setToolTip("" if waiting or again else "Nothing waits: add a folder, or denoise a left-out series.")


class QueueProgress(QWidget):
    """Slices denoised, and the time left once it can be told."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch
        self.bar = bar(name="Slices denoised")
        self.done_words = label("", "cap")
        self.left_words = label("", "h3")
        self.setLayout(row((self.bar, 1), self.done_words, self.left_words, gap=12))

    def refresh(self) -> None:
        """Show how far the batch is."""
        batch, model = self._batch, self._batch.model
        running, done = batch.running, model.count("done", "flagged")
        slices_done, slices = batch.progress()
        self.setVisible(running or done > 0)
        self.bar.setValue(round(1000 * slices_done / slices) if slices else 0)
        theme.set_property(self.bar, tone="warn" if batch.paused else "" if running else "ok")
        self.done_words.setText(f"{done:,} of {done + model.count('waiting', 'running'):,} denoised")
        left = batch.seconds_left()
        known = f"≈ {clock(left)} left" if running and left is not None else ""
        self.left_words.setText("Paused" if batch.paused else known)
