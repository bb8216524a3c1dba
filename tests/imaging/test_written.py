"""What an earlier batch wrote is only shown, in whatever format, because its report lies beside it."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from aegui import workflow
from aegui.events import finish
from aegui.imaging import OutputRules, ScanResult, scan
from tests.imaging.made_files import scanned
from tests.imaging.test_scan_cache import aged

ONCE = "Already denoised by aegui: shown, not denoised again."
VOLUMES = ("v.nii.gz", "v.nrrd", "v.mha", "v.mhd", "v.npy", "v.npz", "v.tif")
PICTURES = ("png", "tif", "bmp", "npy")


def batch(folder: Path, out: Path, **rules: object) -> workflow.Report:
    found = scanned(folder)
    job = workflow.DenoiseJob(
        "classic-small", found.series, out, rules=OutputRules.model_validate(rules), device="cpu", engine="torch"
    )
    report: workflow.Report = finish(workflow.denoise(job))
    assert {row.status for row in report.series} <= {"done", "flagged", "skipped"}
    return report


def volumes(folder: Path) -> Path:
    """A volume in every format that holds signed values."""
    values = np.random.default_rng(0).normal(1000, 50, (3, 32, 32)).astype(np.int16)
    folder.mkdir()
    nib.save(nib.Nifti1Image(values.T, np.eye(4)), folder / "v.nii.gz")
    for name in ("v.nrrd", "v.mha", "v.mhd"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / name))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.astype(np.uint16)), str(folder / "v.tif"))
    np.save(folder / "v.npy", values)
    np.savez(folder / "v.npz", v=values)
    return folder


def pictures(folder: Path) -> Path:
    """A series of two pictures in every format."""
    for kind in PICTURES:
        (folder / kind).mkdir(parents=True)
        for i in range(2):
            values = np.random.default_rng(i).normal(100, 10, (32, 32)).astype(np.uint8)
            if kind == "npy":
                np.save(folder / kind / f"p{i}.npy", values)
            else:
                Image.fromarray(values).save(folder / kind / f"p{i}.{kind}")
    return folder


def treated(result: ScanResult, below: Path) -> set[tuple[str, str]]:
    return {(one.treat, one.reason) for one in result.series if one.files[0].is_relative_to(below)}


@pytest.mark.parametrize(("make", "count", "rules"), [
    (volumes, len(VOLUMES), {}),
    (volumes, len(VOLUMES), {"noise_series": True}),
    (volumes, len(VOLUMES), {"format": "png"}),
    (pictures, len(PICTURES), {}),
])  # fmt: skip
def test_what_a_batch_wrote_into_its_own_input_is_not_denoised_again(
    tmp_path: Path, make: object, count: int, rules: dict[str, object]
) -> None:
    folder = make(tmp_path / "in")  # type: ignore[operator]
    out = folder / "denoised"
    batch(folder, out, **rules)
    aged(folder)
    for _ in range(2):  # once read, once remembered
        result = scanned(folder)
        assert treated(result, out) == {("view", ONCE)}
        assert sum(one.treat == "denoise" for one in result.series) == count
        assert len(result.series) == count * (3 if "noise_series" in rules else 2)
    batch(folder, out, **rules)
    assert not [path for path in out.rglob("*") if "_DN_DN" in path.name or "_noise_DN" in path.name]


def test_outputs_are_known_by_themselves_and_where_they_were_moved_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(volumes(tmp_path / "in"), tmp_path / "out")
    batch(pictures(tmp_path / "pictures"), tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").glob("*.json")} == {"report.json", "report_1.json"}
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    (one, *_) = (folder for folder in moved.iterdir() if folder.is_dir())
    monkeypatch.chdir(one)
    for path in (moved, moved / "v_DN.npy", one, next(one.iterdir()), Path(), Path("..")):
        found = finish(scan([path])).series
        assert found and {series.reason for series in found} == {ONCE}, path


def test_series_denoised_again_leave_earlier_outputs_known(tmp_path: Path) -> None:
    pictures(tmp_path / "in")
    first = batch(tmp_path / "in", tmp_path / "out")
    again = workflow.DenoiseJob(
        "classic-small",
        scanned(tmp_path / "in").series,
        tmp_path / "out",
        device="cpu",
        engine="torch",
        earlier=first.series,
    )
    finish(workflow.denoise(again))
    result = scanned(tmp_path / "out")
    assert len(result.series) == 2 * len(PICTURES)
    assert treated(result, tmp_path) == {("view", ONCE)}


def test_what_no_report_lists_is_denoised(tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(volumes(tmp_path / "in"), out)
    shutil.copy(tmp_path / "in" / "v.npy", out / "own.npy")
    shutil.copy(tmp_path / "in" / "v.npy", out / "own_noise.npy")
    shutil.copytree(tmp_path / "in", out / "more")
    apart = shutil.copytree(out, tmp_path / "apart", ignore=lambda *_: ["report.json"])
    fresh = [one for one in scanned(out).series if one.treat == "denoise"]
    assert len(fresh) == 2 + len(VOLUMES)
    assert any(one.treat == "denoise" for one in scanned(Path(apart)).series if "_DN" in one.files[0].name)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[" * 100_000,
        "[]",
        "7",
        '{"series": [{"output": "v.npy"}]}',
        '{"program": "other 1.0", "series": [{"output": "v.npy"}]}',
        '{"program": 7, "series": [{"output": "v.npy"}]}',
        '{"program": "aegui 1.0"}',
        '{"program": "aegui 1.0", "series": 3}',
        '{"program": "aegui 1.0", "series": ["v.npy"]}',
        '{"program": "aegui 1.0", "series": [{"output": 5}]}',
        '{"program": "aegui 1.0", "series": [{"output": ""}, {"output": "/else/"}, {"output": ".."}]}',
        "\udcff",
    ],
    ids=range(13),
)
def test_a_report_that_is_damaged_or_of_another_program_says_nothing(tmp_path: Path, content: str) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 8, 8), np.float32))
    (tmp_path / "report.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    (one,) = scanned(tmp_path).series
    assert one.treat == "denoise" and not one.derived_here


def test_a_report_too_large_to_be_one_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 8, 8), np.float32))
    report = {"program": "aegui 1.0", "series": [{"output": r"C:\scans\v.npy"}]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert scanned(tmp_path).series[0].reason == ONCE
    monkeypatch.setattr("aegui.imaging.written._LARGEST", 20)
    assert scanned(tmp_path).series[0].treat == "denoise"


def test_a_series_that_is_only_shown_anyway_keeps_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(colours).quantize(16).save(tmp_path / "a" / "p.png")
    before = scanned(tmp_path).series[0].reason
    (tmp_path / "report.json").write_text(json.dumps({"program": "aegui 1.0", "series": [{"output": "a"}]}))
    (one,) = scanned(tmp_path).series
    assert one.derived_here and (one.treat, one.reason) == ("view", before) and before
