"""The shell: pages, keys, notices, themes, leaving while something runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QWidget,
)

from aegui import recipes
from aegui.errors import UserError
from aegui.events import Done, Event, Progress, Stop
from aegui.gui import dialogs, theme
from aegui.gui.bars import RESEARCH, told
from aegui.gui.focus_ring import FocusRing
from aegui.gui.widgets.basic import button, column, holder, scroll
from aegui.gui.window import SMALLEST, Window


def counting(log: list[str]) -> Iterator[Event]:
    try:
        while True:
            time.sleep(0.005)
            yield Progress(1, 10, "Counting")
    except Stop:
        log.append("stopped")
        yield Done("best")
    finally:
        log.append("released")


def test_ctrl_and_a_number_opens_each_of_the_five_steps(window, qtbot):
    for number, key in enumerate(("scans", "recipe", "train", "review", "deliver"), start=1):
        qtbot.keyClick(window, Qt.Key(Qt.Key.Key_0 + number), Qt.KeyboardModifier.ControlModifier)
        assert window.page.key == key
        assert window.rail.items[number - 1].isChecked()
        assert window.head.title.text() == window.page.title


def test_a_blocked_step_can_be_opened_and_says_what_is_missing(window, qtbot):
    assert window.rail.items[2].kind == "blocked"
    qtbot.mouseClick(window.rail.items[2], Qt.MouseButton.LeftButton)
    assert window.page.key == "train"
    assert "missing" in window.rail.items[2].note


def test_the_research_notice_is_on_every_page(window):
    for index in range(5):
        window.show_page(index)
        assert any(
            child.isVisible() and getattr(child, "text", lambda: "")() == RESEARCH
            for child in window.status.findChildren(QWidget)
        )


def test_a_problem_the_user_can_solve_stays_in_place_with_its_hint(window):
    window.session.report(UserError("The folder is gone.", "Choose another."))
    assert window.notices.isVisible()
    assert window.notices.text == "The folder is gone. Choose another."


def test_a_bug_opens_the_crash_dialog_with_details_that_hold_no_path(window, qtbot):
    try:
        raise ValueError("cannot read /home/jane/Smith_John/ct.dcm")
    except ValueError as error:
        window.session.report(error)
    dialog = window.findChild(dialogs.Dialog)
    assert dialog is not None
    assert dialog.isVisible()
    details = dialogs.technical(error_of("cannot read /home/jane/Smith_John/ct.dcm"))
    assert "Smith" not in details
    assert "ValueError" in details
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: window._dialog is None)


def error_of(text: str) -> ValueError:
    return ValueError(text)


def test_an_exception_in_a_slot_does_not_end_the_program(window, qtbot):
    class Bad(QWidget):
        def act(self) -> None:
            raise RuntimeError("slot")

    bad = Bad(window)
    window.session.page_state_changed.connect(bad.act)
    with qtbot.captureExceptions() as caught:
        window.session.page_state_changed.emit()
    window.session.page_state_changed.disconnect(bad.act)
    assert [kind for kind, *_ in caught] == [RuntimeError]


def test_the_theme_switches_while_the_window_is_open_and_is_remembered(window):
    before = window.grab().toImage().pixelColor(700, 500)
    window.set_look("light", 115)
    after = window.grab().toImage().pixelColor(700, 500)
    assert theme.name() == "light"
    assert after.lightness() > 200 > 60 > before.lightness()
    assert window.session.settings.theme == "light"
    assert QApplication.font().pixelSize() == 15
    window.set_look("dark", 100)


def test_a_toast_goes_away_and_never_more_than_two_are_shown(window):
    for number in range(4):
        window.session.toast.emit("ok", f"Saved {number}", "")
    QApplication.processEvents()
    shown = [toast for toast in window.toasts.shown if toast.isVisible()]
    assert [toast.accessibleName() for toast in shown] == ["Saved 2", "Saved 3"]
    for toast in shown:
        assert window.rect().contains(toast.geometry())


def test_the_status_bar_tells_the_running_task_and_then_that_there_is_none(window, qtbot):
    log: list[str] = []
    job = window.session.lanes.create(counting(log), "Counting")
    job.start()
    qtbot.waitUntil(lambda: window.status.task.text() == "Counting 1 of 10")
    assert window.status.bar.isVisible()
    assert window.status.bar.value() == 100
    job.stop()
    qtbot.waitUntil(lambda: window.status.task.text() == "No background tasks")


def test_progress_without_a_length_shows_no_bar():
    assert told("Scanning", Progress(12, None, "Looking for files")) == ("Looking for files 12", None)


def test_closing_while_a_job_runs_asks_first_and_keep_running_keeps_it(window, qtbot):
    log: list[str] = []
    job = window.session.lanes.create(counting(log), "Training")
    job.start()
    window.close()
    assert window.isVisible()
    dialog = window.findChild(dialogs.Dialog)
    assert dialog is not None
    assert "Training is still running" in dialog.windowTitle()
    focused = dialog.focusWidget()
    assert isinstance(focused, QAbstractButton)
    assert focused.text() == "Keep running"
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    qtbot.wait(30)
    assert job.isRunning()
    assert log == []


def test_stop_and_close_lets_the_job_finish_and_then_closes(window, qtbot):
    log: list[str] = []
    results: list[object] = []
    job = window.session.lanes.create(counting(log), "Training")
    job.done.connect(results.append)
    with qtbot.waitSignal(job.event):
        job.start()
    job.pause()
    window.close()
    dialog = window.findChild(dialogs.Dialog)
    (button,) = [b for b in dialog.findChildren(QAbstractButton) if b.text() == "Stop and close"]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=5000)
    assert log == ["stopped", "released"]
    assert results == ["best"]


def test_a_training_run_is_put_down_so_that_it_can_be_gone_on_with(window, qtbot):
    log: list[str] = []
    results: list[object] = []
    job = window.session.lanes.create(counting(log), "Training", resumable=True)
    job.done.connect(results.append)
    with qtbot.waitSignal(job.event):
        job.start()
    window.close()
    dialog = window.findChild(dialogs.Dialog)
    assert any("can be resumed" in words.text() for words in dialog.findChildren(QLabel))
    (button,) = [b for b in dialog.findChildren(QAbstractButton) if b.text() == "Stop and close"]
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=5000)
    assert log == ["released"] and results == []


def test_what_is_dropped_anywhere_on_the_window_is_scanned(window, qtbot, phantom):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(phantom["other"]))])
    window.show_page(3)
    event = QDropEvent(
        QPointF(600, 400),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    qtbot.waitUntil(lambda: bool(window.session.series), timeout=20_000)
    assert window.page.key == "scans"


def test_every_control_of_every_page_has_an_accessible_name(opened, phantom):
    window = opened(phantom["low"], phantom["full"])
    nameless = []
    for index in range(5):
        window.show_page(index)
        QApplication.processEvents()
        for child in window.findChildren(QWidget):
            control = isinstance(child, QAbstractButton | QComboBox | QLineEdit | QSlider)
            inside = child.objectName().startswith("qt_")
            if control and child.isVisible() and not inside and not (child.accessibleName() or _text(child)):
                nameless.append(f"{window.page.key}: {type(child).__name__} in {type(child.parent()).__name__}")
    assert nameless == []


def _text(widget: QWidget) -> str:
    return widget.text() if isinstance(widget, QAbstractButton) else ""


def test_no_page_needs_more_room_than_the_smallest_window(opened, phantom):
    window = opened(phantom["low"])
    for page in window.pages:
        needed = page.minimumSizeHint()
        assert needed.width() <= 1280 - 104, page.key
        assert needed.height() <= 720 - 48 - 64 - 32, page.key


def test_no_button_is_narrower_than_its_words_when_text_is_large(opened, phantom):
    window = opened(phantom["low"])
    long = recipes.load("denoise").model_copy(update={"id": "mine", "title": "2.5 mm venous portal phase, our scanner"})
    window.session.set_preset(long.with_set(["run.epochs=7"]))
    window.resize(*SMALLEST)
    try:
        for key in ("recipe", "review", "deliver"):
            window.show_page_named(key)
            for size in (130, 100):
                window.set_look("dark", size)
                QTest.qWait(50)
                buttons = [b for b in window.page.findChildren(QPushButton) if b.isVisible() and b.text()]
                tight = [b.text() for b in buttons if b.width() < b.minimumSizeHint().width()]
                assert buttons and tight == [], (key, size)
    finally:
        window.set_look("dark", 100)


def test_tab_shows_a_ring_around_the_focus_and_the_mouse_never_does(window, qtbot):
    window.activateWindow()
    window.scans.first.open.setFocus()
    # As from the keyboard: to the window, which hands it to the widget that has the focus.
    QTest.keyClick(window.windowHandle(), Qt.Key.Key_Tab)
    qtbot.waitUntil(window.ring.isVisible)
    drop = window.scans.first.drop
    QTest.mouseClick(
        window.windowHandle(),
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
        drop.mapTo(window, QPoint(5, 5)),
    )
    assert not window.ring.isVisible()


def test_the_ring_stays_within_what_is_scrolled(themed, qtbot):
    host = QWidget()
    qtbot.addWidget(host)
    inside = [button(f"Number {number}") for number in range(9)]
    area = scroll(holder(column(*inside)))
    host.setLayout(column((area, 1), button("Below"), margins=(8, 8, 8, 8)))
    host.resize(200, 200)
    host.show()
    qtbot.waitExposed(host)
    ring = FocusRing(host)
    cut = next(one for one in inside if one.mapTo(host, one.rect().bottomLeft()).y() > area.geometry().bottom())
    for target, shown in ((inside[0], True), (cut, True), (inside[-1], False)):
        ring._target = target
        ring._place()
        assert ring.isVisible() == shown
        assert not shown or area.geometry().contains(ring.geometry())


def test_the_place_of_the_window_is_remembered(themed, qtbot):
    first = Window()
    qtbot.addWidget(first)
    first.show()
    first.resize(1300, 760)
    first.close()
    second = Window()
    qtbot.addWidget(second)
    assert second.height() == 760  # the offscreen screen is too narrow for the width
    second.close()


def test_the_window_shows_before_torch_is_imported():
    code = (
        "import sys; from PySide6.QtWidgets import QApplication; from aegui.gui import theme; "
        "from aegui.gui.window import Window; app = QApplication([]); theme.apply(app, 'dark'); "
        "w = Window(); w.show(); app.processEvents(); print('torch' in sys.modules); w.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
