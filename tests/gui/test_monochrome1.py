"""MONOCHROME1 says that low values are bright: every picture of such a slice is inverted, and only those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PySide6.QtGui import QImage

from aegui.events import Preview
from aegui.gui import previews, reports
from aegui.gui.widgets.gallery import grey_image
from aegui.gui.widgets.pair_card import crops
from aegui.gui.widgets.regions import Regions
from aegui.gui.widgets.review_views import ReviewViews
from aegui.gui.widgets.watch_card import WatchCard
from aegui.workflow import Pair
from tests.gui.generated import ct, scanned


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The same scan, once as MONOCHROME2 and once called MONOCHROME1."""
    ct(tmp_path / "two", "Plain")
    ct(tmp_path / "one", "Plain")
    for file in (tmp_path / "one").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.SeriesInstanceUID += ".1"
        dataset.SOPInstanceUID += ".1"
        dataset.save_as(file)
    return tmp_path / "two", tmp_path / "one"


def shades(picture: QImage) -> np.ndarray:
    grey = picture.convertToFormat(QImage.Format.Format_Grayscale8)
    return np.array([[grey.pixelColor(x, y).red() for x in range(grey.width())] for y in range(grey.height())])


def test_scans_and_review_show_low_values_bright(opened, qtbot, folders):
    window = opened(*folders)
    viewer, seen = window.scans.viewer, {}
    for series in window.session.series:
        window.scans.tree.select(series.uid)
        view = viewer.main
        qtbot.waitUntil(lambda: viewer._windowed, timeout=10_000)
        view.link.set_window(400, 0)
        review = next(page for page in window.pages if page.key == "review").views
        review.open(series, 0)
        review.linked.set_window(400, 0)
        for one in (review.noisy, review.denoised, review.reference, review.curtain):
            one.set_image(view.pixels)
        pictures = [shades(one.picture()) for one in (view, review.noisy, review.denoised, review.reference)]
        assert all((picture == pictures[0]).all() for picture in pictures[1:])
        review.residual.set_image(np.zeros((4, 4)))
        assert shades(review.residual.picture()).max() == 0
        seen[series.inverted] = pictures[0]
    assert seen[False].mean() != seen[True].mean()
    assert (seen[False] == 255 - seen[True]).all()


def test_crops_gallery_and_training_preview_do_too(themed, qtbot, folders):
    two, one = (scanned(folder).series[0] for folder in folders)
    pairs = [Pair(series, series, ((0, 0),), "geometry", True, "") for series in (two, one)]
    plain, turned = (shades(crops(pair)[0]) for pair in pairs)
    assert (plain == 255 - turned).all()
    events = [next(iter(previews.run(series, ()))) for series in (two, one)]
    plain, turned = (shades(grey_image(event.noisy, event.window, event.inverted)) for event in events)
    assert np.abs(plain - (255 - turned)).max() <= 1
    strip = WatchCard()
    qtbot.addWidget(strip)
    ramp = np.linspace(0, 100, 64, dtype=np.float32).reshape(8, 8)
    shown = []
    for inverted in (False, True):
        strip.show_preview(Preview("", 1, ramp, ramp, ramp, (100, 50), 0, 0, inverted))
        shown.append(shades(strip.views[1].picture()))
    assert (shown[0] == 255 - shown[1]).all()


def test_the_residual_says_brighter_of_the_picture_and_not_of_the_values(themed, qtbot, folders):
    views = ReviewViews(Regions())
    qtbot.addWidget(views)
    noisy, out = np.full((32, 32), 100, np.float32), np.full((32, 32), 90, np.float32)
    for folder, marks in zip(
        folders,
        (("orange: was brighter", "blue: was darker"), ("orange: was darker", "blue: was brighter")),
        strict=True,
    ):
        series = scanned(folder).series[0]
        views.open(series, 0)
        assert views.residual.bottom_left == marks
        views.set_doubt(True)
        views.set_doubt(False)
        assert views.residual.bottom_left == marks
        shown = reports.Shown(series, 0, noisy, out, None, (200, 100), 60.0, 100)
        report = reports.review_report(shown, [], (), (), None, [], 1, None)
        before, after, residual = report.pictures
        red, _, blue = residual.rgb[0, 0]
        assert red > blue and residual.caption.endswith(", ".join(marks))
        assert (before.rgb[0, 0] > after.rgb[0, 0]).all() == ("orange: was brighter" in marks)
