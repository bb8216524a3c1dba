"""What was found and measured, as it stands on stdout: rows of --json, lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aegui.cli.show import print_text

if TYPE_CHECKING:
    from aegui.imaging import ScanResult, Series
    from aegui.workflow import Proposal

_TREATED = {"view": "For viewing only, not denoised", "list": "Not a scan"}
_ACQUISITION = {"kvp": "kVp", "tr": "TR", "te": "TE"}


def _series_row(series: Series) -> dict[str, Any]:
    return {
        "uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "files": len(series.files),
        "rows": series.rows,
        "columns": series.columns,
        "slices": series.slices,
        "spacing_mm": list(series.geometry.spacing),
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
        z, y, x = series.geometry.spacing
        print_text(
            f"{series.label}  {series.modality}  {series.description or '–'}: {series.slices} slices of "
            f"{series.rows}×{series.columns}, {z:g} × {y:g} × {x:g} mm"
        )
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
