"""The fastest engine that does what torch does, found by trying and remembered for the model and the machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field, ValidationError

from aegui import __version__, paths
from aegui.errors import UserError
from aegui.events import Event, Progress
from aegui.inference.check import Reference, references
from aegui.inference.denoiser import Denoiser
from aegui.inference.engines import Engine, TorchEngine, Unavailable, build, processor
from aegui.inference.kinds import KINDS, require_engine
from aegui.inference.streams import Streams, alone
from aegui.models.slicenet import SliceNet, fingerprint

_log = logging.getLogger(__name__)

WORTH = 20.0  # seconds that the job must take in torch before engines are tried, which takes some ten itself
_CHECK_WORTH = 12  # slices that must be left before a known engine is checked on another kind of series
_ROUNDS = 5
_PATIENCE = 10.0  # seconds after which no further round is timed
_LIKE = 0.8  # an engine that passed at a noise level is trusted down to this share of it
_KEPT = 64  # models and machines remembered


@dataclass(frozen=True)
class Choice:
    """The engine to use. notes: why faster ones were not taken. seconds: per slice, of those that were timed."""

    engine: Engine
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


class Known(BaseModel):
    """What is remembered of a model on a machine.

    seconds: per sample, in all streams at once, by engine. missing: why others could not be had. passed: the lowest
    noise level (normalised), by engine and modality, at which it did what torch does; failed: the highest at which it
    did not, and why. passing: a full disk or the like kept an engine away; that is not to be remembered.
    """

    seconds: dict[str, float] = {}
    missing: dict[str, str] = {}
    passed: dict[str, dict[str, float]] = {}
    failed: dict[str, dict[str, tuple[float, str]]] = {}
    passing: bool = Field(default=False, exclude=True)


def _file() -> Path:
    return paths.cache_home() / "engines.json"


def _all() -> dict[str, Any]:
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, UserError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(key: str, known: Known) -> None:
    entries = {name: entry for name, entry in _all().items() if name != key}
    kept = dict(list(entries.items())[1 - _KEPT :])
    try:
        with paths.atomic(_file()) as temporary:
            temporary.write_text(json.dumps({**kept, key: known.model_dump()}, indent=1), encoding="utf-8")
    except (OSError, UserError) as error:
        _log.info("the choice of engine is not remembered: %s", error)


def _recall(key: str) -> Known | None:
    try:
        return Known.model_validate(_all()[key])
    except (KeyError, ValidationError):
        return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _machine(device: torch.device) -> tuple[str, ...]:
    if device.type == "cuda":
        return (platform.node(), torch.cuda.get_device_name(device))
    name = str(processor().get("cpu_name", "")) or platform.processor()
    return (platform.node(), platform.machine(), name, str(os.cpu_count()), str(torch.get_num_threads()))


class Engines:
    """The engines of one network on a device, each made when it is first asked for. streams: None for one."""

    def __init__(self, net: SliceNet, device: torch.device, streams: Streams | None = None) -> None:
        self.streams = streams or alone()
        self.plain = TorchEngine(net, device, streams=self.streams)
        self._net, self._device = net, device
        self._made: dict[str, Engine] = {"torch": self.plain}

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the network."""
        return fingerprint(self._net)

    @cached_property
    def key(self) -> str:
        """Of the network on this device and machine, with the runtimes that are installed."""
        versions = (f"{name} {_version(name)}" for name in ("torch", "onnxruntime", "openvino"))
        machine = (*_machine(self._device), str(self.streams))
        parts = (self.weights, self._device.type, *machine, f"aegui {__version__}", *versions)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def get(self, name: str) -> Engine:
        """The engine of that name; Unavailable where it cannot be had."""
        if name not in self._made:
            try:
                self._made[name] = build(name, self._net, self._device, self.weights, self.streams)
            except Unavailable:
                raise
            except Exception as error:
                _log.info("%s", name, exc_info=True)
                # Of graphs that a runtime does not take the first line tells which operation it is.
                raise Unavailable(f"it cannot run this model ({str(error).strip().partition(chr(10))[0]})") from error
        return self._made[name]

    def require(self, name: str) -> None:
        """UserError where an engine is asked for that there is not."""
        require_engine(name)
        try:
            if name != "auto":
                self.get(name)
        except Unavailable as reason:
            title = KINDS[name].title
            raise UserError(f"{title} is not to be had here: {reason}.", "Choose the engine “auto”.") from None


def _problem(engine: Engine, checks: list[Reference]) -> Generator[Event, None, str]:
    for number, check in enumerate(checks):
        yield Progress(number, len(checks), f"Checking {engine.kind.title} on your slices")
        try:
            problem = check.problem(engine, thorough=number == 0)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises, torch still runs
            _log.info("%s", engine.kind.title, exc_info=True)
            problem = f"fails ({type(error).__name__}: {error})"
        if problem:
            return problem
    return ""


