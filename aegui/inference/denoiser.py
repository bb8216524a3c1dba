"""One slice after another through a network, in real units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from aegui.errors import UserError
from aegui.imaging import Mask, Pixels, SliceSource
from aegui.measure import estimate_noise
from aegui.models.intensity import Scale, scale_for
from aegui.models.slicenet import on
from aegui.models.zoo import Model

# Larger slices go through in tiles, so that memory stays bounded. Each tile is seen with a margin on all sides,
# wider than what a network's output depends on, and the margin is cut off again: no blending, no seams. Both are
# multiples of every network's own multiple, so that strided layers fall on the same grid as for the whole slice.
TILE = 1024
MARGIN = 64


class Denoised(NamedTuple):
    """pixels: as the source's slice. outside: voxels left alone because the model does not take their values.

    level: noise SD given to the model, in the scan's unit.
    """

    pixels: Pixels
    outside: int
    level: float


class Denoiser:
    """A model on a device, for one series."""

    def __init__(self, model: Model, source: SliceSource, device: torch.device) -> None:
        self.card = model.card
        self.net = on(device, model.net).eval()
        self.source = source
        self.device = device
        self.scale: Scale = scale_for(model.card, source.series, source)

    def slice(self, index: int, strength: float = 1.0, noise_level: float | None = None) -> Denoised:
        """Denoise slice `index`. strength s: in + s·(net − in). noise_level: SD in the scan's unit; None: estimated."""
        return self.pixels(self.source.read(index), self.source.valid(index), strength, noise_level)

    def pixels(self, pixels: Pixels, valid: Mask, strength: float = 1.0, noise_level: float | None = None) -> Denoised:
        """Denoise (rows, columns) or (rows, columns, 3) in real units; padding comes back as it was."""
        planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        low, high = self.scale.limits
        inside = valid & ((planes >= low) & (planes <= high)).all(axis=0)
        level = estimate_noise(planes.mean(axis=0), inside) if noise_level is None else noise_level
        x = self.scale.normalise(planes)
        floor = float(x[:, inside].min()) if inside.any() else 0.0
        x = np.where(inside, x, np.float32(floor)).astype(np.float32)
        # What the network changes, in real units: where it changes nothing, no rounding does.
        change = (self._run(x, level / self.scale.span) - x) * np.float32(self.scale.span)
        if not np.isfinite(change).all():
            raise UserError(
                "The model gave values that are no numbers.", "It does not fit these scans; choose another model."
            )
        result = np.where(inside, planes + np.float32(strength) * change, planes).astype(np.float32)
        outside = int((valid & ~inside).sum())
        return Denoised(result[0] if pixels.ndim == 2 else np.moveaxis(result, 0, -1), outside, level)

    def _run(self, x: Pixels, level: float) -> Pixels:
        height, width = x.shape[1:]
        if max(height, width) <= TILE + 2 * MARGIN:
            return self._net(x, level)
        result = np.empty_like(x)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                y0, x0 = max(0, top - MARGIN), max(0, left - MARGIN)
                tile = self._net(x[:, y0 : top + TILE + MARGIN, x0 : left + TILE + MARGIN], level)
                inner = tile[:, top - y0 :, left - x0 :][:, :TILE, :TILE]
                result[:, top : top + TILE, left : left + TILE] = inner
        return result

    def _net(self, x: Pixels, level: float) -> Pixels:
        with torch.inference_mode():
            y = self.net(
                torch.from_numpy(np.ascontiguousarray(x[None])).to(self.device, memory_format=torch.channels_last),
                torch.tensor([level], dtype=torch.float32, device=self.device),
            )
        return np.asarray(y[0].float().cpu().numpy(), dtype=np.float32)
