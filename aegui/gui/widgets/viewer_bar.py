"""Above the viewer of Scans: tools, window presets, one or three planes."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QComboBox, QFrame, QPushButton

from aegui.gui.widgets.basic import STRETCH, button, chip, holder, row, rule
from aegui.gui.widgets.painted import Segmented
from aegui.gui.widgets.states import clear
from aegui.gui.widgets.view_link import Preset

TOOLS = (
    ("window", "contrast", "Window and level (left drag)"),
    ("pan", "move", "Move the picture (left drag)"),
    ("point", "pipette", "Probe: click sets the crosshair"),
    ("ruler", "ruler", "Measure a distance"),
)
CHIPS = 5  # presets with a chip; the menu has them all


class ViewerBar(QFrame):
    """Says what the user asks for: a tool or preset by its key, three planes or one, the whole picture."""

    tool_asked = Signal(str)
    preset_asked = Signal(int)
    planes_asked = Signal(bool)
    reset_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", "bar")
        self.setFixedHeight(48)
        self._presets: Sequence[Preset] = ()
        self.tools = QButtonGroup(self)
        tools = row(gap=2)
        for index, (_key, icon, tip) in enumerate(TOOLS):
            made = button(icon=icon, kind="icon", tip=tip)
            made.setCheckable(True)
            self.tools.addButton(made, index)
            tools.addWidget(made)
        self.tools.button(0).setChecked(True)
        tools.addWidget(button(icon="rotate-ccw", kind="icon", tip="Whole picture (R)", clicked=self.reset_asked.emit))
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        self._chip_row = row(gap=4)
        self._chips = holder(self._chip_row)
        self._chips.setMinimumWidth(1)  # they give way to the menu, and must not keep the window wide
        self.menu = QComboBox()
        self.menu.setAccessibleName("Window preset")
        self.menu.setPlaceholderText("Own window")
        self.menu.setMinimumWidth(208)
        self.layouts = Segmented(["", ""], ["layout-grid", "square"], ["Three planes", "One plane"])
        parts = (tools, rule(vertical=True), self._chips, self.menu, STRETCH, self.layouts)
        self.setLayout(row(*parts, margins=(12, 0, 12, 0), gap=10))
        self.tools.idClicked.connect(self._choose_tool)
        self._group.idClicked.connect(self.preset_asked)
        self.menu.activated.connect(self._choose_preset)
        self.layouts.changed.connect(self._choose_planes)

    def show_presets(self, presets: Sequence[Preset], current: int) -> None:
        """Offer these."""
        self._presets = presets
        for old in self._group.buttons():
            self._group.removeButton(old)
        clear(self._chip_row)
        self.menu.clear()
        for preset in presets:
            if preset.key <= CHIPS:
                made = chip(preset.short, size="s", tip=preset.words)
                made.setAccessibleName(f"Window preset {preset.words}")
                self._group.addButton(made, preset.key)
                self._chip_row.addWidget(made)
            self.menu.addItem(preset.words)
        self.mark_preset(current)

    def mark_preset(self, current: int) -> None:
        """Which one is on; any other key: a window of the user's own."""
        for made in self._group.buttons():
            made.setChecked(self._group.id(made) == current)
        keys = [preset.key for preset in self._presets]
        self.menu.setCurrentIndex(keys.index(current) if current in keys else -1)

    def preset_button(self, key: int) -> QPushButton | None:
        """The chip of a preset."""
        found = self._group.button(key)
        return found if isinstance(found, QPushButton) else None

    def show_planes(self, three: bool, possible: bool, reason: str) -> None:
        """reason: why three planes are not possible."""
        self.layouts.button(0).setEnabled(possible)
        self.layouts.button(0).setToolTip("Three planes" if possible else reason)
        self.layouts.set_current(0 if three else 1)

    def set_narrow(self, narrow: bool) -> None:
        """The menu instead of the chips."""
        self._chips.setVisible(not narrow)
        self.menu.setVisible(narrow)

    @Slot(int)
    def _choose_tool(self, index: int) -> None:
        self.tool_asked.emit(TOOLS[index][0])

    @Slot(int)
    def _choose_preset(self, index: int) -> None:
        self.preset_asked.emit(self._presets[index].key)

    @Slot(int)
    def _choose_planes(self, index: int) -> None:
        self.planes_asked.emit(index == 0)
