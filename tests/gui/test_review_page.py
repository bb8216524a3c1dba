from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication

from aegui import workflow
from aegui.analysis.pictures import residual_map
from aegui.analysis.report import USE
from aegui.data.pairs import Pair
from aegui.gui import slices, theme
from aegui.gui.pages.review import ReviewPage
from aegui.gui.session import Session
from aegui.gui.widgets.regions import Region
from aegui.gui.widgets.review_views import residual_picture
from aegui.gui.widgets.structure_strip import StructureStrip
from aegui.measure.regions import Circle, compare
from tests.gui import generated

Open = Callable[..., ReviewPage]


@pytest.fixture
def review(qtbot: Any, qapp: QApplication, tmp_path: Path) -> Iterator[Open]:
    """Writes two noisy series and a clean one, and opens Review on the first."""
    theme.apply(qapp, "dark")
    folder = tmp_path / "scans"
    made: list[ReviewPage] = []

    def opened(size: tuple[int, int] = (1336, 900), before: Callable[[Session], None] | None = None) -> ReviewPage:
        generated.write_ct(folder, "Thin")
        generated.write_ct(folder, "Other", patient="B")
        session = Session()
        session.set_scan(generated.scanned(folder), [folder])
        session.set_model(generated.MODEL)
        if before is not None:
            before(session)
        page = ReviewPage(session)
        made.append(page)
        qtbot.addWidget(page)
        page.resize(*size)
        with qtbot.waitExposed(page):
            page.show()
        page.activateWindow()
        page.enter()
        ready(qtbot, page)
        return page

    yield opened
    for page in made:
        page.leave()
        page.release()
    slices.end_all()


def ready(qtbot: Any, page: ReviewPage) -> None:
    """Wait until the current slice is on the screen, denoised."""

    def shown_now() -> bool:
        view, net = page.views.denoised, page.slices.net(page.index)
        return net is not None and view.pixels is not None and not view.busy

    qtbot.waitUntil(shown_now, timeout=30_000)


