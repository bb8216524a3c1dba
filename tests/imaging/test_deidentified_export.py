"""De-identified series on their way out: files, names, the noise series, the report."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from aegui import workflow
from aegui.events import finish
from aegui.imaging import OutputRules, Provenance, Series, open_series, open_sink
from aegui.imaging.dicom.deidentify import METHOD
from tests.imaging.made_files import WHEEL, only, scanned
from tests.imaging.planted import NAME, NUMBER, PLANTED, found, full_of_names, written

FOLDER = f"{NAME} {NUMBER}"
MADE_UP = "1.2.47110815"


def told(tmp_path: Path, syntax: str = ExplicitVRLittleEndian, count: int = 2) -> Series:
    """A series that names the patient in everything, its folder and its files."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    for i in range(count):
        item = full_of_names(syntax)
        item.PixelData = pydicom.dcmread(WHEEL / "CT_small.dcm").PixelData
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"{PLANTED['UI']}.{i + 1}"
        item.InstanceNumber, item.ImagePositionPatient = i + 1, [-158.0, -179.0, -75.7 + 5 * i]
        item.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        item.BurnedInAnnotation = "YES"
        written(item, folder / f"{NAME}_{i}.dcm")
    return only(folder)


def exported(series: Series, folder: Path, **rules: object) -> Path:
    source = open_series(series)
    origin = Provenance(model="test-model", weights="ab" * 32, salt="secret", batch="b")
    sink = open_sink(source, folder, OutputRules.model_validate({"deidentify": True, **rules}), origin)
    for index in range(len(source)):
        sink.write(index, source.read(index) + 3)
    source.close()
    return sink.finish()


def names(folder: Path) -> bytes:
    return "\n".join(str(path.relative_to(folder)) for path in folder.rglob("*")).encode()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("private", ["keep", "drop"])
def test_no_byte_and_no_name_of_the_exported_series_tells_who_it_is(tmp_path: Path, syntax: str, private: str) -> None:
    series = told(tmp_path, syntax)
    out = exported(series, tmp_path / "out", noise_series=True, private_tags=private)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 4 and found(names(tmp_path / "out")) == []
    for path in files:
        assert found(path.read_bytes()) == [], path
    for path, old in zip(sorted(out.iterdir()), series.files, strict=True):
        new, source = pydicom.dcmread(path), pydicom.dcmread(old)
        assert new.PatientIdentityRemoved == "YES" and new.DeidentificationMethod == METHOD
        assert new.PatientName == new.PatientID and str(new.PatientID).startswith("ANON-")
        assert new.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert new.SeriesDescription == "CT_DN"
        # What we say of ourselves is written after.
        assert "test-model" in new.DerivationDescription and new.DerivationDescription.startswith("Denoised by aegui")
        assert [item.Manufacturer for item in new.ContributingEquipmentSequence] == ["aegui"]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "KVP", "RescaleIntercept"):
            assert new[keyword].value == source[keyword].value
        assert np.array_equal(new.pixel_array, source.pixel_array + 3)


def test_every_uid_of_the_exported_series_is_new_and_its_references_agree(tmp_path: Path) -> None:
    series = told(tmp_path)
    first = [pydicom.dcmread(path) for path in sorted(exported(series, tmp_path / "a").iterdir())]
    again = [pydicom.dcmread(path) for path in sorted(exported(series, tmp_path / "b").iterdir())]
    for one, two in zip(first, again, strict=True):
        assert one.StudyInstanceUID == two.StudyInstanceUID == first[0].StudyInstanceUID
        assert one.FrameOfReferenceUID == two.FrameOfReferenceUID == first[0].FrameOfReferenceUID
        assert (
            one.SourceImageSequence[0].ReferencedSOPInstanceUID == two.SourceImageSequence[0].ReferencedSOPInstanceUID
        )
    assert len({item.SourceImageSequence[0].ReferencedSOPInstanceUID for item in first}) == 2
    assert len({item.SOPInstanceUID for item in first}) == 2
    for item in first:
        for uid in (item.StudyInstanceUID, item.SeriesInstanceUID, item.SOPInstanceUID, item.FrameOfReferenceUID):
            assert UID(uid).is_valid and uid.startswith("2.25.")


