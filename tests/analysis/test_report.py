from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aegui.analysis.pictures import grey, residual_limit, residual_map, residual_table
from aegui.analysis.report import USE, Picture, Plot, Report, Table, html, write
from aegui.errors import UserError


def example() -> Report:
    ramp = np.tile(np.linspace(-200, 300, 32, dtype=np.float32), (24, 1))
    line = np.linspace(0.1, 0.7, 9)
    return Report(
        title="Review of Chest <thin> & B60",
        subtitle="ANON-0057, slice 83 of 133",
        facts=(("Model", "General"), ("Strength", "100 %")),
        pictures=(
            Picture("Noisy", "W 400 L 50", grey(ramp, 400, 50)),
            Picture("Residual", "± 90 HU", residual_map(ramp, 90)),
        ),
        tables=(Table("Regions", ("Region", "Mean HU"), (("Liver <1>", "74"),)),),
        plots=(Plot("Noise power", "1/mm", "HU² mm²", (("before", line, 100 - line), ("after", line, 20 - line))),),
        notes=("6 slices flagged.",),
    )


def test_a_report_needs_no_other_file_and_says_what_it_is_for(tmp_path: Path) -> None:
    text = write(example(), tmp_path / "sub" / "report.html").read_text(encoding="utf-8")
    assert USE in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)
    assert len(pictures) == 2
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as picture:
        assert picture.size == (32, 24)
    for words in ("Chest &lt;thin&gt; &amp; B60", "Liver &lt;1&gt;", "6 slices flagged.", "HU² mm²"):
        assert words in text


def test_the_html_closes_every_element() -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(re.sub(r"<(\w+)([^<>]*)/>", r"<\1\2></\1>", html(example())))
    assert balance.open == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as found:
        write(example(), tmp_path / "file" / "report.html")
    assert "Choose a folder" in found.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_names_of_folders_that_are_no_unicode_are_written_all_the_same(tmp_path: Path) -> None:
    assert r"caf\udce9" in write(Report("caf\udce9", "s"), tmp_path / "report.html").read_text(encoding="utf-8")


def test_thick_slices_keep_their_shape_in_pictures() -> None:
    page = html(Report("t", "s", pictures=(Picture("Noisy", "", np.zeros((10, 20, 3), np.uint8), aspect=2.0),)))
    data = re.findall(r"base64,([A-Za-z0-9+/=]+)", page)[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (20, 20)


def test_the_window_maps_its_edges_to_black_and_white() -> None:
    shown = grey(np.array([[-151.0, -150.0, 50.0, 250.0, 260.0, np.nan]]), 400, 50)
    assert shown[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_the_residual_is_orange_where_it_was_brighter_blue_where_darker_black_at_zero() -> None:
    shown = residual_map(np.array([[90.0, 0.0, -90.0, 45.0]]), 90)
    assert shown[0].tolist() == [[255, 176, 64], [0, 0, 0], [86, 170, 240], [128, 88, 32]]
    assert residual_table(3).tolist() == [[86, 170, 240], [0, 0, 0], [255, 176, 64]]


def test_the_residual_range_is_a_round_number_that_ignores_padding() -> None:
    residual = np.random.default_rng(0).normal(0, 30, (64, 64))
    assert residual_limit(residual) in (80.0, 100.0)
    residual[:, :32] = 5000
    valid = np.zeros((64, 64), bool)
    valid[:, 32:] = True
    assert residual_limit(residual, valid) in (80.0, 100.0)
    assert residual_limit(np.zeros((8, 8))) == 1.0
