"""Slices through a network, in real units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from aegui.errors import UserError
from aegui.imaging import Mask, Pixels, SliceSource, beside
from aegui.imaging.filling import filled
from aegui.inference.engines import Engine, TorchEngine
from aegui.inference.tiles import Tiler
from aegui.inference.views import averaged, require_count
from aegui.measure import TISSUE, level_of
from aegui.models.intensity import Scale, scale_for
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import Model

# Pixels that go through at once. Processors gain little from more, and a job answers between two runs only.
_AT_ONCE = {"cpu": 512**2, "cuda": 8 * 512**2}
_MOST_AT_ONCE = 4  # slices in all streams; with those that wait, are read and written no more than sources remember


class Denoised(NamedTuple):
    """pixels: as the source's slice. outside: voxels left alone because the model does not take their values.

    level: noise SD given to the model, in the scan's unit. spread: SD over the views where several were averaged,
    in the scan's unit, (rows, columns), of colours the largest.
    """

    pixels: Pixels
    outside: int
    level: float
    spread: Pixels | None = None


class Prepared(NamedTuple):
    """A slice as networks take it. pixels, valid: as read. x: (c, H, W), normalised. inside: (H, W), may be changed.

    level: noise SD that the network is given, in the scan's unit. beside: x of all slices that the network sees, in
    order; (): the slice stands for them all.
    """

    pixels: Pixels
    valid: Mask
    x: Pixels
    inside: Mask
    level: float
    beside: tuple[Pixels, ...] = ()


class Removed(NamedTuple):
    """What the network takes away from a slice, and how far its views differ (SD): (c, H, W), in the scan's unit."""

    noise: Pixels
    spread: Pixels | None


