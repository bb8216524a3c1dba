"""2,000 mutated DICOM files: scan, open and read bring no crash, no hang over 5 s, no memory over 2 GB.

    python tests/bench/mutated.py [--files 2000]

The files are read in processes of 250, so that a crash shows as what it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

PART = 250
SECONDS, BYTES = 5.0, 2 << 30


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--files", type=int, default=2000)
    words.add_argument("--from", dest="first", type=int, default=0)
    words.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    given = words.parse_args()
    numbers = range(given.first, given.first + given.files)
    if given.part:
        print(json.dumps(part(numbers)))
        return 0
    outcomes: Counter[str] = Counter()
    slowest, memory, bugs = 0.0, 0, 0
    for first in numbers[::PART]:
        count = min(PART, numbers.stop - first)
        command = [sys.executable, __file__, "--part", "--from", str(first), "--files", str(count)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=count * SECONDS, check=False)
        if run.returncode:
            print(
                f"files {first} to {first + count - 1}: the process ended with {run.returncode}: {run.stderr[-2000:]}"
            )
            bugs += 1
            continue
        found = json.loads(run.stdout)
        outcomes.update(found["outcomes"])
        slowest, memory = max(slowest, found["slowest"]), max(memory, found["memory"])
        bugs += len(found["bugs"])
        for bug in found["bugs"]:
            print(bug)
    print(f"{sum(outcomes.values())} files: {dict(sorted(outcomes.items()))}, {bugs} bugs")
    print(
        f"slowest {slowest:.2f} s (allowed: {SECONDS:g} s), most memory {memory >> 20} MB (allowed: {BYTES >> 20} MB)"
    )
    return int(bool(bugs) or slowest > SECONDS or memory > BYTES)


def part(numbers: range) -> dict[str, object]:
    from aegui import decoding
    from tests.imaging.mutations import mutated, tried

    outcomes: Counter[str] = Counter()
    slowest, bugs = 0.0, []
    with tempfile.TemporaryDirectory(prefix="aegui-mutated-") as name:
        for kind in ("CONFIG", "DATA", "CACHE"):
            os.environ[f"AEGUI_{kind}_HOME"] = str(Path(name, kind.lower()))
        folder = Path(name, "scans")
        folder.mkdir()
        for number in numbers:
            try:
                outcome, seconds = tried(number, folder)
            except Exception:  # noqa: BLE001 - every one is a finding
                bugs.append(f"file {number}, from {mutated(number)[0]}: {traceback.format_exc(limit=-4)}")
                outcome, seconds = "bug", 0.0
            if seconds > 1:
                print(f"file {number}, from {mutated(number)[0]}: {seconds:.1f} s, {outcome}", file=sys.stderr)
            outcomes[outcome] += 1
            slowest = max(slowest, seconds)
    decoding.shut_down()  # so that the workers count among the children
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"outcomes": outcomes, "slowest": slowest, "memory": memory << 10, "bugs": bugs}


if __name__ == "__main__":
    sys.exit(main())
