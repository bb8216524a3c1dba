"""Recorrupted: from one noisy scan two whose noise is independent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aegui import workflow
from aegui.data.dataset import TrainingData, prepare
from aegui.data.draw import cases, draw_batch, patch_size, shown, training_order
from aegui.errors import UserError
from aegui.events import finish
from aegui.imaging import Series
from aegui.models.zoo import load_model
from aegui.recipes import Recipe, load

SIDE, SLICES, SD = 96, 12, 40.0
Y, X = np.mgrid[:SIDE, :SIDE] - SIDE / 2
BODY = np.where(np.hypot(X, Y) < 40, 400.0, 100.0)


def correlated(rng: np.random.Generator) -> np.ndarray:
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    power = f * np.exp(-((f / 0.25) ** 2))
    white = np.fft.fft2(rng.normal(0, 1, (SIDE, SIDE)))
    return np.real(np.fft.ifft2(white * np.sqrt(power / power.mean())))


def recipe(*more: str) -> Recipe:
    return load("no-clean-scans").with_set(["run.batch_size=8", "run.patch_size=64", *more])


def read(part: Recipe, series: tuple[Series, ...], cache: Path) -> TrainingData:
    model = load_model("classic-small", "random", 0)
    reading = prepare(part, model.card, model.net.channels, series, (), {}, (), cache)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def scanned(folder: Path, slices: list[np.ndarray]) -> tuple[Series, ...]:
    folder.mkdir()
    np.save(folder / "volume.npy", np.stack(slices).astype(np.float32))
    return finish(workflow.scan([folder])).series  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Series, ...]:
    """Slices of one object with strongly correlated noise."""
    rng = np.random.default_rng(1)
    return scanned(tmp_path_factory.mktemp("noisy") / "scan", [BODY + SD * correlated(rng) for _ in range(SLICES)])


@pytest.fixture
def data(noisy: tuple[Series, ...], tmp_path: Path) -> Iterator[TrainingData]:
    found = read(recipe(), noisy, tmp_path)
    yield found
    found.close()


def noise_of_both(data: TrainingData, added: float, count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(of inputs, of targets, of the scans), in the scan's unit."""
    found = []
    for draw in range(count):
        member = draw % len(data.items)
        scale = data.items[member].scale
        whole = np.asarray(data.noisy[member])
        more, less, _ = data.targets.cut(data, member, (0, 0), whole.shape[1:], np.random.default_rng(draw))
        found.append([scale.restore(one)[0] - BODY for one in (more, less, whole)])
        np.testing.assert_allclose((more + added**2 * less) / (1 + added**2), whole, atol=1e-4)
    both = np.asarray(found)[:, :, 16:-16, 16:-16]
    return both[:, 0], both[:, 1], both[:, 2]


def test_the_noise_of_input_and_target_is_independent_however_correlated_it_is(data: TrainingData) -> None:
    more, less, scan = noise_of_both(data, 1.0)
    own = scan.var()
    assert own == pytest.approx(SD**2, rel=0.1)
    assert more.var() == pytest.approx(2 * own, rel=0.1) and less.var() == pytest.approx(2 * own, rel=0.1)
    for shift in ((0, 0), (0, 1), (1, 1), (2, 0), (3, 3)):
        moved = np.roll(less, shift, axis=(1, 2))
        assert abs(np.mean(more * moved)) < 0.08 * own, shift
    assert np.mean(scan * np.roll(scan, (0, 1), axis=(1, 2))) > 0.3 * own


def test_less_added_noise_leaves_more_in_the_target(noisy: tuple[Series, ...], tmp_path: Path) -> None:
    data = read(recipe("targets.added=0.5"), noisy, tmp_path)
    try:
        more, less, scan = noise_of_both(data, 0.5)
        assert more.var() == pytest.approx(1.25 * scan.var(), rel=0.1)
        assert less.var() == pytest.approx(5 * scan.var(), rel=0.1)
    finally:
        data.close()


def test_the_model_is_shown_the_scan_itself_and_scored_on_the_noisier_one(data: TrainingData) -> None:
    part, member = recipe(), data.split.validation[0]
    seen, scored = shown(data, part, member), next(iter(cases(data, part, member)))
    np.testing.assert_allclose(seen.noisy, data.noisy[member], atol=1e-4)
    assert scored.level == pytest.approx(np.sqrt(2) * seen.level)
    assert np.var(scored.noisy - seen.noisy) > 0 and np.array_equal(seen.clean, scored.clean)


def test_patches_say_how_noisy_they_are(data: TrainingData) -> None:
    part = recipe("augmentation.intensity=0")
    batch = draw_batch(data, part, training_order(data, part, 1, 1)[0], patch_size(data, part), 1, 1)
    levels = [item.level for item in data.items]
    assert np.sqrt(2) * min(levels) - 1e-6 <= batch.level.min() <= batch.level.max() <= np.sqrt(2) * max(levels) + 1e-6


def test_scans_without_flat_areas_are_refused_with_another_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texture = [50 * rng.normal(0, 1, (24, 24)).repeat(4, 0).repeat(4, 1) + 200 for _ in range(4)]
    series = scanned(tmp_path / "scan", [image + rng.normal(0, 0.1, image.shape) for image in texture])
    with pytest.raises(UserError, match="too few flat areas") as refused:
        read(recipe(), series, tmp_path)
    assert "Noise2Void" in refused.value.hint


def test_a_series_too_small_to_measure_borrows_the_noise_of_the_others(
    noisy: tuple[Series, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    small = scanned(tmp_path / "small", [(BODY + SD * correlated(rng))[30:54, 30:54] for _ in range(2)])
    data = read(recipe("run.patch_size=24"), (*noisy, *small), tmp_path)
    try:
        member = next(k for k, item in enumerate(data.items) if item.series.uid == small[0].uid)
        more, less, _ = data.targets.cut(data, member, (0, 0), (24, 24), np.random.default_rng(0))
        assert np.isfinite(more).all() and not np.array_equal(more, less)
    finally:
        data.close()
