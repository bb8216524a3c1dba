"""Review's single keys. They work while a picture has the focus, never in fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut

if TYPE_CHECKING:
    from aegui.gui.pages.review import ReviewPage


def bind(page: ReviewPage) -> None:
    """Connect them. Any of them stops flickering, except F, which starts it too."""
    linked, bar, curtain = page.views.linked, page.bar, page.views.curtain
    keys: dict[str, Callable[[], object]] = {
        "S": lambda: page.set_mode("side"),
        "C": lambda: page.set_mode("curtain"),
        "F": page.toggle_flicker,
        "D": lambda: page.set_mode("difference"),
        "Space": lambda: page.hold("after" if curtain.mode == "before" else "before"),
        "B": lambda: page.hold("before"),
        "A": lambda: page.hold("after"),
        "Shift+Left": lambda: curtain.move_curtain(curtain.position - 0.02),
        "Shift+Right": lambda: curtain.move_curtain(curtain.position + 0.02),
        "[": lambda: bar.strength.setValue(bar.strength.value() - 5),
        "]": lambda: bar.strength.setValue(bar.strength.value() + 5),
        "N": lambda: page.go_to_flag(1),
        "P": lambda: page.go_to_flag(-1),
        "L": bar.link.toggle,
        "G": bar.tool.toggle,
        "U": bar.doubt.toggle,
        "M": page.measurements.toggle,
        "R": linked.reset,
    }

    def pressed(key: str) -> None:
        if key != "F":
            curtain.flicker(False)
        keys[key]()

    for key in keys:
        shortcut = QShortcut(QKeySequence(key), page.views)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(lambda key=key: pressed(key))