def test_an_overlay_in_high_bits_is_taken_out_of_the_pixels(tmp_path: Path) -> None:
    item = pydicom.dcmread(WHEEL / "CT_small.dcm")
    item.remove_private_tags()
    item.BitsStored, item.HighBit, item.PixelRepresentation = 12, 11, 0
    words = (item.pixel_array.view("u2") & 0x0FFF) | 0x1000
    item.PixelData = words.astype("<u2").tobytes()
    for element, vr, value in (
        (0x0010, "US", 128),
        (0x0011, "US", 128),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16),
        (0x0102, "US", 12),
    ):
        item.add_new(0x60000000 | element, vr, value)
    (tmp_path / "in").mkdir()
    written(item, tmp_path / "in" / "a.dcm")
    (path,) = exported(only(tmp_path / "in"), tmp_path / "out").iterdir()
    new = pydicom.dcmread(path)
    assert not [tag for tag in new.keys() if tag.group == 0x6000]  # noqa: SIM118
    assert not (np.frombuffer(new.PixelData, "<u2") & 0xF000).any()


@pytest.mark.parametrize("format", ["nifti", "nrrd", "tiff", "png"])
def test_other_formats_tell_as_little(tmp_path: Path, format: str) -> None:
    series = told(tmp_path)
    exported(series, tmp_path / "out", format=format)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files and found(names(tmp_path / "out")) == []
    assert series.label.encode() not in names(tmp_path / "out"), "anybody can make it from the patient's ID"
    for path in files:
        data = path.read_bytes()
        assert found(gzip.decompress(data) if path.suffix == ".gz" else data) == [], path


def test_the_report_of_a_batch_tells_no_name_and_warns_of_text_in_the_picture(tmp_path: Path) -> None:
    series = told(tmp_path)
    (tmp_path / FOLDER / f"{NAME}.txt").write_text("notes")
    (tmp_path / FOLDER / "cut.dcm").write_bytes(series.files[0].read_bytes()[:-2000])
    result = scanned(tmp_path / FOLDER)
    job = workflow.DenoiseJob(
        "general-small",
        result.series,
        tmp_path / "out",
        rules=OutputRules(deidentify=True),
        device="cpu",
        skipped=result.skipped,
    )
    report = finish(workflow.denoise(job))
    assert [row.status for row in report.series] == ["done"] and len(result.skipped) == 2
    content = report.path.read_bytes()
    assert found(content) == [] and series.label.encode() not in content
    (row,) = json.loads(content)["series"]
    assert "Text may be part of the picture" in row["reason"]
    out = tmp_path / "out" / row["output"]
    new = pydicom.dcmread(sorted(out.iterdir())[0])
    assert out.name == f"{new.PatientID}_CT_DN" and row["label"] == new.PatientID
    for path in out.iterdir():
        assert found(path.read_bytes()) == [], path


def test_a_pseudonym_follows_from_the_patient_and_the_secret(tmp_path: Path) -> None:
    series = told(tmp_path)
    other = replace(series, patient="another")
    made = [Provenance(salt=salt).pseudonym(one) for salt in ("a", "a", "b") for one in (series, other)]
    assert made[:2] == made[2:4] and len(set(made)) == 4


def test_volumes_and_pictures_tell_their_label_as_little(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(np.ones((16, 16, 4), np.int16), np.eye(4)), tmp_path / "in" / "sub-017_bold.nii")
    Image.new("L", (16, 16), 7).save(tmp_path / "in" / "picture.png")
    for series in scanned(tmp_path / "in").series:
        exported(series, tmp_path / "out")
        assert series.label.encode() not in names(tmp_path / "out")
        assert Provenance(salt="secret").pseudonym(series).encode() in names(tmp_path / "out")


def test_a_patient_keeps_one_pseudonym_from_batch_to_batch(tmp_path: Path) -> None:
    series = told(tmp_path, count=1)
    seen = set()
    for name in ("a", "b"):
        job = workflow.DenoiseJob(
            "general-small", (series,), tmp_path / name, rules=OutputRules(deidentify=True), device="cpu"
        )
        finish(workflow.denoise(job))
        (file,) = (tmp_path / name).rglob("*.dcm")
        seen.add((str(pydicom.dcmread(file).PatientID), pydicom.dcmread(file).StudyInstanceUID))
    assert len(seen) == 1
