"""Denoising: whole series into a folder with a report, and single slices for the eye."""

from __future__ import annotations

import copy
import json
import logging
import secrets
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from aegui import __version__, imaging, paths
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Progress, SeriesDone, SeriesStarted, SliceDone, Stop
from aegui.imaging import OutputRules, Pixels, Read, Series, Skipped, SliceSource
from aegui.imaging.dicom.deidentify import Deidentifier
from aegui.imaging.outlook import may_show_text
from aegui.imaging.written import REPORT, earlier_reports
from aegui.models import Card, card_of, require_trained
from aegui.models.library import file_of, is_file, require_model_file

if TYPE_CHECKING:
    from aegui.inference.choose import Engines
    from aegui.inference.denoiser import Denoiser, Prepared, Removed
    from aegui.models.zoo import Model

_log = logging.getLogger(__name__)

MANY = 0.1  # of all pixels: more is no longer metal beyond the range, or air that fell just below what is stored


@dataclass(frozen=True)
class DenoiseJob:
    """Series to denoise into a folder. noise_level: SD, None estimates it on each slice.

    engine: a name of `aegui.inference.kinds`; "auto" takes the fastest that does what torch does. average: views of
    each slice (1, 2, 4 or 8: mirrored, turned) whose results are averaged, which takes that many times as long.
    include: uids denoised although their modality or kind says otherwise. earlier: rows of the same batch that
    the report keeps when some of its series are done again.
    """

    model: str
    series: tuple[Series, ...]
    output: Path
    strength: float = 1.0
    noise_level: float | None = None
    rules: OutputRules = field(default_factory=OutputRules)
    device: str = "auto"
    skipped: tuple[Skipped, ...] = ()
    include: frozenset[str] = frozenset()
    earlier: tuple[SeriesResult, ...] = ()
    engine: str = "auto"
    average: int = 1


@dataclass(frozen=True)
class SeriesResult:
    """One row of the report. flagged_slices: numbers from 0 whose residual shows structure.

    source: the file, or the folder of the files. clipped: pixels that were cut to what the stored type holds.
    noise_before, noise_after: noise SD in flat areas of up to five slices; where none is flat, of the finest detail.
    noise_level: mean of what the model was told, as measured in the finest detail; noise that is correlated has more.
    0 where the model takes none.
    engine: what ran the model, "OpenVINO, bf16". engine_note: why nothing faster did. spread: mean SD over the views
    that were averaged. All SD in the scan's unit.
    """

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
    clipped: int = 0
    noise_before: float = 0.0
    noise_after: float = 0.0
    engine: str = ""
    engine_note: str = ""
    spread: float = 0.0
    source: str = ""
    unit: str = ""
    noise_level: float = 0.0


@dataclass(frozen=True)
class Report:
    """What a batch did; `path` is report.json."""

    series: tuple[SeriesResult, ...]
    path: Path
    stopped: bool = False


def planned(job: DenoiseJob) -> list[tuple[Series, str]]:
    """Every series of a job, with why it will not be denoised, or nothing. Loads no network, writes nothing.

    UserError for what `denoise` refuses before it begins.
    """
    _require(job)
    if job.output.exists() and not job.output.is_dir():
        raise UserError(f"{job.output} is no folder.", "Choose another output folder.")
    card = card_of(job.model)
    if card is not None:
        require_trained(card)
        _require_level(job, card)
    elif not is_file(job.model):
        file_of(job.model)  # which says what models there are
    else:
        require_model_file(Path(job.model))
    return [(series, _refusal(card, series, job)) for series in job.series]


def _refusal(card: Card | None, series: Series, job: DenoiseJob) -> str:
    """card: None where it cannot be told before the model is loaded."""
    if series.uid in job.include and series.treat != "list":
        return ""
    if series.treat != "denoise":
        return series.reason or "Not an image to denoise"
    if card is not None and not card.fits(series.modality):
        return f"{series.modality}; model is for {', '.join(card.modalities)}"
    return ""


