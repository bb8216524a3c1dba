"""What Review can show of a session, and what is known of it."""

from __future__ import annotations

from aegui.gui.session import Session
from aegui.gui.widgets.model_chooser import title_of
from aegui.imaging.series import Series
from aegui.workflow import Pair


def offered(session: Session) -> list[Series]:
    """Every series that can be shown; clean ones are partners only."""
    return [s for s in session.series if s.treat != "list" and session.role(s.uid) != "clean"]


def held_out(session: Session) -> set[str]:
    """Uids of series with slices that the run never saw."""
    known = session.result.holdout if session.result is not None else ()
    return {*session.holdout, *(uid for uid, _ in known)}


def first_slice(session: Session, series: Series) -> int:
    """The slice to begin with: a held-out one, else the middle."""
    known = session.result.holdout if session.result is not None else ()
    held = [index for uid, index in known if uid == series.uid]
    return held[len(held) // 2] if held else series.slices // 2


def partner(session: Session, series: Series) -> Pair | None:
    """The pair whose noisy side it is: confirmed, or found and sure."""
    known = [*session.pairs, *(pair for pair in session.found_pairs if pair.sure)]
    return next((pair for pair in known if pair.noisy.uid == series.uid), None)


def told(session: Session, series: Series) -> str:
    """Series and model, and whether the figures can be trusted."""
    result = session.result
    own = result is not None and str(result.bundle) == str(session.model_ref)
    name = series.label
    if own and series.uid in held_out(session):
        name += ", held out from training"
    elif own and series.uid in {s.uid for s in session.noisy}:
        name += ", used in training: figures look better than they are"
    parts = [name, title_of(session.model_ref, session)]
    return " · ".join([*parts, f"best epoch {result.best_epoch}"] if own else parts)
