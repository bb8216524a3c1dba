"""“Pairs found”: the proposals for what is open, each to be used, ignored or undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QWidget

from aegui import workflow
from aegui.gui.session import Session
from aegui.gui.widgets.basic import STRETCH, button, column, holder, label, row
from aegui.gui.widgets.pair_card import PairCard
from aegui.gui.widgets.rows import Fold

OTHERS = "Other pairs (also teach blur)"
_MOST = 6  # cards; a folder of many protocols must not fill the page


def _key(pair: workflow.Pair) -> tuple[str, str]:
    return pair.noisy.uid, pair.clean.uid


class PairsPanel(QWidget):
    """Listens to the session; hidden while there is nothing to propose."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.cards: list[PairCard] = []
        self._found: list[workflow.Proposal] = []
        self._looked_at: object = None
        self._main = column(gap=8)
        self._others = column(gap=8)
        self.others = Fold([holder(self._others)], OTHERS, OTHERS)
        self.others.link.clicked.connect(self._load)
        self.ignored = label("", "ter")
        self._again = button("Show again", "link", clicked=self._offer_again)
        self._ignored_line = holder(row(self.ignored, STRETCH, self._again))
        self.setLayout(column(label("Found in this folder", "h3"), self._main, self.others, self._ignored_line, gap=8))
        for signal in (session.scans_changed, session.roles_changed, session.pairs_changed):
            signal.connect(self._refresh)
        self._refresh()

    # ---- what there is
    def _hand_picked(self) -> list[Any]:
        """Clean series that the user chose, not a confirmed pair."""
        targets = {pair.clean.uid for pair in self._session.pairs}
        return [series for series in self._session.clean if series.uid not in targets]

    def _look(self) -> None:
        session = self._session
        picked = self._hand_picked()
        state = (session.series, tuple(series.uid for series in picked))
        if state != self._looked_at:
            self._looked_at = state
            self._found = workflow.propose(session.series, picked)
        # For looking at only: Review shows them beside the result.
        session.found_pairs = tuple(p for one in self._found if one.kind in ("clean", "dose") for p in one.pairs)

    def _shown(self) -> list[workflow.Proposal]:
        used = {_key(pair) for pair in self._session.pairs}
        known = {_key(pair) for one in self._found for pair in one.pairs}
        rest = tuple(pair for pair in self._session.pairs if _key(pair) not in known)
        found = [one for one in self._found if one.key not in self._session.ignored or self._in_use(one, used)]
        if rest:
            names = f"“{rest[0].noisy.description}” with “{rest[0].clean.description}”"
            found.insert(0, workflow.Proposal("clean", "Pairs in use", f"{rest[0].why.capitalize()}: {names}.", rest))
        return found[:_MOST]

    def _in_use(self, proposal: workflow.Proposal, used: set[tuple[str, str]]) -> bool:
        return all(_key(pair) in used for pair in proposal.pairs)

    @Slot()
    def _refresh(self) -> None:
        self._look()
        used = {_key(pair) for pair in self._session.pairs}
        shown = self._shown()
        if [card.proposal for card in self.cards] != shown:
            self._rebuild(shown)
        for card in self.cards:
            card.show_used(self._in_use(card.proposal, used))
        hidden = sum(one.key in self._session.ignored and not self._in_use(one, used) for one in self._found)
        self._ignored_line.setVisible(bool(hidden))
        self.ignored.setText(f"{hidden} ignored")
        self.setVisible(bool(shown or hidden))

    def _rebuild(self, shown: Sequence[workflow.Proposal]) -> None:
        kept = {card.proposal.key: card for card in self.cards if card.proposal in shown}
        for layout in (self._main, self._others):
            while layout.count():
                layout.takeAt(0)
        for card in self.cards:
            if card.proposal.key not in kept:
                card.release()
                card.hide()
                card.deleteLater()
        self.cards = []
        for proposal in shown:
            card = kept.get(proposal.key) or self._card(proposal)
            (self._main if proposal.on_by_default else self._others).addWidget(card)
            self.cards.append(card)
        self.others.setVisible(self._others.count() > 0)
        self._load()

    def _card(self, proposal: workflow.Proposal) -> PairCard:
        card = PairCard(proposal)
        card.used.connect(self._use)
        card.undone.connect(self._undo)
        card.ignored.connect(self._ignore)
        return card

    @Slot()
    def _load(self) -> None:
        """Read the crops of the cards that are to be seen."""
        for card in self.cards:
            if card.proposal.on_by_default or not self.others.body.isHidden():
                card.load()

    # ---- what the user says
    @Slot(object)
    def _use(self, proposal: workflow.Proposal) -> None:
        new = {_key(pair) for pair in proposal.pairs}
        others = [pair for pair in self._session.pairs if _key(pair) not in new]
        self._session.set_pairs([*others, *proposal.pairs])

    @Slot(object)
    def _undo(self, proposal: workflow.Proposal) -> None:
        gone = {_key(pair) for pair in proposal.pairs}
        self._session.set_pairs([pair for pair in self._session.pairs if _key(pair) not in gone])

    @Slot(object)
    def _ignore(self, proposal: workflow.Proposal) -> None:
        self._session.ignore_proposal(proposal.key)

    @Slot()
    def _offer_again(self) -> None:
        self._session.offer_again()

    def release(self) -> None:
        """End the reading threads."""
        for card in self.cards:
            card.release()
