"""What the program remembers between starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import model_validator

from aegui import paths
from aegui.errors import UserError
from aegui.output_rules import OutputRules
from aegui.spec import Spec, knob

_log = logging.getLogger(__name__)


class Settings(Spec):
    """User preferences, kept as YAML."""

    theme: str = knob("system", title="Theme", help="dark, light or system", pattern="^(system|dark|light)$")
    text_size: int = knob(100, title="Text size", help="Scale of all text", unit="%", ge=100, le=130)
    device: str = knob("auto", title="Device", help="auto, cpu or cuda", pattern="^(auto|cpu|cuda)$")
    show_names: bool = knob(False, title="Show names", help="Draw patient names in the window")
    last_folder: str = knob("", title="Last folder", help="Where the open dialog starts")
    output_folder: str = knob("", title="Output folder", help="Where denoised series are written")
    output: OutputRules = knob(OutputRules(), title="Output", help="How denoised series are written")
    run_folders: tuple[str, ...] = knob((), title="Run folders", help="Looked into when runs are compared")
    sizes: dict[str, tuple[int, int]] = knob({}, title="Sizes", help="Width and height of dialogs, as they were left")
    recent: tuple[str, ...] = knob((), title="Recent folders", help="Opened lately")

    @model_validator(mode="before")
    @classmethod
    def _migrate(cls, values: Any) -> Any:
        # Older files remember the suffix alone.
        if isinstance(values, dict) and "suffix" in values:
            values = dict(values)
            values.setdefault("output", {"suffix": values.pop("suffix")})
            values.pop("suffix", None)
        return values


def _file() -> Path:
    return paths.config_home() / "settings.yaml"


def load() -> Settings:
    """The stored settings; a broken file is set aside, not overwritten."""
    file = _file()
    if not file.exists():
        return Settings()
    try:
        return Settings.load(file)
    except UserError as error:
        _log.warning("settings set aside: %s", error)
        file.replace(file.with_suffix(".broken.yaml"))
        return Settings()


def save(settings: Settings) -> None:
    """Store them atomically."""
    with paths.atomic(_file()) as temporary:
        temporary.write_text(settings.to_yaml(), encoding="utf-8")
