"""One optimiser step, and the device it runs on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor

from aegui.data.dataset import Batch
from aegui.errors import UserError
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.training.losses import Seen
from aegui.training.objective import Objective


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
    """loss: weighted total. terms: unweighted. grad_norm: before clipping."""

    loss: float
    terms: dict[str, float]
    grad_norm: float


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


def train_step(
    net: SliceNet,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    device: torch.device,
    recipe: Recipe,
    epoch: float = 0.0,
) -> StepResult:
    """Forward, backward, clip, step. epoch: how many have passed. UserError when the loss is no longer a number."""
    on = to_device(batch, device, recipe.run.channels_last)
    optimiser.zero_grad(set_to_none=True)
    with autocast(device, recipe.run.precision):
        found = net.outputs(on.noisy, on.level)
    seen = Seen(found.image.float(), on.clean, on.noisy, found, on.label, on.scale, on.mask)
    loss, terms = objective(seen, epoch)
    if not bool(torch.isfinite(loss)):
        raise UserError(
            "The loss is no longer a number.", "Lower the learning rates, or clip gradients; the best model is kept."
        )
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    clip = recipe.regularisation.gradient_clip
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip if clip is not None else float("inf"))
    optimiser.step()
    return StepResult(float(loss.detach()), terms, float(norm))
