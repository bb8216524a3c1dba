"""Pictures of one slice side by side, with one window, zoom and pan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QRect, QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame

from aegui.gui.widgets.view_link import ViewLink
from aegui.gui.widgets.viewport import Viewport, grey, inverted

GAP = 2
SMALLEST = 120


class Picture(NamedTuple):
    """words: under it, at the right. pixels: None: `message` says why."""

    title: str
    pixels: np.ndarray | None
    words: tuple[str, ...] = ()
    message: str = ""


class PictureGrid(QFrame):
    """As many columns as make the pictures largest."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "black")
        self.link = ViewLink(self)
        self.views: list[Viewport] = []
        self.setMinimumSize(2 * SMALLEST, SMALLEST)

    def show_pictures(
        self, pictures: Sequence[Picture], window: tuple[float, float] | None, upside_down: bool = False
    ) -> None:
        """window: (width, level), None keeps the present one. upside_down: low values are bright."""
        if window is not None:
            self.link.set_window(*window)
        while len(self.views) > len(pictures):
            old = self.views.pop()
            old.hide()
            old.deleteLater()
        while len(self.views) < len(pictures):
            view = Viewport("", self.link, self)
            view.setMinimumSize(40, 40)
            view.top_right, view.bottom_left = (), ()
            view.show()
            self.views.append(view)
        for view, picture in zip(self.views, pictures, strict=True):
            view.title = picture.title
            view.bottom_right = picture.words
            view.colours = inverted if upside_down else grey
            if view.pixels is not picture.pixels or view.message != picture.message:
                view.set_image(picture.pixels, message=picture.message)
            view.setAccessibleName(" ".join([picture.title, *picture.words]))
            view.update()
        self._place()

    def _place(self) -> None:
        count = len(self.views)
        if not count:
            return
        wide, high = self.width(), self.height()

        def side(columns: int) -> float:
            return min(wide / columns, high / math.ceil(count / columns))

        columns = max(range(1, count + 1), key=side)
        lines = math.ceil(count / columns)
        for number, view in enumerate(self.views):
            line, place = divmod(number, columns)
            left, right = (round(wide * at / columns) for at in (place, place + 1))
            top, bottom = (round(high * at / lines) for at in (line, line + 1))
            last = right if place + 1 == columns else right - GAP
            low = bottom if line + 1 == lines else bottom - GAP
            view.setGeometry(QRect(left, top, last - left, low - top))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def sizeHint(self) -> QSize:
        return QSize(720, 320)
