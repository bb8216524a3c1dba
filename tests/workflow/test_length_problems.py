"""What would come after the end of a run is named before its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegui import recipes, workflow
from aegui.workflow.recipe_problems import recipe_problems

LATE = ("groups=[{match: rest, unfreeze_epoch: 5}]", "schedule={kind: cosine, warmup: 3}")


def found(*settings: str) -> list[str]:
    job = workflow.TrainJob("general-small", recipes.load("denoise").with_set(settings), (), Path("run"))
    return [message for message, _, _, _ in recipe_problems(job, 40)]


@pytest.mark.parametrize("length", ["run.epochs=2", "run.steps=150"])
def test_a_warm_up_and_a_group_that_outlast_the_run_are_named(length: str) -> None:
    words = found("run.steps_per_epoch=100", length, *LATE)
    assert any("warm-up lasts as long as the run" in message for message in words)
    assert any("stays frozen" in message for message in words)


@pytest.mark.parametrize("length", ["run.epochs=9", "run.steps=900", "run.minutes=1"])
def test_in_a_run_that_is_long_enough_or_open_ended_nothing_is_named(length: str) -> None:
    assert not [message for message in found("run.steps_per_epoch=100", length, *LATE) if "the run" in message]
