"""What was found and measured, as it stands on stdout: rows of --json, lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aegui.cli.show import print_text, say

if TYPE_CHECKING:
    from aegui.imaging import ScanResult, Series
    from aegui.recipes import Recipe
    from aegui.recipes.describe import SectionWords
    from aegui.training.forecast import Forecast
    from aegui.workflow import Difference, Proposal, RaceResult, RunInfo

_TREATED = {"view": "For viewing only, not denoised", "list": "Not a scan"}
_ACQUISITION = {"kvp": "kVp", "tr": "TR", "te": "TE"}


def _spacing(series: Series) -> list[float]:
    """mm, (z, y, x); 0 where it is not known."""
    z, y, x = series.geometry.spacing
    return [z, y, x] if series.geometry.measured else [z, 0.0, 0.0]


def _series_row(series: Series) -> dict[str, Any]:
    return {
        "uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "files": len(series.files),
        "path": series.place,
        "rows": series.rows,
        "columns": series.columns,
        "slices": series.slices,
        "spacing_mm": _spacing(series),
        "acquisition": {_ACQUISITION.get(key, key): value for key, value in series.acquisition.items()},
        "warnings": list(series.warnings),
        "study": series.study_uid,
        "label": series.label,
        "treat": series.treat,
        "reason": series.reason,
    }


def _pairs_row(proposal: Proposal) -> dict[str, Any]:
    return {
        "kind": proposal.kind,
        "words": proposal.words,
        "on_by_default": proposal.on_by_default,
        "pairs": [
            {"noisy": pair.noisy.uid, "clean": pair.clean.uid, "slices": len(pair.slices), "why": pair.why}
            for pair in proposal.pairs
        ],
    }


def found_rows(result: ScanResult, proposals: Sequence[Proposal]) -> dict[str, Any]:
    """What `scan --json` prints."""
    return {
        "series": [_series_row(series) for series in result.series],
        "skipped": result.skipped,
        "pairs": [_pairs_row(proposal) for proposal in proposals],
    }


def print_found(result: ScanResult, proposals: Sequence[Proposal]) -> None:
    """What `scan` prints."""
    for series in result.series:
        sides = " × ".join(f"{side:g}" for side in _spacing(series) if side > 0)
        print_text(
            f"{series.label}  {series.modality}  {series.description or '–'}: {series.slices} slice"
            f"{'s' * (series.slices != 1)} of {series.rows}×{series.columns}{f', {sides} mm' if sides else ''}"
        )
        print_text(f"    {series.place}")
        if series.treat != "denoise":
            print_text(f"    {_TREATED[series.treat]}: {series.reason}")
        for text in series.warnings:
            print_text(f"    {text}")
    for skipped in result.skipped:
        print_text(f"Left out: {skipped.file}: {skipped.reason}")
    for proposal in proposals:
        print_text(f"Could be learnt from: {proposal.words}")


def scores_words(scores: Mapping[str, Any]) -> str:
    """Those that are known, with their units."""
    names = {"psnr": ("PSNR", "{:.2f} dB"), "ssim": ("SSIM", "{:.4f}"), "rmse": ("RMSE", "{:.4g}")}
    parts = [
        f"{title} {form.format(scores[key])}" for key, (title, form) in names.items() if scores.get(key) is not None
    ]
    return ", ".join(parts) or "no scores"


# ---------------------------------------------------------------- recipes and runs


def recipe_rows(found: Sequence[Recipe]) -> dict[str, Any]:
    """What `recipes --json` prints."""
    return {"recipes": [recipe.model_dump(mode="json") for recipe in found]}


def print_fields(found: Sequence[SectionWords]) -> None:
    """What `recipes fields` prints: every part of a recipe with its fields, as `--set` and files name them."""
    for section in found:
        print_text(f"{section.address}  {section.title}. {section.help}")
        for part in section.parts:
            if part.kind:
                print_text(f"  kind: {part.kind}  {part.title}. {part.help}".rstrip())
            for row in part.fields:
                limits = f" [{row.limits}]" if row.limits else ""
                print_text(f"    {row.name} = {row.default}{limits}  {row.title}. {row.help}")
        print_text()


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def forecast_lines(found: Forecast) -> list[str]:
    """A forecast in words."""
    lines = [f"One step: {_time(found.step_seconds)}, batch of {found.batch}"]
    if found.seconds is not None and found.validation_seconds is not None:
        lines.append(
            f"In all: {_time(found.seconds)} for {found.steps} steps in {found.epochs} epoch{'s' * (found.epochs != 1)}"
        )
        lines.append(f"    with {_time(found.validation_seconds)} of validation after each")
    lines.append(f"Memory: {found.memory_bytes / 1e9:.2g} GB of {found.free_bytes / 1e9:.3g} GB that are free")
    if found.fits:
        lines.append(f"Batch that fits: {found.largest_batch} or less")
    else:
        lines.append(f"The batch does not fit; try {found.largest_batch}.")
    return lines


def race_rows(result: RaceResult) -> dict[str, Any]:
    """What `race --json` prints: all but the pictures."""
    return {
        "judged": result.words,
        "slices": result.slices,
        "range": result.psnr_range,
        "rows": [
            {
                "name": row.name,
                "kind": row.kind,
                "recipe": None if row.recipe is None else row.recipe.id,
                "psnr": row.psnr,
                "ssim": row.ssim,
                "seconds": row.seconds,
                "reason": row.reason,
            }
            for row in result.rows
        ],
    }


def print_race(result: RaceResult) -> None:
    """What `race` prints: best first."""
    print_text(f"{result.words} ({result.slices} slices, {result.psnr_range})")
    for row in sorted(result.rows, key=lambda row: -(row.psnr if row.psnr is not None else -1e9)):
        words = scores_words({"psnr": row.psnr, "ssim": row.ssim}) if row.psnr is not None else row.reason
        print_text(f"    {row.name}: {words}")


def runs_rows(found: Sequence[RunInfo], differences: Sequence[Difference]) -> dict[str, Any]:
    """What `runs --json` prints."""
    return {
        "runs": [
            {
                **{f.name: getattr(run, f.name) for f in fields(run)},
                "recipe": None if run.recipe is None else run.recipe.id,
            }
            for run in found
        ],
        "differences": differences,
    }


def print_runs(found: Sequence[RunInfo], differences: Sequence[Difference]) -> None:
    """What `runs` prints."""
    if not found:
        say("There are no runs.")
    for number, run in enumerate(found, 1):
        against = f" ({run.psnr_range})" if run.psnr_range and run.scores else ""
        words = run.reason or f"best epoch {run.best_epoch} of {run.epochs}, {scores_words(run.scores)}{against}"
        print_text(f"{number}  {run.path.name}: {run.title}, {words}")
    for row in differences:
        values = ", ".join(f"{number}: {value or '–'}" for number, value in enumerate(row.values, 1))
        print_text(f"    {row.title}: {values}")
