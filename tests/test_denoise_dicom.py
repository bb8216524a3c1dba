"""A batch of DICOM series: what its report and its files say."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from aegui import imaging, paths, workflow
from aegui.errors import UserError
from aegui.events import Event, finish
from aegui.imaging import OutputRules
from aegui.inference import choose as choosing
from aegui.inference.choose import Choice
from aegui.inference.kinds import KINDS
from aegui.models import cards
from tests.imaging.made_files import MR, WHEEL, dataset, save


def _job(scans: Path, **changes: object) -> workflow.DenoiseJob:
    series = finish(workflow.scan([scans])).series
    base = workflow.DenoiseJob("general-small", series, scans.parent / "out", device="cpu")
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    shutil.copy(WHEEL / "CT_small.dcm", tmp_path / "scans")
    return tmp_path / "scans"


def test_the_files_name_model_weights_strength_engine_and_precision(scans: Path) -> None:
    report = finish(workflow.denoise(_job(scans, strength=0.5, noise_level=20.0)))
    new = pydicom.dcmread(Path(report.series[0].output) / "CT_small.dcm")
    card = next(card for card in cards() if card.id == "general-small")
    ours = new.ContributingEquipmentSequence[-1]
    assert {card.sha256, "torch fp32", f"model {card.id} {card.version}"} <= set(ours.SoftwareVersions) and card.version
    assert len(ours.SoftwareVersions[-1]) < 64, "room for the space that makes the length even"
    assert new.DerivationDescription.endswith("model general-small, strength 0.5, noise level 20")


def test_a_folder_in_the_place_of_the_report_is_told_before_anything_is_done(scans: Path) -> None:
    (scans.parent / "out" / "report.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"report\.json is a folder"):
        next(workflow.denoise(_job(scans)))


def test_a_re_run_with_deterministic_uids_gives_the_same_instances_and_the_same_noise(scans: Path) -> None:
    rules = OutputRules(deterministic_uids=True, noise_series=True)
    found = []
    for again in ("one", "two"):
        report = finish(workflow.denoise(_job(scans, rules=rules, output=scans.parent / again)))
        files = sorted((scans.parent / again).rglob("*.dcm"))
        assert report.series[0].status == "done" and len(files) == 2
        found.append([(d.SeriesInstanceUID, d.SOPInstanceUID) for d in map(pydicom.dcmread, files)])
    assert found[0] == found[1]
    assert len({uid for pair in found[0] for uid in pair}) == 4


def test_volumes_of_one_series_stay_one_where_another_engine_runs_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for echo, z in ((1, 0.0), (1, 2.0), (2, 0.0), (2, 2.0)):
        uid = f"1.2.5.{echo}{z:.0f}"
        item = dataset(z=z, rows=64, columns=64, modality="MR", sop_class=MR, EchoTime=10 * echo, SOPInstanceUID=uid)
        save(item, tmp_path / "scans" / f"{uid}.dcm")
    chosen = iter([KINDS["torch"], KINDS["openvino-bf16"]] * 2)

    def choose(*given: object) -> Generator[Event, None, Choice]:
        choice = yield from real(*given)  # type: ignore[arg-type]  # passed on as it comes
        engine = copy.copy(choice.engine)
        engine.kind = next(chosen)
        return replace(choice, engine=engine)

    real = choosing.choose
    monkeypatch.setattr(choosing, "choose", choose)
    found = []
    for rules in (OutputRules(), OutputRules(deterministic_uids=True)):
        out = tmp_path / f"out{rules.deterministic_uids}"
        report = finish(workflow.denoise(_job(tmp_path / "scans", rules=rules, output=out)))
        assert [row.engine for row in report.series] == ["torch, fp32", "OpenVINO, bf16"]
        files = [pydicom.dcmread(file) for file in out.rglob("*.dcm")]
        assert len({item.SeriesInstanceUID for item in files}) == 1 and len({i.SOPInstanceUID for i in files}) == 4
        found += files
    assert len({item.SOPInstanceUID for item in found}) == 8


def test_clipped_pixels_loss_and_insistence_are_in_the_row_and_the_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = np.clip(rng.normal(4060, 60, (64, 64)), 0, 4095)
    item = dataset(stored=stored, rows=64, columns=64, bits=12, signed=False, modality="MR", sop_class=MR)
    item.ImageType = ["DERIVED", "PRIMARY", "PROJECTION IMAGE"]
    item.LossyImageCompression, item.LossyImageCompressionRatio = "01", 10
    save(item, tmp_path / "scans" / "a.dcm")
    work = _job(tmp_path / "scans", model="classic-small")
    assert work.series[0].treat == "view"
    report = finish(workflow.denoise(replace(work, include=frozenset({work.series[0].uid}))))
    (row,) = report.series
    assert row.status == "done"
    assert "Denoised although it is not meant for it: Projection: shown, not denoised" in row.reason
    assert "The source was compressed with loss" in row.reason
    (told,) = json.loads(report.path.read_text())["series"]
    assert told["clipped"] == row.clipped and told["reason"] == row.reason


def test_a_report_that_cannot_be_written_is_told_in_words(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths, "atomic", full)
    with pytest.raises(UserError, match=r"report .*report\.json cannot be written: No space left"):
        finish(workflow.denoise(_job(scans)))


def test_an_output_folder_that_vanishes_fails_its_series_and_leaves_nothing_of_it(scans: Path) -> None:
    shutil.copy(WHEEL / "MR_small.dcm", scans)
    work = _job(scans)
    events = workflow.denoise(work)
    rows = []
    for event in events:
        if type(event).__name__ == "SeriesStarted" and not rows:
            sinking = True
        if type(event).__name__ == "SeriesDone":
            rows.append(event.result)
        if type(event).__name__ == "SliceDone" and sinking:
            shutil.rmtree(work.output)
            sinking = False
    assert [row.status for row in rows] == ["failed", "done"]
    assert rows[0].reason.startswith("Cannot write to")
    assert {path.name for path in work.output.iterdir()} == {Path(rows[1].output).name, "report.json"}


def test_sequences_that_a_header_gives_as_text_are_replaced(scans: Path) -> None:
    item = pydicom.dcmread(scans / "CT_small.dcm")
    for keyword in ("DerivationCodeSequence", "ContributingEquipmentSequence", "SourceImageSequence"):
        item.add_new(keyword, "LO", "none")
    item.save_as(scans / "CT_small.dcm")
    (row,) = finish(workflow.denoise(_job(scans))).series
    assert row.status in ("done", "flagged"), row.reason
    new = pydicom.dcmread(Path(row.output) / "CT_small.dcm")
    assert (
        len(new.DerivationCodeSequence) == len(new.ContributingEquipmentSequence) == len(new.SourceImageSequence) == 1
    )


def test_whatever_goes_wrong_in_one_series_the_next_is_denoised(
    scans: Path, monkeypatch: pytest.MonkeyPatch, expect_log: Callable[[str], None]
) -> None:
    expect_log("series failed unexpectedly")
    other = pydicom.dcmread(scans / "CT_small.dcm")
    other.SeriesInstanceUID += ".1"
    other.save_as(scans / "other.dcm")
    real, opened = imaging.open_sink, []

    def bad_once(*given: object) -> imaging.SliceSink:
        opened.append(given)
        if len(opened) == 1:
            raise TypeError("a damaged header")
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(imaging, "open_sink", bad_once)
    first, second = finish(workflow.denoise(_job(scans))).series
    assert first.status == "failed" and "a damaged header" in first.reason
    assert second.status in ("done", "flagged")


def test_a_file_that_became_another_patients_since_the_scan_is_refused(scans: Path) -> None:
    job = _job(scans)
    other = pydicom.dcmread(scans / "CT_small.dcm")
    other.PatientID, other.SeriesInstanceUID = "another", other.SeriesInstanceUID + ".1"
    other.save_as(scans / "CT_small.dcm")
    (row,) = finish(workflow.denoise(job)).series
    assert row.status == "failed" and row.reason.startswith("CT_small.dcm is of another series now")
    assert not list(job.output.rglob("*.dcm"))


def test_a_header_nested_without_end_fails_at_once_and_the_next_series_is_denoised(scans: Path) -> None:
    other = pydicom.dcmread(scans / "CT_small.dcm")
    other.SeriesInstanceUID += ".1"
    inner = b""
    for _ in range(3000):
        item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
        inner = b"\x08\x00\x40\x11SQ\0\0" + len(item).to_bytes(4, "little") + item
    other.save_as(scans / "a.dcm")
    content = (scans / "a.dcm").read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    (scans / "a.dcm").write_bytes(content[:at] + inner + content[at:])
    began = time.monotonic()
    rows = finish(workflow.denoise(_job(scans))).series
    assert time.monotonic() - began < 30
    assert sorted(row.status for row in rows) in (["done", "failed"], ["failed", "flagged"])
    assert "a.dcm is nested more than 64 levels deep" in next(row.reason for row in rows if row.status == "failed")


def test_a_long_sequence_of_unknown_representation_is_kept_as_bytes(scans: Path) -> None:
    item = pydicom.dcmread(scans / "CT_small.dcm")
    with pydicom.config.disable_value_validation():
        item.add_new("ReferencedImageSequence", "UN", bytes(100_000))
        item.save_as(scans / "CT_small.dcm")
    (row,) = finish(workflow.denoise(_job(scans))).series
    assert row.status in ("done", "flagged"), row.reason
