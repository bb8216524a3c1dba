"""The few whole jobs, each a stream of events: what the window, the command line and the tests call."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aegui import imaging, paths, recipes
from aegui.data.labels import folder_labels, label_of, read_labels
from aegui.data.pairs import Pair, match_pairs, require_pairs
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Progress, SeriesDone, SeriesStarted, SliceDone, Stop
from aegui.imaging import Pixels, Series, Skipped, SliceSource
from aegui.models import Card, cards
from aegui.recipes import Recipe
from aegui.recipes.parts import PairedTargets

if TYPE_CHECKING:
    import torch

    from aegui.models.zoo import Model

_log = logging.getLogger(__name__)

__all__ = [
    "FORMATS",
    "DenoiseJob",
    "Evaluation",
    "Pair",
    "Problem",
    "Report",
    "SeriesResult",
    "TrainJob",
    "cards",
    "check",
    "denoise",
    "evaluate",
    "export",
    "folder_labels",
    "match_pairs",
    "preview",
    "read_labels",
    "require_pairs",
    "scan",
    "train",
]

FORMATS = ("onnx", "pt2", "torchscript", "safetensors", "monai")


def scan(folders: Sequence[Path]) -> Events:
    """Find series in folders, files and zips. Done(ScanResult)."""
    return imaging.scan(folders)


# ---------------------------------------------------------------- train


@dataclass(frozen=True)
class TrainJob:
    """What to train. pairs: confirmed by the user; empty: matched by geometry. labels: uid or path → class.

    holdout: series uids never trained on. run: its folder.
    """

    model: str
    recipe: Recipe
    noisy: tuple[Series, ...]
    run: Path
    clean: tuple[Series, ...] = ()
    pairs: tuple[Pair, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    holdout: tuple[str, ...] = ()
    init: Literal["pretrained", "random"] = "pretrained"
    device: str = "auto"
    resume: bool = False


@dataclass(frozen=True)
class Problem:
    """Something to fix (blocking) or to know before the start. where: address in the recipe, () for the data."""

    message: str
    hint: str = ""
    where: tuple[str | int, ...] = ()
    blocking: bool = True


def check(job: TrainJob) -> list[Problem]:
    """Every problem of a job at once. Reads no pixels."""
    found: list[Problem] = []
    usable = [s for s in job.noisy if s.uid not in job.holdout]
    if not usable:
        found.append(Problem("There are no scans to train on.", "Mark at least one series as noisy input."))
    elif sum(s.slices for s in usable) < 2:
        found.append(Problem("Training needs at least two slices.", "Add slices."))
    if isinstance(job.recipe.targets, PairedTargets) and usable:
        pairs = job.pairs or tuple(match_pairs(usable, job.clean))
        if not pairs:
            found.append(
                Problem("No noisy series has a matching clean series.", "Add clean scans, or add noise.", ("targets",))
            )
        elif not job.pairs and not all(pair.sure for pair in pairs):
            guess = next(pair for pair in pairs if not pair.sure)
            found.append(
                Problem(f"Pairs are matched by {guess.method} only: {guess.why}.", "Confirm them.", ("targets",))
            )
    if job.recipe.needs_labels:
        classes = {label_of(s, i, job.labels) for s in usable for i in range(len(s.files))} - {None}
        if len(classes) < 2:
            losses = [term.kind for term in job.recipe.losses]
            found.append(
                Problem(
                    "This recipe needs at least two classes.",
                    "Put each class in a folder of its own, or load a label file.",
                    ("losses", losses.index("ce")),
                )
            )
    patients = {s.patient for s in usable}
    if usable and len(patients) < 3:
        found.append(
            Problem(
                "Fewer than three patients: the scores will be optimistic.",
                "Validation slices come from the same patients as training slices.",
                blocking=False,
            )
        )
    if usable and not job.holdout and not job.recipe.run.holdout_fraction:
        found.append(Problem("No series is held out for Review.", "Mark one as hold-out.", blocking=False))
    card = next((card for card in cards() if card.id == job.model), None)
    found += [
        Problem(f"{modality} scans; the model is for {', '.join(card.modalities)}.", blocking=False)
        for modality in sorted({s.modality for s in usable})
        if card is not None and not card.fits(modality)
    ]
    if (job.run / "last.pt").exists() and not job.resume:
        found.append(Problem(f"The folder {job.run.name} already holds a run.", "Resume it, or choose another."))
    return found


def train(job: TrainJob) -> Events:
    """Adapt a model. Done(TrainResult)."""
    from aegui.data.dataset import prepare
    from aegui.models.zoo import load_model
    from aegui.training.fit import fit
    from aegui.training.runfolder import RunFolder
    from aegui.training.step import choose_device

    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_model(job.model, job.init, job.recipe.run.seed)
    started = "pretrained" if job.init == "pretrained" and model.card.weights is not None else "random"
    pairs: Sequence[Pair] = job.pairs
    if isinstance(job.recipe.targets, PairedTargets) and not pairs:
        pairs = require_pairs([s for s in job.noisy if s.uid not in job.holdout], job.clean)
        unsure = next((pair for pair in pairs if not pair.sure), None)
        if unsure is not None:
            raise UserError(
                f"“{unsure.noisy.description}” and “{unsure.clean.description}” match by {unsure.method} only "
                f"({unsure.why}).",
                "Confirm the pairs if they show the same slices.",
            )
    run = RunFolder(job.run)
    going_on = run.open(job.resume)
    data = yield from prepare(
        job.recipe, model.card, model.net.channels, job.noisy, pairs, job.labels, job.holdout, run.cache
    )
    yield from fit(job.recipe, model, data, run, device, going_on, started)


# ---------------------------------------------------------------- denoise


@dataclass(frozen=True)
class DenoiseJob:
    """Series to denoise into a folder. format: "same", "dicom", "nifti" or "png". noise_level: SD, None estimates it.

    include: uids denoised although their modality or kind says otherwise. earlier: rows of the same batch that
    the report keeps when some of its series are done again.
    """

    model: str
    series: tuple[Series, ...]
    output: Path
    strength: float = 1.0
    noise_level: float | None = None
    format: str = "same"
    suffix: str = "_DN"
    device: str = "auto"
    skipped: tuple[Skipped, ...] = ()
    include: frozenset[str] = frozenset()
    earlier: tuple[SeriesResult, ...] = ()


@dataclass(frozen=True)
class SeriesResult:
    """One row of the report. flagged_slices: numbers from 0 whose residual shows structure."""

    uid: str
    label: str
    description: str
    status: Literal["done", "flagged", "failed", "skipped"]
    reason: str = ""
    output: str = ""
    slices: int = 0
    seconds: float = 0.0
    flagged_slices: tuple[int, ...] = ()
    outside_voxels: int = 0
    noise_before: float = 0.0
    noise_after: float = 0.0


@dataclass(frozen=True)
class Report:
    """What a batch did; `path` is report.json."""

    series: tuple[SeriesResult, ...]
    path: Path
    stopped: bool = False


def _refusal(card: Card, series: Series) -> str:
    if series.treat != "denoise":
        return series.reason or "Not an image to denoise"
    if not card.fits(series.modality):
        return f"{series.modality}; model is for {', '.join(card.modalities)}"
    return ""


def denoise(job: DenoiseJob) -> Events:
    """Denoise series one after another; a bad one never stops the rest. Done(Report)."""
    from aegui.models.zoo import load_model
    from aegui.training.step import choose_device

    if not 0 <= job.strength <= 1:
        raise UserError(f"The strength {job.strength:g} is out of range.", "It goes from 0 (input) to 1 (full).")
    if job.noise_level is not None and not job.noise_level >= 0:
        raise UserError(f"The noise level {job.noise_level:g} is negative.", "Give an SD in the scan's unit, or auto.")
    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_model(job.model)
    _probe(job.output)
    results: list[SeriesResult] = []
    stopped = False
    try:
        for number, series in enumerate(job.series):
            yield SeriesStarted(series.uid, number, len(job.series), series.slices)
            insisted = series.uid in job.include and series.treat != "list"
            reason = "" if insisted else _refusal(model.card, series)
            if reason:
                result = SeriesResult(series.uid, series.label, series.description, "skipped", reason)
            else:
                try:
                    chosen = replace(series, treat="denoise")
                    result = yield from _denoise_series(job, model, chosen, device)
                except UserError as error:
                    _log.info("series failed: %s", error)
                    result = SeriesResult(series.uid, series.label, series.description, "failed", str(error))
                except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError) as error:
                    # A bug met in one series must not cost the user the rest of the batch.
                    _log.exception("series failed unexpectedly")
                    reason = f"Unexpected problem ({type(error).__name__}: {error}). The log file says more."
                    result = SeriesResult(series.uid, series.label, series.description, "failed", reason)
            results.append(result)
            yield SeriesDone(series.uid, result)
    except Stop:
        stopped = True
        results += [
            SeriesResult(s.uid, s.label, s.description, "skipped", "Stopped before it was finished")
            for s in job.series[len(results) :]
        ]
    path = _write_report(job, results)
    yield Done(Report(tuple(results), path, stopped))


def _probe(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".aegui-write"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"The output folder {folder} cannot be written.", f"Choose another folder. ({error.strerror})"
        ) from None


def _write_report(job: DenoiseJob, results: Sequence[SeriesResult]) -> Path:
    path = job.output / "report.json"
    again = {series.uid for series in job.series}
    rows = [*(row for row in job.earlier if row.uid not in again), *results]
    content = {
        "schema": 1,
        "model": job.model,
        "strength": job.strength,
        "noise_level": "auto" if job.noise_level is None else job.noise_level,
        "series": [asdict(row) for row in rows],
        "skipped_files": [{"file": str(s.file), "reason": s.reason} for s in job.skipped],
        "note": "Research use only; not for primary diagnosis.",
    }
    with paths.atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _denoise_series(
    job: DenoiseJob, model: Model, series: Series, device: torch.device
) -> Generator[Event, None, SeriesResult]:
    from aegui.analysis import ALERT, structure_score
    from aegui.inference.denoiser import Denoiser
    from aegui.measure import estimate_noise

    began = time.monotonic()
    source = imaging.open_series(series)
    sink = None
    flagged: list[int] = []
    before: list[float] = []
    after: list[float] = []
    outside = 0
    try:
        note = imaging.DerivedNote(
            suffix=job.suffix,
            model=model.card.id,
            strength=job.strength,
            description=f"Denoised by aegui, model {model.card.id}, strength {job.strength:g}",
        )
        sink = imaging.open_sink(source, job.output, format=job.format, note=note)
        denoiser = Denoiser(model, source, device)
        for index in range(len(source)):
            pixels, valid = source.read(index), source.valid(index)
            result = denoiser.pixels(pixels, valid, job.strength, job.noise_level)
            sink.write(index, result.pixels)
            outside += result.outside
            if structure_score(pixels, result.pixels, valid) > ALERT:
                flagged.append(index)
            if pixels.ndim == 2:
                before.append(estimate_noise(pixels, valid))
                after.append(estimate_noise(result.pixels, valid))
            yield SliceDone(series.uid, index, len(source))
        output = sink.finish()
        sink = None
    finally:
        if sink is not None:
            sink.abort()
        source.close()
    reasons = []
    if flagged:
        reasons.append(f"Structure in the removed noise in {_numbers(flagged)}")
    if outside:
        reasons.append(f"{outside} voxels outside the model's range were left as they were")
    return SeriesResult(
        series.uid,
        series.label,
        series.description,
        "flagged" if flagged else "done",
        "; ".join(reasons),
        str(output),
        len(source),
        round(time.monotonic() - began, 3),
        tuple(flagged),
        outside,
        float(np.mean(before)) if before else 0.0,
        float(np.mean(after)) if after else 0.0,
    )


def _numbers(indices: Sequence[int]) -> str:
    words = ", ".join(str(i + 1) for i in indices[:4])
    return f"slice{'s' if len(indices) > 1 else ''} {words}{' …' if len(indices) > 4 else ''}"


_preview: dict[tuple[str, str, str], Any] = {}


def preview(
    model: str, source: SliceSource, index: int, noise_level: float | None = None, device: str = "auto"
) -> Pixels:
    """One denoised slice at full strength, (rows, columns); the last model and series stay loaded."""
    from aegui.inference.denoiser import Denoiser
    from aegui.models.zoo import load_model
    from aegui.training.step import choose_device

    key = (model, source.series.uid, device)
    denoiser = _preview.get(key)
    if denoiser is None:
        denoiser = Denoiser(load_model(model), source, choose_device(device))
        _preview.clear()
        _preview[key] = denoiser
    result: Pixels = denoiser.pixels(source.read(index), source.valid(index), 1.0, noise_level).pixels
    return result


# ---------------------------------------------------------------- evaluate, export


@dataclass(frozen=True)
class Evaluation:
    """Means over all slices, of the input and of the output against the clean series."""

    model: str
    slices: int
    input: Mapping[str, float]
    output: Mapping[str, float]
    psnr_range: str
    ssim_window: str
    pairs: tuple[str, ...]


def evaluate(model: str, pairs: Sequence[Pair], device: str = "auto", noise_level: float | None = None) -> Events:
    """PSNR (dB), SSIM, RMSE and bias (scan's unit), per slice in the valid mask, then the mean. Done(Evaluation)."""
    from aegui.inference.denoiser import Denoiser
    from aegui.measure import bias, psnr, rmse, signal_range, ssim, ssim_window
    from aegui.models.intensity import sample
    from aegui.models.zoo import load_model
    from aegui.training.step import choose_device

    loaded = load_model(model)
    total = sum(len(pair.slices) for pair in pairs)
    rows: dict[str, list[tuple[float, float, float, float]]] = {"input": [], "output": []}
    names: list[str] = []
    words = ("", "")
    for pair in pairs:
        noisy, clean = imaging.open_series(pair.noisy), imaging.open_series(pair.clean)
        try:
            denoiser = Denoiser(loaded, noisy, choose_device(device))
            data_range = signal_range(
                pair.clean.modality, pair.clean.bits, (_grey(clean.read(i)) for i in sample(clean))
            )
            clip, ssim_range, window = ssim_window(pair.clean.modality, data_range)
            words = (data_range.name, window)
            for i, j in pair.slices:
                yield Progress(len(rows["input"]), total, "Evaluating")
                reference, mask = _grey(clean.read(j)), clean.valid(j)
                mask = mask & noisy.valid(i)
                for name, pixels in (("input", noisy.read(i)), ("output", denoiser.slice(i, 1.0, noise_level).pixels)):
                    image = _grey(pixels)
                    rows[name].append(
                        (
                            psnr(image, reference, data_range.value, mask),
                            ssim(image, reference, ssim_range, mask, clip),
                            rmse(image, reference, mask),
                            bias(image, reference, mask),
                        )
                    )
            names.append(f"{pair.noisy.description} → {pair.clean.description} ({pair.method})")
        finally:
            noisy.close()
            clean.close()
    means = {
        name: dict(zip(("psnr", "ssim", "rmse", "bias"), np.asarray(values).mean(axis=0).tolist(), strict=True))
        for name, values in rows.items()
    }
    yield Done(Evaluation(model, total, means["input"], means["output"], *words, tuple(names)))


def _grey(pixels: Pixels) -> Pixels:
    return pixels.mean(axis=-1) if pixels.ndim == 3 else pixels


def export(model: str, format: str, output: Path) -> Events:
    """Write a model for other programs and verify the file. Done(ExportResult)."""
    from aegui.inference.export import export as write
    from aegui.models.zoo import load_model

    yield Progress(0, None, "Loading the model")
    yield from write(load_model(model), format, output)


def recipe(ref: str | Path) -> Recipe:
    """A recipe by id or file."""
    return recipes.load(ref)
