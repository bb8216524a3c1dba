"""Dialogs over a dimmed window: questions, errors and the crash report. Esc closes and destroys nothing."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QGuiApplication, QPainter, QPainterPath, QPaintEvent, QRegion, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QBoxLayout, QDialog, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from aegui import __version__
from aegui.gui import theme
from aegui.gui.widgets.basic import STRETCH, button, card, column, fill, icon_label, label, row

WIDTH = 608
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:\\|\\\\|/)[^\s'\"<>|:]+(?:[\\/][^\s'\"<>|:]+)+")


class Answer(NamedTuple):
    """One button of a dialog; the first one is the safe main action and has the focus."""

    text: str
    do: Callable[[], object] | None = None
    kind: str = "default"


class _Scrim(QWidget):
    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setGeometry(window.rect())
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def paintEvent(self, _event: QPaintEvent) -> None:
        QPainter(self).fillRect(self.rect(), theme.colour("scrim"))


class Dialog(QDialog):
    """A frameless sheet, 608 px wide at the usual text size; `body` takes what it says."""

    def __init__(self, window: QWidget, title: str, icon: str = "info", tone: str = "accentText") -> None:
        super().__init__(window, Qt.WindowType.Dialog | Qt.WindowType.FramelessWindowHint)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.setAccessibleName(title)
        self.setFixedWidth(min(theme.scaled(WIDTH), max(400, window.width() - 48)))
        self._scrim = _Scrim(window)
        heading = label(title, "h1", wrap=True)
        close = button(icon="x", kind="icon", tip="Close (Esc)", clicked=self.reject)
        self.body: QBoxLayout = column(gap=16)
        self.foot: QBoxLayout = row(gap=8)
        sheet = card(row(icon_label(icon, 24, tone), (heading, 1), close, gap=12), 4, kind="raised", padding=24)
        inner = sheet.layout()
        assert isinstance(inner, QVBoxLayout)
        fill(inner, self.body, 12, self.foot)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(sheet)
        self.finished.connect(self._clear_scrim)

    def _clear_scrim(self, _result: int) -> None:
        self._scrim.hide()
        self._scrim.deleteLater()

    def add_answers(self, answers: Sequence[Answer]) -> None:
        """Buttons from right to left; a “ghost” one stands at the left."""
        left = [answer for answer in answers if answer.kind == "ghost"]
        right = [answer for answer in answers if answer.kind != "ghost"]
        for answer in left:
            self.foot.addWidget(self._button(answer, answer.kind))
        self.foot.addStretch(1)
        for answer in reversed(right):
            main = answer is answers[0]
            made = self._button(answer, "primary" if main and answer.kind == "default" else answer.kind)
            self.foot.addWidget(made)
            if main:
                made.setFocus(Qt.FocusReason.OtherFocusReason)
                made.setDefault(True)

    def _button(self, answer: Answer, kind: str) -> QPushButton:
        def act() -> None:
            self.accept()
            if answer.do is not None:
                answer.do()

        return button(answer.text, kind, clicked=act)

    def resizeEvent(self, event: QResizeEvent) -> None:
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(self.rect()), 8, 8)
        self.setMask(QRegion(shape.toFillPolygon().toPolygon()))
        super().resizeEvent(event)

    def fit(self) -> None:
        """As high as the words need at this width, in the middle of the window."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
            high = layout.heightForWidth(self.width()) if layout.hasHeightForWidth() else layout.sizeHint().height()
            self.setFixedHeight(high)
        self.centre()

    def centre(self) -> None:
        """To the middle of the window, without leaving it at its top."""
        parent = self.parentWidget()
        assert parent is not None
        place = parent.rect().center() - self.rect().center()
        self.move(parent.mapToGlobal(QPoint(place.x(), max(0, place.y()))))

    def showEvent(self, event: QShowEvent) -> None:
        parent = self.parentWidget()
        assert parent is not None
        self._scrim.setGeometry(parent.rect())
        self._scrim.show()
        self._scrim.raise_()
        self.fit()
        self.centre()
        super().showEvent(event)


def ask(window: QWidget, title: str, text: str, answers: Sequence[Answer]) -> Dialog:
    """A question; it does not block. The first answer is the safe one."""
    dialog = Dialog(window, title, "circle-question-mark")
    dialog.body.addWidget(label(text, "sec", wrap=True))
    dialog.add_answers(answers)
    dialog.open()
    return dialog


