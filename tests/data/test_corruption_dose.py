"""CT at a lower dose: projections, their noise, and the phantom's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegui import imaging
from aegui.data.corruption import Drawn, Patch, corrupt
from aegui.data.corruption.dose import (
    KERNELS,
    PHOTON_FIELDS,
    DoseFields,
    kernel_factor,
    spacing,
    thickness,
    unit_fields,
)
from aegui.data.corruption.projection import Projector
from aegui.data.item import Item
from aegui.events import finish
from aegui.imaging import Geometry, Pixels, Series
from aegui.measure import Range
from aegui.measure.nps import noise_power
from aegui.models.intensity import Scale
from aegui.recipes.corruptions import LowDoseCT

MM = (0.8, 0.8)


def disc(side: int, radius: float, value: float = 0.0) -> Pixels:
    """Water in air, HU. radius: px."""
    y, x = np.mgrid[:side, :side] - side // 2
    return np.where(x**2 + y**2 < radius**2, value, -1000.0).astype(np.float32)


def item(side: int, mm: tuple[float, float] = MM, thickness: float = 5.0) -> Item:
    series = Series(
        "1.2",
        "1",
        "p",
        "l",
        "",
        "CT",
        "d",
        "dicom",
        (Path("x"),),
        side,
        side,
        1,
        Geometry((5.0, *mm)),
        acquisition={"thickness": thickness},
    )
    return Item(series, 0, Scale(-1024.0, 4096.0, (-1024.0, 3072.0)), Range(400.0, ""), 0.0, -1)


def test_projections_are_those_of_scikit_image() -> None:
    from skimage.transform import radon

    side = 128
    y, x = np.mgrid[:side, :side] - side // 2
    image = np.exp(-((x - 14) ** 2 + (y + 9) ** 2) / 200) + 0.5 * np.exp(-((x + 20) ** 2 / 60 + (y - 18) ** 2 / 30))
    rays = Projector((side, side), (1.0, 1.0))
    ours = np.fft.fftshift(rays.project(image), axes=1)
    angles = -np.rad2deg(np.arange(rays.angles) * np.pi / rays.angles)  # there they run the other way round
    theirs = radon(image, theta=angles, circle=False).T
    middle = ours.shape[1] // 2, theirs.shape[1] // 2
    reach = 60
    ours, theirs = (v[:, m - reach : m + reach + 1] for v, m in zip((ours, theirs), middle, strict=True))
    assert np.abs(ours - theirs).max() < 0.02 * theirs.max()


@pytest.mark.parametrize(("shape", "mm"), [((128, 128), (1.0, 1.0)), ((97, 140), (0.7, 0.7)), ((120, 100), (0.5, 1.0))])
def test_reconstruction_undoes_projection(shape: tuple[int, int], mm: tuple[float, float]) -> None:
    y, x = ((np.arange(side) - side // 2) * step for side, step in zip(shape, mm, strict=True))
    image = np.exp(-((y[:, None] - 6) ** 2 + (x[None] + 4) ** 2) / 60)
    rays = Projector(shape, mm)
    back = rays.reconstruct(rays.project(image), np.ones(len(rays.frequencies)))
    back -= back[:5].mean() - image[:5].mean()  # the ramp has no constant
    assert np.abs(back - image).max() < 0.03


def test_the_noise_in_a_water_disc_has_the_variance_of_the_formula() -> None:
    side, photons = 200, 3e4
    part = LowDoseCT(photons=photons, electronic=0, kernel="medium")
    rays = Projector((side, side), MM)
    rng = np.random.default_rng(0)
    fields = np.concatenate([unit_fields(part, disc(side, 80), MM, 0.6, rng)[:PHOTON_FIELDS] for _ in range(12)])
    # Kak & Slaney: π²/views · variance of a ray · ray width · ∫ ramp² W² df; 1000 views of 0.6 mm; p = 2·64 mm·0.02/mm.
    variance = np.exp(0.02 * 2 * 80 * MM[0]) / photons
    f = np.linspace(0, 0.5 / min(MM), 2000)
    window = np.exp(-np.log(2) * (f / KERNELS["medium"]) ** 2)
    integral = 2 * np.sum((f * window) ** 2) * (f[1] - f[0])
    expected = np.pi * np.sqrt(variance * 0.6 / 1000 * integral) * 1000 / 0.02
    middle = fields[:, 95:106, 95:106]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(expected, rel=0.05)
    assert kernel_factor("medium", rays)[0] == 1


def test_what_is_added_is_what_is_missing_at_that_dose(tmp_path: Path) -> None:
    side = 128
    fields = DoseFields(LowDoseCT(electronic=0), tmp_path / "x")
    of = item(side)
    fields.learn(of.scale.normalise(disc(side, 50))[None], of)

    def sd(dose: float) -> float:
        drawn = [fields.noise(0, (48, 48), (32, 32), dose, seed) for seed in range(60)]
        return float(np.std(drawn))

    assert sd(1.0) == 0
    assert sd(0.1) / sd(0.5) == pytest.approx(3.0, rel=1e-3)  # √(1/0.1 − 1) / √(1/0.5 − 1)
    with_electronics = DoseFields(LowDoseCT(electronic=500, photons=2e4), tmp_path / "y")
    with_electronics.learn(of.scale.normalise(disc(side, 50))[None], of)
    high, low = (
        np.std([with_electronics.noise(0, (48, 48), (32, 32), dose, seed) for seed in range(60)]) for dose in (0.5, 0.1)
    )
    assert low / high > 3.5  # electronic noise grows with 1/dose², not 1/dose


def test_thick_slices_and_more_photons_are_less_noisy() -> None:
    image = disc(96, 35)

    def sd(part: LowDoseCT, thick: float) -> float:
        return float(unit_fields(part, image, MM, thick, np.random.default_rng(0))[:PHOTON_FIELDS].std())

    plain = sd(LowDoseCT(), 1.0)
    assert sd(LowDoseCT(), 4.0) == pytest.approx(plain / 2, rel=0.01)
    assert sd(LowDoseCT(photons=8e5), 1.0) == pytest.approx(plain / 2, rel=0.01)
    sharpness = [sd(LowDoseCT(kernel=kernel), 1.0) for kernel in ("smooth", "medium", "sharp")]
    assert sharpness == sorted(sharpness)


def test_rays_that_get_hardly_any_photons_do_not_drown_the_slice() -> None:
    thick = disc(96, 46, 1500.0)  # 250 mm of bone
    assert np.exp(-0.02 * 2.5 * 92 * 2.8) * 2e5 < 1  # photons that pass through its middle
    for low in (0.1, 0.5):
        fields = unit_fields(LowDoseCT(low=low), thick, (2.8, 2.8), 3.0, np.random.default_rng(0))
        at_low = fields[:PHOTON_FIELDS] * np.sqrt(1 / low - 1)
        assert 10 < at_low.std() < 400
        # Of the electronics comes no more than of the photons that are left.
        assert fields[PHOTON_FIELDS:].std() * np.sqrt(1 / low**2 - 1) < 2 * at_low.std()


def test_noise_is_stronger_in_the_middle_and_streaks_along_the_thick_way() -> None:
    side = 200
    y, x = np.mgrid[:side, :side] - side // 2
    body = np.where((x / 90) ** 2 + (y / 45) ** 2 < 1, 0.0, -1000.0).astype(np.float32)
    rng = np.random.default_rng(0)
    fields = np.concatenate(
        [unit_fields(LowDoseCT(kernel="smooth"), body, (2.0, 2.0), 5.0, rng)[:PHOTON_FIELDS] for _ in range(8)]
    )
    middle, rim = fields[:, 90:110, 90:110], fields[:, 60:70, 90:110]
    assert middle.std() > 1.2 * rim.std()
    # Rays along x cross the most tissue: their noise is smeared along x.
    along, across = ((middle * np.roll(middle, 3, axis)).mean() for axis in (2, 1))
    assert along > across + 0.1 * middle.var()


def test_the_same_slice_has_the_same_fields_and_other_slices_others(tmp_path: Path) -> None:
    of = item(64)
    image = of.scale.normalise(disc(64, 25))[None]
    made = []
    for name in ("a", "b"):
        fields = DoseFields(LowDoseCT(), tmp_path / name)
        fields.learn(image, of)
        fields.learn(image, replace(of, index=1))
        made.append([fields.noise(member, (0, 0), (64, 64), 0.2, 7) for member in (0, 1)])
    assert np.array_equal(made[0][0], made[1][0]) and np.array_equal(made[0][1], made[1][1])
    assert abs(np.corrcoef(made[0][0].ravel(), made[0][1].ravel())[0, 1]) < 0.1


def test_mixed_fields_have_the_statistics_of_fresh_ones(tmp_path: Path) -> None:
    of, image = item(128), disc(128, 50)
    fields = DoseFields(LowDoseCT(electronic=0), tmp_path / "x")
    for number in range(6):
        fields.learn(of.scale.normalise(image)[None], replace(of, index=number))
    mixed = np.stack([fields.noise(seed % 6, (32, 32), (64, 64), 0.5, seed) for seed in range(48)])
    rng = np.random.default_rng(5)
    fresh = np.concatenate([unit_fields(LowDoseCT(), image, MM, 5.0, rng)[:PHOTON_FIELDS] for _ in range(6)])
    fresh = fresh[:, 32:96, 32:96]
    assert mixed.std() == pytest.approx(fresh.std(), rel=0.05)
    _, power = noise_power(list(mixed), MM, 0).radial(0.06)
    _, other = noise_power(list(fresh), MM, 0).radial(0.06)
    assert power[1:] == pytest.approx(other[1:], rel=0.2)
    assert abs(np.mean(mixed)) < 0.1 * mixed.std()


def test_padding_and_colour_and_averaged_slices_work(tmp_path: Path) -> None:
    of = item(128)
    image = np.repeat(of.scale.normalise(disc(64, 25))[None], 3, axis=0)
    image[:, :10] = np.nan
    fields = DoseFields(LowDoseCT(), tmp_path / "x")
    fields.learn(image, of)
    found, level = corrupt(LowDoseCT(), image, Patch(of, 0, (0, 0), fields), Drawn(0.25, 3))
    assert np.array_equal(np.isnan(found), np.isnan(image)) and level is None
    assert np.allclose(found[0] - image[0], found[1] - image[1], atol=1e-6, equal_nan=True)
    assert spacing(of, (64, 64)) == (1.6, 1.6) and thickness(of) == 5
    unknown = replace(of, series=replace(of.series, geometry=Geometry((0.0, 0.0, 0.0)), acquisition={}))
    assert spacing(unknown, (128, 128)) == (0.75, 0.75) and thickness(unknown) == 1


def test_a_slice_is_learnt_and_drawn_from_quickly(
    read_slice: Callable[..., tuple[Item, Pixels]], tmp_path: Path
) -> None:
    of, image = read_slice("ct_abdomen_j2k/CT.1.3.12.2.1107.5.1.4.60064.30000022120808113428000016580")
    assert image.shape == (1, 512, 512)
    fields = DoseFields(LowDoseCT(), tmp_path / "x")
    fields.learn(image, of)  # makes the geometry, once for a series
    start = time.process_time()
    fields.learn(image, of)
    assert time.process_time() - start < 2
    start = time.process_time()
    for seed in range(50):
        fields.noise(1, (100, 200), (64, 64), 0.25, seed)
    assert (time.process_time() - start) / 50 < 0.005
    # Own noise of this scan is some 10 HU: at its own dose the simulation has to be near it.
    own = unit_fields(LowDoseCT(), of.scale.restore(image[0]), (0.75, 0.75), 3.0, np.random.default_rng(0))
    assert 3 < own[:PHOTON_FIELDS, 240:272, 240:272].std() < 40


def test_the_spectrum_is_that_of_the_simulated_scanner_of_the_phantom(shared: Path) -> None:
    """Radial noise power of what is missing at 10 % of the dose, against the difference of the phantom's repeats."""
    stacks = {}
    for dose in ("010", "100"):
        folder = shared / "ct_phantom_dose" / f"dose_{dose}" / "signal_absent"
        series = finish(imaging.scan([folder])).series
        slices = []
        for one in series:
            source = imaging.open_series(one)
            slices += [source.read(i) for i in range(len(source))]
            source.close()
        stacks[dose] = np.stack(slices).astype(np.float64)
    corners = [(y, x) for y in (64, 96, 128) for x in (64, 96, 128)]

    def radial(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        squares = [field[y : y + 64, x : x + 64] for field in noise for y, x in corners]
        return noise_power(squares, (1.0, 1.0), 0).radial(1 / 32)

    f, low = radial(stacks["010"] - stacks["010"].mean(axis=0))
    _, full = radial(stacks["100"] - stacks["100"].mean(axis=0))
    missing = low - full
    step = 200 / 232  # mm: the phantom is 200 mm and 232 px wide
    clean = (stacks["100"].mean(axis=0) - 1000).astype(np.float32)
    rng = np.random.default_rng(0)
    made = np.concatenate(
        [unit_fields(LowDoseCT(kernel="smooth"), clean, (step, step), 1.0, rng)[:PHOTON_FIELDS] for _ in range(5)]
    )
    _, ours = radial(made.astype(np.float64))
    centre = [float(np.sum(f * power) / np.sum(power)) for power in (ours, missing)]
    assert centre[0] == pytest.approx(centre[1], rel=0.06)
    smooth = [np.convolve(power, [0.25, 0.5, 0.25], "same") for power in (ours, missing)]
    assert f[smooth[0].argmax()] == pytest.approx(f[smooth[1].argmax()], abs=1 / 32 + 1e-3)
    # Share of the power that lies at other frequencies.
    assert np.abs(ours / ours.sum() - missing / missing.sum()).sum() / 2 < 0.06
    spread = [made.std(axis=0)[120:136, column : column + 12].mean() for column in (122, 24)]
    real = [stacks["010"].std(axis=0)[120:136, column : column + 12].mean() for column in (122, 24)]
    assert spread[0] / spread[1] == pytest.approx(real[0] / real[1], rel=0.25)
