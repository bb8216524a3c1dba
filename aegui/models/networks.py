"""The networks. Plain torch modules with plain arguments; all show `encoder`, `decoder` and a `head` or None.

Inputs and outputs are (N, channels, H, W) in normalised units, sides a multiple of the network's `multiple`. Networks
with `neighbours` get (N, channels·(2·neighbours + 1), H, W): the slices on both sides too, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from aegui.models.planes import middle

HEAD_SIDE = 16  # the classic head was trained on 64² inputs, whose features are 16²


class Outputs(NamedTuple):
    """All that a network computes. logits: (N, classes). latent: (N, features, h, w), the deepest features.

    moments: mean and logarithm of the variance of a variational model's latent.
    """

    image: Tensor
    logits: Tensor | None
    latent: Tensor
    moments: tuple[Tensor, Tensor] | None = None

    @property
    def shown(self) -> Tensor | tuple[Tensor, Tensor]:
        """What forward() returns: the image, with logits where there is a head."""
        return self.image if self.logits is None else (self.image, self.logits)


@runtime_checkable
class Halved(Protocol):
    """A network that tells what it removes, in two halves, so that the second may run in low precision.

    The first half sees the full range of values: bf16, whose steps are 1/128 of a value, would round away noise that
    is small beside it. The image is x − removed(first(x, level)), taken in full precision; of x with its neighbours
    the middle slice.
    """

    def first(self, x: Tensor, level: Tensor | None) -> Tensor:
        """x: (N, planes, H, W). level: (N,). Features (N, features, h, w)."""
        ...

    def removed(self, first: Tensor) -> Tensor:
        """The noise (N, c, H, W) of such features."""
        ...


def by_scale(layers: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """The last features at every picture size on the way through layers, from fine to coarse."""
    found: list[Tensor] = []
    for layer in layers:
        x = layer(x)
        if found and found[-1].shape[-2:] == x.shape[-2:]:
            found[-1] = x
        else:
            found.append(x)
    return found


class PooledHead(nn.Sequential):
    """A classification head for any image size: global average, then linear."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


class ConvAutoencoder(nn.Module):
    """The classic two-layer convolutional autoencoder with a sigmoid output.

    head: "none", "fixed" (Flatten-Linear on 16×16 features, as trained on 64² inputs; other sizes are
    average-pooled to it) or "pooled". With a head, forward returns (image, logits).
    """

    multiple = 4

    def __init__(self, channels: int = 1, classes: int = 0, head: str = "none") -> None:
        super().__init__()
        self.channels = channels
        self.features = 32
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 3, stride=2, padding=1, output_padding=1),
            nn.Sigmoid(),
        )
        self.classifier: nn.Sequential | None = None
        self.fixed_head = head == "fixed"
        if head == "fixed":
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * HEAD_SIDE * HEAD_SIDE, classes))
        elif head == "pooled":
            self.classifier = PooledHead(32, classes)

    @property
    def head(self) -> nn.Module | None:
        """The classifier, or None."""
        return self.classifier

    def attach_head(self, classes: int) -> None:
        """Add a fresh pooled head."""
        self.classifier, self.fixed_head = PooledHead(self.features, classes), False

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The encoder's features from fine to coarse."""
        return by_scale(self.encoder, x)

    def outputs(self, x: Tensor, level: Tensor | None = None) -> Outputs:
        """x: (N, c, H, W) in 0 … 1. level is not used."""
        z = self.encoder(x)
        image = self.decoder(z)
        if self.classifier is None:
            return Outputs(image, None, z)
        seen = z
        if self.fixed_head and z.shape[-2:] != (HEAD_SIDE, HEAD_SIDE):
            seen = nn.functional.adaptive_avg_pool2d(z, HEAD_SIDE)
        return Outputs(image, self.classifier(seen), z)

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The image, with logits where there is a head."""
        return self.outputs(x, level).shown


class ResidualBlock(nn.Module):
    """conv-ReLU-conv plus identity, without biases."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return x + self.conv2(torch.relu(self.conv1(x)))  # type: ignore[no-any-return]


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


