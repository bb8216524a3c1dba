"""The command line's program, and options that several verbs have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Adapts denoising autoencoders to your own scans, and denoises whole folders with them. "
    "Without a verb it opens the window.",
)


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Init(StrEnum):
    """Which weights training starts from."""

    pretrained = "pretrained"
    random = "random"


Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
ModelRef = Annotated[str, typer.Option("--model", "-m", help="A model's id, or a model file.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute.")]
DataOption = Annotated[list[Path], typer.Option("--data", help="Folders of scans to learn from.")]
RecipeOption = Annotated[str, typer.Option("--recipe", help="A recipe's id, or a recipe file.")]
InitOption = Annotated[Init, typer.Option("--init", help="Weights to start from.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change a value of the recipe.")]
CleanOption = Annotated[list[Path] | None, typer.Option("--clean", help="Folders of clean partners.")]
AcceptOption = Annotated[
    bool, typer.Option("--accept-pairs", help="Accept repeats that were found, and pairs by name or order.")
]
LabelsOption = Annotated[Path | None, typer.Option("--labels", help="CSV of `path or series_uid,label`.")]
