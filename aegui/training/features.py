"""What a classifying recipe has learnt to tell apart: its latent space on two axes, and how well it names classes."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import torch

from aegui.data.dataset import TrainingData
from aegui.data.draw import shown
from aegui.events import Event, Features, Progress
from aegui.measure import auc as measure_auc
from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.training.validation import run_case, softmax

Numbers = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

# Training slices that are looked at besides, whole ones: as many as have this many pixels together, within limits.
TRAIN_PIXELS = 4 * 256 * 256
TRAIN_SLICES = (2, 24)
UMAP_LEAST = 12  # points; fewer have no neighbourhoods to speak of


class Gathered:
    """Pooled latents (F,), logits (classes,) and labels of the slices that were shown to it."""

    def __init__(self) -> None:
        self.latents: list[Numbers] = []
        self.logits: list[Numbers | None] = []
        self.labels: list[int] = []

    def add(self, found: Outputs, label: int) -> None:
        """One slice; label −1: not known."""
        self.latents.append(found.latent[0].detach().float().mean(dim=(-2, -1)).cpu().numpy())
        self.logits.append(None if found.logits is None else found.logits[0].detach().float().cpu().numpy())
        self.labels.append(label)


class FeatureSpace:
    """The picture of the latent space, epoch after epoch, turned so that its points move no more than they must."""

    def __init__(self, net: SliceNet, data: TrainingData, recipe: Recipe, device: torch.device) -> None:
        self._net, self._data, self._recipe, self._device = net, data, recipe, device
        self._before: Numbers | None = None
        known = [i for i in data.split.train if data.items[i].label >= 0]
        least, most = TRAIN_SLICES
        area = max((int(np.prod(data.noisy[i].shape[1:])) for i in known), default=1)
        count = min(len(known), max(least, min(most, TRAIN_PIXELS // area)))
        self._members = [known[round(i)] for i in np.linspace(0, len(known) - 1, count)] if known else []

    def at(self, epoch: int, validation: Gathered) -> Generator[Event, None, Features]:
        """The event of an epoch. validation: what `validate` gathered. The network's mode is left as it was."""
        own = Gathered()
        training = self._net.training
        self._net.eval()
        try:
            for number, member in enumerate(self._members):
                yield Progress(number, len(self._members), "Looking at features")
                whole = shown(self._data, self._recipe, member)
                own.add(run_case(self._net, whole, self._device)[1], whole.item.label)
        finally:
            self._net.train(training)
        held = [i for i, label in enumerate(validation.labels) if label >= 0]
        latents = [validation.latents[i] for i in held] + own.latents
        labels = np.asarray([validation.labels[i] for i in held] + own.labels, dtype=np.int64)
        points, method = flattened(np.stack(latents) if latents else np.zeros((0, 1), np.float32))
        if self._before is not None and self._before.shape == points.shape:
            points = turned(points, self._before)
        self._before = points
        confusion, accuracy, auc = np.zeros((0, 0), np.int64), None, None
        named = [logits for i in held if (logits := validation.logits[i]) is not None]
        if self._recipe.classifies and named:
            logits, true = np.stack(named), labels[: len(held)]
            confusion = confusion_matrix(true, logits.argmax(axis=1), len(self._data.classes))
            accuracy, auc = float(np.trace(confusion) / confusion.sum()), measure_auc(softmax(logits), true)
        return Features(
            epoch,
            points,
            labels,
            self._data.classes,
            confusion,
            accuracy,
            auc,
            method,
            np.arange(len(labels)) < len(held),
        )


def confusion_matrix(true: Labels, found: Labels, classes: int) -> Labels:
    """Counts, (true class, class found)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (true, found), 1)
    return counts


def flattened(latents: Numbers) -> tuple[Numbers, str]:
    """(n, features) on two axes, and by which method: UMAP where it is installed, else PCA."""
    if len(latents) >= UMAP_LEAST and importlib.util.find_spec("umap") is not None:
        return _umap(latents), "UMAP"
    return principal(latents), "PCA"


def principal(latents: Numbers) -> Numbers:
    """The two principal components, (n, 2); each axis points where its largest loading is positive."""
    if not len(latents):
        return np.zeros((0, 2), np.float32)
    centred = latents.astype(np.float64) - latents.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    points = centred @ (axes * np.where(signs == 0, 1, signs)[:, None]).T
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1]))).astype(np.float32)


def _umap(latents: Numbers) -> Numbers:
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fixed seed works on one thread
        found = UMAP(n_neighbors=min(15, len(latents) - 1), random_state=0).fit_transform(latents)
    return np.asarray(found, dtype=np.float32)


def turned(points: Numbers, towards: Numbers) -> Numbers:
    """Points rotated or mirrored about their centre to lie as near as they can to others (orthogonal Procrustes)."""
    middle = points.mean(axis=0)
    left, _, right = np.linalg.svd((points - middle).T.astype(np.float64) @ (towards - towards.mean(axis=0)))
    return np.asarray((points - middle) @ (left @ right) + middle, dtype=np.float32)
