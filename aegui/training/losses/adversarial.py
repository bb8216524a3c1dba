"""A second network that tells results from clean images, and the term that fools it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aegui.models.seeded import seeded
from aegui.recipes.losses import Adversarial
from aegui.training.losses.term import Context, Seen, Term, build_term

WIDTH = 16
LAYERS = 2  # each judgement sees 34 × 34 px
SMALLEST = 16  # px, the least that gives a judgement


class Judge:
    """MONAI's patch discriminator with least squares (Mao et al. 2017) and an Adam of its own; colours one by one."""

    def __init__(self, part: Adversarial, device: torch.device) -> None:
        from monai.losses.adversarial_loss import PatchAdversarialLoss
        from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

        with seeded(0):
            # Unlike batch norm, this keeps nothing between steps: validation cannot change it.
            self.net = PatchDiscriminator(2, WIDTH, 1, num_layers_d=LAYERS, norm="INSTANCE")
        self.net.to(device).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=part.learning_rate, betas=(0.5, 0.999))
        self._wrong = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)

    def _judgement(self, images: Tensor) -> Tensor:
        rows, columns = images.shape[-2:]
        single = images.reshape(-1, 1, rows, columns)
        if min(rows, columns) < SMALLEST:
            missing = (0, max(0, SMALLEST - columns), 0, max(0, SMALLEST - rows))
            single = nn.functional.pad(single, missing, mode="replicate")
        judgement: Tensor = self.net(single)[-1]
        return judgement

    def __call__(self, seen: Seen) -> Tensor:
        """How far the results are from being taken for clean images."""
        value: Tensor = self._wrong(self._judgement(seen.output), True, False)
        return value

    def learn(self, seen: Seen) -> float:
        """One step towards telling this batch's results from its targets; its loss."""
        self.net.requires_grad_(True)
        try:
            with torch.enable_grad(), torch.autocast(seen.output.device.type, enabled=False):
                fake = self._wrong(self._judgement(seen.output.detach()), False, True)
                real = self._wrong(self._judgement(seen.target), True, True)
                loss: Tensor = (fake + real) / 2
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
        finally:
            self.net.requires_grad_(False)
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {"weights": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.net.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])


@build_term.register
def _(part: Adversarial, context: Context) -> Term:
    return Judge(part, context.device)
