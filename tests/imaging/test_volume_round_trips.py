"""Formats other than DICOM, in and out again: values, types, geometry and metadata come back as they were."""

from pathlib import Path

import numpy as np
import pytest

from tests.imaging.made_files import opened
from tests.imaging.made_volumes import KINDS, independent, through

# A JPEG leaves as PNG, the array of an archive in one of its own.
_OTHER_NAME = {"jpeg": "a1.png", "npz": "v_a.npz", "npz packed": "v_a.npz", "npz picture": "v_a.npz"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [1.0, 0.0])
def test_a_network_that_changes_nothing_changes_nothing(tmp_path: Path, kind: str, strength: float) -> None:
    (folder := tmp_path / "in").mkdir()
    path = KINDS[kind](folder)
    before, facts = independent(path)
    source = opened(folder)
    series = source.series
    out = through(source, tmp_path / "out", strength, suffix="")
    target = out / _OTHER_NAME.get(kind, path.name) if out.is_dir() else out
    assert target.name == _OTHER_NAME.get(kind, path.name)
    after, same = independent(target)
    assert after.dtype == before.dtype
    if before.dtype.kind == "f" and strength == 1.0:
        # The network's units are 32-bit floats.
        np.testing.assert_allclose(after, before, rtol=2e-3 if before.dtype.itemsize == 2 else 1e-6)
    else:
        np.testing.assert_array_equal(after, before)
    if kind not in ("jpeg", "tiff lzw"):
        assert same == facts
    again = opened(out)
    if kind == "jpeg":  # PNG counts whole pixels per metre
        assert again.series.geometry.spacing == pytest.approx(series.geometry.spacing, rel=1e-3)
    else:
        assert again.series.geometry == series.geometry
    assert (again.series.rows, again.series.columns, again.series.channels) == (
        series.rows,
        series.columns,
        series.channels,
    )
