"""Earlier runs: what their folders hold, how their recipes differ, and the same run once more from scratch."""

from __future__ import annotations

import csv
import datetime
import json
import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegui.errors import UserError
from aegui.imaging import Series
from aegui.recipes import Recipe
from aegui.spec import Spec
from aegui.workflow.adapt import TrainJob

if TYPE_CHECKING:
    from aegui.training.ending import TrainResult

_log = logging.getLogger(__name__)

MARKS = ("run.json", "recipe.yaml", "last.pt")  # a folder with one of these is a run's
LARGEST = 30_000_000  # bytes of a file that is still read
_STAMP = re.compile(r"(\d{8})-(\d{6})")


@dataclass(frozen=True)
class RunInfo:
    """A run's folder as it stands. recipe: None where it cannot be read. started: seconds since 1970.

    curves: column of metrics.csv → one value per epoch, NaN where there is none; "epoch" is one of them.
    finished: it came to its end, or was stopped, and has a model. reason: why something is missing: still running,
    interrupted, damaged. init: "pretrained", "random" or "". psnr_range: against what R the PSNR is; "" if not told.
    """

    path: Path
    title: str
    model: str
    recipe: Recipe | None
    started: float
    epochs: int
    best_epoch: int
    scores: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    classical: str
    curves: Mapping[str, list[float]] = field(default_factory=dict)
    stopped: bool = False
    init: str = ""
    seconds: float = 0.0
    finished: bool = False
    reason: str = ""
    psnr_range: str = ""


@dataclass(frozen=True)
class Difference:
    """A value that is not the same in all runs. name: dotted, as in the recipe; title: for people."""

    name: str
    title: str
    values: tuple[str, ...]


def runs(folder: Path | Iterable[Path]) -> list[RunInfo]:
    """The runs in folders (a run's own folder, or one that holds runs), the latest first. Nothing is raised."""
    folders = [folder] if isinstance(folder, Path) else list(folder)
    found: dict[Path, RunInfo] = {}
    for one in folders:
        for place in _places(one):
            key = place.resolve()
            if key not in found:
                found[key] = _read(place)
    return sorted(found.values(), key=lambda run: run.started, reverse=True)


def _places(folder: Path) -> Iterator[Path]:
    if _is_run(folder):
        yield folder
        return
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        _log.info("no runs in %s: %s", folder, error)
        return
    yield from (place for place in inside if _is_run(place))


def _is_run(folder: Path) -> bool:
    try:
        return any((folder / name).is_file() for name in MARKS)
    except OSError:
        return False


def _read(folder: Path) -> RunInfo:
    reasons: list[str] = []
    recipe: Recipe | None = None
    try:
        recipe = Recipe.load(folder / "recipe.yaml")
    except UserError as error:
        reasons.append(f"Its recipe cannot be read: {error.message}")
    summary, missing = _json(folder / "run.json")
    note, _ = _json(folder / "started.json")
    curves, spoilt = _curves(folder / "metrics.csv")
    epochs = len(curves.get("epoch", []))
    # run.json tells of the start at once, and of the scores at the end.
    finished = isinstance(summary.get("scores"), dict)
    if missing == "damaged":
        reasons.append("Its summary run.json is damaged.")
    elif not finished:
        after = "before its first epoch ended" if not epochs else f"after epoch {epochs}"
        reasons.append(f"Not finished: interrupted {after}, or still running.")
    elif not epochs and not spoilt:
        reasons.append("Stopped before its first epoch ended.")
    if spoilt:
        reasons.append("Its curves cannot be read.")
    baselines = summary.get("baselines")
    title = summary.get("title") or (recipe.title if recipe else folder.name)
    return RunInfo(
        folder,
        str(title),
        str(summary.get("model") or note.get("model") or ""),
        recipe,
        _started(folder, summary),
        int(_number(summary.get("epochs"), epochs)),
        int(_number(summary.get("best_epoch"), 0)),
        _numbers(summary.get("scores")),
        {str(k): _numbers(v) for k, v in baselines.items()} if isinstance(baselines, dict) else {},
        str(summary.get("classical") or ""),
        curves,
        bool(summary.get("stopped")),
        str(summary.get("init") or note.get("init") or ""),
        _number(summary.get("seconds"), 0.0),
        finished,
        " ".join(reasons),
        str(summary.get("psnr_range") or ""),
    )


