"""Validation slices and what they are scored against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aegui import workflow
from aegui.data.dataset import prepare
from aegui.data.draw import case, validation_members
from aegui.events import finish
from aegui.models.zoo import load_model
from aegui.recipes import load
from aegui.training.validation import score, score_filter


def drained(generator):  # type: ignore[no-untyped-def]
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_slices_that_were_spared_by_the_corruptions_do_not_make_the_mean_infinite(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "volume.npy", rng.uniform(0, 1000, (40, 32, 32)).astype(np.float32))
    series = finish(workflow.scan([tmp_path])).series
    corruptions = "targets={kind: synthetic, corruptions: [{kind: gaussian, low: 20, high: 20, share: 0.5}]}"
    recipe = load("denoise").with_set([corruptions, "run.validation_fraction=0.4", "run.validation_slices=16"])
    model = load_model("classic-small", "random", 0)
    data = drained(prepare(recipe, model.card, 1, series, (), {}, (), tmp_path / "cache"))
    try:
        every = [case(data, recipe, member) for member in validation_members(data, recipe)]
        noisy = [c for c in every if not np.array_equal(c.noisy, c.clean)]
        assert 0 < len(noisy) < len(every)
        expected = np.mean([score(c, c.noisy)[0] for c in noisy])
        assert drained(score_filter(None, data, recipe, ""))[0] == pytest.approx(expected)
    finally:
        data.close()
