"""Validation slices to look at after every epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aegui.data.draw import case, shown, validation_members
from aegui.events import Image, Preview
from aegui.imaging import auto_window
from aegui.training.trainer import Trainer
from aegui.training.validation import run_case, score

SLOTS = 4


def chosen(trainer: Trainer, first: tuple[str, int] | None) -> list[int]:
    """Up to four validation slices, spread; the one that was asked for (series uid, slice) comes first."""
    everything = validation_members(trainer.data, trainer.recipe)
    count = min(SLOTS, len(everything))
    members = [everything[round(i)] for i in np.linspace(0, len(everything) - 1, count)]
    items = trainer.data.items
    wanted = [i for i in trainer.data.split.validation if (items[i].series.uid, items[i].index) == first]
    return list(dict.fromkeys([*wanted[:1], *members]))[:count]


def previews(trainer: Trainer, epoch: int, first: tuple[str, int] | None) -> Iterator[Preview]:
    """One for each slot, of the network as it stands."""
    members = chosen(trainer, first)
    training = trainer.net.training
    trainer.net.eval()
    try:
        for slot, member in enumerate(members):
            yield _preview(trainer, epoch, member, slot, len(members))
    finally:
        trainer.net.train(training)


def _preview(trainer: Trainer, epoch: int, member: int, slot: int, slots: int) -> Preview:
    c, scored = (make(trainer.data, trainer.recipe, member) for make in (shown, case))
    output = run_case(trainer.net, c, trainer.device)[0]
    hidden = not np.array_equal(c.noisy, scored.noisy, equal_nan=True)
    guess = run_case(trainer.net, scored, trainer.device)[0] if hidden else output
    noisy, result, reference = (_real(c.item.scale.restore(x)) for x in (c.slice, output, c.clean))
    series = c.item.series
    return Preview(
        f"{series.label} · {series.description or series.modality}, slice {c.item.index + 1}",
        epoch,
        noisy,
        result,
        reference,
        auto_window(reference, np.isfinite(c.clean[0]), series.modality),
        score(scored, scored.slice)[0],
        score(scored, guess)[0],
        series.inverted,
        slot,
        slots,
        "Noisy target" if trainer.recipe.targets.noisy else "Reference",
    )


def _real(image: Image) -> Image:
    filled = np.nan_to_num(image, nan=float(np.nanmin(image)))
    return np.asarray(filled.mean(axis=0), dtype=np.float32)
