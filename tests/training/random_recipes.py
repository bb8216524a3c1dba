"""Recipes drawn at random from the whole schema, and small scans that all of them can train on."""

from __future__ import annotations

import math
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic.fields import FieldInfo

from aegui import workflow
from aegui.data.pairs import Pair
from aegui.events import finish
from aegui.recipes import Recipe
from aegui.recipes.losses import LOSSES, KullbackLeibler
from aegui.spec import Spec, SpecError

SHORT = {"epochs": 2, "steps_per_epoch": 2, "validation_slices": 2, "steps": None, "minutes": None, "keep_every": None}
SIDE = 48


def write_scans(folder: Path) -> Path:
    """Two classes with three volumes each, eight slices, and a repeat of each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    for number in range(6):
        place = folder / ("round", "square")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shape = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1 if number % 2 else (abs(x - 0.5) < 0.3) & (abs(y - 0.5) < 0.2)
        volume = np.stack([300 + 200 * shape * np.cos(0.3 * k) + 40 * np.sin(9 * x + number) for k in range(8)])
        for name in ("a", "b"):
            noisy = volume + rng.normal(0, 15, volume.shape)
            np.save(place / f"{number}{name}.npy", noisy.astype(np.float32))
    return folder


def job(folder: Path, run: Path, recipe: Recipe, model: str) -> workflow.TrainJob:
    """A run on these scans; every second series is the repeat of the one before."""
    series = sorted(finish(workflow.scan([folder])).series, key=lambda one: one.files[0].name)
    kind: Literal["clean", "repeat"] = "repeat" if recipe.targets.kind == "noise2noise" else "clean"
    pairs = tuple(
        Pair(one, other, tuple((i, i) for i in range(one.slices)), "order", True, "", kind)
        for one, other in zip(series[::2], series[1::2], strict=True)
    )
    labels = {one.uid: one.files[0].parent.name for one in series}
    return workflow.TrainJob(
        model, recipe, tuple(series), run, pairs=pairs if recipe.targets.pairs else (), labels=labels, device="cpu"
    )


def draw(seed: int, variational: bool = False) -> Recipe:
    """A recipe that keeps the rules; draws that do not are drawn again. variational: for such a model."""
    rng = np.random.default_rng(seed)
    while True:
        values = _spec(Recipe, rng) | {"id": "random", "title": "Random", "summary": ""}
        chosen = rng.permutation(len(LOSSES))[: int(rng.integers(1, 4))]
        values["losses"] = [_spec(LOSSES[k], rng) for k in chosen if variational or LOSSES[k] is not KullbackLeibler]
        for term in values["losses"]:
            if "features" in term:
                term["features"] = "own"  # the others may not be installed
        values["groups"][0] |= {"train": True, "unfreeze_epoch": 0}
        values["run"] = (
            values["run"] | SHORT | {"batch_size": int(rng.integers(1, 5)), "accumulate": 1 + rng.integers(2)}
        )
        values["run"]["patch_size"] = [None, 16, 24, 32, 48][rng.integers(5)]
        values["run"]["validation_fraction"], values["run"]["holdout_fraction"] = 0.3, 0.0
        try:
            return Recipe.parse(values)
        except SpecError:
            continue


def _spec(spec: type[Spec], rng: np.random.Generator) -> dict[str, Any]:
    return {name: _value(info.annotation, info, rng) for name, info in spec.model_fields.items()}


def _value(annotation: Any, info: FieldInfo | None, rng: np.random.Generator) -> Any:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _value(typing.get_args(annotation)[0], info, rng)
    if origin is Literal:
        choices = typing.get_args(annotation)
        return choices[rng.integers(len(choices))]
    if origin in (typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        return _value(members[rng.integers(len(members))], info, rng)
    if origin is tuple:
        item = typing.get_args(annotation)[0]
        return [_value(item, None, rng) for _ in range(rng.integers(1, 4))]
    if annotation is type(None):
        return None
    if annotation is bool:
        return bool(rng.random() < 0.5)
    if annotation in (int, float):
        return _number(annotation, info, rng)
    if annotation is str:
        assert info is not None
        extra = info.json_schema_extra
        suggested = extra.get("suggested") if isinstance(extra, dict) else None
        return rng.choice(suggested) if isinstance(suggested, list) and suggested else info.get_default()
    return _spec(annotation, rng)


def _number(kind: type, info: FieldInfo | None, rng: np.random.Generator) -> Any:
    """The default, or something between the limits, small numbers more often than large ones."""
    assert info is not None
    limits = {
        name: getattr(item, name) for item in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = float(limits.get("ge", limits.get("gt", 0)))
    high = float(limits.get("le", limits.get("lt", 10)))
    default = info.get_default()
    if default is not None and rng.random() < 0.4:
        return default
    least = max(low, 1e-4) if kind is float else max(low, 1)
    if high == 10:
        low, high, least = 0, 1e-2, 1e-5  # a learning rate
    value = math.exp(rng.uniform(math.log(least), math.log(max(least * 1.01, min(high, 30)))))
    if rng.random() < 0.1 and "ge" in limits:
        value = low
    value = min(max(value, low + ("gt" in limits) * 1e-6), high - ("lt" in limits) * 1e-6)
    return round(value) if kind is int else value
