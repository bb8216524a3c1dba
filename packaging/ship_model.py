"""Put a trained bundle among the shipped models: weights beside the card, the card's hash and figures renewed.

    aegui train --model ID --init random --recipe pretrain-ID --data FOLDER… --out RUN
    python packaging/ship_model.py RUN/model.aegui ID

What the model was trained on (names, licences, DOIs) is written in the card by hand; this keeps it.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import yaml

MODELS = Path(__file__).resolve().parents[1] / "resources" / "models"


def main(bundle: Path, name: str) -> None:
    with zipfile.ZipFile(bundle) as archive:
        weights = archive.read("weights.safetensors")
        made = yaml.safe_load(archive.read("card.yaml"))
    (MODELS / f"{name}.safetensors").write_bytes(weights)
    file = MODELS / f"{name}.yaml"
    card = yaml.safe_load(file.read_text(encoding="utf-8"))
    training = card.get("training", {})
    training |= {key: made["training"][key] for key in ("recipe", "seconds", "machine")}
    card |= {
        "training": training,
        "parameters": made["parameters"],
        "weights": f"{name}.safetensors",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    card["metrics"] = card.get("metrics", {}) | made["metrics"]
    file.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    print(f"{file.name}: {len(weights) / 1e6:.1f} MB, {card['sha256'][:12]}…")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
