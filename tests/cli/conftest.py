"""Scans, a trained model, and what the command line printed."""

import shutil
from pathlib import Path

import pydicom
import pytest

from aegui import sample
from aegui.cli import run
from aegui.events import finish
from tests.cli.printed import QUICK


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return finish(sample.generate(tmp_path_factory.mktemp("scans"), slices=2, patients=3))


@pytest.fixture(scope="session")
def trained(scans: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    words = ["--model", "classic-small", "--init", "random", "--data", str(scans["low"]), "--device", "cpu"]
    assert run(["train", *words, "--set", *QUICK, "--out", str(out)]) == 0
    return out


@pytest.fixture
def odd(scans: dict[str, Path], tmp_path: Path) -> Path:
    """A folder with a localizer alone."""
    folder = Path(shutil.copytree(scans["low"] / "patient01", tmp_path / "odd"))
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.save_as(file)
    return folder
