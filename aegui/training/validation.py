"""Validation: every slice whole, scored in real units against what the run must beat."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from aegui.classical import QUICK, Filter, Tuned, tune
from aegui.data.dataset import TrainingData
from aegui.data.draw import Case, case, cases, validation_members
from aegui.errors import UserError
from aegui.events import Event, Progress
from aegui.imaging import Pixels
from aegui.imaging.filling import filled, filled_together
from aegui.measure import auc, psnr, ssim, ssim_window, together
from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.training.losses import Seen, pooled
from aegui.training.objective import Objective

T = TypeVar("T")

TUNING_SLICES = 4
TUNING_SIDE = 192
DOUBT = 2.0  # times the noise; correlated noise is estimated too low, by 1.6 times in CT with a sharp kernel


@dataclass(frozen=True)
class Scores:
    """Means over the validation slices. terms: unweighted losses with the "loss" total."""

    psnr: float
    ssim: float
    terms: dict[str, float]
    accuracy: float | None = None
    auc: float | None = None


def held(x: Pixels, c: Case) -> Pixels:
    """Normalised values inside the limits, padding like what surrounds it."""
    return filled(np.clip(x, *c.item.scale.bounds).astype(np.float32), np.asarray(np.isfinite(x).all(axis=0)))


def run_case(net: SliceNet, c: Case, device: torch.device) -> tuple[Pixels, Outputs]:
    """The denoised slice (channels, H, W), normalised, voxels outside the limits as they were; and all outputs."""
    slices = np.split(c.noisy, len(c.noisy) // len(c.clean))
    x = filled_together(slices, [c.item.scale.takes(one) for one in slices])
    with torch.inference_mode():
        found = net.outputs(
            torch.from_numpy(x[None]).to(device), torch.tensor([c.level], dtype=torch.float32, device=device)
        )
        result = found.image[0].float().cpu().numpy()
    return np.where(c.item.scale.takes(c.slice), result, c.slice).astype(np.float32), found


def score(c: Case, output: Pixels) -> tuple[float, float]:
    """(PSNR, SSIM) of a normalised output against the case's reference, in real units.

    Where pixels are hidden, PSNR is taken at them, and SSIM of the reference with only them from the output.
    """
    mask = np.asarray(np.isfinite(c.clean).all(axis=0))
    restored = np.nan_to_num(c.item.scale.restore(output)).mean(axis=0)
    reference = np.nan_to_num(c.item.scale.restore(c.clean)).mean(axis=0)
    if c.mask is not None:
        restored = np.where(c.mask, restored, reference)
    clip, ssim_range, _ = ssim_window(c.item.series.modality, c.item.range)
    return (
        psnr(restored, reference, c.item.range.value, mask if c.mask is None else mask & c.mask),
        ssim(restored, reference, ssim_range, mask, clip),
    )


def score_ranges(data: TrainingData, recipe: Recipe) -> tuple[str, str]:
    """Against what PSNR and SSIM of the validation slices are taken, in words."""
    items = [data.items[member] for member in validation_members(data, recipe)]
    windows = [ssim_window(item.series.modality, item.range)[2] for item in items]
    return together(item.range.name for item in items), together(windows)


def blank(c: Case) -> bool:
    """Whether its target is all padding: it has no error, which would make every mean NaN."""
    counted = np.isfinite(c.clean).all(axis=0)
    return not (counted if c.mask is None else counted & c.mask).any()


def spared(c: Case) -> bool:
    """Whether no corruption was drawn for it: its input has no error, which would make every mean infinite."""
    return np.array_equal(c.slice, c.clean, equal_nan=True)


def _mean(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    values = np.asarray(pairs or [(np.inf, 1.0)])
    return float(values[:, 0].mean()), float(values[:, 1].mean())


def validate(
    net: SliceNet,
    data: TrainingData,
    recipe: Recipe,
    objective: Objective,
    device: torch.device,
    epoch: float = 0.0,
    gather: Callable[[Outputs, int], None] | None = None,
) -> Generator[Event, None, Scores]:
    """Score the network on the validation slices. epoch: how many have passed.

    A term is the mean of its values of single slices; one that compares slices with each other is of all of them.
    gather: is given all that the network computes of each slice, and the slice's label.
    """
    members = validation_members(data, recipe)
    results: list[tuple[float, float]] = []
    terms: dict[str, list[float]] = {"loss": [], **{name: [] for name in objective.names}}
    latents: list[torch.Tensor] = []
    given: list[int] = []  # labels, −1 unknown
    logits: list[Pixels] = []
    labels: list[int] = []
    training = net.training
    net.eval()
    try:
        for number, member in enumerate(members):
            yield Progress(number, len(members), "Validating")
            for c in cases(data, recipe, member):
                if blank(c):
                    continue
                output, found = run_case(net, c, device)
                if not spared(c):
                    results.append(score(c, output))
                loss, values = _loss(objective, c, output, found, device, epoch)
                terms["loss"].append(loss)
                for name, value in values.items():
                    terms[name].append(value)
                latents.append(pooled(found))
                given.append(c.item.label)
                if gather is not None:
                    gather(found, c.item.label)
                if found.logits is not None and c.item.label >= 0:
                    logits.append(found.logits[0].float().cpu().numpy())
                    labels.append(c.item.label)
    finally:
        net.train(training)
    if not terms["loss"]:
        raise UserError(
            "None of the validation slices has a clean pixel to be judged by.",
            "Choose clean scans that cover the noisy ones, leave empty slices out, or validate on more of them.",
        )
    mean_psnr, mean_ssim = _mean(results)
    means = {name: float(np.mean(values)) for name, values in terms.items()}
    # Of one slice they were 0.
    total, values = objective.among(torch.cat(latents), torch.tensor(given, device=device), epoch)
    return Scores(
        mean_psnr,
        mean_ssim,
        means | values | {"loss": means["loss"] + total},
        *_classified(logits, labels),
    )


def _classified(logits: list[Pixels], labels: list[int]) -> tuple[float | None, float | None]:
    """(accuracy, AUC), None where they cannot be told."""
    if not labels:
        return None, None
    found, true = np.stack(logits), np.asarray(labels)
    return float((found.argmax(axis=1) == true).mean()), auc(softmax(found), true)


def softmax(logits: Pixels) -> Pixels:
    """Rows that sum to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def _loss(
    objective: Objective, c: Case, output: Pixels, found: Outputs, device: torch.device, epoch: float
) -> tuple[float, dict[str, float]]:
    result, target, noisy = (torch.from_numpy(held(x, c)[None]).to(device) for x in (output, c.clean, c.slice))
    with torch.inference_mode():
        loss, values = objective(
            Seen(
                result,
                target,
                noisy,
                found,
                torch.tensor([c.item.label], device=device),
                torch.tensor([[c.item.scale.low, c.item.scale.span]], device=device),
                None if c.mask is None else torch.from_numpy(c.mask[None, None]).to(device),
            ),
            epoch,
        )
    return float(loss), values


