"""What a form needs to know about a Spec's fields, read from the fields themselves. No Qt here."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic.fields import FieldInfo

from aegui.spec import Spec

Address = tuple[str, ...]


@dataclass(frozen=True)
class Knob:
    """One field of a Spec. kind: how it is edited; choices: Literal values or Spec classes of a union.

    titles: what choices are called, by value. only: what it concerns, “” for everything. suggested: texts to choose
    from where others may be typed. pick: what a text names. ordered: the order of a list matters.
    """

    name: str
    title: str
    help: str
    unit: str
    advanced: bool
    kind: Literal["number", "switch", "choice", "text", "spec", "union", "list"]
    optional: bool = False
    whole: bool = False
    low: float | None = None
    high: float | None = None
    default: Any = None
    choices: tuple[Any, ...] = ()
    tag: str = ""
    minimum: int = 0
    titles: Mapping[str, str] = field(default_factory=dict)
    only: str = ""
    suggested: tuple[str, ...] = ()
    pick: str = ""
    ordered: bool = False


def knobs(spec: type[Spec]) -> list[Knob]:
    """The fields a user can edit; tags of a union and fields with one possible value are left out."""
    found = (_knob(name, info) for name, info in spec.model_fields.items())
    return [knob for knob in found if knob is not None]


def _parts(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return list(typing.get_args(annotation))
    return [annotation]


def _tag(annotation: Any, info: FieldInfo | None = None) -> str:
    """The name of the field that tells the members of a union apart."""
    if info is not None and isinstance(info.discriminator, str):
        return info.discriminator
    if typing.get_origin(annotation) is Annotated:
        for extra in typing.get_args(annotation)[1:]:
            if isinstance(extra, FieldInfo) and isinstance(extra.discriminator, str):
                return extra.discriminator
    return ""


def _limit(info: FieldInfo, *names: str) -> float | None:
    for item in info.metadata:
        for name in names:
            if getattr(item, name, None) is not None:
                return float(getattr(item, name))
    return None


def _knob(name: str, info: FieldInfo) -> Knob | None:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    low, high = _limit(info, "ge", "gt"), _limit(info, "le", "lt")
    if low is not None and low == high:
        return None
    annotation = info.annotation
    optional = types.NoneType in _parts(annotation)
    members = [part for part in _parts(annotation) if part is not types.NoneType]
    base: dict[str, Any] = {
        "name": name,
        "title": info.title or humanise(name),
        "help": info.description or "",
        "unit": str(extra.get("unit", "")),
        "advanced": bool(extra.get("advanced", False)),
        "optional": optional,
        "titles": extra.get("titles", {}),
        "only": str(extra.get("only", "")),
        "suggested": tuple(cast(Sequence[str], extra.get("suggested", ()))),
        "pick": str(extra.get("pick", "")),
        "ordered": bool(extra.get("ordered", False)),
        "default": None if info.is_required() else info.get_default(call_default_factory=True),
    }
    if len(members) > 1 or info.discriminator:
        return Knob(**base, kind="union", choices=tuple(members), tag=_tag(annotation, info))
    member = members[0]
    origin = typing.get_origin(member)
    if origin is Literal:
        values = typing.get_args(member)
        return Knob(**base, kind="choice", choices=values) if len(values) > 1 else None
    if origin is tuple:
        item = typing.get_args(member)[0]
        least = int(_limit(info, "min_length") or 0)
        return Knob(**base, kind="list", choices=tuple(_parts(item)), tag=_tag(item), minimum=least)
    if isinstance(member, type) and issubclass(member, Spec):
        return Knob(**base, kind="spec", choices=(member,))
    if member is bool:
        return Knob(**base, kind="switch")
    if member in (int, float):
        return Knob(**base, kind="number", whole=member is int, low=low, high=high)
    if member is str:
        return Knob(**base, kind="text")
    raise TypeError(f"No editor for {name}: {annotation}")


def walk(spec: type[Spec], prefix: Address = ()) -> Iterator[tuple[Address, Knob]]:
    """Every knob with its address; plain nested Specs are entered, unions and lists are leaves."""
    for knob in knobs(spec):
        if knob.kind == "spec":
            yield from walk(knob.choices[0], (*prefix, knob.name))
        else:
            yield (*prefix, knob.name), knob


def tag_of(spec: type[Spec], tag: str) -> str:
    """The value of a union member's tag field."""
    return str(spec.model_fields[tag].default)


def by_family(choices: Sequence[Any]) -> list[tuple[str, list[int]]]:
    """Headings with the places of the choices under them; all under “” where no choice names a family."""
    found: dict[str, list[int]] = {}
    for place, choice in enumerate(choices):
        found.setdefault(getattr(choice, "family", ""), []).append(place)
    return list(found.items())


def humanise(name: str) -> str:
    """`learning_rate`, `CosineSchedule`, `mean` in words."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name).replace("_", " ")
    return words[:1].upper() + words[1:].lower() if " " in words or words.islower() else words


def choice_title(choice: Any) -> str:
    """What a choice is called: a Spec's docstring up to its colon, else its name in words."""
    if isinstance(choice, type):
        head, colon, _ = (choice.__doc__ or "").partition(":")
        return head if colon and len(head) < 40 else humanise(choice.__name__)
    text = str(choice)
    return humanise(text) if text.isalpha() else text


def choice_help(choice: Any) -> str:
    """One line about a choice: the rest of the docstring's first sentence."""
    if not isinstance(choice, type):
        return ""
    line = (choice.__doc__ or "").strip().split("\n")[0]
    _, _, rest = line.partition(":")
    text = (rest.strip() or line).removesuffix(".")  # as the help of fields
    return text[:1].upper() + text[1:]


def format_number(value: float | int | None) -> str:
    """The shortest text that reads back as the same number: 64, 0.1, 1e-4."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if value == 0:
        return "0"
    if 1e-3 < abs(value) < 1e6:
        text = repr(value)
        return text.removesuffix(".0")
    sign, digits, _ = Decimal(repr(value)).as_tuple()
    exponent = Decimal(repr(value)).adjusted()
    tail = "".join(map(str, digits)).rstrip("0")
    mantissa = tail[0] + ("." + tail[1:] if len(tail) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{exponent}"


def read_number(text: str, whole: bool) -> float | int | str:
    """A number from C-locale text (a comma counts as a point); text that is none comes back as it is."""
    plain = text.strip().replace("\u2212", "-").replace(",", ".").replace(" ", "")
    try:
        value = float(plain)
    except ValueError:
        return text.strip()
    if whole and value.is_integer():
        return int(value)
    return value


def step_number(value: float, up: bool, knob: Knob) -> float:
    """The next value: whole numbers by 1, others by one unit of their leading digit (1e-4 → 2e-4)."""
    sign = 1 if up else -1
    if knob.whole or abs(value) >= 10:
        stepped = value + sign
    elif value == 0:
        stepped = sign * (1e-4 if knob.high is not None and knob.high <= 1 else 1.0)
    else:
        exponent = Decimal(repr(abs(value))).adjusted()
        if not up and Decimal(repr(abs(value))).scaleb(-exponent) == 1:
            exponent -= 1
        stepped = float(Decimal(repr(value)) + sign * Decimal(1).scaleb(exponent))
    if knob.low is not None:
        stepped = max(stepped, knob.low)
    if knob.high is not None:
        stepped = min(stepped, knob.high)
    return int(stepped) if knob.whole else stepped