def direct(page: ReviewPage, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The slice as read, and as the network gives it, without the page."""
    from aegui import imaging

    source = imaging.open_series(page.slices.series)  # type: ignore[arg-type]
    try:
        return source.read(index), workflow.preview(generated.MODEL, source, index)
    finally:
        source.close()


def shown(pixels: np.ndarray | None) -> np.ndarray:
    assert pixels is not None
    return pixels


def test_strength_0_shows_the_input_exactly_and_100_the_networks_output(review: Open) -> None:
    page = review()
    noisy, net = direct(page, page.index)
    assert np.abs(noisy - net).max() > 1
    np.testing.assert_array_equal(shown(page.views.denoised.pixels), net)
    page.bar.strength.setValue(0)
    np.testing.assert_array_equal(shown(page.views.denoised.pixels), noisy)
    assert not shown(page.views.residual.pixels).any()


def test_the_residual_is_noisy_minus_denoised_without_running_the_network_again(review: Open, qtbot: Any) -> None:
    page = review()
    noisy, net = direct(page, page.index)
    ran: list[int] = []
    page.slices.cleaned.connect(ran.append)
    page.slices.sweep(False)
    page.bar.strength.setValue(40)
    np.testing.assert_allclose(shown(page.views.denoised.pixels), noisy + 0.4 * (net - noisy), atol=1e-2)
    np.testing.assert_allclose(shown(page.views.residual.pixels), noisy - shown(page.views.denoised.pixels), atol=1e-4)
    assert page.index not in ran


def test_the_residual_range_is_printed_and_stays_while_strength_and_slice_change(review: Open, qtbot: Any) -> None:
    page = review()
    before = page.views.residual.top_right
    assert before is not None
    assert before[0].startswith("± ")
    assert before[0].endswith(" HU")
    page.bar.strength.setValue(30)
    page.views.linked.first.set_slice(0)
    ready(qtbot, page)
    assert page.views.residual.top_right == before


def test_the_uncertainty_stands_in_the_residuals_place_while_it_is_asked_for(review: Open, qtbot: Any) -> None:
    from aegui import imaging

    page = review()
    residual = shown(page.views.residual.pixels)
    page.set_mode("curtain")
    qtbot.keyClick(page.views.shown()[0], Qt.Key.Key_U)
    assert page.views.mode == "side" and page.views.residual.title == "Uncertainty"
    qtbot.waitUntil(lambda: page.views.residual.pixels is not None and not page.views.residual.busy, timeout=30_000)
    source = imaging.open_series(page.slices.series)  # type: ignore[arg-type]
    try:
        expected = workflow.uncertainty(generated.MODEL, source, page.index)
    finally:
        source.close()
    assert (expected >= 0).all() and expected.any()
    np.testing.assert_allclose(shown(page.views.residual.pixels), expected, rtol=1e-5)
    assert page.views.residual.top_right[0].startswith("0 … ")
    page.bar.strength.setValue(50)
    np.testing.assert_allclose(shown(page.views.residual.pixels), expected / 2, rtol=1e-5)
    page.bar.strength.setValue(100)
    qtbot.keyClick(page.views.shown()[0], Qt.Key.Key_U)
    assert page.views.residual.title == "Residual"
    np.testing.assert_allclose(shown(page.views.residual.pixels), residual, rtol=1e-5)


def test_linked_views_share_window_zoom_pan_and_slice(review: Open) -> None:
    page = review()
    linked = page.views.linked
    linked.links[1].set_window(300, 20)
    linked.links[3].set_zoom(2.5, QPointF(0.1, -0.2))
    linked.links[2].set_slice(1)
    for link in linked.links:
        assert (link.width, link.level, link.zoom, link.slice) == (300, 20, 2.5, 1)
        assert link.pan == QPointF(0.1, -0.2)


def test_unlinked_views_share_only_the_slice_until_they_are_linked_again(review: Open) -> None:
    page = review()
    linked = page.views.linked
    page.bar.link.setChecked(False)
    linked.links[1].set_window(300, 20)
    linked.links[1].set_zoom(3)
    linked.links[1].set_slice(0)
    assert linked.first.width != 300
    assert linked.first.zoom == 1
    assert {link.slice for link in linked.links} == {0}
    page.bar.link.setChecked(True)
    assert {link.zoom for link in linked.links} == {1}


def test_another_slice_is_read_and_denoised(review: Open, qtbot: Any) -> None:
    page = review()
    page.views.linked.first.set_slice(0)
    ready(qtbot, page)
    noisy, net = direct(page, 0)
    np.testing.assert_array_equal(shown(page.views.noisy.pixels), noisy)
    np.testing.assert_array_equal(shown(page.views.denoised.pixels), net)


def test_keys_move_the_curtain_change_strength_and_flip_sides(review: Open, qtbot: Any) -> None:
    page = review()
    curtain = page.views.curtain
    qtbot.keyClick(page.views.shown()[0], Qt.Key.Key_C)
    assert page.views.shown() == [curtain]
    assert page.bar.modes.current == 1
    curtain.setFocus()
    start = curtain.position
    for _ in range(3):
        qtbot.keyClick(curtain, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(curtain, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert curtain.position == pytest.approx(start + 0.04)
    qtbot.keyClick(curtain, Qt.Key.Key_BracketLeft)
    assert page.bar.strength.value() == 95
    qtbot.keyClick(curtain, Qt.Key.Key_A)
    assert curtain.mode == "after"
    qtbot.keyClick(curtain, Qt.Key.Key_Space)
    assert curtain.mode == "before"
    assert not curtain.flickering


def test_flicker_starts_by_choice_and_any_key_stops_it(review: Open, qtbot: Any) -> None:
    page = review()
    qtbot.keyClick(page.views.shown()[0], Qt.Key.Key_F)
    curtain = page.views.curtain
    assert curtain.flickering
    qtbot.waitUntil(lambda: curtain.mode == "after", timeout=2000)
    curtain.setFocus()
    qtbot.keyClick(curtain, Qt.Key.Key_Down)
    assert not curtain.flickering


def test_the_curtain_is_dragged_by_its_line(review: Open, qtbot: Any) -> None:
    page = review()
    page.set_mode("curtain")
    curtain = page.views.curtain
    middle = curtain.rect().center()
    qtbot.mousePress(curtain, Qt.MouseButton.LeftButton, pos=middle)
    target = middle.__class__(curtain.width() // 4, middle.y())
    qtbot.mouseMove(curtain, target)
    curtain.mouseMoveEvent(_move(curtain, target))
    qtbot.mouseRelease(curtain, Qt.MouseButton.LeftButton, pos=target)
    assert curtain.position == pytest.approx(0.25, abs=0.01)
    assert page.views.linked.first.width != 0


def _move(widget: Any, point: Any) -> Any:
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    at = QPointF(point)
    left = Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    return QMouseEvent(QEvent.Type.MouseMove, at, widget.mapToGlobal(at), left, left, none)


def test_every_slice_gets_its_score(review: Open, qtbot: Any) -> None:
    from aegui import imaging
    from aegui.analysis import structure_score

    page = review()
    qtbot.waitUntil(lambda: page.strip.known() == 5, timeout=30_000)
    source = imaging.open_series(page.slices.series)  # type: ignore[arg-type]
    noisy, net = source.read(2), workflow.preview(generated.MODEL, source, 2)
    assert page.strip.score(2) == pytest.approx(structure_score(noisy, net, source.valid(2)))
    source.close()


def test_flagged_slices_are_counted_in_places_and_stepped_through(qtbot: Any) -> None:
    strip = StructureStrip()
    qtbot.addWidget(strip)
    strip.reset(20, 0.5)
    assert strip.words() == "0 of 20 slices scored"
    for index in range(20):
        strip.set_score(index, 0.7 if index in (3, 4, 5, 11) else 0.2)
    assert strip.flags() == [3, 4, 5, 11]
    assert strip.words() == "4 slices flagged in 2 places"
    assert strip.step(0, 1) == 3
    assert strip.step(3, 1) == 11
    assert strip.step(11, 1) is None
    assert strip.step(11, -1) == 3
    strip.resize(200, 48)
    with qtbot.waitSignal(strip.picked) as picked:
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(105, 20))
    assert picked.args == [10]


def test_a_region_shows_the_same_figures_as_measure(review: Open) -> None:
    page = review()
    noisy, net = direct(page, page.index)
    circle = Circle(32, 30, 8.0)
    page.regions.change((Region(1, "Liver", circle),), 0)
    found = compare(noisy, net, circle, (0.8, 0.8))
    cells = page.measurements.model.cells(0)
    assert cells[0] == "Liver"
    assert cells[1] == f"{found.after.mean:.0f}".replace("-", "−")
    assert cells[2:4] == (f"{found.before.sd:.1f}", f"{found.after.sd:.1f}")
    assert cells[5] == f"{found.bias:+.1f}".replace("-", "−")
    assert page.measurements.model.heads()[4] == "CNR to Liver"
    assert page.views.noisy.bottom_right == (f"SD 1: {found.before.sd:.1f} HU",)
    assert page.figures.noise is not None


def test_a_first_region_is_placed_in_the_body_and_undo_takes_a_second_one_back(review: Open, qtbot: Any) -> None:
    page = review()
    (first,) = page.regions.items
    inside = first.circle.mask((64, 64), (0.8, 0.8))
    assert shown(page.views.noisy.pixels)[inside].min() > -150
    page.bar.tool.setChecked(True)
    view = page.views.noisy
    at = view.to_widget(40, 40).toPoint()
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at)
    assert [region.number for region in page.regions.items] == [1, 2]
    assert page.regions.items[1].circle.column == pytest.approx(40, abs=0.5)
    assert not page.bar.tool.isChecked()
    page.session.undo.undo()
    assert page.regions.items == (first,)


def test_snr_stands_in_for_cnr_where_values_have_a_true_zero(review: Open, tmp_path: Path, qtbot: Any) -> None:
    page = review()
    generated.write_volume(tmp_path / "mr")
    series = generated.scanned(tmp_path / "mr").series[0]
    page.open(series, 1)
    ready(qtbot, page)
    assert page.measurements.model.heads()[4] == "SNR"


def test_measurements_fold_in_low_windows_and_with_m(review: Open, qtbot: Any) -> None:
    page = review(size=(1176, 560))
    assert page.measurements.folded
    qtbot.keyClick(page.views.noisy, Qt.Key.Key_M)
    assert not page.measurements.folded


def test_held_out_series_come_first(review: Open) -> None:
    def hold_out(session: Session) -> None:
        other = next(s for s in session.series if s.description == "Other")
        session.set_roles([other.uid], "holdout")

    page = review(before=hold_out)
    assert page.chooser.itemText(0).endswith("Other (held out)")
    assert page.slices.series is not None
    assert page.slices.series.description == "Other"


def test_a_held_out_slice_of_the_run_is_shown_first(review: Open) -> None:
    def finished(session: Session) -> None:
        uid = next(s.uid for s in session.series if s.description == "Thin")
        session.result = SimpleNamespace(
            run="", bundle="x.aegui", best_epoch=3, epochs=4, holdout=((uid, 4),), scores={}, baselines={}
        )

    page = review(before=finished)
    assert page.index == 4
    assert page.chooser.currentText().endswith("Thin (held out)")


def test_the_reference_is_shown_only_with_a_pair(review: Open, qtbot: Any, tmp_path: Path) -> None:
    page = review()
    assert not page.bar.reference.isEnabled()
    clean = generated.ct(tmp_path / "clean", "Clean", sd=2)
    noisy = page.slices.series
    assert noisy is not None
    pair = Pair(noisy, clean, tuple((i, i) for i in range(4)), "geometry", True, "same place")
    page.session.found_pairs = (pair,)
    page.session.pairs_changed.emit()
    assert page.bar.reference.isEnabled()
    page.bar.reference.setChecked(True)
    qtbot.waitUntil(lambda: page.views.reference.pixels is not None, timeout=10_000)
    assert (
        shown(page.views.reference.pixels)[28:36, 28:36].std() < 4 < shown(page.views.noisy.pixels)[28:36, 28:36].std()
    )
    assert page.views.shown() == [page.views.noisy, page.views.denoised, page.views.reference, page.views.residual]
    page.views.linked.first.set_slice(4)
    ready(qtbot, page)
    assert page.views.reference.pixels is None
    assert "no partner" in page.views.reference.message


def test_a_slice_that_cannot_be_read_says_why_and_the_others_go_on(review: Open, qtbot: Any) -> None:
    page = review()
    series = page.slices.series
    assert series is not None
    page.slices.sweep(False)
    series.files[0].write_bytes(series.files[0].read_bytes()[:900])
    page.open(series, 0)
    qtbot.waitUntil(page.problem.isVisible, timeout=10_000)
    assert page.problem.accessibleName()
    page.views.linked.first.set_slice(3)
    ready(qtbot, page)
    assert page.views.noisy.pixels is not None


def test_another_model_is_run_on_the_same_slice(review: Open, qtbot: Any) -> None:
    page = review()
    before = shown(page.views.denoised.pixels).copy()
    page.session.set_model("general-small")
    ready(qtbot, page)
    qtbot.waitUntil(lambda: not np.array_equal(shown(page.views.denoised.pixels), before), timeout=30_000)
    assert page.views.denoised.subtitle[0].startswith("100 % · ")


def test_accept_keeps_the_strength_and_goes_to_deliver(review: Open, qtbot: Any) -> None:
    page = review()
    page.bar.strength.setValue(70)
    with qtbot.waitSignal(page.session.page_requested) as asked:
        page.accept.click()
    assert asked.args == ["deliver"]
    assert page.session.strength == pytest.approx(0.7)
    assert page.session.accepted is True
    assert page.rail_state() == ("done", "Accepted")


def test_reject_is_remembered_and_goes_back_to_the_recipe(review: Open, qtbot: Any) -> None:
    page = review()
    with qtbot.waitSignal(page.session.page_requested) as asked:
        page.reject.click()
    assert asked.args == ["recipe"]
    assert page.rail_state() == ("warn", "Rejected")


def test_the_report_holds_pictures_and_figures_but_no_name(review: Open, tmp_path: Path) -> None:
    page = review()
    page.write_report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert USE in text
    assert text.count("data:image/png") == 3
    assert "Region 1" in text
    assert "noisy − denoised, ± " in text
    assert "Phantom" not in text


def test_a_report_that_cannot_be_written_becomes_a_notice(review: Open, qtbot: Any, tmp_path: Path) -> None:
    page = review()
    (tmp_path / "file").write_text("")
    with qtbot.waitSignal(page.session.notice) as told:
        page.write_report(tmp_path / "file" / "report.html")
    assert "cannot be written" in told.args[0].message


def test_a_new_project_leaves_nothing_of_the_old_one(review: Open) -> None:
    page = review()
    page.session.reset()
    assert page.slices.series is None
    assert page.chooser.count() == 0
    assert not page.accept.isEnabled()


def test_a_series_of_another_folder_can_be_looked_at(review: Open, qtbot: Any, tmp_path: Path) -> None:
    page = review()
    guest = generated.ct(tmp_path / "guest", "Guest", patient="G")
    page.session.look = (guest, 3)
    page.enter()
    ready(qtbot, page)
    assert page.index == 3
    assert page.chooser.currentText().endswith("Guest")
    page.session.set_roles([page.session.series[0].uid], "holdout")
    assert page.slices.series == guest


def test_without_scans_review_says_what_is_needed(qtbot: Any, qapp: QApplication) -> None:
    theme.apply(qapp, "light")
    page = ReviewPage(Session())
    qtbot.addWidget(page)
    page.enter()
    assert page.rail_state().kind == "blocked"
    assert not page.accept.isEnabled()
    assert page.accept.toolTip() == "Open a series first"


def test_the_residual_on_the_screen_has_the_colours_of_the_reports() -> None:
    residual = np.array([[90.0, 0.0, -90.0], [500.0, np.nan, -500.0]], np.float32)
    picture = residual_picture(residual, 90)
    shown_at = [[picture.pixelColor(x, y).getRgb()[:3] for x in range(3)] for y in range(2)]
    expected = residual_map(np.clip(np.nan_to_num(residual), -90, 90), 90)
    assert np.array(shown_at).tolist() == expected.tolist()
