"""One proposal of pairs: what was found, why, both slices and their difference, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QFrame, QLabel

from aegui import imaging, workflow
from aegui.gui import slices
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, Note, button, column, icon_label, label, row
from aegui.gui.widgets.painted import Badge
from aegui.gui.widgets.review_views import residual_picture
from aegui.imaging.windows import to_grey

CROP = (76, 60)
LEAST = 56  # px of the image that a crop shows at least
NAMES = {"repeats": ("Repeat", "Next repeat"), "shared-noise": ("Sharp", "Smooth")}
USE = {"repeats": "Use as pairs", "shared-noise": "Use anyway"}
USED = {"repeats": "Used: repeat → next repeat", "shared-noise": "Used: sharp → smooth"}


class PairCard(QFrame):
    """A proposal with its crops. Nothing uses it before the user says so."""

    used = Signal(object)
    undone = Signal(object)
    ignored = Signal(object)

    def __init__(self, proposal: workflow.Proposal) -> None:
        super().__init__()
        self.proposal = proposal
        self.setProperty("card", "plain")
        self.title = ElidedLabel(proposal.title, "h3", Qt.TextElideMode.ElideRight)
        count = len(proposal.pairs)
        self.count = Badge(f"{count} pair{'s' if count != 1 else ''}")
        self.why = label(proposal.why, "cap", wrap=True)
        names = (*NAMES.get(proposal.kind, ("Noisy", "Clean")), "Difference")
        self.crops = tuple(QLabel() for _ in names)
        for crop, name in zip(self.crops, names, strict=True):
            crop.setFixedSize(*CROP)
            crop.setScaledContents(True)
            crop.setAccessibleName(f"{name}, middle of the middle slice")
        pictures = row(gap=0)
        for crop, name in zip(self.crops, names, strict=True):
            if crop is not self.crops[0]:
                pictures.addStretch(1)
            pictures.addLayout(column(crop, label(name, "ter"), gap=2))
        self.warning = Note("info" if proposal.kind == "repeats" else "warn", proposal.warning)
        self.warning.setVisible(bool(proposal.warning))
        self.state = Badge(USED.get(proposal.kind, "Used as noisy → clean"), "ok", "check")
        self.use = button(USE.get(proposal.kind, "Use as noisy → clean"), size="s", clicked=self._use)
        self.ignore = button("Ignore", "link", tip="Leave these pairs out of the list", clicked=self._ignore)
        self.undo = button("Undo", "link", clicked=self._undo)
        head = row(icon_label("link-2", 16, "ok"), (self.title, 1), self.count)
        acts = row(self.state, self.use, STRETCH, self.ignore, self.undo)
        # A warning is read first; what is only to be known must not push the buttons off a small screen.
        last = (acts, self.warning) if proposal.kind == "repeats" else (self.warning, acts)
        self.setLayout(column(head, self.why, pictures, *last, margins=(12, 12, 12, 12)))
        self.setAccessibleName(proposal.title)
        self.show_used(False)
        self._lane: slices.SliceLane | None = None

    def _use(self) -> None:
        self.used.emit(self.proposal)

    def _undo(self) -> None:
        self.undone.emit(self.proposal)

    def _ignore(self) -> None:
        self.ignored.emit(self.proposal)

    def show_used(self, used: bool) -> None:
        """Whether the pairs are in use."""
        had_focus = self.use.hasFocus() or self.undo.hasFocus()
        self.state.setVisible(used)
        self.undo.setVisible(used)
        self.use.setVisible(not used)
        self.ignore.setVisible(not used)
        if had_focus:
            (self.undo if used else self.use).setFocus(Qt.FocusReason.OtherFocusReason)

    def load(self) -> None:
        """Read both slices in a thread, once."""
        if self._lane is None:
            pair = self.proposal.pairs[0]

            @contextmanager
            def opened() -> Iterator[slices.Fetch]:
                yield lambda _index: crops(pair)

            self._lane = slices.start(slices.SliceLane(opened, 1, keep=1, reach=0))
            self._lane.ready.connect(self._cropped)
            self._lane.want(0)

    @Slot(int, object)
    def _cropped(self, _index: int, pictures: tuple[QImage, QImage, QImage]) -> None:
        for crop, picture in zip(self.crops, pictures, strict=True):
            crop.setPixmap(QPixmap.fromImage(picture))

    def release(self) -> None:
        """End the reading thread."""
        if self._lane is not None:
            self._lane.end()
            self._lane = None


def crops(pair: workflow.Pair) -> tuple[QImage, QImage, QImage]:
    """Both slices of a pair in one window, and their difference over ±3 of its SD."""
    at = pair.slices[len(pair.slices) // 2]
    cut = [_middle(series, index) for series, index in zip((pair.noisy, pair.clean), at, strict=True)]
    window = imaging.auto_window(cut[1], modality=pair.clean.modality)
    shown = [_picture(to_grey(pixels, window), pair.clean) for pixels in cut]
    if cut[0].shape != cut[1].shape:
        return shown[0], shown[1], QImage()
    difference = cut[0] - cut[1]
    return shown[0], shown[1], residual_picture(difference, 3 * float(difference.std()))


def _picture(grey: np.ndarray, series: imaging.Series) -> QImage:
    grey = np.ascontiguousarray(255 - grey if series.inverted else grey)
    high, wide = grey.shape
    return QImage(grey.data, wide, high, wide, QImage.Format.Format_Grayscale8).copy()


def _middle(series: imaging.Series, index: int) -> np.ndarray:
    """The middle of a slice in the shape of the card's crops."""
    source = imaging.open_series(series)
    try:
        pixels = source.read(index)
    finally:
        source.close()
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=2)
    rows, columns = pixels.shape
    wide = min(columns, max(LEAST, int(columns * 0.45)))
    high = max(1, min(rows, wide * CROP[1] // CROP[0]))
    top, left = (rows - high) // 2, (columns - wide) // 2
    return np.asarray(pixels[top : top + high, left : left + wide])
