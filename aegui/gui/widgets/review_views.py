"""Review's pictures: noisy, denoised, reference and residual, side by side or one over the other."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtGui import QImage, qRgb
from PySide6.QtWidgets import QFrame, QHBoxLayout

from aegui.analysis.pictures import residual_table
from aegui.gui.widgets.curtain import CurtainViewport
from aegui.gui.widgets.linked import LinkedViews
from aegui.gui.widgets.regions import Regions
from aegui.gui.widgets.view_link import number, window_words
from aegui.gui.widgets.viewport import Viewport, grey, inverted
from aegui.imaging.series import Series

_COLOURS = [qRgb(*(int(part) for part in colour)) for colour in residual_table(255)]


def marks(inverted: bool) -> tuple[str, str]:
    """What the residual's colours say of the shown picture, where high values may be dark."""
    higher, lower = ("darker", "brighter") if inverted else ("brighter", "darker")
    return f"orange: was {higher}", f"blue: was {lower}"


def residual_picture(pixels: np.ndarray, limit: float) -> QImage:
    """Blue – black – orange over −limit … limit."""
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=-1)
    step = np.nan_to_num(np.multiply(pixels, 127.0 / max(limit, 1e-12), dtype=np.float32)) + np.float32(127.5)
    shades = np.ascontiguousarray(np.clip(step, 0, 254).astype(np.uint8))
    rows, columns = shades.shape
    picture = QImage(shades.data, columns, rows, columns, QImage.Format.Format_Indexed8)
    picture.setColorTable(_COLOURS)
    return picture.convertToFormat(QImage.Format.Format_RGB32)


def side_letters(orientation: tuple[float, ...]) -> tuple[str, str, str, str]:
    """Letters at left, right, top and bottom of the picture, from the row and column directions (LPS)."""

    def ends(direction: tuple[float, ...]) -> tuple[str, str]:
        axis = max(range(3), key=lambda i: abs(direction[i]))
        low, high = (("R", "L"), ("A", "P"), ("F", "H"))[axis]
        return (low, high) if direction[axis] >= 0 else (high, low)

    across, down = ends(orientation[:3]), ends(orientation[3:6])
    return across[0], across[1], down[0], down[1]


