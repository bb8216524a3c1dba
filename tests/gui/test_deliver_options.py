"""Deliver's choices about what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegui import settings
from aegui.gui import project
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.widgets.output_dialog import OutputDialog
from aegui.imaging import OutputRules
from aegui.imaging.outlook import caution
from tests.gui import generated
from tests.gui.deliveries import finished


@pytest.fixture
def page(deliver_page: DeliverPage) -> DeliverPage:
    return deliver_page


def more(page: DeliverPage, qtbot: Any) -> OutputDialog:
    dialog = page.options.open_more()
    qtbot.waitUntil(dialog.isVisible)
    return dialog


def typed(dialog: OutputDialog, name: str, value: str) -> None:
    editor = dialog.form.editors[(name,)]
    editor.line.setText(value)  # type: ignore[attr-defined]
    editor.ended.emit()


def test_every_output_choice_has_one_editor_with_its_help(page: DeliverPage, qtbot: Any) -> None:
    dialog = more(page, qtbot)
    shown = [*page.options.form.editors, *dialog.form.editors]
    assert sorted(shown) == sorted((name,) for name in OutputRules.model_fields)
    for form in (page.options.form, dialog.form):
        for (name,), editor in form.editors.items():
            field = OutputRules.model_fields[name]
            first = editor.inputs()[0]
            assert str(field.title) in first.accessibleName()
            assert str(field.description) in first.accessibleDescription()
            assert first.isVisible()
    dialog.reject()


def test_choices_are_said_in_one_line_remembered_and_written(page: DeliverPage, qtbot: Any, tmp_path: Path) -> None:
    assert not page.options.special.isVisible()
    dialog = more(page, qtbot)
    typed(dialog, "series_number", "901")
    typed(dialog, "series_description", "{model} of {description}")
    dialog.form.editors[("noise_series",)].inputs()[0].click()
    dialog.close_button.click()
    said = page.options.summary.text()
    assert said == "Description {model} of {description} · series number 901 · noise kept"
    assert page.options.special.isVisible()
    assert "“classic-small of Thi" in page.example.text()
    assert "series 901" in page.example.text()
    page.start()
    finished(qtbot, page)
    written = generated.scanned(tmp_path / "out").series
    assert len(written) == 4
    assert sum(one.description.startswith("classic-small of Thin") for one in written) == 2
    rules = OutputRules(
        series_number="901", series_description="{model} of {description}", noise_series=True, suffix="_DN"
    )
    assert settings.load().output == rules
    assert project.of(page.session).output == rules


def test_a_wrong_choice_is_said_at_its_field_and_not_used(page: DeliverPage, qtbot: Any) -> None:
    dialog = more(page, qtbot)
    typed(dialog, "series_number", "nine")
    row = dialog.form.row("series_number")
    assert row.tone == "err"
    assert "901" in row.message.text.text()
    dialog.close_button.click()
    assert dialog.isVisible()
    assert dialog.focusWidget() is dialog.form.editors[("series_number",)].inputs()[0]
    assert page.options.rules() == OutputRules()
    typed(dialog, "series_number", "+5")
    assert row.tone == ""
    dialog.close_button.click()
    assert not dialog.isVisible()
    assert page.options.rules().series_number == "+5"


def test_reset_puts_the_further_choices_back_and_keeps_the_rest(page: DeliverPage, qtbot: Any) -> None:
    page.options.set_rules(OutputRules(format="dicom", suffix="_a", deidentify=True, private_tags="drop"))
    assert page.options.summary.text() == "No private tags · de-identified"
    dialog = more(page, qtbot)
    dialog.reset.click()
    assert page.options.rules() == OutputRules(format="dicom", suffix="_a")
    assert not dialog.reset.isEnabled()
    dialog.reject()
    page.options.set_rules(OutputRules(suffix="_a", deidentify=True))
    page.options.reset.click()
    assert page.options.rules() == OutputRules(suffix="_a")
    assert not page.options.special.isVisible()


def test_choices_that_concern_nothing_are_off_and_say_why(page: DeliverPage, qtbot: Any) -> None:
    page.options.set_rules(OutputRules(format="nifti"))
    dialog = more(page, qtbot)
    off = {name for (name,), editor in dialog.form.editors.items() if not editor.isEnabled()}
    assert off == {"series_description", "series_number", "transfer_syntax", "private_tags", "deterministic_uids"}
    row = dialog.form.row("transfer_syntax")
    assert row.toolTip() == row.message.text.text() == "Only for DICOM; the output is NIfTI."
    dialog.reject()
    page.options.set_rules(OutputRules())
    page.options.set_forms(["volume"])
    assert page.options.not_dicom() == "Only for DICOM; no queued series is DICOM."


def test_a_suffix_that_is_too_long_is_said_and_stops_the_start(page: DeliverPage) -> None:
    editor = page.options.form.editors[("suffix",)]
    editor.line.setText("x" * 17)  # type: ignore[attr-defined]
    editor.ended.emit()
    assert "at most 16" in page.options.message.text.text()
    page.start()
    assert page.problem.isVisible()
    assert not page.batch.running
    assert settings.load().output.suffix == "_DN"


def test_a_project_brings_its_output_choices_back(page: DeliverPage, tmp_path: Path) -> None:
    rules = OutputRules(transfer_syntax="rle", deterministic_uids=True)
    page.options.set_rules(rules)
    file = tmp_path / f"mine{project.SUFFIX}"
    project.save(page.session, file)
    page.options.set_rules(OutputRules())
    assert page.session.saved is False
    project.apply(page.session, project.Project.load(file))
    assert page.options.rules() == rules


def test_de_identification_warns_of_series_that_may_show_text(page: DeliverPage, qtbot: Any) -> None:
    import pydicom

    for file in page.batch.model.entries[0].series.files:
        dataset = pydicom.dcmread(file)
        dataset.BurnedInAnnotation = "YES"
        dataset.save_as(file)
    page.options.set_rules(OutputRules(deidentify=True))
    qtbot.waitUntil(page.caution.isVisible, timeout=10_000)
    words = page.caution.accessibleName()
    assert f"“{page.batch.model.entries[0].series.description}”" in words
    assert "more" not in words
    dialog = more(page, qtbot)
    assert dialog.form.row("deidentify").tone == "warn"
    dialog.form.editors[("deidentify",)].inputs()[0].click()
    assert not page.caution.isVisible()
    assert dialog.form.row("deidentify").tone == ""
    dialog.reject()


def test_the_words_of_the_caution_count_the_series(page: DeliverPage) -> None:
    both = [one.series for one in page.batch.model.entries]
    assert caution([]) == ""
    assert "and 1 more series: look at them" in caution(both)


# ---------------------------------------------------------------- what is left out
