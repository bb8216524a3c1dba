"""What a derived series says of itself: identity, origin, compression, names; and that nothing else is left."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from aegui.errors import UserError
from aegui.imaging import OutputRules, Provenance, open_series, open_sink
from tests.imaging.made_files import MR, WHEEL, copied, dataset, only, opened, save, scanned, stack

HASH = "ab" * 32
ORIGIN = Provenance(model="chest", title="Chest model", model_version="2", weights=HASH, strength=0.8, noise_level=12.0)


def _written(
    folder: Path, out: Path, origin: Provenance = ORIGIN, change: float = 0.0, **rules: object
) -> list[Dataset]:
    source = opened(folder)
    sink = open_sink(source, out, OutputRules(**rules), origin)
    for index in range(len(source)):
        sink.write(index, source.read(index) + np.float32(change))
    return [pydicom.dcmread(file) for file in sorted(sink.finish().iterdir())]


# --- identity ------------------------------------------------------------------------------------------------


def test_uids_are_the_same_on_a_re_run_only_where_that_is_asked_for(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.0])
    source = [pydicom.dcmread(file) for file in sorted((tmp_path / "in").iterdir())]

    def uids(origin: Provenance = ORIGIN, change: float = 0.0, same: bool = True) -> list[str]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        found = _written(tmp_path / "in", out, origin, change, deterministic_uids=same)
        assert all(item.SOPInstanceUID.startswith("2.25.") for item in found)
        assert not {item.SOPInstanceUID for item in found} & {item.SOPInstanceUID for item in source}
        assert found[0].SeriesInstanceUID == found[1].SeriesInstanceUID != source[0].SeriesInstanceUID
        return [found[0].SeriesInstanceUID, *(item.SOPInstanceUID for item in found)]

    first = uids()
    assert uids() == first
    others = [
        uids(replace(ORIGIN, batch="one"), same=False),
        uids(replace(ORIGIN, batch="two"), same=False),
        uids(change=1.0),
        uids(Provenance(model="chest", weights="cd" * 32, strength=0.8, noise_level=12.0)),
        uids(Provenance(model="chest", weights=HASH, strength=0.7, noise_level=12.0)),
        uids(Provenance(model="chest", weights=HASH, strength=0.8)),
        uids(Provenance(model="chest", weights=HASH, strength=0.8, noise_level=12.0, engine="onnx")),
    ]
    assert others[2][0] == first[0], "another output of the same settings belongs to the same series"
    assert others[6][0] != first[0]
    instances = [uid for item in [first, *others] for uid in item[1:]]
    assert len(set(instances)) == len(instances), "an instance belongs to one series"


def test_volumes_of_one_source_series_share_their_derived_series(tmp_path: Path) -> None:
    for echo in (1, 2):
        stack(
            tmp_path / "in" / str(echo),
            [0.0, 2.0],
            EchoTime=10 * echo,
            modality="MR",
            sop_class=MR,
            SOPInstanceUID=f"1.2.5.{echo}",
        )
    for number, file in enumerate(sorted((tmp_path / "in").rglob("*.dcm"))):
        item = pydicom.dcmread(file)
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"1.2.5.{number}"
        item.save_as(file)
    origin = Provenance(model="m")
    series = scanned(tmp_path / "in").series
    assert len(series) == 2
    found = []
    for one in series:
        source = open_series(one)
        sink = open_sink(source, tmp_path / "out", OutputRules(), origin)
        for index in range(2):
            sink.write(index, source.read(index))
        found += [pydicom.dcmread(file) for file in sink.finish().iterdir()]
    assert len({item.SeriesInstanceUID for item in found}) == 1
    assert len({item.SeriesDescription for item in found}) == 1
    assert len({item.SOPInstanceUID for item in found}) == 4


def test_one_uid_for_many_images_still_gives_an_own_uid_to_each(tmp_path: Path) -> None:
    for name in ("a", "b"):
        item = dataset(z=0.0 if name == "a" else 2.0, SOPInstanceUID="1.2.3.4")
        save(item, tmp_path / "in" / name)
    found = _written(tmp_path / "in", tmp_path / "out")
    assert found[0].SOPInstanceUID != found[1].SOPInstanceUID


# --- origin --------------------------------------------------------------------------------------------------


def test_the_origin_is_told_in_full(tmp_path: Path) -> None:
    item = dataset(
        DerivationDescription="Averaged", ContentDate="20200101", ContentTime="010101", TimezoneOffsetFromUTC="+0000"
    )
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113062", "DCM", "Pixel by pixel mean"
    item.DerivationCodeSequence = Sequence([code])
    scanner = Dataset()
    scanner.Manufacturer = "ACME"
    item.ContributingEquipmentSequence = Sequence([scanner])
    save(item, tmp_path / "in" / "a")
    (new,) = _written(tmp_path / "in", tmp_path / "out")
    assert new.DerivationDescription == "Averaged; Denoised by aegui, model chest, strength 0.8, noise level 12"
    codes = [(step.CodeValue, step.CodingSchemeDesignator) for step in new.DerivationCodeSequence]
    assert codes == [("113062", "DCM"), ("DENOISED", "99AEGUI")]
    assert new.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99AEGUI"
    (source,) = new.SourceImageSequence
    assert (source.SpatialLocationsPreserved, source.ReferencedSOPInstanceUID) == ("YES", item.SOPInstanceUID)
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    before, ours = new.ContributingEquipmentSequence
    assert before.Manufacturer == "ACME"
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert ours.ManufacturerModelName == "aegui"
    assert list(ours.SoftwareVersions)[1:] == ["model chest 2", HASH, "torch fp32"]
    assert HASH in ours.ContributionDescription and "Chest model" in ours.ContributionDescription
    assert new.ContentDate > "20200101" and new.InstanceCreationDate == new.ContentDate
    assert new.StudyDate == "20240102"


@pytest.mark.parametrize(
    ("sop_class", "modality", "before", "after"),
    [
        ("2", "CT", ["ORIGINAL", "PRIMARY", "AXIAL", "X"], ["DERIVED", "SECONDARY", "AXIAL", "X"]),
        ("2", "CT", ["DERIVED", "SECONDARY", "REFORMATTED"], ["DERIVED", "SECONDARY", "REFORMATTED"]),
        ("128", "PT", ["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"]),
        ("20", "NM", ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"], ["DERIVED", "PRIMARY", "STATIC", "EMISSION"]),
        ("1.1", "DX", ["ORIGINAL", "PRIMARY", ""], ["DERIVED", "SECONDARY", ""]),
    ],
)
def test_image_type(sop_class: str, modality: str, before: list[str], after: list[str], tmp_path: Path) -> None:
    item = dataset(sop_class=f"1.2.840.10008.5.1.4.1.1.{sop_class}", modality=modality, ImageType=before)
    save(item, tmp_path / "in" / "a")
    assert list(_written(tmp_path / "in", tmp_path / "out")[0].ImageType) == after


def test_what_is_true_of_the_source_alone_is_gone(tmp_path: Path) -> None:
    item = dataset(InstanceCreatorUID="1.2.3", PixelDataProviderURL="http://x", LargestPixelValueInSeries=5)
    item.IconImageSequence = Sequence([Dataset()])
    item.DigitalSignaturesSequence = Sequence([Dataset()])
    inner = Dataset()
    inner.MACParametersSequence = Sequence([Dataset()])
    inner.ReferencedSOPInstanceUID = "1.2.7"
    item.ReferencedImageSequence = Sequence([inner])
    item.ConcatenationUID = "1.2.8"
    item.SOPInstanceStatus, item.SOPAuthorizationDateTime = "AO", "20240102"
    item.ContentQualification = "PRODUCT"
    item.WindowCenter, item.WindowWidth = 40, 400
    item.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "private")
    save(item, tmp_path / "in" / "a")
    (new,) = _written(tmp_path / "in", tmp_path / "out")
    for keyword in ("InstanceCreatorUID", "PixelDataProviderURL", "LargestPixelValueInSeries", "IconImageSequence"):
        assert keyword not in new
    assert "DigitalSignaturesSequence" not in new and "ConcatenationUID" not in new
    assert "SOPInstanceStatus" not in new and "SOPAuthorizationDateTime" not in new
    assert new.ContentQualification == "RESEARCH", "as the report says"
    assert "MACParametersSequence" not in new.ReferencedImageSequence[0]
    assert new.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.7"
    assert (new.WindowCenter, new.WindowWidth) == (40, 400) and new[0x0029, 0x1010].value == "private"
    (bare,) = _written(tmp_path / "in", tmp_path / "bare", private_tags="drop")
    assert not [element for element in bare if element.tag.is_private]


def test_text_in_another_character_set_than_declared_keeps_its_bytes(tmp_path: Path) -> None:
    path = save(dataset(InstitutionName="Klinik XY", SpecificCharacterSet="ISO_IR 192"), tmp_path / "in" / "a")
    path.write_bytes(path.read_bytes().replace(b"Klinik XY", b"K\xfcinik \xff\xfe"))
    out = copied(opened(tmp_path / "in"), tmp_path / "out")
    assert b"K\xfcinik \xff\xfe" in (out / "a").read_bytes()


def test_us_or_ss_follows_pixel_representation_also_in_nested_items(tmp_path: Path) -> None:
    item = dataset()
    item.add_new("PixelPaddingValue", "US", 63536)
    inner = Dataset()
    inner.add_new("RealWorldValueFirstValueMapped", "US", 65535)
    item.RealWorldValueMappingSequence = Sequence([inner])
    save(item, tmp_path / "in" / "a")
    (new,) = _written(tmp_path / "in", tmp_path / "out")
    assert (new["PixelPaddingValue"].VR, new.PixelPaddingValue) == ("SS", -2000)
    mapped = new.RealWorldValueMappingSequence[0]["RealWorldValueFirstValueMapped"]
    assert (mapped.VR, mapped.value) == ("SS", -1)


# --- compression with loss -----------------------------------------------------------------------------------


def test_once_lossy_always_lossy_also_when_only_the_transfer_syntax_shows_it(tmp_path: Path) -> None:
    source = pydicom.dcmread(WHEEL / "JPEGLSNearLossless_16.dcm")
    assert "LossyImageCompression" not in source
    (tmp_path / "in").mkdir()
    shutil.copy(WHEEL / "JPEGLSNearLossless_16.dcm", tmp_path / "in" / "a")
    series = only(tmp_path / "in")
    out = copied(open_series(replace(series, treat="denoise")), tmp_path / "out")
    new = pydicom.dcmread(out / "a")
    assert (new.LossyImageCompression, new.LossyImageCompressionMethod) == ("01", "ISO_14495_1")
    assert float(new.LossyImageCompressionRatio) == pytest.approx(1000 / len(source.PixelData), rel=0.01)
    assert new.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.80", "its lossless sibling"


def test_ratios_and_methods_are_copied_and_none_is_added(tmp_path: Path) -> None:
    item = dataset(LossyImageCompression="01", LossyImageCompressionRatio=[12, 3])
    item.LossyImageCompressionMethod = ["ISO_10918_1", "ISO_15444_1"]
    save(item, tmp_path / "in" / "a")
    (new,) = _written(tmp_path / "in", tmp_path / "out", transfer_syntax="jpeg2000")
    assert [float(ratio) for ratio in new.LossyImageCompressionRatio] == [12, 3]
    assert list(new.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]


def test_a_lossless_source_says_nothing_of_loss(tmp_path: Path) -> None:
    save(dataset(), tmp_path / "in" / "a")
    (new,) = _written(tmp_path / "in", tmp_path / "out", transfer_syntax="jpeg-ls")
    assert "LossyImageCompression" not in new


# --- numbers and names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "source", "expected"),
    [("+1000", 3, 1003), ("+50", 3, 53), ("901", 3, 901), ("+1000", 2**31 - 5, 1000), ("+1000", -2000, 1000)],
)
def test_series_number(rule: str, source: int, expected: int, tmp_path: Path) -> None:
    save(dataset(SeriesNumber=source), tmp_path / "in" / "a")
    assert _written(tmp_path / "in", tmp_path / "out", series_number=rule)[0].SeriesNumber == expected


@pytest.mark.parametrize(
    ("template", "source", "expected"),
    [
        ("{description}{suffix}", "Thorax", "Thorax_DN"),
        ("{description}{suffix}", "x" * 64, "x" * 61 + "_DN"),
        ("{model} {strength} of {number}: {description}{suffix}", "Thorax", "chest 0.8 of 3: Thorax_DN"),
        ("y" * 70 + "{suffix}", "Thorax", "y" * 61 + "_DN"),
        ("DN {description}", "{model}\\\n" + "z" * 80, "DN {model} " + "z" * 53),
        ("{description}{suffix}", "", "CT_DN"),
    ],
)
def test_series_description(template: str, source: str, expected: str, tmp_path: Path) -> None:
    item = dataset()
    item["SeriesDescription"].value = source
    save(item, tmp_path / "in" / "a")
    (new,) = _written(tmp_path / "in", tmp_path / "out", series_description=template)
    assert new.SeriesDescription == expected and len(expected) <= 64


def test_nothing_in_a_header_leads_out_of_the_output_folder(tmp_path: Path) -> None:
    item = dataset(SeriesDescription="../../../evil", SeriesInstanceUID="../../1.2", StudyInstanceUID="/etc/x")
    item.SOPInstanceUID = "../../../../9.9"
    item.PatientID = "../../p"
    save(item, tmp_path / "deep" / "in" / "a 'quoted' \n name.dcm")
    before = {path for path in tmp_path.rglob("*") if "homes" not in path.parts}
    out = tmp_path / "deep" / "out"
    source = open_series(only(tmp_path / "deep" / "in"))
    done = copied(source, out)
    new = {path for path in tmp_path.rglob("*") if "homes" not in path.parts} - before
    assert new and all(path == out or out in path.parents for path in new)
    assert done.parent == out
    for name in (done.name, *(file.name for file in done.iterdir())):
        assert not name.startswith(".") and not set(name) & set("/\\\n' ")


def test_names_differ_also_where_case_does_not_count(tmp_path: Path) -> None:
    for number, name in enumerate(("IMG.dcm", "img.dcm", "NUL.dcm")):
        save(dataset(number=number, z=2.0 * number), tmp_path / "in" / name)
    names = [file.name for file in copied(opened(tmp_path / "in"), tmp_path / "out").iterdir()]
    assert sorted(names, key=str.casefold) == ["_NUL.dcm", "IMG.dcm", "img_2.dcm"]


def test_a_long_name_keeps_its_number_and_its_ending(tmp_path: Path) -> None:
    for number in range(3):
        save(dataset(number=number, z=2.0 * number), tmp_path / "in" / f"{'long' * 40}_{number:03d}.dcm")
    names = sorted(file.name for file in copied(opened(tmp_path / "in"), tmp_path / "out").iterdir())
    assert [name[-8:] for name in names] == ["_000.dcm", "_001.dcm", "_002.dcm"]
    assert {len(name) for name in names} == {120}


# --- transfer syntaxes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MR_small.dcm", "1.2.840.10008.1.2.1"),
        ("MR_small_implicit.dcm", "1.2.840.10008.1.2"),
        ("MR_small_bigendian.dcm", "1.2.840.10008.1.2.1"),
        ("MR_small_RLE.dcm", "1.2.840.10008.1.2.5"),
        ("MR_small_jpeg_ls_lossless.dcm", "1.2.840.10008.1.2.4.80"),
        ("693_J2KI.dcm", "1.2.840.10008.1.2.4.90"),
    ],
)
def test_the_transfer_syntax_is_the_sources_or_its_lossless_sibling(name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(WHEEL / name, tmp_path / "in" / name)
    (new,) = _written(tmp_path / "in", tmp_path / "out", change=1.0)
    assert new.file_meta.TransferSyntaxUID == expected


def test_what_an_encoder_cannot_hold_is_written_uncompressed_with_a_note(tmp_path: Path) -> None:
    values = np.arange(120, dtype="<u4").reshape(12, 10) * 30_000_000
    item = dataset(modality="MR", sop_class=MR, signed=False)
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelData = 32, 32, 31, values.tobytes()
    save(item, tmp_path / "in" / "a")
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(transfer_syntax="jpeg-ls"), ORIGIN)
    sink.write(0, source.read(0))
    new = pydicom.dcmread(sink.finish() / "a")
    assert new.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert sink.notes == ("Written uncompressed: JPEG-LS Lossless Image Compression cannot hold its pixels",)
    np.testing.assert_array_equal(new.pixel_array, values)


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_text_that_is_not_in_its_character_set_passes_into_another_encoding_as_its_bytes(
    tmp_path: Path, syntax: str
) -> None:
    item = dataset(SpecificCharacterSet="ISO_IR 192", PatientName="Mull^X", StudyDescription="Schadel")
    path = save(item, tmp_path / "in" / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"Mull^X", b"M\xfcll^X").replace(b"Schadel", b"Sch\xe4del"))
    (path,) = copied(opened(tmp_path / "in"), tmp_path / "out", transfer_syntax=syntax).iterdir()
    new = pydicom.dcmread(path)
    assert new.get_item("PatientName").value == b"M\xfcll^X"
    assert new.get_item("StudyDescription").value.strip() == b"Sch\xe4del"


def test_an_unreadable_element_passes_into_another_encoding_as_its_bytes(tmp_path: Path) -> None:
    item = dataset()
    path = save(item, tmp_path / "in" / "a")
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x10\x00")
    path.write_bytes(data[:at] + b"\x18\x00\x50\x11IS\x04\x00ab\x00\xff" + data[at:])
    (new,) = _written(tmp_path / "in", tmp_path / "out", transfer_syntax="implicit")
    assert new.get_item((0x0018, 0x1150)).value == b"ab\x00\xff"


# --- clipping, refusals and broken disks ---------------------------------------------------------------------


def test_clipped_pixels_are_counted(tmp_path: Path) -> None:
    save(dataset(bits=12, signed=False, modality="MR", sop_class=MR), tmp_path / "in" / "a")
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(), ORIGIN)
    pixels = source.read(0).copy()
    pixels[0, :3], pixels[1, 0], pixels[1, 1] = 5000, -4, 4095.4
    sink.write(0, pixels)
    assert sink.clipped == 4
    sink.abort()


@pytest.mark.parametrize(("name", "words"), [("liver_1frame.dcm", "One-bit"), ("rtdose_1frame.dcm", "")])
def test_what_is_only_listed_is_refused_at_the_door(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(WHEEL / name, tmp_path / "in" / name)
    series = only(tmp_path / "in")
    assert series.treat == "list"
    with pytest.raises(UserError, match="cannot be opened"):
        open_series(series)


def test_palette_becomes_8_bit_rgb_where_the_user_insists(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(WHEEL / "examples_palette.dcm", tmp_path / "in" / "a")
    source = open_series(replace(only(tmp_path / "in"), treat="denoise"))
    new = pydicom.dcmread(copied(source, tmp_path / "out", change=1.0) / "a")
    assert (new.PhotometricInterpretation, new.SamplesPerPixel, new.BitsAllocated, new.BitsStored) == ("RGB", 3, 8, 8)
    assert not [element for element in new if "PaletteColor" in element.keyword]
    np.testing.assert_array_equal(new.pixel_array, np.minimum(source.read(0) + 1, 255))


def test_palette_is_refused_where_the_kind_of_image_holds_no_colours(tmp_path: Path) -> None:
    item = dataset(modality="NM", sop_class="1.2.840.10008.5.1.4.1.1.20", bits=8, signed=False)
    item.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        item.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        item.add_new(f"{colour}PaletteColorLookupTableData", "OW", np.arange(256, dtype="<u2").tobytes())
    save(item, tmp_path / "in" / "a")
    source = open_series(replace(only(tmp_path / "in"), treat="denoise"))
    with pytest.raises(UserError, match="hold no RGB colours"):
        open_sink(source, tmp_path / "out", OutputRules(), ORIGIN)
    assert not (tmp_path / "out").exists()


def test_a_vanished_output_folder_is_told_in_words_and_nothing_is_left(tmp_path: Path) -> None:
    stack(tmp_path / "in", [0.0, 2.0])
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(), ORIGIN)
    sink.write(0, source.read(0))
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(UserError, match="Cannot write to"):
        sink.write(1, source.read(1))
    sink.abort()
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("at", [".frames.part", "a"])
def test_a_full_disk_during_a_multi_frame_file_leaves_nothing(at: str, tmp_path: Path) -> None:
    values = np.zeros((3, 12, 10), int)
    item = dataset(
        stored=values,
        NumberOfFrames=3,
        z=None,
        modality="US",
        sop_class="1.2.840.10008.5.1.4.1.1.3.1",
        bits=8,
        signed=False,
    )
    save(item, tmp_path / "in" / "a")
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(), ORIGIN)
    (partial,) = (tmp_path / "out").iterdir()
    (partial / at).symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"Cannot write to .*No space left"):
        for index in range(3):
            sink.write(index, source.read(index))
        sink.finish()
    sink.abort()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    # Larger than the buffer of a file, so that pydicom meets the full disk and raises an error of its own.
    save(dataset(stored=np.zeros((512, 512), int), rows=512, columns=512), tmp_path / "in" / "a")
    source = opened(tmp_path / "in")
    sink = open_sink(source, tmp_path / "out", OutputRules(), ORIGIN)
    (partial,) = (tmp_path / "out").iterdir()
    (partial / "a").symlink_to("/dev/full")
    with pytest.raises(UserError) as caught:
        sink.write(0, source.read(0))
        sink.finish()
    sink.abort()
    assert caught.value.message == f"Cannot write to {tmp_path / 'out'}: No space left on device."
