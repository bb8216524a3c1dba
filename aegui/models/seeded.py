"""torch's own random numbers on the CPU, which all threads of a program share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

_LOCK = threading.RLock()


@contextmanager
def seeded(seed: int, devices: Sequence[int] = ()) -> Iterator[None]:
    """Draws from here on follow the seed; those after it go on as before. devices: CUDA cards, besides the CPU.

    One thread at a time: a window trains and loads models at once, and each must find the numbers it would find alone.
    """
    with _LOCK, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
