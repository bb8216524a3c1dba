"""What linked viewports share: slice, window/level, zoom, pan; and the window presets."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, QPointF, Signal

MIN_ZOOM, MAX_ZOOM = 0.2, 32.0


_SHORT = {"Abdomen": "Abd", "Mediastinum": "Med"}


@dataclass(frozen=True)
class Preset:
    """A named window. width None: computed from the pixels."""

    key: int
    name: str
    width: float | None = None
    level: float | None = None

    @property
    def short(self) -> str:
        """The chip's text."""
        return f"{_SHORT.get(self.name, self.name)}  {self.key}"

    @property
    def words(self) -> str:
        """The menu's text."""
        if self.width is None or self.level is None:
            return self.name
        return f"{self.name}  {window_words(self.width, self.level)}"


AUTO = Preset(1, "Auto")
CT_PRESETS = (
    AUTO,
    Preset(2, "Lung", 1500, -600),
    Preset(3, "Bone", 1800, 400),
    Preset(4, "Brain", 80, 40),
    Preset(5, "Abdomen", 400, 50),
    Preset(6, "Mediastinum", 400, 40),
)


def number(value: float) -> str:
    """A number for overlays: true minus, decimals only where they matter."""
    digits = 0 if abs(value) >= 100 or value == round(value) else 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}".replace("-", "−")


def window_words(width: float, level: float) -> str:
    """“W 1500  L −600”."""
    return f"W {number(width)}  L {number(level)}"


class ViewLink(QObject):
    """Shared by all viewports that scroll, zoom and pan together. pan: fractions of the picture."""

    changed = Signal()  # zoom or pan
    window_changed = Signal()
    slice_changed = Signal(int)
    auto_wanted = Signal()  # preset Auto: whoever holds the pixels calls set_window

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.slice = 0
        self.slices = 1
        self.width, self.level = 400.0, 40.0
        self.zoom = 1.0
        self.pan = QPointF(0, 0)
        self.presets: tuple[Preset, ...] = (AUTO,)
        self.preset = 0  # key of the preset shown now, 0: set by hand

    def open(self, slices: int, modality: str) -> None:
        """A new series: its presets, its middle slice, the whole picture."""
        self.slices = max(1, slices)
        self.presets = CT_PRESETS if modality == "CT" else (AUTO,)
        self.reset()
        self.slice = -1
        self.set_slice(self.slices // 2)

    def set_slice(self, index: int) -> None:
        """Show another slice, kept within the series."""
        index = max(0, min(self.slices - 1, index))
        if index != self.slice:
            self.slice = index
            self.slice_changed.emit(index)

    def set_window(self, width: float, level: float, preset: int = 0) -> None:
        """Show other grey levels."""
        width = max(width, 1e-6)
        if (width, level, preset) != (self.width, self.level, self.preset):
            self.width, self.level, self.preset = width, level, preset
            self.window_changed.emit()

    def apply_preset(self, key: int) -> bool:
        """1 … 9; False if there is none."""
        for preset in self.presets:
            if preset.key == key:
                if preset.width is None or preset.level is None:
                    self.preset = key
                    self.auto_wanted.emit()
                else:
                    self.set_window(preset.width, preset.level, key)
                return True
        return False

    def set_zoom(self, zoom: float, pan: QPointF | None = None) -> None:
        """zoom 1 fits the picture into the viewport."""
        self.zoom = max(MIN_ZOOM, min(MAX_ZOOM, zoom))
        if pan is not None:
            self.pan = pan
        self.changed.emit()

    def pan_by(self, x: float, y: float) -> None:
        """Move the picture, in fractions of its size."""
        self.pan = QPointF(self.pan.x() + x, self.pan.y() + y)
        self.changed.emit()

    def reset(self) -> None:
        """The whole picture, centred."""
        self.zoom, self.pan = 1.0, QPointF(0, 0)
        self.changed.emit()
