"""The shell's bars: top (project, device, theme, help), page head, status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from PySide6.QtCore import QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QAction, QActionGroup, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMenu, QPushButton, QSizePolicy, QWidget

from aegui import events as ev
from aegui.gui import theme
from aegui.gui.job import Job
from aegui.gui.pages.base import Page
from aegui.gui.session import Session
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, column, icon_label, label, row, rule
from aegui.gui.widgets.rail import WIDTH
from aegui.gui.widgets.states import bar

RESEARCH = "Research use only — not for primary diagnosis"
TOP, HEAD, STATUS = 48, 64, 32
DEVICES = (("auto", "Automatic"), ("cpu", "CPU"), ("cuda", "CUDA graphics card"))


def device_words(choice: str) -> tuple[str, str]:
    """(icon, text) of the device chip. Until torch is loaded, only the processor is known."""
    if "torch" in sys.modules and hasattr(sys.modules["torch"], "cuda"):
        import torch

        if choice != "cpu" and torch.cuda.is_available():
            free, _total = torch.cuda.mem_get_info()
            return "gpu", f"CUDA · {torch.cuda.get_device_name()} · {free / 1e9:.1f} GB free"
    return "cpu", f"CPU · {os.cpu_count()} threads"


def cuda_is_known_missing() -> bool:
    """True only once torch is loaded and sees no card."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "cuda") and not torch.cuda.is_available()


