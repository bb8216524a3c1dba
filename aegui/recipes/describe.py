"""Every part of a recipe in words, read from the schema: for the guide and the command line."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic.fields import FieldInfo

from aegui.recipes.recipe import Recipe
from aegui.spec import Spec

_OWN = ("schema_version", "id", "title", "summary")  # what a recipe says about itself


@dataclass(frozen=True)
class FieldWords:
    """A value: its name in files, what it is called, what it does, what it may be and what it is at first."""

    name: str
    title: str
    help: str
    limits: str
    default: str


@dataclass(frozen=True)
class PartWords:
    """One choice, such as a loss term. kind: its name in files, “” where there is no choice."""

    kind: str
    title: str
    help: str
    fields: tuple[FieldWords, ...]


@dataclass(frozen=True)
class SectionWords:
    """One field of the recipe with all that it can hold. address: its dotted name."""

    address: str
    title: str
    help: str
    parts: tuple[PartWords, ...]


def sections() -> list[SectionWords]:
    """All of them, in the order of the schema; lists within a part follow as sections of their own."""
    return list(_sections(Recipe, ""))


def _sections(spec: type[Spec], prefix: str) -> Iterator[SectionWords]:
    for name, info in spec.model_fields.items():
        parts = _specs(info.annotation)
        if name in _OWN or not parts:
            continue
        address = f"{prefix}{name}"
        yield SectionWords(address, info.title or name, info.description or "", tuple(_part(part) for part in parts))
        for part in parts:
            yield from _sections(part, f"{address}.{_kind(part)}.".replace("..", "."))


def _specs(annotation: Any) -> list[type[Spec]]:
    """The Specs that an annotation can hold: itself, the members of a union, the items of a tuple."""
    origin = typing.get_origin(annotation)
    if origin in (Annotated, tuple):
        return _specs(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [spec for part in typing.get_args(annotation) for spec in _specs(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Spec) else []


def _kind(spec: type[Spec]) -> str:
    field = spec.model_fields.get("kind")
    return str(field.default) if field is not None else ""


def _part(spec: type[Spec]) -> PartWords:
    line = (spec.__doc__ or "").strip().split("\n")[0]
    title, colon, rest = line.partition(":")
    fields = tuple(
        _field(name, info) for name, info in spec.model_fields.items() if name != "kind" and not _specs(info.annotation)
    )
    words = (rest if colon else line).strip()
    return PartWords(_kind(spec), title if colon else "", words[:1].upper() + words[1:], fields)


def _field(name: str, info: FieldInfo) -> FieldWords:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    titles = typing.cast("dict[str, str]", extra.get("titles") or {})
    default = info.get_default(call_default_factory=True)
    return FieldWords(
        name, info.title or name, info.description or "", _limits(info, titles, extra), _default(default, titles)
    )


def _default(value: Any, titles: dict[str, str]) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
    return titles.get(str(value), str(value))


def _limits(info: FieldInfo, titles: dict[str, str], extra: dict[str, Any]) -> str:
    choices = [v for part in _members(info.annotation) for v in typing.get_args(part) if _is_literal(part)]
    if choices:
        return ", ".join(f"{value} ({titles[str(value)]})" if str(value) in titles else str(value) for value in choices)
    low, high = (_limit(info, *names) for names in (("ge", "gt"), ("le", "lt")))
    span = f"{low:g} to {high:g}" if low is not None and high is not None else ""
    return " ".join(part for part in (span, str(extra.get("unit") or "")) if part)


def _limit(info: FieldInfo, *names: str) -> float | None:
    found = (getattr(item, name, None) for item in info.metadata for name in names)
    return next((float(value) for value in found if value is not None), None)


def _members(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return list(typing.get_args(annotation))
    return [annotation]


def _is_literal(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Literal
