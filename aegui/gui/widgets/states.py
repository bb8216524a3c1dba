"""Rows and panels that say how things stand: progress, empty, blocked, drop zone, radio rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QMouseEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QLabel, QProgressBar, QRadioButton, QSizePolicy, QWidget

from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, icon_label, label, row


def bar(value: int = 0, tone: str = "", name: str = "Progress") -> QProgressBar:
    """A 6 px progress bar of 1000 parts."""
    made = QProgressBar()
    made.setRange(0, 1000)
    made.setValue(value)
    made.setTextVisible(False)
    made.setFixedHeight(6)
    made.setProperty("tone", tone)
    made.setAccessibleName(name)
    return made


class ProgressRow(QWidget):
    """A bar and its words; the bar hides while the length is unknown."""

    def __init__(self, name: str = "Progress") -> None:
        super().__init__()
        self.bar = bar(name=name)
        self.words = label("", "cap")
        self.setLayout(row((self.bar, 1), self.words, gap=12))

    def show_progress(self, done: int, total: int | None, words: str = "", tone: str = "") -> None:
        """done of total; words stand right of the bar."""
        self.bar.setVisible(bool(total))
        if total:
            self.bar.setValue(round(1000 * min(done, total) / total))
        theme.set_property(self.bar, tone=tone)
        self.words.setText(words or (f"{100 * done // total} %" if total else f"{done}"))


class EmptyState(QWidget):
    """Says what goes here, with one main way in and one way to try."""

    def __init__(self, icon: str, title: str, text: str = "", actions: Sequence[QWidget] = ()) -> None:
        super().__init__()
        self.title = label(title, "h1")
        self.text = label(text, "sec", wrap=True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.setLayout(
            column(
                STRETCH,
                row(STRETCH, icon_label(icon, 40, "text3"), STRETCH),
                8,
                row(STRETCH, self.title, STRETCH),
                self.text,
                12,
                row(STRETCH, *actions, STRETCH, gap=12),
                STRETCH,
                margins=(24, 24, 24, 24),
                gap=6,
            )
        )


@dataclass(frozen=True)
class Requirement:
    """One line of a blocked page. action: words of the button that leads to the fix."""

    title: str
    detail: str
    ready: bool
    action: str = ""
    do: Callable[[], object] | None = None
    needed: bool = True  # False: a warning only


_COUNTS = ("Nothing", "One thing", "Two things", "Three things", "Four things", "Five things")


class Blocked(QWidget):
    """A checklist of what is ready and what is missing, with a button per missing item."""

    def __init__(self, title: str, reassurance: str = "Nothing is lost: your recipe and roles are kept.") -> None:
        super().__init__()
        self._title = title
        self._lines = column(gap=0)
        box = QFrame()
        box.setProperty("card", "plain")
        box.setLayout(self._lines)
        box.setFixedWidth(640)
        self._sum = label("", "sec")
        self.setLayout(
            column(
                STRETCH,
                row(STRETCH, icon_label("lock", 32, "text3"), STRETCH),
                8,
                row(STRETCH, label(title, "h1"), STRETCH),
                row(STRETCH, self._sum, STRETCH),
                16,
                row(STRETCH, box, STRETCH),
                8,
                row(STRETCH, label(reassurance, "ter"), STRETCH),
                STRETCH,
                gap=6,
            )
        )

    def show_requirements(self, items: Sequence[Requirement]) -> None:
        """List them; the first missing one gets the filled button."""
        clear(self._lines)
        missing = [item for item in items if not item.ready and item.needed]
        count = len(missing)
        many = _COUNTS[count] if count < len(_COUNTS) else f"{count} things"
        rest = "Everything else is ready." if count < len(items) else ""
        self._sum.setText(f"{many} {'is' if count == 1 else 'are'} missing. {rest}".strip() if count else "All ready.")
        first = True
        for index, item in enumerate(items):
            mark = ("circle-check", "ok") if item.ready else ("circle-x", "warn")
            if not item.ready and not item.needed:
                mark = ("triangle-alert", "warn")
            end: QWidget = label("Done" if item.ready else "", "ok")
            if not item.ready and item.action:
                end = button(item.action, "primary" if first else "default", clicked=item.do)
                first = False
            words = column(label(item.title, "h3"), label(item.detail, "ter", wrap=True), gap=0)
            line = QFrame()
            line.setLayout(row(icon_label(mark[0], 18, mark[1]), (words, 1), end, margins=(16, 8, 16, 8), gap=12))
            line.setMinimumHeight(56)
            if index:
                separator = QFrame()
                separator.setProperty("rule", "h")
                self._lines.addWidget(separator)
            self._lines.addWidget(line)


def clear(layout: QBoxLayout) -> None:
    """Remove everything from a layout, nested layouts included."""
    while layout.count():
        item = layout.takeAt(0)
        if item is None:
            break
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        elif isinstance(inner, QBoxLayout):
            clear(inner)


def dropped_paths(event: QDropEvent) -> list[Path]:
    """The local files and folders of a drag."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


class DropZone(QFrame):
    """A dashed place for files and folders."""

    dropped = Signal(list)

    def __init__(self, layout: QBoxLayout, name: str = "Drop scans here") -> None:
        super().__init__()
        self.setLayout(layout)
        self.setProperty("card", "drop")
        self.setAcceptDrops(True)
        self.setAccessibleName(name)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_paths(event):
            event.acceptProposedAction()
            theme.set_property(self, card="over")

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        theme.set_property(self, card="drop")

    def dropEvent(self, event: QDropEvent) -> None:
        theme.set_property(self, card="drop")
        event.acceptProposedAction()
        self.dropped.emit(dropped_paths(event))


class RadioRow(QFrame):
    """A radio button whose whole row is the target: icon, name, explanation, count."""

    chosen = Signal()

    def __init__(self, title: str, detail: str, icon: str) -> None:
        super().__init__()
        self.setProperty("row", "1")
        self.radio = QRadioButton()
        self.radio.setAccessibleName(title)
        self.radio.setAccessibleDescription(detail)
        self.radio.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._icon_name = icon
        self._icon = QLabel()
        self._icon.setFixedSize(18, 18)
        self.count = label("", "ter")
        words = column(label(title, "med", buddy=self.radio), ElidedLabel(detail, "ter"), gap=0)
        self.setLayout(row(self.radio, self._icon, (words, 1), self.count, margins=(12, 6, 12, 6), gap=10))
        self.radio.toggled.connect(self._restyle)
        self.radio.clicked.connect(lambda _checked: self.chosen.emit())
        self._restyle(False)

    def _restyle(self, on: bool) -> None:
        theme.set_property(self, row="selected" if on else "1")
        theme.set_icon(self._icon, self._icon_name, "accentText" if on else "text2", 18)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.radio.isEnabled() and self.rect().contains(event.position().toPoint()):
            self.radio.click()
