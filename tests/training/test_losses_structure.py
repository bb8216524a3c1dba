"""Terms of structure agree with scikit-image, MONAI, numpy and the app's own measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import Tensor

from aegui import measure
from aegui.imaging import WINDOWS
from aegui.measure.nps import noise_power
from aegui.recipes.losses import SSIM, Edges, Fourier, LossTerm, MultiScaleSSIM, Perceptual
from aegui.training.losses import Context, build_term
from aegui.training.losses.structure import C1, SCALES, fitting, radial_power
from tests.training.looks import CPU, image, real_ct, seen, start, term, value

OUTPUT, TARGET = image(noise=0.08, seed=1), image()


def planes(images: Tensor) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [plane.double().numpy() for plane in images.flatten(0, 1)]


def by_skimage(output: Tensor, target: Tensor) -> float:
    return float(
        np.mean(
            [
                structural_similarity(
                    a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11
                )
                for a, b in zip(planes(output), planes(target), strict=True)
            ]
        )
    )


def test_ssim_equals_scikit_image_and_the_measured_score() -> None:
    got = 1 - value(SSIM(), OUTPUT, TARGET)
    assert got == pytest.approx(by_skimage(OUTPUT, TARGET), abs=1e-5)
    pairs = zip(planes(OUTPUT), planes(TARGET), strict=True)
    assert got == pytest.approx(np.mean([measure.ssim(a, b, 1) for a, b in pairs]), abs=1e-5)


def test_ssim_of_real_ct_in_a_window_is_the_score_of_the_picture_it_shows(shared: Path) -> None:
    target = real_ct(shared)
    output = target + 0.05 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    width, level = WINDOWS["Mediastinum"]
    pairs = zip(planes(400 * output - (level - width / 2)), planes(400 * target - (level - width / 2)), strict=True)
    expected = np.mean([measure.ssim(a, b, width, clip=(0, width)) for a, b in pairs])
    got = 1 - float(term(SSIM(window="mediastinum"))(seen(output, target, scale=(0.0, 400.0))))
    assert got == pytest.approx(expected, abs=1e-4)
    # Also where values are far from 0, as air is.
    assert 1 - value(SSIM(), output, target) == pytest.approx(by_skimage(output, target), abs=1e-5)


@pytest.mark.parametrize("scales", [2, 3, 5])
def test_ms_ssim_equals_a_product_of_scikit_image_s_maps(scales: int) -> None:
    side = 180 if scales == 5 else 64
    output, target = image(1, side, noise=0.08, seed=1), image(1, side)
    a, b = planes(output)[0], planes(target)[0]
    expected = 1.0
    for number, weight in enumerate(np.asarray(SCALES[:scales]) / sum(SCALES[:scales])):
        whole = structural_similarity(
            a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )[1]
        if number < scales - 1:
            mean = [gaussian_filter(v, 1.5, truncate=3.5) for v in (a, b)]
            whole = whole / ((2 * mean[0] * mean[1] + C1) / (mean[0] ** 2 + mean[1] ** 2 + C1))
        expected *= whole[5:-5, 5:-5].mean() ** weight
        height = -(-a.shape[0] // 2)
        padded = [np.pad(v, ((0, 2 * height - len(v)),) * 2, constant_values=np.nan) for v in (a, b)]
        a, b = (np.nanmean(v.reshape(height, 2, height, 2), axis=(1, 3)) for v in padded)
    assert 1 - value(MultiScaleSSIM(scales=scales), output, target) == pytest.approx(expected, abs=1e-4)


def test_ms_ssim_equals_monai_s_metric_with_the_same_exponents() -> None:
    output, target = image(2, 64, noise=0.08, seed=1), image(2, 64)
    weights = [weight / sum(SCALES[:3]) for weight in SCALES[:3]]
    expected = MultiScaleSSIMMetric(2, weights=weights)(output, target).mean()
    assert 1 - value(MultiScaleSSIM(scales=3), output, target) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("scales", [2, 3, 4, 5])
def test_the_smallest_patch_of_ms_ssim_fits_all_its_scales_and_one_less_does_not(scales: int) -> None:
    part = MultiScaleSSIM(scales=scales)
    assert fitting(part.smallest, scales) == scales and fitting(part.smallest - 1, scales) == scales - 1
    for side in (part.smallest, part.smallest - 1, 16):
        assert 0 < value(part, image(1, side, noise=0.1), image(1, side)) < 1


def test_pictures_of_opposite_contrast_have_no_similarity_but_a_slope() -> None:
    output = (1 - image(1, 64)).requires_grad_()
    loss = term(MultiScaleSSIM())(seen(output, image(1, 64)))
    loss.backward()
    assert 0.9 < loss.item() <= 1
    assert bool(torch.isfinite(output.grad).all())


def test_edges_are_the_mean_squared_difference_of_the_slopes() -> None:
    a, b = OUTPUT.double().numpy(), TARGET.double().numpy()
    expected = sum(np.mean((np.diff(a, axis=axis) - np.diff(b, axis=axis)) ** 2) for axis in (2, 3))
    assert value(Edges(), OUTPUT, TARGET) == pytest.approx(expected, rel=1e-5)
    assert value(Edges(), TARGET + 0.3, TARGET) == pytest.approx(0, abs=1e-6)  # brightness is no edge


def test_the_spectrum_s_amplitudes_equal_numpy_s() -> None:
    a, b = (np.abs(np.fft.fft2(v.double().numpy())) / 48 for v in (OUTPUT, TARGET))
    assert value(Fourier(), OUTPUT, TARGET) == pytest.approx(np.mean(abs(a - b)), rel=1e-4)


@pytest.mark.parametrize("shape", [(48, 48), (33, 50), (16, 16)])
def test_the_radial_power_equals_the_measured_noise_power_spectrum(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    _, expected = noise_power([noise], (1.0, 1.0), order=0).radial()
    got = radial_power(torch.from_numpy(noise)[None, None])[0].numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_the_radial_spectrum_is_that_of_the_same_grain_whatever_the_pixels() -> None:
    noise = image(2, 64, noise=0.1, seed=3) - image(2, 64)
    other = torch.flip(noise, (2,)).roll(7, 3)  # other pixels, same spectrum over directions
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    part = Fourier(compare="radial")
    assert value(part, other, noise) == pytest.approx(0, abs=1e-4)
    assert value(part, smooth, noise) > 1


@pytest.mark.parametrize("model", ["general-small", "classic-small", "monai-autoencoder", "monai-autoencoder-kl"])
def test_features_differ_more_the_more_the_pictures_do(model: str) -> None:
    clean = image()
    values = [value(Perceptual(), image(noise=sd), clean, model=model) for sd in (0.0, 0.02, 0.1)]
    assert values[0] == 0 and 0 < values[1] < values[2]


def test_features_are_those_of_the_encoder_at_every_scale() -> None:
    net = start("classic-small")
    first = torch.relu(net.net.encoder[0](TARGET))
    second = torch.relu(net.net.encoder[2](first))
    for got, expected in zip(net.pyramid(TARGET), (first, second), strict=True):
        torch.testing.assert_close(got, expected)
    net = start("general-small")
    torch.testing.assert_close(net.pyramid(TARGET)[-1], net.outputs(TARGET).latent)


def test_the_frozen_encoder_does_not_learn_and_its_slope_reaches_the_picture() -> None:
    net = start("general-small")
    output = OUTPUT.clone().requires_grad_()
    build_term(Perceptual(), Context(net, CPU))(seen(output, TARGET)).backward()
    assert output.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in net.parameters())


ALL: list[LossTerm] = [SSIM(), MultiScaleSSIM(), Edges(), Fourier(), Fourier(compare="radial"), Perceptual()]


@pytest.mark.parametrize("part", ALL, ids=lambda part: f"{part.name}-{getattr(part, 'compare', '')}")
@pytest.mark.parametrize("side", [8, 16, 45])
@pytest.mark.parametrize("level", [0.0, 0.7, -2.5])
def test_flat_and_tiny_pictures_give_numbers_with_finite_slopes(part: LossTerm, side: int, level: float) -> None:
    flat = torch.full((2, 1, side, side), level)
    for output in (flat.clone(), flat + 0.1 * torch.rand(flat.shape, generator=torch.Generator().manual_seed(0))):
        output.requires_grad_()
        loss = term(part, "general-small")(seen(output, flat))
        assert bool(torch.isfinite(loss))
        if loss.requires_grad:
            loss.backward()
            assert bool(torch.isfinite(output.grad).all())


def test_a_spectrum_first_seen_while_validating_can_still_be_learnt_from() -> None:
    with torch.inference_mode():
        radial_power(torch.rand(1, 1, 23, 19))
    image = torch.rand(1, 1, 23, 19, requires_grad=True)
    radial_power(image).sum().backward()
    assert image.grad is not None and bool((image.grad != 0).any())
