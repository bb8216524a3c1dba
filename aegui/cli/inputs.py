"""What the user gave on the command line, read and checked; and what came of it as an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegui.cli.show import drive, say, warn
from aegui.errors import UserError
from aegui.paths import exists

if TYPE_CHECKING:
    from aegui.imaging import ScanResult, Series
    from aegui.recipes import Recipe

NAMED = 3  # series that a warning names one by one


def scanned(paths: Sequence[Path], quiet: bool) -> ScanResult:
    """What folders hold."""
    from aegui import workflow

    for path in paths:
        if not exists(path):
            raise UserError(f"There is no folder or file {path}.", "Check its name.")
    result: ScanResult = drive(workflow.scan(list(paths)), quiet)
    return result


def series(paths: Sequence[Path], quiet: bool) -> tuple[Series, ...]:
    """What can be denoised in folders. UserError if nothing can."""
    result = scanned(paths, quiet)
    require_work(result, paths)
    return usable(result, quiet)


def require_work(result: ScanResult, paths: Sequence[Path], included: frozenset[str] | None = None) -> None:
    """UserError if nothing can be denoised. included: uids of series that are, although they are not meant for it;
    None where none can be.
    """
    if any(series.treat == "denoise" or series.uid in (included or ()) for series in result.series):
        return
    where = " and ".join(str(path) for path in paths)
    reasons = list(dict.fromkeys([s.reason for s in result.series if s.reason] + [s.reason for s in result.skipped]))
    for skipped in result.skipped if len(reasons) > 1 else ():
        say(f"Left out: {skipped.file}: {skipped.reason}")
    found = f" ({reasons[0]})" if len(reasons) == 1 else ""
    hint = "Choose a folder with DICOM, NIfTI, NRRD, MHA, PNG, JPEG, TIFF or NPY images."
    if any(series.treat == "view" for series in result.series):
        hint = "What is for viewing only can be denoised with --include all, but not learnt from."
        if included is not None:
            hint = "Add --include all to denoise also what is for viewing only."
    raise UserError(f"{where} holds no slices that can be used{found}.", hint)


def included(result: ScanResult, wanted: Sequence[str]) -> frozenset[str]:
    """The uids behind --include: those named, or all that are for viewing only."""
    known = {series.uid: series for series in result.series}
    uids = {series.uid for series in result.series if series.treat == "view"} if "all" in wanted else set()
    for uid in set(wanted) - {"all"}:
        if uid not in known:
            raise UserError(f"There is no series {uid}.", "`aegui scan --json` lists them with their UIDs.")
        if known[uid].treat == "list":
            raise UserError(f"The series {uid} cannot be denoised ({known[uid].reason}).", "Leave it out of --include.")
        uids.add(uid)
    return frozenset(uids)


def warn_of_text(result: ScanResult, included: frozenset[str]) -> None:
    """Say which series de-identification may leave a name in: in the picture itself."""
    from aegui.imaging import outlook

    chosen = [series for series in result.series if series.treat == "denoise" or series.uid in included]
    words = outlook.caution([series for series in chosen if outlook.may_show_text(series)])
    if words:
        warn(words)


def usable(result: ScanResult, quiet: bool) -> tuple[Series, ...]:
    """The series that can be denoised; says what is left out and what is odd (quiet: only the latter)."""
    for skipped in result.skipped:
        if not quiet:
            say(f"Left out: {skipped.file}: {skipped.reason}")
    concerned: dict[str, list[str]] = {}
    for series in result.series:
        for text in series.warnings:
            concerned.setdefault(text, []).append(series.description or series.uid)
    for text, names in concerned.items():
        if len(names) > NAMED:
            warn(f"{len(names)} series, {', '.join(names[:NAMED])}, …: {text}")
            continue
        for name in names:
            warn(f"{name}: {text}")
    return tuple(series for series in result.series if series.treat == "denoise")


def pairs(noisy: Sequence[Series], clean: Sequence[Series], accept: bool) -> Sequence[Any]:
    """Noisy and clean partners, named with their method. accept: also those matched by name or order."""
    from aegui import workflow

    found: Sequence[Any] = workflow.require_pairs(list(noisy), list(clean))
    for pair in found:
        say(f"Paired by {pair.method}: {pair.noisy.description} – {pair.clean.description} ({len(pair.slices)} slices)")
    known = {pair.noisy.uid for pair in found} | {series.uid for series in clean}
    for alone in [series for series in noisy if series.uid not in known]:
        warn(f"“{alone.description}” has no clean partner and is left out.")
    unsure = [pair for pair in found if not pair.sure]
    if unsure and not accept:
        raise UserError(
            f"{len(unsure)} of the pairs were matched by {unsure[0].method} only ({unsure[0].why}).",
            "If they are right, add --accept-pairs.",
        )
    return found


def repeats(noisy: Sequence[Series], accept: bool) -> tuple[Any, ...]:
    """Pairs of repeats that were found among the scans; none where there are none."""
    from aegui import workflow

    found = [proposal for proposal in workflow.propose(noisy) if proposal.kind == "repeats"]
    for proposal in found:
        say(proposal.words)
    if found and not accept:
        raise UserError("Repeats were found, which you have to confirm.", "If they are right, add --accept-pairs.")
    return tuple(pair for proposal in found for pair in proposal.pairs)


def class_labels(plan: Recipe, file: Path | None, noisy: Sequence[Series]) -> Mapping[str, str]:
    """Labels from the file; without one, from the names of the sub-folders where the recipe needs classes."""
    from aegui import workflow

    if file is None:
        return workflow.folder_labels(noisy) if plan.needs_labels else {}
    labels: Mapping[str, str] = workflow.read_labels(file, noisy)
    return labels


def noise_level(text: str) -> float | None:
    """The SD asked for; None is auto."""
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"“{text}” is not a noise level.", "Give auto, or the noise SD in the scan's unit.")
    return value


def outcome(found: ScanResult, rows: Sequence[Any], stopped: bool) -> int:
    """The exit code of a batch: 1 if none was done; 2 if it was stopped, one failed, or a file was damaged."""
    if not any(row.status in ("done", "flagged") for row in rows):
        return 1
    damaged = any(skipped.damaged for skipped in found.skipped)
    failed = any(row.status == "failed" for row in rows) or len(rows) < len(found.series)
    return 2 if stopped or damaged or failed else 0
