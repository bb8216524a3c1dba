"""The walks of walk.py: the real program under a real mouse and keyboard. Skipped where their tools are missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gui import desk, walk

pytestmark = pytest.mark.skipif(bool(desk.missing()), reason=f"not installed: {', '.join(desk.missing())}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return walk.scans(tmp_path_factory.mktemp("scans") / "phantom")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with desk.screen() as name:
        yield name


def test_from_first_start_a_folder_is_denoised_in_at_most_four_clicks(display: str, made: dict[str, Path]) -> None:
    assert walk.denoise_now(display, walk.alone(made["low"])) <= walk.MOST_CLICKS


def test_a_model_is_adapted_reviewed_exported_and_used_by_mouse_and_keyboard(
    display: str, made: dict[str, Path]
) -> None:
    walk.train(display, made)
