"""What Scans shows before anything is loaded: a place to drop, the two ways, sample data, privacy."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPixmap, QResizeEvent
from PySide6.QtWidgets import QLabel, QWidget

from aegui import paths
from aegui.gui.widgets.basic import STRETCH, ClickCard, button, column, holder, icon_label, label, row, scroll
from aegui.gui.widgets.painted import Badge, KeyCap
from aegui.gui.widgets.states import DropZone

WIDTH = 960
LOW = 680  # px of height below which the drop zone shrinks


@dataclass(frozen=True)
class Sample:
    """One card of sample data. parts: which folders of `sample.generate` it opens."""

    key: str
    title: str
    detail: str
    licence: str
    parts: tuple[str, ...]


SAMPLES = (
    Sample("pair", "CT phantom, two doses", "4 patients, low and full dose", "Simulated", ("low", "full")),
    Sample("low", "CT phantom, low dose", "4 patients, to denoise", "Simulated", ("low",)),
    Sample("other", "CT and MR test slices", "The test files of pydicom", "MIT", ("other",)),
)


def _way(icon: str, title: str, detail: str) -> ClickCard:
    words = column(label(title, "h3"), label(detail, "ter", wrap=True), gap=2)
    inner = row(icon_label(icon, 24, "accentText"), (words, 1), icon_label("arrow-right", 16, "text3"))
    inner.setContentsMargins(16, 12, 16, 12)
    inner.setSpacing(14)
    return ClickCard(inner, title, description=detail)


def _sample(sample: Sample) -> ClickCard:
    picture = QLabel()
    picture.setFixedSize(72, 72)
    picture.setScaledContents(True)
    picture.setPixmap(QPixmap(str(paths.resource("samples", f"{sample.key}.png"))))
    badge = row(Badge(sample.licence, "outline"), STRETCH)
    words = column(STRETCH, label(sample.title, "med"), label(sample.detail, "ter", wrap=True), badge, STRETCH, gap=4)
    inner = row(picture, (words, 1), gap=12)
    inner.setContentsMargins(12, 10, 12, 10)
    return ClickCard(inner, f"Sample data: {sample.title}", description=sample.detail)


class FirstRun(QWidget):
    """open_wanted, images_wanted: ask for a folder, for files. denoise_wanted, adapt_wanted: the two ways."""

    open_wanted = Signal()
    images_wanted = Signal()
    denoise_wanted = Signal()
    adapt_wanted = Signal()
    sample_wanted = Signal(object)
    dropped = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.open = button("Open DICOM folder…", "primary", "folder-open", size="l", clicked=self.open_wanted.emit)
        self.images = button("Open images…", "default", "image", size="l", clicked=self.images_wanted.emit)
        self._sub = label("A DICOM folder, a DICOMDIR, NIfTI files, a zip, or a folder of PNG or TIFF images", "sec")
        self._keys = holder(row(STRETCH, KeyCap("Ctrl O"), label("opens a folder", "ter"), STRETCH))
        self._icon = holder(row(STRETCH, icon_label("folder-open", 40, "accentText"), STRETCH))
        self.drop = DropZone(
            column(
                STRETCH,
                self._icon,
                row(STRETCH, label("Drop scans here to begin", "h1"), STRETCH),
                row(STRETCH, self._sub, STRETCH),
                8,
                row(STRETCH, self.open, self.images, STRETCH, gap=12),
                self._keys,
                STRETCH,
                margins=(24, 12, 24, 12),
                gap=8,
            )
        )
        self.drop.dropped.connect(self.dropped)
        self.denoise = _way("wand-sparkles", "Denoise now", "Clean a folder with a shipped model. No training.")
        self.adapt = _way("sliders-horizontal", "Adapt a model", "Fine-tune a pretrained model to your own scans.")
        self.denoise.clicked.connect(self.denoise_wanted)
        self.adapt.clicked.connect(self.adapt_wanted)
        self.samples = {sample.key: _sample(sample) for sample in SAMPLES}
        for sample in SAMPLES:
            self.samples[sample.key].clicked.connect(lambda s=sample: self.sample_wanted.emit(s))
        privacy = label("Files stay on this computer. Originals are never changed.", "ter")
        self._parts = column(
            STRETCH,
            self.drop,
            16,
            row((self.denoise, 1), (self.adapt, 1), gap=16),
            20,
            row(label("Try with sample data", "h2"), label("Made by the app, no download", "ter"), STRETCH, gap=12),
            8,
            row(*((made, 1) for made in self.samples.values()), gap=16),
            20,
            row(icon_label("lock", 14, "text3"), privacy, STRETCH),
            STRETCH,
            margins=(0, 16, 0, 16),
            gap=0,
        )
        inner = holder(self._parts)
        inner.setMaximumWidth(WIDTH)
        self.setLayout(column(scroll(holder(row(STRETCH, (inner, 100), STRETCH, margins=(24, 0, 24, 0))))))
        self._fit()

    def _fit(self) -> None:
        low = self.height() < LOW
        self._icon.setVisible(not low)
        self._keys.setVisible(not low)
        self.drop.setFixedHeight(176 if low else 280)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit()
        super().resizeEvent(event)

    def focus(self) -> None:
        """Where the keyboard starts."""
        self.open.setFocus(Qt.FocusReason.OtherFocusReason)