class _Encoder(nn.Module):
    def __init__(self, inputs: int, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1, bias=False)
        self.stages = nn.ModuleList(_blocks(w, n) for w, n in zip(widths, blocks, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features from fine to coarse."""
        return self.after(self.stem(x))

    def after(self, stem: Tensor) -> list[Tensor]:
        """The same, of what the stem gave."""
        features = [self.stages[0](stem)]
        for down, stage in zip(self.downs, list(self.stages)[1:], strict=True):
            features.append(stage(down(features[-1])))
        return features


class _Decoder(nn.Module):
    def __init__(self, outputs: int, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in pairwise(widths))
        self.stages = nn.ModuleList(_blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.out = nn.Conv2d(widths[0], outputs, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        """features: as the encoder gives them."""
        x = features[-1]
        for up, stage, skip in zip(list(self.ups)[::-1], list(self.stages)[::-1], features[-2::-1], strict=True):
            x = stage(up(x) + skip)
        return self.out(x)  # type: ignore[no-any-return]


class ResidualAutoencoder(nn.Module):
    """A denoising autoencoder with skip connections that predicts the noise and takes its level as a map.

    Pixel-unshuffle ×2, then one scale per width. Without biases a network generalises over noise levels and
    does not care about the intensity scale (Mohan et al. 2020). neighbours: slices on either side that it sees
    besides the one it denoises (2.5D).
    """

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (2, 2, 2),
        classes: int = 0,
        neighbours: int = 0,
    ) -> None:
        super().__init__()
        if neighbours < 0 or (neighbours and channels != 1):
            raise ValueError("neighbours are slices on either side, 0 or more, of a grey image")
        self.channels = channels
        self.neighbours = neighbours
        self.features = widths[-1]
        self.multiple = 2 ** len(widths)
        self.encoder = _Encoder(4 * channels * (2 * neighbours + 1) + 1, widths, blocks)
        self.decoder = _Decoder(4 * channels, widths, blocks)
        self.head: nn.Module | None = PooledHead(self.features, classes) if classes else None
        # The last layer starts at zero: an untrained network returns its input.
        nn.init.zeros_(self.decoder.out.weight)

    def attach_head(self, classes: int) -> None:
        """Add a fresh pooled head."""
        self.head = PooledHead(self.features, classes)

    def _folded(self, x: Tensor, level: Tensor | None) -> Tensor:
        folded = nn.functional.pixel_unshuffle(x, 2)
        if level is None:
            level = x.new_zeros(x.shape[0])
        plane = level.to(folded.dtype).reshape(-1, 1, 1, 1).expand(-1, 1, folded.shape[-2], folded.shape[-1])
        return torch.cat([folded, plane], dim=1)

    def first(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """The stem's features; without a level, of an image without noise."""
        stem: Tensor = self.encoder.stem(self._folded(x, level))
        return stem

    def removed(self, first: Tensor) -> Tensor:
        """The noise in the image that has these first features."""
        return nn.functional.pixel_shuffle(self.decoder(self.encoder.after(first)), 2)

    def pyramid(self, x: Tensor, level: Tensor | None = None) -> list[Tensor]:
        """The encoder's features from fine to coarse; without a level, of an image without noise."""
        features: list[Tensor] = self.encoder(self._folded(x, level))
        return features

    def outputs(self, x: Tensor, level: Tensor | None = None) -> Outputs:
        """x: (N, planes, H, W). level: noise SD in the same units, (N,). The image is that of the middle slice."""
        features = self.pyramid(x, level)
        noise = nn.functional.pixel_shuffle(self.decoder(features).to(x.dtype), 2)
        logits = None if self.head is None else self.head(features[-1])
        return Outputs(middle(x, self.channels) - noise, logits, features[-1])

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The image, with logits where there is a head."""
        return self.outputs(x, level).shown


class MonaiAutoencoder(nn.Module):
    """MONAI's AutoEncoder behind the common parts; its middle belongs to the decoder. norm: "instance" or "batch"."""

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64),
        strides: Sequence[int] = (2, 2, 2),
        res_units: int = 1,
        classes: int = 0,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        from monai.networks.nets import AutoEncoder

        net = AutoEncoder(
            spatial_dims=2,
            in_channels=channels,
            out_channels=channels,
            channels=tuple(widths),
            strides=tuple(strides),
            num_res_units=res_units,
            norm=norm,
        )
        self.channels = channels
        self.features = widths[-1]
        self.multiple = 1
        for stride in strides:
            self.multiple *= stride
        self.encoder = net.encode
        self.decoder = nn.Sequential(net.intermediate, net.decode)
        self.head: nn.Module | None = PooledHead(self.features, classes) if classes else None

    def attach_head(self, classes: int) -> None:
        """Add a fresh pooled head."""
        self.head = PooledHead(self.features, classes)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The encoder's features from fine to coarse."""
        return by_scale(self.encoder, x)

    def outputs(self, x: Tensor, level: Tensor | None = None) -> Outputs:
        """x: (N, c, H, W). level is not used."""
        z = self.encoder(x)
        return Outputs(self.decoder(z), None if self.head is None else self.head(z), z)

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The image, with logits where there is a head."""
        return self.outputs(x, level).shown


class _VariationalEncoder(nn.Module):
    def __init__(self, body: nn.Module, mean: nn.Module, spread: nn.Module) -> None:
        super().__init__()
        self.body, self.mean, self.spread = body, mean, spread

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance."""
        x = self.body(x)
        return self.mean(x), self.spread(x).clamp(-30, 20)


class MonaiAutoencoderKL(nn.Module):
    """MONAI's AutoencoderKL behind the common parts: the latent is drawn while training, its mean is taken afterwards.

    Without attention, so that it takes slices of any size. latent: channels of the latent.
    """

    variational = True

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64),
        res_blocks: int = 1,
        latent: int = 16,
        groups: int = 8,
        classes: int = 0,
    ) -> None:
        super().__init__()
        from monai.networks.nets.autoencoderkl import AutoencoderKL

        net = AutoencoderKL(
            spatial_dims=2,
            in_channels=channels,
            out_channels=channels,
            channels=tuple(widths),
            num_res_blocks=res_blocks,
            attention_levels=(False,) * len(widths),
            latent_channels=latent,
            norm_num_groups=groups,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.channels = channels
        self.features = latent
        self.multiple = 1 << (len(widths) - 1)
        self.encoder = _VariationalEncoder(net.encoder, net.quant_conv_mu, net.quant_conv_log_sigma)
        self.decoder = nn.Sequential(net.post_quant_conv, net.decoder)
        self.head: nn.Module | None = PooledHead(self.features, classes) if classes else None

    def attach_head(self, classes: int) -> None:
        """Add a fresh pooled head."""
        self.head = PooledHead(self.features, classes)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The encoder's features from fine to coarse; the last is the latent's mean."""
        body = self.encoder.body
        assert isinstance(body.blocks, nn.ModuleList)
        return by_scale([*body.blocks, self.encoder.mean], x)

    def outputs(self, x: Tensor, level: Tensor | None = None) -> Outputs:
        """x: (N, c, H, W). level is not used."""
        mean, spread = self.encoder(x)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp() if self.training else mean
        return Outputs(self.decoder(z), None if self.head is None else self.head(mean), mean, (mean, spread))

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """The image, with logits where there is a head."""
        return self.outputs(x, level).shown


ARCHITECTURES: dict[
    str, type[ConvAutoencoder] | type[ResidualAutoencoder] | type[MonaiAutoencoder] | type[MonaiAutoencoderKL]
] = {
    "conv_autoencoder": ConvAutoencoder,
    "residual_autoencoder": ResidualAutoencoder,
    "monai_autoencoder": MonaiAutoencoder,
    "monai_autoencoder_kl": MonaiAutoencoderKL,
}
