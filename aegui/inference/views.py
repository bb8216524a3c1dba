"""A slice seen from several sides: denoised in each view and averaged, with the spread as a sign of uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aegui.errors import UserError

Array = npt.NDArray[np.float32]

# Quarter turns, then whether mirrored left to right. A turn by 90° would change the shape of slices that are not
# square, so that two and four views do without.
_VIEWS = {
    1: ((0, False),),
    2: ((0, False), (0, True)),
    4: ((0, False), (0, True), (2, False), (2, True)),
    8: tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}
COUNTS = tuple(_VIEWS)


class Averaged(NamedTuple):
    """mean and spread (SD over the views, None of a single one), both in the shape that run gives."""

    mean: Array
    spread: Array | None


def require_count(count: int) -> None:
    """UserError where there is no such set of views."""
    if count not in _VIEWS:
        words = ", ".join(map(str, COUNTS))
        raise UserError(f"A slice cannot be averaged over {count} views.", f"Choose one of {words}.")


def averaged(run: Callable[[Array], Array], x: Array, count: int) -> Averaged:
    """run(x) over `count` of the square's eight symmetries. x: (N, planes, H, W); run keeps rows and columns."""
    views = _VIEWS[count]
    if len(views) == 1:
        return Averaged(run(x), None)
    for number, (turns, mirrored) in enumerate(views, 1):
        view = np.rot90(x, turns, axes=(-2, -1))
        result = run(np.ascontiguousarray(view[..., ::-1] if mirrored else view))
        result = np.rot90(result[..., ::-1] if mirrored else result, -turns, axes=(-2, -1))
        if number == 1:
            mean, squares = (np.zeros(result.shape, np.float32) for _ in range(2))
        # Welford's sum: a difference of large squares would leave nothing of a small spread.
        before = result - mean
        mean += before / np.float32(number)
        squares += before * (result - mean)
    return Averaged(mean, np.sqrt(squares / np.float32(len(views))))