def _timed(engines: Engines, check: Reference, known: Known) -> Generator[Event, None, None]:
    """Fill in `seconds` and `missing`. All take turns, so that what else the machine does befalls all alike."""
    taken: dict[str, list[float]] = {}
    count = engines.streams.count
    with engines.streams.open() as streams:
        for name, kind in KINDS.items():
            yield Progress(len(taken), len(KINDS), f"Trying {kind.title}")
            try:
                list(streams.map(check.run, [engines.get(name)] * count))  # prepares what later ones use
                taken[name] = []
            except Unavailable as reason:
                known.missing[name] = str(reason)
                known.passing |= isinstance(reason.__cause__, OSError | MemoryError)
            except Exception as error:  # noqa: BLE001 - whatever a runtime raises, torch still runs
                _log.info("%s", name, exc_info=True)
                known.missing[name] = f"it fails ({type(error).__name__}: {error})"
        began = time.monotonic()
        for number in range(_ROUNDS):
            if number and time.monotonic() - began > _PATIENCE:
                break
            for name, times in taken.items():
                yield Progress(number, _ROUNDS, "Looking for the fastest way to run the model here")
                start = time.perf_counter()
                list(streams.map(check.run, [engines.get(name)] * count))
                times.append((time.perf_counter() - start) / count)
    # The best counts: what else the machine does only ever adds.
    known.seconds.update({name: min(times) for name, times in taken.items()})


def choose(
    engines: Engines, denoiser: Denoiser, slices: int, wanted: str = "auto", noise_level: float | None = None
) -> Generator[Event, None, Choice]:
    """The engine for a denoiser's series. slices: of its kind that are still to be run, views counted.

    Small jobs keep torch, which needs no trying. wanted: a name of `ENGINES`; it is checked, too, and torch is taken
    where it does not do what torch does. UserError where this machine does not have it.
    """
    plain = engines.plain
    engines.require(wanted)
    if wanted == "torch":
        return Choice(plain)
    if wanted != "auto":
        engine = engines.get(wanted)
        problem = yield from _problem(engine, references(denoiser, plain, noise_level))
        return Choice(plain, (f"{engine.kind.title} {problem}",)) if problem else Choice(engine)

    known = _recall(engines.key)
    if known is None and slices < _CHECK_WORTH:
        return Choice(plain)
    checks = references(denoiser, plain, noise_level)
    if known is None:
        yield Progress(0, len(KINDS), "Trying torch")
        if _seconds(checks[0], denoiser, slices) < WORTH or _seconds(checks[0], denoiser, slices) < WORTH:
            return Choice(plain)
        known = Known()
        yield from _timed(engines, checks[0], known)
    choice = yield from _best(engines, checks, known, denoiser.source.series.modality, slices)
    if not known.passing:
        _remember(engines.key, known)
    for note in (*choice.notes, *(f"{KINDS[name].title}: {why}" for name, why in known.missing.items())):
        _log.info("not used: %s", note)
    _log.info("%s runs the model", choice.engine.kind.title)
    return choice


def _seconds(check: Reference, denoiser: Denoiser, slices: int) -> float:
    """How long torch may take for so many slices; the first time it is asked, this is too long."""
    start = time.perf_counter()
    check.run(denoiser.engine)
    series = denoiser.source.series
    return (time.perf_counter() - start) * slices * series.rows * series.columns / check.sample.inside.size


def _best(
    engines: Engines, checks: list[Reference], known: Known, modality: str, slices: int
) -> Generator[Event, None, Choice]:
    """The fastest known engine that passes; notes on what was learnt are added to `known`."""
    notes: list[str] = []
    telling = [check.sample.noise for check in checks if check.tells]
    if not telling:
        return Choice(engines.get("torch"), (), known.seconds)
    level = min(telling)
    for name in sorted(known.seconds, key=lambda name: known.seconds[name]):
        if name == "torch" or name not in KINDS:
            break
        passed, failed = known.passed.setdefault(name, {}), known.failed.setdefault(name, {})
        title = KINDS[name].title
        if modality in failed and level <= failed[modality][0]:
            notes.append(f"{title} {failed[modality][1]}")
            continue
        trusted = modality in passed and level >= _LIKE * passed[modality]
        if not trusted and slices < _CHECK_WORTH:
            break
        try:
            engine = engines.get(name)
        except Unavailable as reason:
            notes.append(f"{title}: {reason}")
            continue
        problem = "" if trusted else (yield from _problem(engine, checks))
        if not problem:
            if not trusted:
                passed[modality] = level
            return Choice(engine, tuple(notes), known.seconds)
        failed[modality] = (max(level, failed[modality][0]) if modality in failed else level, problem)
        notes.append(f"{title} {problem}")
    return Choice(engines.get("torch"), tuple(notes), known.seconds)
