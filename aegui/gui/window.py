"""The main window: bars, rail, the five pages, and what concerns all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QByteArray, QMetaObject, QSettings, QSize, Qt, Slot
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QIcon, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QStackedWidget, QVBoxLayout, QWidget

from aegui import paths
from aegui.errors import UserError
from aegui.gui import dialogs, project, theme
from aegui.gui.bars import STATUS, Head, StatusBar, TopBar
from aegui.gui.focus_ring import FocusRing
from aegui.gui.guide import GuideWindow
from aegui.gui.help import about_dialog, help_dialog, keyboard_dialog
from aegui.gui.pages.base import Page
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.pages.recipe import RecipePage
from aegui.gui.pages.review import ReviewPage
from aegui.gui.pages.scans import ScansPage
from aegui.gui.pages.train import TrainPage
from aegui.gui.session import Session
from aegui.gui.slices import end_all
from aegui.gui.toasts import Toasts, announce
from aegui.gui.undo_keys import UndoKeys
from aegui.gui.widgets.basic import column, row
from aegui.gui.widgets.notice import NoticeBar
from aegui.gui.widgets.rail import Rail
from aegui.gui.widgets.states import dropped_paths

PAGES: tuple[type[Page], ...] = (ScansPage, RecipePage, TrainPage, ReviewPage, DeliverPage)
SMALLEST = (1280, 720)
# Of the guide, by the page on which help was asked for.
CHAPTERS = {"scans": "2-what-is-read.md", "recipe": "6-recipes.md", "deliver": "4-what-is-written.md"}


def _memory() -> QSettings:
    """Where the window's place on the screen is kept."""
    return QSettings(str(paths.config_home() / "window.ini"), QSettings.Format.IniFormat)


