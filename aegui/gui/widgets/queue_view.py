"""The batch queue on the screen: a table whose last column ends in the row's action."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QRect, QRectF, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from aegui.gui import theme
from aegui.gui.timers import once
from aegui.gui.widgets.painted import animated
from aegui.gui.widgets.queue import (
    COLUMNS,
    FLAGS,
    PROGRESS,
    REASON,
    ROW,
    SERIES,
    SLICES,
    STATES,
    STATUS,
    TIME,
    Entry,
    QueueModel,
)

Index = QModelIndex | QPersistentModelIndex
THUMB = 32
SAID = ("skipped", "failed")  # of whom there is a reason to read and nothing to measure
SETTLE = 80  # ms without scrolling before pictures are drawn
_LEFT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
_WIDTHS = {SLICES: 60, STATUS: 94, PROGRESS: 84, TIME: 78, FLAGS: 72}


class QueueDelegate(QStyledItemDelegate):
    """Paints a row; a click on the words of its action is told through the view."""

    turn = 0  # degrees, of the running row's spinner
    hovered = -1  # row under the mouse

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        entry: Entry = index.data(ROW)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = option.rect
        state = option.state
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, theme.colour("selected"))
        elif index.row() == self.hovered:
            painter.fillRect(area, theme.colour("hover"))
        painter.setPen(QPen(theme.colour("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        inner = area.adjusted(8, 0, -8, 0)
        text = str(index.data())
        first = self._view.reason_from(entry)
        if index.column() >= first:
            # The reason takes the room of columns that have nothing to say; each paints its part of it.
            painter.setClipRect(area)
            inner.setLeft(self._view.columnViewportPosition(first) + 8)
            inner.setRight(self._view.columnViewportPosition(REASON) + self._view.columnWidth(REASON) - 8)
            self._reason(painter, inner, entry)
            painter.restore()
            return
        match index.column():
            case 0:
                self._series(painter, inner, entry)
            case 2:
                self._status(painter, inner, entry)
            case 3:
                self._progress(painter, inner, entry)
            case 5:
                self._words(painter, inner, text, "warn" if entry.flagged else "text3", 12)
            case column:
                self._words(painter, inner, text, "text2" if column == TIME else "text3", 12)
        painter.restore()

    def __init__(self, view: QueueView) -> None:
        super().__init__(view)
        self._view = view

    def _words(self, painter: QPainter, area: QRect, text: str, role: str, px: int = 13, weight: int = 400) -> None:
        font = theme.font(px, weight)
        painter.setFont(font)
        painter.setPen(theme.colour(role))
        mode = Qt.TextElideMode.ElideMiddle if weight > 400 else Qt.TextElideMode.ElideRight
        painter.drawText(area, _LEFT, QFontMetrics(font).elidedText(text, mode, area.width()))

    def _series(self, painter: QPainter, area: QRect, entry: Entry) -> None:
        place = QRect(area.x() - 2, area.center().y() - THUMB // 2 + 1, THUMB, THUMB)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("viewport"))
        painter.drawRoundedRect(place, 4, 4)
        if entry.thumb is not None:
            painter.drawPixmap(place, entry.thumb)
        role = "text3" if entry.status == "skipped" else "text"
        self._words(painter, area.adjusted(THUMB + 8, 0, 0, 0), entry.name, role, 13, 500)

    def _status(self, painter: QPainter, area: QRect, entry: Entry) -> None:
        icon, role, word = STATES[entry.status]
        image = theme.pixmap(icon, role, 14)
        left, top = area.x(), area.center().y() - 6
        if entry.status == "running" and self.turn:
            painter.save()
            painter.translate(left + 7, top + 7)
            painter.rotate(self.turn)
            painter.drawPixmap(-7, -7, image)
            painter.restore()
        else:
            painter.drawPixmap(left, top, image)
        self._words(painter, area.adjusted(22, 0, 0, 0), word, role, 12)

    def _progress(self, painter: QPainter, area: QRect, entry: Entry) -> None:
        track = QRectF(area.x(), area.center().y() - 2, area.width(), 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("track"))
        painter.drawRoundedRect(track, 3, 3)
        share = entry.done / entry.series.slices if entry.series.slices else 0
        if share > 0:
            painter.setBrush(theme.colour("ok" if entry.status in ("done", "flagged") else "accent"))
            painter.drawRoundedRect(QRectF(track.x(), track.y(), max(6.0, track.width() * min(1, share)), 6), 3, 3)

    def _reason(self, painter: QPainter, area: QRect, entry: Entry) -> None:
        room = area
        if entry.action:
            link = self.link_rect(area, entry)
            self._words(painter, link, entry.action, "accentText", 13, 500)
            room = area.adjusted(0, 0, -link.width() - 8, 0)
        role = {"failed": "err", "waiting": "text3", "skipped": "text3"}.get(entry.status, "text2")
        self._words(painter, room, entry.words, role, 12)

    @staticmethod
    def link_rect(area: QRect, entry: Entry) -> QRect:
        """Where the action's words stand in the inner part of the last column."""
        width = QFontMetrics(theme.font(13, 500)).horizontalAdvance(entry.action) + 2
        return QRect(area.right() - width + 1, area.y(), width, area.height())

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(60, 48)


