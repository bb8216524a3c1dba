"""The short way through a header gives what pydicom gives."""

import importlib.util
import io
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from aegui.imaging.dicom import elements, headers
from aegui.imaging.dicom.elements import Elements, read_elements, tag_of, text, texts
from tests.imaging.made_files import CT, MR, WHEEL, dataset, save, scanned

KEYWORDS = [keyword for keyword in (*headers._FIELDS, *headers.KEPT) if not keyword.endswith("Sequence")]


def cut(path: Path) -> Elements:
    with path.open("rb") as file:
        return read_elements(file, path.stat().st_size, {tag_of(keyword) for keyword in KEYWORDS})[1]


def local_files() -> list[Path]:
    """What lies in the wheels: nothing is fetched."""
    store = importlib.util.find_spec("data_store")
    folders = [WHEEL, *(Path(place) for place in (store and store.submodule_search_locations) or ())]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in ("", ".dcm"))


@pytest.mark.parametrize("path", [path for path in local_files() if path.is_file()], ids=lambda path: path.name)
def test_every_element_reads_as_pydicom_reads_it(path: Path) -> None:
    try:
        expected = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        list(expected)
    except Exception:  # noqa: BLE001 - what pydicom cannot read is no reference
        pytest.skip("pydicom cannot read it")
    found = cut(path)
    for keyword in KEYWORDS:
        if keyword[0].isdigit():
            continue
        assert texts(found, keyword) == texts(expected, keyword) or same_numbers(found, expected, keyword), keyword


def same_numbers(found: Elements, expected: Dataset, keyword: str) -> bool:
    try:
        return [float(v) for v in texts(found, keyword)] == [float(v) for v in texts(expected, keyword)]
    except ValueError:
        return False


def without_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this file is plain and must not go through pydicom")

    monkeypatch.setattr(elements.pydicom, "dcmread", refuse)


def nested() -> Dataset:
    """Sequences of undefined length in each other, before what is wanted."""
    inner, outer, item = Dataset(), Dataset(), dataset(KVP="120.0")
    inner.CodeValue = "1"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    outer.is_undefined_length_sequence_item = True
    item.ReferencedStudySequence = Sequence([outer, Dataset(), outer])
    item["ReferencedStudySequence"].is_undefined_length = True
    return item


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_sequences_of_undefined_length_are_passed_over_without_pydicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    item = nested()
    item.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    path = save(item, tmp_path / "a.dcm")
    assert b"\xff\xff\xff\xff" in path.read_bytes()
    without_pydicom(monkeypatch)
    found = cut(path)
    assert (text(found, "KVP"), text(found, "Rows")) == ("120.0", "12")
    assert found.head[:4] == b"\xe0\x7f\x10\x00"


def test_a_header_longer_than_the_first_block_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = dataset()
    item.add_new(0x00091010, "OB", bytes(200_000))
    path = save(item, tmp_path / "a.dcm")
    without_pydicom(monkeypatch)
    assert text(cut(path), "Columns") == "10"


def test_text_in_other_alphabets_is_decoded(tmp_path: Path) -> None:
    item = dataset(SpecificCharacterSet="ISO_IR 100", SeriesDescription="Schädel")
    assert text(cut(save(item, tmp_path / "a")), "SeriesDescription") == "Schädel"
    item = dataset(SpecificCharacterSet="ISO_IR 192", SeriesDescription="胸部")
    assert text(cut(save(item, tmp_path / "b")), "SeriesDescription") == "胸部"


def test_a_deflated_bomb_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "_LONGEST_HEADER", 1 << 18)
    item = dataset(rows=4000, columns=1000, syntax="1.2.840.10008.1.2.1.99")
    path = save(item, tmp_path / "a.dcm")
    with path.open("rb") as file:
        walker = elements._Walker(io.BytesIO(file.read()), path.stat().st_size, {tag_of("Rows")}, None)
    found = walker.read()[1]
    assert text(found, "Rows") == "4000"
    assert len(walker._data) < 1 << 20 < found.size


def test_everything_that_is_asked_of_a_header_was_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: set[str] = set()
    get = headers.Header.get

    def noted(self: headers.Header, keyword: str) -> object:
        asked.add(keyword)
        return get(self, keyword)

    monkeypatch.setattr(headers.Header, "get", noted)
    for i, (modality, sop_class) in enumerate((("CT", CT), ("MR", MR), ("PT", "1.2.840.10008.5.1.4.1.1.128"))):
        for z in (0.0, 0.0, 2.0, 2.0):
            number = len(list(tmp_path.iterdir()))
            item = dataset(series=f"1.2.{i}", number=number, z=z, modality=modality, sop_class=sop_class)
            save(item, tmp_path / str(number))
    scanned(tmp_path)
    kept = {*headers.KEPT, "ImageType", "PhotometricInterpretation", "Modality", "PixelSpacing"}
    assert len(asked) > 30
    assert asked <= kept