def doubt(data: TrainingData, recipe: Recipe, reached: float) -> str:
    """A warning where hidden pixels cannot be guessed to within the noise. reached: PSNR at held-out pixels."""
    if not data.targets.guesses:
        return ""
    items = [data.items[member] for member in validation_members(data, recipe)]
    noise = [item.range.value / (item.level * item.scale.span) for item in items if item.level > 0]
    if not noise:
        return ""
    times = 10 ** ((float(np.mean(20 * np.log10(noise))) - reached) / 20)
    if times < DOUBT:
        return ""
    return (
        f"Hidden pixels are guessed {times:.1f} times worse than the noise: these scans have detail that a blind spot "
        "cannot guess, and the model will blur it."
    )


def score_filter(
    apply: Callable[[Pixels], Pixels] | None, data: TrainingData, recipe: Recipe, what: str
) -> Generator[Event, None, tuple[float, float]]:
    """Mean (PSNR, SSIM) of a classical filter, or of the input itself."""
    members = validation_members(data, recipe)
    results = []
    for number, member in enumerate(members):
        yield Progress(number, len(members), what)
        for c in cases(data, recipe, member):
            if blank(c) or spared(c):
                continue
            output = c.slice
            if apply is not None:
                output = np.stack([apply(np.nan_to_num(channel)) for channel in c.slice])
            results.append(score(c, output))
    return _mean(results)


def tune_classical(
    data: TrainingData, recipe: Recipe, filters: Sequence[Filter] = QUICK
) -> Generator[Event, None, list[Tuned]]:
    """Classical filters tuned on crops of training slices, best first, in normalised units."""
    train = data.split.train
    # Ends of volumes may hold nothing: any strength is perfect there.
    looked = [case(data, recipe, member) for member in _evenly(train, 3 * TUNING_SLICES)]
    pairs = []
    for c in _evenly([c for c in looked if not (blank(c) or spared(c))], TUNING_SLICES):
        height, width = c.clean.shape[1:]
        top, left = max(0, (height - TUNING_SIDE) // 2), max(0, (width - TUNING_SIDE) // 2)
        window = np.s_[0, top : top + TUNING_SIDE, left : left + TUNING_SIDE]
        noisy, clean = c.slice[window], c.clean[window]
        mask = np.isfinite(clean) if c.mask is None else np.isfinite(clean) & c.mask[window[1:]]
        pairs.append((np.nan_to_num(noisy), np.nan_to_num(clean), c.item.range.value / c.item.scale.span, mask))
    if not pairs:
        raise ValueError("no training slice differs from its target")
    return (yield from tune(pairs, filters))


def _evenly(items: Sequence[T], count: int) -> list[T]:
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(count, len(items)))]
