"""Starts the real program and answers where its widgets are on the screen, so that a real mouse can be led to them.

Usage: launch.py SOCKET [ARGUMENTS OF MAIN.PY]. It answers questions only; nothing here presses, types or changes.
A question is one line of JSON {"name": …} or {"like": regular expression}, the answer a list of what is to be seen.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import QModelIndex, QPoint, QRect, Qt
from PySide6.QtNetwork import QLocalServer, QLocalSocket
from PySide6.QtWidgets import QAbstractItemView, QApplication, QWidget

MAIN = Path(__file__).resolve().parents[2] / "main.py"


def said(widget: QWidget) -> str:
    """What a person reads on it."""
    for attribute in ("text", "currentText", "toPlainText"):
        read = getattr(widget, attribute, None)
        if callable(read):
            try:
                return str(read()).replace("&", "").strip().removesuffix("…")
            except TypeError:  # needs arguments: something else by that name
                continue
    return ""


def about(widget: QWidget, area: QRect, name: str, text: str) -> dict[str, Any]:
    corner = widget.mapToGlobal(area.topLeft())
    checked = getattr(widget, "isChecked", None)
    return {
        "kind": type(widget).__name__,
        "name": name,
        "text": text,
        "rect": [corner.x(), corner.y(), area.width(), area.height()],
        "enabled": widget.isEnabled(),
        "focus": widget.hasFocus(),
        "checked": bool(checked()) if callable(checked) else False,
    }


def rows(view: QAbstractItemView) -> Iterator[dict[str, Any]]:
    model = view.model()

    def below(parent: QModelIndex) -> Iterator[dict[str, Any]]:
        for number in range(model.rowCount(parent)):
            index = model.index(number, 0, parent)
            area = view.visualRect(index).intersected(view.viewport().rect())
            if not area.isEmpty():
                name = str(index.data(Qt.ItemDataRole.AccessibleTextRole) or "")
                yield about(view.viewport(), area, name, str(index.data() or ""))
            yield from below(index)

    if model is not None:
        yield from below(QModelIndex())


def seen() -> Iterator[dict[str, Any]]:
    """Every widget and row that is to be seen, with the part of it that is."""
    modal = QApplication.activeModalWidget()
    for window in QApplication.topLevelWidgets():
        if not window.isVisible() or (modal is not None and window is not modal and not modal.isAncestorOf(window)):
            continue
        for widget in (window, *window.findChildren(QWidget)):
            area = widget.visibleRegion().boundingRect() if widget.isVisible() else QRect()
            if area.isEmpty():
                continue
            name = widget.accessibleName() or (widget.windowTitle() if widget is window else "")
            yield about(widget, area, name.removesuffix("…"), said(widget))
            if isinstance(widget, QAbstractItemView):
                yield from rows(widget)


def answer(question: dict[str, Any]) -> list[dict[str, Any]]:
    if "like" in question:
        wanted = re.compile(question["like"])
        return [one for one in seen() if wanted.search(one["name"]) or wanted.search(one["text"])]
    return [one for one in seen() if question["name"] in (one["name"], one["text"])]


def serve(place: str) -> QLocalServer:
    server = QLocalServer()
    QLocalServer.removeServer(place)

    def read(peer: QLocalSocket) -> None:
        while peer.canReadLine():
            found = answer(json.loads(bytes(peer.readLine().data())))
            peer.write(json.dumps(found).encode() + b"\n")

    def greet() -> None:
        peer = server.nextPendingConnection()
        peer.readyRead.connect(lambda: read(peer))
        peer.disconnected.connect(peer.deleteLater)

    server.newConnection.connect(greet)
    if not server.listen(place):
        raise OSError(f"{place}: {server.errorString()}")
    return server


if __name__ == "__main__":
    app = QApplication(["aegui"])
    listening = serve(sys.argv[1])
    assert QPoint(0, 0) == QApplication.primaryScreen().geometry().topLeft()  # rectangles count from there
    sys.argv = [str(MAIN), *sys.argv[2:]]
    sys.path.insert(0, str(MAIN.parent))
    runpy.run_path(str(MAIN), run_name="__main__")
