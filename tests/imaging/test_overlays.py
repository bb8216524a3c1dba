"""Overlays stay where they belong: with their pixels, their slices and their frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, RLELossless

from aegui.imaging import open_series
from tests.imaging.made_files import MR, copied, dataset, opened, save, scanned
from tests.imaging.made_frames import enhanced, mosaic

NM = "1.2.840.10008.5.1.4.1.1.20"
SHAPE = (12, 10)
PLANE = np.random.default_rng(0).integers(0, 2, SHAPE)
TWELVE: dict[str, Any] = {"bits": 12, "signed": False, "modality": "MR", "sop_class": MR}


def _in_bit(item: Dataset, bit: int, group: int = 0x6000, shape: tuple[int, int] = SHAPE) -> Dataset:
    """Say that bit `bit` of the pixel words is an overlay."""
    _describe(item, group, shape)
    item.add_new((group, 0x0100), "US", item.BitsAllocated)
    item.add_new((group, 0x0102), "US", bit)
    return item


def _with_data(item: Dataset, planes: np.ndarray, group: int = 0x6000) -> Dataset:
    """Give it the overlay of these frames: (frames, rows, columns)."""
    _describe(item, group, planes.shape[1:])
    item.add_new((group, 0x0100), "US", 1)
    item.add_new((group, 0x0102), "US", 0)
    data = np.packbits(planes.astype(np.uint8).ravel(), bitorder="little").tobytes()
    item.add_new((group, 0x3000), "OW", data + b"\0" * (len(data) % 2))
    return item


def _describe(item: Dataset, group: int, shape: tuple[int, ...]) -> None:
    item.add_new((group, 0x0010), "US", shape[0])
    item.add_new((group, 0x0011), "US", shape[1])
    item.add_new((group, 0x0040), "CS", "G")
    item.add_new((group, 0x0050), "SS", [1, 1])


def _on_frames(item: Dataset, count: int, first: int | None, group: int = 0x6000) -> None:
    item.add_new((group, 0x0015), "IS", count)
    if first is not None:
        item.add_new((group, 0x0051), "US", first)


def _copied(folder: Path, out: Path, change: float = 1.0, **rules: Any) -> list[Dataset]:
    return [pydicom.dcmread(file) for file in sorted(copied(opened(folder), out, change=change, **rules).iterdir())]


def _groups(item: Dataset) -> set[int]:
    return {tag.group for tag in item.keys() if tag.group >> 8 == 0x60}  # noqa: SIM118 - iterating decodes all


def test_an_overlay_in_unused_bits_becomes_data_and_leaves_the_pixels(tmp_path: Path) -> None:
    item = _in_bit(dataset(stored=100 | PLANE << 12, **TWELVE), 12)
    item.add_new((0x6000, 0x0200), "US", 0x7FE0)
    item.add_new((0x6002, 0x3000), "OW", b"\x01\x02" * 8)
    item.add_new("SmallestImagePixelValue", "US", 100)
    item.add_new("LargestImagePixelValue", "US", 100)
    save(item, tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out")
    assert (np.frombuffer(new.PixelData, "<u2") == 101).all()
    np.testing.assert_array_equal(new.overlay_array(0x6000), PLANE)
    assert [new[0x6000, element].value for element in (0x0010, 0x0011, 0x0040, 0x0100, 0x0102)] == [12, 10, "G", 1, 0]
    assert (0x6000, 0x0200) not in new and (0x6000, 0x0015) not in new
    assert (new.SmallestImagePixelValue, new.LargestImagePixelValue) == (101, 101)
    assert new[0x6002, 0x3000].value == b"\x01\x02" * 8


def test_an_overlay_below_the_stored_bits_is_kept(tmp_path: Path) -> None:
    item = dataset(stored=100 << 4 | PLANE, **TWELVE)
    item.HighBit = 15
    save(_in_bit(item, 0), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out")
    assert new.HighBit == 11 and (new.pixel_array == 101).all()
    np.testing.assert_array_equal(new.overlay_array(0x6000), PLANE)


def test_slices_keep_the_overlays_that_they_alone_have(tmp_path: Path) -> None:
    for z in range(3):
        item = dataset(number=z, z=2.0 * z, stored=100 | PLANE * (z == 1) << 13, **TWELVE)
        save(_in_bit(item, 13, 0x6004) if z == 1 else item, tmp_path / "in" / f"{z}.dcm")
    found = _copied(tmp_path / "in", tmp_path / "out")
    assert [_groups(new) for new in found] == [set(), {0x6004}, set()]
    np.testing.assert_array_equal(found[1].overlay_array(0x6004), PLANE)


def test_a_bit_of_the_stored_values_is_no_overlay(tmp_path: Path) -> None:
    save(_in_bit(dataset(stored=np.full(SHAPE, 100), **TWELVE), 3), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out")
    assert (0x6000, 0x3000) not in new


def test_an_overlay_of_big_endian_words_is_kept(tmp_path: Path) -> None:
    item = _in_bit(dataset(**TWELVE), 12)
    item.PixelData = (100 | PLANE << 12).astype(">u2").tobytes()
    item.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    (tmp_path / "in").mkdir()
    pydicom.dcmwrite(tmp_path / "in" / "a", item, implicit_vr=False, little_endian=False, force_encoding=True)
    (new,) = _copied(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(new.overlay_array(0x6000), PLANE)


def test_a_compressed_file_with_an_overlay_in_its_words_stays_compressed(tmp_path: Path) -> None:
    item = dataset(stored=100 | PLANE << 12, **TWELVE)
    item.BitsStored = 16  # else the encoder takes the overlay out
    item.compress(RLELossless, generate_instance_uid=False)
    item.BitsStored = 12
    save(_in_bit(item, 12), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out")
    assert new.file_meta.TransferSyntaxUID == RLELossless
    np.testing.assert_array_equal(new.overlay_array(0x6000), PLANE)
    assert (new.pixel_array == 101).all()


def test_the_sign_of_compressed_values_is_no_overlay(tmp_path: Path) -> None:
    stored = np.where(np.random.default_rng(0).integers(0, 2, (64, 64)), -100, 100)
    item = dataset(stored=stored, rows=64, columns=64, **TWELVE | {"signed": True})
    item.compress(JPEG2000Lossless, generate_instance_uid=False)
    save(_in_bit(item, 12, shape=(64, 64)), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out")
    assert not new.overlay_array(0x6000).any()


def test_a_mosaic_keeps_the_overlay_of_the_whole_picture(tmp_path: Path) -> None:
    item = mosaic(5, [1.0, 2.0, 3.0], [0, 0, 1])
    stored = item.pixel_array
    plane = np.random.default_rng(1).integers(0, 2, stored.shape)
    item.BitsStored, item.HighBit = 12, 11
    item.PixelData = (stored & 0x0FFF | plane << 12).astype("<u2").tobytes()
    save(_in_bit(item, 12, shape=stored.shape), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out", change=0.0)
    np.testing.assert_array_equal(new.overlay_array(0x6000), plane)
    np.testing.assert_array_equal(new.pixel_array, stored)


def test_each_frame_keeps_the_overlay_in_its_words_whatever_the_order_of_the_slices(tmp_path: Path) -> None:
    item = enhanced([{"z": 6.0}, {"z": 0.0}, {"z": 3.0}])
    item.BitsStored, item.HighBit, item.PixelRepresentation = 12, 11, 0
    planes = np.arange(3)[:, None, None] == np.arange(10) + np.zeros((3, 12, 1), int)
    item.PixelData = (np.arange(3)[:, None, None] | planes.astype(int) << 12).astype("<u2").tobytes()
    save(_in_bit(item, 12), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out", change=0.0)
    assert (new[0x6000, 0x0015].value, new[0x6000, 0x0051].value) == (3, 1)
    np.testing.assert_array_equal(new.overlay_array(0x6000), planes)
    np.testing.assert_array_equal(new.pixel_array[:, 0, 0], range(3))


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize(("first", "count"), [(None, 4), (2, 2), (4, 1), (1, 1)])
def test_frames_take_their_own_overlays_along(tmp_path: Path, embedded: bool, first: int | None, count: int) -> None:
    planes = np.arange(4)[:, None, None] == np.arange(10) + np.zeros((4, 12, 1), int)
    stored = np.arange(4)[:, None, None] + np.zeros((4, *SHAPE), int)
    item = dataset(z=None, NumberOfFrames=4, **TWELVE | {"modality": "NM", "sop_class": NM})
    item.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    item.FrameIncrementPointer, item.EnergyWindowVector = [0x00540010], [1, 2, 1, 2]
    begin = (first or 1) - 1
    if embedded:
        stored |= planes.astype(int) << 12
        _in_bit(item, 12)
    else:
        _with_data(item, planes[begin : begin + count])
    item.PixelData = stored.astype("<u2").tobytes()
    _on_frames(item, count, first)
    save(item, tmp_path / "in" / "a")
    found: dict[int, np.ndarray] = {}
    series = scanned(tmp_path / "in").series
    assert len(series) > 1
    for one in series:
        (file,) = copied(open_series(one), tmp_path / "out").iterdir()
        new = pydicom.dcmread(file)
        if 0x6000 not in _groups(new):
            continue
        start, many = new[0x6000, 0x0051].value, new[0x6000, 0x0015].value
        values = new.pixel_array.reshape(-1, *SHAPE)[start - 1 :, 0, 0]
        marks = new.overlay_array(0x6000).reshape(many, *SHAPE)
        found |= {int(value): mark for value, mark in zip(values, marks, strict=False)}
    assert sorted(found) == list(range(begin, begin + count))
    for number, mark in found.items():
        np.testing.assert_array_equal(mark, planes[number])


def test_an_overlay_of_no_frame_in_particular_stays_with_all(tmp_path: Path) -> None:
    item = enhanced([{"z": 3.0 * place, "b": 1000.0 * b} for place in range(2) for b in range(2)])
    save(_with_data(item, PLANE[None]), tmp_path / "in" / "a")
    for one in scanned(tmp_path / "in").series:
        (file,) = copied(open_series(one), tmp_path / "out").iterdir()
        np.testing.assert_array_equal(pydicom.dcmread(file).overlay_array(0x6000), PLANE)


def test_de_identified_files_hold_no_overlay(tmp_path: Path) -> None:
    save(_in_bit(dataset(stored=100 | PLANE << 12, **TWELVE), 12), tmp_path / "in" / "a")
    (new,) = _copied(tmp_path / "in", tmp_path / "out", deidentify=True)
    assert not _groups(new) and (np.frombuffer(new.PixelData, "<u2") == 101).all()
