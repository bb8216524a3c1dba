"""Memory of a training step: what there is, what a batch needs, and what to say when it is not enough."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psutil
import torch

from aegui.errors import UserError

if TYPE_CHECKING:
    from aegui.training.trainer import Trainer

MARGIN = 0.8  # of the free memory is used at most


def free_bytes(device: torch.device) -> int:
    """What could still be taken."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h


def _malloc() -> Any:
    """The C library, if it is glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep() -> None:
    """Let a step find the memory of the last one: giving it back and asking anew took up to 12 % of a run's time."""
    if library := _malloc():
        library.mallopt(_MAP, 1 << 30)
        library.mallopt(_TRIM, 1 << 30)


def give_back() -> None:
    """As it is without `keep`."""
    if library := _malloc():
        library.mallopt(_MAP, 1 << 25)  # where glibc's own rule ends up after arrays of this size
        library.mallopt(_TRIM, 1 << 26)
        library.malloc_trim(0)


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # On the processor torch raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextlib.contextmanager
def too_big(trainer: Trainer) -> Iterator[None]:
    """Turns a shortage of memory inside into a UserError that names a batch which fits."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_shortage(error):
            raise
        count = trainer.recipe.run.batch
        rows, columns = trainer.size
        raise UserError(
            f"A batch of {count} patches of {rows} × {columns} px does not fit into memory.",
            f"Try a batch of {trainer.fitting_batch()}." if count > 1 else "Use smaller patches, or another device.",
        ) from error
