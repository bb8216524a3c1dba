"""The verbs, but those about recipes and training. Slow imports lie inside: help and lists start without torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegui.cli import inputs
from aegui.cli.fields import fields_of
from aegui.cli.listing import found_rows, print_found, scores_words
from aegui.cli.program import Device, DeviceOption, Json, ModelRef, app
from aegui.cli.show import drive, print_json, print_text, say
from aegui.errors import UserError
from aegui.inference.kinds import ENGINES
from aegui.output_rules import OutputRules
from aegui.paths import exists

if TYPE_CHECKING:
    pass


class Exported(StrEnum):
    """Form of an exported model."""

    onnx = "onnx"
    pt2 = "pt2"
    torchscript = "torchscript"
    safetensors = "safetensors"
    monai = "monai"
    adapter = "adapter"


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        from aegui import __version__

        print_text(f"aegui {__version__}")
        raise typer.Exit


@app.command()
def gui(folder: Annotated[Path | None, typer.Argument(help="A folder of scans to open.")] = None) -> int:
    """Open the window."""
    if folder is not None and not exists(folder):
        raise UserError(f"There is no folder or verb “{folder}”.", "Run `aegui --help` for the verbs.")
    from aegui.gui.app import run

    return int(run(folder))


# ------------------------------------------------------------------------------------------------ scan and lists


@app.command()
def scan(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders, files or zips of scans.")],
    json: Json = False,
) -> int:
    """List the series in a folder."""
    from aegui import workflow

    result = inputs.scanned(folders, json)
    proposals = workflow.propose(result.series)
    where = " and ".join(str(folder) for folder in folders)
    nothing = UserError(f"{where} holds no images.", "Choose the folder that holds the scans.")
    if json:
        told = {} if result.series else {"error": nothing.message, "hint": nothing.hint}
        print_json(found_rows(result, proposals) | told)
    else:
        print_found(result, proposals)
    if not result.series:
        say(str(nothing))
        return 1
    return 0


@app.command()
def models(
    json: Json = False,
    add: Annotated[Path | None, typer.Option(help="Import your own checkpoint (.safetensors, .pt, .pth).")] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="conv_autoencoder, residual_autoencoder, monai_autoencoder or monai_autoencoder_kl; told from the "
            "layers if absent."
        ),
    ] = None,
) -> int:
    """List the models, or import a checkpoint."""
    if add is not None:
        return _add(add, architecture, json)
    from aegui.models import library

    cards = library.cards()
    if json:
        print_json({"models": [card.model_dump(mode="json") for card in cards]})
        return 0
    for card in cards:
        fits = ", ".join(card.modalities) or "any modality"
        print_text(f"{card.id:<24} {card.title}: {card.about} ({fits}; {card.parameters:,} weights)")
    return 0


def _add(file: Path, architecture: str | None, json: bool) -> int:
    from aegui.models import own

    card, fit = own.add(file, architecture)
    if json:
        print_json({"model": card.model_dump(mode="json"), "fit": fit})
    else:
        print_text(f"Added “{card.id}”: {fit.words()}.")
    return 0


# ------------------------------------------------------------------------------------------------ denoise and judge


@app.command()
@fields_of(OutputRules, "rules")
def denoise(
    folders: Annotated[list[Path], typer.Option("--input", help="Folder, file or zip of scans.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the denoised series.")],
    rules: OutputRules,
    model: ModelRef = "",
    strength: Annotated[float, typer.Option(min=0.0, max=1.0, help="out = in + strength · (net − in).")] = 1.0,
    noise_level: Annotated[
        str, typer.Option(help="auto, or the SD of fine noise in the scan's unit, as a report has it.")
    ] = "auto",
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="UID|all",
            help="Denoise what is for viewing only, too: a series or all. What the model is not for: a series.",
        ),
    ] = None,
    average: Annotated[
        int, typer.Option(help="1, 2, 4 or 8 mirrored and turned views of each slice, averaged: better, and slower.")
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help=f"What runs the model: {', '.join(ENGINES)}. The first takes the fastest that does what torch does."
        ),
    ] = "auto",
    device: DeviceOption = Device.auto,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be denoised; write nothing.")] = False,
    json: Json = False,
) -> int:
    """Denoise every series of a folder."""
    from aegui import workflow
    from aegui.models import DEFAULT

    level = inputs.noise_level(noise_level)
    found = inputs.scanned(folders, json)
    included = inputs.included(found, include or [])
    inputs.require_work(found, folders, included)
    inputs.usable(found, json)
    if rules.deidentify:
        inputs.warn_of_text(found, included)
    job = workflow.DenoiseJob(
        model=model or DEFAULT,
        series=found.series,  # those that are no images to denoise get a row of their own in the report
        output=output,
        strength=strength,
        noise_level=level,
        rules=rules,
        device=device.value,
        skipped=found.skipped,
        include=included,
        engine=engine,
        average=average,
    )
    if dry_run:
        planned = workflow.planned(job)
        if json:
            print_json(
                {"model": job.model, "series": [{"uid": s.uid, "slices": s.slices, "reason": r} for s, r in planned]}
            )
        else:
            print_text(f"With {job.model}, into {output}:")
            for one, reason in planned:
                verb, note = ("would skip", f" ({reason})") if reason else ("would denoise", "")
                print_text(f"{verb}: {one.description or one.label}, {one.slices} slices{note}")
        return 0
    report = drive(workflow.denoise(job), json)
    if json:
        print_json({"series": report.series, "skipped": found.skipped, "report": report.path})
    else:
        for row in report.series:
            note = f" ({row.reason})" if row.reason else ""
            print_text(f"{row.status}: {row.description or row.label} → {row.output or '–'}{note}")
        print_text(f"Report: {report.path}")
    return inputs.outcome(found, report.series, report.stopped)


@app.command()
def evaluate(
    noisy: Annotated[list[Path], typer.Option("--noisy", help="Scans to denoise.")],
    clean: Annotated[list[Path], typer.Option("--clean", help="Their clean partners.")],
    model: ModelRef = "",
    accept_pairs: Annotated[bool, typer.Option(help="Accept pairs matched by name or order.")] = False,
    json: Json = False,
) -> int:
    """Compare a model's output with clean scans."""
    from aegui import workflow
    from aegui.models import DEFAULT

    pairs = inputs.pairs(inputs.series(noisy, json), inputs.series(clean, json), accept_pairs)
    result = drive(workflow.evaluate(model or DEFAULT, pairs), json)
    if json:
        print_json(result)
        return 0
    for name in ("input", "output"):
        print_text(f"{name:<7} {scores_words(getattr(result, name))}, bias {getattr(result, name)['bias']:.4g}")
    print_text(f"PSNR with {result.psnr_range}; {result.ssim_window}")
    return 0


@app.command()
def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A model file, or a model's id.")],
    form: Annotated[Exported, typer.Option("--format", help="Form of the export.")],
    output: Annotated[Path, typer.Option("--output", help="File to write, or the folder for it.")],
    json: Json = False,
) -> int:
    """Export a model; the export is loaded again and compared."""
    from aegui import workflow

    result = drive(workflow.export(file, form.value, output), json)
    if json:
        print_json(result)
    else:
        print_text(f"{result.path}: largest difference {result.max_difference:.3g} {result.unit}".rstrip())
    return 0


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("aegui-demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning.")] = 8,
    json: Json = False,
) -> int:
    """Run the whole path on sample data."""
    from aegui import demo as show

    summary = drive(show.run(out, epochs=epochs), json)
    if summary is None:
        say(f"Stopped. What is done lies in {out}; the same command goes on.")
        return 2
    if json:
        print_json(summary)
    else:
        print_text(show.words(summary))
    return 0
