"""Every kind of corruption against a formula or library of its own, and on real scans."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from aegui.data.corruption import Corruptor, Drawn, Patch, corrupt, draw
from aegui.data.corruption.patch import learner
from aegui.data.item import Item
from aegui.imaging import Geometry, Pixels, Series
from aegui.measure import Range, estimate_noise
from aegui.models.intensity import Scale
from aegui.recipes import corruptions as parts
from aegui.recipes.corruptions import Corruption

SIDE = 256


def item(modality: str = "MR", bits: int = 16, channels: int = 1, side: int = SIDE) -> Item:
    """CT: 4096 HU from −1024; MR: range 800 and normalised by 1000; 8-bit: 255."""
    series = Series(
        "1.2",
        "1",
        "p",
        "l",
        "",
        modality,
        "d",
        "dicom",
        (Path("x"),),
        side,
        side,
        1,
        Geometry((3.0, 0.75, 0.75)),
        bits=bits,
        channels=channels,
        acquisition={"thickness": 5.0},
    )
    if modality == "CT":
        return Item(series, 0, Scale(-1024.0, 4096.0, (-1024.0, 3072.0)), Range(400.0, ""), 0.0, -1)
    if bits == 8:
        return Item(series, 0, Scale(0.0, 255.0, (0.0, 255.0)), Range(255.0, ""), 0.0, -1)
    return Item(series, 0, Scale(0.0, 1000.0, (-4000.0, 4000.0)), Range(800.0, ""), 0.0, -1)


def flat(of: Item, value: float, channels: int = 1) -> Pixels:
    """A slice of one value, in real units."""
    return np.full((channels, SIDE, SIDE), of.scale.normalise(np.float32(value)), dtype=np.float32)  # type: ignore[arg-type]


def put(part: Corruption, image: Pixels, of: Item, strength: float, seed: int = 1) -> Pixels:
    """Real units of what comes out."""
    found, _ = corrupt(part, image, Patch(of), Drawn(strength, seed))
    return of.scale.restore(found)


KINDS: list[Corruption] = [
    parts.Gaussian(low=20, high=30),
    parts.Gaussian(low=20, high=30, grain=3),
    parts.PoissonGaussian(low=100, high=200),
    parts.Rician(),
    parts.Rician(coils=8),
    parts.Speckle(),
    parts.LowDoseCT(),
    parts.Measured(),
    parts.Measured(spectrum="0 0.5 1 0.5 0.1", signal=0.5),
    parts.Blur(),
    parts.Stripes(),
    parts.JPEG(),
    parts.JPEG2000(),
    parts.Impulse(),
    parts.Missing(low=0.01, high=0.02),
]
NAMES = [f"{part.kind}-{number}" for number, part in enumerate(KINDS)]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- what all have in common


@pytest.fixture(params=["CT", "MR", "US"])
def scan(request: pytest.FixtureRequest) -> tuple[Item, Pixels]:
    """A textured slice with a padded corner; US: 8 bits and colour."""
    of = item(request.param, 8 if request.param == "US" else 16, 3 if request.param == "US" else 1)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    texture = 60 * np.sin(9 * x) * np.cos(7 * y) + np.random.default_rng(0).normal(
        0, 3, (of.series.channels, SIDE, SIDE)
    )
    image = of.scale.normalise((texture + (20 if request.param == "CT" else 120)).astype(np.float32))
    image[:, :90, :70] = np.nan
    return of, image


@pytest.mark.parametrize("part", KINDS, ids=NAMES)
def test_the_same_state_gives_the_same_patch_and_padding_stays(
    part: Corruption, scan: tuple[Item, Pixels], tmp_path: Path
) -> None:
    of, image = scan
    corruptor = Corruptor([part], tmp_path)
    corruptor.learn(image, of)
    patch = image[:, 70:134, 50:114]
    outs = [corruptor.apply(patch, of, 0, (70, 50), np.random.default_rng(seed))[0] for seed in (3, 3, 4)]
    assert outs[0].dtype == np.float32 and outs[0].shape == patch.shape
    assert np.array_equal(np.isnan(outs[0]), np.isnan(patch))
    assert np.array_equal(outs[0], outs[1], equal_nan=True)
    assert not np.array_equal(outs[0], outs[2], equal_nan=True)
    assert not np.array_equal(outs[0], patch, equal_nan=True)


# Photon counts take as many random numbers as they need: beside fewer pixels, others are drawn.
@pytest.mark.parametrize("part", [part for part in KINDS if not isinstance(part, parts.PoissonGaussian)])
def test_what_lies_under_padding_reaches_nothing(part: Corruption, scan: tuple[Item, Pixels], tmp_path: Path) -> None:
    of, image = scan
    # Close to a border only what is there counts: values of a patch do not change when more of it becomes padding,
    # but for the kinds that look around, and they only near it.
    corruptor = Corruptor([part], tmp_path)
    corruptor.learn(image, of)
    patch = np.array(image[:, 90:154, 70:134])
    more = np.array(patch)
    more[:, :16] = np.nan
    rng = [np.random.default_rng(5) for _ in range(2)]
    whole, _ = corruptor.apply(patch, of, 0, (90, 70), rng[0])
    part_of, _ = corruptor.apply(more, of, 0, (90, 70), rng[1])
    near = {"blur": 0.06, "jpeg": 0.12, "jpeg2000": 0.25}
    span = np.nanmax(patch) - np.nanmin(patch)
    limit = near.get(part.kind, 1e-6) * span  # type: ignore[attr-defined]
    assert np.abs(whole - part_of)[:, 16:].mean() <= limit
    assert np.isfinite(part_of[:, 16:]).all()


@pytest.mark.parametrize("part", KINDS, ids=NAMES)
def test_strengths_are_drawn_from_the_range(part: Corruption) -> None:
    rng = np.random.default_rng(0)
    found = [draw(part, rng).strength for _ in range(500)]
    low, high = part.low, part.high  # type: ignore[attr-defined]
    assert low <= min(found) and max(found) <= high
    if high > low:
        assert min(found) < low + 0.05 * (high - low) and max(found) > high - 0.1 * (high - low)


def test_a_share_of_the_patches_stays_clean(tmp_path: Path) -> None:
    of = item()
    corruptor = Corruptor([parts.Gaussian(share=0.25)], tmp_path)
    image = flat(of, 300)[:, :8, :8]
    changed = [
        not np.array_equal(corruptor.apply(image, of, 0, (0, 0), np.random.default_rng(seed))[0], image)
        for seed in range(800)
    ]
    assert 0.2 < np.mean(changed) < 0.3


def test_a_patch_gets_one_corruption_of_several_by_their_shares(tmp_path: Path) -> None:
    of = item()
    several = [parts.Gaussian(low=1, high=1, share=0.3), parts.Gaussian(low=100, high=100, share=0.9)]
    corruptor = Corruptor(several, tmp_path, "one")
    image = flat(of, 300)[:, :16, :16]
    found = [
        (corruptor.apply(image, of, 0, (0, 0), np.random.default_rng(seed))[0] - image).std() * 255 / 0.8
        for seed in range(800)
    ]
    assert all(sd < 2 or sd > 80 for sd in found)  # never none, never both in the one that is weak
    assert np.mean(np.array(found) < 2) == pytest.approx(0.25, abs=0.04)


def test_one_of_several_is_one_that_the_modality_has(tmp_path: Path) -> None:
    several = [parts.LowDoseCT(), parts.Rician(low=25, high=25), parts.Gaussian(low=100, high=100, share=0.01)]
    corruptor = Corruptor(several, tmp_path, "one")

    def kinds(modality: str) -> set[int]:
        series = replace(item().series, modality=modality)
        drawn = [corruptor.draw(series, np.random.default_rng(seed)) for seed in range(600)]
        assert all(len(one) == 1 for one in drawn)
        return {one[0][0] for one in drawn}

    assert kinds("CT") == {0, 2}
    assert kinds("MR") == {1, 2}
    assert kinds("DX") == {2}
    assert kinds("OT") == {1, 2}  # may be MR; its values are not known to be HU
    # Where none fits, each may be drawn.
    corruptor = Corruptor(several[:1], tmp_path, "one")
    assert corruptor.draw(replace(item().series, modality="MR"), np.random.default_rng(0))[0][0] == 0


def test_scans_that_low_dose_does_not_fit_cost_no_projections(tmp_path: Path) -> None:
    several = [parts.LowDoseCT(low=0.1, high=0.1), parts.Gaussian(low=25, high=25)]
    corruptor = Corruptor(several, tmp_path, "one")
    mr, ct = item(), item("CT")
    image = flat(ct, 0)[:, :64, :64]
    for of in (mr, ct):
        corruptor.learn(image, of)
    fields = (tmp_path / "corruption0.bin").stat().st_size
    assert fields == 6 * 64 * 64  # of one slice
    noises = []
    for seed in range(40):
        noises.append(corruptor.apply(image, ct, 1, (0, 0), np.random.default_rng(seed))[1])
        assert corruptor.apply(image, mr, 0, (0, 0), np.random.default_rng(seed))[1] is not None
    assert None in noises and any(level is not None for level in noises)  # both kinds on CT


def test_the_level_of_white_noise_is_known_and_of_other_kinds_estimated(tmp_path: Path) -> None:
    of = replace(item(), level=0.03)
    image = flat(of, 300)
    rng = np.random.default_rng(0)
    _, level = Corruptor([parts.Gaussian(low=25, high=25)], tmp_path).apply(image, of, 0, (0, 0), rng)
    assert level == pytest.approx(np.hypot(0.03, 25 * 800 / 255 / 1000))
    _, level = Corruptor([parts.Gaussian(), parts.Speckle()], tmp_path).apply(image, of, 0, (0, 0), rng)
    assert level is None


# ---------------------------------------------------------------- each against its formula


def test_of_255_is_a_share_of_the_data_range_in_real_units() -> None:
    for of, expected in ((item("CT"), 25 * 400 / 255), (item("MR"), 25 * 800 / 255), (item("US", 8), 25.0)):
        noise = put(parts.Gaussian(), flat(of, 100), of, 25) - 100
        assert noise.std() == pytest.approx(expected, rel=0.02)
        assert abs(noise.mean()) < 0.03 * expected


def test_photon_noise_has_the_variance_of_its_counts() -> None:
    for of, zero, top in ((item("MR"), 0.0, 800.0), (item("CT"), -1000.0, 240.0)):
        for share in (0.1, 0.5, 1.0):
            value = zero + share * (top - zero)
            found = put(parts.PoissonGaussian(read_noise=0), flat(of, value), of, 50)
            counts = (found - zero) / (top - zero) * 50
            assert counts.mean() == pytest.approx(50 * share, rel=0.01)
            assert counts.var() == pytest.approx(50 * share, rel=0.03)
            assert np.allclose(counts, np.rint(counts), atol=0.01)


def test_read_out_noise_comes_on_top_of_photons() -> None:
    of = item("MR")
    found = put(parts.PoissonGaussian(read_noise=10), flat(of, 0.0), of, 50)
    assert found.std() == pytest.approx(10 * 800 / 255, rel=0.02)


@pytest.mark.parametrize("signal", [0.0, 40.0, 300.0])
def test_rician_noise_is_that_of_scipy(signal: float) -> None:
    of = item("MR")
    sd = 20 * 800 / 255
    found = put(parts.Rician(), flat(of, signal), of, 20)
    law = stats.rice(signal / sd, scale=sd)
    assert found.mean() == pytest.approx(law.mean(), rel=0.01)
    assert found.std() == pytest.approx(law.std(), rel=0.015)
    assert stats.kstest(found.ravel()[::13], law.cdf).pvalue > 1e-3


def test_rician_noise_is_that_of_monai() -> None:
    import torch
    from monai.transforms import RandRicianNoise

    of = item("MR")
    sd = 20 * 800 / 255
    theirs = RandRicianNoise(prob=1, std=sd, sample_std=False).set_random_state(0)(torch.full((1, SIDE, SIDE), 60.0))
    ours = put(parts.Rician(), flat(of, 60.0), of, 20)
    assert stats.ks_2samp(ours.ravel()[::7], np.asarray(theirs).ravel()[::7]).pvalue > 1e-3


@pytest.mark.parametrize("signal", [0.0, 200.0])
def test_several_coils_give_a_non_central_chi(signal: float) -> None:
    of = item("MR")
    sd = 20 * 800 / 255
    found = put(parts.Rician(coils=8), flat(of, signal), of, 20)
    law = stats.ncx2(16, (signal / sd) ** 2) if signal else stats.chi2(16)
    assert stats.kstest((found.ravel()[::13] / sd) ** 2, law.cdf).pvalue > 1e-3


def test_speckle_multiplies_keeps_the_mean_and_has_its_width() -> None:
    of = item("US", 8)
    for value in (50.0, 150.0):
        found = put(parts.Speckle(grain=0), flat(of, value), of, 0.3) / value
        assert found.mean() == pytest.approx(1, abs=0.01)
        assert found.std() == pytest.approx(0.3, rel=0.03)
        assert found.min() > 0
    grainy = np.log(put(parts.Speckle(grain=4), flat(of, 100.0), of, 0.3)[0])
    grainy -= grainy.mean()
    along = [float((grainy[:, : SIDE - k] * grainy[:, k:]).mean() / grainy.var()) for k in range(8)]
    half = float(np.interp(-0.5, [-c for c in along], range(8)))  # where the correlation is one half
    assert 2 * half == pytest.approx(4, rel=0.1)


def test_measured_noise_has_the_spectrum_it_was_given() -> None:
    of = item("MR")
    powers = (0.1, 0.6, 1.0, 0.5, 0.2, 0.1)
    part = parts.Measured(spectrum=" ".join(map(str, powers)))
    fields = np.stack([put(part, flat(of, 300), of, 20, seed)[0] - 300 for seed in range(40)])
    assert fields.std() == pytest.approx(20 * 800 / 255, rel=0.02)
    power = (np.abs(np.fft.fft2(fields)) ** 2).mean(axis=0)
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    for f in (0.05, 0.1, 0.2, 0.3, 0.45):
        ring = np.abs(radius - f) < 0.01
        ratio = power[ring].mean() / power[np.abs(radius - 0.2) < 0.01].mean()
        assert ratio == pytest.approx(np.interp(f, np.linspace(0, 0.5, 6), powers), rel=0.1)


def test_measured_noise_grows_with_the_signal_as_told() -> None:
    of = item("MR")
    sds = [put(parts.Measured(signal=0.5), flat(of, value), of, 20).std() for value in (0, 400, 800)]
    assert np.square(sds) / sds[1] ** 2 == pytest.approx([0.5, 1.0, 1.5], rel=0.05)  # 400: half of the range


def test_blur_is_a_gaussian_and_padding_has_no_weight() -> None:
    of = item("MR")
    point = flat(of, 0)
    point[0, 128, 128] = 1
    found, level = corrupt(parts.Blur(), point, Patch(of), Drawn(2.0, 0))
    y, x = np.mgrid[:SIDE, :SIDE] - 128
    expected = np.exp(-(x**2 + y**2) / 8) / (8 * np.pi)
    assert np.abs(found[0] - expected).max() < 1e-4 and level is None
    padded = flat(of, 500)
    padded[0, :100] = np.nan
    blurred = put(parts.Blur(), padded, of, 3.0)
    assert np.allclose(blurred[0, 100:], 500, atol=0.01)


def test_stripes_are_whole_lines_of_one_shift() -> None:
    of = item("MR")
    rows = put(parts.Stripes(along="rows"), flat(of, 300), of, 20)[0] - 300
    assert np.abs(rows - rows[:, :1]).max() < 0.01
    assert rows[:, 0].std() == pytest.approx(20 * 800 / 255, rel=0.15)
    columns = put(parts.Stripes(along="columns"), flat(of, 300), of, 20)[0]
    assert np.abs(columns - columns[:1]).max() < 0.01


def test_jpeg_is_the_round_trip_of_pillow() -> None:
    of = item("US", 8, 3)
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.stack([(x + y) % 256, x, 255 - y], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=30, subsampling=0)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue()))).astype(np.float32)
    image = of.scale.normalise(np.moveaxis(picture, -1, 0).astype(np.float32))
    found = put(parts.JPEG(), image, of, 30)
    assert np.abs(np.moveaxis(found, 0, -1) - expected).max() < 0.01


def test_jpeg_blocks_lie_as_in_the_whole_slice() -> None:
    of = item("US", 8)
    texture = np.random.default_rng(0).integers(0, 255, (1, SIDE, SIDE)).astype(np.float32)
    image = of.scale.normalise(texture)
    whole = put(parts.JPEG(), image, of, 30)
    found, _ = corrupt(parts.JPEG(), image[:, 43:107, 21:85], Patch(of, 0, (43, 21)), Drawn(30, 0))
    # Blocks that the patch holds wholly are the same.
    assert np.allclose(of.scale.restore(found)[:, 5:61, 3:59], whole[:, 48:104, 24:80], atol=0.01)


@pytest.mark.parametrize("part", [parts.JPEG(), parts.JPEG2000()], ids=["jpeg", "jpeg2000"])
def test_values_outside_the_range_stay_when_compressed(part: Corruption, tmp_path: Path) -> None:
    of = item("CT")
    values = np.random.default_rng(0).uniform(-1000, 1000, (1, SIDE, SIDE)).astype(np.float32)
    image = of.scale.normalise(values)
    learned = learner(part, tmp_path / "x")
    if learned is not None:
        learned.learn(image, of)
    found, _ = corrupt(part, image, Patch(of, 0, (0, 0), learned), Drawn(20, 0))
    outside = (values < -160) | (values > 240)
    assert np.array_equal(found[outside], image[outside])
    assert np.abs(found - image)[~outside].mean() > 0.001


def test_impulses_take_their_share_and_both_ends() -> None:
    of = item("US", 8, 3)
    found = put(parts.Impulse(), flat(of, 100, 3), of, 0.1)
    hit = found[0] != 100
    assert hit.mean() == pytest.approx(0.1, rel=0.05)
    assert set(np.unique(found.round())) == {0.0, 100.0, 255.0}
    assert (found[0][hit] > 200).mean() == pytest.approx(0.5, abs=0.03)
    assert np.array_equal(found[0], found[2])


def test_missing_pixels_and_lines_take_their_share() -> None:
    of = item("CT")
    found = put(parts.Missing(rows=0), flat(of, 40), of, 0.03)
    assert (np.abs(found + 1000) < 0.1).mean() == pytest.approx(0.03, rel=0.05)
    lines = [(np.abs(put(parts.Missing(rows=0.2), flat(of, 40), of, 0.0, seed) + 1000) < 0.1)[0] for seed in range(60)]
    shares = [line.all(axis=1).mean() for line in lines]
    assert max(shares) < 0.3 and np.mean(shares) == pytest.approx(0.1, rel=0.25)


# ---------------------------------------------------------------- on real scans


def test_jpeg2000_leaves_in_a_patch_what_it_leaves_there_in_the_whole_slice(
    read_slice: Callable[..., tuple[Item, Pixels]], tmp_path: Path
) -> None:
    of, image = read_slice("mr_t1_studyforrest/N2D_0190.dcm")
    part = parts.JPEG2000(low=10, high=40)
    learned = learner(part, tmp_path / "x")
    assert learned is not None
    learned.learn(image, of)
    top = 65535
    stored = np.rint(np.clip(image[0] * of.scale.span / of.range.value, 0, 1) * top).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG2000", quality_mode="rates", quality_layers=[20], irreversible=True)
    whole = np.asarray(Image.open(io.BytesIO(file.getvalue()))).astype(np.float64) / top
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for _ in range(12):
        y, x = int(rng.integers(60, 200)), int(rng.integers(40, 150))
        window = np.s_[y : y + 64, x : x + 64]
        patch = image[:, window[0], window[1]]
        found, _ = corrupt(part, patch, Patch(of, 0, (y, x), learned), Drawn(20.0, 0))
        ours.append(np.mean(((found - patch)[0] * of.scale.span / of.range.value) ** 2))
        theirs.append(np.mean((whole[window] - stored[window] / top) ** 2))
    assert np.sqrt(np.mean(ours)) == pytest.approx(np.sqrt(np.mean(theirs)), rel=0.1)


@pytest.mark.parametrize("part", KINDS, ids=NAMES)
def test_a_few_steps_on_a_real_slice_learn_to_undo_it(
    part: Corruption, read_slice: Callable[..., tuple[Item, Pixels]], tmp_path: Path
) -> None:
    import torch

    file = "ct_abdomen_j2k/CT.1.3.12.2.1107.5.1.4.60064.30000022120808113428000016580"
    of, image = read_slice(file if part.kind == "ct_dose" else "mr_brain_papaya/brain_010.dcm")  # type: ignore[attr-defined]
    corruptor = Corruptor([part], tmp_path)
    corruptor.learn(image, of)
    torch.manual_seed(0)
    # All it does is smooth, add or take away: enough to be better than doing nothing for most kinds.
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 1, 5, padding=2)
    )
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(60):
        clean, noisy = [], []
        for _ in range(4):
            y, x = (int(rng.integers(40, side - 104)) for side in image.shape[1:])
            patch = image[:, y : y + 64, x : x + 64]
            clean.append(patch)
            noisy.append(corruptor.apply(patch, of, 0, (y, x), rng)[0])
        a, b = (torch.from_numpy(np.nan_to_num(np.stack(v))) for v in (noisy, clean))
        loss = torch.mean((a + net(a) - b) ** 2)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-15:]) < 0.9 * np.mean(losses[:15])


def test_noise_added_to_a_real_slice_is_measured_again(read_slice: Callable[..., tuple[Item, Pixels]]) -> None:
    of, image = read_slice("ct_chest_tcia/A062055")
    inside = np.isfinite(image[0])
    own = estimate_noise(np.nan_to_num(image[0]), inside)
    found, sd = corrupt(parts.Gaussian(), image, Patch(of), Drawn(25.0, 0))
    assert sd == pytest.approx(25 * 400 / 255 / of.scale.span)
    assert estimate_noise(np.nan_to_num(found[0]), inside) == pytest.approx(np.hypot(own, sd or 0), rel=0.1)
