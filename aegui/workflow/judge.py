"""Judging a model against clean scans, and handing it to other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aegui import imaging
from aegui.data.pairs import Pair
from aegui.errors import UserError
from aegui.events import Done, Events, Progress
from aegui.imaging import Pixels

FORMATS = ("onnx", "pt2", "torchscript", "safetensors", "monai", "adapter")


@dataclass(frozen=True)
class Evaluation:
    """Means over all slices, of the input and of the output against the clean series.

    psnr_range, ssim_window: of all pairs that were judged.
    """

    model: str
    slices: int
    input: Mapping[str, float]
    output: Mapping[str, float]
    psnr_range: str
    ssim_window: str
    pairs: tuple[str, ...]


def evaluate(model: str, pairs: Sequence[Pair], device: str = "auto", noise_level: float | None = None) -> Events:
    """PSNR (dB), SSIM, RMSE and bias (scan's unit), per slice in the valid mask, then the mean. Done(Evaluation)."""
    from aegui.inference.denoiser import Denoiser
    from aegui.measure import bias, psnr, rmse, signal_range, ssim, ssim_window, together
    from aegui.models.intensity import sample
    from aegui.models.zoo import load_trained
    from aegui.training.step import choose_device

    loaded = load_trained(model)
    total = sum(len(pair.slices) for pair in pairs)
    rows: dict[str, list[tuple[float, float, float, float]]] = {"input": [], "output": []}
    names: list[str] = []
    differs: list[bool] = []
    ranges: list[str] = []
    windows: list[str] = []
    for pair in pairs:
        noisy, clean = imaging.open_series(pair.noisy), imaging.open_series(pair.clean)
        try:
            denoiser = Denoiser(loaded, noisy, choose_device(device))
            data_range = signal_range(
                pair.clean.modality, pair.clean.bits, (_grey(clean.read(i)) for i in sample(clean))
            )
            clip, ssim_range, window = ssim_window(pair.clean.modality, data_range)
            for i, j in pair.slices:
                yield Progress(len(rows["input"]), total, "Evaluating")
                reference, mask = _grey(clean.read(j)), clean.valid(j)
                mask = mask & noisy.valid(i)
                seen = noisy.read(i)
                if not mask.any():
                    continue
                differs.append(bool((_grey(seen) != reference)[mask].any()))
                ranges.append(data_range.name)
                windows.append(window)
                for name, pixels in (("input", seen), ("output", denoiser.slice(i, 1.0, noise_level).pixels)):
                    image = _grey(pixels)
                    rows[name].append(
                        (
                            psnr(image, reference, data_range.value, mask),
                            ssim(image, reference, ssim_range, mask, clip),
                            rmse(image, reference, mask),
                            bias(image, reference, mask),
                        )
                    )
            names.append(f"{pair.noisy.description} → {pair.clean.description} ({pair.method})")
        finally:
            noisy.close()
            clean.close()
    if not differs:
        raise UserError("No slice has pixels in both scans of a pair.", "Choose pairs that show the same place.")
    # One slice without error would make every mean infinite.
    kept = np.flatnonzero(differs) if any(differs) else np.arange(len(differs))
    means = {
        name: dict(zip(("psnr", "ssim", "rmse", "bias"), np.asarray(values)[kept].mean(axis=0).tolist(), strict=True))
        for name, values in rows.items()
    }
    said = together(ranges[k] for k in kept), together(windows[k] for k in kept)
    yield Done(Evaluation(model, len(kept), means["input"], means["output"], *said, tuple(names)))


def _grey(pixels: Pixels) -> Pixels:
    return pixels.mean(axis=-1) if pixels.ndim == 3 else pixels


def export(model: str, format: str, output: Path) -> Events:
    """Write a model for other programs and verify the file. Done(ExportResult)."""
    from aegui.inference.export import export as write
    from aegui.models.zoo import load_trained

    yield Progress(0, None, "Loading the model")
    yield from write(load_trained(model), format, output)