class ReviewViews(QFrame):
    """mode: side, curtain, flicker or difference. activated: a viewport got the focus."""

    activated = Signal()

    def __init__(self, regions: Regions) -> None:
        super().__init__()
        self.setProperty("panel", "black")
        self.linked = LinkedViews(5, self)
        links = self.linked.links
        self.noisy = Viewport("Noisy", links[0])
        self.denoised = Viewport("Denoised", links[1])
        self.reference = Viewport("Reference", links[2])
        self.residual = Viewport("Residual", links[3])
        self.curtain = CurtainViewport("Noisy", links[4])
        self.mode, self.with_reference, self.with_doubt, self.limit = "side", False, False, 1.0
        self.marks = marks(False)
        self.set_doubt(False)
        self.residual.colours = lambda pixels, _width, _level: residual_picture(pixels, self.limit)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for view in self.all():
            layout.addWidget(view, 1)
            view.activated.connect(self._activated)
            if view is not self.residual:
                regions.attach(view)
        self._arrange()
        self.noisy.set_active(True)

    def all(self) -> tuple[Viewport, ...]:
        return self.noisy, self.denoised, self.reference, self.residual, self.curtain

    def shown(self) -> list[Viewport]:
        """The viewports of the current mode, in reading order."""
        side = [self.noisy, self.denoised, *([self.reference] if self.with_reference else []), self.residual]
        return {"side": side, "difference": [self.residual]}.get(self.mode, [self.curtain])

    def set_mode(self, mode: str) -> None:
        """Another arrangement; flicker starts at once, by this very choice."""
        focused = any(view.hasFocus() for view in self.all())
        self.mode = mode
        self.curtain.flicker(mode == "flicker")
        self.curtain.set_mode("before" if mode == "flicker" else "curtain")
        self._arrange()
        if focused:
            self.shown()[0].setFocus()

    def hold(self, side: str) -> None:
        """Stop flickering and show “before” or “after”."""
        if self.mode != "flicker":
            self.set_mode("flicker")
        self.curtain.flicker(False)
        self.curtain.set_mode(side)

    def set_reference(self, on: bool) -> None:
        self.with_reference = on
        self._arrange()

    def set_doubt(self, on: bool) -> None:
        """Whether the uncertainty stands in place of the residual."""
        self.with_doubt = on
        self.residual.title = "Uncertainty" if on else "Residual"
        self.residual.subtitle = ("SD over eight views",) if on else ("noisy − denoised",)
        self.residual.bottom_left = ("orange: mirrored or turned, it differs",) if on else self.marks
        self.residual.set_image(None)

    def set_tool(self, tool: str) -> None:
        """What the left mouse button does: “window” or “point”."""
        for view in self.all():
            if view is not self.residual:
                view.tool = tool

    def _arrange(self) -> None:
        shown = self.shown()
        for view in self.all():
            view.setVisible(view in shown)
        if not any(view.active for view in shown):
            self._mark(shown[0])

    def _activated(self) -> None:
        view = self.sender()
        if isinstance(view, Viewport):
            self._mark(view)
            self.activated.emit()

    def _mark(self, active: Viewport) -> None:
        for view in self.all():
            view.set_active(view is active)

    # ---- content
    def open(self, series: Series, index: int) -> None:
        """A new series: nothing is shown before its first slice arrives."""
        spacing = series.geometry.spacing[1:]
        # Left and right only: the curtain and the corners need the top and the bottom.
        known = side_letters(series.geometry.orientation) if series.form == "dicom" else None
        letters = (known[0], known[1], "", "") if known else None
        self.marks = marks(series.inverted)
        self.set_doubt(self.with_doubt)
        for view in self.all():
            view.letters = letters
            view.set_image(None, spacing, "")
            if view is not self.residual:
                view.colours = inverted if series.inverted else grey
        self.noisy.subtitle = self.curtain.before_lines = (series.description,) if series.description else ()
        self.curtain.set_after(None)
        self.linked.open(series.slices, series.modality, index)

    def name_model(self, title: str, strength: int) -> None:
        """Which model, at which strength, stands under “Denoised”."""
        self.denoised.subtitle = self.curtain.after_lines = (f"{strength} % · {title}",)
        for view in (self.denoised, self.curtain):
            view.update()

    def show_slice(
        self,
        noisy: np.ndarray | None,
        out: np.ndarray | None,
        reference: np.ndarray | None,
        doubt: np.ndarray | None,
        limit: float,
        unit: str,
        waiting: str = "",
    ) -> None:
        """What is known of the current slice; what is missing stays dimmed until it arrives.

        limit: of the residual, or of the uncertainty where that is shown.
        """
        self.limit = limit
        self.residual.top_right = (f"{'0 …' if self.with_doubt else '±'} {number(limit)}{f' {unit}' if unit else ''}",)
        residual = noisy - out if noisy is not None and out is not None and noisy.shape == out.shape else None
        residual = doubt if self.with_doubt else residual
        for view, pixels in (
            (self.noisy, noisy),
            (self.denoised, out),
            (self.residual, residual),
            (self.reference, reference),
            (self.curtain, noisy),
        ):
            if pixels is not None:
                view.set_image(pixels)
            elif view.pixels is not None:
                view.set_busy()
            else:
                asking = view is self.residual and self.with_doubt
                view.message = "Denoising eight views …" if asking else waiting
                view.update()
        if out is not None:
            self.curtain.set_after(out)

    def show_figures(self, before: str, after: str) -> None:
        """The SD of the chosen region, at the bottom right."""
        self.noisy.bottom_right = (before,) if before else ()
        self.denoised.bottom_right = (after,) if after else ()
        for view in (self.noisy, self.denoised, self.reference):
            view.bottom_left = (window_words(view.link.width, view.link.level),)
            view.update()
