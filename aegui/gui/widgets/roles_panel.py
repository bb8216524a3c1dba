"""Right side of Scans: the role of what is selected, pairs that were found, and warnings that need a decision."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QFrame

from aegui.gui import theme
from aegui.gui.session import ROLES, Role, Session
from aegui.gui.skipped import skipped_words
from aegui.gui.widgets.basic import (
    STRETCH,
    ElidedLabel,
    Note,
    button,
    card,
    column,
    frame,
    holder,
    label,
    row,
    scroll,
)
from aegui.gui.widgets.pairs_panel import PairsPanel
from aegui.gui.widgets.states import RadioRow
from aegui.imaging.series import Series, Skipped

WORDS: dict[Role, tuple[str, str, str]] = {
    "noisy": ("Train: noisy input", "The image to clean", "waves"),
    "clean": ("Train: clean target", "What it should look like", "sparkles"),
    "label": ("Class label", "For discriminative recipes", "tag"),
    "holdout": ("Hold-out", "Never trained on", "shield-check"),
    "unused": ("Not used", "Stays listed, ignored", "circle-minus"),
}
ORDINARY = "One slice only"  # said in the tree; nothing to decide


class RolesPanel(QFrame):
    """role_chosen: for what is selected. show_wanted: the uid of a series that needs a look."""

    role_chosen = Signal(str)
    insist_wanted = Signal(bool)
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
        self.view_only = Note("info", "")
        self.insist = button("Denoise anyway…", "link", clicked=lambda: self.insist_wanted.emit(True))
        self.leave_out = button("Do not denoise", "link", clicked=lambda: self.insist_wanted.emit(False))
        self.view_only.add_action(self.insist)
        self.view_only.add_action(self.leave_out)
        self.pairs = PairsPanel(session)
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
            self.view_only,
            self._label_line,
            4,
            self.pairs,
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
        self._show_view_only(selected)
        labelled = "label" in shared or bool(session.labels)
        self._label_line.setVisible(labelled)
        classes = sorted(set(session.labels.values()))
        self.label_words.setText(
            f"{len(session.labels)} labels, {len(classes)} classes: {', '.join(classes[:6])}"
            if classes
            else "Classes come from the names of sub-folders, or from a CSV with “path,label” or “series_uid,label”."
        )

    def _show_view_only(self, selected: Sequence[Series]) -> None:
        """Why the selection is not denoised, and the way to have it denoised all the same."""
        shown = [series for series in selected if series.treat == "view"]
        self.view_only.setVisible(bool(shown) and len(shown) == len(selected))
        insisted = all(series.uid in self._session.insisted for series in shown)
        reasons = " ".join(dict.fromkeys(series.reason for series in shown if series.reason))
        if insisted:
            self.view_only.show_text("warn", f"{reasons} You asked for it all the same.", "Will be denoised")
        else:
            self.view_only.show_text("info", reasons, "View only")
        self.insist.setVisible(not insisted)
        self.leave_out.setVisible(insisted)

    def show_warnings(self, series: Sequence[Series], skipped: Sequence[Skipped]) -> None:
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
        self.skipped.setText(skipped_words(skipped))
        theme.set_property(self.skipped, t="warn" if any(one.damaged for one in skipped) else "ter")

    def _show(self) -> None:
        self.show_wanted.emit(self._needs_look)