def _json(file: Path) -> tuple[dict[str, Any], str]:
    """What the file holds, and what is wrong: "", "absent" or "damaged"."""
    try:
        if file.stat().st_size > LARGEST:
            return {}, "damaged"
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, "absent"
    except (OSError, ValueError, RecursionError):
        return {}, "damaged"
    return (values, "") if isinstance(values, dict) else ({}, "damaged")


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    numbers = {str(k): v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {k: float(v) for k, v in numbers.items() if math.isfinite(v)}


def _curves(file: Path) -> tuple[dict[str, list[float]], bool]:
    """Columns of the table, whole rows only, and whether it was spoilt."""
    columns: dict[str, list[float]] = {}
    try:
        if file.stat().st_size > LARGEST:
            return {}, True
        with file.open(newline="", encoding="utf-8") as handle:
            table = csv.reader(handle)
            names = next(table, [])
            columns = {name: [] for name in names}
            for cells in table:
                if len(cells) != len(names):
                    return columns, True
                row = [float(cell) if cell else float("nan") for cell in cells]
                for name, value in zip(names, row, strict=True):
                    columns[name].append(value)
    except FileNotFoundError:
        return {}, False
    except (OSError, ValueError, csv.Error):
        return columns, True
    return columns, False


def _started(folder: Path, summary: Mapping[str, Any]) -> float:
    """When: as the run says, else by its folder's name, else by its recipe file."""
    told = summary.get("started")
    if isinstance(told, int | float) and not isinstance(told, bool):
        return float(told)
    with suppress(ValueError, OverflowError):
        if isinstance(told, str):
            return datetime.datetime.fromisoformat(told).timestamp()
        if stamp := _STAMP.match(folder.name):
            return time.mktime(time.strptime("".join(stamp.groups()), "%Y%m%d%H%M%S"))
    for name in ("recipe.yaml", ""):
        with suppress(OSError):
            return (folder / name).stat().st_mtime
    return 0.0


def result_of(folder: Path, series: Sequence[Series]) -> TrainResult | None:
    """What a finished run gave, as when it ended; None if it has no model. series: what is open of what it was given.

    Slices that were held out are known by their salted hashes, whose key lies in the run's folder.
    """
    from aegui.models import bundle
    from aegui.training.ending import TrainResult
    from aegui.training.runfolder import RunFolder

    run, info = RunFolder(folder), _read(folder)
    if not info.finished or not run.bundle.is_file():
        return None
    try:
        held = set(bundle.split(run.bundle).get("holdout", ()))
        slices = [(one.uid, index) for one in series for index in range(one.slices)] if held else []
        hashed = run.hashes(f"{uid}#{index}" for uid, index in slices)
    except (UserError, OSError, ValueError) as error:
        _log.info("what %s held out is not known: %s", folder, error)
        slices, hashed, held = [], [], set()
    return TrainResult(
        folder,
        run.bundle,
        info.best_epoch,
        info.epochs,
        info.scores,
        info.baselines,
        info.classical,
        tuple(one for one, name in zip(slices, hashed, strict=True) if name in held),
        info.stopped,
        info.seconds,
        info.psnr_range,
    )


# ---------------------------------------------------------------- differences


def run_differences(chosen: Sequence[RunInfo]) -> list[Difference]:
    """What is not the same in all of these runs: model and start, then the recipe's values in its own order.

    A run whose recipe cannot be read has empty values and makes no difference.
    """
    rows = [
        Difference("model", "Starting model", tuple(_model_words(run) for run in chosen)),
        Difference("init", "Weights", tuple(_INIT.get(run.init, "not told") for run in chosen)),
    ]
    rows = [row for row in rows if len(set(row.values)) > 1]
    tables = [dict(_leaves(run.recipe)) if run.recipe else None for run in chosen]
    names: dict[str, str] = {}
    for table in tables:
        names |= {name: title for name, (title, _) in (table or {}).items() if name not in names}
    found: list[Difference] = []
    for name in sorted(names, key=lambda name: _ORDER.get(name.partition(".")[0], len(_ORDER))):
        values = tuple("" if table is None else table.get(name, ("", ABSENT))[1] for table in tables)
        if len({value for value, table in zip(values, tables, strict=True) if table is not None}) > 1:
            found.append(Difference(name, names[name], values))
    # Of a part that some runs have not, only what differs between those that have it is worth a row of its own.
    lacking = tuple(f"{row.name}." for row in found if ABSENT in row.values)
    rows += [row for row in found if not row.name.startswith(lacking) or len(set(row.values) - {ABSENT, ""}) > 1]
    return rows


ABSENT = "–"
_INIT = {"pretrained": "Pretrained", "random": "Random"}
_SKIPPED = ("schema_version", "id", "title", "summary", "use")
_ORDER = {name: place for place, name in enumerate(Recipe.model_fields)}


def _model_words(run: RunInfo) -> str:
    if not run.model:
        return "not told"
    path = Path(run.model)
    # Every run calls its model the same: its folder tells them apart.
    return path.parent.name if path.stem == "model" and path.suffix else path.name if path.suffix else run.model


def _leaves(part: Spec, name: str = "", title: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """(dotted name, (title for people, value for people)) of every value."""
    for key, info in type(part).model_fields.items():
        if not name and key in _SKIPPED:
            continue
        if key in ("kind", "match") and name:
            continue  # they are in the name already
        value = getattr(part, key)
        here = f"{name}.{key}" if name else key
        words = " · ".join(word for word in (title, str(info.title)) if word)
        if isinstance(value, Spec):
            kind = getattr(value, "kind", None)
            if kind is not None:
                yield here, (words, _head(value))
            yield from _leaves(value, f"{here}.{kind}" if kind else here, words)
        elif isinstance(value, tuple) and value and isinstance(value[0], Spec):
            yield from _items(value, here, words)
        else:
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            yield here, (words, _shown(value, extra))


def _items(values: Sequence[Any], here: str, words: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for number, item in enumerate(values):
        key = getattr(item, "kind", None) or getattr(item, "match", None) or str(number)
        called = _head(item) if getattr(item, "kind", None) else str(key)
        inside = list(_leaves(item, f"{here}.{key}", f"{words} · {called}"))
        title, value = inside[0][1] if inside else ("", "yes")
        yield f"{here}.{key}", (f"{words} · {called}", f"{title.rpartition(' · ')[2]} {value}".strip())
        yield from inside[1:]


def _head(part: Spec) -> str:
    return (type(part).__doc__ or type(part).__name__).partition(":")[0]


def _shown(value: Any, extra: Mapping[str, Any]) -> str:
    titles = extra.get("titles")
    if isinstance(titles, dict) and str(value) in titles:
        return str(titles[str(value)])
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{text} {extra.get('unit') or ''}".strip()


# ---------------------------------------------------------------- from scratch


def scratch_job(job: TrainJob) -> TrainJob:
    """The same run from random weights, in a folder of its own beside the job's."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{job.recipe.id}-scratch"
    folder, number = job.run.parent / name, 2
    while folder.exists():
        folder, number = job.run.parent / f"{name}-{number}", number + 1
    return replace(job, init="random", run=folder, resume=False)
