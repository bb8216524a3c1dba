"""Slices through a network side by side, each in a stream with its share of the processor's threads.

Threads that work on one slice wait for each other at every layer. Of two slices with a core each, both are done
sooner than one after the other with both cores, in 0.85 of the time (ct-small in bf16); and reading and writing
beside them hold up one of them only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch

MOST = 4  # each holds all that the network makes of a slice


@dataclass(frozen=True)
class Streams:
    """How many slices, or batches of them, run at once, and on how many threads each."""

    count: int
    threads: int

    @contextmanager
    def open(self) -> Iterator[ThreadPoolExecutor]:
        """Threads to run the slices in. Afterwards they are gone, and what they had not begun is dropped."""
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(self.count, thread_name_prefix="stream", initializer=_give, initargs=(self.threads,))
        begun = threading.Barrier(self.count + 1)
        try:
            for _ in range(self.count):
                pool.submit(begun.wait)
            begun.wait()
            # For threads that come later: they begin with what was set last, by whichever thread.
            torch.set_num_threads(threads)
            yield pool
        finally:
            begun.abort()  # where not all have come: those that have would wait for ever
            pool.shutdown(wait=True, cancel_futures=True)


def _give(threads: int) -> None:
    """Let the calling thread use so many."""
    torch.get_num_threads()  # a thread's first question to torch sets what all threads begin with
    torch.set_num_threads(threads)


def alone() -> Streams:
    """One slice after the other."""
    return Streams(1, torch.get_num_threads())


def side_by_side(device: torch.device, slices: int = MOST) -> Streams:
    """The most that leave no thread of the processor without work; a graphics card takes slices one after another.

    slices: how many there are at most in a series.
    """
    threads = torch.get_num_threads()
    most = min(MOST, threads, slices)
    if device.type != "cpu" or most < 2:
        return alone()
    count = min(range(2, most + 1), key=lambda n: (threads % n, -n))
    return Streams(count, threads // count)
