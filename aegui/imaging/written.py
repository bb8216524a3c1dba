"""Outputs of earlier batches: few formats have room for a mark, so the reports beside them say what they are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Set
from itertools import count, takewhile
from pathlib import Path

from aegui.imaging.listing import Entry
from aegui.imaging.removed import SUFFIX
from aegui.paths import exists

REPORT = "report.json"  # of the last batch into its folder
_REPORTS = re.compile(r"report(_\d+)?\.json")
_LARGEST = 1 << 26  # bytes; 10,000 series and 100,000 skipped files take half of it


def earlier_reports(folder: Path) -> Iterator[Path]:
    """The names that the reports of earlier batches get, without end."""
    return (folder / f"report_{number}.json" for number in count(1))


def reports(entries: Iterable[Entry]) -> set[Path]:
    """Every report that may tell of files of a scan: among them, beside them, or above the folder they are all of."""
    found: set[Path] = set()
    roots: set[Path] = set()
    for entry in entries:
        roots.add(entry.root)
        if entry.path.endswith(".json") and _REPORTS.fullmatch(Path(entry.path).name):
            found.add(_absolute(Path(entry.path)))
    for folder in {place for root in map(_absolute, roots) for place in (root, root.parent)}:
        found.add(folder / REPORT)
        found.update(takewhile(exists, earlier_reports(folder)))
    return found


def outputs(report: Path) -> set[str]:
    """Paths of the files and folders that a report lists; none if it is absent, damaged or another program's."""
    try:
        if not report.is_file() or report.stat().st_size > _LARGEST:
            return set()
        content = json.loads(report.read_bytes())
        if not content["program"].startswith("aegui "):
            return set()
        # All lie directly in its folder, which may have moved since, from Windows even.
        names = {re.split(r"[\\/]", row["output"])[-1] for row in content["series"] if row["output"]}
        return {str(report.parent / name) for name in names if name}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return set()


def is_output(file: Path, listed: Set[str]) -> bool:
    """Whether a file, its folder, or what either is the removed noise of is among what reports list."""
    path = os.path.abspath(file)  # noqa: PTH100 - as in _absolute
    return any(place in listed or _denoised(place) in listed for place in (path, os.path.dirname(path)))  # noqa: PTH120 - paths are text here


def _denoised(noise: str) -> str:
    """The path of what this would be the removed noise of."""
    stem, _, ending = noise.rpartition(SUFFIX)
    return f"{stem}{ending}" if ending[:1] in ("", ".") else noise


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are, as in what the scan found
