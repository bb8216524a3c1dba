"""Studies and their series: thumbnail, description, what it is, its role, and warnings in words."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    QSortFilterProxyModel,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import (
    QFontMetrics,
    QImage,
    QPainter,
    QPainterPath,
    QPixmap,
    QStandardItem,
    QStandardItemModel,
)
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTreeView

from aegui import imaging
from aegui.gui import slices, theme
from aegui.gui.session import Role
from aegui.gui.widgets.painted import badge_size, draw_badge
from aegui.imaging.series import Series

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SERIES = int(Qt.ItemDataRole.UserRole)
THUMB = 48
BADGES: Mapping[str, tuple[str, str]] = {
    "noisy": ("Noisy", "info"),
    "clean": ("Target", "ok"),
    "label": ("Labelled", "neutral"),
    "holdout": ("Hold-out", "outline"),
}
Index = QModelIndex | QPersistentModelIndex


def date_words(date: str) -> str:
    """“14 Mar 2026” from a DICOM date; other texts as they are."""
    try:
        day = datetime.datetime.strptime(date.strip(), "%Y%m%d")
    except ValueError:
        return date
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def spacing_words(series: Series) -> str:
    """“0.70 × 0.70 × 1.0”, as far as it is known."""
    z, y, x = series.geometry.spacing
    if series.form == "images":
        return f"{series.columns} × {series.rows} px"
    plane = f"{x:.2f} × {y:.2f}"
    return f"{plane} × {z:.1f}" if z else f"{plane} mm"


def meta_words(series: Series) -> str:
    """The second line: modality, slices, spacing."""
    modality = "Image" if series.form == "images" else series.modality
    return f"{modality} · {series.slices} sl · {spacing_words(series)}"


def warning_words(series: Series) -> str:
    """The third line; empty if there is nothing to say."""
    if series.treat != "denoise":
        return series.reason
    return series.warnings[0] if series.warnings else ""


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


class _Delegate(QStyledItemDelegate):
    def __init__(self, tree: SeriesTree) -> None:
        super().__init__(tree)
        self._tree = tree

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        series = index.data(SERIES)
        if series is None:
            return QSize(200, theme.scaled(36))
        extra = theme.scaled(17) if warning_words(series) else 0
        return QSize(200, max(64, theme.scaled(16 + 38) + extra))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        area: QRect = option.rect.adjusted(8, 1, -8, -1)
        series = index.data(SERIES)
        if series is None:
            self._paint_study(painter, area, index)
        else:
            state = option.state
            self._paint_series(painter, area, series, state)
        painter.restore()

    def _paint_study(self, painter: QPainter, area: QRect, index: Index) -> None:
        arrow = "chevron-down" if self._tree.isExpanded(index) else "chevron-right"
        painter.drawPixmap(area.x() + 8, area.center().y() - 6, theme.pixmap(arrow, "text2", 14))
        date = str(index.data(SERIES + 1) or "")
        painter.setFont(theme.font(12))
        wide = painter.fontMetrics().horizontalAdvance(date)
        painter.setPen(theme.colour("text3"))
        line = area.adjusted(28, 0, -8, 0)
        painter.drawText(line, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), date)
        painter.setFont(theme.font(13, 600))
        painter.setPen(theme.colour("text"))
        name = painter.fontMetrics().elidedText(
            str(index.data() or ""), Qt.TextElideMode.ElideMiddle, line.width() - wide - 8
        )
        painter.drawText(line, int(Qt.AlignmentFlag.AlignVCenter), name)

    def _paint_series(self, painter: QPainter, area: QRect, series: Series, state: QStyle.StateFlag) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        if state & QStyle.StateFlag.State_Selected or state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(theme.colour("selected" if state & QStyle.StateFlag.State_Selected else "hover"))
            painter.drawRoundedRect(area, 6, 6)
        thumb = QRect(area.x() + 8, area.y() + 7, THUMB, THUMB)
        clip = QPainterPath()
        clip.addRoundedRect(thumb, 4, 4)
        painter.fillPath(clip, theme.colour("viewport"))
        picture = self._tree.thumbs.get(series.uid)
        if picture is not None:
            painter.save()
            painter.setClipPath(clip)
            painter.drawPixmap(thumb, picture)
            painter.restore()
        words = QRect(thumb.right() + 13, area.y() + 8, area.right() - thumb.right() - 21, theme.scaled(18))
        words.setRight(area.right() - 8)
        text, tone = BADGES.get(self._tree.role_of(series.uid), ("", ""))
        room = words.width()
        if text:
            size = badge_size(text)
            draw_badge(painter, QRect(QPoint(words.right() - size.width() + 1, words.y() - 1), size), text, tone)
            room -= size.width() + 8
        unused = not text
        painter.setFont(theme.font(13, 500))
        painter.setPen(theme.colour("text2" if unused else "text"))
        name = painter.fontMetrics().elidedText(_name(series), Qt.TextElideMode.ElideMiddle, room)
        painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter), name)
        warning = warning_words(series)
        words.translate(0, theme.scaled(19 if warning else 24))
        self._line(painter, words, meta_words(series), "text3")
        if warning:
            words.translate(0, theme.scaled(18))
            role = "warn" if series.treat == "denoise" else "text3"
            icon = "triangle-alert" if series.treat == "denoise" else "circle-minus"
            painter.drawPixmap(words.x(), words.center().y() - 5, theme.pixmap(icon, role, 12))
            self._line(painter, words.adjusted(18, 0, 0, 0), warning, role)

    def _line(self, painter: QPainter, rect: QRect, text: str, role: str) -> None:
        painter.setFont(theme.font(12))
        painter.setPen(theme.colour(role))
        shown = QFontMetrics(theme.font(12)).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter), shown)


def _name(series: Series) -> str:
    return series.description or f"{series.modality} series"


class SeriesTree(QTreeView):
    """current_changed: uid. selected: the uids that a role is given to."""

    current_changed = Signal(str)
    selection_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.thumbs: dict[str, QPixmap] = {}
        self._roles: Mapping[str, Role] = {}
        self._lane: slices.SliceLane | None = None
        self._shown: tuple[Series, ...] = ()
        self._quiet = False
        self._items = QStandardItemModel(self)
        self._filter = _Filter()
        self._filter.setSourceModel(self._items)
        self.setModel(self._filter)
        self.setItemDelegate(_Delegate(self))
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
        theme.changed().connect(self._restyle)

    def role_of(self, uid: str) -> str:
        """For the delegate."""
        return self._roles.get(uid, "unused")

    @Slot()
    def _restyle(self) -> None:
        self.scheduleDelayedItemsLayout()
        self.viewport().update()

    def set_series(self, series: Sequence[Series], current: str) -> None:
        """Show these; thumbnails follow from a thread."""
        self._quiet = True
        self._shown = tuple(series)
        self._items.clear()
        studies: dict[str, QStandardItem] = {}
        for one in series:
            study = studies.get(one.study_uid)
            if study is None:
                study = QStandardItem(one.label)
                study.setData(date_words(one.study_date), SERIES + 1)
                study.setFlags(Qt.ItemFlag.ItemIsEnabled)
                studies[one.study_uid] = study
                self._items.appendRow(study)
            item = QStandardItem(_name(one))
            item.setData(one, SERIES)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            item.setToolTip("\n".join([_name(one), meta_words(one), *one.warnings, one.reason]).strip())
            about = f"{_name(one)}, {meta_words(one)}. {warning_words(one)}"
            item.setData(about, Qt.ItemDataRole.AccessibleTextRole)
            study.appendRow(item)
        self.expandAll()
        self._quiet = False
        self.select(current)
        self._load_thumbs()

    def set_roles(self, roles: Mapping[str, Role]) -> None:
        """Repaint the badges."""
        self._roles = roles
        self._filter.invalidate()
        self.viewport().update()

    def set_filter(self, text: str) -> None:
        """Keep series whose words contain the text."""
        self._filter.setFilterFixedString(text)
        self.expandAll()

    def hide_where(self, hidden: Callable[[Series], bool]) -> None:
        """Leave out some series."""
        self._filter.hidden = hidden
        self._filter.invalidate()
        self.expandAll()

    def indexes(self) -> Iterator[QModelIndex]:
        """All shown series."""
        for row in range(self._filter.rowCount()):
            study = self._filter.index(row, 0)
            for child in range(self._filter.rowCount(study)):
                yield self._filter.index(child, 0, study)

    def select(self, uid: str) -> None:
        """Make a series the current one."""
        for index in self.indexes():
            if index.data(SERIES).uid == uid:
                self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect)
                self.scrollTo(index)
                return

    def selected(self) -> list[Series]:
        """What a role is given to."""
        found = [index.data(SERIES) for index in self.selectionModel().selectedIndexes()]
        return [series for series in found if series is not None]

    @Slot(QModelIndex, QModelIndex)
    def _current(self, index: QModelIndex, _before: QModelIndex) -> None:
        series = index.data(SERIES)
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
    def _load_thumbs(self) -> None:
        self.release()
        missing = [one for one in self._shown if one.uid not in self.thumbs]
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
