from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aegui import settings
from aegui.errors import UserError
from aegui.imaging import OutputRules
from aegui.spec import SpecError


def test_output_choices_are_remembered(homes: Path) -> None:
    rules = OutputRules(format="dicom", suffix="_x", series_number="901", deidentify=True)
    settings.save(settings.Settings(output=rules))
    assert settings.load().output == rules


def test_a_file_that_knows_the_suffix_alone_is_still_read(homes: Path) -> None:
    file = homes / "config" / "settings.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("theme: dark\nsuffix: _clean\n")
    read = settings.load()
    assert (read.theme, read.output) == ("dark", OutputRules(suffix="_clean"))
    settings.save(read)
    assert settings.load() == read
    assert "\nsuffix" not in file.read_text()


def test_a_broken_file_is_set_aside(homes: Path, expect_log: Any) -> None:
    file = homes / "config" / "settings.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("output:\n  format: floppy\n")
    expect_log("settings set aside")
    assert settings.load() == settings.Settings()
    assert "floppy" in file.with_suffix(".broken.yaml").read_text()


def test_text_given_as_an_override_stays_text() -> None:
    rules = OutputRules().with_set(["series_number=+2000", "suffix=1e3", "deidentify=true", "transfer_syntax=rle"])
    assert (rules.series_number, rules.suffix, rules.deidentify, rules.transfer_syntax) == ("+2000", "1e3", True, "rle")


def test_what_differs_from_the_defaults_is_said_in_words() -> None:
    assert OutputRules().changes() == {}
    rules = OutputRules(deidentify=True, noise_series=True, transfer_syntax="jpeg-ls", series_number="901")
    assert list(rules.changes().values()) == ["series number 901", "JPEG-LS", "noise kept", "de-identified"]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("series_number=many", "901"),
        ("suffix=" + "x" * 17, "at most 16"),
        ("series_description={patient}", "{description}"),
        ("format=floppy", "floppy|png"),
        ("colour=red", "colour"),
        ("suffix", "name=value"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_would_do(assignment: str, words: str) -> None:
    with pytest.raises(UserError) as raised:
        OutputRules().with_set([assignment])
    assert any(word in f"{raised.value}" for word in words.split("|"))
    assert not isinstance(raised.value, SpecError) or raised.value.where