class QueueView(QTableView):
    """acted: (entries, one of the row actions), by click or Enter. seen: the entries in view, when they change."""

    acted = Signal(list, str)
    seen = Signal(list)

    def __init__(self, model: QueueModel) -> None:
        super().__init__()
        self.delegate = QueueDelegate(self)
        self._queue = model
        self.setModel(model)
        self.setItemDelegate(self.delegate)
        self.setAccessibleName("Queue of series to denoise")
        self.setProperty("rows", "1")  # hovering tints a whole row, which the delegate paints
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(48)
        head = self.horizontalHeader()
        head.setFixedHeight(30)
        head.setHighlightSections(False)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._timer = QTimer(self)
        self._timer.setInterval(80)
        self._timer.timeout.connect(self._turn)
        self._settle = once(self, SETTLE, self._tell_seen)
        self.verticalScrollBar().valueChanged.connect(self._moved)
        for signal in (model.modelReset, model.rowsInserted, model.rowsRemoved):
            signal.connect(self._moved)
        theme.changed().connect(self.viewport().update)

    def set_running(self, running: bool) -> None:
        """Turn the running row's spinner, unless the system wants no motion."""
        if running and animated(self):
            self._timer.start()
        else:
            self._timer.stop()
            self.delegate.turn = 0

    def selected(self) -> list[Entry]:
        """The chosen rows."""
        return [index.data(ROW) for index in self.selectionModel().selectedRows()]

    def _turn(self) -> None:
        self.delegate.turn = (self.delegate.turn + 30) % 360
        for entry in self.in_view():
            if entry.status == "running":
                index = self._queue.index(self._queue.row(entry), STATUS)
                self.viewport().update(self.visualRect(index))

    def in_view(self) -> list[Entry]:
        """The entries whose rows are to be seen."""
        first, last = self.rowAt(0), self.rowAt(self.viewport().height() - 1)
        if first < 0:
            return []
        return self._queue.entries[first : last + 1] if last >= 0 else self._queue.entries[first:]

    @Slot()
    def _moved(self) -> None:
        self._settle.start()

    def _tell_seen(self) -> None:
        if self.isVisible():
            self.seen.emit(self.in_view())

    def reason_from(self, entry: Entry) -> int:
        """The column where an entry's reason begins: further left where nothing was measured or flagged."""
        if entry.status in SAID:
            return TIME if self.isColumnHidden(PROGRESS) else PROGRESS
        return REASON if entry.flagged or entry.status in ("flagged", "running") else FLAGS

    def _hover(self, row: int) -> None:
        before, self.delegate.hovered = self.delegate.hovered, row
        for changed in {before, row} - {-1}:
            top = self.rowViewportPosition(changed)
            self.viewport().update(0, top, self.viewport().width(), self.rowHeight(changed))

    def _entry_link(self, event: QMouseEvent) -> Entry | None:
        index = self.indexAt(event.position().toPoint())
        if not index.isValid() or index.column() != REASON:
            return None
        entry: Entry = index.data(ROW)
        area = self.visualRect(index).adjusted(8, 0, -8, 0)
        hit = entry.action and self.delegate.link_rect(area, entry).adjusted(-6, 0, 8, 0)
        return entry if hit and hit.contains(event.position().toPoint()) else None

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            over = self._entry_link(event) is not None
            self._hover(self.rowAt(round(event.position().y())))
            self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.ArrowCursor)
        elif event.type() == QEvent.Type.Leave:
            self._hover(-1)
        return super().viewportEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        entry = self._entry_link(event)
        if entry is not None and event.button() == Qt.MouseButton.LeftButton:
            self.acted.emit([entry], entry.action)
        super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            chosen = self.selected()
            for action in dict.fromkeys(entry.action for entry in chosen if entry.action):
                self.acted.emit([entry for entry in chosen if entry.action == action], action)
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_out()
        self._settle.start()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._settle.start()

    def _share_out(self) -> None:
        """Fixed columns keep their width; name and reason share the rest. Narrow tables drop Time and Flags' slack."""
        room = self.viewport().width()
        widths: dict[int, int] = {column: theme.scaled(width) for column, width in _WIDTHS.items()}
        tight = room < 760
        self.setColumnHidden(PROGRESS, tight)
        fixed = sum(width for column, width in widths.items() if not (tight and column == PROGRESS))
        rest = max(200, room - fixed)
        widths[SERIES] = max(120, round(rest * (0.6 if tight else 0.52)))
        widths[REASON] = max(120, rest - widths[SERIES])
        for column in range(len(COLUMNS)):
            self.setColumnWidth(column, widths[column])

    def changeEvent(self, event: Any) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._share_out()
