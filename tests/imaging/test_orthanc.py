"""A PACS takes derived series beside their originals: Debian's Orthanc, asked over the wire and over its REST API."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from aegui import workflow
from aegui.events import finish
from aegui.imaging import OutputRules, Series, open_series
from aegui.imaging.dicom.pixels import decode
from tests.imaging import orthanc
from tests.imaging.made_files import WHEEL, copied, dataset, save, scanned
from tests.imaging.orthanc import Archive

pytestmark = pytest.mark.skipif(orthanc.PROGRAM is None, reason="needs Debian's orthanc")

EXPLICIT, IMPLICIT, BIG, DEFLATED = "1.2.1", "1.2", "1.2.2", "1.2.1.99"
RLE, JPEG_LS, NEAR_LS, J2K, J2K_LOSSY = "1.2.5", "1.2.4.80", "1.2.4.81", "1.2.4.90", "1.2.4.91"
HTJ2K = "1.2.4.201"
JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS = "1.2.4.50", "1.2.4.51", "1.2.4.70"

# Made here: kinds that the files at hand lack, and syntaxes for them.
_IDS = {"PatientID": "P1", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.77"}
_PET, _NM, _DX, _ROOT = "128", "20", "1.1", "1.2.840.10008.5.1.4.1.1."


def _positions(count: int) -> list[float]:
    return [2.5 * i for i in range(count)]


def ct(folder: Path) -> None:
    for i, z in enumerate(_positions(4)):
        values = np.random.default_rng(i).integers(-50, 1200, (40, 36)).astype("i2")
        save(dataset(series="1.2.3.71", number=i + 1, z=z, rows=40, columns=36, stored=values), folder / f"{i}.dcm")


def pet(folder: Path) -> None:
    for i, z in enumerate(_positions(3)):
        item = dataset(series="1.2.3.72", number=i + 1, z=z, sop_class=_ROOT + _PET, modality="PT")
        item.Units, item.CountsSource, item.DecayCorrection, item.SeriesType = "BQML", "EMISSION", "START", "STATIC"
        item.RescaleSlope, item.RescaleIntercept = [1.25, 0.75, 2.5][i], 0
        save(item, folder / f"{i}.dcm")


def nm(folder: Path) -> None:
    item = dataset(series="1.2.3.73", z=None, sop_class=_ROOT + _NM, modality="NM", signed=False)
    item.ImageType, item.NumberOfFrames = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"], 3
    item.FrameIncrementPointer, item.EnergyWindowVector = 0x00540010, [1, 2, 3]
    item.PixelData = bytes(range(240)) * 3
    save(item, folder / "nm.dcm")


def dx(folder: Path) -> None:
    item = dataset(series="1.2.3.74", z=None, sop_class=_ROOT + _DX, modality="DX", signed=False, bits=12)
    item.PhotometricInterpretation, item.PresentationIntentType = "MONOCHROME1", "FOR PRESENTATION"
    item.ImageType = ["ORIGINAL", "PRIMARY", ""]
    save(item, folder / "dx.dcm")


def us(folder: Path) -> None:
    save(dataset(series="1.2.3.75", z=None, sop_class=_ROOT + "6.1", modality="US", signed=False, bits=8), folder / "u")


def enhanced_pet(folder: Path) -> None:
    item = dataset(series="1.2.3.76", z=None, sop_class=_ROOT + "130", modality="PT", signed=False)
    item.ImageType, item.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], 2
    item.PixelData = item.PixelData * 2
    groups = []
    for frame, z in enumerate(_positions(2)):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, z]
        content.DimensionIndexValues, content.StackID, content.InStackPositionNumber = [1, frame + 1], "1", frame + 1
        group.PlanePositionSequence, group.FrameContentSequence = Sequence([place]), Sequence([content])
        groups.append(group)
    shared, axes, measures, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    axes.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [2, 2], 2.5
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 0.5, 0, "US"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([axes]), Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([rescale])
    item.SharedFunctionalGroupsSequence, item.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(groups)
    save(item, folder / "p.dcm")


def htj2k(folder: Path) -> None:
    """One CT slice in High-Throughput JPEG 2000, which only other people's programs write."""
    program = shutil.which("ojph_compress") or pytest.skip("needs openjph-tools")
    values = np.random.default_rng(5).integers(0, 4000, (40, 36)).astype(">u2")
    picture, stream = folder.parent / "a.pgm", folder.parent / "a.j2c"
    picture.write_bytes(b"P5\n36 40\n4095\n" + values.tobytes())
    command = [program, "-i", picture, "-o", stream, "-reversible", "true"]
    subprocess.run(command, check=True, capture_output=True)
    item = dataset(series="1.2.3.78", z=0.0, rows=40, columns=36, stored=values, signed=False, bits=12)
    item.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.{HTJ2K}")
    item.PixelData = encapsulate([stream.read_bytes()])
    item["PixelData"].is_undefined_length = True
    save(item, folder / "h.dcm")


