"""One optimiser step, and the device it runs on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor

from aegui.data.dataset import Batch
from aegui.errors import UserError
from aegui.models.slicenet import SliceNet
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


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """noisy, clean, level, label."""
    noisy, clean, level, label = (torch.from_numpy(array).to(device) for array in batch)
    return noisy.contiguous(memory_format=torch.channels_last), clean, level, label


def train_step(
    net: SliceNet,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    device: torch.device,
    clip: float | None,
    precision: str = "fp32",
) -> StepResult:
    """Forward, backward, clip, step. UserError when the loss is no longer a number."""
    noisy, clean, level, label = to_device(batch, device)
    optimiser.zero_grad(set_to_none=True)
    with autocast(device, precision):
        output, logits = net.both(noisy, level)
    loss, terms = objective(output.float(), clean, logits, label)
    if not bool(torch.isfinite(loss)):
        raise UserError(
            "The loss is no longer a number.", "Lower the learning rates, or clip gradients; the best model is kept."
        )
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip if clip is not None else float("inf"))
    optimiser.step()
    return StepResult(float(loss.detach()), terms, float(norm))
