"""A network wrapped so that it takes any grey or colour slice of any size."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from aegui.errors import UserError
from aegui.models.card import Card
from aegui.models.names import part_of
from aegui.models.networks import ARCHITECTURES, Outputs


def _crop(image: Tensor, height: int, width: int) -> Tensor:
    if torch.compiler.is_exporting():
        # A slice would make torch.export guard on "nothing was padded" for the example's size.
        rows, columns = (torch.arange(side, device=image.device) for side in (height, width))
        return image.index_select(-2, rows).index_select(-1, columns)
    return image[..., :height, :width]


class SliceNet(nn.Module):
    """Pads to the network's multiple and crops back; repeats a grey slice for colour networks.

    x: (N, 1, H, W) normalised; colour slices go through grey networks channel by channel. Networks that see
    neighbours get the slices in order, (N, 2·neighbours + 1, H, W); a slice alone stands in for its neighbours.
    """

    def __init__(self, net: nn.Module, channels: int, multiple: int) -> None:
        super().__init__()
        self.net = net
        self.channels = channels
        self.multiple = multiple
        self.neighbours = int(getattr(net, "neighbours", 0))
        self._grouped = any(isinstance(module, nn.GroupNorm) for module in net.modules())

    @property
    def slices(self) -> int:
        """How many slices it sees at a time."""
        return 2 * self.neighbours + 1

    @property
    def planes(self) -> int:
        """How many planes the network itself takes."""
        return self.channels * self.slices

    def _fitted(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2], x.shape[-1]
        if x.shape[1] == 1 and self.planes > 1:
            x = x.expand(-1, self.planes, -1, -1)
        if self.multiple > 1:
            x = nn.functional.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        return x

    def outputs(self, x: Tensor, level: Tensor | None = None) -> Outputs:
        """All that the network computes; the image in the shape of x, of x with its neighbours that of a slice."""
        height, width = x.shape[-2], x.shape[-1]
        grey = x.shape[1] == 1 and self.channels > 1
        x = self._fitted(x)
        if self._grouped and self.training and torch.is_grad_enabled() and not x.requires_grad:
            # torch 2.13 on the CPU crashes in the backward pass of a group norm in channels-last layout whose input
            # needs no gradient, as when only normalisation layers are trained.
            x = x.detach().requires_grad_()
        # Every network of ARCHITECTURES has these; for torch's types any attribute of a module may be a tensor.
        found: Outputs = self.net.outputs(x, level)  # type: ignore[operator]
        image = _crop(found.image, height, width)
        return found._replace(image=image.mean(dim=1, keepdim=True) if grey else image)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The encoder's features of images without noise, from fine to coarse."""
        features: list[Tensor] = self.net.pyramid(self._fitted(x))  # type: ignore[operator]
        return features

    @property
    def variational(self) -> bool:
        """Whether its latent has moments."""
        return bool(getattr(self.net, "variational", False))

    def both(self, x: Tensor, level: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The image and, where there is a head, its logits (N, classes)."""
        found = self.outputs(x, level)
        return found.image, found.logits

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """The image alone, in the shape of x (of one slice of it)."""
        if x.shape[1] > self.planes == 1:
            count, colours, height, width = x.shape
            levels = None if level is None else level.repeat_interleave(colours)
            return self.both(x.reshape(-1, 1, height, width), levels)[0].reshape(count, colours, height, width)
        return self.both(x, level)[0]

    @property
    def head(self) -> nn.Module | None:
        """The classification head, or None."""
        head = self.net.head
        return head if isinstance(head, nn.Module) else None

    def part_of(self, name: str) -> str:
        """ "encoder", "decoder", "head" or "rest" for a parameter name of this module."""
        return part_of(name.removeprefix("net."))


def build(card: Card) -> SliceNet:
    """The card's network with random weights."""
    try:
        net = ARCHITECTURES[card.architecture](**card.options)
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(f"The options of model “{card.id}” do not fit its architecture.", f"({error})") from None
    return SliceNet(net, net.channels, net.multiple)


def parameters_by_part(net: SliceNet) -> dict[str, int]:
    """Number of parameters by part, in reading order; parts without any are left out."""
    counts = {"encoder": 0, "decoder": 0, "head": 0, "rest": 0}
    for name, parameter in net.named_parameters():
        counts[net.part_of(name)] += parameter.numel()
    return {part: count for part, count in counts.items() if count}


def on(device: torch.device, net: SliceNet) -> SliceNet:
    """The network on the device, in the memory layout convolutions like best."""
    return net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def fingerprint(net: SliceNet) -> str:
    """SHA-256 of the weights and of the layers they lie in, hex."""
    found = hashlib.sha256(f"{type(net.net).__name__} {net.channels} {net.multiple} {net.net}".encode())
    for name, values in sorted(net.net.state_dict().items()):
        found.update(name.encode())
        found.update(values.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
