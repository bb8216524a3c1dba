"""What a viewport draws over its image: words with a halo, letters, crosshair, scale bar, slice bar, frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from aegui.gui import theme

if TYPE_CHECKING:
    from aegui.gui.widgets.viewport import Cross, Viewport

INSET = 12
HANDLE = 32
# On images the inks are the same in both themes.
INK, TITLE, HALO, ACTIVE = "#CDD1D5", "#FFFFFF", QColor(0, 0, 0, 220), "#6CB2F7"
AMBER, GREEN, BLUE = "#F0C24A", "#5CCBA0", "#6CB2F7"  # sagittal, coronal, axial plane
_SCALE_BARS = (1, 2, 5, 10, 20, 50, 100, 200)


def halo_text(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str, ink: str = INK) -> None:
    """Text that can be read on any grey."""
    painter.setPen(HALO)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        painter.drawText(rect.translated(x, y), int(flags), text)
    painter.setPen(QColor(ink))
    painter.drawText(rect, int(flags), text)


def _corner(
    painter: QPainter, view: Viewport, lines: Sequence[str], right: bool, bottom: bool, title: bool, alone: bool
) -> None:
    high = theme.scaled(16)
    flags = Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft)
    extra = 10 if right and view.axis()[1] > 1 else 0
    # Left and right corners share the width, so that they never run into each other.
    share = 1.0 if alone else 0.62 if not right and not bottom else 0.5
    room = (view.width() - 2 * INSET) * share - extra
    for index, text in enumerate(lines):
        y = view.height() - INSET - (len(lines) - index) * high if bottom else INSET + index * high
        x = view.width() - INSET - extra - room if right else INSET
        strong = title and index == 0
        painter.setFont(theme.font(12, 600 if strong else 400))
        # In the middle: of volumes of one series, the end of the name tells which it is.
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, int(room))
        halo_text(painter, QRectF(x, y, room, high), flags, shown, TITLE if strong else INK)


def draw_words(painter: QPainter, view: Viewport) -> None:
    """Everything around the image."""
    top_left, top_right, bottom_left, bottom_right = view.corner_words()
    _corner(painter, view, top_left, False, False, bool(view.title), not any(top_right))
    _corner(painter, view, top_right, True, False, False, not any(top_left))
    _corner(painter, view, bottom_left, False, True, False, not any(bottom_right))
    _corner(painter, view, bottom_right, True, True, False, not any(bottom_left))
    if view.pixels is None:
        painter.setFont(theme.font(13))
        room = QRectF(view.rect()).adjusted(24, 24, -24, -24)
        painter.setPen(QColor(INK))
        flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
        painter.drawText(room, flags, view.message)
    else:
        _letters(painter, view)
        if view.scale_bar:
            _scale_bar(painter, view)
        _slice_bar(painter, view)
    if view.active:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(ACTIVE), 2))
        painter.drawRect(QRectF(view.rect()).adjusted(1, 1, -1, -1))


def _letters(painter: QPainter, view: Viewport) -> None:
    if view.letters is None:
        return
    left, right, top, bottom = view.letters
    wide, high, gap = view.width(), view.height(), 10 if view.axis()[1] > 1 else 0
    painter.setFont(theme.font(12, 600))
    line = theme.scaled(16)
    align = Qt.AlignmentFlag
    halo_text(painter, QRectF(INSET, high / 2 - line / 2, 20, line), align.AlignLeft, left, TITLE)
    halo_text(painter, QRectF(wide - INSET - 20 - gap, high / 2 - line / 2, 20, line), align.AlignRight, right, TITLE)
    if wide > 360:  # narrow views need the room for their corners
        halo_text(painter, QRectF(wide / 2 - 10, INSET, 20, line), align.AlignHCenter, top, TITLE)
        halo_text(painter, QRectF(wide / 2 - 10, high - INSET - line, 20, line), align.AlignHCenter, bottom, TITLE)


def draw_cross(painter: QPainter, view: Viewport, cross: Cross) -> None:
    """Two lines with a 12 px gap at the centre."""
    at = view.to_widget(cross.x, cross.y)
    painter.setPen(QPen(QColor(cross.vertical), 1))
    painter.drawLine(QPointF(at.x(), 0), QPointF(at.x(), at.y() - 12))
    painter.drawLine(QPointF(at.x(), at.y() + 12), QPointF(at.x(), view.height()))
    painter.setPen(QPen(QColor(cross.horizontal), 1))
    painter.drawLine(QPointF(0, at.y()), QPointF(at.x() - 12, at.y()))
    painter.drawLine(QPointF(at.x() + 12, at.y()), QPointF(view.width(), at.y()))


def _scale_bar(painter: QPainter, view: Viewport) -> None:
    """Only where there is room below the corner words."""
    assert view.pixels is not None
    where = view.target()
    per_mm = where.width() / (view.pixels.shape[1] * view.spacing[1])
    fitting = [mm for mm in _SCALE_BARS if 40 <= mm * per_mm <= min(160, view.width() / 4)]
    if not fitting or view.width() < 400:
        return
    length = fitting[-1]
    x = view.width() / 2 - length * per_mm / 2
    y = view.height() - INSET - theme.scaled(24)
    for ink, wide in ((QColor(0, 0, 0, 200), 3.0), (QColor(INK), 1.2)):
        painter.setPen(QPen(ink, wide))
        painter.drawLine(QPointF(x, y), QPointF(x + length * per_mm, y))
        for end in (x, x + length * per_mm):
            painter.drawLine(QPointF(end, y - 3), QPointF(end, y + 3))
    painter.setFont(theme.font(11))
    rect = QRectF(x - 20, y - theme.scaled(18), length * per_mm + 40, theme.scaled(14))
    halo_text(painter, rect, Qt.AlignmentFlag.AlignHCenter, f"{length} mm")


def _slice_bar(painter: QPainter, view: Viewport) -> None:
    index, count = view.axis()
    if count < 2:
        return
    high = view.height() - 2 * INSET
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(255, 255, 255, 40))
    painter.drawRoundedRect(QRectF(view.width() - 10, INSET, 4, high), 2, 2)
    painter.setBrush(QColor(ACTIVE if view.active else INK))
    top = INSET + index / (count - 1) * (high - HANDLE)
    painter.drawRoundedRect(QRectF(view.width() - 11, top, 6, HANDLE), 3, 3)
