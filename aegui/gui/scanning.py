"""Opening files and folders: one scan at a time, then pairs are looked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from aegui import paths
from aegui.errors import UserError
from aegui.events import Done, Event, Progress, Stop
from aegui.gui import project as projects
from aegui.gui.job import Job
from aegui.gui.session import Session
from aegui.imaging.series import ScanResult


@dataclass(frozen=True)
class Wish:
    """What to open. sample: made first if it is not there. then: the page to go to. project: to take over after."""

    paths: tuple[Path, ...]
    sample: tuple[str, ...] = ()
    then: str = ""
    add: bool = True
    project: projects.Project | None = None
    file: Path | None = None


def _work(wish: Wish) -> Iterator[Event]:
    from aegui import workflow

    chosen = wish.paths
    if wish.sample:
        from aegui import sample

        made: dict[str, Path] = {}
        for event in sample.generate(paths.data_home() / "sample"):
            if isinstance(event, Done):
                made = event.result
            else:
                yield event
        chosen = tuple(made[part] for part in wish.sample)
    scan = workflow.scan(chosen)
    assert isinstance(scan, Generator)
    try:
        event = next(scan)
        while not isinstance(event, Done):
            try:
                yield event
            except Stop as stop:
                event = scan.throw(stop)  # it ends with what it has found
            else:
                event = next(scan)
        run = wish.project.run if wish.project is not None else ""
        past = workflow.result_of(Path(run), event.result.series) if run else None
        yield Done((event.result, chosen, past))
    finally:
        scan.close()


class Scanning(QObject):
    """progressed: (done, total or None, words). ended: the wish that came true, or None."""

    progressed = Signal(int, object, str)
    started = Signal()
    ended = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._job: Job | None = None
        self._wish: Wish | None = None
        self._next: Wish | None = None
        self._stopped = self._given_up = False
        session.lanes.ended.connect(self._lane_free)
        session.renewed.connect(self.cancel)  # what was being opened belonged to another project

    @property
    def running(self) -> bool:
        """Whether a scan is under way, or waits for the one before it to be gone."""
        return self._job is not None or self._next is not None

    def open(self, wish: Wish) -> None:
        """Scan; a scan under way is given up for it."""
        if self._session.lanes.busy("scan"):
            self.cancel()
            self._next = wish
            self.started.emit()
            return
        job = self._session.attempt(
            lambda: self._session.lanes.create(lambda: _work(wish), "Scanning", "scan"),
        )
        if job is None:
            return
        self._job, self._wish, self._stopped, self._given_up = job, wish, False, False
        job.event.connect(self._heard)
        job.done.connect(self._done)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._cancelled)
        job.start()
        self.started.emit()

    @Slot()
    def cancel(self) -> None:
        """Give up; nothing that was loaded changes."""
        waiting, self._next = self._next is not None, None
        if self._job is not None:
            self._given_up = True  # should its result be on its way already
            self._job.abandon()
        elif waiting:
            self.ended.emit(None)

    @Slot()
    def stop(self) -> None:
        """End early, with what was found so far."""
        if self._job is not None:
            self._stopped = True
            self._job.stop()

    @Slot(object)
    def _heard(self, event: Event) -> None:
        match event:
            case Progress(done=done, total=total, what=what):
                self.progressed.emit(done, total, what)

    @Slot(object)
    def _done(self, result: Any) -> None:
        wish, self._job = self._wish, None
        assert wish is not None
        if self._given_up:
            self.ended.emit(None)
            return
        scan: ScanResult = result[0]
        opened: tuple[Path, ...] = result[1]
        if not scan.series:
            if not self._stopped:
                self._session.notice.emit(nothing_found(scan, opened))
            self.ended.emit(None)
            return
        session = self._session
        session.set_scan(scan, opened, add=wish.add and bool(session.series))
        self._remember(opened)
        if wish.project is not None:
            projects.apply(session, wish.project, result[2])
            self._confirm(wish.project)
            if wish.file is not None and not self._stopped:  # else saving would drop what was not found
                session.mark_saved(wish.file)
        self.ended.emit(wish)
        if wish.then:
            session.request_page(wish.then)

    def _confirm(self, project: projects.Project) -> None:
        """Pairs that the stored project had confirmed."""
        from aegui import workflow

        session = self._session
        session.adopt(pairs=tuple(workflow.confirmed_again(session.series, project.pairs)))

    def _remember(self, opened: Sequence[Path]) -> None:
        folders = [path if path.is_dir() else path.parent for path in opened]
        sample = paths.data_home() / "sample"
        own = [str(folder) for folder in folders if not folder.is_relative_to(sample)]
        if own:
            settings = self._session.settings
            recent = tuple(dict.fromkeys([*own, *settings.recent]))[:8]
            self._session.change_settings(last_folder=str(Path(own[0]).parent), recent=recent)

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        self._job = None
        self._session.report(error)
        self.ended.emit(None)

    @Slot()
    def _cancelled(self) -> None:
        self._job = None
        self.ended.emit(None)

    @Slot(object)
    def _lane_free(self, _job: object) -> None:
        if self._next is not None and not self._session.lanes.busy("scan"):
            wish, self._next = self._next, None
            self.open(wish)


def nothing_found(scan: ScanResult, opened: Sequence[Path]) -> UserError:
    """One sentence for a folder without scans."""
    name = opened[0].name if opened else "The selection"
    if not scan.skipped:
        return UserError(f"{name} is empty.", "Choose the folder that holds the scans.")
    if len(scan.skipped) == 1:
        only = scan.skipped[0]
        return UserError(f"{only.file.name} is not a scan that can be read: {only.reason}", "Choose another file.")
    first = scan.skipped[0]
    return UserError(
        f"There are no scans in {name}: {len(scan.skipped)} files, none of them an image that can be read.",
        f"The first one, {first.file.name}: {first.reason} Choose the folder that holds the scans.",
    )
