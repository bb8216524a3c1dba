"""Deliver's left side: exports, each verified, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegui import recipes
from aegui.analysis.report import USE
from aegui.errors import UserError
from aegui.events import finish
from aegui.gui import exports
from aegui.gui.pages.deliver import DeliverPage
from aegui.inference.export import LIMIT
from aegui.models import bundle
from tests.gui.deliveries import ct_only, finished


@pytest.fixture
def page(deliver_page: DeliverPage) -> DeliverPage:
    return deliver_page


def test_adapters_are_offered_for_a_model_that_has_them(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    from aegui.models import lora, zoo

    one = page.exports.cards["adapter"]
    assert one.isHidden()
    path = tmp_path / "small.aegui"
    base = zoo.load_model("general-small")
    recipe = recipes.load("few-scans").with_set(["adaptation.rank=1"])
    lora.attach(base.net, recipe.adaptation, 0)
    bundle.save(path, base.card, base.net, recipe, "", {}, base=base.card)
    page.session.set_model(path)
    assert not one.isHidden()
    page.exports.export("adapter", tmp_path / "out.adapter.safetensors")
    qtbot.waitUntil(lambda: one.state in ("ok", "failed"), timeout=60_000)
    assert one.state == "ok", one.toolTip()
    assert (tmp_path / "out.adapter.safetensors").stat().st_size < 100_000


def test_an_export_is_verified_and_its_file_shown(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.exports.export("safetensors", tmp_path / "model.safetensors")
    finished(qtbot, page)
    one = page.exports.cards["safetensors"]
    assert one.state == "ok"
    assert one.words.text().startswith("Verified, max |Δ| 0 ")
    assert one.button.text().strip() == "Show file"
    assert (tmp_path / "model.safetensors").is_file()
    page.session.set_model("general-small")
    assert one.state == "none"


def test_a_bundle_of_a_shipped_model_is_written_and_checked(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.exports.export("bundle", tmp_path / "mine.aegui")
    finished(qtbot, page)
    assert page.exports.cards["bundle"].state == "ok"
    page.session.set_model(tmp_path / "mine.aegui")
    page.start()
    finished(qtbot, page)
    assert page.batch.model.count("done", "flagged") == 2


def test_a_model_without_weights_makes_no_bundle(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.session.set_model("monai-autoencoder")
    page.exports.export("bundle", tmp_path / "mine.aegui")
    finished(qtbot, page)
    assert page.exports.cards["bundle"].state == "err"
    assert "has no trained weights" in page.exports.cards["bundle"].words.text()
    assert not list(tmp_path.glob("*.aegui"))


def test_a_bundle_that_fails_its_own_test_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ct_only(tmp_path / "source.aegui")
    monkeypatch.setattr(bundle, "self_test", lambda path: 2 * LIMIT)
    for ref in (source, "general-small"):
        with pytest.raises(UserError, match="does not do what the model does"):
            finish(exports.run(ref, "bundle", tmp_path / "mine.aegui"))
    assert list(tmp_path.glob("*.aegui")) == [source]


def test_an_export_that_cannot_be_written_says_why_on_its_card(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    page.exports.export("safetensors", tmp_path / "file" / "model.safetensors")
    finished(qtbot, page)
    one = page.exports.cards["safetensors"]
    assert one.state == "err"
    assert "cannot be written" in one.words.text()
    assert one.button.text().strip() == "Export…"


def test_the_report_lists_exports_and_series(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    page.start()
    finished(qtbot, page)
    page.write_report(tmp_path / "report.html")
    words = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert USE in words
    assert "Thin" in words
    assert "Phantom" not in words


# ---------------------------------------------------------------- how series are written