def local(name: str, **more: str) -> Callable[[Path], None]:
    """A file of pydicom's wheel or of the pydicom-data wheel. more: elements that it lacks."""

    def copy(folder: Path) -> None:
        path = WHEEL / name
        if not path.is_file():
            path = Path(pytest.importorskip("data_store").__file__).parent / "data" / name
        if not more:
            shutil.copy(path, folder)
            return
        item = pydicom.dcmread(path)
        for keyword, value in more.items():
            setattr(item, keyword, value)
        save(item, folder / name)

    return copy


# name → (where from, its transfer syntax, that of the derived series); Orthanc 1.10.1 keeps every one of them,
# in the syntax it was sent in, but those of NOT_TAKEN, of which it keeps the derived series alone. It refuses what
# has no Patient ID, Study or Series Instance UID (see below).
KINDS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "CT": (ct, EXPLICIT, EXPLICIT),
    "PET with a slope for each slice": (pet, EXPLICIT, EXPLICIT),
    "NM multi-frame": (nm, EXPLICIT, EXPLICIT),
    "DX": (dx, EXPLICIT, EXPLICIT),
    "US": (us, EXPLICIT, EXPLICIT),
    "CR": (local("RG3_UNCR.dcm"), EXPLICIT, EXPLICIT),
    "enhanced CT": (local("eCT_Supplemental.dcm"), EXPLICIT, EXPLICIT),
    "enhanced MR": (local("emri_small.dcm"), EXPLICIT, EXPLICIT),
    "enhanced MR, RLE": (local("emri_small_RLE.dcm"), RLE, RLE),
    "enhanced MR, JPEG-LS": (local("emri_small_jpeg_ls_lossless.dcm"), JPEG_LS, JPEG_LS),
    "enhanced MR, JPEG 2000": (local("emri_small_jpeg_2k_lossless.dcm"), J2K, J2K),
    "enhanced PET": (enhanced_pet, EXPLICIT, EXPLICIT),
    "MR": (local("MR_small.dcm"), EXPLICIT, EXPLICIT),
    "MR, implicit": (local("MR_small_implicit.dcm"), IMPLICIT, IMPLICIT),
    "MR, big endian": (local("MR_small_bigendian.dcm"), BIG, EXPLICIT),
    "MR, RLE": (local("MR_small_RLE.dcm"), RLE, RLE),
    "MR, JPEG-LS": (local("MR_small_jpeg_ls_lossless.dcm"), JPEG_LS, JPEG_LS),
    "MR, JPEG 2000": (local("MR_small_jp2klossless.dcm"), J2K, J2K),
    "CT, JPEG 2000 lossy": (local("693_J2KI.dcm"), J2K_LOSSY, J2K),
    "CT, HTJ2K": (htj2k, HTJ2K, EXPLICIT),
    "secondary capture, JPEG-LS near-lossless": (local("JPEGLSNearLossless_16.dcm", **_IDS), NEAR_LS, JPEG_LS),
    "secondary capture, JPEG extended": (local("JPGExtended.dcm"), JPEG_EXTENDED, EXPLICIT),
    "secondary capture, JPEG lossless": (local("JPEG-LL.dcm"), JPEG_LOSSLESS, EXPLICIT),
    "secondary capture, deflated": (local("image_dfl.dcm"), DEFLATED, DEFLATED),
    "secondary capture in colours": (local("SC_rgb_small_odd_jpeg.dcm"), JPEG_BASELINE, EXPLICIT),
    "ultrasound of palette colours": (local("OBXXXX1A_rle_2frame.dcm"), RLE, RLE),
}

# Orthanc 1.10 accepts no HTJ2K; later ones may.
NOT_TAKEN = {"CT, HTJ2K"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as archive:
        yield archive


@pytest.fixture
def archive(server: Archive) -> Archive:
    """Empty: several of the files at hand are one image in several encodings, under one UID."""
    server.clear()
    return server


def made(kind: str, tmp_path: Path) -> tuple[Series, ...]:
    (tmp_path / "in").mkdir()
    KINDS[kind][0](tmp_path / "in")
    found = scanned(tmp_path / "in").series
    assert found
    return tuple(replace(series, treat="denoise") for series in found)


def derived(series: tuple[Series, ...], folder: Path) -> list[Path]:
    """Every slice a little changed, written through the product's own way."""
    for item in series:
        source = open_series(item)
        copied(source, folder, change=0.0 if item.channels == 3 else 1.0, deterministic_uids=True)
        source.close()
    return sorted(path for path in folder.rglob("*") if path.is_file())


def identity(path: Path) -> tuple[str, str]:
    meta = pydicom.filereader.read_file_meta_info(path)
    return str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)


