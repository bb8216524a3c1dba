"""Asking before pictures are denoised that no model has learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QWidget

from aegui.gui.dialogs import Answer, Dialog, ask
from aegui.imaging.series import Series


def ask_to_denoise(window: QWidget, series: Sequence[Series], do: Callable[[], object]) -> Dialog:
    """Says why they are left out and what may happen; `do` if the user insists."""
    name = series[0].description or series[0].label or series[0].modality
    which = f"“{name}”" if len(series) == 1 else f"{len(series)} series"
    why = "; ".join(dict.fromkeys(one.reason.rstrip(".") for one in series if one.reason)) or "not an image to denoise"
    text = (
        f"Left out because: {why}. No model here has learnt from such pictures: lines, text, and values that mean "
        "something else than brightness may come out changed and still look real. The result is a new series; the "
        "original stays as it is."
    )
    return ask(window, f"Denoise {which} anyway?", text, [Answer("Leave out"), Answer("Denoise anyway", do)])
