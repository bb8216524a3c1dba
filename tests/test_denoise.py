"""Folders of scans denoised, one bad series at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from aegui import imaging, workflow
from aegui.analysis import structure_score
from aegui.errors import UserError
from aegui.events import SeriesDone, SliceDone, Stop, finish
from aegui.imaging import Series
from aegui.inference.denoiser import Denoiser
from aegui.measure import estimate_noise
from aegui.models.zoo import load_model
from tests.imaging.made_files import dataset, save

CPU = torch.device("cpu")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:70, :61] / 64
    for name in ("a", "b", "c"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        volume = 300 + 100 * np.sin(4 * x) * np.cos(3 * y) + rng.normal(0, 15, (3, 70, 61))
        np.save(tmp_path / "scans" / name / "v.npy", volume.astype(np.float32))
    return tmp_path / "scans"


def found(folder: Path) -> tuple[Series, ...]:
    return finish(workflow.scan([folder])).series  # type: ignore[no-any-return]


def job(scans: Path, **changes: object) -> workflow.DenoiseJob:
    base = workflow.DenoiseJob("general-small", found(scans), scans.parent / "out", device="cpu")
    return replace(base, **changes)  # type: ignore[arg-type]


def test_every_series_gets_a_row_and_its_files(scans: Path) -> None:
    report = finish(workflow.denoise(job(scans)))
    assert [row.status for row in report.series] == ["done"] * 3
    content = json.loads(report.path.read_text())
    assert content["schema"] == 1 and len(content["series"]) == 3
    assert {"uid", "status", "reason", "output", "slices", "seconds"} <= set(content["series"][0])
    outputs = sorted((scans.parent / "out").rglob("*.npy"))
    assert len(outputs) == 3
    result = np.load(outputs[0])
    assert result.dtype == np.float32 and result.shape == (3, 70, 61)


def test_bytes_that_a_rescale_makes_other_values_of_are_not_taken_for_0_to_255(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64] / 64
    stored = np.clip(120 + 60 * np.sin(4 * x) * np.cos(3 * y) + rng.normal(0, 6, (64, 64)), 0, 255).astype(np.uint8)
    (tmp_path / "scans").mkdir()
    save(
        dataset(
            rows=64,
            columns=64,
            sop_class="1.2.840.10008.5.1.4.1.1.4",
            modality="MR",
            stored=stored,
            signed=False,
            bits=8,
            RescaleSlope=40,
            RescaleIntercept=0,
        ),
        tmp_path / "scans" / "mr.dcm",
    )
    volume = nib.Nifti1Image(stored[:, :, None], np.eye(4))
    volume.header.set_slope_inter(16, 0)
    volume.header.set_data_dtype(np.uint8)
    (tmp_path / "scans" / "v").mkdir()
    nib.save(volume, tmp_path / "scans" / "v" / "mr.nii.gz")
    report = finish(workflow.denoise(job(tmp_path / "scans")))
    assert len(report.series) == 2
    for row in report.series:
        assert row.status == "done" and row.outside_voxels == 0
        assert row.noise_after < 0.7 * row.noise_before


def test_a_series_that_the_model_leaves_as_it_is_is_flagged(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    np.save(tmp_path / "scans" / "v.npy", np.full((2, 32, 32), -900, np.float32))
    (row,) = finish(workflow.denoise(job(tmp_path / "scans"))).series
    assert row.status == "flagged" and "2048 voxels (100 %)" in row.reason


def test_strength_zero_returns_the_input_and_half_lies_halfway(scans: Path) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("classic-small"), source, CPU)
    pixels = source.read(0)
    none, half, full = (denoiser.slice(0, s).pixels for s in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none, pixels)
    np.testing.assert_allclose(half, (pixels + full) / 2, rtol=1e-5)
    assert not np.array_equal(full, pixels)
    source.close()


def test_values_outside_the_models_range_pass_through_and_are_counted(scans: Path) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("classic-small"), source, CPU)
    pixels = source.read(0).copy()
    pixels[3, 4], pixels[10, 11] = 1e5, -1e5
    result = denoiser.pixels(pixels, np.ones(pixels.shape, bool))
    assert result.outside == 2
    assert result.pixels[3, 4] == np.float32(1e5) and result.pixels[10, 11] == np.float32(-1e5)
    source.close()


def test_padding_comes_back_as_it_was(scans: Path) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("classic-small"), source, CPU)
    pixels, valid = source.read(0).copy(), np.ones((70, 61), bool)
    valid[:, :9], pixels[:, :9] = False, -2048
    result = denoiser.pixels(pixels, valid)
    assert (result.pixels[:, :9] == -2048).all() and result.outside == 0
    source.close()


def test_the_edge_of_padding_leaves_no_trace(scans: Path) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("general-small"), source, CPU)
    # Well above the noise: a weaker signal may be the background of Rician noise, which becomes dark.
    noisy = np.random.default_rng(0).normal(300, 30, (192, 192)).astype(np.float32)
    valid = np.zeros(noisy.shape, bool)
    valid[48:144, 48:144] = True
    error = denoiser.pixels(np.where(valid, noisy, np.float32(-1024)), valid).pixels - 300
    edge = valid.copy()
    edge[52:140, 52:140] = False
    assert np.sqrt((error[edge] ** 2).mean()) < 2 * np.sqrt((error[valid & ~edge] ** 2).mean())
    source.close()


def test_the_noise_level_reaches_the_model_in_the_scans_unit(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("general-small"), source, CPU)
    seen: list[float] = []
    run = denoiser.engine.run

    def spy(x: np.ndarray, level: np.ndarray) -> np.ndarray:
        seen.extend(level * denoiser.scale.span)
        return run(x, level)

    monkeypatch.setattr(denoiser.engine, "run", spy)
    denoiser.slice(0, noise_level=33.0)
    denoiser.slice(0)
    assert seen == pytest.approx([33.0, estimate_noise(source.read(0))])
    source.close()


def test_a_broken_series_fails_with_its_reason_and_the_rest_goes_on(scans: Path) -> None:
    work = job(scans)
    work.series[1].files[0].write_bytes(work.series[1].files[0].read_bytes()[:400])
    report = finish(workflow.denoise(work))
    assert [row.status for row in report.series] == ["done", "failed", "done"]
    assert "v.npy" in report.series[1].reason
    assert len(list((scans.parent / "out").rglob("*.npy"))) == 2
    assert not list((scans.parent / "out").rglob(".*"))


def test_a_series_of_another_kind_is_skipped_unless_the_user_insists(scans: Path) -> None:
    work = job(scans)
    view = replace(work.series[0], treat="view", reason="Localizer")
    report = finish(workflow.denoise(replace(work, series=(view,))))
    assert (report.series[0].status, report.series[0].reason) == ("skipped", "Localizer")
    report = finish(workflow.denoise(replace(work, series=(view,), include=frozenset({view.uid}))))
    assert report.series[0].status == "done"


def test_stopping_leaves_no_half_written_series(scans: Path) -> None:
    events = workflow.denoise(job(scans))
    done = 0
    for event in events:
        done += isinstance(event, SeriesDone)
        if done == 1 and isinstance(event, SliceDone):
            break
    last = events.throw(Stop())  # type: ignore[attr-defined]
    report = last.result
    assert [row.status for row in report.series] == ["done", "skipped", "skipped"]
    assert len(list((scans.parent / "out").rglob("*.npy"))) == 1
    events.close()  # type: ignore[attr-defined]


def test_an_output_that_cannot_be_written_stops_before_any_work(scans: Path) -> None:
    (scans.parent / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        finish(workflow.denoise(job(scans, output=scans.parent / "file" / "out")))


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_a_strength_out_of_range_is_refused(scans: Path, strength: float) -> None:
    with pytest.raises(UserError, match="strength"):
        finish(workflow.denoise(job(scans, strength=strength)))


def test_evaluation_tells_input_from_output(scans: Path, tmp_path: Path) -> None:
    noisy = found(scans)
    (pair,) = workflow.match_pairs(noisy[:1], noisy[:1])
    result = finish(workflow.evaluate("general-small", [replace(pair)], "cpu"))
    assert result.input["psnr"] == float("inf") and result.input["rmse"] == 0
    assert result.slices == 3 and "R = " in result.psnr_range


def test_a_mean_over_pairs_tells_the_ranges_of_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48] / 8
    for name, gain in (("a", 1), ("b", 10)):
        clean = np.repeat((100 + 60 * np.sin(x) * np.cos(y))[None], 3, axis=0)
        for folder, sd in (("clean", 0), ("noisy", 10)):
            (tmp_path / folder).mkdir(exist_ok=True)
            values = gain * (clean + rng.normal(0, 1, clean.shape) * sd)
            np.save(tmp_path / folder / f"{name}.npy", values.astype(np.float32))
    pairs = workflow.match_pairs(found(tmp_path / "noisy"), found(tmp_path / "clean"))
    one, other = (finish(workflow.evaluate("classic-small", [pair], "cpu")) for pair in pairs)
    both = finish(workflow.evaluate("classic-small", pairs, "cpu"))
    assert one.slices == other.slices == 3 and both.slices == 6
    ends = [found.psnr_range.split()[2] for found in (one, other)]
    assert both.psnr_range == f"R = {ends[0]} to {ends[1]} (99.5th percentile of foreground)"
    assert both.ssim_window == f"SSIM, {both.psnr_range}"


def test_slices_without_pixels_or_without_error_do_not_count_in_an_evaluation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = rng.uniform(0, 1000, (6, 48, 48)).astype(np.float32)
    noisy = clean + rng.normal(0, 30, clean.shape).astype(np.float32)
    noisy[4] = clean[4]
    clean[5] = noisy[5] = np.nan
    for name, values in (("noisy", noisy), ("clean", clean)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "v.npy", values)
    (pair,) = workflow.match_pairs(found(tmp_path / "noisy"), found(tmp_path / "clean"))
    result = finish(workflow.evaluate("general-small", [pair], "cpu"))
    assert result.slices == 4
    assert result.input["rmse"] == pytest.approx(30, rel=0.05) and np.isfinite(result.output["psnr"])


def test_white_noise_shows_no_structure_and_lost_edges_do() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] / 256
    clean = (100 * ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1) + 60 * (x > 0.7) + 20 * np.sin(9 * y)).astype(np.float32)
    noise = rng.normal(0, 10, clean.shape).astype(np.float32)
    blurred = imaging_blur(clean)
    assert structure_score(clean + noise, clean) < 0.15
    assert structure_score(clean + noise, blurred) > structure_score(clean + noise, clean) + 0.2


def imaging_blur(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, 4))


def test_the_report_keeps_the_rows_of_series_that_are_not_done_again(scans: Path) -> None:
    first = finish(workflow.denoise(job(scans)))
    work = job(scans)
    again = finish(workflow.denoise(replace(work, series=work.series[1:2], earlier=first.series)))
    rows = json.loads(again.path.read_text())["series"]
    assert sorted(row["uid"] for row in rows) == sorted(series.uid for series in work.series)
    assert len(again.series) == 1


def test_what_cannot_be_written_fails_its_series_and_leaves_nothing(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aegui.imaging.files.sink_volumes import VolumeSink

    real = VolumeSink.write

    def write(self: VolumeSink, index: int, pixels: np.ndarray) -> None:
        if index == 1:
            raise UserError("The disk is full.")
        real(self, index, pixels)

    monkeypatch.setattr(VolumeSink, "write", write)
    report = finish(workflow.denoise(job(scans)))
    assert [(row.status, row.reason) for row in report.series] == [("failed", "The disk is full.")] * 3
    assert not [path for path in (scans.parent / "out").rglob("*") if path.name != "report.json"]


def test_abandoning_in_the_middle_leaves_no_half_written_series(scans: Path) -> None:
    events = workflow.denoise(job(scans))
    for event in events:
        if isinstance(event, SliceDone):
            break
    events.close()  # type: ignore[attr-defined]
    assert not list((scans.parent / "out").rglob("*"))


def test_slices_are_said_to_be_done_in_order_and_once(scans: Path) -> None:
    seen = [event.index for event in workflow.denoise(job(scans)) if isinstance(event, SliceDone)]
    assert seen == [0, 1, 2] * 3


def test_averaging_is_told_in_the_report_with_how_far_the_views_differ(scans: Path) -> None:
    report = finish(workflow.denoise(job(scans, average=8)))
    assert all(0 < row.spread < 15 for row in report.series)
    assert json.loads(report.path.read_text())["average"] == 8
    assert all(row.spread == 0 for row in finish(workflow.denoise(job(scans))).series)


def test_strange_averages_and_engines_are_refused_before_anything_is_denoised(scans: Path) -> None:
    with pytest.raises(UserError, match="3 views"):
        finish(workflow.denoise(job(scans, average=3)))
    with pytest.raises(UserError, match="no engine “x”"):
        finish(workflow.denoise(job(scans, engine="x")))


def test_slices_together_are_what_they_are_alone(scans: Path) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("general-small"), source, CPU)
    pictures = [(source.read(index), source.valid(index)) for index in range(3)]
    together = denoiser.slices(pictures)
    for (pixels, valid), one in zip(pictures, together, strict=True):
        alone = denoiser.pixels(pixels, valid)
        assert one.level == alone.level
        np.testing.assert_allclose(one.pixels, alone.pixels, atol=0.01)
    source.close()


def test_the_spread_over_views_is_in_the_scans_unit_and_none_in_padding(scans: Path) -> None:
    source = imaging.open_series(found(scans)[0])
    denoiser = Denoiser(load_model("general-small"), source, CPU, average=4)
    pixels, valid = source.read(0).copy(), np.ones((70, 61), bool)
    valid[:, :9], pixels[:, :9] = False, -2048
    spread = denoiser.pixels(pixels, valid).spread
    assert spread is not None and spread.shape == pixels.shape and not spread[:, :9].any()
    assert 0.05 < spread[:, 9:].mean() < 15
    source.close()


def test_a_model_without_weights_is_for_training_only(scans: Path) -> None:
    for begun in (
        lambda: finish(workflow.denoise(job(scans, model="monai-autoencoder"))),
        lambda: finish(workflow.export("general-large", "safetensors", scans.parent / "x")),
        lambda: workflow.planned(job(scans, model="general-large")),
        lambda: workflow.preview("general-large", imaging.open_series(found(scans)[0]), 0),
    ):
        with pytest.raises(UserError, match="has no trained weights"):
            begun()
    assert not (scans.parent / "out").exists()


def test_a_noise_level_is_refused_by_a_model_that_takes_none(scans: Path) -> None:
    with pytest.raises(UserError, match="takes no noise level"):
        finish(workflow.denoise(job(scans, model="classic-small", noise_level=30.0)))
    report = finish(workflow.denoise(job(scans, model="classic-small")))
    assert {row.noise_level for row in report.series} == {0.0}


def test_a_noise_level_that_no_such_scan_has_fails_the_series_and_writes_nothing(scans: Path) -> None:
    report = finish(workflow.denoise(job(scans, noise_level=1e6)))
    assert {row.status for row in report.series} == {"failed"}
    assert "more than the values of this series span" in report.series[0].reason
    assert not list((scans.parent / "out").rglob("*.npy"))


def test_the_report_of_an_earlier_batch_is_kept(scans: Path) -> None:
    for strength in (0.25, 0.5, 0.75):
        finish(workflow.denoise(job(scans, strength=strength)))
    written = sorted((scans.parent / "out").glob("report*.json"))
    assert {file.name: json.loads(file.read_text())["strength"] for file in written} == {
        "report.json": 0.75,
        "report_1.json": 0.25,
        "report_2.json": 0.5,
    }


def test_the_report_tells_the_noise_of_tissue_and_where_a_series_came_from(scans: Path) -> None:
    """Noise of SD 30 HU, white, in a body of which air is three quarters, with an eighth of it."""
    rng = np.random.default_rng(0)
    body = np.zeros((128, 128), bool)
    body[32:96, 32:96] = True
    noise = rng.normal(0, 1, (2, 128, 128)) * np.where(body, 30, 4)
    (scans.parent / "ct").mkdir()
    np.save(scans.parent / "ct" / "v.npy", (np.where(body, 40, -1000) + noise).astype(np.float32))
    series = tuple(replace(one, modality="CT", unit="HU") for one in found(scans.parent / "ct"))
    (row,) = finish(workflow.denoise(job(scans, series=series))).series
    assert row.noise_before == pytest.approx(30, rel=0.1) and row.noise_level == pytest.approx(30, rel=0.1)
    assert row.noise_after < 0.4 * row.noise_before
    assert Path(row.source) == scans.parent / "ct" / "v.npy"


def test_slices_that_are_too_small_to_be_looked_at_are_denoised_all_the_same(scans: Path) -> None:
    (scans.parent / "small").mkdir()
    np.save(scans.parent / "small" / "v.npy", np.random.default_rng(0).normal(300, 9, (2, 15, 64)).astype(np.float32))
    (row,) = finish(workflow.denoise(job(scans, series=found(scans.parent / "small")))).series
    assert (row.status, row.slices) == ("done", 2) and Path(row.output).is_file()


def test_a_slice_of_padding_alone_has_no_part_in_the_noise_that_is_told(tmp_path: Path) -> None:
    rows = []
    noise = np.random.default_rng(0).normal(40, 20, (3, 64, 64)).astype(np.float32)
    for name, last in (("a", noise[:2]), ("b", np.concatenate([noise[:2], np.full((1, 64, 64), np.nan, np.float32)]))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "v.npy", last)
        every = workflow.DenoiseJob("general-small", found(tmp_path / name), tmp_path / "out" / name, device="cpu")
        rows += finish(workflow.denoise(every)).series
    assert rows[1].slices == 3 and rows[0].noise_before == pytest.approx(rows[1].noise_before, rel=0.02)


def test_a_series_unlike_those_of_the_training_is_denoised_and_told(scans: Path) -> None:
    noisy = np.load(scans / "a" / "v.npy") + np.random.default_rng(0).normal(0, 500, (3, 70, 61))
    (scans.parent / "strong").mkdir()
    np.save(scans.parent / "strong" / "v.npy", noisy.astype(np.float32))
    (row,) = finish(workflow.denoise(job(scans, series=found(scans.parent / "strong")))).series
    assert row.status != "failed" and row.reason.startswith("Not what the model has seen: noise of ")
