"""Files that are in no series: the damaged ones first, then by reason."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from PySide6.QtWidgets import QWidget

from aegui.gui.dialogs import Dialog, text_dialog
from aegui.imaging.series import Skipped

# Reasons that name a file or a number are of one kind.
_KINDS = (
    (re.compile(r"Copy of .*"), "Copy of another file"),
    (re.compile(r"Belongs to .*"), "Belongs to a file that was skipped"),
    (re.compile(r"(Truncated|Damaged|DICOMDIR|Cannot be [^:]*): .*"), r"\1"),
)


def _kind(reason: str) -> str:
    for pattern, words in _KINDS:
        if found := pattern.fullmatch(reason):
            return found.expand(words)
    return reason.rstrip(".")


def _common(files: Sequence[Path]) -> Path | None:
    """The folder that all lie in, unless it is the whole disk or there is but one file."""
    try:
        folder = Path(os.path.commonpath([file.parent for file in files]))
    except ValueError:  # none, or on several drives
        return None
    return folder if len(files) > 1 and folder != Path(folder.anchor) else None


def skipped_lines(skipped: Iterable[Skipped]) -> list[str]:
    """A heading per reason, its files below; what should have been slices comes first."""
    known = tuple(skipped)
    common = _common([one.file for one in known])
    groups: dict[tuple[bool, str], list[Skipped]] = defaultdict(list)
    for one in known:
        groups[(not one.damaged, _kind(one.reason))].append(one)
    lines: list[str] = ["", f"In {common}"] if common else []
    for (harmless, kind), members in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])):
        count = f"{len(members)} file{'s' if len(members) != 1 else ''}"
        lines += ["", f"{kind} · {count}{'' if harmless else ' · should have been slices'}"]
        for one in members:
            more = "" if one.reason.rstrip(".") == kind else f"  ({one.reason.rstrip('.')})"
            lines.append(f"    {one.file.relative_to(common) if common else one.file}{more}")
    return lines[1:]


def skipped_words(skipped: Iterable[Skipped]) -> str:
    """One sentence: how many, and how many of them are damaged."""
    known = tuple(skipped)
    count, damaged = len(known), sum(one.damaged for one in known)
    words = f"{count} file{'s are' if count != 1 else ' is'} in no series."
    return f"{words} {damaged} {'are' if damaged != 1 else 'is'} damaged." if damaged else words


def list_skipped(window: QWidget, title: str, skipped: Iterable[Skipped]) -> Dialog:
    """All of them, to read and copy."""
    return text_dialog(window, title, skipped_lines(skipped))
