"""Circular regions on Review's viewports: drawing them, and making or moving one with the mouse."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen

from aegui.gui import theme
from aegui.gui.widgets import overlay
from aegui.gui.widgets.viewport import Viewport
from aegui.measure.regions import Circle

# On images the inks are the same in both themes.
INKS = ("#F0C24A", "#6CD0F7", "#F29BC4", "#7FDDB4", "#C9A8F5", "#F4A582")
SMALLEST = 3.0  # px: a click without a drag makes a region of the usual size


@dataclass(frozen=True)
class Region:
    """A circle with a name and a number that also picks its ink."""

    number: int
    name: str
    circle: Circle

    @property
    def ink(self) -> str:
        return INKS[(self.number - 1) % len(INKS)]


class Regions(QObject):
    """The regions of one series. edited: (old, new) once a drag ends, for undo. changed: at every move."""

    changed = Signal()
    edited = Signal(tuple, tuple)
    drawn = Signal()  # a new region was drawn

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.items: tuple[Region, ...] = ()
        self.selected = -1
        self._before: tuple[Region, ...] = ()
        self._drag: tuple[str, int, float, float] | None = None  # what, which, offset

    def set_items(self, items: tuple[Region, ...], selected: int | None = None) -> None:
        """Take over a list, silently towards undo."""
        self.items = items
        wanted = self.selected if selected is None else selected
        self.selected = max(-1, min(len(items) - 1, wanted if wanted >= 0 else 0))
        self.changed.emit()

    def change(self, items: tuple[Region, ...], selected: int | None = None) -> None:
        """Take over a list that the user made."""
        old = self.items
        self.set_items(items, selected)
        self.edited.emit(old, items)

    def select(self, row: int) -> None:
        if row != self.selected and -1 <= row < len(self.items):
            self.selected = row
            self.changed.emit()

    def rename(self, row: int, name: str) -> None:
        name = name.strip()
        if name and name != self.items[row].name:
            self.change(tuple(replace(r, name=name) if i == row else r for i, r in enumerate(self.items)))

    def remove(self, row: int) -> None:
        if 0 <= row < len(self.items):
            self.change(tuple(r for i, r in enumerate(self.items) if i != row), max(0, row - 1))

    def next_number(self) -> int:
        """The lowest number that is free."""
        used = {region.number for region in self.items}
        return next(number for number in range(1, len(used) + 2) if number not in used)

    # ---- mouse, in image coordinates
    def attach(self, view: Viewport) -> None:
        """Draw on a viewport and listen to its region tool."""
        view.layers.append(self.paint)
        view.pressed.connect(lambda x, y: self.press(x, y, view))
        view.dragged.connect(lambda x, y: self.drag(x, y, view))
        view.released.connect(lambda _x, _y: self.release(view))
        self.changed.connect(view.update)

    def _distance(self, region: Region, x: float, y: float, view: Viewport) -> float:
        dy, dx = view.spacing
        return math.hypot((x - region.circle.column) * dx, (y - region.circle.row) * dy)

    def press(self, x: float, y: float, view: Viewport) -> None:
        """Grab the region under the mouse, or begin a new one there."""
        self._before = self.items
        for row, region in enumerate(self.items):
            if self._distance(region, x, y, view) <= region.circle.radius:
                self.selected = row
                self._drag = ("move", row, x - region.circle.column, y - region.circle.row)
                self.changed.emit()
                return
        number = self.next_number()
        region = Region(number, f"Region {number}", Circle(y, x, 0.0))
        self._drag = ("draw", len(self.items), x, y)
        self.set_items((*self.items, region), len(self.items))

    def drag(self, x: float, y: float, view: Viewport) -> None:
        """Move or size the region in hand."""
        if self._drag is None:
            return
        what, row, dx, dy = self._drag
        region = self.items[row]
        if what == "move":
            circle = Circle(y - dy, x - dx, region.circle.radius)
        else:
            circle = replace(region.circle, radius=self._distance(region, x, y, view))
        items = tuple(replace(region, circle=circle) if i == row else r for i, r in enumerate(self.items))
        self.set_items(items, row)

    def release(self, view: Viewport) -> None:
        """The region stays as it is now; a mere click makes one of the usual size."""
        if self._drag is None:
            return
        what, row, _, _ = self._drag
        self._drag = None
        region = self.items[row]
        if what == "draw" and region.circle.radius < SMALLEST * min(view.spacing) and view.pixels is not None:
            rows, columns = view.pixels.shape[:2]
            usual = usual_radius((rows, columns), view.spacing)
            circle = replace(region.circle, radius=usual)
            self.set_items((*self.items[:row], replace(region, circle=circle), *self.items[row + 1 :]), row)
        if self.items != self._before:
            self.edited.emit(self._before, self.items)
        if what == "draw":
            self.drawn.emit()

    # ---- painting
    def paint(self, painter: QPainter, view: Viewport) -> None:
        """A viewport's layer."""
        if view.pixels is None:
            return
        scale = view.target().width() / (view.pixels.shape[1] * view.spacing[1])
        for row, region in enumerate(self.items):
            centre = view.to_widget(region.circle.column, region.circle.row)
            radius = region.circle.radius * scale
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(0, 0, 0, 180), 3.6 if row == self.selected else 3.2))
            painter.drawEllipse(centre, radius, radius)
            painter.setPen(QPen(QColor(region.ink), 2.2 if row == self.selected else 1.6))
            painter.drawEllipse(centre, radius, radius)
            painter.setFont(theme.font(11, 600))
            place = QRectF(QPointF(centre.x() + radius * 0.71 + 2, centre.y() - radius * 0.71 - 14), view.size())
            place.setHeight(16)
            overlay.halo_text(painter, place, Qt.AlignmentFlag.AlignLeft, str(region.number), region.ink)


def usual_radius(shape: tuple[int, int], spacing: tuple[float, float]) -> float:
    """Of a region made by one click, mm."""
    return 0.04 * min(shape[0] * spacing[0], shape[1] * spacing[1])