class MenuButton(QPushButton):
    """Opens a menu that is filled anew each time; a chevron at its right end says so."""

    def __init__(self, kind: str, tip: str, name: str, fill: Callable[[QMenu], None], icon: str = "") -> None:
        super().__init__()
        self.setProperty("kind", kind)
        self.setToolTip(tip)
        self.setAccessibleName(name)
        self.setAutoDefault(False)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        if icon:
            theme.set_icon(self, icon)
        self.menu_ = QMenu(self)
        self.menu_.setToolTipsVisible(True)
        self._fill = fill
        # Not setMenu: it reserves room for an indicator of its own.
        self.clicked.connect(self.open_menu)

    @Slot()
    def open_menu(self) -> None:
        """Below the button, inside the screen."""
        self.menu_.clear()
        self._fill(self.menu_)
        below = self.rect().bottomLeft()
        below.setX(min(0, self.width() - self.menu_.sizeHint().width()) if self._at_right() else 0)
        self.menu_.popup(self.mapToGlobal(below) + QPoint(0, 4))

    def _at_right(self) -> bool:
        return self.mapTo(self.window(), QPoint(0, 0)).x() > self.window().width() / 2

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.text():
            chevron = theme.pixmap("chevron-down", "text3", 14)
            QPainter(self).drawPixmap(self.width() - 24, (self.height() - 14) // 2, chevron)


class TopBar(QFrame):
    """Project, saved state │ device, theme, help."""

    new_wanted = Signal()
    open_wanted = Signal()
    open_file_wanted = Signal(object)
    save_wanted = Signal()
    save_as_wanted = Signal()
    folder_wanted = Signal(object)
    help_wanted = Signal()
    guide_wanted = Signal()
    keys_wanted = Signal()
    about_wanted = Signal()
    theme_wanted = Signal(str, int)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.setObjectName("topbar")
        self.setFixedHeight(TOP)
        self.project = MenuButton("menu", "New, open, save", "Project", self._fill_project)
        self.saved = label("", "ter")
        self.device = MenuButton("device", "Device for training and denoising", "Device", self._fill_device, "cpu")
        self.look = MenuButton("icon", "Light or dark, text size", "Appearance", self._fill_look, "sun")
        self.help = MenuButton("icon", "Help (F1)", "Help", self._fill_help, "circle-question-mark")
        logo = QWidget()
        logo.setFixedWidth(WIDTH)
        logo.setLayout(row(STRETCH, icon_label("aperture", 22, "accent"), STRETCH))
        self.setLayout(
            row(logo, self.project, 4, self.saved, STRETCH, self.device, 4, self.look, self.help, margins=(0, 0, 16, 0))
        )
        session.project_changed.connect(self.refresh)
        session.device_changed.connect(self.refresh)
        theme.changed().connect(self.refresh)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Everything that it says."""
        session = self._session
        self.project.setText(session.name)
        self.project.setAccessibleName(f"Project {session.name}")
        if session.project_file is None:
            self.saved.setText("Not saved yet")
        else:
            self.saved.setText("Saved" if session.saved else "Not saved")
        icon, words = device_words(session.device)
        self.device.setText(f" {words}")
        self.device.setAccessibleName(f"Device {words}")
        theme.set_icon(self.device, icon)
        theme.set_icon(self.look, "sun" if theme.name() == "dark" else "moon")

    def _fill_project(self, menu: QMenu) -> None:
        menu.addAction("New project", self.new_wanted.emit)
        menu.addAction("Open project…", self.open_wanted.emit)
        menu.addAction("Save\tCtrl+S", self.save_wanted.emit)
        menu.addAction("Save as…", self.save_as_wanted.emit)
        from aegui.gui.project import last_session_file

        if last_session_file().exists() and not self._session.paths:
            menu.addAction("Reopen last session", lambda: self.open_file_wanted.emit(last_session_file()))
        recent = [Path(text) for text in self._session.settings.recent if Path(text).exists()]
        if recent:
            menu.addSeparator()
            menu.addSection("Recent folders")
        for path in recent:
            action = menu.addAction(path.name or str(path))
            action.triggered.connect(lambda _on=False, path=path: self.folder_wanted.emit(path))
            action.setToolTip(str(path))

    def _choices(self, menu: QMenu, items: Sequence[tuple[str, bool, object]]) -> list[QAction]:
        group = QActionGroup(menu)
        made = []
        for text, on, act in items:
            action = menu.addAction(text)
            action.setCheckable(True)
            action.setChecked(on)
            action.triggered.connect(act)
            group.addAction(action)
            made.append(action)
        return made

    def _fill_device(self, menu: QMenu) -> None:
        now = self._session.device
        items = [(text, now == key, lambda _on=True, key=key: self._session.set_device(key)) for key, text in DEVICES]
        actions = self._choices(menu, items)
        if cuda_is_known_missing():
            actions[2].setEnabled(False)
            actions[2].setText("CUDA graphics card: none found")

    def _fill_look(self, menu: QMenu) -> None:
        ours = self._session.settings
        self._choices(
            menu,
            [
                (text, ours.theme == key, lambda _on=True, key=key: self.theme_wanted.emit(key, ours.text_size))
                for key, text in (("dark", "Dark"), ("light", "Light"), ("system", "As the system"))
            ],
        )
        menu.addSeparator()
        self._choices(
            menu,
            [
                (f"Text {n} %", ours.text_size == n, lambda _on=True, n=n: self.theme_wanted.emit(ours.theme, n))
                for n in (100, 115, 130)
            ],
        )

    def _fill_help(self, menu: QMenu) -> None:
        menu.addAction("Help for this page\tF1", self.help_wanted.emit)
        menu.addAction("User guide", self.guide_wanted.emit)
        menu.addAction("Keyboard", self.keys_wanted.emit)
        menu.addAction("About and licences", self.about_wanted.emit)


class Head(QFrame):
    """Title, subtitle, and the page's actions at the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("head")
        self.setFixedHeight(HEAD)
        self.title = label("", "h1")
        self.subtitle = ElidedLabel("", "ter", Qt.TextElideMode.ElideRight)
        self._places: dict[str, QWidget] = {}
        self._actions = QHBoxLayout()
        self._actions.setSpacing(8)
        words = column(STRETCH, self.title, self.subtitle, STRETCH, gap=2)
        self.setLayout(row((words, 1), self._actions, margins=(24, 0, 24, 0), gap=16))

    def add_page(self, page: Page) -> None:
        """Take a page's actions in; without a parent they would open as windows of their own."""
        place = QWidget()
        place.setLayout(row(*page.head_actions, gap=8))
        place.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        place.hide()
        self._places[page.key] = place
        self._actions.addWidget(place)

    def show_page(self, page: Page) -> None:
        """Say what a page says now."""
        self.title.setText(page.title)
        self.subtitle.setText(page.subtitle)
        for key, place in self._places.items():
            place.setVisible(key == page.key)


class StatusBar(QFrame):
    """Background task │ memory │ the notice that no setting hides."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("statusbar")
        self.setFixedHeight(STATUS)
        self._session = session
        self._words: dict[Job, tuple[str, float | None]] = {}
        self._icon = QLabel()
        self._icon.setFixedSize(14, 14)
        self.task = label("", "ter")
        self.bar = bar(name="Background task")
        self.bar.setFixedWidth(160)
        self.memory = label("", "ter")
        notice = label(RESEARCH, "cap")
        left = row(self._icon, self.task, self.bar, gap=8)
        right = row(self.memory, rule(True, 14), icon_label("shield-alert", 14), notice, gap=8)
        self.setLayout(row(left, STRETCH, right, margins=(16, 0, 16, 0)))
        session.lanes.started.connect(self._started)
        session.lanes.ended.connect(self._ended)
        timer = QTimer(self)
        timer.timeout.connect(self.show_memory)
        timer.start(2000)
        self.show_memory()
        self._show()

    @Slot()
    def show_memory(self) -> None:
        """Of this program and of the machine."""
        used, total = psutil.Process().memory_info().rss, psutil.virtual_memory().total
        self.memory.setText(f"Memory {used / 2**30:.1f} of {total / 2**30:.0f} GB")

    @Slot(object)
    def _started(self, job: Job) -> None:
        self._words[job] = (job.title, None)
        job.event.connect(self._heard)
        self._show()

    @Slot(object)
    def _ended(self, job: Job) -> None:
        self._words.pop(job, None)
        self._show()

    @Slot(object)
    def _heard(self, event: ev.Event) -> None:
        job = self.sender()
        if not isinstance(job, Job) or job not in self._words:
            return
        said = told(job.title, event)
        if said is not None:
            self._words[job] = said
            self._show()

    def _show(self) -> None:
        if not self._words:
            theme.set_icon(self._icon, "circle-check", "text3", 14)
            self.task.setText("No background tasks")
            self.bar.hide()
            return
        theme.set_icon(self._icon, "loader-circle", "accentText", 14)
        words, part = next(reversed(self._words.values()))
        others = len(self._words) - 1
        self.task.setText(f"{words}, and {others} more" if others else words)
        self.bar.setVisible(part is not None)
        self.bar.setValue(round(1000 * (part or 0)))


def told(title: str, event: ev.Event) -> tuple[str, float | None] | None:
    """(words, done part) of a task after an event, None if it says nothing new."""
    match event:
        case ev.Progress(done=done, total=total, what=what):
            return (f"{what} {done} of {total}", done / total) if total else (f"{what} {done or ''}".rstrip(), None)
        case ev.Epoch(epoch=epoch, epochs=epochs):
            return f"{title}, epoch {epoch} of {epochs}", epoch / max(1, epochs)
        case ev.SeriesStarted(index=index, total=total):
            return f"{title}, series {index + 1} of {total}", index / max(1, total)
    return None
