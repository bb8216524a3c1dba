"""Choosing the model that Review and Deliver use: the trained one, a shipped one, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QComboBox, QFileDialog, QSizePolicy, QWidget

from aegui import models
from aegui.events import Done, Event
from aegui.gui.session import Session
from aegui.models import Card, card_of

_OPEN = object()
_FILTER = "Models (*.aegui *.safetensors *.pt *.pth)"


def short_title(ref: str | Path) -> str:
    """The model's name as on its card, for captions on images."""
    card = card_of(ref)
    return card.title if card else Path(ref).stem


def title_of(ref: str | Path, session: Session | None = None) -> str:
    """The model's name and, for a file, which one. Runs all call theirs model.aegui: their folder names it."""
    path = Path(ref)
    if path.suffix not in (".aegui", ".safetensors", ".pt", ".pth"):
        return short_title(ref)
    own = session is not None and session.result is not None and Path(session.result.bundle) == path
    name = "your run" if own else path.parent.name if path.stem == "model" else path.name
    return f"{short_title(ref)} · {name}"


def unit_words(modalities: tuple[str, ...]) -> str:
    """“CT”, “CT and MR”, “any modality”."""
    return " and ".join(modalities) if modalities else "any modality"


def unfit(card: Card | None, modality: str) -> str:
    """Why a series does not suit the model, or nothing: “MR; model is for CT”."""
    if card is None or card.fits(modality):
        return ""
    return f"{modality}; model is for {unit_words(card.modalities)}"


class ModelChooser(QComboBox):
    """Follows the session's model, and sets it."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setAccessibleName("Model")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        self.activated.connect(self._chosen)
        session.model_changed.connect(self.refresh)
        session.result_changed.connect(self.refresh)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """List what can be chosen now."""
        ref = self._session.model_ref
        self.blockSignals(True)
        self.clear()
        result = self._session.result
        if result is not None:
            self._add(Path(result.bundle))
        for card in models.cards():
            if card.weights is not None:  # others are for training only
                self._add(card.id)
        if ref and self._row(ref) < 0:
            self._add(ref)
        self.insertSeparator(self.count())
        self.addItem("Open a model file…", _OPEN)
        self.setCurrentIndex(self._row(ref))
        self.blockSignals(False)
        self.setToolTip(self._about(ref))

    def _add(self, ref: str | Path) -> None:
        self.addItem(title_of(ref, self._session), ref)

    def _row(self, ref: str | Path) -> int:
        rows = [row for row in range(self.count()) if str(self.itemData(row)) == str(ref)]
        return rows[0] if rows and ref else -1

    def _about(self, ref: str | Path) -> str:
        card = card_of(ref)
        return f"{card.about}\nFor {unit_words(card.modalities)}. Licence: {card.licence}" if card else str(ref)

    @Slot(int)
    def _chosen(self, row: int) -> None:
        data = self.itemData(row)
        if data is not _OPEN:
            self._session.set_model(data)
            return
        self.setCurrentIndex(self._row(self._session.model_ref))
        name, _ = QFileDialog.getOpenFileName(self, "Open a model file", self._session.settings.last_folder, _FILTER)
        if name:
            self.open_file(Path(name))

    def open_file(self, path: Path) -> None:
        """Use a bundle or checkpoint, after it was read once; problems become a notice."""

        project = self._session.projects

        def work() -> Iterator[Event]:
            from aegui.models.zoo import load_model

            load_model(path)
            yield Done((path, project))

        job = self._session.attempt(lambda: self._session.lanes.create(work, f"Reading {path.name}", lane="model"))
        if job is not None:
            job.done.connect(self._opened)
            job.failed.connect(self._session.report)
            job.start()

    @Slot(object)
    def _opened(self, found: tuple[Path, int]) -> None:
        path, project = found
        if project == self._session.projects:
            self._session.set_model(path)