def write_to(window: QWidget, chosen: Path, endings: Sequence[str], write: Callable[[Path], object]) -> None:
    """Write to the chosen name, with the first of the endings where it has none of them.

    The file dialog asked about the name as it was typed only, so this asks about the other.
    """
    file = chosen if chosen.suffix.lower() in endings else chosen.with_name(chosen.name + endings[0])
    if file == chosen or not file.exists():
        write(file)
        return
    answers = [Answer("Keep it"), Answer("Replace it", lambda: write(file))]
    ask(window, f"{file.name} is there already", "What it holds now would be gone.", answers)


def error_dialog(
    window: QWidget,
    title: str,
    happened: str,
    kept: str,
    can_do: str,
    details: str = "",
    answers: Sequence[Answer] = (Answer("Close"),),
) -> Dialog:
    """What happened, what was kept, what you can do, and technical details to copy."""
    dialog = Dialog(window, title, "octagon-alert", "err")
    for icon, role, head, text in (
        ("info", "text2", "What happened", happened),
        ("shield-check", "ok", "What was kept", kept),
        ("lightbulb", "info", "What you can do", can_do),
    ):
        if text:
            words = column(label(head, "h3"), label(text, "sec", wrap=True), gap=2)
            dialog.body.addLayout(row(column(icon_label(icon, 18, role), STRETCH), (words, 1), gap=12))
    if details:
        dialog.body.addWidget(_details(details))
    dialog.add_answers(answers)
    dialog.open()
    return dialog


def text_dialog(window: QWidget, title: str, lines: Sequence[str]) -> Dialog:
    """A list to read and copy."""
    dialog = Dialog(window, title, "list")
    view = QPlainTextEdit("\n".join(lines))
    view.setReadOnly(True)
    view.setAccessibleName(title)
    view.setFixedHeight(280)
    view.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    dialog.body.addWidget(view)
    copy = button("Copy", "ghost", "copy", clicked=lambda: QGuiApplication.clipboard().setText(view.toPlainText()))
    dialog.foot.addWidget(copy)
    dialog.add_answers([Answer("Close")])
    dialog.open()
    return dialog


def _details(text: str) -> QWidget:
    view = QPlainTextEdit(text)
    view.setProperty("t", "mono")
    view.setReadOnly(True)
    view.setAccessibleName("Technical details")
    view.setFixedHeight(120)
    view.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    view.hide()
    toggle = button(" Technical details", "ghost", size="s", name="Technical details")
    theme.set_icon(toggle, "chevron-right")

    def flip() -> None:
        view.setVisible(not view.isVisible())
        theme.set_icon(toggle, "chevron-down" if view.isVisible() else "chevron-right")
        dialog = view.window()
        if isinstance(dialog, Dialog):
            dialog.fit()

    toggle.clicked.connect(flip)
    copy = button("Copy details", "ghost", "copy", size="s")
    copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(text))
    return card(row(toggle, STRETCH, copy), view, kind="flat", padding=8)


def shortened(text: str) -> str:
    """Text without paths: folder names often hold patient names."""
    return _ABSOLUTE.sub("…", text)


def technical(error: BaseException) -> str:
    """Type, message and places in the program; no paths, no values."""
    lines = [f"{type(error).__name__}: {shortened(str(error))}"]
    for entry in traceback.extract_tb(error.__traceback__)[-12:]:
        parts = Path(entry.filename).parts
        place = "/".join(parts[parts.index("aegui") :]) if "aegui" in parts else Path(entry.filename).name
        lines.append(f"{place}:{entry.lineno} in {entry.name}")
    lines.append(f"aegui {__version__} · Python {sys.version.split()[0]} · {sys.platform}")
    return "\n".join(lines)


def crash_dialog(window: QWidget, error: BaseException) -> Dialog:
    """For errors that are bugs."""
    return error_dialog(
        window,
        "The program met an error",
        "Something went wrong that the program did not expect. What you were doing was not finished.",
        "Your scans were not changed. Finished runs, models and denoised series are where they were.",
        "You can go on working. If it happens again, copy the details and report them.",
        technical(error),
        (Answer("Go on"),),
    )
