"""The figures are what the textbooks say."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aegui.measure import CT_WINDOW, estimate_noise, psnr, rmse, signal_range, ssim, together


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:90, :110] / 50
    clean = 100 * np.sin(3 * x) * np.cos(2 * y)
    return clean, clean + rng.normal(0, 12, clean.shape)


def test_psnr_is_the_reference_implementation(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    assert psnr(noisy, clean, 400) == pytest.approx(peak_signal_noise_ratio(clean, noisy, data_range=400))


def test_ssim_does_not_ask_what_lies_in_the_padding(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    mask = np.zeros(clean.shape, bool)
    mask[:40] = True
    padded = np.where(mask, noisy, -2000)
    assert ssim(padded, clean, 400, mask) == ssim(noisy, clean, 400, mask)


def test_psnr_counts_the_mask_only(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    mask = np.zeros(clean.shape, bool)
    mask[:40] = True
    broken = noisy.copy()
    broken[40:] = 1e6
    assert psnr(broken, clean, 400, mask) == pytest.approx(psnr(noisy[:40], clean[:40], 400))


def test_ssim_is_the_reference_implementation(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    expected = structural_similarity(
        clean, noisy, data_range=400, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(noisy, clean, 400) == pytest.approx(expected, abs=1e-6)


def test_ssim_in_a_window_ignores_what_is_outside_it(images: tuple[np.ndarray, np.ndarray]) -> None:
    clean, noisy = images
    assert ssim(noisy + 5000, clean + 4000, 400, clip=CT_WINDOW) == pytest.approx(1.0)


@pytest.mark.parametrize("sd", [2.0, 15.0, 60.0])
def test_white_noise_is_estimated_within_five_percent(sd: float) -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:256, :256] / 256
    image = 200 * (x > 0.4) + 100 * y + rng.normal(0, sd, (256, 256))
    assert estimate_noise(image) == pytest.approx(sd, rel=0.05)


def test_padding_does_not_count_as_noise_free() -> None:
    rng = np.random.default_rng(3)
    image = np.full((200, 200), -2048.0)
    mask = np.zeros(image.shape, bool)
    mask[60:140, 60:140] = True
    image[mask] = rng.normal(0, 20, mask.sum())
    assert estimate_noise(image, mask) == pytest.approx(20, rel=0.1)


def test_a_constant_image_has_no_noise() -> None:
    assert estimate_noise(np.full((64, 64), 7.0)) == 0


def test_ranges_are_those_of_the_architecture_page() -> None:
    ramp = np.arange(1000.0).reshape(20, 50)
    assert signal_range("CT", 16, []).value == 400
    assert signal_range("MR", 8, [ramp]).value == 255
    assert signal_range("MR", 16, [ramp]).value == pytest.approx(np.percentile(ramp[ramp > ramp.mean()], 99.5))


def test_rmse_of_an_offset_is_the_offset() -> None:
    assert rmse(np.zeros((8, 8)) + 3, np.zeros((8, 8))) == 3


def test_ranges_of_several_series_are_said_together() -> None:
    ct, of_two = "R = 400 HU", ["R = 1597 (99.5th percentile)", "R = 160.2 (99.5th percentile)"]
    assert together([ct, ct]) == ct
    assert together(of_two) == "R = 160.2 to 1597 (99.5th percentile)"
    assert together([ct, *of_two, "R = 255"]) == "R = 400 HU and R = 160.2 to 1597 (99.5th percentile) and R = 255"
    windows = ["SSIM on −160 … 240 HU", *(f"SSIM, {one}" for one in of_two)]
    assert together(windows) == "SSIM on −160 … 240 HU and SSIM, R = 160.2 to 1597 (99.5th percentile)"
