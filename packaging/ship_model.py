"""Put a trained bundle among the shipped models: weights beside the card, the card's hash and figures renewed.

Weights of more than 10 MB are stored in fp16, if the network then does the same to a thousandth of the noise.

    aegui train --model ID --init random --recipe pretrain-ID --data FOLDER… --out RUN
    python packaging/ship_model.py RUN/model.aegui ID

What the model was trained on (names, licences, DOIs) is written in the card by hand; this keeps it.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load, save

from aegui.models.card import Card
from aegui.models.slicenet import build

MODELS = Path(__file__).resolve().parents[1] / "resources" / "models"
MOST = 10_000_000  # bytes
LOST = 0.001  # of the noise SD, RMS


def halved(weights: bytes, card: dict[str, Any]) -> bytes:
    """The weights in fp16. SystemExit if the network does something else with them."""
    half = {key: value.half() for key, value in load(weights).items()}
    x = torch.rand((1, 1, 256, 256), generator=torch.Generator().manual_seed(0))
    level = torch.tensor([0.1])
    noisy = x.clamp(0.4, 0.6) + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    net = build(Card.parse(card)).eval()
    outputs = []
    for values in (load(weights), {key: value.float() for key, value in half.items()}):
        net.net.load_state_dict(values)
        with torch.inference_mode():
            outputs.append(net(noisy, level))
    lost = float((outputs[0] - outputs[1]).square().mean().sqrt()) / 0.1
    if lost > LOST:
        raise SystemExit(f"In fp16 the network differs by {lost:.2g} of the noise; make it smaller.")
    return save(half)


def main(bundle: Path, name: str) -> None:
    with zipfile.ZipFile(bundle) as archive:
        weights = archive.read("weights.safetensors")
        made = yaml.safe_load(archive.read("card.yaml"))
    if len(weights) > MOST:
        weights = halved(weights, made)
    (MODELS / f"{name}.safetensors").write_bytes(weights)
    file = MODELS / f"{name}.yaml"
    card = yaml.safe_load(file.read_text(encoding="utf-8"))
    training = card.get("training", {})
    training |= {key: made["training"][key] for key in ("recipe", "seconds", "machine", "threads")}
    card |= {
        "training": training,
        "parameters": made["parameters"],
        "weights": f"{name}.safetensors",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "seen": made["seen"],
        # What the bench of quality measures later stands for the run's own scores.
        "scores": made["scores"],
        "scored_by": made["scored_by"],
        "metrics": made["metrics"],
    }
    file.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    print(f"{file.name}: {len(weights) / 1e6:.1f} MB, {card['sha256'][:12]}…")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
