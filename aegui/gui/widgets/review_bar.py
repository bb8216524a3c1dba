"""Review's toolbar: mode, window/level, link, region tool, uncertainty, reset, strength, reference."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QFrame, QSlider

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, label, row, rule
from aegui.gui.widgets.painted import Segmented
from aegui.gui.widgets.view_link import ViewLink, window_words

MODES = ("side", "curtain", "flicker", "difference")
_LONG = ("Side by side", "Curtain", "Flicker", "Difference")
_SHORT = ("Side", "Curtain", "Flicker", "Diff.")
_ICONS = ("columns-3", "square-split-horizontal", "layers-2", "diff")
_KEYS = "SCFD"


class ReviewBar(QFrame):
    """Says what the user asks for; the page acts and calls the show_… methods."""

    mode_asked = Signal(str)
    preset_asked = Signal(int)
    link_asked = Signal(bool)
    tool_asked = Signal(bool)
    reset_asked = Signal()
    strength_asked = Signal(int)
    reference_asked = Signal(bool)
    doubt_asked = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "bar")
        self.setFixedHeight(48)
        self.modes = Segmented(_LONG, _ICONS, [f"{name} ({key})" for name, key in zip(_LONG, _KEYS, strict=True)])
        self.modes.changed.connect(lambda index: self.mode_asked.emit(MODES[index]))
        self.windows = QComboBox()
        self.windows.setFixedWidth(224)
        self.windows.setAccessibleName("Window and level")
        self.windows.activated.connect(self._window_chosen)
        self.link = button(kind="icon", icon="link-2", tip="Link window, zoom and pan (L)")
        self.tool = button(kind="icon", icon="circle-dashed", tip="Draw regions (G)")
        self.doubt = button(kind="icon", icon="layers-3", tip="Uncertainty, in place of the residual (U)")
        for toggle in (self.link, self.tool, self.doubt):
            toggle.setCheckable(True)
        self.link.setChecked(True)
        self.link.toggled.connect(self.link_asked)
        self.tool.toggled.connect(self.tool_asked)
        self.doubt.toggled.connect(self.doubt_asked)
        reset = button(kind="icon", icon="rotate-ccw", tip="Reset zoom and pan (R)", clicked=self.reset_asked.emit)
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(0, 100)
        self.strength.setValue(100)
        self.strength.setPageStep(5)
        self.strength.setToolTip("out = in + strength · (net − in), keys [ and ]")
        words = label("Strength", "sec", buddy=self.strength)
        self.strength.setAccessibleName("Strength")
        self.percent = label("100 %", "h3")
        self.percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.strength.valueChanged.connect(self._strength_moved)
        self.reference = QCheckBox("Reference")
        self.reference.toggled.connect(self.reference_asked)
        self.setLayout(
            row(
                self.modes,
                rule(vertical=True),
                self.windows,
                self.link,
                self.tool,
                self.doubt,
                reset,
                STRETCH,
                words,
                self.strength,
                self.percent,
                rule(vertical=True),
                self.reference,
                margins=(16, 0, 16, 0),
                gap=10,
            )
        )

    def show_mode(self, mode: str) -> None:
        self.modes.set_current(MODES.index(mode))

    def show_window(self, link: ViewLink) -> None:
        """List the presets; a window set by hand stands first."""
        self.windows.blockSignals(True)
        self.windows.clear()
        keys, current = [known.key for known in link.presets], window_words(link.width, link.level)
        if link.preset not in keys:
            self.windows.addItem(current, 0)
        for known in link.presets:
            auto = known.width is None and known.key == link.preset
            self.windows.addItem(f"{known.name}  {current}" if auto else known.words, known.key)
        row_ = self.windows.findData(link.preset if link.preset in keys else 0)
        self.windows.setCurrentIndex(max(0, row_))
        self.windows.blockSignals(False)

    def show_reference(self, possible: bool, reason: str, on: bool) -> None:
        """Whether there is a clean series to show."""
        self.reference.blockSignals(True)
        self.reference.setEnabled(possible)
        self.reference.setChecked(possible and on)
        self.reference.setToolTip(reason)
        self.reference.setAccessibleDescription(reason)
        self.reference.blockSignals(False)

    def show_link(self, linked: bool) -> None:
        theme.set_icon(self.link, "link-2" if linked else "unlink")

    def _window_chosen(self, index: int) -> None:
        key = self.windows.itemData(index)
        if key:
            self.preset_asked.emit(key)

    def _strength_moved(self, value: int) -> None:
        self.percent.setText(f"{value} %")
        self.strength_asked.emit(value)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._fit()

    def _fit(self) -> None:
        """Words get shorter, then go, as the text grows or the window shrinks; every icon says what it is."""
        narrow, iconic = self.width() < theme.scaled(1272), self.width() < theme.scaled(940)
        for index, words in enumerate(_SHORT if narrow else _LONG):
            self.modes.button(index).setText("" if iconic else f" {words}")
        self.strength.setFixedWidth(120 if narrow else 176)
        self.percent.setFixedWidth(theme.scaled(48))
