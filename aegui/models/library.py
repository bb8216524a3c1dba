"""Which models there are, from their cards alone: no torch, no weights."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import yaml

from aegui import paths
from aegui.errors import UserError
from aegui.models.card import Card

_log = logging.getLogger(__name__)

DEFAULT = "general-small"


def card_files() -> list[Path]:
    """Shipped cards and the user's own."""
    return [*_shipped_files(), *_own_files()]


def _shipped_files() -> list[Path]:
    return sorted(paths.resource("models").glob("*.yaml"))


def _own_files() -> list[Path]:
    try:
        return sorted((paths.data_home() / "models").glob("[!.]*.yaml"))
    except UserError:  # nothing can have been kept where there can be no folder
        return []


def shipped() -> list[Card]:
    """The cards that come with the program, the default first, those without weights last."""
    return _ordered(Card.load_known(file) for file in _shipped_files())


def cards() -> list[Card]:
    """All cards, in the same order; of the user's own those that can be read."""
    return _ordered([*shipped(), *_readable(_own_files())])


def _readable(files: Iterable[Path]) -> Iterator[Card]:
    """A damaged card, or one of a later version, must not keep the program from starting."""
    for file in files:
        try:
            yield Card.load_known(file)
        except UserError as error:
            _log.warning("a model of your own is left out: %s: %s", file, error)


def _ordered(loaded: Iterable[Card]) -> list[Card]:
    return sorted(loaded, key=lambda c: (c.id != DEFAULT, c.weights is None, not c.noise_level, c.id))


def card_of(ref: str | Path) -> Card | None:
    """A model's card by id, or from its bundle; None for a bare checkpoint and for what cannot be read."""
    if Path(ref).suffix != ".aegui":
        return next((card for card in cards() if card.id == str(ref)), None)
    try:
        return _bundle_card(str(ref), Path(ref).stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _bundle_card(path: str, _changed: int) -> Card | None:
    try:
        with zipfile.ZipFile(path) as bundle:
            return Card.parse(yaml.safe_load(bundle.read("card.yaml").decode()), Path(path).name)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, yaml.YAMLError, UserError):
        return None


def require_trained(card: Card) -> None:
    """UserError for a model that would start from random weights."""
    if card.weights is None:
        raise UserError(f"“{card.title}” has no trained weights.", "Train it first, or choose another model.")


def is_file(ref: str) -> bool:
    """Whether a model is named by file, not by id."""
    return Path(ref).suffix in FILES or paths.exists(Path(ref))


def require_there(file: Path) -> None:
    """UserError where a model is named by a file that there is not."""
    if not paths.exists(file):
        raise UserError(f"There is no file {file}.", "Check the name of the model file.")


FILES = (".aegui", ".safetensors", ".pt", ".pth")


def require_model_file(file: Path) -> None:
    """UserError for what no model can be read from, by its kind alone."""
    if file.is_dir():
        inside = next(iter(sorted(file.glob("*.aegui"))), file / "model.aegui")
        raise UserError(f"{file} is a folder, not a model.", f"Name the model in it, such as {inside}.")
    require_there(file)
    if file.suffix not in FILES:
        raise UserError(f"{file.name} is not a model file.", "Model files end in .aegui, .safetensors, .pt or .pth.")


def file_of(ref: str) -> Path:
    """The card file of a model id."""
    for file in card_files():
        if file.stem == ref:
            return file
    known = ", ".join(file.stem for file in card_files())
    raise UserError(f"There is no model “{ref}”.", f"Known models: {known}. Or name a model file.")
