"""Trains recipes drawn at random from the whole schema for a few steps each.

    python tests/bench/random_recipes.py [--first 0] [--count 500]

Printed: every recipe that broke, with its seed, and how many trained, were refused in words, and broke.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aegui import workflow
from aegui.errors import UserError
from tests.training.random_recipes import draw, job, write_scans

MODELS = ("classic-small", "general-small", "monai-autoencoder", "monai-autoencoder-kl")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--count", type=int, default=500)
    asked = options.parse_args()
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        scans = write_scans(Path(folder, "scans"))
        for seed in range(asked.first, asked.first + asked.count):
            model = MODELS[seed // 4 % 4]
            recipe = draw(seed, variational=model.endswith("kl"))
            try:
                list(workflow.train(job(scans, Path(folder, str(seed)), recipe, model)))
                count["trained"] += 1
            except UserError as error:
                count["refused"] += 1
                print(f"{seed}: {error}", flush=True)
            except Exception:  # noqa: BLE001 - what breaks is what is looked for
                count["broke"] += 1
                print(f"{seed} {model} broke:\n{traceback.format_exc()}{recipe.to_yaml()}", flush=True)
    print(", ".join(f"{number} {word}" for word, number in count.items()))


if __name__ == "__main__":
    main()
