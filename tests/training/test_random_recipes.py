"""Whatever the schema allows either trains, or is refused in words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from aegui import workflow
from aegui.errors import UserError
from aegui.events import Step
from tests.training.random_recipes import draw, job, write_scans

MODELS = ("classic-small", "general-small", "monai-autoencoder", "monai-autoencoder-kl")
SEEDS = 48


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scans(tmp_path_factory.mktemp("scans"))


@pytest.mark.parametrize("block", range(4))
def test_a_random_recipe_trains_or_says_why_not(scans: Path, tmp_path: Path, block: int) -> None:
    trained = 0
    for seed in range(block, SEEDS, 4):
        model = MODELS[seed // 4 % 4]
        recipe = draw(seed, variational=model.endswith("kl"))
        try:
            told = list(workflow.train(job(scans, tmp_path / str(seed), recipe, model)))
        except UserError as error:
            assert error.message and error.hint, seed
            continue
        steps = [event for event in told if isinstance(event, Step)]
        assert steps and all(math.isfinite(step.loss) for step in steps), seed
        assert told[-1].result.bundle.exists(), seed  # type: ignore[attr-defined]
        trained += 1
    assert trained >= SEEDS // 4 // 3  # most do; else this would say little
