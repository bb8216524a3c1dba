"""Through the whole path (mask, normalise, tile, encode) with a network that changes nothing, nothing changes.

tests/bench/round_trip.py does the same with every file and every series there is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from aegui.imaging import open_series
from aegui.inference import tiles
from aegui.models.zoo import load_model
from tests.imaging.made_files import WHEEL, dataset, only, save, scanned
from tests.imaging.round_trips import identity, pydicom_files, series_of, travel

SMALL = [file for file in pydicom_files() if file.stat().st_size < 200_000]
ONE_BIT = "One-bit images have no noise to remove"
REFUSED = dict.fromkeys(("liver.dcm", "liver_expb.dcm", "liver_1frame.dcm", "liver_expb_1frame.dcm"), ONE_BIT)


@pytest.mark.parametrize("file", SMALL, ids=[file.name for file in SMALL])
def test_stored_pixels_and_place_come_back_and_the_checker_finds_no_new_error(file: Path, tmp_path: Path) -> None:
    for series in series_of(file, tmp_path / "in"):
        trip = travel(series, tmp_path / "out", identity())
        if trip.outcome.startswith("not opened"):
            continue
        if file.name in REFUSED or trip.outcome.startswith("refused: The pixels of"):
            assert trip.outcome.startswith("refused") and REFUSED.get(file.name, "") in trip.outcome
            continue
        assert trip.outcome == "same"
        assert not trip.new_errors


@pytest.mark.parametrize("folder", ["ct_abdomen_j2k", "ct_chest_tcia", "ct_chest_tcga", "mr_brain_papaya"])
def test_real_scans_come_back_as_they_were(shared: Path, folder: str, tmp_path: Path) -> None:
    whole = [series for series in scanned(shared / folder).series if series.slices <= 20]
    for number, series in enumerate(whole[:: max(1, len(whole) // 2)]):
        trip = travel(series, tmp_path / str(number), identity())
        assert trip.outcome == "same" and not trip.new_errors


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "693_J2KI.dcm", "MR_small_bigendian.dcm"])
def test_the_shipped_model_at_strength_zero_changes_nothing(name: str, tmp_path: Path) -> None:
    for series in series_of(WHEEL / name, tmp_path / "in"):
        assert travel(series, tmp_path / "out", load_model("general-small"), strength=0.0).outcome == "same"


def test_tiles_are_put_together_without_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_ALWAYS", 0)
    monkeypatch.setattr(tiles, "SMALLEST", 64)
    monkeypatch.setattr(tiles, "free_memory", lambda device: 100_000)
    for series in series_of(WHEEL / "693_J2KI.dcm", tmp_path / "in"):
        assert travel(series, tmp_path / "out", identity()).outcome == "same"


@pytest.mark.parametrize("bits", [1 << 12, 1 << 24], ids=["12 bits", "24 bits"])
@pytest.mark.parametrize("slope", ["1", "0.0170002", "-2.5"])
def test_every_stored_value_survives_up_to_24_bits(bits: int, slope: str, tmp_path: Path) -> None:
    item = dataset(modality="MR", sop_class="1.2.840.10008.5.1.4.1.1.4", signed=False, RescaleIntercept="-7.3")
    item.RescaleSlope = slope
    item.BitsAllocated, item.BitsStored, item.HighBit = 32, bits.bit_length() - 1, bits.bit_length() - 2
    values = np.random.default_rng(1).integers(0, bits, (12, 10), np.uint32)
    values[0, :2] = 0, bits - 1
    item.PixelData = values.tobytes()
    save(item, tmp_path / "in" / "a.dcm")
    trip = travel(only(tmp_path / "in"), tmp_path / "out", identity())
    assert (trip.outcome, trip.bits) == ("same", bits.bit_length() - 1)


def test_identity_leaves_the_mean_of_a_pet_series_as_it_was(tmp_path: Path) -> None:
    # Each slice with a slope of its own, as PET scanners write; SUV is activity times one factor of the series.
    for z in range(3):
        item = dataset(number=z, z=3.0 * z, modality="PT", sop_class="1.2.840.10008.5.1.4.1.1.128", Units="BQML")
        item.RescaleSlope, item.RescaleIntercept = [0.731, 12.25, 0.0173][z], 0
        save(item, tmp_path / "in" / f"{z}.dcm")
    series = only(tmp_path / "in")
    source = open_series(series)
    mean = np.mean([source.read(i).astype(np.float64).mean() for i in range(3)])
    assert travel(series, tmp_path / "out", identity()).outcome == "same"
    (out,) = (tmp_path / "out").iterdir()
    back = open_series(replace(series, files=tuple(out / file.name for file in series.files)))
    assert np.mean([back.read(i).astype(np.float64).mean() for i in range(3)]) == mean
    slopes = [float(pydicom.dcmread(out / f"{z}.dcm").RescaleSlope) for z in range(3)]
    assert slopes == [0.731, 12.25, 0.0173]


@pytest.mark.parametrize("syntax", ["source", "explicit", "implicit", "deflated", "rle", "jpeg-ls", "jpeg2000"])
@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "SC_rgb_small_odd.dcm", "examples_overlay.dcm"])
def test_every_transfer_syntax_gives_the_same_pixels(name: str, syntax: str, tmp_path: Path) -> None:
    for series in series_of(WHEEL / name, tmp_path / "in"):
        trip = travel(series, tmp_path / "out", identity(), transfer_syntax=syntax)
        assert trip.outcome == "same" and not trip.new_errors
