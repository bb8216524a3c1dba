"""The viewport: geometry, mouse, keys, and what linked views share."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from aegui.gui import planes
from aegui.gui.widgets.tools import Ruler, probe_words
from aegui.gui.widgets.view_link import ViewLink, number
from aegui.gui.widgets.viewport import Viewport, grey
from aegui.imaging.geometry import geometry
from aegui.imaging.series import Geometry, Series


@pytest.fixture
def view(themed: QApplication, qtbot) -> Viewport:
    link = ViewLink()
    made = Viewport("Axial", link)
    made._kept = link  # a link belongs to its page; here the test holds it
    qtbot.addWidget(made)
    made.resize(400, 300)
    link.open(20, "CT")
    pixels = np.zeros((100, 100), np.float32)
    pixels[:, 50:] = 1000
    made.set_image(pixels, (1.0, 1.0))
    made.show()
    return made


def drag(view: Viewport, button: Qt.MouseButton, start: QPoint, end: QPoint) -> None:
    for kind, point, held in (
        (QEvent.Type.MouseButtonPress, start, button),
        (QEvent.Type.MouseMove, end, button),
        (QEvent.Type.MouseButtonRelease, end, Qt.MouseButton.NoButton),
    ):
        pressed = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else button
        where = QPointF(point)
        none = Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(view, QMouseEvent(kind, where, view.mapToGlobal(where), pressed, held, none))


def turn(view: Viewport, steps: int, at: QPointF, modifiers: Qt.KeyboardModifier) -> None:
    event = QWheelEvent(
        at,
        view.mapToGlobal(at),
        QPoint(),
        QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton,
        modifiers,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(view, event)


def test_windowing_is_linear_and_clips_at_both_ends():
    image = grey(np.array([[-500.0, 0.0, 40.0, 240.0, 900.0]], np.float32), 400, 40)
    assert [image.pixelColor(x, 0).red() for x in range(5)] == [0, 102, 128, 255, 255]


def test_nothing_but_black_is_drawn_for_missing_values():
    image = grey(np.array([[np.nan, np.inf]], np.float32), 1, 0.5)
    assert [image.pixelColor(x, 0).red() for x in range(2)] == [0, 255]


def test_the_picture_fits_and_keeps_the_shape_of_its_voxels(view):
    view.set_image(np.zeros((100, 50), np.float32), (1.0, 2.0))
    where = view.target()
    assert (where.width(), where.height()) == (300, 300)


def test_image_and_widget_positions_are_inverse_even_when_zoomed_and_moved(view):
    view.link.set_zoom(3.0, QPointF(0.2, -0.1))
    point = view.to_widget(17, 63)
    back = view.to_image(point)
    assert (back.x(), back.y()) == pytest.approx((17, 63))


def test_the_right_button_changes_window_and_level_and_the_image_follows(view):
    view.link.set_window(400, 40)
    drag(view, Qt.MouseButton.RightButton, QPoint(100, 100), QPoint(200, 150))
    assert view.link.width > 400
    assert view.link.level > 40
    assert view.link.preset == 0


def test_the_middle_button_moves_the_picture_with_the_mouse(view):
    before = view.to_widget(10, 10)
    drag(view, Qt.MouseButton.MiddleButton, QPoint(100, 100), QPoint(130, 80))
    after = view.to_widget(10, 10)
    assert (after.x() - before.x(), after.y() - before.y()) == pytest.approx((30, -20))


def test_ctrl_and_wheel_zoom_about_the_mouse(view):
    at = QPointF(120, 90)
    before = view.to_image(at)
    turn(view, 3, at, Qt.KeyboardModifier.ControlModifier)
    after = view.to_image(at)
    assert view.link.zoom == pytest.approx(1.15**3)
    assert (after.x(), after.y()) == pytest.approx((before.x(), before.y()))


def test_the_wheel_goes_one_slice_down_the_stack_and_stops_at_its_end(view):
    view.link.set_slice(18)
    for _ in range(5):
        turn(view, -1, QPointF(50, 50), Qt.KeyboardModifier.NoModifier)
    assert view.link.slice == 19


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Qt.Key.Key_Down, 11),
        (Qt.Key.Key_Up, 9),
        (Qt.Key.Key_PageDown, 19),
        (Qt.Key.Key_PageUp, 0),
        (Qt.Key.Key_Home, 0),
        (Qt.Key.Key_End, 19),
    ],
)
def test_keys_scroll(view, qtbot, key, expected):
    assert view.link.slice == 10
    qtbot.keyClick(view, key)
    assert view.link.slice == expected


def test_number_keys_set_ct_windows_and_r_shows_the_whole_picture(view, qtbot):
    qtbot.keyClick(view, Qt.Key.Key_2)
    assert (view.link.width, view.link.level) == (1500, -600)
    view.link.set_zoom(4.0, QPointF(1, 1))
    qtbot.keyClick(view, Qt.Key.Key_R)
    assert view.link.zoom == 1
    assert view.link.pan == QPointF(0, 0)


def test_only_ct_has_presets_beside_auto(view, qtbot):
    view.link.open(5, "MR")
    width = view.link.width
    qtbot.keyClick(view, Qt.Key.Key_2)
    assert view.link.width == width
    with qtbot.waitSignal(view.link.auto_wanted):
        qtbot.keyClick(view, Qt.Key.Key_1)


def test_linked_views_scroll_zoom_and_window_together(view, qtbot):
    other = Viewport("Denoised", view.link)
    qtbot.addWidget(other)
    other.set_image(np.ones((100, 100), np.float32))
    view.link.set_window(80, 40)
    assert other.picture().pixelColor(0, 0).red() == 3
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert "slice 12 of 20" in other.accessibleName()


def test_the_accessible_name_tells_slice_and_window(view):
    view.link.set_window(1500, -600)
    assert view.accessibleName() == "Axial, slice 11 of 20, window 1500 level −600"


def test_the_slice_bar_at_the_right_edge_takes_the_mouse(view):
    drag(view, Qt.MouseButton.LeftButton, QPoint(396, 150), QPoint(396, 299))
    assert view.link.slice == 19


def test_a_view_without_an_image_shows_its_reason_and_no_numbers(view):
    view.set_image(None, message="This slice cannot be decoded.")
    assert view.corner_words()[1:] == ((), (), ())
    assert not view.grab().isNull()


def test_the_ruler_measures_in_millimetres_with_the_spacing(view):
    view.set_image(np.zeros((100, 100), np.float32), (0.5, 2.0))
    ruler = Ruler(view)
    ruler.set_on(True)
    view.pressed.emit(10, 10)
    view.dragged.emit(13, 18)
    assert ruler.length() == pytest.approx(np.hypot(3 * 2.0, 8 * 0.5))
    assert not view.grab().isNull()


def test_the_probe_says_value_mean_and_spread_with_a_true_minus():
    pixels = np.full((10, 10), -742.0, np.float32)
    assert probe_words(pixels, 5, 5, "HU") == ("−742 HU", "5 × 5 mean −742 ± 0")
    assert probe_words(pixels, 10, 5, "HU") is None


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (-112.5, "−112"), (0.123, "0.12"), (12.34, "12.3"), (1500, "1500")]
)
def test_numbers_on_images_are_short(value, text):
    assert number(value) == text


def a_series(orientation: tuple[float, ...], step: tuple[float, float, float], form: str = "dicom") -> Series:
    positions = tuple((step[0] * i, step[1] * i, step[2] * i) for i in range(8))
    geometry = Geometry((2.0, 1.0, 1.0), orientation, positions)
    return Series("1", "2", "p", "ANON", "", "CT", "", form, (), 16, 32, 8, geometry)  # type: ignore[arg-type]


def test_planes_of_an_axial_stack_are_named_and_lettered_and_stand_upright():
    series = a_series((1, 0, 0, 0, 1, 0), (0, 0, 2))
    main, across, along = planes.main_plane(series), *planes.other_planes(series)
    assert (main.name, across.name, along.name) == ("Axial", "Coronal", "Sagittal")
    assert main.letters == ("R", "L", "A", "P")
    assert across.letters == ("R", "L", "S", "I")
    assert along.letters == ("A", "P", "S", "I")
    stack = np.arange(8 * 16 * 32, dtype=np.float32).reshape(8, 16, 32)
    assert np.array_equal(across.cut(stack, 3), stack[::-1, 3, :])  # the highest slice is on top
    assert np.array_equal(along.cut(stack, 5), stack[::-1, :, 5])
    assert across.vertical(0, 8) == 7


def test_planes_of_a_sagittal_stack_are_named_by_where_they_look():
    series = a_series((0, 1, 0, 0, 0, -1), (2, 0, 0))
    main, across, along = planes.main_plane(series), *planes.other_planes(series)
    assert (main.name, across.name, along.name) == ("Sagittal", "Axial", "Coronal")
    assert main.letters == ("A", "P", "S", "I")


def test_pictures_have_no_letters_and_unknown_positions_give_one_plane():
    series = a_series((1, 0, 0, 0, 1, 0), (0, 0, 2), form="images")
    assert planes.main_plane(series).letters is None
    lost = Series("1", "2", "p", "A", "", "CT", "", "dicom", (), 16, 32, 8, Geometry((0.0, 1.0, 1.0)))
    assert not planes.has_planes(lost)
    assert "positions" in planes.why_not(lost)


@pytest.mark.parametrize(
    ("zs", "reason"),
    [
        ((0, 2, 4, 6, 8, 10), ""),
        ((0, 2, 4, 8, 10, 12), "Slices are missing, so there is one view."),
        ((0, 2, 4, 7, 9, 11), "The distance of the slices varies, so there is one view."),
        ((3, 3, 3, 3, 3, 3), "All slices lie at one position, so there is one view."),
    ],
)
def test_other_planes_are_shown_only_where_the_slices_allow_it(zs, reason):
    shape = geometry([(0.0, 0.0, float(z)) for z in zs], (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0))
    series = Series("1", "2", "p", "A", "", "CT", "", "dicom", (), 16, 32, len(zs), shape)
    assert planes.why_not(series) == reason
