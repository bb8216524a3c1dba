"""What the tests of Deliver share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aegui import recipes
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.widgets.queue import Entry
from aegui.imaging.series import Series
from tests.gui import generated


def finished(qtbot: Any, page: DeliverPage) -> None:
    qtbot.waitUntil(lambda: not page.session.lanes.running() and not page.batch.running, timeout=60_000)


def entry(page: DeliverPage, description: str) -> Entry:
    return next(one for one in page.batch.model.entries if one.series.description == description)


def text(page: DeliverPage, one: Entry, column: int) -> str:
    model = page.batch.model
    return str(model.index(model.entries.index(one), column).data())


def ct_only(path: Path) -> Path:
    """A bundle of a model that is made for CT alone."""
    from aegui.models import bundle, zoo

    model = zoo.load_model(generated.MODEL)
    bundle.save(path, model.card.model_copy(update={"modalities": ("CT",)}), model.net, recipes.shipped()[0], "", {})
    return path


def cut_short(series: Series) -> bytes:
    """Damage its second file; returns what was in it."""
    whole = series.files[1].read_bytes()
    series.files[1].write_bytes(whole[: len(whole) // 2])
    return whole
