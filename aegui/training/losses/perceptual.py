"""Features of a frozen network must agree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aegui.errors import UserError
from aegui.models.slicenet import SliceNet
from aegui.recipes.losses import Perceptual
from aegui.training.backbones import available, missing
from aegui.training.losses.term import Context, Seen, Term, build_term, compared

_SIDE = 64


def _typical(net: SliceNet, device: torch.device) -> Tensor:
    steps = torch.linspace(0, 1, _SIDE, device=device)
    image = 0.5 + 0.25 * torch.sin(9 * steps)[None, :] * torch.cos(7 * steps)[:, None]
    return image.expand(1, net.channels, _SIDE, _SIDE)


class _Own:
    """The start network's encoder: squared differences at every scale, relative to what a generated slice gives."""

    def __init__(self, start: SliceNet, device: torch.device) -> None:
        self.net = start.to(device).eval().requires_grad_(False)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            powers = [float(f.float().square().mean()) for f in self.net.pyramid(_typical(start, device))]
        # A layer that is dead for the generated slice counts as it is.
        self.gains = [1 / power if power > 1e-8 else 1.0 for power in powers]

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.net.pyramid(target)
        found = self.net.pyramid(output)
        differences = [
            gain * nn.functional.mse_loss(one, other)
            for gain, one, other in zip(self.gains, found, wanted, strict=True)
        ]
        return torch.stack(differences).mean()


@build_term.register
def _(part: Perceptual, context: Context) -> Term:
    if part.features == "own":
        own = _Own(context.start, context.device)
        return lambda seen: own(*compared(part, seen))
    if words := available(part):
        raise UserError(words, f"Missing: {', '.join(missing(part))}. Or use the features of the model's own encoder.")
    from monai.losses.perceptual import PerceptualLoss

    lpips = part.features == "lpips"
    net = PerceptualLoss(2, "alex" if lpips else "radimagenet_resnet50", is_fake_3d=False)
    net.to(context.device).eval().requires_grad_(False)

    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        # LPIPS takes −1 … 1, the other 0 … 1.
        value: Tensor = net(2 * output - 1, 2 * target - 1) if lpips else net(output, target)
        return value

    return term
