"""The starting models as cards, each with the user's own slice before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QButtonGroup, QFrame, QLabel, QSizePolicy, QVBoxLayout, QWidget

from aegui.events import Image
from aegui.gui import theme
from aegui.gui.widgets.basic import (
    STRETCH,
    ClickCard,
    ElidedLabel,
    chip,
    column,
    frame,
    holder,
    icon_label,
    label,
    row,
    scroll,
)
from aegui.gui.widgets.painted import Badge
from aegui.models import Card
from aegui.models.told import card_gain, count_words, score_lines

XRAY = ("CR", "DX", "XR", "XA", "RF", "MG")
FILTERS: tuple[tuple[str, tuple[str, ...]], ...] = (("CT", ("CT",)), ("MR", ("MR",)), ("X-ray", XRAY))
WORDS = {"MR": "MR", "CT": "CT", **dict.fromkeys(XRAY, "X-ray")}


def grey_image(pixels: Image, window: tuple[float, float], inverted: bool = False) -> QImage:
    """An 8-bit picture of a slice. window: (width, level). inverted: low values are bright (MONOCHROME1)."""
    width, level = window
    grey = np.clip((np.nan_to_num(pixels) - (level - width / 2)) / width, 0, 1)
    data = np.ascontiguousarray(((1 - grey if inverted else grey) * 255).astype(np.uint8))
    return QImage(data.data, data.shape[1], data.shape[0], data.strides[0], QImage.Format.Format_Grayscale8).copy()


def speed_words(seconds: float) -> str:
    """41 ms / slice, 1.4 s / slice."""
    return f"{seconds * 1000:.0f} ms / slice" if seconds < 1 else f"{seconds:.1f} s / slice"


class SplitThumb(QWidget):
    """Left of the line the slice as it is, right of it cleaned."""

    def __init__(self, side: int = 96) -> None:
        super().__init__()
        self.setFixedSize(side, side)
        self.noisy: QImage | None = None
        self.clean: QImage | None = None
        self.icon = "image"
        theme.changed().connect(self.update)

    def show_images(self, noisy: QImage | None, clean: QImage | None) -> None:
        self.noisy, self.clean = noisy, clean
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        whole = QRectF(self.rect())
        shape = QPainterPath()
        shape.addRoundedRect(whole, 4, 4)
        painter.setClipPath(shape)
        if self.noisy is None:
            painter.fillRect(whole, theme.colour("inset"))
            size = 24
            place = QPointF((whole.width() - size) / 2, (whole.height() - size) / 2)
            painter.drawPixmap(place, theme.pixmap(self.icon, "text3", size))
            return
        self._draw(painter, whole, self.noisy)
        if self.clean is not None:
            middle = whole.width() / 2
            painter.save()
            painter.setClipRect(QRectF(middle, 0, middle, whole.height()), Qt.ClipOperation.IntersectClip)
            self._draw(painter, whole, self.clean)
            painter.restore()
            painter.setPen(QPen(Qt.GlobalColor.white, 1))
            painter.drawLine(QPointF(middle, 0), QPointF(middle, whole.height()))

    def _draw(self, painter: QPainter, target: QRectF, image: QImage) -> None:
        size = (target.size() * self.devicePixelRatioF()).toSize()
        # drawImage alone aliases when it shrinks a picture much.
        smooth = Qt.TransformationMode.SmoothTransformation
        painter.drawImage(target, image.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, smooth))


@dataclass(frozen=True)
class Entry:
    """One model of the gallery. reason: why it does not fit, or nothing. own: from the user's file."""

    ref: str | Path
    card: Card
    reason: str = ""
    own: bool = False


