"""Recipes of earlier versions, in the form of today's."""

from __future__ import annotations

from typing import Any

VERSION = 2


def migrated(values: dict[str, Any]) -> dict[str, Any]:
    """The same recipe with today's field names; values that are not understood stay for the checks to name."""
    if values.get("schema_version", 1) != 1 or not _old(values):
        return values
    new = {**values, "schema_version": VERSION}
    targets = new.get("targets")
    if isinstance(targets, dict) and targets.get("kind") == "gaussian":
        noise = {"kind": "gaussian"}
        for old, name in (("sigma_low", "low"), ("sigma_high", "high"), ("grain", "grain")):
            if old in targets:
                noise[name] = targets[old]
        rest = {k: v for k, v in targets.items() if k not in ("kind", "sigma_low", "sigma_high", "grain")}
        new["targets"] = {"kind": "synthetic", "corruptions": [noise], **rest}
    if "gradient_clip" in new:
        new["regularisation"] = {"gradient_clip": new.pop("gradient_clip")}
    run = new.get("run")
    if isinstance(run, dict) and "ema" in run:
        run = dict(run)
        decay = run.pop("ema")
        new["run"] = run
        if decay is not None:
            new["averaging"] = {"kind": "ema", "decay": decay}
    return new


def _old(values: dict[str, Any]) -> bool:
    """Whether the values have marks of version 1; a file without a version may be of today."""
    targets, run = values.get("targets"), values.get("run")
    return (
        "schema_version" in values
        or "gradient_clip" in values
        or (isinstance(targets, dict) and targets.get("kind") == "gaussian")
        or (isinstance(run, dict) and "ema" in run)
    )