def _require(job: DenoiseJob) -> None:
    """UserError for settings that are wrong whatever the model."""
    from aegui.inference.kinds import require_engine
    from aegui.inference.views import require_count

    require_count(job.average)
    require_engine(job.engine)
    if not 0 <= job.strength <= 1:
        raise UserError(f"The strength {job.strength:g} is out of range.", "It goes from 0 (input) to 1 (full).")
    if (job.output / REPORT).is_dir():
        raise UserError(
            f"{job.output / REPORT} is a folder; the report could not be written.", "Choose another folder."
        )
    if job.noise_level is not None and not job.noise_level >= 0:
        raise UserError(f"The noise level {job.noise_level:g} is negative.", "Give an SD in the scan's unit, or auto.")


def _require_level(job: DenoiseJob, card: Card) -> None:
    if job.noise_level is not None and not card.noise_level:
        raise UserError(f"“{card.title}” takes no noise level.", "Leave it at auto.")


def denoise(job: DenoiseJob) -> Events:
    """Denoise series one after another; a bad one never stops the rest. Done(Report)."""
    from aegui.inference.choose import Engines
    from aegui.inference.streams import side_by_side
    from aegui.models.slicenet import fingerprint
    from aegui.models.zoo import load_trained
    from aegui.training.step import choose_device

    _require(job)
    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_trained(job.model)
    card = model.card
    _require_level(job, card)
    paths.require_writable(job.output, "output folder")
    engines = Engines(model.net, device, side_by_side(device, max((series.slices for series in job.series), default=0)))
    engines.require(job.engine)
    origin = imaging.Provenance(
        model=card.id,
        title=card.title,
        model_version=card.version,
        weights=card.sha256 or fingerprint(model.net),
        strength=job.strength,
        noise_level=job.noise_level,
        views=job.average,
        salt=_secret() if job.rules.deidentify else "",
    )
    results: list[SeriesResult] = []
    stopped = False
    try:
        for number, series in enumerate(job.series):
            yield SeriesStarted(series.uid, number, len(job.series), series.slices)
            if reason := _refusal(card, series, job):
                result = SeriesResult(series.uid, series.label, series.description, "skipped", reason)
            else:
                try:
                    left = sum(s.slices for s in job.series[number:] if s.treat == "denoise") or series.slices
                    led = replace(origin, lead=_lead(results, series))
                    result = yield from _denoise_series(job, model, series, engines, led, left)
                except Stop:
                    raise
                except UserError as error:
                    _log.info("series failed: %s", error)
                    result = SeriesResult(series.uid, series.label, series.description, "failed", str(error))
                except Exception as error:  # noqa: BLE001 - what one series brings up must not cost the user the rest
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
    path = _write_report(job, results, origin)
    yield Done(Report(tuple(results), path, stopped))


def _lead(results: Sequence[SeriesResult], series: Series) -> str:
    """What ran the volume of the same series that was denoised first; “” where this one is the first."""
    whole = series.uid.partition("#")[0]
    return next((row.engine for row in results if row.engine and row.uid.partition("#")[0] == whole), "")


def _secret() -> str:
    """What pseudonyms are made from on this machine; they agree between batches, and nobody else can make them."""
    path = paths.data_home() / "pseudonyms.key"
    if not path.is_file():
        paths.require_writable(path.parent, "data folder")
        with paths.atomic(path) as temporary:
            temporary.write_text(secrets.token_hex(32), encoding="ascii")
        path.chmod(0o600)
    return path.read_text(encoding="ascii")


def _write_report(job: DenoiseJob, results: Sequence[SeriesResult], origin: imaging.Provenance) -> Path:
    path = job.output / REPORT
    again = {series.uid for series in job.series}
    rows = [*(row for row in job.earlier if row.uid not in again), *results]
    skipped = [{"file": str(s.file), "reason": s.reason} for s in job.skipped]
    if job.rules.deidentify:
        rows, skipped = [_nameless(row, job, origin) for row in rows], []
    content = {
        "schema": 1,
        "program": f"aegui {__version__}",
        "written": datetime.now().astimezone().isoformat(timespec="seconds"),
        "model": job.model,
        "model_version": origin.model_version,
        "weights_sha256": origin.weights,
        "strength": job.strength,
        "noise_level": "auto" if job.noise_level is None else job.noise_level,
        "average": job.average,
        "series": [asdict(row) for row in rows],
        "skipped_files": skipped,
        "note": "Research use only; not for primary diagnosis.",
    }
    try:
        replaced = any(row.output for row in job.earlier if row.uid in again)
        if path.is_file() and (replaced or not job.earlier):  # what it tells of lies here still
            path.rename(next(free for free in earlier_reports(job.output) if not free.exists()))
        with paths.atomic(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"The report {path} cannot be written: {error.strerror or error}.",
            "The denoised series that are there are whole. See that the disk has room and you may write there.",
        ) from error
    return path


