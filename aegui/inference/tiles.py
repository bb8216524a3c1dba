"""Slices too large for the memory go through in tiles, each seen with as much margin as its output depends on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import nn

from aegui.models.slicenet import SliceNet

Array = npt.NDArray[np.float32]

SMALLEST = 256  # side of a tile without its margin
_ALWAYS = 1024**2  # pixels that go through whole, whatever the memory
_SHARE = 0.5  # of the free memory that one run may take
_LOOK = 256  # how far the reach is looked for, in pixels; what reaches farther depends on the whole slice


def free_memory(device: torch.device) -> int:
    """Bytes that a network may still use on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


@torch.inference_mode()
def reach(net: SliceNet) -> int | None:
    """How far from a pixel its output depends on the input, in pixels; None where that is everywhere.

    Found by changing a strip of the input: an instance norm, for one, changes the whole output.
    """
    step = net.multiple
    plain = copy.deepcopy(net).cpu().eval()
    look = -(-_LOOK // step) * step
    x = torch.rand((1, net.planes, 16 * step, 2 * look + step), generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., look : look + step] += 1
    level = torch.tensor([0.1])
    difference = (plain(x, level) - plain(changed, level)).abs().amax(dim=(0, 1, 2))
    columns = difference.nonzero().flatten()
    if not len(columns):
        return 0
    farthest = max(look - int(columns[0]), int(columns[-1]) - (look + step - 1))
    return None if farthest >= look else farthest


@torch.inference_mode()
def bytes_per_pixel(net: SliceNet) -> float:
    """About what a network holds at once, per pixel of a slice."""
    sizes: list[int] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            sizes.append(output.numel() * 4)

    plain = copy.deepcopy(net).cpu().eval()
    for module in plain.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    side = 8 * net.multiple
    plain(torch.zeros((1, net.planes, side, side)), torch.tensor([0.1]))
    # Of 1536² slices the shipped networks held 2 to 8 times their largest layer's output: what goes in and comes out,
    # copies in the layout that the runtime likes, feature maps that wait to be joined again.
    return (8 * max(sizes, default=0) + 4 * 4 * net.planes * side * side) / side**2


def plan(height: int, width: int, most: int, margin: int, step: int) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Tiles of a slice: (rows, columns) to show the network and (rows, columns) of them that count, in slice pixels.

    most: pixels that one tile may have with its margins. All start on multiples of `step`, so that strided layers
    fall on the same grid as for the whole slice.
    """
    margin = -(-margin // step) * step
    side = max(SMALLEST, int(most**0.5) - 2 * margin) // step * step
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            yield (
                slice(max(0, top - margin), min(bottom + margin, height)),
                slice(max(0, left - margin), min(right + margin, width)),
                slice(top, bottom),
                slice(left, right),
            )


class Tiler:
    """Runs slices of one network whole, or in tiles where the memory asks for it. memory: bytes; None: what is free."""

    def __init__(self, net: SliceNet, device: torch.device, memory: int | None = None) -> None:
        self._net = net
        self._device = device
        self._memory = memory

    @cached_property
    def _reach(self) -> int | None:
        return reach(self._net)

    @cached_property
    def _need(self) -> float:
        return bytes_per_pixel(self._net)

    def _most(self) -> int:
        """Pixels that may go through at once."""
        memory = free_memory(self._device) if self._memory is None else self._memory
        return max(1, int(_SHARE * memory / self._need))

    def run(self, whole: Callable[[Array], Array], x: Array, streams: int = 1) -> Array:
        """whole(x), by tiles if x, (N, planes, H, W), is too large for the memory. whole keeps rows and columns.

        streams: how many runs share the memory.
        """
        count, _, height, width = x.shape
        if self._memory is None and x.size <= _ALWAYS:
            return whole(x)
        most = self._most() // (count * streams)
        # Where the output depends on the whole slice, tiles would be other slices, and their seams would show.
        if height * width <= most or self._reach is None:
            return whole(x)
        result: Array | None = None
        for rows, columns, inner_rows, inner_columns in plan(height, width, most, self._reach, self._net.multiple):
            tile = whole(x[..., rows, columns])
            if result is None:
                result = np.empty((*tile.shape[:2], height, width), tile.dtype)
            top, left = inner_rows.start - rows.start, inner_columns.start - columns.start
            size = (inner_rows.stop - inner_rows.start, inner_columns.stop - inner_columns.start)
            result[..., inner_rows, inner_columns] = tile[..., top : top + size[0], left : left + size[1]]
        assert result is not None
        return result
