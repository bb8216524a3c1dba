"""Class labels, from a CSV or from sub-folder names."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from aegui.errors import UserError
from aegui.imaging import Series


def read_labels(file: Path, series: Sequence[Series] = ()) -> dict[str, str]:
    """Rows of `path or series_uid,label`; a first row that names the columns is passed over.

    series: what the rows should speak of; UserError if none does.
    """
    if not file.is_file():
        raise UserError(f"There is no label file {file}.", "Check its name.")
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            rows = [row for row in csv.reader(handle) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The label file {file.name} cannot be read.", f"It must be a CSV file. ({error})") from None
    if rows and rows[0][-1].strip().lower() == "label":
        rows = rows[1:]
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not row[1].strip():
            raise UserError(f"Row {number} of {file.name} is not “path or series uid,label”.", "Write two columns.")
        name, label = (cell.strip() for cell in row)
        if labels.setdefault(name, label) != label:
            raise UserError(
                f"{file.name} gives “{name}” two labels: “{labels[name]}”, and “{label}” in row {number}.", "Keep one."
            )
    if not labels:
        raise UserError(f"The label file {file.name} is empty.", "Write one “path or series uid,label” a row.")
    if series and not any(label_of(one, i, labels) for one in series for i in range(len(one.files))):
        raise UserError(
            f"No row of {file.name} names one of the scans (the first says “{next(iter(labels))}”).",
            "Each row is a file or folder of the scans, or a series uid, then a comma and the label.",
        )
    return labels


def folder_labels(series: Sequence[Series]) -> dict[str, str]:
    """uid → name of the folder its files lie in; empty unless there are at least two such names."""
    names = {s.uid: s.files[0].parent.name for s in series}
    return names if len(set(names.values())) > 1 else {}


def label_of(series: Series, index: int, labels: Mapping[str, str]) -> str | None:
    """The label of a slice: by series uid, by its file's path (or its end), or by a folder above it."""
    if series.uid in labels:
        return labels[series.uid]
    # A volume's further files are the values that its header names.
    file = series.files[index if len(series.files) > 1 and series.form != "volume" else 0]
    for part in (file, *file.parents):
        for key, label in labels.items():
            path = Path(key)
            if part == path or (len(path.parts) <= len(part.parts) and part.parts[-len(path.parts) :] == path.parts):
                return label
    return None
