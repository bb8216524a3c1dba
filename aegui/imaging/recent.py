"""The slices that were read last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Slice = TypeVar("Slice")


class Recent(Generic[Slice]):
    """At most so many slices by number, the one not used for longest dropped first. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._slices: OrderedDict[int, Slice] = OrderedDict()

    def get(self, index: int) -> Slice | None:
        """Slice `index`, if it is still there."""
        with self._lock:
            if index in self._slices:
                self._slices.move_to_end(index)
            return self._slices.get(index)

    def keep(self, index: int, item: Slice) -> None:
        """Remember slice `index`."""
        with self._lock:
            self._slices[index] = item
            while len(self._slices) > self._most:
                self._slices.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._slices.clear()
