"""Plots in the design's looks: colour and dash by role, labels at the line ends, axes that line up."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QPen
from PySide6.QtWidgets import QMenu, QWidget

from aegui.gui import theme
from aegui.gui.widgets.knobs import format_number


class Style(NamedTuple):
    """A plot series: theme role, dash pattern (in pen widths), width."""

    role: str
    dash: tuple[float, ...] = ()
    width: float = 2


# Colour and dash belong together, so that neither carries the meaning alone.
TRAIN = Style("c_den")
VALIDATION = Style("c_pre", (5, 2.5))
PRETRAINED = Style("c_pre", (6, 3), 1.4)
INPUT = Style("c_noisy", (1, 2), 1.4)
CLASSICAL = Style("c_cls", (6, 2, 1.5, 2), 1.4)
LIMIT = Style("c_verm", (6, 3), 1.4)
THIN = Style("c_noisy", (), 1.2)
NOW = Style("text3", (2, 3), 1)
SEVERAL = (
    Style("c_den"),
    Style("c_pre", (6, 3)),
    Style("c_ref", (2, 2)),
    Style("c_cls", (6, 2, 1.5, 2)),
    Style("c_verm", (4, 2)),
    Style("c_alt", (8, 2)),
)
# A part of the model keeps its look on every page, whatever other parts stand beside it.
GROUPS = {"decoder": SEVERAL[0], "encoder": SEVERAL[1], "head": SEVERAL[2], "rest": SEVERAL[3]}

pg.setConfigOptions(antialias=True)


def pen(style: Style) -> QPen:
    """A cosmetic pen: Qt does not scale those with the screen, so the width is multiplied here."""
    app = QGuiApplication.instance()
    ratio = app.devicePixelRatio() if isinstance(app, QGuiApplication) else 1.0
    made: QPen = pg.mkPen(theme.colour(style.role), width=style.width * ratio)
    if style.dash:
        made.setDashPattern(list(style.dash))
    return made


class _Axis(pg.AxisItem):  # type: ignore[misc]
    """Ticks as people write them; on a log axis only whole decades."""

    def tickValues(self, low: float, high: float, size: float) -> Any:
        if not self.logMode:
            return super().tickValues(low, high, size)
        first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
        every = max(1, math.ceil((last - first + 1) / max(2, size / 28)))
        return [(every, list(range(first, last + 1, every)))] if last >= first else []

    def tickStrings(self, values: Any, scale: float, spacing: float) -> list[str]:
        if self.logMode:
            return [format_number(10.0**value) for value in values]
        digits = max(0, -math.floor(math.log10(spacing))) if spacing > 0 else 0
        if any(value and abs(value) < 1e-3 for value in values):
            return [format_number(float(f"{value:.3g}")) for value in values]
        return [f"{value:.{digits}f}".replace("-", "\u2212") for value in values]


class Line:
    """One series of a plot: its data, its style, and what is written at its end."""

    def __init__(self, plot: Plot, name: str, style: Style) -> None:
        self.name = name
        self.style = style
        self.item = pg.PlotDataItem([], [], connect="finite")
        self.item.setDownsampling(auto=True, method="peak")
        self.item.setClipToView(True)
        self.label: pg.TextItem | None = None
        self._plot = plot
        plot.add(self.item)
        self.dress()

    @property
    def data(self) -> tuple[Any, Any]:
        """x and y as given, whatever the axis shows."""
        x, y = self.item.getOriginalDataset()
        return (np.asarray([]), np.asarray([])) if x is None else (x, y)

    def set(self, x: Any, y: Any) -> None:
        values = np.asarray(y, dtype=float)
        if self._plot.log:
            # A zero has no place on a log axis.
            values = np.where(values > 0, values, np.nan)
        self.item.setData(np.asarray(x, dtype=float), values)
        if self.label is not None and values.size and np.isfinite(values[-1]):
            self.label.setPos(float(x[-1]), math.log10(values[-1]) if self._plot.log else float(values[-1]))
            # Near the right edge there is no room behind the line's end.
            self.label.setAnchor((1.0, 1.0) if x[-1] > 0.8 * self._plot.span else (0.0, 0.5))
            self.label.setVisible(True)

    def write_end(self, text: str) -> None:
        """Name the line at its end."""
        self.label = self._plot.text(text, self.style.role, (0.0, 0.5))
        self.label.setVisible(False)

    def dress(self) -> None:
        self.item.setPen(pen(self.style))
        if self.label is not None:
            self.label.setColor(theme.colour(self.style.role))


class Level:
    """A horizontal line with its words above the right end: a baseline or a limit."""

    def __init__(self, plot: Plot, value: float, text: str, style: Style) -> None:
        self.value = value
        self.style = style
        self._plot = plot
        self.item = pg.InfiniteLine(value, angle=0, movable=False)
        self.label = plot.text(text, style.role, (1.0, 1.0))
        plot.add(self.item)
        self.dress()

    def place(self, right: float) -> None:
        self.label.setPos(right, self.value)

    def dress(self) -> None:
        self.item.setPen(pen(self.style))
        self.label.setColor(theme.colour(self.style.role))


class Plot(pg.PlotWidget):  # type: ignore[misc]
    """One panel. left: width of the left axis, the same for plots that stand above each other."""

    def __init__(self, name: str, *, log: bool = False, left: int = 44, parent: QWidget | None = None) -> None:
        self.log = log
        super().__init__(parent, axisItems={"left": _Axis("left"), "bottom": _Axis("bottom")})
        self.name = name
        self.lines: dict[str, Line] = {}
        self.levels: list[Level] = []
        self._texts: list[tuple[pg.TextItem, str]] = []
        self._left = left
        self._range: tuple[float, float] = (0.0, 1.0)
        item = self.getPlotItem()
        item.hideButtons()
        item.setMenuEnabled(False)
        item.setContentsMargins(0, 4, 8, 0)
        item.setLogMode(x=False, y=log)
        self.setMouseEnabled(x=False, y=False)
        item.getViewBox().setDefaultPadding(0.0)
        self.setFrameShape(self.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        self.setMinimumHeight(40)
        theme.changed().connect(self.dress)
        self.dress()

    @property
    def span(self) -> float:
        """The right end of the x range."""
        return self._range[1]

    def add(self, item: Any) -> None:
        self.getPlotItem().addItem(item, ignoreBounds=isinstance(item, pg.TextItem))

    def line(self, name: str, style: Style, end: str = "") -> Line:
        """A series by name, made when it is first asked for."""
        if name not in self.lines:
            self.lines[name] = Line(self, name, style)
            if end:
                self.lines[name].write_end(end)
        return self.lines[name]

    def level(self, value: float, text: str, style: Style) -> Level:
        """A horizontal line across the whole plot."""
        made = Level(self, value, text, style)
        made.place(self._range[1])
        self.levels.append(made)
        return made

    def text(self, text: str, role: str, anchor: tuple[float, float]) -> pg.TextItem:
        """Words at a place of the plot."""
        made = pg.TextItem(text, color=theme.colour(role), anchor=anchor)
        made.setFont(theme.font(11, 500))
        made.textItem.document().setDocumentMargin(2)
        self._texts.append((made, role))
        self.add(made)
        return made

    def set_log(self, on: bool) -> None:
        """Whether the left axis counts in decades."""
        self.log = on
        self.getPlotItem().setLogMode(x=False, y=on)

    def write(
        self, text: str, role: str, x: float, y: float, anchor: tuple[float, float] = (0.0, 1.0), ground: bool = False
    ) -> None:
        """Words at a value. ground: they cover the lines behind them."""
        made = self.text(text, role, anchor)
        made.setPos(x, math.log10(y) if self.log else y)
        if ground:
            made.fill = pg.mkBrush(theme.colour("panel"))

    def set_x(self, low: float, high: float) -> None:
        """The whole planned range, from the start."""
        self._range = (low, high)
        self.getPlotItem().setXRange(low, high, padding=0)
        for level in self.levels:
            level.place(high)

    def clear_all(self) -> None:
        """Remove every series and level."""
        self.getPlotItem().clear()
        self.lines.clear()
        self.levels.clear()
        self._texts.clear()

    def fit_y(self, least: float = 0.0) -> None:
        """Show all finite values with a margin; least: the smallest span."""
        values = [np.asarray(line.data[1], dtype=float) for line in self.lines.values()]
        flat = np.concatenate([*values, [level.value for level in self.levels]]) if values else np.asarray([])
        flat = flat[np.isfinite(flat)]
        if self.log:
            flat = np.log10(flat[flat > 0])
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        span = max(high - low, least, 1e-9)
        middle = (low + high) / 2
        low, high = min(low, middle - span / 2), max(high, middle + span / 2)
        # Room for words above the highest line and a little air below the lowest, whatever the height.
        height = max(60.0, self.getPlotItem().getViewBox().height())
        per_pixel = span / (height - theme.scaled(18) - 8)
        low, high = low - 8 * per_pixel, high + theme.scaled(18) * per_pixel
        self.getPlotItem().setYRange(low, high, padding=0)
        self._spread(low, high)

    def _spread(self, low: float, high: float) -> None:
        """Words of levels that lie close together go below the lower one, then further left."""
        per_pixel = (high - low) / max(1.0, self.getPlotItem().getViewBox().height())
        room = theme.scaled(15) * per_pixel
        ordered = sorted(self.levels, key=lambda level: level.value, reverse=True)
        above = high
        for place, level in enumerate(ordered):
            below = ordered[place + 1].value if place + 1 < len(ordered) else low
            left = 0.0
            if above - level.value >= room:
                anchor = 1.0
            elif level.value - below >= room:
                anchor = 0.0
            else:
                # No room on either side: beside the words of the level above.
                anchor, left = 1.0, 0.45 * (place % 2)
            level.label.setAnchor((1.0, anchor))
            level.place(self._range[1] * (1 - left))
            above = level.value if anchor else level.value - room

    def describe(self) -> None:
        """Latest values for screen readers."""
        parts = []
        for name, line in self.lines.items():
            y = line.data[1]
            if len(y) and np.isfinite(y[-1]):
                parts.append(f"{name} {y[-1]:.4g}")
        self.setAccessibleDescription(", ".join(parts))

    def values(self) -> str:
        """All series as tab-separated text."""
        rows = ["series\tx\ty"]
        for name, line in self.lines.items():
            x, y = line.data
            rows += [
                f"{name}\t{a!r}\t{b!r}" for a, b in zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True)
            ]
        return "\n".join(rows)

    def dress(self) -> None:
        """Colours and fonts of the current theme."""
        if self.plotItem is None:
            return  # closed: pyqtgraph takes its items apart then
        self.setBackground(theme.colour("panel"))
        item = self.getPlotItem()
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setPen(pg.mkPen(theme.colour("line2"), width=1))
            axis.setTextPen(theme.colour("text3"))
            axis.setTickFont(theme.font(11))
            axis.setStyle(tickLength=0, tickTextOffset=6, autoExpandTextSpace=False, maxTickLevel=0)
        item.getAxis("left").setWidth(theme.scaled(self._left))
        item.getAxis("bottom").setHeight(theme.scaled(22))
        item.showGrid(x=False, y=True, alpha=theme.number("grid") / 255)
        for line in self.lines.values():
            line.dress()
        for level in self.levels:
            level.dress()
        for text, role in self._texts:
            text.setColor(theme.colour(role))
            text.setFont(theme.font(11, 500))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        menu = QMenu(self)
        menu.addAction("Copy values").triggered.connect(lambda: QGuiApplication.clipboard().setText(self.values()))
        menu.exec(event.globalPos())

    def wheelEvent(self, event: Any) -> None:
        # The plots do not zoom; the page under them scrolls.
        event.ignore()
