"""Models by id or file: shipped ones, bundles, and the user's own checkpoints."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aegui.errors import UserError
from aegui.models.card import Card
from aegui.models.checkpoint import Fit, apply, guess_card_options, ours, read_weights, told
from aegui.models.library import file_of, is_file, require_there, require_trained
from aegui.models.lora import is_adapter
from aegui.models.slicenet import SliceNet, build
from aegui.recipes import Recipe

CARD = "aegui.card"  # by this name an exported file holds its card


@dataclass(frozen=True)
class Model:
    """A network with what is known of it. ref: how it was named."""

    card: Card
    net: SliceNet
    ref: str
    recipe: Recipe | None = None


def load_model(ref: str | Path, init: str = "pretrained", seed: int = 0) -> Model:
    """A model by id, bundle or checkpoint. init "random": fresh weights drawn from `seed`."""
    from aegui.models import adapter, bundle
    from aegui.models.seeded import seeded

    name = str(ref)
    with seeded(seed):
        if not is_file(name):
            file = file_of(name)
            card = Card.load(file)
            net = build(card)
            if init != "random" and card.weights:
                _load_checked(net, file.parent / card.weights, card)
            return Model(card, net.eval(), name)
        path = Path(name)
        require_there(path)
        if path.suffix == ".aegui":
            loaded = bundle.read(path)
            return Model(loaded.card, build(loaded.card).eval(), name, loaded.recipe) if init == "random" else loaded
        if adapter.about(path) is not None:
            loaded = adapter.read(path)
            return Model(loaded.card, build(loaded.card).eval(), name, loaded.recipe) if init == "random" else loaded
        card, net, fit = import_checkpoint(path)
        if not fit.complete:
            raise UserError(f"{path.name} does not fit {card.title}: {fit.words()}.", "Choose its own architecture.")
        return Model(card, net.eval(), name)


def load_trained(ref: str | Path) -> Model:
    """The same with weights of its own, for use as it is. UserError where it would start from random ones."""
    model = load_model(ref)
    require_trained(model.card)
    return model


def _load_checked(net: SliceNet, file: Path, card: Card) -> None:
    if not file.is_file():
        raise UserError(f"The weights of model “{card.id}” are missing.", "Install the program again.")
    if hashlib.sha256(file.read_bytes()).hexdigest() != card.sha256:
        raise UserError(f"The weights of model “{card.id}” were changed or damaged.", "Install the program again.")
    fit = apply(net, read_weights(file))
    if not fit.complete:
        raise UserError(f"The weights of model “{card.id}” do not fit its card: {fit.words()}.")


def import_checkpoint(path: Path, architecture: str | None = None) -> tuple[Card, SliceNet, Fit]:
    """A network for the user's checkpoint and how it fits.

    architecture: None to take it from the card that files exported here hold, else from the layer names.
    """
    weights = ours(read_weights(path))
    if any(is_adapter(name) for name in weights):
        raise UserError(f"{path.name} holds a run's adapters beside its weights.", "Open the run's model.aegui.")
    if architecture is None and (said := told(path, CARD)) is not None:
        card = Card.parse(said, path.name).model_copy(update={"weights": path.name, "sha256": ""})
        net = build(card)
        return card, net, apply(net, weights)
    guess = guess_card_options(weights)
    if guess is None and architecture is None:
        names = ", ".join(list(weights)[:3])
        raise UserError(
            f"{path.name} is of an architecture this program does not know (layers {names} …).",
            "It reads the classic autoencoder, the residual autoencoder, and MONAI's AutoEncoder and AutoencoderKL.",
        )
    options = guess[1] if guess and architecture in (None, guess[0]) else {}
    kind = architecture or (guess[0] if guess else "")
    plain = kind == "conv_autoencoder"
    card = Card.parse(
        {
            "id": path.stem.lower().replace(" ", "-"),
            "title": path.stem,
            "summary": "Your own checkpoint",
            "architecture": kind,
            "options": options,
            "noise_level": kind == "residual_autoencoder",
            "licence": "your own",
            "weights": path.name,
            **({"intensity": CLASSIC_INTENSITY} if plain else {}),
        }
    )
    net = build(card)
    fit = apply(net, weights)
    card = card.model_copy(update={"multiple": net.multiple, "parameters": sum(p.numel() for p in net.parameters())})
    return card, net, fit


# A sigmoid output spans 0 … 1, so the classic autoencoder needs a closed range.
CLASSIC_INTENSITY = {
    "CT": {"kind": "range", "low": -1024.0, "high": 1024.0, "limits": [-1224.0, 1224.0]},
    "8-bit": {"kind": "range", "low": 0.0, "high": 255.0, "limits": [-64.0, 319.0]},
    "*": {"kind": "robust", "percentile": 99.5, "headroom": 1.5},
}
