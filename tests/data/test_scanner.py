"""Match my scanner: known noise is found again, and that of real repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegui import imaging, workflow
from aegui.data import scanner
from aegui.data.corruption.noise import coloured
from aegui.data.scanner import Match, match_scanner
from aegui.errors import UserError
from aegui.events import Done, Progress, finish
from aegui.imaging import Pixels, Series
from aegui.measure.rayleigh import chi
from aegui.recipes.corruptions import Gaussian, Measured, Rician, Speckle
from aegui.recipes.targets import SyntheticTargets

Noise = Callable[[Pixels, np.random.Generator], Pixels]


def series_of(path: Path) -> tuple[Series, ...]:
    return tuple(finish(imaging.scan([path])).series)


def noisier(monkeypatch: pytest.MonkeyPatch, noise: Noise) -> None:
    """Series are read with noise of a known kind put on every slice."""
    opened = scanner.open_series

    def open_series(series: Series) -> object:
        source = opened(series)
        read = source.read
        source.read = lambda index: noise(read(index), np.random.default_rng(index))  # type: ignore[method-assign]
        return source

    monkeypatch.setattr(scanner, "open_series", open_series)


def white(sd: float) -> Noise:
    return lambda pixels, rng: (pixels + rng.normal(0, sd, pixels.shape)).astype(np.float32)


def grain(f: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """As filtered back projection with a soft kernel: root of the power."""
    return np.asarray(np.sqrt(f) * np.exp(-((f / 0.25) ** 2)))


def correlated(sd: float) -> Noise:
    return lambda pixels, rng: (pixels + sd * coloured((1, *pixels.shape), grain, rng)[0]).astype(np.float32)


def rician(sd: float) -> Noise:
    return lambda pixels, rng: np.hypot(
        pixels + rng.normal(0, sd, pixels.shape), rng.normal(0, sd, pixels.shape)
    ).astype(np.float32)


def write(folder: Path, volume: np.ndarray) -> Sequence[Series]:  # type: ignore[type-arg]
    folder.mkdir()
    np.save(folder / "volume.npy", volume.astype(np.float32))
    return series_of(folder)


def off(match: Match, powers: Callable[[np.ndarray], np.ndarray]) -> float:  # type: ignore[type-arg]
    """Share of the noise power that the measured spectrum has at other frequencies than the true one."""
    f = np.asarray(match.frequencies)
    ours, true = np.asarray(match.spectrum) * f, powers(f) * f
    return float(np.abs(ours / ours.sum() - true / true.sum()).sum() / 2)


# ---------------------------------------------------------------- known noise on real scans


# Within 12 %: the noise that the scans have themselves comes on top.
@pytest.mark.parametrize(
    ("path", "sd"), [("ct_abdomen_j2k", 48.0), ("mr_brain_papaya", 120.0), ("mr_t1_studyforrest", 60.0)]
)
def test_white_noise_on_real_scans_is_found(
    path: str, sd: float, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisier(monkeypatch, white(sd))
    match = finish(match_scanner(series_of(shared / path)))
    assert match.sd == pytest.approx(sd, rel=0.12)
    assert off(match, lambda f: np.ones_like(f)) < 0.08
    assert "white" in match.words and "correlated" not in match.words
    assert isinstance(match.corruptions[0], Gaussian | Rician)


@pytest.mark.parametrize(
    ("path", "sd"), [("ct_abdomen_j2k", 48.0), ("mr_brain_papaya", 120.0), ("mr_t1_studyforrest", 60.0)]
)
def test_correlated_noise_on_real_scans_is_found_with_its_spectrum(
    path: str, sd: float, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisier(monkeypatch, correlated(sd))
    match = finish(match_scanner(series_of(shared / path)))
    assert match.sd == pytest.approx(sd, rel=0.12)
    assert off(match, lambda f: grain(f) ** 2) < 0.1
    (part,) = match.corruptions
    assert isinstance(part, Measured) and "correlated, coarser than white" in match.words
    assert SyntheticTargets(corruptions=match.corruptions).corruptions == match.corruptions


def test_rician_noise_on_a_real_scan_is_found(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = series_of(shared / "mr_brain_papaya")
    own = finish(match_scanner(series))
    noisier(monkeypatch, rician(60.0))
    match = finish(match_scanner(series))
    (part,) = match.corruptions
    assert isinstance(part, Rician) and part.coils == 1
    assert match.sd == pytest.approx(np.hypot(60.0, own.sd), rel=0.1)
    assert "Rician" in match.words and part.low <= part.high


# ---------------------------------------------------------------- real noise, known from repeats


@pytest.mark.parametrize("dose", ["010", "100"])
def test_the_noise_of_single_phantom_slices_is_that_of_the_difference_of_its_repeats(dose: str, shared: Path) -> None:
    (series,) = series_of(shared / "ct_phantom_dose" / f"dose_{dose}" / "signal_absent")
    source = imaging.open_series(series)
    stack = np.stack([source.read(i) for i in range(len(source))]).astype(np.float64)
    source.close()
    inside = stack.mean(axis=0) > 900
    true = float(np.sqrt(stack.var(axis=0, ddof=1)[inside].mean()))
    match = finish(match_scanner([series]))
    assert match.sd == pytest.approx(true, rel=0.1)
    noise = stack - stack.mean(axis=0)
    squares = [field[y : y + 32, x : x + 32] for field in noise for y in range(48, 208, 32) for x in range(48, 208, 32)]
    power = (np.abs(np.fft.fft2(squares)) ** 2).mean(axis=0)
    radius = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)[None])
    rings = [power[np.abs(radius - f) < 1 / 64].mean() for f in np.arange(17) / 32]
    assert off(match, lambda f: np.interp(f, np.arange(17) / 32, rings)) < 0.06


def test_repeats_are_recognised_and_their_difference_is_measured(shared: Path) -> None:
    series = series_of(shared / "mr_bold_repeats")
    match = finish(match_scanner(series))
    assert "differences of repeats" in match.words
    sources = [imaging.open_series(one) for one in sorted(series, key=lambda s: float(s.acquisition["acquisition"]))]
    sds = []
    for index in range(4, 30, 5):
        stack = np.stack([source.read(index) for source in sources]).astype(np.float64)
        mean = stack.mean(axis=0)
        brain = mean > 0.5 * mean[mean > mean.mean()].mean()
        # Successive differences: what drifts over all repeats is no noise.
        sds.append(np.median(np.abs(np.diff(stack, axis=0))[:, brain]) / 0.6745 / np.sqrt(2))
    for source in sources:
        source.close()
    assert match.sd == pytest.approx(np.median(sds), rel=0.25)


# ---------------------------------------------------------------- kinds, words, refusals


def bumps(side: int, count: int) -> Pixels:
    """Flat parts of several brightnesses."""
    y, x = np.mgrid[:side, :side]
    image = 40.0 + 40.0 * ((x // (side // 4) + y // (side // 4)) % 5)
    return np.repeat(image[None], count, axis=0).astype(np.float32)


def test_white_noise_that_nothing_else_explains_is_gaussian(tmp_path: Path) -> None:
    clean = bumps(192, 6)
    series = write(tmp_path / "a", clean + np.random.default_rng(0).normal(0, 5, clean.shape))
    match = finish(workflow.match_scanner(series))
    (part,) = match.corruptions
    assert isinstance(part, Gaussian) and match.sd == pytest.approx(5, rel=0.05)
    assert match.words.startswith("Noise SD 5") and "white; from flat areas of 6 slices" in match.words
    assert part.low <= part.high


def test_speckle_and_photon_noise_are_told_by_their_growth_with_the_signal(tmp_path: Path) -> None:
    clean, rng = bumps(192, 6), np.random.default_rng(0)
    (series,) = write(tmp_path / "a", clean * np.exp(rng.normal(0, 0.1, clean.shape)))
    match = finish(match_scanner([replace(series, modality="US")]))
    (part,) = match.corruptions
    assert isinstance(part, Speckle) and part.low < 0.1 < part.high * 1.1 and "speckle" in match.words
    (series,) = write(tmp_path / "b", clean + rng.normal(0, 1, clean.shape) * np.sqrt(clean))
    (part,) = finish(match_scanner([replace(series, modality="DX")])).corruptions
    assert isinstance(part, Measured) and part.signal > 0.85


def test_the_background_tells_the_number_of_coils(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = np.pad(bumps(128, 6), ((0, 0), (32, 32), (32, 32))).astype(np.float64) * 4
    channels = rng.normal(0, 10, (8, *clean.shape))
    (series,) = write(tmp_path / "a", np.sqrt((clean + channels[0]) ** 2 + (channels[1:] ** 2).sum(axis=0)))
    match = finish(match_scanner([replace(series, modality="MR")]))
    (part,) = match.corruptions
    assert isinstance(part, Rician) and part.coils == 4 and "4 coils" in match.words
    assert match.sd == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("coils", [1, 2, 8])
def test_the_law_of_the_background_is_that_of_scipy(coils: int) -> None:
    from scipy import stats

    assert chi(coils) == pytest.approx((stats.chi(2 * coils).mean(), stats.chi(2 * coils).std()))


def test_too_few_flat_areas_say_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texture = np.cumsum(np.cumsum(rng.normal(0, 20, (4, 96, 96)), axis=1), axis=2)
    texture += 400 * rng.random((4, 12, 12)).repeat(8, axis=1).repeat(8, axis=2)
    with pytest.raises(UserError, match="too few flat areas") as caught:
        finish(match_scanner(write(tmp_path / "a", texture)))
    assert "repeats" in caught.value.hint
    with pytest.raises(UserError, match="too few flat areas"):
        finish(match_scanner(write(tmp_path / "b", np.full((3, 96, 96), 40.0))))
    with pytest.raises(UserError, match="no scans"):
        finish(match_scanner([]))


def test_progress_is_told_and_the_same_scans_give_the_same_match(shared: Path) -> None:
    series = series_of(shared / "ct_abdomen_j2k")
    events = list(match_scanner(series))
    assert isinstance(events[-1], Done) and sum(isinstance(event, Progress) for event in events) > 20
    assert finish(match_scanner(series)) == events[-1].result
    assert events[-1].result.unit == "HU"
