"""Several viewports that move as one, until the user unlinks them. The slice is always shared."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPointF, Signal

from aegui.gui.widgets.view_link import ViewLink


class LinkedViews(QObject):
    """Passes window, zoom and pan from any of its links to the others."""

    window_changed = Signal()
    slice_changed = Signal(int)
    auto_wanted = Signal()

    def __init__(self, count: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.linked = True
        self._passing = False
        self.links = [ViewLink(self) for _ in range(count)]
        for link in self.links:
            link.changed.connect(self._on_changed)
            link.window_changed.connect(self._on_window)
            link.slice_changed.connect(self._on_slice)
            link.auto_wanted.connect(self._on_auto)

    @property
    def first(self) -> ViewLink:
        """Speaks for all while they are linked."""
        return self.links[0]

    def open(self, slices: int, modality: str, index: int | None = None) -> None:
        """A new series in all of them."""
        self._passing = True
        for link in self.links:
            link.open(slices, modality)
            if index is not None:
                link.set_slice(index)
        self._passing = False
        self.slice_changed.emit(self.first.slice)

    def set_linked(self, linked: bool) -> None:
        """Linking again takes over the first one's window, zoom and pan."""
        self.linked = linked
        if linked:
            self._spread_view(self.first)
            self._spread_window(self.first)

    def set_window(self, width: float, level: float, preset: int = 0) -> None:
        """In all of them, linked or not: the toolbar speaks for the page."""
        for link in self.links:
            link.set_window(width, level, preset)

    def apply_preset(self, key: int) -> None:
        """In all of them."""
        self.first.apply_preset(key)
        if not self.linked and key != 1:
            for link in self.links[1:]:
                link.apply_preset(key)

    def reset(self) -> None:
        for link in self.links:
            link.reset()

    def _others(self, source: ViewLink) -> list[ViewLink]:
        return [link for link in self.links if link is not source]

    def _spread_view(self, source: ViewLink) -> None:
        self._passing = True
        for link in self._others(source):
            link.set_zoom(source.zoom, QPointF(source.pan))
        self._passing = False

    def _spread_window(self, source: ViewLink) -> None:
        self._passing = True
        for link in self._others(source):
            link.set_window(source.width, source.level, source.preset)
        self._passing = False

    def _source(self) -> ViewLink | None:
        sender = self.sender()
        return sender if isinstance(sender, ViewLink) and not self._passing else None

    def _on_changed(self) -> None:
        source = self._source()
        if source is not None and self.linked:
            self._spread_view(source)

    def _on_window(self) -> None:
        source = self._source()
        if source is None:
            return
        if self.linked:
            self._spread_window(source)
        self.window_changed.emit()

    def _on_slice(self, index: int) -> None:
        source = self._source()
        if source is None:
            return
        self._passing = True
        for link in self._others(source):
            link.set_slice(index)
        self._passing = False
        self.slice_changed.emit(index)

    def _on_auto(self) -> None:
        if self._source() is not None:
            self.auto_wanted.emit()
