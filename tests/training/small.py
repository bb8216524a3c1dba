"""Small networks and problems for tests of the optimisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aegui import recipes
from aegui.models.networks import ConvAutoencoder, Outputs, ResidualAutoencoder
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.training import optimisation
from aegui.training.stepping import take_step


class BatchNormed(nn.Module):
    """A tiny autoencoder with batch norm."""

    channels = 1
    features = 6
    multiple = 2

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.decoder = nn.Sequential(nn.ConvTranspose2d(6, 1, 2, stride=2), nn.BatchNorm2d(1))
        self.head: nn.Module | None = None

    def outputs(self, x: Tensor, level: Tensor | None = None) -> Outputs:
        z = self.encoder(x)
        return Outputs(self.decoder(z), None, z)


def classic(seed: int = 3, classes: int = 0) -> SliceNet:
    torch.manual_seed(seed)
    return SliceNet(ConvAutoencoder(1, classes, "pooled" if classes else "none"), 1, 4)


def residual(seed: int = 3) -> SliceNet:
    torch.manual_seed(seed)
    net = ResidualAutoencoder(1, (4, 6, 8), (1, 1, 1), classes=2)
    nn.init.normal_(net.decoder.out.weight, std=0.05)
    return SliceNet(net, 1, net.multiple)


def normed(seed: int = 3) -> SliceNet:
    torch.manual_seed(seed)
    return SliceNet(BatchNormed(), 1, 2)


def recipe(*settings: str, groups: str = "[{match: rest, learning_rate: 1.0e-2}]") -> Recipe:
    return recipes.load("denoise").with_set([f"groups={groups}", *settings])


def slices(count: int = 4, side: int = 16) -> tuple[Tensor, Tensor]:
    """(noisy, clean)."""
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand((count, 1, side, side), generator=generator)
    return clean + 0.1 * torch.randn(clean.shape, generator=generator), clean


def loss_of(net: SliceNet) -> Tensor:
    """Mean squared error on the slices."""
    noisy, clean = slices()
    return nn.functional.mse_loss(net.outputs(noisy, torch.full((len(noisy),), 0.1)).image, clean)


def train(net: SliceNet, part: Recipe, steps: int = 5, per_epoch: int = 1, begin: int = 0) -> list[float]:
    """A run without data or files; returns its losses."""
    return Small(net, part, per_epoch).run(begin, steps)


class Small:
    """A run that can be taken up again."""

    def __init__(self, net: SliceNet, part: Recipe, per_epoch: int = 1) -> None:
        self.net, self.part, self.per_epoch = net, part, per_epoch
        self.optimiser, self.schedule = optimisation.build(part, net, per_epoch)

    def run(self, begin: int, end: int) -> list[float]:
        losses = []
        for step in range(begin, end):
            self.schedule.begin_epoch(step // self.per_epoch + 1)
            self.net.train()

            def backward() -> Tensor:
                loss = loss_of(self.net)
                loss.backward()  # type: ignore[no-untyped-call]
                losses.append(float(loss.detach()))
                return loss.detach()

            take_step(self.optimiser, backward, self.part.regularisation)
            self.schedule.step()
        return losses

    def state(self) -> dict[str, object]:
        return {
            "weights": {k: v.clone() for k, v in self.net.state_dict().items()},
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load(self, state: dict[str, object]) -> None:
        self.net.load_state_dict(state["weights"])  # type: ignore[arg-type]
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]
        self.schedule.load_state_dict(state["schedule"])  # type: ignore[arg-type]
