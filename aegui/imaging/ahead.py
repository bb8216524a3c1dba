"""Slices read in order, the next ones while the present one is worked on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeVar

from aegui.imaging.series import Mask, Pixels, SliceSource

_THREADS = min(2, os.cpu_count() or 1)  # as many as there are decoders
_AHEAD = 3  # fewer than a source keeps, so that what was read is still there when it is written


Given = TypeVar("Given")
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

    def read(index: int) -> Made:
        return then(Read(index, source.read(index), source.valid(index)))

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="slices")
    try:
        yield in_order(pool, read, range(len(source)) if indices is None else indices, _AHEAD)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(pool: Executor, work: Callable[[Given], Made], pieces: Iterable[Given], most: int) -> Iterator[Made]:
    """What `work` makes of each piece, in order; at most so many are handed to the pool before they are asked for."""
    rest = iter(pieces)
    queue: deque[Future[Made]] = deque()
    while True:
        queue.extend(pool.submit(work, piece) for piece in islice(rest, most - len(queue)))
        if not queue:
            return
        yield queue.popleft().result()
