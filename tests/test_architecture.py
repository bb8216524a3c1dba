"""What must stay true of the house, whoever changes a room."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from aegui import models, paths
from aegui.models.zoo import load_model
from aegui.recipes import Recipe

QT = ("PySide6", "shiboken6", "pyqtgraph", "superqt", "qtpy")
LIGHT = ("aegui.recipes", "aegui.settings", "aegui.imaging", "aegui.measure")


def loaded_after(module: str, repository: Path) -> set[str]:
    """The top-level packages in sys.modules after one import in a new process."""
    code = f"import {module}, sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["aegui.workflow", "aegui.sample"])
def test_the_core_loads_no_qt(module: str, repository: Path) -> None:
    assert not loaded_after(module, repository) & set(QT)


@pytest.mark.parametrize("module", LIGHT)
def test_the_light_parts_load_no_torch(module: str, repository: Path) -> None:
    assert not loaded_after(module, repository) & {"torch", "monai", *QT}


def test_the_window_opens_before_torch_is_imported(repository: Path) -> None:
    assert "torch" not in loaded_after("aegui.gui.app", repository)


def test_the_command_line_answers_help_without_torch_qt_or_readers(repository: Path) -> None:
    assert not loaded_after("aegui.cli", repository) & {"torch", "monai", "pydicom", "tifffile", *QT}


def test_imports_point_one_way(repository: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([program, "--no-cache"], cwd=repository, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"Contracts: [4-9] kept, 0 broken", run.stdout)


def test_the_contracts_name_every_part(repository: Path) -> None:
    contracts = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers, qt, *_ = contracts["contracts"]
    there = {f"aegui.{path.stem}" for path in (repository / "aegui").iterdir() if path.suffix == ".py" or path.is_dir()}
    there -= {"aegui.__init__", "aegui.__pycache__"}
    assert there == {part.strip() for layer in layers["layers"] for part in layer.split("|")}
    assert there - {"aegui.cli", "aegui.demo", "aegui.gui"} == set(qt["source_modules"])


def test_packaging_is_no_package_and_hides_nothing(repository: Path) -> None:
    assert not (repository / "packaging" / "__init__.py").exists()
    run = subprocess.run(
        [sys.executable, "-c", "import packaging; print(packaging.__file__)"],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert "site-packages" in run.stdout


def test_every_shipped_recipe_loads_and_bears_its_own_name() -> None:
    files = sorted(paths.resource("recipes").glob("*.yaml"))
    assert {"denoise", "discriminative", "layerwise"} <= {file.stem for file in files}
    for file in files:
        assert Recipe.load(file).id == file.stem


def test_every_shipped_model_card_loads_with_the_weights_it_names() -> None:
    cards = models.cards()
    assert cards
    assert len({card.id for card in cards}) == len(cards)
    for card in cards:
        loaded = load_model(card.id)
        assert loaded.card.id == card.id
        assert not loaded.net.training, card.id


# --- licences --------------------------------------------------------------------------------------------------


def plain(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def runtime_closure(name: str = "aegui") -> Iterator[importlib.metadata.Distribution]:
    """What the frozen program can contain: the distributions that aegui requires, and those that make it fast."""
    seen: set[str] = set()
    todo: list[tuple[str, str]] = [(name, ""), (name, "fast")]
    while todo:
        name, extra = todo.pop()
        key = plain(f"{name}[{extra}]")
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not extra:
            yield distribution
        for line in distribution.requires or ():
            requirement = Requirement(line)
            environment = {**default_environment(), "extra": extra}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                todo += [(requirement.name, wanted) for wanted in ("", *requirement.extras)]


def licences(distribution: importlib.metadata.Distribution) -> str:
    """Everything its metadata says about its licence, the full text excepted."""
    metadata = distribution.metadata
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    first_line = (metadata.get("License") or "").strip().partition("\n")[0]
    return " | ".join(filter(None, [metadata.get("License-Expression"), first_line, *classifiers]))


def allows_more_than_gpl(text: str) -> bool:
    """True unless the GPL (or a licence against commercial use) is the only choice that `text` leaves."""
    choices = [choice for part in text.split("|") for choice in re.split(r"\bOR\b", part)]
    strict = re.compile(r"(?<!L)GPL|General Public License|non-?commercial|CC-BY-NC", re.IGNORECASE)
    lesser = re.compile(r"LGPL|Lesser General Public", re.IGNORECASE)
    return any(choice.strip() and (lesser.search(choice) or not strict.search(choice)) for choice in choices)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("MIT", True),
        ("LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only", True),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", True),
        ("GPL-3.0-only", False),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", False),
        ("Non-commercial use only", False),
        ("", False),
    ],
)
def test_a_licence_is_judged_by_the_choices_it_leaves(text: str, allowed: bool) -> None:
    assert allows_more_than_gpl(text) is allowed


def test_nothing_in_the_frozen_program_is_under_the_gpl_alone() -> None:
    # A torch with CUDA brings NVIDIA's libraries, under NVIDIA's own terms, which their metadata often leave out.
    found = {
        distribution.name: licences(distribution)
        for distribution in runtime_closure()
        if not distribution.name.startswith(("nvidia-", "nvidia_", "cuda-", "cuda_"))
    }
    assert {"torch", "pydicom", "simpleitk", "pyside6-essentials"} <= {plain(name) for name in found}
    assert {name: text for name, text in found.items() if not allows_more_than_gpl(text)} == {}


def test_gpl_and_non_commercial_packages_are_no_dependencies(repository: Path) -> None:
    names = {plain(distribution.name) for distribution in runtime_closure()}
    assert not names & {"bm3d", "bm4d", "pylibjpeg-libjpeg", "python-gdcm", "pyinstaller"}