class Denoiser:
    """A model on a device, for one series. engine: None for plain torch. average: number of views, 1, 2, 4 or 8.

    memory: bytes that a run may take half of; None: what is free.
    """

    def __init__(
        self,
        model: Model,
        source: SliceSource,
        device: torch.device,
        engine: Engine | None = None,
        average: int = 1,
        memory: int | None = None,
    ) -> None:
        require_count(average)
        self.card = model.card
        self.net = model.net
        self.engine: Engine = engine or TorchEngine(model.net, device)
        self.average = average
        self.source = source
        self.device = device
        self.scale: Scale = scale_for(model.card, source.series, source)
        self._tiler = Tiler(model.net, device, memory)

    @property
    def at_once(self) -> int:
        """How many slices of the series are best given to `slices` together."""
        series = self.source.series
        size = series.rows * series.columns * series.channels
        return max(1, min(_MOST_AT_ONCE // self.engine.streams.count, _AT_ONCE.get(self.device.type, 0) // size))

    def slice(
        self, index: int, strength: float = 1.0, noise_level: float | None = None, source: SliceSource | None = None
    ) -> Denoised:
        """Denoise slice `index`. strength s: in + s·(net − in). noise_level: SD in the scan's unit; None: estimated.

        source: to read the series from, where that is not the one it was made with.
        """
        one = self.at(index, noise_level, source)
        return finished(one, self.removed([one])[0], strength)

    def pixels(
        self,
        pixels: Pixels,
        valid: Mask,
        strength: float = 1.0,
        noise_level: float | None = None,
        seen: Sequence[tuple[Pixels, Mask]] = (),
    ) -> Denoised:
        """Denoise (rows, columns) or (rows, columns, 3) in real units; padding comes back as it was.

        seen: all slices that the network sees with it, in order; (): it is taken for a slice without neighbours.
        """
        one = self.prepared(pixels, valid, noise_level)
        # The noise of the others is not asked for.
        one = one._replace(beside=_beside(one, [self.prepared(*other, 0.0) for other in seen]))
        return finished(one, self.removed([one])[0], strength)

    def slices(
        self, slices: Sequence[tuple[Pixels, Mask]], strength: float = 1.0, noise_level: float | None = None
    ) -> list[Denoised]:
        """Denoise several slices of one shape together, each as one without neighbours."""
        prepared = [self.prepared(pixels, valid, noise_level) for pixels, valid in slices]
        return [finished(one, noise, strength) for one, noise in zip(prepared, self.removed(prepared), strict=True)]

    def at(self, index: int, noise_level: float | None = None, source: SliceSource | None = None) -> Prepared:
        """Slice `index` of the series as the network takes it, with those beside it."""
        read = self.source if source is None else source
        found = {index: self.prepared(read.read(index), read.valid(index), noise_level)}
        for other in beside(self.source.series, index, self.net.neighbours):
            if other not in found:
                found[other] = self.prepared(read.read(other), read.valid(other), 0.0)  # its noise is not asked for
        return self._joined(found, index)

    def with_neighbours(self, slices: Iterator[tuple[int, Prepared]]) -> Iterator[tuple[int, Prepared]]:
        """All slices of the series, prepared one by one and in order, with those beside them; few wait for others."""
        reach = self.net.neighbours
        held: dict[int, Prepared] = {}
        for index, one in slices:
            held[index] = one
            if index >= reach:
                yield index - reach, self._joined(held, index - reach)
            held.pop(index - 2 * reach, None)
        for index in sorted(held)[len(held) - min(reach, len(held)) :]:
            yield index, self._joined(held, index)

    def _joined(self, slices: Mapping[int, Prepared], index: int) -> Prepared:
        seen = beside(self.source.series, index, self.net.neighbours)
        return slices[index]._replace(beside=_beside(slices[index], [slices[other] for other in seen]))

    def planes(self, slice: Prepared) -> Pixels:
        """All that the network sees of a slice, (planes, H, W)."""
        return np.concatenate(slice.beside or (slice.x,) * self.net.slices)

    def prepared(self, pixels: Pixels, valid: Mask, noise_level: float | None = None) -> Prepared:
        """The first step, which any thread may take: a slice by itself as the network takes it."""
        planes = planes_of(pixels)
        low, high = self.scale.limits
        inside = valid & ((planes >= low) & (planes <= high)).all(axis=0)
        grey = planes[0] if len(planes) == 1 else planes.mean(axis=0)
        if (level := noise_level) is None:
            level = level_of(grey, inside, TISSUE if self.source.series.unit == "HU" else None)
        return Prepared(pixels, valid, filled(self.scale.normalise(planes), inside), inside, level)

    def removed(self, slices: Sequence[Prepared]) -> list[Removed]:
        """The second step, which as many threads may take as the engine has streams: slices of one shape through the
        network.
        """
        levels = np.array([one.level / self.scale.span for one in slices], dtype=np.float32)
        noise, spread = averaged(
            lambda view: self._run(view, levels), np.stack([self.planes(one) for one in slices]), self.average
        )
        if not np.isfinite(noise).all():
            raise UserError(
                "The model gave values that are no numbers.", "It does not fit these scans; choose another model."
            )
        # In real units: where the network changes nothing, no rounding does.
        span = np.float32(self.scale.span)
        spreads = [None] * len(slices) if spread is None else list(span * spread)
        return [Removed(one, seen) for one, seen in zip(span * noise, spreads, strict=True)]

    def _run(self, x: Pixels, levels: Pixels) -> Pixels:
        return self._tiler.run(lambda part: run(self.engine, self.net, part, levels), x, self.engine.streams.count)


def _beside(own: Prepared, seen: Sequence[Prepared]) -> tuple[Pixels, ...]:
    """What is shown of slices seen together; of one that is all padding, the slice itself."""
    return tuple(one.x if one.inside.any() else own.x for one in seen)


def planes_of(pixels: Pixels) -> Pixels:
    """(rows, columns) or (rows, columns, 3) → (c, rows, columns)."""
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def finished(slice: Prepared, removed: Removed, strength: float = 1.0) -> Denoised:
    """The last step, which any thread may take. strength s: in + s·(net − in)."""
    planes = planes_of(slice.pixels)
    result = planes - np.float32(strength) * removed.noise
    if not slice.inside.all():
        result = np.where(slice.inside, result, planes)
    spread = None
    if removed.spread is not None:
        spread = np.where(slice.inside, np.float32(strength) * removed.spread.max(axis=0), 0).astype(np.float32)
    return Denoised(
        result[0] if slice.pixels.ndim == 2 else np.moveaxis(result, 0, -1),
        int((slice.valid & ~slice.inside).sum()),
        slice.level,
        spread,
    )


def run(engine: Engine, net: SliceNet, x: Pixels, levels: Pixels) -> Pixels:
    """engine.run for slices of any size and colour. x: (N, slices·c, H, W) normalised. levels: (N,), in the same units.

    Sides are padded to the multiple; colours go through grey networks one by one, and a grey slice through colour
    networks as three equal ones. The result is that of the middle slice, (N, c, H, W).
    """
    channels, multiple, slices = net.channels, net.multiple, net.slices
    count, planes, height, width = x.shape
    colours = planes // slices
    if colours > channels == 1:
        x = x.reshape(count, slices, colours, height, width).swapaxes(1, 2).reshape(-1, slices, height, width)
        levels = np.repeat(levels, colours)
    elif colours == 1 < channels:
        x = np.repeat(x, channels, axis=1)
    if height % multiple or width % multiple:
        x = np.pad(x, ((0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)), mode="edge")
    result = engine.run(np.ascontiguousarray(x), levels)[..., :height, :width]
    if colours == 1 < channels:
        result = result.mean(axis=1, keepdims=True)
    return result.reshape(count, colours, height, width)
