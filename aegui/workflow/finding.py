"""What the checks before a start find; `problems` makes a Problem of each."""

from collections.abc import Iterator

# message, hint, address of the field, whether it is blocking
Finding = tuple[str, str, tuple[str | int, ...], bool]
Findings = Iterator[Finding]
