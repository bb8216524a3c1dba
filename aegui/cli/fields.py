"""Options made from the fields of a Spec: their names, help, choices and limits are written once, there."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from aegui.spec import Spec

SET, PANEL = "assignments", "What is written"


def _option(name: str, info: FieldInfo) -> inspect.Parameter:
    """--some-name for a field; a bare flag where it is switched on by it."""
    option = typer.Option(f"--{name.replace('_', '-')}", help=f"{info.description}.", rich_help_panel=PANEL)
    held: Any = info.annotation
    annotation = Annotated[held, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info.default, annotation=annotation)


def fields_of(spec: type[Spec], argument: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A verb that takes a Spec as one argument gets an option for each of its fields, and --set FIELD=VALUE."""

    def wrap(verb: Callable[..., int]) -> Callable[..., int]:
        options = [_option(name, info) for name, info in spec.model_fields.items()]
        kind = inspect.Parameter.KEYWORD_ONLY
        words = "Any of these by its name: series_number=901."
        assign = typer.Option("--set", metavar="FIELD=VALUE", help=words, rich_help_panel=PANEL)
        options.append(inspect.Parameter(SET, kind, default=None, annotation=Annotated[list[str] | None, assign]))

        @functools.wraps(verb)
        def run(**given: Any) -> int:
            assigned = given.pop(SET) or []
            values = spec.parse({name: given.pop(name) for name in spec.model_fields})
            return verb(**given, **{argument: values.with_set(assigned)})

        signature = inspect.signature(verb, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != argument]
        last = [parameter.replace(kind=kind) for parameter in own]
        # Any function may carry one (PEP 362), which typeshed does not know.
        run.__signature__ = signature.replace(parameters=[*last, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*last, *options]}
        # Typer would read the hints of the verb itself.
        del run.__wrapped__
        return run

    return wrap
