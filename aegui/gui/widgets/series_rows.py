"""What a row of the series tree says, and how it is painted: a study, a series, or the volumes of one series."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPainterPath
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from aegui.gui import theme
from aegui.gui.widgets.painted import badge_size, draw_badge
from aegui.imaging.series import Series

if TYPE_CHECKING:
    from aegui.gui.widgets.series_tree import SeriesTree

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SERIES = int(Qt.ItemDataRole.UserRole)  # of a series' row
DATE = SERIES + 1  # of a study's row
VOLUMES = SERIES + 2  # of a row that stands for several volumes: the series
THUMB = 48
INSET = 16  # of the volumes below their row
BADGES: Mapping[str, tuple[str, str]] = {
    "noisy": ("Noisy", "info"),
    "clean": ("Target", "ok"),
    "label": ("Labelled", "neutral"),
    "holdout": ("Hold-out", "outline"),
    "insisted": ("Denoise", "warn"),
    "view": ("View only", "outline"),
    "list": ("Listed", "outline"),
    "mixed": ("Mixed", "neutral"),
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
    if series.form == "images" or not series.geometry.measured:
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
    more = f" · {len(series.warnings) - 1} more" if len(series.warnings) > 1 else ""
    return f"{series.warnings[0]}{more}" if series.warnings else ""


def series_name(series: Series) -> str:
    """Its description, or what it is."""
    return series.description or f"{series.modality} series"


def volumes_name(members: Sequence[Series]) -> str:
    """What the volumes of one series are called together: what comes before the “· Echo 2 of 3”."""
    heads = {member.description.split(" · ")[0] for member in members}
    return (heads.pop() if len(heads) == 1 else "") or f"{members[0].modality} series"


def volume_name(series: Series) -> str:
    """A volume below the name of its series."""
    return " · ".join(series.description.split(" · ")[1:]) or series_name(series)


def tip(series: Series) -> str:
    """Everything there is to say, line by line."""
    return "\n".join(
        part for part in (series_name(series), meta_words(series), series.reason, *series.warnings) if part
    )


class RowPainter(QStyledItemDelegate):
    """Paints all three kinds of rows."""

    def __init__(self, tree: SeriesTree) -> None:
        super().__init__(tree)
        self._tree = tree

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        lines = self._lines(index)
        if lines is None:
            return QSize(200, theme.scaled(36))
        return QSize(200, max(64, theme.scaled(16 + 38) + (theme.scaled(17) if lines[2] else 0)))

    def _lines(self, index: Index) -> tuple[str, str, str] | None:
        """Name, what it is, warning; None for a study."""
        series, members = index.data(SERIES), index.data(VOLUMES)
        if series is not None:
            below = index.parent().data(VOLUMES) is not None
            name = volume_name(series) if below else series_name(series)
            return name, meta_words(series), self._tree.warning_of([series])[0]
        if members is None:
            return None
        counts = {member.slices for member in members}
        about = f"{members[0].modality} · {len(members)} volumes{f' of {counts.pop()} sl' if len(counts) == 1 else ''}"
        return volumes_name(members), about, self._tree.warning_of(members)[0]

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        area: QRect = option.rect.adjusted(8, 1, -8, -1)
        lines = self._lines(index)
        if lines is None:
            self._paint_study(painter, area, index)
        else:
            inset = INSET if index.parent().data(VOLUMES) is not None else 0
            self._paint_series(painter, area.adjusted(inset, 0, 0, 0), index, lines, option.state)
        painter.restore()

    def _arrow(self, painter: QPainter, x: int, y: int, index: Index) -> None:
        name = "chevron-down" if self._tree.isExpanded(index) else "chevron-right"
        painter.drawPixmap(x, y, theme.pixmap(name, "text2", 14))

    def _paint_study(self, painter: QPainter, area: QRect, index: Index) -> None:
        self._arrow(painter, area.x() + 8, area.center().y() - 6, index)
        date = str(index.data(DATE) or "")
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

    def _paint_series(
        self, painter: QPainter, area: QRect, index: Index, lines: tuple[str, str, str], state: QStyle.StateFlag
    ) -> None:
        members: Sequence[Series] = index.data(VOLUMES) or (index.data(SERIES),)
        painter.setPen(Qt.PenStyle.NoPen)
        if state & QStyle.StateFlag.State_Selected or state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(theme.colour("selected" if state & QStyle.StateFlag.State_Selected else "hover"))
            painter.drawRoundedRect(area, 6, 6)
        thumb = QRect(area.x() + 8, area.y() + 7, THUMB, THUMB)
        self._paint_thumb(painter, thumb, members[0].uid)
        words = QRect(thumb.right() + 13, area.y() + 8, area.right() - thumb.right() - 21, theme.scaled(18))
        words.setRight(area.right() - 8)
        if index.data(VOLUMES) is not None:
            self._arrow(painter, words.x(), words.center().y() - 6, index)
            words.setLeft(words.x() + 18)
        text, tone = BADGES.get(self._tree.state_of(members), ("", ""))
        room = words.width()
        if text:
            size = badge_size(text)
            draw_badge(painter, QRect(QPoint(words.right() - size.width() + 1, words.y() - 1), size), text, tone)
            room -= size.width() + 8
        used = any(self._tree.state_of([member]) in ("noisy", "clean", "label", "holdout") for member in members)
        painter.setFont(theme.font(13, 500))
        painter.setPen(theme.colour("text" if used else "text2"))
        name = painter.fontMetrics().elidedText(lines[0], Qt.TextElideMode.ElideMiddle, room)
        painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter), name)
        words.translate(0, theme.scaled(19 if lines[2] else 24))
        self._line(painter, words, lines[1], "text3")
        if lines[2]:
            words.translate(0, theme.scaled(18))
            role = self._tree.warning_of(members)[1]
            icon = "triangle-alert" if role == "warn" else "circle-minus"
            painter.drawPixmap(words.x(), words.center().y() - 5, theme.pixmap(icon, role, 12))
            self._line(painter, words.adjusted(18, 0, 0, 0), lines[2], role)

    def _paint_thumb(self, painter: QPainter, thumb: QRect, uid: str) -> None:
        clip = QPainterPath()
        clip.addRoundedRect(thumb, 4, 4)
        painter.fillPath(clip, theme.colour("viewport"))
        picture = self._tree.thumbs.get(uid)
        if picture is not None:
            painter.save()
            painter.setClipPath(clip)
            painter.drawPixmap(thumb, picture)
            painter.restore()

    def _line(self, painter: QPainter, rect: QRect, text: str, role: str) -> None:
        painter.setFont(theme.font(12))
        painter.setPen(theme.colour(role))
        shown = QFontMetrics(theme.font(12)).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter), shown)
