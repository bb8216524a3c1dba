"""The command line: one verb per job. `aegui` alone, or with a folder, opens the window.

Exit codes: 0 all done, 1 wrong use or nothing done, 2 partly failed.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import typer

from aegui import log
from aegui.cli.program import app
from aegui.cli.show import print_json, say
from aegui.cli.training import train as _train  # noqa: F401 - the modules add their verbs to the program
from aegui.cli.verbs import scan as _scan  # noqa: F401 - likewise
from aegui.errors import Cancelled, UserError
from aegui.paths import exists

__all__ = ["app", "main", "run"]

_log = logging.getLogger(__name__)

_REPEATED = {
    **dict.fromkeys(("train", "forecast", "find-rate", "match-scanner"), ("--data", "--clean", "--set")),
    "race": ("--data", "--clean", "--set", "--recipe"),
    "denoise": ("--input", "--include", "--set"),
    "evaluate": ("--noisy", "--clean"),
}

# typer carries its own copy of click in some versions; its public exceptions lead to the base class of either.
_ClickError: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def arguments(given: Sequence[str]) -> list[str]:
    """What typer can read: the window's verb put in front of a folder, `--data A B` as `--data A --data B`."""
    words = list(given)
    verbs = _verbs()
    first = next((word for word in words if not word.startswith("-")), None)
    if first is None:
        return words if words else ["gui"]
    if first not in verbs:
        if len(words) > 1 and not exists(Path(first)):  # options of the window would be the wrong thing to speak of
            near = get_close_matches(first, verbs, 1)
            hint = f"Did you mean `aegui {near[0]}`?" if near else "Run `aegui --help` for the verbs."
            raise UserError(f"There is no folder or verb “{first}”.", hint)
        return ["gui", *words]
    several = _REPEATED.get(first, ())
    result: list[str] = []
    option: str | None = None
    fresh = False
    for word in words:
        if word.startswith("-"):
            option, fresh = (word if word in several else None), True
        elif option is not None:
            if not fresh:
                result.append(option)
            fresh = False
        result.append(word)
    return result


def run(given: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        log.setup()
        return int(app(arguments(given), prog_name="aegui", standalone_mode=False) or 0)
    except BrokenPipeError:  # the reader of our output, such as `head`, went away
        sys.stderr.close()
        return 1
    except UserError as error:
        problem = error
    except Cancelled as error:
        problem = UserError(str(error) or "Stopped.")
    except (KeyboardInterrupt, typer.Abort):
        problem = UserError("Stopped.")
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence instead of a traceback
        if isinstance(error, _ClickError):
            words = error.format_message().rstrip(".").replace("Value error, ", "")
            problem = UserError(f"{words}.", f"See `aegui {_verb(given)}--help`.")
        else:
            _log.error("unexpected: aegui %s", " ".join(given), exc_info=True)
            file = log.file()
            more = f"Its log says more: {file}" if file else f"It has no log to say more. ({error})"
            problem = UserError(f"The program met an unexpected {type(error).__name__}.", more)
    say(str(problem))
    if "--json" in given:
        print_json({"error": problem.message, "hint": problem.hint})
    return 1


def _verbs() -> set[str]:
    named = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    return {name.replace("_", "-") for name in named}


def _verb(given: Sequence[str]) -> str:
    return next((f"{word} " for word in given if word in _verbs()), "")


def main() -> NoReturn:
    """The entry point."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # which may know fewer letters than names have; stderr is always so
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
