"""What the output choices will come to: names of the next series, and text that de-identification cannot reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from aegui import paths
from aegui.errors import UserError
from aegui.events import Done, Event, Progress
from aegui.gui.session import Session
from aegui.imaging import OutputRules, Provenance
from aegui.imaging.outlook import may_show_text, names
from aegui.imaging.series import Series

LANE = "text"


# By format: what will be written.
_TOLD = {
    "same": "Same kind of files; DICOM as new series with new UIDs.",
    "dicom": "Written as new derived series with new UIDs.",
    "nifti": "One .nii.gz per series, real units, exact geometry.",
    "nrrd": "One .nrrd per series, real units, exact geometry.",
    "tiff": "One 16-bit TIFF stack per series.",
    "png": "One 16-bit PNG per slice.",
}


def folder(session: Session) -> str:
    """Where to write: where the user wrote to last, or beside the scans."""
    last = session.settings.output_folder
    if last or not session.paths:
        return last or str(Path.home() / "denoised")
    first = session.paths[0]
    inside = first.is_relative_to(paths.cache_home()) or first.is_relative_to(paths.data_home())
    place = Path.home() if inside else first.parent
    return str(place / f"{first.stem if first.is_file() else first.name}_denoised")


def example(series: Series | None, rules: OutputRules, model: str, strength: float) -> str:
    """What will be written, in words; with the names of the next series where it becomes a DICOM one."""
    told = f"{_TOLD[rules.format]} Originals are never changed."
    if series is None or series.form != "dicom" or rules.format not in ("same", "dicom"):
        return told
    found = names(series, rules, Provenance(model=model, strength=strength))
    return f"Next: “{found.description}”, series {found.number}. {told}" if found else told


class TextSearch(QObject):
    """Reads a header of every series, off the window's thread and once. changed: more is known."""

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._known: dict[str, bool] = {}
        self._waiting: tuple[Series, ...] = ()

    def look(self, series: Sequence[Series]) -> None:
        """Find out about these."""
        self._waiting = tuple(one for one in series if one.form == "dicom" and one.uid not in self._known)
        if not self._waiting:
            return
        fresh = self._waiting

        def work() -> Iterator[Event]:
            found = {}
            for number, one in enumerate(fresh):
                yield Progress(number, len(fresh), "Looking for text in pictures")
                found[one.uid] = may_show_text(one)
            yield Done(found)

        try:
            job = self._session.lanes.create(work, "Looking for text in pictures", lane=LANE)
        except UserError:  # a search is under way; it looks for what waits when it ends
            return
        job.done.connect(self._on_done)
        job.failed.connect(self._session.report)
        job.start()

    def found(self, series: Sequence[Series]) -> list[Series]:
        """Those of which it is known that text may be part of the picture."""
        return [one for one in series if self._known.get(one.uid)]

    @Slot(object)
    def _on_done(self, found: Any) -> None:
        self._known |= found or {}
        self.changed.emit()
        self.look(self._waiting)
