"""The reports of Review and Deliver: what they say, in the form that analysis.report writes, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtWidgets import QFileDialog, QWidget

from aegui.analysis import report
from aegui.analysis.pictures import grey, residual_map
from aegui.analysis.report import Picture, Plot, Report, Table
from aegui.gui.dialogs import write_to
from aegui.gui.session import Session
from aegui.gui.widgets.model_chooser import title_of
from aegui.gui.widgets.queue import STATES, Entry, clock, ranges
from aegui.gui.widgets.review_views import marks
from aegui.gui.widgets.view_link import number, window_words
from aegui.imaging.series import Series
from aegui.models import Card, card_of


@dataclass(frozen=True)
class Shown:
    """The slice on the screen. index from 0; out at the strength in %."""

    series: Series
    index: int
    noisy: np.ndarray
    out: np.ndarray
    reference: np.ndarray | None
    window: tuple[float, float]
    limit: float
    strength: int


def model_facts(card: Card | None, title: str, result: object = None) -> list[tuple[str, str]]:
    """What is known of the model; scores of a run stand beside their baselines."""
    facts = [("Model", title)]
    if card is not None:
        facts += [("Licence", card.licence), ("Made for", ", ".join(card.modalities) or "any modality")]
    if result is not None:
        scores, baselines = getattr(result, "scores", {}), getattr(result, "baselines", {})
        facts.append(("Best epoch", f"{getattr(result, 'best_epoch', 0)} of {getattr(result, 'epochs', 0)}"))
        rows = [("this model", scores), *baselines.items()]
        words = [f"{name} {values['psnr']:.2f} dB" for name, values in rows if "psnr" in values]
        facts.append(("Validation PSNR", ", ".join(words)))
    return facts


def session_facts(session: Session) -> list[tuple[str, str]]:
    """The facts of the session's model; scores only if its own run made it."""
    ref, result = session.model_ref, session.result
    own = result if result is not None and str(result.bundle) == str(ref) else None
    return model_facts(card_of(ref), title_of(ref, session), own)


def review_report(
    shown: Shown,
    facts: Sequence[tuple[str, str]],
    heads: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    noise: tuple[str, np.ndarray, np.ndarray, np.ndarray] | None,
    flags: Sequence[int],
    scored: int,
    verdict: bool | None,
) -> Report:
    """noise: (region, frequencies, before, after)."""
    series = shown.series
    width, level = shown.window
    unit = f" {series.unit}" if series.unit else ""
    spacing = series.geometry.spacing
    aspect = spacing[1] / spacing[2] if spacing[1] > 0 and spacing[2] > 0 else 1.0
    window = window_words(width, level)

    def shade(pixels: np.ndarray) -> np.ndarray:
        bytes_ = grey(pixels, width, level)
        return 255 - bytes_ if series.inverted else bytes_

    pictures = [
        Picture("Noisy", window, shade(shown.noisy), aspect),
        Picture("Denoised", f"{window}, strength {shown.strength} %", shade(shown.out), aspect),
    ]
    if shown.reference is not None:
        pictures.append(Picture("Reference", window, shade(shown.reference), aspect))
    residual = residual_map(shown.noisy - shown.out, shown.limit)
    words = f"noisy − denoised, ± {number(shown.limit)}{unit}; {', '.join(marks(series.inverted))}"
    pictures.append(Picture("Residual", words, residual, aspect))
    tables, plots = [], []
    if rows:
        note = f"Slice {shown.index + 1}, after = strength {shown.strength} %. Bias = mean after − mean before."
        tables.append(Table("Regions", heads, rows, note))
    if noise is not None:
        name, frequency, before, after = noise
        length = series.geometry.length
        label = f"{series.unit}² {length}²" if series.unit else f"{length}²"
        curves = ("before", frequency, before), ("after", frequency, after)
        plots.append(Plot(f"Noise power, {name}", f"{length}⁻¹", label, curves))
    flagged = f"flagged for structure in the residual: {ranges(flags)}" if flags else "none flagged"
    verdicts = {True: "accepted", False: "rejected"}
    return Report(
        title=f"Review of {series.description or series.label}",
        subtitle=f"{series.label} · {series.modality} · slice {shown.index + 1} of {series.slices}",
        facts=(
            *facts,
            ("Strength", f"{shown.strength} %"),
            ("Slices scored", f"{scored} of {series.slices}; {flagged}"),
            ("Verdict", verdicts[verdict] if verdict is not None else "not given yet"),
        ),
        pictures=tuple(pictures),
        tables=tuple(tables),
        plots=tuple(plots),
    )


def deliver_report(
    facts: Sequence[tuple[str, str]], exports: Sequence[str], entries: Sequence[Entry], output: Path
) -> Report:
    """Exports with their checks, and what happened to each series."""
    rows = tuple(
        (
            entry.name,
            str(entry.series.slices),
            STATES[entry.status][2],
            clock(entry.seconds) if entry.seconds else "–",
            ranges(entry.flagged) if entry.flagged else "–",
            entry.words,
        )
        for entry in entries
    )
    table = Table("Denoised series", ("Series", "Slices", "Status", "Time", "Flagged slices", "Reason"), rows)
    return Report(
        title="Delivery report",
        subtitle=f"{len(entries)} series, written to {output.name}" if str(output) else f"{len(entries)} series",
        facts=(*facts, *(("Export", words) for words in exports)),
        tables=(table,) if rows else (),
    )


def ask_where(page: QWidget, suggested: Path, write: Callable[[Path], object]) -> None:
    """Write a report to the file that is chosen, if one is."""
    name, _ = QFileDialog.getSaveFileName(page, "Write a report", str(suggested), "Web page (*.html)")
    if name:
        write_to(page.window(), Path(name), (".html", ".htm"), write)


def write(session: Session, make: Callable[[], Report], path: Path) -> None:
    """Make and write one, and say so."""
    if session.attempt(lambda: report.write(make(), path)) is not None:
        session.toast.emit("ok", "Report written", path.name)
