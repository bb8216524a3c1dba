"""The batch queue: what happens to each series, as a table model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QPixmap

from aegui.imaging.series import Series

COLUMNS = ("Series", "Slices", "Status", "Progress", "Time", "Flags", "Reason")
SERIES, SLICES, STATUS, PROGRESS, TIME, FLAGS, REASON = range(len(COLUMNS))
ROW = int(Qt.ItemDataRole.UserRole)
Index = QModelIndex | QPersistentModelIndex

LOOK, RETRY, INCLUDE, EXCLUDE = "Look", "Retry", "Denoise anyway", "Leave out"

# status: (icon, colour role, word)
STATES = {
    "waiting": ("clock", "text3", "Waiting"),
    "running": ("loader-circle", "info", "Running"),
    "done": ("circle-check", "ok", "Done"),
    "flagged": ("triangle-alert", "warn", "Flagged"),
    "skipped": ("circle-minus", "text3", "Skipped"),
    "failed": ("circle-x", "err", "Failed"),
}


@dataclass
class Entry:
    """One series in the queue. included: the user wants it although it would be skipped.

    clipped: pixels that were cut to what the stored type holds. engine: what ran the model, and why nothing faster.
    """

    series: Series
    status: str = "waiting"
    reason: str = ""
    done: int = 0
    seconds: float = 0.0
    flagged: tuple[int, ...] = ()
    clipped: int = 0
    output: str = ""
    engine: str = ""
    included: bool = False
    can_include: bool = False
    thumb: QPixmap | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """“ANON-0071 · Thin B60”: never a patient's name."""
        return " · ".join(part for part in (self.series.label, self.series.description) if part) or "Series"

    @property
    def action(self) -> str:
        """The link at the end of the row, or nothing."""
        if self.status == "failed":
            return RETRY
        if self.status == "skipped" and self.can_include:
            return INCLUDE
        if self.status == "waiting" and self.included:
            return EXCLUDE
        return LOOK if self.status in ("flagged", "done") else ""

    @property
    def words(self) -> str:
        """The reason column."""
        if self.status == "running":
            return self.reason or f"Slice {self.done} of {self.series.slices}"
        if self.status != "flagged" or not self.flagged:
            usual = {"done": "Saved", "waiting": " · ".join(self.series.warnings)}
            return self.reason or usual.get(self.status) or "–"
        where = f"Structure in slice{'s' if len(self.flagged) > 1 else ''} {ranges(self.flagged)}"
        return f"{where} · {self.clipped:,} pixels clipped" if self.clipped else where

    @property
    def details(self) -> str:
        """All there is to say, for the tooltip."""
        ran = f"Run with {self.engine}" if self.engine else ""
        whole = [self.words, self.reason if self.reason not in self.words else "", ran]
        return "\n".join(part for part in whole if part and part != "–")

    def reset(self, reason: str = "") -> None:
        """Wait (again) to be denoised."""
        self.status, self.reason, self.done, self.flagged, self.clipped = "waiting", reason, 0, (), 0
        self.engine = ""


