"""Reading a user's model file, and the report of how its layers fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QWidget

from aegui.events import Done, Events, Progress
from aegui.gui.widgets.basic import STRETCH, Note, button, column, icon_label, label, row
from aegui.models import Card
from aegui.models.told import count_words


@dataclass(frozen=True)
class ModelRead:
    """What a file holds. Layers by name; problems, if any, keep it from being used."""

    path: Path
    card: Card
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.misshaped)


def read_model(path: Path) -> Events:
    """Read a bundle or a checkpoint without running code from it. Done(ModelRead)."""
    yield Progress(0, None, f"Reading {path.name}")
    from aegui.models.zoo import import_checkpoint, load_model

    if path.suffix == ".aegui":
        yield Done(ModelRead(path, load_model(path).card))
        return
    card, _, fit = import_checkpoint(path)
    yield Done(ModelRead(path, card, fit.loaded, fit.missing, fit.unexpected, fit.misshaped))


class ImportDialog(QDialog):
    """Says whether the file fits; only a complete one can be used. accepted_model: the ModelRead."""

    accepted_model = Signal(object)

    def __init__(self, read: ModelRead, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.read = read
        self.setWindowTitle("Load a model file")
        self.setFixedWidth(608)
        card = read.card
        size = f"{count_words(card.parameters)} parameters"
        facts = ", ".join(part for part in (card.architecture.replace("_", " "), size, card.sees) if part)
        self.note = Note()
        if read.complete:
            words = f"All {len(read.loaded)} layers fit." if read.loaded else "The bundle was checked and is complete."
            self.note.show_text("ok", words)
        else:
            self.note.show_text("err", "It cannot be used: layers do not fit. Nothing was changed.")
        self.report = QPlainTextEdit(self.text())
        self.report.setReadOnly(True)
        self.report.setProperty("t", "mono")
        self.report.setFixedHeight(220)
        self.report.setAccessibleName("Layers of the file")
        self.report.setVisible(bool(self.text()))
        self.cancel = button("Close" if not read.complete else "Cancel", clicked=self.reject)
        self.use = button("Use this model", "primary", "check", clicked=self._on_use)
        self.use.setVisible(read.complete)
        self.setLayout(
            column(
                row(icon_label("file-up", 24), (label(read.path.name, "h1", wrap=True), 1), gap=12),
                label(facts, "sec"),
                self.note,
                self.report,
                row(STRETCH, self.cancel, self.use),
                margins=(24, 20, 24, 20),
                gap=16,
            )
        )
        (self.use if read.complete else self.cancel).setFocus()

    def text(self) -> str:
        """The layers that do not fit, by name."""
        parts = []
        for title, names in (
            ("Missing in the file", self.read.missing),
            ("Not known to the model", self.read.unexpected),
            ("Other shape", self.read.misshaped),
        ):
            if names:
                parts.append(f"{title} ({len(names)})\n" + "\n".join(f"  {name}" for name in names))
        return "\n\n".join(parts)

    def _on_use(self) -> None:
        self.accepted_model.emit(self.read)
        self.accept()
