"""The user's own models: checkpoints and bundles kept beside the shipped ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import get_args

from aegui import paths
from aegui.errors import UserError
from aegui.models import adapter
from aegui.models.card import Architecture, Card
from aegui.models.checkpoint import Fit
from aegui.models.library import card_files, require_there
from aegui.models.zoo import import_checkpoint, load_model

ARCHITECTURES: tuple[str, ...] = get_args(Architecture)


def add(file: Path, architecture: str | None = None) -> tuple[Card, Fit]:
    """Keep a checkpoint or bundle as a model of the user's own; how its layers fitted."""
    from safetensors.torch import save

    if architecture is not None and architecture not in ARCHITECTURES:
        raise UserError(f"There is no architecture “{architecture}”.", f"Choose one of {', '.join(ARCHITECTURES)}.")
    require_there(file)
    if file.suffix == ".aegui" or adapter.about(file) is not None:
        model = load_model(file)
        card, net = model.card, model.net
        fit = Fit(tuple(net.net.state_dict()), (), (), ())
    else:
        card, net, fit = import_checkpoint(file, architecture)
        if not fit.complete:
            raise UserError(
                f"{file.name} does not fit {card.architecture}: {fit.words()}.", "Name its own architecture."
            )
    name = _free(re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-") or "model")
    weights = save({k: v.detach().cpu().contiguous() for k, v in net.net.state_dict().items()})
    card = card.model_copy(
        update={"id": name, "weights": f"{name}.safetensors", "sha256": hashlib.sha256(weights).hexdigest()}
    )
    folder = paths.data_home() / "models"
    paths.require_writable(folder, "folder of your own models")
    # The card comes last: a model is listed only when its weights are there.
    with paths.atomic(folder / f"{name}.safetensors") as temporary:
        temporary.write_bytes(weights)
    with paths.atomic(folder / f"{name}.yaml") as temporary:
        temporary.write_text(card.to_yaml(), encoding="utf-8")
    return card, fit


def _free(name: str) -> str:
    taken = {file.stem for file in card_files()}
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
