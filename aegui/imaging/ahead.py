"""Slices read in order, the next ones while the present one is worked on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from aegui.imaging.series import Mask, Pixels, SliceSource

_THREADS = min(2, os.cpu_count() or 1)  # as many as there are decoders
_AHEAD = 3  # fewer than a source keeps, so that what was read is still there when it is written


Made = TypeVar("Made")


class Read(NamedTuple):
    """Slice number `at` of its series."""

    at: int
    pixels: Pixels
    valid: Mask


@contextmanager
def ahead(source: SliceSource, indices: Iterable[int] | None = None) -> Iterator[Iterator[Read]]:
    """The slices (all, or these) in order; a slice that is broken raises its UserError when it is its turn."""
    with ahead_with(source, lambda read: read, indices) as slices:
        yield slices


@contextmanager
def ahead_with(
    source: SliceSource, then: Callable[[Read], Made], indices: Iterable[int] | None = None
) -> Iterator[Iterator[Made]]:
    """What `then` makes of the slices, in order; it is called in the threads that read."""
    rest = iter(range(len(source)) if indices is None else indices)

    def read(index: int) -> Made:
        return then(Read(index, source.read(index), source.valid(index)))

    def slices() -> Iterator[Made]:
        queue: deque[Future[Made]] = deque()
        while True:
            while len(queue) < _AHEAD and (index := next(rest, None)) is not None:
                queue.append(pool.submit(read, index))
            if not queue:
                return
            yield queue.popleft().result()

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="slices")
    try:
        yield slices()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
