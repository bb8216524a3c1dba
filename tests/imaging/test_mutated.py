"""A few of the mutated files of tests/bench/mutated.py, which reads two thousand."""

from pathlib import Path

import pytest

from tests.imaging.mutations import tried


@pytest.mark.parametrize("part", range(6))
def test_damaged_files_are_read_or_refused_in_words_and_in_time(tmp_path: Path, part: int) -> None:
    (folder := tmp_path / "scans").mkdir()
    outcomes = []
    for number in range(part * 20, part * 20 + 20):
        outcome, seconds = tried(number, folder)
        assert seconds < 5
        outcomes.append(outcome)
    assert {"read", "skipped"} <= set(outcomes)
