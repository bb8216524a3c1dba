"""One slice on black: window/level, zoom, pan, scrolling, overlays. It draws arrays and never reads files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QEnterEvent,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from aegui.gui.widgets import overlay
from aegui.gui.widgets.view_link import ViewLink, number, window_words

BAR_ZONE = 18  # px at the right edge that grab the slice bar


class Cross(NamedTuple):
    """A crosshair at image coordinates (column, row) with the colours of its vertical and horizontal line."""

    x: float
    y: float
    vertical: str
    horizontal: str


def grey(pixels: np.ndarray, width: float, level: float) -> QImage:
    """Linear grey; colour pixels (rows, columns, 3) are windowed alike."""
    low = level - width / 2
    shown = np.nan_to_num((pixels - low) * (255.0 / width), nan=0.0, posinf=255.0, neginf=0.0)
    bytes_ = np.ascontiguousarray(np.rint(np.clip(shown, 0, 255)).astype(np.uint8))
    rows, columns = bytes_.shape[:2]
    kind = QImage.Format.Format_RGB888 if bytes_.ndim == 3 else QImage.Format.Format_Grayscale8
    return QImage(bytes_.data, columns, rows, bytes_.strides[0], kind).copy()


def inverted(pixels: np.ndarray, width: float, level: float) -> QImage:
    """For MONOCHROME1: low values are bright."""
    picture = grey(pixels, width, level)
    picture.invertPixels()
    return picture


class Viewport(QWidget):
    """Shows `set_image` through the window, zoom and pan of its ViewLink.

    hovered: (column, row) under the mouse as floats, (−1, −1) outside. pressed/dragged/released: the same for
    the left button, for probes and region tools. wanted_slice goes to the link, or to `slice_wanted` if the
    viewport scrolls on its own axis (`own_axis`).
    """

    hovered = Signal(float, float)
    pressed = Signal(float, float)
    dragged = Signal(float, float)
    released = Signal(float, float)
    slice_wanted = Signal(int)
    activated = Signal()

    def __init__(self, title: str = "", link: ViewLink | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.link = link or ViewLink(self)
        self.title = title
        self.subtitle: tuple[str, ...] = ()  # under the title
        self.top_right: tuple[str, ...] | None = None  # None: “Slice 91 / 133”
        self.bottom_left: tuple[str, ...] | None = None  # None: window and zoom
        self.bottom_right: tuple[str, ...] = ()
        self.letters: tuple[str, str, str, str] | None = None  # left, right, top, bottom
        self.cross: Cross | None = None
        self.scale_bar = False
        self.spacing = (1.0, 1.0)  # (row, column) distances
        self.own_axis: tuple[int, int] | None = None  # (index, count) if not the link's slices
        self.colours: Callable[[np.ndarray, float, float], QImage] = grey
        self.layers: list[Callable[[QPainter, Viewport], None]] = []  # drawn over the image: regions, curtain
        self.message = ""  # shown instead of an image, with its reason
        self.busy = False  # the image is of before; it is shown dimmed
        self.active = False
        self.tool = "window"  # what the left button does: "window", "pan", "point" (pressed/dragged/released)
        self._pixels: np.ndarray | None = None
        self._picture: QImage | None = None
        self._scaled: tuple[object, QImage] | None = None
        self._drag: tuple[str, QPointF, float, float] | None = None
        self.setMinimumSize(120, 100)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.link.changed.connect(self.update)
        self.link.window_changed.connect(self._redraw)
        self.link.slice_changed.connect(self._sliced)
        self._tell()

    # ---- content
    @property
    def pixels(self) -> np.ndarray | None:
        """What is shown, in real units."""
        return self._pixels

    def set_image(self, pixels: np.ndarray | None, spacing: Sequence[float] | None = None, message: str = "") -> None:
        """Show pixels (rows, columns[, 3]); None with the reason in `message`. spacing: (row, column)."""
        self._pixels, self.message, self.busy = pixels, message, False
        if spacing is not None:
            self.spacing = (float(spacing[0]) or 1.0, float(spacing[1]) or 1.0)
        self._redraw()

    def set_busy(self) -> None:
        """Another image is on its way; until then the old one stays, dimmed."""
        self.busy = True
        self.update()

    def set_active(self, active: bool) -> None:
        """The accent frame."""
        self.active = active
        self.update()

    def _redraw(self) -> None:
        self._picture = None
        self._scaled = None
        self._tell()
        self.update()

    def _sliced(self, _index: int) -> None:
        self._tell()
        self.update()

    def axis(self) -> tuple[int, int]:
        """(index, count) of the slices it scrolls through."""
        return self.own_axis or (self.link.slice, self.link.slices)

    def _tell(self) -> None:
        index, count = self.axis()
        self.setAccessibleName(
            f"{self.title or 'Image'}, slice {index + 1} of {count}, "
            f"window {number(self.link.width)} level {number(self.link.level)}"
        )

    # ---- geometry
    def target(self) -> QRectF:
        """Where the picture lies in the widget."""
        room = QRectF(self.rect())
        if self._pixels is None:
            return room
        rows, columns = self._pixels.shape[:2]
        height, width = rows * self.spacing[0], columns * self.spacing[1]
        scale = min(room.width() / width, room.height() / height) * self.link.zoom
        width, height = width * scale, height * scale
        centre = room.center()
        return QRectF(
            centre.x() - width / 2 + self.link.pan.x() * width,
            centre.y() - height / 2 + self.link.pan.y() * height,
            width,
            height,
        )

    def to_image(self, point: QPointF) -> QPointF:
        """(column, row) of a widget position; whole numbers are voxel centres."""
        if self._pixels is None:
            return QPointF(-1, -1)
        where, (rows, columns) = self.target(), self._pixels.shape[:2]
        return QPointF(
            (point.x() - where.x()) / where.width() * columns - 0.5,
            (point.y() - where.y()) / where.height() * rows - 0.5,
        )

    def to_widget(self, column: float, row: float) -> QPointF:
        """Widget position of (column, row)."""
        if self._pixels is None:
            return QPointF(0, 0)
        where, (rows, columns) = self.target(), self._pixels.shape[:2]
        return QPointF(
            where.x() + (column + 0.5) / columns * where.width(), where.y() + (row + 0.5) / rows * where.height()
        )

    def picture(self) -> QImage | None:
        """The windowed image."""
        if self._picture is None and self._pixels is not None:
            self._picture = self.colours(self._pixels, self.link.width, self.link.level)
        return self._picture

    # ---- painting
    def draw_picture(self, painter: QPainter, picture: QImage) -> None:
        """Paint an image of the same size as ours where ours lies (curtains use it for their second side)."""
        where, ratio = self.target(), self.devicePixelRatioF()
        wide, high = round(where.width() * ratio), round(where.height() * ratio)
        if 0 < wide < picture.width() and high > 0:
            # The painter only filters between neighbours; shrinking needs every pixel.
            key = (picture.cacheKey(), wide, high)
            if self._scaled is None or self._scaled[0] != key:
                small = picture.scaled(
                    wide, high, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
                )
                self._scaled = (key, small)
            picture = self._scaled[1]
        painter.drawImage(where, picture)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        picture = self.picture()
        if picture is not None:
            painter.setOpacity(0.6 if self.busy else 1.0)
            self.draw_picture(painter, picture)
            painter.setOpacity(1.0)
            if self.cross is not None:
                overlay.draw_cross(painter, self, self.cross)
            for paint in self.layers:
                painter.save()
                paint(painter, self)
                painter.restore()
        overlay.draw_words(painter, self)

    def corner_words(self) -> tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]:
        """Texts of the corners: top left, top right, bottom left, bottom right."""
        index, count = self.axis()
        left = [self.title, *self.subtitle] if self.title else list(self.subtitle)
        right = self.top_right if self.top_right is not None else (f"Slice {index + 1} / {count}",)
        low = self.bottom_left
        if low is None:
            low = (window_words(self.link.width, self.link.level), f"Zoom {round(100 * self.link.zoom)} %")
        if self._pixels is None:
            return left, (), (), ()
        return left, right, low, self.bottom_right

    # ---- acting
    def go_to(self, index: int) -> None:
        """Scroll to a slice."""
        _, count = self.axis()
        index = max(0, min(count - 1, index))
        if self.own_axis is None:
            self.link.set_slice(index)
        else:
            self.slice_wanted.emit(index)

    def _zoom_at(self, factor: float, point: QPointF) -> None:
        before = self.target()
        fx = (point.x() - before.x()) / max(before.width(), 1)
        fy = (point.y() - before.y()) / max(before.height(), 1)
        self.link.set_zoom(self.link.zoom * factor)
        after = self.target()
        self.link.pan_by(
            (point.x() - (after.x() + fx * after.width())) / max(after.width(), 1),
            (point.y() - (after.y() + fy * after.height())) / max(after.height(), 1),
        )

    def _grab(self, button: Qt.MouseButton, point: QPointF) -> str:
        if button == Qt.MouseButton.RightButton:
            return "window"
        if button == Qt.MouseButton.MiddleButton:
            return "pan"
        if point.x() > self.width() - BAR_ZONE and self.axis()[1] > 1:
            return "bar"
        return self.tool

    def _scroll_to(self, point: QPointF) -> None:
        count = self.axis()[1]
        room = max(1.0, self.height() - 2 * overlay.INSET - overlay.HANDLE)
        part = (point.y() - overlay.INSET - overlay.HANDLE / 2) / room
        self.go_to(round(part * (count - 1)))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        point = event.position()
        kind = self._grab(event.button(), point)
        self._drag = (kind, point, self.link.width, self.link.level)
        if kind == "bar":
            self._scroll_to(point)
        elif kind == "point":
            at = self.to_image(point)
            self.pressed.emit(at.x(), at.y())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        point = event.position()
        at = self.to_image(point)
        if self._drag is None:
            self.hovered.emit(at.x(), at.y())
            return
        kind, start, width, level = self._drag
        if kind == "window":
            # A drag over 300 px doubles or halves the width; levels move with the width shown.
            factor = 2 ** ((point.x() - start.x()) / 300)
            self.link.set_window(width * factor, level + (point.y() - start.y()) * width / 400)
        elif kind == "pan":
            where = self.target()
            self.link.pan_by((point.x() - start.x()) / where.width(), (point.y() - start.y()) / where.height())
            self._drag = (kind, point, width, level)
        elif kind == "bar":
            self._scroll_to(point)
        else:
            self.dragged.emit(at.x(), at.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._drag is not None and self._drag[0] == "point":
            at = self.to_image(event.position())
            self.released.emit(at.x(), at.y())
        self._drag = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.link.reset()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turns = event.angleDelta().y() / 120 or event.angleDelta().x() / 120
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._zoom_at(1.15**turns, event.position())
        elif turns:
            step = -round(turns) or (-1 if turns > 0 else 1)
            self.go_to(self.axis()[0] + step)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        index, count = self.axis()
        key = event.key()
        moves = {
            Qt.Key.Key_Up: index - 1,
            Qt.Key.Key_Down: index + 1,
            Qt.Key.Key_PageUp: index - 10,
            Qt.Key.Key_PageDown: index + 10,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: count - 1,
        }
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if plain and key in moves:
            self.go_to(moves[Qt.Key(key)])
        elif plain and key == Qt.Key.Key_R:
            self.link.reset()
        elif plain and Qt.Key.Key_1 <= key <= Qt.Key.Key_9 and self.link.apply_preset(key - Qt.Key.Key_0):
            pass
        else:
            super().keyPressEvent(event)  # others are the page's

    def focusInEvent(self, event: QFocusEvent) -> None:
        self.activated.emit()
        super().focusInEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        self.setCursor(Qt.CursorShape.CrossCursor if self.tool == "point" else Qt.CursorShape.ArrowCursor)

    def leaveEvent(self, event: QEvent) -> None:
        self.hovered.emit(-1.0, -1.0)
