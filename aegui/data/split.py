"""Which slices train, which validate, which are held out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from aegui.errors import UserError

GAP = 5


@dataclass(frozen=True)
class Split:
    """Positions in the list of slices; `by` says how they were parted, `warnings` what that means."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    holdout: tuple[int, ...]
    by: str
    warnings: tuple[str, ...] = ()


def split(
    slices: Sequence[tuple[str, int]],
    validation: float,
    holdout: float,
    seed: int,
    marked: frozenset[str] = frozenset(),
) -> Split:
    """Part slices by patient, or by blocks where there are fewer than three patients.

    slices: (patient, block) of each slice in order; a block is a run of neighbouring slices (a series).
    validation, holdout: shares. marked: patients the user holds out, besides.
    """
    held = tuple(i for i, (patient, _) in enumerate(slices) if patient in marked)
    free = [i for i in range(len(slices)) if i not in set(held)]
    if len(free) < 2:
        raise UserError(
            "Training needs at least two slices that are not held out.", "Add slices, or mark fewer as hold-out."
        )
    patients = sorted({slices[i][0] for i in free})
    if len(patients) >= 3:
        order = [patients[i] for i in np.random.default_rng([seed, 1]).permutation(len(patients))]
        n_val = min(max(1, round(validation * len(order))), len(order) - 1)
        n_hold = min(max(1, round(holdout * len(order))) if holdout else 0, len(order) - n_val - 1)
        val, hold = set(order[:n_val]), set(order[n_val : n_val + n_hold])
        return Split(
            tuple(i for i in free if slices[i][0] not in val | hold),
            tuple(i for i in free if slices[i][0] in val),
            held + tuple(i for i in free if slices[i][0] in hold),
            f"by patient ({len(order)})",
            _none_held(holdout, hold),
        )
    return _by_blocks(slices, free, held, validation, holdout)


def _by_blocks(
    slices: Sequence[tuple[str, int]], free: list[int], held: tuple[int, ...], validation: float, holdout: float
) -> Split:
    train: list[int] = []
    val: list[int] = []
    hold: list[int] = list(held)
    for block in dict.fromkeys(slices[i][1] for i in free):
        members = [i for i in free if slices[i][1] == block]
        n = len(members)
        parts = 1 + (holdout > 0)
        n_val = max(1, round(validation * n)) if n > 1 else 0
        n_hold = min(max(1, round(holdout * n)), n - n_val - 1) if holdout and n > 2 else 0
        # A short series cannot afford the whole gap; half of it may go there.
        gap = min(GAP, max(0, (n - n_val - n_hold) // (2 * parts)))
        end = n - n_hold
        hold += members[end:]
        end -= gap if n_hold else 0
        val += members[end - n_val : end] if n_val else []
        train += members[: end - n_val - gap] if n_val else members[:end]
    if not val or not train:
        # Series of a slice or two each: the last of them all validate, and none but the marked is held out.
        count = max(1, len(free) // 5)
        train, val, hold = free[:-count], free[-count:], list(held)
    return Split(
        tuple(train),
        tuple(val),
        tuple(sorted(hold)),
        "by blocks of slices",
        (
            "Fewer than three patients: validation slices come from the same patients as training slices, "
            "so the scores are optimistic.",
            *_none_held(holdout, hold),
        ),
    )


def _none_held(share: float, held: Collection[object]) -> tuple[str, ...]:
    if not share or held:
        return ()
    return ("Nothing is held out for Review: there are too few patients or slices. Add scans, or validate on fewer.",)