def stored(path: Path) -> np.ndarray:
    frames = int(pydicom.dcmread(path, stop_before_pixels=True).get("NumberOfFrames") or 1)
    return np.stack([decode(path, frame) for frame in range(frames)])


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_original_and_derived_side_by_side(archive: Archive, tmp_path: Path, kind: str) -> None:
    series = made(kind, tmp_path)
    old = sorted({file for item in series for file in item.files})
    new = derived(series, tmp_path / "out")
    assert {identity(path)[1] for path in old} == {f"1.2.840.10008.{KINDS[kind][1]}"}
    assert {identity(path)[1] for path in new} == {f"1.2.840.10008.{KINDS[kind][2]}"}
    assert not {identity(path)[0] for path in old} & {identity(path)[0] for path in new}

    taken = old
    if kind in NOT_TAKEN:
        taken = [path for path, answer in archive.store(old).items() if answer != "transfer syntax refused"]
    assert set(archive.store([*taken, *new]).values()) == {"kept"}
    for path in (*taken, *new):
        uid, syntax = identity(path)
        back = archive.fetch(uid, tmp_path / "back.dcm")
        assert identity(back) == (uid, syntax)
        assert np.array_equal(stored(back), stored(path))
    assert {_study(archive, path) for path in (*taken, *new)} == {_study(archive, new[0])}

    # The same again: nothing is added.
    before = archive.uids()
    again = derived(series, tmp_path / "again")
    assert {identity(path)[0] for path in again} == {identity(path)[0] for path in new}
    assert set(archive.store([*taken, *again]).values()) == {"kept"}
    assert archive.uids() == before


def _study(archive: Archive, path: Path) -> str:
    (found,) = archive.ask("/tools/lookup", identity(path)[0].encode())
    return str(archive.ask(f"/instances/{found['ID']}/study")["ID"])


def test_a_series_denoised_by_a_model_lies_beside_its_original_with_its_noise(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ct(tmp_path / "in")
    rules = OutputRules(deterministic_uids=True, noise_series=True)
    found = scanned(tmp_path / "in").series
    counts = []
    for name in ("a", "b"):
        finish(
            workflow.denoise(workflow.DenoiseJob("general-small", found, tmp_path / name, rules=rules, device="cpu"))
        )
        files = [*found[0].files, *(tmp_path / name).rglob("*.dcm")]
        assert len(files) == 12 and set(archive.store(files).values()) == {"kept"}
        study = archive.ask(f"/studies/{_study(archive, files[0])}")
        counts.append(sorted(len(archive.ask(f"/series/{uid}")["Instances"]) for uid in study["Series"]))
    # Original, denoised and removed noise; the second run and the second sending added nothing.
    assert counts[0] == counts[1] and counts[0] == [4, 4, 4]
    names = {archive.ask(f"/series/{uid}")["MainDicomTags"].get("SeriesDescription") for uid in study["Series"]}
    assert names == {"Thorax", "Thorax_DN", "Thorax_DN removed noise"}


def test_it_takes_every_transfer_syntax_that_can_be_chosen(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ct(tmp_path / "in")
    (series,) = scanned(tmp_path / "in").series
    chosen = {"explicit": EXPLICIT, "implicit": IMPLICIT, "deflated": DEFLATED, "rle": RLE}
    for name, syntax in {**chosen, "jpeg-ls": JPEG_LS, "jpeg2000": J2K}.items():
        source = open_series(series)
        files = sorted(copied(source, tmp_path / "out", transfer_syntax=name).iterdir())
        source.close()
        assert {identity(path)[1] for path in files} == {f"1.2.840.10008.{syntax}"}
        assert set(archive.store(files).values()) == {"kept"}
        back = archive.fetch(identity(files[0])[0], tmp_path / "back.dcm")
        assert identity(back) == identity(files[0]) and np.array_equal(stored(back), stored(files[0]))


def test_a_source_without_patient_or_uids_is_refused_by_the_archive_but_not_what_comes_of_it(
    archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    local("JPEGLSNearLossless_16.dcm")(tmp_path / "in")
    series = tuple(replace(item, treat="denoise") for item in scanned(tmp_path / "in").series)
    assert list(archive.store(series[0].files).values()) == ["status 42752"]
    assert set(archive.store(derived(series, tmp_path / "out")).values()) == {"kept"}