def _nameless(row: SeriesResult, job: DenoiseJob, origin: imaging.Provenance) -> SeriesResult:
    """The row as it may go out with de-identified images: file names, folders and descriptions may name people."""
    series = next((series for series in job.series if series.uid == row.uid), None)
    uid, mark, part = row.uid.partition("#")
    return replace(
        row,
        uid=Deidentifier(origin.secret, "").uid(uid) + mark + part,
        label=origin.pseudonym(series) if series else "",
        description=series.modality if series else "",
        reason="It could not be written" if row.status == "failed" else row.reason,
        output=Path(row.output).name,
        source="",
    )


@dataclass(frozen=True)
class _Written:
    """What is known of a slice once it is written."""

    index: int
    outside: int
    flagged: bool
    level: float | None
    noise: tuple[float, float] | None
    spread: float | None


def _denoise_series(
    job: DenoiseJob, model: Model, series: Series, engines: Engines, origin: imaging.Provenance, left: int
) -> Generator[Event, None, SeriesResult]:
    """left: slices of the job that are not done yet."""
    from aegui.analysis import ALERT, structure_score
    from aegui.data.looks import SCAN, Glimpse, glimpse, looks, unlike
    from aegui.inference.choose import choose
    from aegui.inference.denoiser import Denoiser, finished
    from aegui.measure.body import inside_body
    from aegui.measure.flat import noise_of_both
    from aegui.models.intensity import sample

    began = time.monotonic()
    source = imaging.open_series(replace(series, treat="denoise"))
    looked_at = frozenset(sample(source, SCAN))
    some: list[Glimpse] = []
    sink = None
    done: list[_Written] = []
    try:
        denoiser = Denoiser(model, source, engines.plain.device, engines.plain, job.average)
        _require_sense(job.noise_level, denoiser)
        choice = yield from choose(engines, denoiser, left * job.average, job.engine, job.noise_level)
        denoiser.engine = choice.engine
        kind = choice.engine.kind
        origin = replace(origin, engine=kind.runtime, precision=kind.precision, lead=origin.lead or kind.title)
        sink = imaging.open_sink(source, job.output, job.rules, origin)
        write = sink.write

        def prepare(read: Read) -> tuple[int, Prepared]:
            if read.at in looked_at:
                some.append(glimpse(read.pixels, read.valid))
            return read.at, denoiser.prepared(read.pixels, read.valid, job.noise_level)

        def finish(index: int, slice: Prepared, removed: Removed) -> _Written:
            pixels, valid = slice.pixels, slice.valid
            result = finished(slice, removed, job.strength)
            write(index, result.pixels)
            measured = index in looked_at and pixels.ndim == 2 and bool(valid.any())
            body = inside_body(pixels, valid, series.modality) if measured else valid
            return _Written(
                index,
                result.outside,
                structure_score(pixels, result.pixels, valid) > ALERT,
                result.level if valid.any() else None,
                noise_of_both(pixels, result.pixels, body) if measured else None,
                None if result.spread is None or not valid.any() else float(result.spread[valid].mean()),
            )

        def through(batch: list[tuple[int, Prepared]]) -> tuple[list[tuple[int, Prepared]], list[Removed]]:
            return batch, denoiser.removed([slice for _, slice in batch])

        streams = choice.engine.streams
        with (
            imaging.ahead_with(source, prepare) as prepared,
            streams.open() as pool,
            imaging.behind(finish) as writer,
        ):
            slices = denoiser.with_neighbours(prepared)
            batches = iter(lambda: list(islice(slices, denoiser.at_once)), [])
            # One more than there are streams, so that none waits for the oldest slice to be handed on.
            for batch, removed in imaging.in_order(pool, through, batches, streams.count + 1):
                for (index, slice), noise in zip(batch, removed, strict=True):
                    for written in writer.put(index, slice, noise):
                        done.append(written)
                        yield SliceDone(series.uid, written.index, len(source))
            for written in writer.rest():
                done.append(written)
                yield SliceDone(series.uid, written.index, len(source))
        strange = unlike(model.card, looks(series, some))
        output = sink.finish()
        clipped, notes = sink.clipped, sink.notes
        sink = None
    finally:
        if sink is not None:
            sink.abort()
        source.close()
    flagged = [slice.index for slice in done if slice.flagged]
    outside = sum(slice.outside for slice in done)
    before = [slice.noise[0] for slice in done if slice.noise]
    after = [slice.noise[1] for slice in done if slice.noise]
    levels = [slice.level for slice in done if slice.level is not None]
    spreads = [slice.spread for slice in done if slice.spread is not None]
    reasons = []
    if series.treat != "denoise":
        reasons.append(f"Denoised although it is not meant for it: {series.reason.rstrip('.')}")
    if strange:
        reasons.append(f"Not what the model has seen: {', '.join(strange)}")
    if flagged:
        reasons.append(f"Structure in the removed noise in {_numbers(flagged)}")
    voxels = len(source) * series.rows * series.columns
    untouched, lost = outside / voxels, clipped / (voxels * series.channels)
    if outside:
        reasons.append(f"{outside} voxels ({100 * untouched:.3g} %) outside the model's range were left as they were")
    if clipped:
        reasons.append(f"{clipped} pixels ({100 * lost:.3g} % of all) were cut to what the stored type holds")
    if job.rules.deidentify and may_show_text(series):
        reasons.append("Text may be part of the picture, which de-identification leaves as it is")
    reasons += notes
    return SeriesResult(
        series.uid,
        series.label,
        series.description,
        "flagged" if flagged or max(untouched, lost) > MANY else "done",
        "; ".join(reasons),
        str(output),
        len(source),
        round(time.monotonic() - began, 3),
        tuple(flagged),
        outside,
        clipped,
        float(np.mean(before)) if before else 0.0,
        float(np.mean(after)) if after else 0.0,
        kind.title,
        "; ".join(choice.notes),
        float(np.mean(spreads)) if spreads else 0.0,
        str(series.place),
        series.unit,
        float(np.mean(levels)) if levels and model.card.noise_level else 0.0,
    )