class ModelCard(ClickCard):
    """A model: thumb, name, what it is for, size, speed here."""

    def __init__(self, entry: Entry) -> None:
        card = entry.card
        self.entry = entry
        self.thumb = SplitThumb()
        self.tick = icon_label("circle-check", 16, "accentText")
        self.tick.hide()
        self.gauge = icon_label("gauge", 12, "text3")
        self.speed = ElidedLabel("Not measured yet", "ter", Qt.TextElideMode.ElideRight)
        kinds = dict.fromkeys(WORDS.get(code, code) for code in card.modalities) or {"Any": None}
        badges = [Badge(kind, "neutral") for kind in kinds]
        size = f"{count_words(card.parameters)} parameters" if card.parameters else ""
        gain = card_gain(card)
        sees = f"sees {1 + 2 * card.neighbours} slices" if card.neighbours else ""
        facts = " · ".join(part for part in (size, sees, "your file" if entry.own else "") if part)
        random = not card.weights and not entry.own
        self.about = ElidedLabel(card.summary, "ter", Qt.TextElideMode.ElideRight)
        self.caution = ElidedLabel("", "warn", Qt.TextElideMode.ElideRight)
        self.mark = icon_label("triangle-alert", 12, "warn")
        self.caution.hide()
        self.mark.hide()
        words = column(
            row((ElidedLabel(card.title, "h3"), 1), self.tick, gap=4),
            row(*badges, Badge(card.licence, "outline"), STRETCH, gap=4),
            row(self.mark, (self.about, 1), (self.caution, 1), gap=6),
            *([row(icon_label("trending-up", 12, "text3"), (ElidedLabel(gain, "ter"), 1), gap=6)] if gain else []),
            ElidedLabel(facts, "ter"),
            row(self.gauge, (self.speed, 1), gap=6),
            gap=3,
        )
        super().__init__(
            row(column(self.thumb, STRETCH), (words, 1), margins=(12, 12, 12, 12), gap=12),
            card.title,
            description=f"{card.about} {entry.reason}".strip(),
        )
        about = [card.about, f"Licence: {card.licence}", *score_lines(card), entry.reason]
        self.setToolTip("\n".join(line for line in about if line))
        if random:
            self.speed.setText("No trained weights; starts from random ones")
        if entry.reason:
            theme.set_icon(self.gauge, "lock", "text3", 12)
            self.speed.setText(entry.reason)

    def choose(self, on: bool) -> None:
        self.set_selected(on)
        self.tick.setVisible(on)

    def show_speed(self, words: str) -> None:
        if not self.entry.reason:
            self.speed.setText(words)

    def warn(self, unlike: Sequence[str]) -> None:
        """In which way the scan is not what the model has seen."""
        words = "; ".join(unlike)
        self.caution.setText(words[:1].upper() + words[1:])
        for part, on in ((self.mark, bool(unlike)), (self.caution, bool(unlike)), (self.about, not unlike)):
            part.setVisible(on)


