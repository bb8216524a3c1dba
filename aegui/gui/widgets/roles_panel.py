"""Right side of Scans: the role of what is selected, the pair that was found, and warnings that need a decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import QButtonGroup, QFrame, QLabel

from aegui import imaging
from aegui.gui import slices, theme
from aegui.gui.proposals import Proposal
from aegui.gui.session import ROLES, Role, Session
from aegui.gui.widgets.basic import (
    STRETCH,
    ElidedLabel,
    Note,
    button,
    card,
    column,
    frame,
    holder,
    icon_label,
    label,
    row,
    scroll,
)
from aegui.gui.widgets.painted import Badge
from aegui.gui.widgets.states import RadioRow
from aegui.imaging.series import Series
from aegui.imaging.windows import to_grey

WORDS: dict[Role, tuple[str, str, str]] = {
    "noisy": ("Train: noisy input", "The image to clean", "waves"),
    "clean": ("Train: clean target", "What it should look like", "sparkles"),
    "label": ("Class label", "For discriminative recipes", "tag"),
    "holdout": ("Hold-out", "Never trained on", "shield-check"),
    "unused": ("Not used", "Stays listed, ignored", "circle-minus"),
}
CROP = (112, 80)
ORDINARY = "One slice only"  # said in the tree; nothing to decide


class PairCard(QFrame):
    """A proposal with both crops. Nothing uses it before the user says so."""

    used = Signal(object)
    undone = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.proposal: Proposal | None = None
        self.setProperty("card", "plain")
        self.title = ElidedLabel("", "h3")
        self.studies = Badge("")
        self.why = label("", "cap", wrap=True)
        self.crops = (QLabel(), QLabel())
        for crop, name in zip(self.crops, ("Noisy", "Clean"), strict=True):
            crop.setFixedSize(*CROP)
            crop.setAccessibleName(f"{name} crop")
        self.warning = Note("warn", "")
        self.state = Badge("")
        self.use = button("Use as noisy → clean", size="s", clicked=self._use)
        self.undo = button("Undo", "link", clicked=self.undone.emit)
        self.setLayout(
            column(
                row(icon_label("link-2", 16, "ok"), (self.title, 1), self.studies),
                self.why,
                row(self.crops[0], STRETCH, icon_label("arrow-right", 16, "text3"), STRETCH, self.crops[1], gap=4),
                self.warning,
                row(self.state, self.use, STRETCH, self.undo),
                margins=(12, 12, 12, 12),
            )
        )
        self._lane: slices.SliceLane | None = None

    def _use(self) -> None:
        self.used.emit(self.proposal)

    def show_proposal(self, proposal: Proposal, confirmed: bool) -> None:
        """Say what was found and whether it is in use."""
        new = self.proposal is None or self.proposal.pairs != proposal.pairs
        self.proposal = proposal
        self.title.setText(proposal.title)
        count = len(proposal.pairs)
        self.studies.show_text(f"{count} pair{'s' if count != 1 else ''}")
        self.why.setText(proposal.why)
        self.warning.setVisible(bool(proposal.warning))
        self.warning.show_text("warn", proposal.warning)
        self.state.show_text("Used as noisy → clean", "ok", "check")
        self.state.setVisible(confirmed)
        self.undo.setVisible(confirmed)
        self.use.setVisible(not confirmed)
        if new:
            for crop in self.crops:
                crop.clear()
            self._load(proposal)

    def _load(self, proposal: Proposal) -> None:
        self.release()
        pair = proposal.pairs[0]
        at = pair.slices[len(pair.slices) // 2]
        wish = ((pair.noisy, at[0]), (pair.clean, at[1]))

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            yield lambda index: _crop(*wish[index])

        self._lane = slices.start(slices.SliceLane(opened, 2, keep=2, reach=0))
        self._lane.ready.connect(self._cropped)
        self._lane.sweep()

    @Slot(int, object)
    def _cropped(self, index: int, grey: np.ndarray) -> None:
        high, wide = grey.shape
        picture = QPixmap.fromImage(QImage(grey.data, wide, high, wide, QImage.Format.Format_Grayscale8).copy())
        self.crops[index].setScaledContents(True)
        self.crops[index].setPixmap(picture)

    def release(self) -> None:
        """End the reading thread."""
        if self._lane is not None:
            self._lane.end()
            self._lane = None


def _crop(series: Series, index: int) -> np.ndarray:
    """The middle of a slice, 8 bits, in the shape of the card's crops."""
    source = imaging.open_series(series)
    try:
        pixels = source.read(index)
    finally:
        source.close()
    grey = to_grey(pixels, imaging.auto_window(pixels, modality=series.modality))
    if grey.ndim == 3:
        grey = grey.mean(axis=2).astype(np.uint8)
    rows, columns = grey.shape
    wide = max(8, min(columns, int(columns * 0.45)))
    high = max(6, min(rows, wide * CROP[1] // CROP[0]))
    top, left = (rows - high) // 2, (columns - wide) // 2
    return np.ascontiguousarray(grey[top : top + high, left : left + wide])


class RolesPanel(QFrame):
    """role_chosen: for what is selected. show_wanted: the uid of a series that needs a look."""

    role_chosen = Signal(str)
    pair_used = Signal(object)
    pair_undone = Signal()
    show_wanted = Signal(str)
    labels_wanted = Signal()
    skipped_wanted = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.setProperty("panel", "right")
        self.heading = ElidedLabel("", "h3")
        self.rows: dict[Role, RadioRow] = {}
        self._group = QButtonGroup(self)
        for role in ROLES:
            made = RadioRow(*WORDS[role])
            made.chosen.connect(lambda r=role: self.role_chosen.emit(r))
            self._group.addButton(made.radio)
            self.rows[role] = made
        self.roles = frame(column(*self.rows.values(), margins=(4, 4, 4, 4), gap=0), card="plain")
        self.labels = button("Load label file…", "link", clicked=self.labels_wanted.emit)
        self.label_words = label("", "ter", wrap=True)
        self._label_line = card(self.label_words, row(self.labels, STRETCH), kind="flat", padding=12, gap=4)
        self.found = label("Found in this folder", "h3")
        self.pair = PairCard()
        self.pair.used.connect(self.pair_used)
        self.pair.undone.connect(self.pair_undone)
        self.warning = Note("warn", "")
        self._look = button("Show", "link", clicked=self._show)
        self.warning.add_action(self._look)
        self.skipped = label("", "ter", wrap=True)
        self.list_skipped = button("List them", "link", clicked=self.skipped_wanted.emit)
        self._skipped_line = holder(row((self.skipped, 1), self.list_skipped))
        self._needs_look = ""
        body = column(
            self.heading,
            self.roles,
            self._label_line,
            4,
            self.found,
            self.pair,
            4,
            self.warning,
            self._skipped_line,
            STRETCH,
            margins=(16, 16, 16, 16),
        )
        self.setLayout(column((scroll(holder(body)), 1), gap=0))
        theme.changed().connect(self.update)

    def show_roles(self, selected: Sequence[Series]) -> None:
        """The radio list for what is selected, with counts of all."""
        session = self._session
        if len(selected) == 1:
            one = selected[0]
            self.heading.setText(f"Role of “{one.description or one.modality}”")
        else:
            self.heading.setText(f"Role of {len(selected)} series" if selected else "No series selected")
        shared = {session.role(series.uid) for series in selected}
        usable = [series for series in selected if series.treat == "denoise"]
        self._group.setExclusive(False)
        for role, made in self.rows.items():
            made.radio.setChecked(shared == {role})
            made.radio.setEnabled(bool(usable) or role == "unused")
            made.count.setText(str(len(session.with_role(role))))
            made.setToolTip("" if usable else (selected[0].reason if selected else "Select a series on the left."))
        self._group.setExclusive(True)
        labelled = "label" in shared or bool(session.labels)
        self._label_line.setVisible(labelled)
        classes = sorted(set(session.labels.values()))
        self.label_words.setText(
            f"{len(session.labels)} labels, {len(classes)} classes: {', '.join(classes[:6])}"
            if classes
            else "Classes come from the names of sub-folders, or from a CSV with “path,label” or “series_uid,label”."
        )

    def show_proposal(self, proposal: Proposal | None, confirmed: bool) -> None:
        """What was found, if anything."""
        self.found.setVisible(proposal is not None)
        self.pair.setVisible(proposal is not None)
        if proposal is not None:
            self.pair.show_proposal(proposal, confirmed)

    def show_warnings(self, series: Sequence[Series], skipped: int) -> None:
        """Series with a warning; files that are in no series."""
        warned = [one for one in series if one.treat == "denoise" and set(one.warnings) - {ORDINARY}]
        self.warning.setVisible(bool(warned))
        if warned:
            first = warned[0]
            said = next(words for words in first.warnings if words != ORDINARY).rstrip(".")
            more = f" And {len(warned) - 1} more series." if len(warned) > 1 else ""
            text = f"{first.description or first.modality}: {said}.{more}"
            title = f"{len(warned)} series need{'s' if len(warned) == 1 else ''} a look"
            self.warning.show_text("warn", text, title)
            self._needs_look = first.uid
        self._skipped_line.setVisible(bool(skipped))
        self.skipped.setText(f"{skipped} file{'s are' if skipped != 1 else ' is'} in no series.")

    def _show(self) -> None:
        self.show_wanted.emit(self._needs_look)
