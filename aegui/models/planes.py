"""The planes a network gets of a slice: those of the slices beside it too, in order; its own are the middle ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from aegui.imaging import Pixels

Planes = TypeVar("Planes", "Pixels", "Tensor")


def middle(planes: Planes, channels: int) -> Planes:
    """The slice's own planes, (…, channels, H, W), of (…, channels·(2·neighbours + 1), H, W)."""
    beside = (planes.shape[-3] - channels) // 2
    return planes[..., beside : beside + channels, :, :] if beside else planes