def ranges(indices: Sequence[int]) -> str:
    """Slices counted from 1, neighbours joined: (27, 28, 29, 40) → “28–30, 41”."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    shown = [str(a + 1) if a == b else f"{a + 1}–{b + 1}" for a, b in runs[:4]]
    return ", ".join(shown) + (" …" if len(runs) > 4 else "")


def clock(seconds: float) -> str:
    """Seconds as “0:14” or “1:02:05”."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class QueueModel(QAbstractTableModel):
    """Entries in the order they will run. pace: seconds per slice once it is known, for the estimates.

    An event of a running batch costs the same whatever the length: rows are found by uid and counts are kept.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.entries: list[Entry] = []
        self.pace: float | None = None
        self._rows: dict[str, int] = {}
        self._number: Counter[str] = Counter()  # entries, slices and slices done, by status
        self._slices: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    def find(self, uid: str) -> Entry | None:
        row = self._rows.get(uid)
        return None if row is None else self.entries[row]

    def row(self, entry: Entry) -> int:
        return self._rows[entry.series.uid]

    def set_entries(self, entries: list[Entry]) -> None:
        self.beginResetModel()
        self.entries = entries
        self._count()
        self.endResetModel()

    def add(self, entries: list[Entry]) -> None:
        if entries:
            self.beginInsertRows(QModelIndex(), len(self.entries), len(self.entries) + len(entries) - 1)
            self.entries.extend(entries)
            self._count()
            self.endInsertRows()

    def remove(self, entries: Iterable[Entry]) -> None:
        for row in sorted((self.row(entry) for entry in entries), reverse=True):
            self.beginRemoveRows(QModelIndex(), row, row)
            self.entries.pop(row)
            self.endRemoveRows()
        self._count()

    def update_entry(self, entry: Entry, **values: Any) -> None:
        """Change fields of one row and repaint it."""
        self._tally(entry, -1)
        for name, value in values.items():
            setattr(entry, name, value)
        self._tally(entry, 1)
        row = self.row(entry)
        self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def refresh(self) -> None:
        """After entries were changed directly."""
        self._count()
        if self.entries:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.entries) - 1, len(COLUMNS) - 1))

    def _tally(self, entry: Entry, sign: int) -> None:
        self._number[entry.status] += sign
        self._slices[entry.status] += sign * entry.series.slices
        self._done[entry.status] += sign * entry.done

    def _count(self) -> None:
        self._rows = {entry.series.uid: row for row, entry in enumerate(self.entries)}
        for counter in (self._number, self._slices, self._done):
            counter.clear()
        for entry in self.entries:
            self._tally(entry, 1)

    def count(self, *states: str) -> int:
        return sum(self._number[state] for state in states)

    def progress(self) -> tuple[int, int]:
        """Slices denoised and slices in all, of what is neither skipped nor failed."""
        counted = [state for state in STATES if state not in ("skipped", "failed")]
        return sum(self._done[state] for state in counted), sum(self._slices[state] for state in counted)

    def time_words(self, entry: Entry) -> str:
        """Time taken, time left, or an estimate marked ≈; “–” rather than a guess."""
        if entry.status in ("done", "flagged"):
            return clock(entry.seconds)
        if self.pace is None or entry.status not in ("running", "waiting"):
            return "–"
        left = (entry.series.slices - entry.done) * self.pace
        return f"{clock(left)} left" if entry.status == "running" else f"≈ {clock(left)}"

    def _text(self, entry: Entry, column: int) -> str:
        match column:
            case 0:
                return entry.name
            case 1:
                return f"{entry.series.slices} {'sl' if entry.series.slices != 1 else 'img'}"
            case 2:
                return STATES[entry.status][2]
            case 3:
                share = entry.done / entry.series.slices if entry.series.slices else 0
                return "–" if entry.status in ("skipped", "failed") else f"{share:.0%}".replace("%", " %")
            case 4:
                return self.time_words(entry)
            case 5:
                return self._flag_words(entry)
        return entry.words

    def _flag_words(self, entry: Entry) -> str:
        number = len(entry.flagged)
        if entry.status == "running":
            return f"{number} so far" if number else "–"
        return f"{number} slice{'s' if number != 1 else ''}" if number else "–"

    # Qt overrides

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self.entries)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = int(Qt.ItemDataRole.DisplayRole)
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        return None

    def data(self, index: Index, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:
        if not index.isValid():
            return None
        entry = self.entries[index.row()]
        if role == ROW:
            return entry
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(entry, index.column())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            key = f". Enter: {entry.action}" if entry.action and index.column() == REASON else ""
            return f"{self._text(entry, index.column())}{key}"
        if role == Qt.ItemDataRole.ToolTipRole and (index.column() == SERIES or index.column() >= PROGRESS):
            return entry.details if index.column() >= PROGRESS else entry.name
        return None
