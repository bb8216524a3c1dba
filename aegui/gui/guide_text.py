"""The user guide's text. What the program knows as data stands in it as tables that are made from them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from aegui import paths
from aegui.imaging import OutputRules
from aegui.imaging.dicom.kinds import KINDS
from aegui.models.library import shipped
from aegui.models.told import card_gain, count_words
from aegui.recipes.describe import FieldWords, sections

DONE = {"denoise": "Denoised", "view": "View only", "list": "Listed"}


def files() -> list[Path]:
    """The chapters in their order."""
    return sorted(paths.resource("guide").glob("*.md"))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def kinds_table() -> str:
    """What is denoised, shown and listed, in the order in which it is decided."""
    return _table(("Kind", "Told by", "What is done"), ((k.name, k.told_by, DONE[k.treat]) for k in KINDS))


def output_table() -> str:
    """The choices about what is written."""
    rows = []
    for name, field in OutputRules.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        titles = cast("dict[str, str]", extra.get("titles") or {})
        default = {True: "on", False: "off"}.get(field.default, str(field.default))
        told = (f"{field.description}.", f"{', '.join(titles.values())}." if titles else "")
        only = f" ({extra['only']} only)" if extra.get("only") else ""
        first = titles.get(default, default)
        rows.append((f"{field.title or name}{only}", " ".join(part for part in told if part), first))
    return _table(("Choice", "What it does", "At first"), rows)


def recipe_tables() -> str:
    """Every part of a recipe and its values."""
    blocks = []
    for section in sections():
        blocks.append(f"## {section.title}\n\n`{section.address}`: {section.help}.")
        several = len(section.parts) > 1
        common = [f for f in section.parts[0].fields if several and all(f in part.fields for part in section.parts)]
        for part in section.parts:
            name = f"**{part.title}** (`{part.kind}`): " if part.kind else ""
            blocks.append(f"{name}{part.help}")
            blocks += _values([f for f in part.fields if f not in common])
        if common:
            blocks += ["**All of them** have these besides:", *_values(common)]
    return "\n\n".join(blocks)


def _values(fields: Sequence[FieldWords]) -> list[str]:
    rows = [(f"{f.title} `{f.name}`", f"{f.help}.", f.limits, f.default) for f in fields]
    return [_table(("Value", "What it does", "Range", "At first"), rows)] if rows else []


def models_table() -> str:
    """The models that come with the program."""
    rows = []
    for card in shipped():
        gain = card_gain(card) or ("not measured" if card.weights else "no weights: starts from random ones")
        rows.append((f"{card.title} (`{card.id}`)", card.about, count_words(card.parameters), gain))
    return _table(("Model", "For", "Parameters", "Gain"), rows)


def scores_table() -> str:
    """What was measured of them."""
    rows = []
    for card in shipped():
        for score in card.scores:
            others = ", ".join(f"{name} {value:.2f}" for name, value in score.others.items())
            rows.append((card.title, score.scans, score.noise, str(score.slices), others, f"{score.psnr:.2f}"))
    return _table(("Model", "Scans", "Noise", "Slices", "Others, dB", "Model, dB"), rows)


def learnt_table() -> str:
    """What they have learnt from."""
    used: dict[tuple[str, str, str], list[str]] = {}
    for card in shipped():
        for data in card.training.datasets:
            key = (str(data["name"]), str(data["licence"]), str(data.get("doi", "")))
            used.setdefault(key, []).append(card.title)
    return _table(("Data", "Licence", "doi", "Models"), ((*key, "; ".join(titles)) for key, titles in used.items()))


_MADE = {
    "models": models_table,
    "scores": scores_table,
    "learnt": learnt_table,
    "kinds": kinds_table,
    "output": output_table,
    "recipe": recipe_tables,
}


def current(text: str) -> str:
    """A chapter with its tables made anew."""
    for name, make in _MADE.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        if found:
            text = f"{before}{begin}{make()}\n{end}{rest.partition(end)[2]}"
    return text


def chapters() -> list[tuple[str, str]]:
    """(file name, markdown) of every chapter, tables current, marks left out."""
    return [(file.name, re.sub(r"<!-- .*? -->\n?", "", current(file.read_text(encoding="utf-8")))) for file in files()]


if __name__ == "__main__":  # after a change of the data: python -m aegui.gui.guide_text
    for file in files():
        file.write_text(current(file.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{file.name}\n")
