"""The lower card of Train: a validation slice as the model makes it now, or what it tells apart."""

from __future__ import annotations

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFrame, QStackedWidget

from aegui.events import Features, Preview
from aegui.gui.widgets.basic import ElidedLabel, column, frame, label, row
from aegui.gui.widgets.editors import Combo
from aegui.gui.widgets.feature_view import FeatureView
from aegui.gui.widgets.painted import Segmented
from aegui.gui.widgets.view_link import ViewLink
from aegui.gui.widgets.viewport import Viewport, grey, inverted

WAITING = "appears after the first epoch"


class WatchCard(QFrame):
    """Slices of validation, one shown at a time: noisy, as the model makes it now, reference; same window."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("card", "plain")
        self.slots: dict[int, Preview] = {}
        self.slot = 0
        self.tabs = Segmented(("Slice", "Classes"))
        self.tabs.changed.connect(self._on_tab)
        self.title = label("Preview, validation slice", "h3")
        self.chooser = Combo()
        self.chooser.setAccessibleName("Validation slice shown")
        self.chooser.activated.connect(self._on_slot)
        self.name = ElidedLabel("", "sec", Qt.TextElideMode.ElideRight)
        self.hint = label(WAITING, "ter")
        self.link = ViewLink(self)
        self.views = tuple(Viewport(title, self.link) for title in ("Noisy input", "Now", "Reference"))
        for view in self.views:
            view.top_right, view.bottom_left = (), ()
        strip = frame(row(*((view, 1) for view in self.views), gap=2), panel="black")
        self.features = FeatureView()
        self.stack = QStackedWidget()
        self.stack.addWidget(strip)
        self.stack.addWidget(self.features)
        head = row(self.tabs, self.title, (self.chooser, 2), (self.name, 1), self.hint, gap=12)
        head.setContentsMargins(16, 10, 16, 0)
        self.setLayout(column(head, (self.stack, 1), margins=(1, 0, 1, 1), gap=8))
        self.clear()

    def clear(self) -> None:
        """A run begins."""
        for view in self.views:
            view.set_image(None)
        self.slots.clear()
        self.slot = 0
        self.chooser.clear()
        self.chooser.hide()
        self.tabs.hide()
        self.tabs.set_current(0)
        self.title.show()
        self.stack.setCurrentIndex(0)
        self.name.setText("")
        self.hint.setText(WAITING)

    def show_preview(self, event: Preview) -> None:
        """A slice after an epoch; it is shown if it is the chosen one."""
        known = event.slot in self.slots
        self.slots[event.slot] = event
        if not known and event.slots > 1:
            self.chooser.addItem(event.label, event.slot)
            self.chooser.setVisible(self.stack.currentIndex() == 0)
            self.name.setText("")
        if event.slot == self.slot:
            self._draw(event)

    def show_features(self, event: Features) -> None:
        """What the model tells apart after an epoch."""
        self.features.show_features(event)
        self.tabs.show()
        self.title.setVisible(False)

    def _draw(self, event: Preview) -> None:
        noisy, now, reference = self.views
        if event.slots == 1:
            self.name.setText(event.label)
        self.hint.setText("updates each epoch")
        self.link.set_window(*event.window)
        now.title = f"Now, epoch {event.epoch}"
        reference.title = event.target
        noisy.bottom_right = (f"PSNR {event.psnr_noisy:.1f} dB",)
        now.bottom_right = (f"PSNR {event.psnr_output:.1f} dB",)
        for view, pixels in zip(self.views, (event.noisy, event.output, event.reference), strict=True):
            view.colours = inverted if event.inverted else grey
            view.set_image(pixels)

    @Slot(int)
    def _on_slot(self, index: int) -> None:
        self.slot = int(self.chooser.itemData(index))
        self._draw(self.slots[self.slot])

    @Slot(int)
    def _on_tab(self, index: int) -> None:
        self.stack.setCurrentIndex(index)
        self.chooser.setVisible(index == 0 and self.chooser.count() > 1)
