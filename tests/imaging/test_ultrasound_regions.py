"""Pixel size of ultrasound, which stands in its regions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.imaging.made_files import WHEEL, dataset, only, save, scanned

US = "1.2.840.10008.5.1.4.1.1.6.1"


def region(**more: Any) -> Dataset:
    """Tissue over 10 of 12 rows and all 10 columns, of 0.02 cm × 0.03 cm."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 0, 2
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 9, 11
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.03, -0.02
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return item


def spacing(folder: Path, *regions: Dataset, **more: Any) -> tuple[float, float, float]:
    """Of the series whose one picture has these regions."""
    item = dataset(sop_class=US, modality="US", z=None, signed=False, bits=8, **({"PixelSpacing": None} | more))
    item.SequenceOfUltrasoundRegions = Sequence(regions)
    save(item, folder / "a.dcm")
    return only(folder).geometry.spacing


def test_a_region_of_tissue_tells_the_pixel_size_of_ultrasound(tmp_path: Path) -> None:
    assert spacing(tmp_path, region()) == pytest.approx((0.0, 0.2, 0.3))


def test_a_doppler_trace_below_the_picture_does_not_count(tmp_path: Path) -> None:
    trace = region(RegionSpatialFormat=3, RegionDataType=3, PhysicalUnitsXDirection=4, RegionLocationMinY0=11)
    assert spacing(tmp_path, region(), trace) == pytest.approx((0.0, 0.2, 0.3))


def test_pixel_spacing_goes_before_regions(tmp_path: Path) -> None:
    assert spacing(tmp_path, region(), PixelSpacing=[0.5, 0.75]) == (0.0, 0.5, 0.75)


def test_real_ultrasound_has_the_pixel_size_of_its_region_unless_it_was_made_smaller(tmp_path: Path) -> None:
    folder = Path(pytest.importorskip("data_store").__file__).parent / "data"
    for name in ("JPGLosslessP14SV1_1s_1f_8b.dcm", "examples_ybr_color.dcm"):
        shutil.copy(next(path for path in (folder / name, WHEEL / name) if path.is_file()), tmp_path / name)
    found = {series.files[0].name: series.geometry.spacing for series in scanned(tmp_path).series}
    assert found["JPGLosslessP14SV1_1s_1f_8b.dcm"] == pytest.approx((0.0, 0.25476696592, 0.25476696592))
    # Its region is that of 640 × 480 pixels, and it has 320 × 240.
    assert found["examples_ybr_color.dcm"] == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [region(), region()],
        [region(RegionSpatialFormat=2)],
        [region(RegionDataType=2)],
        [region(PhysicalUnitsYDirection=4)],
        [region(PhysicalDeltaX=0.0)],
        [region(PhysicalDeltaY=float("nan"))],
        [region(RegionLocationMaxX1=3)],
        [region(RegionLocationMinX0=9, RegionLocationMaxX1=0)],
        [region(RegionLocationMaxX1=19)],
        [Dataset()],
    ],
    ids=["none", "two", "m-mode", "colour", "seconds", "zero", "nan", "small", "reversed", "outside", "empty"],
)
def test_other_regions_tell_no_pixel_size(tmp_path: Path, regions: list[Dataset]) -> None:
    assert spacing(tmp_path, *regions) == (0.0, 1.0, 1.0)
