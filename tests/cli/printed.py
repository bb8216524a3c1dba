"""What the command line printed."""

import json
from typing import Any

import pytest

QUICK = ["run.epochs=2", "run.steps_per_epoch=2", "run.batch_size=2", "run.patch_size=32", "run.validation_slices=2"]


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == 1
    return value
