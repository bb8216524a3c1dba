"""Studies, their series and the volumes of a series: what is looked at, and what a role is given to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from PySide6.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QSortFilterProxyModel, Qt, Signal, Slot
from PySide6.QtGui import QContextMenuEvent, QImage, QPixmap, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QMenu, QTreeView

from aegui import imaging
from aegui.gui import slices, theme
from aegui.gui.session import Role
from aegui.gui.widgets.series_rows import (
    DATE,
    SERIES,
    THUMB,
    VOLUMES,
    Index,
    RowPainter,
    date_words,
    meta_words,
    series_name,
    tip,
    volumes_name,
    warning_words,
)
from aegui.imaging.series import Series

OPEN_UP_TO = 4  # volumes of a series that are shown at once; of more, only the series' row


class _Filter(QSortFilterProxyModel):
    """Keeps studies that have a matching series."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: Callable[[Series], bool] = lambda _series: False
        self.setRecursiveFilteringEnabled(True)
        self.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:
        series = self.sourceModel().index(row, 0, parent).data(SERIES)
        if series is None or self.hidden(series):
            return False
        text = f"{series.description} {series.modality} {series.label} {series.study_date} {warning_words(series)}"
        return self.filterRegularExpression().match(text).hasMatch()


def _together(series: Sequence[Series]) -> list[list[Series]]:
    """Series in scan order, the volumes of one series in one list."""
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        groups.setdefault((one.study_uid, one.uid.partition("#")[0]), []).append(one)
    return list(groups.values())


