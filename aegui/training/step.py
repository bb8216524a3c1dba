"""One optimiser step, and the device it runs on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aegui.data.draw import Batch
from aegui.errors import UserError
from aegui.models.planes import middle
from aegui.models.seeded import seeded
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.training.consistency import extra_term
from aegui.training.losses import Seen
from aegui.training.mixup import Blend, blended
from aegui.training.objective import Objective
from aegui.training.stepping import take_step


class DivergenceError(UserError):
    """Training has left all numbers behind."""


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA graphics card here.", "Choose the device “auto” or “cpu”.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_label(device: torch.device) -> str:
    """For people: "CPU · 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU · {threads} thread{'s' if threads != 1 else ''}"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """bf16 autocast where asked for. Never yield inside it."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


@dataclass(frozen=True)
class StepResult:
    """loss: weighted total. terms: unweighted. grad_norm: before clipping. clipped: whether that changed anything."""

    loss: float
    terms: dict[str, float]
    grad_norm: float
    clipped: bool


@dataclass(frozen=True)
class OnDevice:
    """A batch as tensors; fields as in `Batch`."""

    noisy: Tensor
    clean: Tensor
    level: Tensor
    label: Tensor
    scale: Tensor
    mask: Tensor | None
    whole: Tensor | None
    picks: Tensor | None


def to_device(batch: Batch, device: torch.device, channels_last: bool = True) -> OnDevice:
    """The batch on the device."""
    tensors = {
        name: None if array is None else torch.from_numpy(array).to(device) for name, array in vars(batch).items()
    }
    if channels_last:
        tensors["noisy"] = tensors["noisy"].contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]
    return OnDevice(**tensors)  # type: ignore[arg-type]


class Forward:
    """A batch through network and objective, as often as asked, with the same random numbers each time."""

    def __init__(self, net: SliceNet, objective: Objective, recipe: Recipe, on: OnDevice, epoch: float) -> None:
        self._net, self._objective, self._recipe, self._epoch = net, objective, recipe, epoch
        alpha = recipe.regularisation.mixup
        self._blend: Blend | None = None
        if alpha:
            on, self._blend = blended(on, alpha)
        self.on = on
        self.seen: Seen | None = None

    def __call__(self) -> tuple[Tensor, dict[str, float]]:
        """(loss, unweighted value by term)."""
        on = self.on
        with autocast(on.noisy.device, self._recipe.run.precision):
            found = self._net.outputs(on.noisy, on.level)
        noisy = middle(on.noisy, on.clean.shape[1])
        self.seen = Seen(found.image.float(), on.clean, noisy, found, on.label, on.scale, on.mask)
        loss, terms = self._objective(self.seen, self._epoch)
        if self._blend is not None and self._recipe.needs_labels:
            # Of two images in one, both labels are right, each as much as its image is there.
            share = self._blend.share
            other, others = self._objective(replace(self.seen, labels=self._blend.labels), self._epoch)
            loss = share * loss + (1 - share) * other
            terms = {name: share * value + (1 - share) * others[name] for name, value in terms.items()}
        extra = extra_term(self._recipe, self._net, on, found)
        return (loss if extra is None else loss + extra), terms


def train_step(
    net: SliceNet,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    device: torch.device,
    recipe: Recipe,
    epoch: float = 0.0,
    *,
    more: Sequence[Batch] = (),
    seed: int | None = None,
) -> StepResult:
    """Forward, backward, clip, step. DivergenceError when the loss is no longer a number.

    epoch: how many have passed. more: batches whose gradients are added before the step. seed: of torch's own random
    numbers in this step; those outside it are left as they were.
    """
    cards = [device.index or 0] if device.type == "cuda" else []
    with contextlib.nullcontext() if seed is None else seeded(seed, cards):
        return _step(net, objective, optimiser, [batch, *more], device, recipe, epoch, seed)


def _step(
    net: SliceNet,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batches: Sequence[Batch],
    device: torch.device,
    recipe: Recipe,
    epoch: float,
    seed: int | None,
) -> StepResult:
    forwards = [
        Forward(net, objective, recipe, to_device(one, device, recipe.run.channels_last), epoch) for one in batches
    ]
    count = len(forwards)
    found: list[tuple[float, dict[str, float]]] = []

    def backward() -> Tensor:
        total = torch.zeros((), device=device)
        if seed is not None:
            torch.manual_seed(seed)  # L-BFGS comes back here: it must find the same function
        for forward in forwards:
            loss, terms = forward()
            if not bool(torch.isfinite(loss)):
                raise DivergenceError("The loss is no longer a number.", "Lower the learning rates, or clip gradients.")
            if count > 1:
                loss = loss / count
            if loss.requires_grad:  # else no trained weight has a part in it yet: a step goes nowhere
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            if len(found) < count:
                found.append((float(loss.detach()), terms))
            if forward is not forwards[-1]:
                forward.seen = None  # memory for one batch at a time
        return total

    norm, clipped = take_step(optimiser, backward, recipe.regularisation)
    if forwards[-1].seen is not None:
        objective.second(forwards[-1].seen)
    terms = {name: sum(values[name] for _, values in found) / count for name in found[0][1]}
    return StepResult(sum(loss for loss, _ in found), terms, norm, clipped)