class Gallery(QFrame):
    """Filters and cards. chosen: a model's id or file. file_wanted: “Load a model file…” was pressed."""

    chosen = Signal(object)
    file_wanted = Signal()

    def __init__(self, footer: QWidget | None = None) -> None:
        super().__init__()
        self.setProperty("panel", "left")
        self.entries: list[Entry] = []
        self.cards: list[ModelCard] = []
        self.modalities: tuple[str, ...] = ()
        self.current: str = ""
        self._noisy: QImage | None = None
        self._window = (1.0, 0.5)
        self._inverted = False
        self._clean: dict[str, tuple[QImage | None, str, Sequence[str]]] = {}
        self.filters = QButtonGroup(self)
        names = ["Fits my scans", *(name for name, _ in FILTERS), "All"]
        for index, name in enumerate(names):
            self.filters.addButton(chip(name, index == 0, "s"), index)
        self.filters.idClicked.connect(self._fill)
        self.hint = label("", "ter")
        self.empty = label("No model for these scans. Choose “All”, or load your own file.", "sec", wrap=True)
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        load = ClickCard(
            row(
                _file_mark(),
                (
                    column(
                        label("Load a model file…", "h3"),
                        ElidedLabel("Bundle or PyTorch checkpoint", "ter"),
                        ElidedLabel("Layers are compared by name", "ter"),
                        STRETCH,
                        gap=4,
                    ),
                    1,
                ),
                margins=(12, 12, 12, 12),
                gap=12,
            ),
            "Load a model file",
            description=".aegui, .safetensors, .pt or .pth; never run as code",
        )
        load.clicked.connect(self.file_wanted)
        inner = holder(column(self.empty, self._list, load, STRETCH, margins=(16, 4, 16, 16), gap=8))
        self.area = scroll(inner)
        top = column(
            row(label("Starting model", "h2"), STRETCH, self.hint),
            row(*self.filters.buttons(), STRETCH, gap=6),
            margins=(16, 16, 16, 8),
            gap=10,
        )
        layout = column(top, (self.area, 1), gap=0)
        if footer is not None:
            layout.addWidget(footer)
        self.setLayout(layout)

    def set_entries(self, entries: list[Entry], modalities: tuple[str, ...]) -> None:
        """Show these models; unfit ones come last."""
        self.modalities = modalities
        if entries != self.entries:
            self.entries = entries
        self._fill()

    def set_current(self, ref: str | Path) -> None:
        """Mark the chosen model."""
        self.current = str(ref)
        for card in self.cards:
            card.choose(str(card.entry.ref) == self.current)

    def show_slice(self, noisy: Image | None, window: tuple[float, float], inverted: bool = False) -> None:
        """The user's slice on every card, until a model's picture comes."""
        self._clean.clear()
        self._window, self._inverted = window, inverted
        self._noisy = None if noisy is None else grey_image(noisy, window, inverted)
        self.hint.setText("Left of line: your slice. Right: cleaned." if noisy is not None else "")
        self._dress()

    def show_clean(self, ref: str, image: Image | None, words: str, unlike: Sequence[str] = ()) -> None:
        """A model's picture and speed, and in which way the scan is not what it has seen."""
        self._clean[ref] = (None if image is None else grey_image(image, self._window, self._inverted), words, unlike)
        self._dress()

    def _wanted(self, entry: Entry) -> bool:
        which = self.filters.checkedId()
        if which == len(FILTERS) + 1:
            return True
        if which == 0:
            # One locked card with its reason says more than a model that is missing without a word.
            unfit = [e for e in self.entries if e.reason]
            return not entry.reason or entry in unfit[:1]
        codes = FILTERS[which - 1][1]
        return not entry.card.modalities or any(code in entry.card.modalities for code in codes)

    def _fill(self) -> None:
        for old in self.cards:
            self._list.removeWidget(old)
            old.hide()
            old.deleteLater()
        shown = sorted((entry for entry in self.entries if self._wanted(entry)), key=lambda e: bool(e.reason))
        self.cards = []
        for entry in shown:
            made = ModelCard(entry)
            made.clicked.connect(self._on_card)
            made.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
            self._list.addWidget(made)
            self.cards.append(made)
        self.empty.setVisible(not shown)
        self.set_current(self.current)
        self._dress()

    def _on_card(self) -> None:
        card = self.sender()
        if isinstance(card, ModelCard) and not card.entry.reason:
            self.chosen.emit(card.entry.ref)

    def _dress(self) -> None:
        for card in self.cards:
            clean, words, unlike = self._clean.get(str(card.entry.ref), (None, "", ()))
            card.thumb.show_images(self._noisy, clean)
            card.warn(unlike)
            if words:
                card.show_speed(words)

    def sizeHint(self) -> QSize:
        return QSize(392, 600)


def _file_mark() -> QLabel | QFrame:
    mark = frame(column(STRETCH, row(STRETCH, icon_label("file-up", 24, "text3"), STRETCH), STRETCH), card="flat")
    mark.setFixedSize(96, 72)
    return mark