class SeriesTree(QTreeView):
    """current_changed: uid. insist_wanted: denoise (or no longer) view-only series that are selected."""

    current_changed = Signal(str)
    selection_changed = Signal()
    insist_wanted = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.thumbs: dict[str, QPixmap] = {}
        self._roles: Mapping[str, Role] = {}
        self._insisted: frozenset[str] = frozenset()
        self._lane: slices.SliceLane | None = None
        self._shown: tuple[Series, ...] = ()
        self._quiet = False
        self._opened: set[str] = set()  # first uid of series whose volumes were shown
        self._items = QStandardItemModel(self)
        self._filter = _Filter()
        self._filter.setSourceModel(self._items)
        self.setModel(self._filter)
        self.setItemDelegate(RowPainter(self))
        self.setHeaderHidden(True)
        self.setIndentation(0)
        self.setRootIsDecorated(False)
        self.setMouseTracking(True)
        self.setUniformRowHeights(False)
        self.setVerticalScrollMode(QTreeView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QTreeView.SelectionMode.ExtendedSelection)
        self.setAccessibleName("Studies and series")
        self.selectionModel().currentChanged.connect(self._current)
        self.selectionModel().selectionChanged.connect(self._selection)
        self.clicked.connect(self._clicked)
        self.expanded.connect(self._expanded)
        theme.changed().connect(self._restyle)

    def state_of(self, members: Sequence[Series]) -> str:
        """Which badge it gets: its role, or that it is not for denoising; “mixed” where volumes differ."""
        states = {self._state(series) for series in members}
        return states.pop() if len(states) == 1 else "mixed"

    def warning_of(self, members: Sequence[Series]) -> tuple[str, str]:
        """(the line of a row that warns, its colour); empty if there is nothing to say."""
        warned = [series for series in members if warning_words(series)]
        if not warned:
            return "", "warn"
        if self.state_of(members) == "insisted":
            return "Will be denoised: you asked for it", "warn"
        words = warning_words(warned[0])
        if len(warned) < len(members):
            words = f"{len(warned)} of {len(members)}: {words}"
        return words, "warn" if any(series.treat == "denoise" for series in members) else "text3"

    def _state(self, series: Series) -> str:
        if series.treat == "denoise":
            return self._roles.get(series.uid, "unused")
        return "insisted" if series.uid in self._insisted else series.treat

    @Slot()
    def _restyle(self) -> None:
        self.scheduleDelayedItemsLayout()
        self.viewport().update()

    # ---- filling
    def set_series(self, series: Sequence[Series], current: str) -> None:
        """Show these; thumbnails follow from a thread."""
        self._quiet = True
        self._shown = tuple(series)
        self._items.clear()
        studies: dict[str, QStandardItem] = {}
        for members in _together(series):
            first = members[0]
            study = studies.get(first.study_uid)
            if study is None:
                study = QStandardItem(first.label)
                study.setData(date_words(first.study_date), DATE)
                study.setFlags(Qt.ItemFlag.ItemIsEnabled)
                studies[first.study_uid] = study
                self._items.appendRow(study)
            study.appendRow(self._item(first) if len(members) == 1 else self._volumes(members))
        self._unfold()
        self._quiet = False
        self.select(current)
        self._load_thumbs()

    def _item(self, series: Series) -> QStandardItem:
        item = QStandardItem(series_name(series))
        item.setData(series, SERIES)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        item.setToolTip(tip(series))
        about = f"{series_name(series)}, {meta_words(series)}. {warning_words(series)}"
        item.setData(about, Qt.ItemDataRole.AccessibleTextRole)
        return item

    def _volumes(self, members: list[Series]) -> QStandardItem:
        item = QStandardItem(volumes_name(members))
        item.setData(tuple(members), VOLUMES)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        about = f"{volumes_name(members)}, {len(members)} volumes"
        item.setToolTip(about)
        item.setData(about, Qt.ItemDataRole.AccessibleTextRole)
        for series in members:
            item.appendRow(self._item(series))
        return item

    def _unfold(self) -> None:
        """Studies open; series of many volumes closed, unless something is looked for."""
        looking = bool(self._filter.filterRegularExpression().pattern())
        for row in range(self._filter.rowCount()):
            study = self._filter.index(row, 0)
            self.setExpanded(study, True)
            for child in range(self._filter.rowCount(study)):
                index = self._filter.index(child, 0, study)
                self.setExpanded(index, looking or self._filter.rowCount(index) <= OPEN_UP_TO)

    def set_roles(self, roles: Mapping[str, Role], insisted: frozenset[str] = frozenset()) -> None:
        """Repaint the badges."""
        self._roles, self._insisted = roles, insisted
        self._filter.invalidate()
        self.viewport().update()

    def set_filter(self, text: str) -> None:
        """Keep series whose words contain the text."""
        self._filter.setFilterFixedString(text)
        self._unfold()

    def hide_where(self, hidden: Callable[[Series], bool]) -> None:
        """Leave out some series."""
        self._filter.hidden = hidden
        self._filter.invalidate()
        self._unfold()

    # ---- rows
    def _below(self, parent: QModelIndex) -> Iterator[QModelIndex]:
        for row in range(self._filter.rowCount(parent)):
            index = self._filter.index(row, 0, parent)
            if index.data(SERIES) is not None:
                yield index
            yield from self._below(index)

    def indexes(self) -> Iterator[QModelIndex]:
        """All series that the filter lets through."""
        return self._below(QModelIndex())

    def select(self, uid: str) -> None:
        """Make a series the current one; a row of many closed volumes stands for its first."""
        for index in self.indexes():
            if index.data(SERIES).uid == uid:
                above = index.parent()
                closed = above.data(VOLUMES) is not None and not self.isExpanded(above) and index.row() == 0
                shown = above if closed else index
                self.selectionModel().setCurrentIndex(shown, QItemSelectionModel.SelectionFlag.ClearAndSelect)
                self.scrollTo(shown)
                return

    def selected(self) -> list[Series]:
        """What a role is given to, each once: a row of volumes stands for all of them."""
        found: dict[str, Series] = {}
        for index in self.selectionModel().selectedIndexes():
            for series in index.data(VOLUMES) or (index.data(SERIES),):
                if series is not None:
                    found[series.uid] = series
        return list(found.values())

    @Slot(QModelIndex, QModelIndex)
    def _current(self, index: QModelIndex, _before: QModelIndex) -> None:
        series = next(iter(index.data(VOLUMES) or (index.data(SERIES),)))
        if series is not None and not self._quiet:
            self.current_changed.emit(series.uid)

    @Slot(QItemSelection, QItemSelection)
    def _selection(self, _on: QItemSelection, _off: QItemSelection) -> None:
        if not self._quiet:
            self.selection_changed.emit()

    @Slot(QModelIndex)
    def _clicked(self, index: QModelIndex) -> None:
        if index.data(SERIES) is None:
            self.setExpanded(index, not self.isExpanded(index))

    # ---- thumbnails
    def _to_be_seen(self) -> Iterator[Series]:
        """Of many closed volumes only the first has a picture in the tree."""
        for members in _together(self._shown):
            opened = len(members) <= OPEN_UP_TO or members[0].uid in self._opened
            yield from members if opened else members[:1]

    @Slot(QModelIndex)
    def _expanded(self, index: QModelIndex) -> None:
        members = index.data(VOLUMES)
        if members is not None and members[0].uid not in self._opened:
            self._opened.add(members[0].uid)
            if len(members) > OPEN_UP_TO:
                self._load_thumbs()

    def _load_thumbs(self) -> None:
        self.release()
        missing = [one for one in self._to_be_seen() if one.uid not in self.thumbs]
        if not missing:
            return
        size = round(THUMB * self.devicePixelRatioF())

        @contextmanager
        def opened() -> Iterator[slices.Fetch]:
            yield lambda index: (missing[index].uid, imaging.thumbnail(missing[index], size))

        self._lane = slices.start(slices.SliceLane(opened, len(missing), keep=1, reach=0))
        self._lane.ready.connect(self._thumb)
        self._lane.sweep()

    @Slot(int, object)
    def _thumb(self, _index: int, found: tuple[str, np.ndarray]) -> None:
        uid, grey = found
        grey = np.ascontiguousarray(grey)
        high, wide = grey.shape
        picture = QPixmap.fromImage(QImage(grey.data, wide, high, wide, QImage.Format.Format_Grayscale8).copy())
        picture.setDevicePixelRatio(self.devicePixelRatioF())
        self.thumbs[uid] = picture
        self.viewport().update()

    def release(self) -> None:
        """End the thumbnail thread."""
        if self._lane is not None:
            self._lane.end()
            self._lane = None

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        shown = [series for series in self.selected() if series.treat == "view"]
        if not shown:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if all(series.uid in self._insisted for series in shown):
            menu.addAction("Do not denoise", lambda: self.insist_wanted.emit(False))
        else:
            menu.addAction("Denoise anyway…", lambda: self.insist_wanted.emit(True))
        menu.popup(event.globalPos())
