"""Muon: torch's own on matrices, AdamW on biases, and what it makes of convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aegui.training.muon import Muon, orthogonal


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def three_steps(optimiser: torch.optim.Optimizer, weight: nn.Parameter) -> Tensor:
    for seed in range(3):
        weight.grad = drawn(*weight.shape, seed=seed)
        optimiser.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_matrices_are_stepped_as_by_torch(shape: tuple[int, int]) -> None:
    ours, theirs = nn.Parameter(drawn(*shape, seed=9)), nn.Parameter(drawn(*shape, seed=9))
    moved = three_steps(Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.2), ours)
    expected = three_steps(torch.optim.Muon([theirs], 0.1, 0.2, momentum=0.9, adjust_lr_fn="match_rms_adamw"), theirs)
    torch.testing.assert_close(moved, expected, rtol=0, atol=2e-3)  # bf16 inside
    assert float((moved - drawn(*shape, seed=9)).abs().max()) > 0.05


def test_biases_are_stepped_as_by_adamw() -> None:
    ours, theirs = nn.Parameter(drawn(7, seed=9)), nn.Parameter(drawn(7, seed=9))
    moved = three_steps(Muon([ours], lr=0.1, weight_decay=0.2, betas=(0.8, 0.9)), ours)
    expected = three_steps(torch.optim.AdamW([theirs], 0.1, (0.8, 0.9), weight_decay=0.2), theirs)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_stepped_as_the_matrix_of_its_output_channels(layout: torch.memory_format) -> None:
    kernel = nn.Parameter(drawn(5, 3, 3, 3, seed=9).contiguous(memory_format=layout))
    matrix = nn.Parameter(drawn(5, 3, 3, 3, seed=9).flatten(1))
    alike = nn.Parameter(drawn(5, 27, seed=8))
    optimiser = Muon([kernel, matrix, alike], lr=0.1)
    kernel.grad = drawn(5, 3, 3, 3).contiguous(memory_format=layout)
    matrix.grad = drawn(5, 3, 3, 3).flatten(1)
    alike.grad = drawn(5, 27, seed=1)
    optimiser.step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())


def test_what_is_stepped_along_has_no_direction_that_counts_more() -> None:
    matrices = drawn(2, 16, 40)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonal(matrices)
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.25
    nearest = u @ v
    share = (found * nearest).sum(dim=(1, 2)) / (found.norm(dim=(1, 2)) * nearest.norm(dim=(1, 2)))
    assert bool((share > 0.97).all())