def _require_sense(level: float | None, denoiser: Denoiser) -> None:
    """UserError for a noise level that no scan of such values can have: the model would make something else of it."""
    if level is None or not denoiser.card.noise_level or level <= denoiser.scale.span:
        return
    span = f"{denoiser.scale.span:.3g} {denoiser.source.series.unit}".rstrip()
    raise UserError(
        f"A noise level of {level:g} is more than the values of this series span (about {span}).",
        "Give the noise SD in the scan's unit, or auto.",
    )


def _numbers(indices: Sequence[int]) -> str:
    words = ", ".join(str(i + 1) for i in indices[:4])
    return f"slice{'s' if len(indices) > 1 else ''} {words}{' …' if len(indices) > 4 else ''}"


_preview: dict[tuple[str, int, str, str], Denoiser] = {}


def preview(
    model: str, source: SliceSource, index: int, noise_level: float | None = None, device: str = "auto"
) -> Pixels:
    """One denoised slice at full strength, (rows, columns); the last model and series stay loaded."""
    denoiser = _denoiser(model, source, device)
    result: Pixels = denoiser.slice(index, 1.0, noise_level, source).pixels
    return result


def uncertainty(model: str, source: SliceSource, index: int, device: str = "auto") -> Pixels:
    """How far eight views of a slice, mirrored and turned, differ after denoising: SD in the scan's unit."""
    denoiser = copy.copy(_denoiser(model, source, device))
    denoiser.average = 8
    spread = denoiser.slice(index, source=source).spread
    assert spread is not None
    return spread


def _denoiser(model: str, source: SliceSource, device: str) -> Denoiser:
    from aegui.inference.denoiser import Denoiser
    from aegui.models.zoo import load_trained
    from aegui.training.step import choose_device

    file = Path(model)
    written = file.stat().st_mtime_ns if file.is_file() else 0  # a run that goes on writes another model there
    key = (model, written, source.series.uid, device)
    denoiser = _preview.get(key)
    if denoiser is None:
        denoiser = Denoiser(load_trained(model), source, choose_device(device))
        _preview.clear()
        _preview[key] = denoiser
    return denoiser
