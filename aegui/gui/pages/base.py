"""What every page offers to the shell, which draws the head, the rail and the status bar around it."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from aegui.gui.session import Session


class RailState(NamedTuple):
    """What the rail shows under a step. note: a few words, such as “12 series” or “1 to fix”."""

    kind: Literal["ready", "done", "run", "warn", "blocked"]
    note: str


class Page(QWidget):
    """One step. Subclasses set the class values, fill themselves in __init__ and emit `changed`."""

    key: ClassVar[str] = ""  # "scans", "recipe", "train", "review", "deliver"
    title: ClassVar[str] = ""
    icon: ClassVar[str] = ""  # Lucide name in the rail
    help: ClassVar[str] = ""  # shown by F1, plain sentences

    changed = Signal()  # subtitle, head actions or rail state read differently now

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.head_actions: list[QWidget] = []  # right side of the page head, in order
        self.primary_action: QPushButton | None = None  # also Ctrl+Enter; put it last in head_actions or in the page

    @property
    def subtitle(self) -> str:
        """The line under the title."""
        return ""

    def rail_state(self) -> RailState:
        """The step's state in the rail."""
        return RailState("ready", "Ready")

    def enter(self) -> None:
        """The page is shown now."""

    def leave(self) -> None:
        """Another page is shown now."""

    def take_back(self) -> bool:
        """Ctrl+Z was pressed: take back what the session does not hold yet. Whether there was anything."""
        return False

    def toggle_pause(self) -> None:
        """Ctrl+. was pressed."""