class Window(QWidget):
    """Owns the session. A page is asked for what the shell shows; it never reaches into the shell."""

    def __init__(self, session: Session | None = None) -> None:
        super().__init__()
        self.session = session or Session()
        self.session.setParent(self)
        self.setObjectName("window")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setWindowTitle("aegui")
        self.setWindowIcon(QIcon(theme.pixmap("aperture", "#1B63B5", 64)))
        self.setAcceptDrops(True)
        self.setMinimumSize(*SMALLEST)
        self.pages: list[Page] = [kind(self.session) for kind in PAGES]
        self._leaving = False
        self._unsaved = False  # whether to close although the project could not be kept
        self._dialog: dialogs.Dialog | None = None
        self._guide: GuideWindow | None = None

        self.top = TopBar(self.session)
        self.rail = Rail([(page.title, page.icon) for page in self.pages])
        self.head = Head()
        self.notices = NoticeBar()
        self.stack = QStackedWidget()
        self.stack.setObjectName("pages")
        for page in self.pages:
            self.stack.addWidget(page)
            self.head.add_page(page)
            page.changed.connect(self._page_changed)
        self.status = StatusBar(self.session)
        main = column(self.head, self.notices, (self.stack, 1), gap=0)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.top)
        outer.addLayout(row(self.rail, (main, 1), gap=0), 1)
        outer.addWidget(self.status)
        self.toasts = Toasts(self, STATUS)
        self.ring = FocusRing(self)

        self._connect()
        self._shortcuts()
        self._restore_place()
        self.show_page(0)
        self.pages[0].enter()

    def _connect(self) -> None:
        session, top = self.session, self.top
        self.rail.chosen.connect(self.show_page)
        session.page_requested.connect(self.show_page_named)
        session.page_state_changed.connect(self.refresh)
        session.open_wanted.connect(self.open_paths)
        session.notice.connect(self.show_notice)
        session.crash.connect(self.show_crash)
        session.toast.connect(self._toast)
        session.lanes.started.connect(self.refresh)
        session.lanes.ended.connect(self._job_ended)
        top.new_wanted.connect(self.new_project)
        top.open_wanted.connect(self.open_project)
        top.open_file_wanted.connect(self.open_project_file)
        top.save_wanted.connect(self.save)
        top.save_as_wanted.connect(self.save_as)
        top.folder_wanted.connect(self._open_folder)
        top.theme_wanted.connect(self.set_look)
        top.help_wanted.connect(self.show_help)
        top.guide_wanted.connect(self.show_guide)
        top.keys_wanted.connect(lambda: keyboard_dialog(self))
        top.about_wanted.connect(lambda: about_dialog(self))

    def _shortcuts(self) -> None:
        for number in range(1, len(self.pages) + 1):
            self._shortcut(f"Ctrl+{number}", functools.partial(self.show_page, number - 1))
        self._shortcut("Ctrl+O", self._ask_folder)
        self._shortcut("Ctrl+S", self.save)
        self._undo_keys = UndoKeys(self)
        self._shortcut("Ctrl+Z", self._undo)
        self._shortcut("Ctrl+Shift+Z", self._redo)
        self._shortcut("Ctrl+Return", self._primary)
        self._shortcut("Ctrl+Enter", self._primary)
        self._shortcut("Ctrl+.", lambda: self.page.toggle_pause())
        self._shortcut("F1", self.show_help)
        self._shortcut("F6", self._next_region)

    def _shortcut(self, keys: str, act: Callable[[], object]) -> None:
        QShortcut(QKeySequence(keys), self).activated.connect(act)

    # ---- pages
    @property
    def page(self) -> Page:
        """The shown page."""
        shown = self.stack.currentWidget()
        assert isinstance(shown, Page)
        return shown

    @property
    def scans(self) -> ScansPage:
        """The page that opens folders."""
        first = self.pages[0]
        assert isinstance(first, ScansPage)
        return first

    @Slot(int)
    def show_page(self, index: int) -> None:
        """Go to a step; blocked ones show their reasons."""
        page = self.pages[index]
        before = self.page
        if before is not page:
            before.leave()
            self.stack.setCurrentWidget(page)
            page.enter()
        self.rail.set_current(index)
        self.refresh()

    @Slot(str)
    def show_page_named(self, key: str) -> None:
        """Go to a step by its key."""
        self.show_page([page.key for page in self.pages].index(key))

    @Slot()
    def refresh(self) -> None:
        """Rail, page head."""
        for page, item in zip(self.pages, self.rail.items, strict=True):
            state = page.rail_state()
            if (state.kind, state.note) != (item.kind, item.note):
                item.show_state(state.kind, state.note)
        self.head.show_page(self.page)

    @Slot()
    def _page_changed(self) -> None:
        self.refresh()

    def _undo(self) -> None:
        if not self.page.take_back():
            self._step(self.session.undo.undo, "Undone", self.session.undo.undoText())

    def _redo(self) -> None:
        self._step(self.session.undo.redo, "Done again", self.session.undo.redoText())

    def _step(self, step: Callable[[], None], done: str, what: str) -> None:
        """Undo or redo; says so where the change cannot be seen."""
        before = self.session.preset, self.session.recipe
        step()
        place = "scans" if (self.session.preset, self.session.recipe) == before else "recipe"
        if what and self.page.key != place:
            self.toasts.show("info", f"{done}: {what[:1].lower()}{what[1:]}")

    def _primary(self) -> None:
        action = self.page.primary_action
        if action is not None and action.isVisible() and action.isEnabled():
            action.click()

    def _next_region(self) -> None:
        """F6: rail → page head → page → rail, so that no long tab walk is needed."""
        focus = QApplication.focusWidget()
        regions: list[QWidget] = [self.rail, self.head, self.stack]
        at = next((i for i, region in enumerate(regions) if focus and region.isAncestorOf(focus)), -1)
        for step in range(1, len(regions) + 1):
            region = regions[(at + step) % len(regions)]
            for child in region.findChildren(QWidget):
                if child.isVisible() and child.isEnabled() and child.focusPolicy() & Qt.FocusPolicy.TabFocus:
                    child.setFocus(Qt.FocusReason.TabFocusReason)
                    return

    # ---- saying things
    @Slot(object)
    def show_notice(self, error: UserError) -> None:
        """A problem the user can solve, in place."""
        self.notices.show_problem(error.message, error.hint)
        announce(self, str(error))

    @Slot(object)
    def show_crash(self, error: BaseException) -> None:
        """A bug."""
        if self._dialog is None:
            self._dialog = dialogs.crash_dialog(self, error)
            self._dialog.finished.connect(self._dialog_closed)

    @Slot(int)
    def _dialog_closed(self, _result: int) -> None:
        self._dialog = None

    @Slot(str, str, str)
    def _toast(self, tone: str, text: str, detail: str) -> None:
        self.toasts.show(tone, text, detail)

    @Slot()
    def show_help(self) -> None:
        """Help for the shown page."""
        help_dialog(self, self.page, lambda: self.show_guide(CHAPTERS.get(self.page.key, "")))

    @Slot()
    def show_guide(self, chapter: str = "") -> None:
        """The user guide, at a chapter."""
        if self._guide is None:
            self._guide = GuideWindow(self)
        self._guide.show()
        self._guide.raise_()
        self._guide.activateWindow()
        if chapter:
            self._guide.show_chapter(chapter)

    @Slot(str, int)
    def set_look(self, which: str, text_size: int) -> None:
        """Theme and text size, at once and remembered."""
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        self.session.change_settings(theme=which, text_size=text_size)
        theme.apply(app, which, text_size)

    # ---- folders and projects
    def open_paths(self, chosen: list[Path]) -> None:
        """Scan files and folders (dropped, given at the start, or chosen)."""
        files = [path for path in chosen if path.suffix == project.SUFFIX]
        if files:
            self.open_project_file(files[0])
        elif chosen:
            self.notices.hide()
            self.show_page(0)
            self.scans.open_paths(chosen)

    def _ask_folder(self) -> None:
        self.show_page(0)
        self.scans.ask_folder()

    @Slot(object)
    def _open_folder(self, folder: Path) -> None:
        self.open_paths([folder])

    @Slot()
    def new_project(self) -> None:
        """An empty one; the old one is kept."""
        if self._kept("Go on without saving", self._renew):
            self._renew()

    def _renew(self) -> None:
        self.session.reset()
        self.notices.hide()
        self.show_page(0)

    def _kept(self, otherwise: str, go: Callable[[], object]) -> bool:
        """Whether the open project is kept. Where it cannot be written, asks whether to go on all the same."""
        try:
            project.keep(self.session)
        except UserError as error:
            answers = [dialogs.Answer("Stay here"), dialogs.Answer(otherwise, go)]
            dialogs.ask(self, error.message, f"{error.hint} What you changed would be lost.", answers)
            return False
        return True

    @Slot()
    def open_project(self) -> None:
        """Ask for a project file."""
        start = str(self.session.project_file or self.session.settings.last_folder)
        name, _ = QFileDialog.getOpenFileName(self, "Open project", start, f"Projects (*{project.SUFFIX})")
        if name:
            self.open_project_file(Path(name))

    @Slot(object)
    def open_project_file(self, file: Path) -> None:
        """Scan the project's folders again, then take over its choices."""
        opened = self.session.attempt(lambda: project.Project.load(file))
        if opened is None:
            return
        if opened.paths and not any(Path(text).exists() for text in opened.paths):
            name = Path(opened.paths[0]).name
            self.show_notice(UserError(f"{name} is no longer there.", "It may have been moved or renamed."))
            return
        again = file == self.session.project_file

        def go() -> None:
            # The file of the open project was written anew just now.
            self._open(self.session.attempt(lambda: project.Project.load(file)) if again else opened, file)

        if self._kept("Go on without saving", go):
            go()

    def _open(self, opened: project.Project | None, file: Path) -> None:
        if opened is None:
            return
        self._renew()
        places = [Path(text) for text in opened.paths]
        found, lost = [p for p in places if p.exists()], [p for p in places if not p.exists()]
        bound = file if not lost and file != project.last_session_file() else None
        if found:
            self.scans.open_paths(found, project=opened, file=bound)
        else:
            project.apply(self.session, opened)
            if bound is not None:
                self.session.mark_saved(bound)
        if lost:
            hint = "It may have been moved or renamed. The project file still names it; save under another name."
            self.show_notice(UserError(f"{lost[0].name} is no longer there.", hint))

    @Slot()
    def save(self) -> None:
        """Ctrl+S."""
        if self.session.project_file is None:
            self.save_as()
        else:
            file = self.session.project_file
            self.session.attempt(lambda: project.save(self.session, file))

    @Slot()
    def save_as(self) -> None:
        """Ask for a file."""
        start = Path(self.session.settings.last_folder or Path.home()) / f"{self.session.name}{project.SUFFIX}"
        name, _ = QFileDialog.getSaveFileName(self, "Save project", str(start), f"Projects (*{project.SUFFIX})")
        if name:
            dialogs.write_to(
                self,
                Path(name),
                (project.SUFFIX,),
                lambda file: self.session.attempt(lambda: project.save(self.session, file)),
            )

    # ---- leaving
    def _restore_place(self) -> None:
        place = _memory().value("geometry")
        if not (isinstance(place, QByteArray) and self.restoreGeometry(place)):
            room = self.screen().availableSize() - QSize(16, 48)  # for the frame
            self.resize(QSize(1440, 900).boundedTo(room).expandedTo(QSize(*SMALLEST)))

    @Slot(object)
    def _job_ended(self, _job: object) -> None:
        self.refresh()
        if self._leaving:
            # Queued, and forgotten with the window: a timer would still call it when it is gone.
            QMetaObject.invokeMethod(self, "close", Qt.ConnectionType.QueuedConnection)

    def _stop_and_close(self) -> None:
        self._leaving = True
        self.close()

    def _close_unsaved(self) -> None:
        self._unsaved = True
        self.close()

    def _end_jobs(self) -> None:
        """What is worth keeping finishes early; the rest is given up, and what can be gone on with put down."""
        lanes = self.session.lanes
        for job in lanes.running():
            if job is lanes.job("work") and not job.resumable:
                if not job.stopping:
                    job.stop()
            else:
                job.abandon()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.ring.watch()

    def closeEvent(self, event: QCloseEvent) -> None:
        lanes = self.session.lanes
        work = lanes.job("work")
        if work is not None and not work.over and not self._leaving:
            event.ignore()
            if self._dialog is None:
                self._dialog = dialogs.ask(
                    self,
                    f"{work.title} is still running",
                    "It can be resumed on Train the next time." if work.resumable else "What is finished is kept.",
                    [dialogs.Answer("Keep running"), dialogs.Answer("Stop and close", self._stop_and_close)],
                )
                self._dialog.finished.connect(self._dialog_closed)
            return
        if lanes.running():
            self._end_jobs()
            self._leaving = True  # the last one that ends closes the window
            event.ignore()
            return
        if not self._unsaved and not self._kept("Close without saving", self._close_unsaved):
            event.ignore()
            self._leaving = False
            return
        self.scans.release()
        self.page.leave()
        end_all()
        _memory().setValue("geometry", self.saveGeometry())
        event.accept()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.open_paths(dropped_paths(event))
