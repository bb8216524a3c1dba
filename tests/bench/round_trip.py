"""Every readable file of pydicom's test sets and of a folder of scans through the whole path, unchanged.

python -m tests.bench.round_trip [folder of scans …] [--strength 0 --model general] [--rule transfer_syntax=rle …]

Prints a line per series with its outcome and the errors of dciodvfy that its source does not have, and the counts.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
from pathlib import Path

from aegui.models.zoo import load_model
from tests.imaging.made_files import scanned
from tests.imaging.round_trips import VERIFIER, Trip, identity, pydicom_files, series_of, travel


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--model", default="", help="a model's id; default: one that changes nothing")
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--rule", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--quiet", action="store_true", help="tell only of those that differ")
    parser.add_argument("--series", type=int, default=5, help="at most so many series of each folder")
    parser.add_argument("--slices", type=int, default=400, help="leave out series of more slices")
    options = parser.parse_args()
    rules = dict(rule.split("=", 1) for rule in options.rule)
    model = load_model(options.model) if options.model else identity()
    trips: list[tuple[str, str, Trip]] = []

    def take(name: str, item: object, number: int) -> None:
        with tempfile.TemporaryDirectory() as out:
            trip = travel(item, Path(out), model, options.strength, **rules)  # type: ignore[arg-type]
        trips.append((name, f"{item.modality} {item.treat}", trip))  # type: ignore[attr-defined]
        if not options.quiet or trip.new_errors or not trip.outcome.startswith(("same", "refused")):
            print(f"{name} #{number}: {trip.outcome} {dict(trip.new_errors) or ''} {trip.notes or ''}", flush=True)

    with tempfile.TemporaryDirectory() as work:
        for count, file in enumerate(pydicom_files()):
            for number, item in enumerate(series_of(file, Path(work, str(count)))):
                take(file.name, item, number)
    for folder in options.folders:
        items = [item for item in scanned(folder).series if item.form == "dicom" and item.slices <= options.slices]
        step = max(1, len(items) // options.series)
        for number, item in enumerate(items[::step]):
            take(f"{folder.name} {item.files[0].name}", item, number)

    outcomes = collections.Counter(trip.outcome.split(":")[0] for _, _, trip in trips)
    print(f"{len(trips)} series, {sum(trip.slices for _, _, trip in trips)} slices: {dict(outcomes)}")
    if VERIFIER is None:
        print("dciodvfy is not installed")
    else:
        checked, new = sum(t.checked for _, _, t in trips), sum(sum(t.new_errors.values()) for _, _, t in trips)
        print(f"dciodvfy: {checked} files judged, {new} errors that their sources do not have")


if __name__ == "__main__":
    main()
