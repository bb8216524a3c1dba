"""Slices of a run in memory-mapped files, so that memory stays flat however many there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from aegui.data.item import Item
from aegui.imaging import Pixels


class Slices:
    """Arrays (channels, rows, columns) of any size, appended to one memory-mapped file. Padding is NaN."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w+b")
        self._places: list[tuple[int, tuple[int, ...]]] = []
        self._sum = blake2b(digest_size=16)

    def append(self, array: Pixels) -> None:
        """Store one slice."""
        values = np.ascontiguousarray(array, dtype=np.float32).tobytes()
        self._places.append((self._file.tell(), array.shape))
        self._file.write(values)
        self._sum.update(values)

    @property
    def sum(self) -> str:
        """The same for the same values."""
        return self._sum.hexdigest()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Pixels:
        self._file.flush()
        offset, shape = self._places[index]
        return np.memmap(self._file, dtype=np.float32, mode="r", offset=offset, shape=shape)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


@dataclass
class Stock:
    """All slices of a run. clean: the targets by slice number; `noisy` itself where targets are made of the scans.

    beside: for each slice the numbers of all that the model sees with it, in order; (): it sees single slices.
    """

    items: tuple[Item, ...]
    noisy: Slices
    clean: Slices
    beside: tuple[tuple[int, ...], ...] = field(default=(), kw_only=True)

    def close(self) -> None:
        """Release the files."""
        self.noisy.close()
        self.clean.close()

    def seen(self, member: int) -> tuple[int, ...]:
        """The slices that the model sees of one, in order."""
        return self.beside[member] if self.beside else (member,)

    def planes(self, member: int, window: tuple[slice, ...]) -> Pixels:
        """A patch of a slice as the model sees it: (planes, H, W)."""
        found = [np.asarray(self.noisy[other][window]) for other in self.seen(member)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.noisy[0].shape[0])
