"""The base of every file the user can read and edit: frozen, strict, one list of fields.

The form, the YAML file, `--set a.b=c` and the documentation all come from the fields of a `Spec`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from aegui.errors import UserError


def knob(
    default: Any = ...,
    *,
    title: str,
    help: str,
    unit: str = "",
    advanced: bool = False,
    titles: Mapping[str, str] | None = None,
    brief: str = "",
    only: str = "",
    suggested: Sequence[str] = (),
    pick: str = "",
    ordered: bool = False,
    **limits: Any,
) -> Any:
    """A field with what a form needs. limits: ge, gt, le, lt, min_length, max_length, discriminator …

    titles: what choices are called, where their own names will not do. brief: says in a summary that the value is not
    the default, “{}” being the value. only: what it concerns (“DICOM”), so that a form can switch it off elsewhere.
    suggested: texts to choose from where others may be typed. pick: what a text names (“model”), so that a form can
    offer what there is. ordered: the order of a list matters.
    """
    extra: dict[str, Any] = {
        "unit": unit,
        "advanced": advanced,
        "titles": dict(titles or {}),
        "brief": brief,
        "only": only,
        "suggested": list(suggested),
        "pick": pick,
        "ordered": ordered,
    }
    return Field(default, title=title, description=help, json_schema_extra=extra, **limits)


class SpecError(UserError):
    """A value in a spec is wrong. where: its dotted address, such as ("losses", 1, "weight")."""

    def __init__(self, message: str, hint: str, where: tuple[str | int, ...]) -> None:
        super().__init__(message, hint)
        self.where = where

    def __reduce__(self) -> Any:
        return type(self), (self.message, self.hint, self.where)


def refuse(*found: tuple[str, Sequence[str | int]]) -> None:
    """Raise what rules over several fields found, if anything: words, and the address of the field to change.

    For use in `model_post_init`; addresses count from the Spec that is checked.
    """
    if found:
        details = [
            InitErrorDetails(
                type=PydanticCustomError("rule", "{words}", {"words": words}), loc=tuple(where), input=None
            )
            for words, where in found
        ]
        raise ValidationError.from_exception_data("rules", details)


class Spec(BaseModel):
    """Frozen, strict about keys.

    family: heading under which a form lists it among other choices. inline: fields that stand beside its name in a
    list, the rest being folded away.
    """

    family: ClassVar[str] = ""
    inline: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: Any, source: str = "") -> Self:
        """Validate plain values; the first problem is raised as a SpecError in plain words."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise problems(error, source)[0] from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a YAML file."""
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"There is no file {path}.", "Check the name, or list the shipped ones.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path.name} cannot be read.", f"It must be a text file. ({error})") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" in line {mark.line + 1}" if mark else ""
            raise UserError(f"{path.name} is not well-formed YAML{line}.", "Check its indentation.") from None
        if not isinstance(values, dict):
            raise UserError(f"{path.name} holds no settings.", "It must be a list of `name: value` lines.")
        return cls.parse(values, path.name)

    @classmethod
    def load_known(cls, path: Path) -> Self:
        """Like `load`, but a file that has not changed is read once: the window asks for shipped files often."""
        state = path.stat()
        key = (cls, path)
        known = _known.get(key)
        if known is None or known[0] != (state.st_mtime_ns, state.st_size):
            known = _known[key] = ((state.st_mtime_ns, state.st_size), cls.load(path))
        return cast(Self, known[1])

    def to_yaml(self) -> str:
        """All fields, defaults included, so that a file says what was done."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)

    def with_set(self, assignments: Sequence[str]) -> Self:
        """Apply `a.b=c` overrides; a list item is named by its number, its kind or its name."""
        values = self.model_dump(mode="json")
        turned: list[tuple[dict[str, Any], set[str]]] = []  # items of another kind, with the fields they had
        for assignment in assignments:
            address, equals, text = assignment.partition("=")
            if not equals:
                raise UserError(f"“{assignment}” is not a setting.", "Write it as name=value.")
            keys = address.strip().split(".")
            field = type(self).model_fields.get(address.strip())
            # Text stays what it is: +1000 is no number there.
            value = text if field is not None and field.annotation is str else _value(text)
            item, name = _assign(values, keys, value, assignment)
            if name == "kind":
                turned.append((item, set(item)))
            for other, before in turned:
                if other is item:
                    before.discard(name)
        _drop_foreign(type(self), values, turned)
        return self.parse(values)

    @classmethod
    def another(cls, present: Sequence[Spec]) -> Self | None:
        """One more, with defaults, for a list that holds these; None if it has no place there."""
        return cls()

    def changes(self) -> dict[str, str]:
        """The fields that differ from their defaults, with a few words about each."""
        found = {}
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if value != info.get_default(call_default_factory=True):
                extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
                shown = cast(dict[str, str], extra.get("titles", {})).get(str(value), str(value))
                found[name] = str(extra.get("brief") or f"{info.title}: {{}}").replace("{}", shown)
        return found


_known: dict[tuple[type[Spec], Path], tuple[tuple[int, int], Spec]] = {}


def _value(text: str) -> Any:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # such as the pattern *
    # YAML's further numbers, dates and words for true are text here: 1:30 would be ninety, and “yes” one epoch.
    return found if found is None or isinstance(found, str | list | dict) else text


def _drop_foreign(kind: type[Spec], values: Any, turned: Sequence[tuple[dict[str, Any], set[str]]]) -> None:
    """Take fields out of items that had them as another kind and may not have them now."""
    if not turned:
        return
    try:
        kind.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            tag, name = ("", *detail["loc"])[-2:]
            for item, before in turned:
                if detail["type"] == "extra_forbidden" and item["kind"] == tag and name in before:
                    item.pop(str(name), None)


def _item(values: list[Any], key: str) -> int | None:
    if key.isdecimal() and int(key) < len(values):
        return int(key)
    for index, item in enumerate(values):
        if isinstance(item, dict) and key in (item.get("kind"), item.get("name"), item.get("match")):
            return index
    return None


def _assign(values: Any, keys: list[str], value: Any, assignment: str) -> tuple[Any, Any]:
    """Set a value; returns what holds it, and where. A word in place of an item of some kind is its kind."""
    *parents, last = keys
    node = values
    for key in parents:
        if isinstance(node, dict) and key not in node and key == node.get("kind"):
            continue  # as messages and the reference name it: targets.synthetic.corruptions
        step: Any = _item(node, key) if isinstance(node, list) else key
        known = node
        try:
            node = node[step]
        except (KeyError, TypeError):
            node = None
        if not isinstance(node, dict | list):
            raise UserError(f"There is no setting “{key}” in “{assignment}”.", _there_is(known))
    if isinstance(node, list):
        index = _item(node, last)
        if index is None:
            raise UserError(f"There is no item “{last}” in “{assignment}”.", _there_is(node))
        place: Any = index
    else:
        place = last
    held = node[place] if isinstance(node, list) else node.get(place)
    if isinstance(held, dict) and "kind" in held and isinstance(value, str):
        node, place = held, "kind"
    node[place] = value
    return node, place


def _there_is(node: Any) -> str:
    """What could be named instead."""
    if isinstance(node, dict):
        return f"There are {', '.join(map(str, node))}."
    names = [str(item.get("kind") or item.get("name") or item.get("match")) for item in node if isinstance(item, dict)]
    return f"There are {', '.join(names) or 'none'}. To add one, write a recipe file: `aegui recipes show NAME > FILE`."


_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _limit(number: float) -> str:
    """4096, 0.9, 1e6."""
    return str(number) if isinstance(number, int) else f"{number:g}".replace("e+0", "e")


def problems(error: ValidationError, source: str = "") -> list[SpecError]:
    """pydantic's findings in the app's words, each with the address of the field it is about."""
    return [_problem(detail, source) for detail in error.errors(include_url=False)]


def _problem(detail: ErrorDetails, source: str) -> SpecError:
    where = tuple(detail["loc"])
    name = ".".join(str(part) for part in where) or "the settings"
    of = f" of {source}" if source else ""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return SpecError(f"“{name}”{of} is not a known setting.", "Remove it, or check its spelling.", where)
    if kind == "missing":
        return SpecError(f"“{name}”{of} is missing.", "Add it.", where)
    if kind in _LIMITS:
        words, key = _LIMITS[kind]
        return SpecError(f"“{name}”{of} must be {words} {_limit(context[key])}.", f"It is {detail['input']}.", where)
    if kind == "union_tag_not_found":
        return SpecError(f"“{name}.kind”{of} is missing.", "Add it.", where)
    if kind in ("union_tag_invalid", "literal_error", "enum"):
        expected = context.get("expected_tags") or context.get("expected", "")
        return SpecError(f"“{name}”{of} has no such choice.", f"Choose one of {expected}.", where)
    if kind == "rule":
        return SpecError(context["words"], "", where)
    if kind == "value_error":
        return SpecError(str(context["error"]), "", where)
    if kind in ("float_parsing", "float_type", "int_parsing", "int_type", "int_from_float", "finite_number"):
        whole = "a whole number" if kind.startswith("int") else "a number"
        return SpecError(f"“{name}”{of} must be {whole}.", f"It is {detail['input']!r}.", where)
    if kind == "int_parsing_size":
        return SpecError(f"“{name}”{of} must be a smaller number.", f"It is {detail['input']!r}.", where)
    if kind == "string_too_short":
        return SpecError(f"“{name}”{of} must not be empty.", "", where)
    if kind == "string_too_long":
        longest = context["max_length"]
        return SpecError(
            f"“{name}”{of} must have at most {longest} characters.", f"It has {len(detail['input'])}.", where
        )
    if kind in ("model_attributes_type", "model_type", "dict_type"):
        return SpecError(
            f"“{name}”{of} has settings of its own.",
            f"Write them as {{name: value}}, not as {detail['input']!r}.",
            where,
        )
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return SpecError(f"“{name}”{of} cannot be used: {message}.", "", where)
