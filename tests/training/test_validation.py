"""Validation slices and what they are scored against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import workflow
from aegui.data.dataset import prepare
from aegui.data.draw import case, draw_batch, shown, validation_members
from aegui.events import finish
from aegui.imaging import open_series
from aegui.inference.denoiser import Denoiser
from aegui.models.zoo import load_model
from aegui.recipes import load
from aegui.training import validation
from aegui.training.validation import run_case, score, score_filter, score_ranges, tune_classical

CPU = torch.device("cpu")


def drained(generator):  # type: ignore[no-untyped-def]
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_values_beyond_the_models_limits_are_scored_as_they_are_denoised(tmp_path: Path) -> None:
    """A bone at 1400 HU, of which the model takes no more than 1224."""
    y, x = np.mgrid[:96, :96]
    bone = (abs(y - 48) < 20) & (abs(x - 48) < 5)
    body = np.where(bone, 1400, 40) + np.random.default_rng(0).normal(0, 20, (8, 96, 96))
    np.save(tmp_path / "volume.npy", body.astype(np.float32))
    series = replace(finish(workflow.scan([tmp_path])).series[0], modality="CT", unit="HU")
    model = load_model("classic-small", "random", 0)
    source = open_series(series)
    denoiser = Denoiser(model, source, CPU)
    recipe = load("denoise").with_set(["targets={kind: noise2void}", "losses=[{kind: mse}]", "run.patch_size=64"])
    data = drained(prepare(recipe, model.card, 1, [series], (), {}, (), tmp_path / "cache"))
    try:
        one = shown(data, recipe, member := data.split.validation[0])
        ours = one.item.scale.restore(run_case(model.net, one, CPU)[0])[0]
        index = data.items[member].index
        noisy = source.read(index)
        seen = denoiser.pixels(noisy, source.valid(index), noise_level=one.level * one.item.scale.span).pixels
        np.testing.assert_allclose(ours, seen, atol=0.05)
        np.testing.assert_allclose(ours[bone & (noisy > 1224)], noisy[bone & (noisy > 1224)], atol=0.05)
        batch = draw_batch(data, recipe, np.asarray([data.split.train[0]]), (64, 64), 1, 1)
        assert batch.noisy.max() < 0.85, "the bone is no part of what is learnt"
    finally:
        data.close()
        source.close()


def test_the_range_of_psnr_is_told_of_all_scans_that_validate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, most in (("a", 200), ("b", 900)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "volume.npy", rng.uniform(0, most, (8, 32, 32)).astype(np.float32))
    mr, ct = finish(workflow.scan([tmp_path])).series
    series = [replace(mr, modality="MR"), replace(ct, modality="CT", unit="HU")]
    recipe = load("denoise").with_set(["run.validation_fraction=0.4", "run.validation_slices=16"])
    model = load_model("classic-small", "random", 0)
    data = drained(prepare(recipe, model.card, 1, series, (), {}, (), tmp_path / "cache"))
    try:
        several = {data.items[member].series.modality for member in validation_members(data, recipe)}
        psnr, ssim = score_ranges(data, recipe)
    finally:
        data.close()
    assert several == {"MR", "CT"}
    assert "R = 400 HU" in psnr and " and " in psnr and "foreground" in psnr
    assert "−160 … 240 HU" in ssim and " and " in ssim


def test_slices_that_were_spared_by_the_corruptions_do_not_make_the_mean_infinite(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "volume.npy", rng.uniform(0, 1000, (40, 32, 32)).astype(np.float32))
    series = finish(workflow.scan([tmp_path])).series
    corruptions = "targets={kind: synthetic, corruptions: [{kind: gaussian, low: 20, high: 20, share: 0.5}]}"
    recipe = load("denoise").with_set([corruptions, "run.validation_fraction=0.4", "run.validation_slices=16"])
    model = load_model("classic-small", "random", 0)
    data = drained(prepare(recipe, model.card, 1, series, (), {}, (), tmp_path / "cache"))
    try:
        every = [case(data, recipe, member) for member in validation_members(data, recipe)]
        noisy = [c for c in every if not np.array_equal(c.noisy, c.clean)]
        assert 0 < len(noisy) < len(every)
        expected = np.mean([score(c, c.noisy)[0] for c in noisy])
        assert drained(score_filter(None, data, recipe, ""))[0] == pytest.approx(expected)
    finally:
        data.close()


def test_blank_ends_of_volumes_do_not_tune_filters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48] / 48
    best = {}
    for name, blank in (("whole", 0), ("blank", 5)):
        volume = np.stack([300 + 200 * np.sin(6 * x) * np.cos(5 * y + 0.1 * k) for k in range(24)])
        volume += rng.uniform(0, 1, volume.shape)
        volume[:blank], volume[24 - blank :] = 0, 0
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "volume.npy", volume.astype(np.float32))
        series = finish(workflow.scan([tmp_path / name])).series
        recipe = load("denoise").with_set(["targets={kind: synthetic, corruptions: [{kind: speckle}]}"])
        model = load_model("classic-small", "random", 0)
        data = drained(prepare(recipe, model.card, 1, series, (), {}, (), tmp_path / name / "cache"))
        try:
            best[name] = drained(tune_classical(data, recipe))
        finally:
            data.close()
    assert all(np.isfinite(tuned.psnr) for tuned in best["blank"])
    assert best["blank"][0].name == best["whole"][0].name


def test_slices_without_a_clean_pixel_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "volume.npy", rng.uniform(0, 1000, (40, 32, 32)).astype(np.float32))
    series = finish(workflow.scan([tmp_path])).series
    recipe = load("denoise").with_set(["run.validation_slices=4"])
    model = load_model("classic-small", "random", 0)
    data = drained(prepare(recipe, model.card, 1, series, (), {}, (), tmp_path / "cache"))
    try:
        expected = drained(score_filter(None, data, recipe, ""))
        original = validation.cases

        def with_blanks(*given):  # type: ignore[no-untyped-def]
            for c in original(*given):
                yield c
                yield c._replace(clean=np.full_like(c.clean, np.nan))

        monkeypatch.setattr(validation, "cases", with_blanks)
        assert drained(score_filter(None, data, recipe, "")) == expected
    finally:
        data.close()
