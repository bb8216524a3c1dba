"""The viewer of Scans: its bar, one or three planes, and a probe strip. Slices come from a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from aegui import imaging
from aegui.errors import UserError
from aegui.gui import planes, slices
from aegui.gui.timers import once
from aegui.gui.widgets import overlay
from aegui.gui.widgets.basic import ElidedLabel, column, frame, holder, icon_label, label, row
from aegui.gui.widgets.tools import Ruler, probe_words
from aegui.gui.widgets.view_link import AUTO, ViewLink
from aegui.gui.widgets.viewer_bar import ViewerBar
from aegui.gui.widgets.viewport import Cross, Viewport, grey, inverted
from aegui.imaging.series import Series

NARROW = 700  # px: chips become a menu below
REFRESH = 150  # ms between redraws of the other planes while the stack fills


class ScanViewer(QWidget):
    """Shows one series. failed: a UserError or a bug while reading."""

    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.series: Series | None = None
        self.link = ViewLink(self)
        self.side_links = (ViewLink(self), ViewLink(self))
        self.main = Viewport("Axial", self.link)
        self.main.scale_bar = True
        self.sides = tuple(Viewport("", link) for link in self.side_links)
        self.ruler = Ruler(self.main)
        self._cuts: tuple[planes.Plane, ...] = ()
        self._centre = [0, 0, 0]  # slice, row, column
        self._stack: np.ndarray | None = None
        self._lane: slices.SliceLane | None = None
        self._tool = "window"
        self._three = True
        self._windowed = False
        self._syncing = False
        self._late = once(self, REFRESH, self._show_sides)
        # The old image stays; it is dimmed only when the new one takes long
        self._dim = once(self, 300, self.main.set_busy)
        self._build()
        self._connect()

    # ---- building
    def _build(self) -> None:
        self.bar = ViewerBar()
        self.tools, self.preset_button = self.bar.tools, self.bar.preset_button
        self._side = holder(column(*((view, 1) for view in self.sides), gap=2))
        self._side.setMinimumWidth(120)
        views = frame(row((self.main, 68), (self._side, 32), gap=2), panel="black")
        self.place = label("", "cap")
        self.value = label("", "h3")
        self.around = ElidedLabel("", "ter")
        self.around.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Slice")
        self.slider.setFixedWidth(176)
        self.count = label("", "cap1")
        self.count.setMinimumWidth(56)
        self.count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        strip = frame(
            row(
                icon_label("pipette", 14, "text3"),
                self.place,
                self.value,
                (self.around, 1),
                label("Slice", "ter", buddy=self.slider),
                self.slider,
                self.count,
                margins=(16, 0, 16, 0),
                gap=12,
            ),
            panel="foot",
        )
        strip.setFixedHeight(40)
        self.setLayout(column(self.bar, (views, 1), strip, gap=0))
        self.bar.show_presets(self.link.presets, self.link.preset)

    def _connect(self) -> None:
        self.bar.tool_asked.connect(self._choose_tool)
        self.bar.preset_asked.connect(self._choose_preset)
        self.bar.planes_asked.connect(self._choose_planes)
        self.bar.reset_asked.connect(self.reset)
        self.slider.valueChanged.connect(self.link.set_slice)
        self.link.slice_changed.connect(self._on_slice)
        self.link.window_changed.connect(self._on_window)
        self.link.auto_wanted.connect(self._auto)
        for link in self.side_links:
            link.window_changed.connect(self._on_side_window)
            link.auto_wanted.connect(self._auto)
        for view in (self.main, *self.sides):
            view.activated.connect(self._activated)
            view.hovered.connect(self._hovered)
            view.pressed.connect(self._pressed)
            view.dragged.connect(self._pressed)
        for index, view in enumerate(self.sides):
            view.slice_wanted.connect(lambda at, n=index: self._side_slice(n, at))
        self.main.set_active(True)

    # ---- showing a series
    def show_series(self, series: Series | None) -> None:
        """Open another series; the old picture stays until the new one is there."""
        self.release()
        self.series = series
        self._cuts = ()
        self._stack = None
        self._windowed = False
        self.ruler.clear()
        if series is None or series.treat == "list":
            message = "Choose a series on the left." if series is None else series.reason
            for view in (self.main, *self.sides):
                view.set_image(None, message=message if view is self.main else "")
            self._arrange()
            return
        main = planes.main_plane(series)
        others = planes.other_planes(series) if planes.has_planes(series) else ()
        self._cuts = (main, *others)
        for view, cut in zip((self.main, *self.sides), self._cuts, strict=False):
            view.title, view.letters, view.spacing = cut.name, cut.letters, cut.spacing
            view.colours = inverted if series.inverted else grey
        self.main.subtitle = (series.description,) if series.description else ()
        self.ruler.unit = series.geometry.length
        self.main.scale_bar = series.geometry.measured
        self._centre = [series.slices // 2, series.rows // 2, series.columns // 2]
        if others:
            self._stack = np.full((series.slices, series.rows, series.columns), np.nan, np.float32)
        self._open_lane(series)
        self._syncing = True
        self.slider.setRange(0, max(0, series.slices - 1))
        self.slider.setEnabled(series.slices > 1)
        self._syncing = False
        self.link.open(series.slices, series.modality)
        for link in self.side_links:
            link.open(series.slices, series.modality)
        self.bar.show_presets(self.link.presets, self.link.preset)
        self._arrange()
        self._on_slice(self.link.slice)

    def _open_lane(self, series: Series) -> None:
        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            source = imaging.open_series(series)
            try:
                yield source.read
            finally:
                source.close()

        self._lane = slices.start(slices.SliceLane(opened, series.slices, keep=12))
        self._lane.ready.connect(self._arrived)
        self._lane.failed.connect(self._broken)
        if self._stack is not None:
            self._lane.sweep()

    def release(self) -> None:
        """End the reading thread."""
        self._dim.stop()
        self._late.stop()
        if self._lane is not None:
            self._lane.ready.disconnect(self._arrived)
            self._lane.failed.disconnect(self._broken)
            self._lane.end()
            self._lane = None

    def _have(self, index: int) -> np.ndarray | None:
        if self._stack is not None and not np.isnan(self._stack[index, 0, 0]):
            return np.asarray(self._stack[index])
        found = self._lane.value(index) if self._lane is not None else None
        return found if isinstance(found, np.ndarray) else None

    @Slot(int, object)
    def _arrived(self, index: int, pixels: np.ndarray) -> None:
        if self.series is None or self.sender() is not self._lane:
            return
        if self._stack is not None and pixels.shape == self._stack.shape[1:]:
            # NaN marks slices that are not here yet.
            self._stack[index] = np.nan_to_num(pixels)
            if not self._late.isActive():
                self._late.start()
        if index == self.link.slice:
            self._show_main(pixels)

    @Slot(int, object)
    def _broken(self, index: int, error: Exception) -> None:
        if self.series is None or self.sender() is not self._lane:
            return
        if not isinstance(error, UserError):
            self.failed.emit(error)
        elif index in (-1, self.link.slice):
            self._dim.stop()
            self.main.set_image(None, message=str(error))

    def _show_main(self, pixels: np.ndarray) -> None:
        self._dim.stop()
        if not self._windowed:
            self._windowed = True
            self.main.set_image(pixels)
            self._auto()
        else:
            self.main.set_image(pixels)
        self._place_cross()

    @Slot()
    def _show_sides(self) -> None:
        if self._stack is None or not self._three:
            return
        for view, cut in zip(self.sides, self._cuts[1:], strict=True):
            index = self._centre[cut.axis]
            view.own_axis = (index, cut.count)
            view.top_right = (f"{index + 1} / {cut.count}",)
            view.bottom_left = ()
            view.set_image(cut.cut(self._stack, index))
        self._place_cross()

    def _place_cross(self) -> None:
        on = self._stack is not None and self._three
        z, y, x = self._centre
        self.main.cross = Cross(x, y, overlay.AMBER, overlay.GREEN) if on else None
        if on and self.series is not None:
            for view, cut, at, ink in zip(
                self.sides, self._cuts[1:], (x, y), (overlay.AMBER, overlay.GREEN), strict=True
            ):
                view.cross = Cross(at, cut.vertical(z, self.series.slices), ink, overlay.BLUE)
        for view in (self.main, *self.sides):
            view.update()

    # ---- answering
    @Slot(int)
    def _on_slice(self, index: int) -> None:
        if self.series is None or self._lane is None:
            return
        self._centre[0] = index
        self.slider.setValue(index)
        self.count.setText(f"{index + 1} / {self.series.slices}")
        self.main.top_right = self._position_words(index)
        thickness, kernel = (self.series.acquisition.get(key) for key in ("thickness", "kernel"))
        words = (f"{thickness:.3g} mm" if thickness else "", str(kernel or "").replace("\\", " "))
        self.main.bottom_right = ("  ".join(part for part in words if part),)
        pixels = self._have(index)
        if pixels is not None:
            self._show_main(pixels)
        else:
            self._dim.start()
            self._lane.want(index)
        self._place_cross()

    def _position_words(self, index: int) -> tuple[str, ...]:
        assert self.series is not None
        words = [f"Slice {index + 1} / {self.series.slices}"]
        positions = self.series.geometry.positions
        if index < len(positions) and self._cuts:
            axis = {"Sagittal": 0, "Coronal": 1}.get(self._cuts[0].name, 2)
            words.append(f"{'xyz'[axis]} {positions[index][axis]:.1f} mm".replace("-", "−"))
        return tuple(words)

    def _side_slice(self, side: int, index: int) -> None:
        self._centre[self._cuts[1 + side].axis] = index
        self._show_sides()

    @Slot()
    def _auto(self) -> None:
        pixels = self.main.pixels
        if pixels is not None and self.series is not None:
            width, level = imaging.auto_window(pixels, modality=self.series.modality)
            self.link.set_window(width, level, AUTO.key)

    @Slot()
    def _on_window(self) -> None:
        self._share_window(self.link)

    @Slot()
    def _on_side_window(self) -> None:
        link = self.sender()
        if isinstance(link, ViewLink):
            self._share_window(link)

    def _share_window(self, source: ViewLink) -> None:
        if self._syncing:
            return
        self._syncing = True
        for link in (self.link, *self.side_links):
            link.set_window(source.width, source.level, source.preset)
        self._syncing = False
        self.bar.mark_preset(self.link.preset)

    @Slot(int)
    def _choose_preset(self, key: int) -> None:
        self.link.apply_preset(key)
        self.bar.mark_preset(self.link.preset)  # also where nothing changed: the click has toggled the chip

    @Slot(str)
    def _choose_tool(self, tool: str) -> None:
        self._tool = tool
        self.ruler.set_on(tool == "ruler")
        for view in (self.main, *self.sides):
            view.tool = "point" if tool in ("point", "ruler") else tool

    @Slot(bool)
    def _choose_planes(self, three: bool) -> None:
        self._three = three
        self._arrange()
        self._show_sides()

    @Slot()
    def reset(self) -> None:
        """The whole picture, in every plane."""
        self.ruler.clear()
        for link in (self.link, *self.side_links):
            link.reset()

    def _arrange(self) -> None:
        many = len(self._cuts) > 1
        three = many and self._three
        self._side.setVisible(three)
        reason = planes.why_not(self.series) if self.series is not None and self.series.treat != "list" else ""
        self.bar.show_planes(three, many, reason)
        self._fit()

    @Slot()
    def _activated(self) -> None:
        for view in (self.main, *self.sides):
            view.set_active(view is self.sender())

    @Slot(float, float)
    def _pressed(self, x: float, y: float) -> None:
        view = self.sender()
        if self._tool != "point" or self.series is None or not isinstance(view, Viewport):
            return
        at = self._voxel(view, x, y)
        if at is None:
            return
        self._centre = list(at)
        self.link.set_slice(at[0])
        self._show_sides()
        self._place_cross()
        self._probe(view, x, y)

    def _voxel(self, view: Viewport, x: float, y: float) -> tuple[int, int, int] | None:
        """(slice, row, column) under a point of a view."""
        if view.pixels is None or self.series is None:
            return None
        across, down = round(x), round(y)
        if not (0 <= down < view.pixels.shape[0] and 0 <= across < view.pixels.shape[1]):
            return None
        if view is self.main:
            return self.link.slice, down, across
        cut = self._cuts[1 + self.sides.index(view)]
        z = cut.vertical(down, self.series.slices)
        return (z, self._centre[1], across) if cut.axis == 1 else (z, across, self._centre[2])

    @Slot(float, float)
    def _hovered(self, x: float, y: float) -> None:
        view = self.sender()
        if isinstance(view, Viewport):
            self._probe(view, x, y)

    def _probe(self, view: Viewport, x: float, y: float) -> None:
        at = self._voxel(view, x, y)
        words = None
        if at is not None and view.pixels is not None and self.series is not None:
            words = probe_words(view.pixels, round(x), round(y), self.series.unit)
        if at is None or words is None:
            self.place.setText("")
            self.value.setText("")
            self.around.setText("Move over the image")
            return
        self.place.setText(f"x {at[2]}  y {at[1]}  z {at[0] + 1}")
        self.value.setText(words[0])
        self.around.setText(words[1])

    def _fit(self) -> None:
        narrow = self.width() < NARROW and len(self.link.presets) > 1
        self.bar.set_narrow(narrow)
        self.slider.setFixedWidth(96 if narrow else 176)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit()
        super().resizeEvent(event)
