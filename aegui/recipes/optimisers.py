"""Parameter groups, adapters, optimisers and averages of weights. Value checks only: no torch here."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import chain, count
from typing import Annotated, Literal, Self

from pydantic import Field

from aegui.spec import Spec, knob, refuse

PARTS = ("encoder", "decoder", "head", "norm", "rest")


class ParameterGroup(Spec):
    """Parameters that share a learning rate. The first group that matches takes a parameter."""

    match: str = knob(
        "rest",
        title="Group",
        help="A part of the model, or a pattern of parameter names such as encoder.stages.0.*; “norm”: normalisation "
        "layers; “rest” takes what no other group took",
        min_length=1,
        max_length=200,
        suggested=PARTS,
    )
    learning_rate: float = knob(1e-4, title="Learning rate", help="Step size at the schedule's peak", gt=0, le=10)
    unfreeze_epoch: int = knob(
        0,
        title="Unfreeze at",
        help="Frozen before this epoch; 0: trained from the start",
        unit="epoch",
        ge=0,
        le=100_000,
    )
    train: bool = knob(True, title="Train", help="Off keeps these weights as they are")
    factor: float = knob(1.0, title="× factor", help="Multiplies the learning rate", gt=0, le=1000, advanced=True)
    layer_decay: float = knob(
        1.0,
        title="Layer decay",
        help="Each layer further from the output learns this many times as fast; 1: all alike",
        gt=0,
        le=1,
        advanced=True,
    )
    l2_sp: float = knob(
        0.0,
        title="Pull to start",
        help="L2 penalty on the distance from the pretrained weights (L2-SP)",
        ge=0,
        le=1e3,
        advanced=True,
    )

    @classmethod
    def another(cls, present: Sequence[Spec]) -> Self:
        """The first part of the model that no group names yet; then a pattern."""
        used = {group.match for group in present if isinstance(group, ParameterGroup)}
        patterns = (f"{part}.{number}.*" for number in count() for part in PARTS[:2])
        return cls(match=next(match for match in chain(PARTS, patterns) if match not in used))

    @property
    def rate(self) -> float:
        """The learning rate with its factor."""
        return self.learning_rate * self.factor

    @property
    def pattern(self) -> bool:
        """Whether it matches by names of parameters, not by a part of the model."""
        return self.match not in PARTS

    def takes(self, name: str, part: str, norm: bool) -> bool:
        """Whether a parameter is matched; “rest” matches none. part: as `part_of` says; norm: normalisation layer."""
        if self.match == "norm":
            return norm
        if not self.pattern:
            return self.match == part != "rest"
        return fnmatchcase(name, self.match) or fnmatchcase(name, f"{self.match}.*")


def taker(groups: Sequence[ParameterGroup], name: str, part: str, norm: bool) -> ParameterGroup | None:
    """The group a parameter belongs to: the first that matches, else “rest”, else none. name: without “net.”."""
    rest = next((group for group in groups if group.match == "rest"), None)
    return next((group for group in groups if group.takes(name, part, norm)), rest)


class FullWeights(Spec):
    """All weights: those of the parameter groups are trained."""

    kind: Literal["full"] = "full"


class LoRA(Spec):
    """Low-rank adapters (LoRA): the model stays as it is, small additions to its convolutions are trained."""

    kind: Literal["lora"] = "lora"
    rank: int = knob(4, title="Rank", help="Size of the additions; 2 to 16 is usual", ge=1, le=256)
    alpha: float = knob(4.0, title="α", help="The additions are scaled by α ÷ rank", gt=0, le=1e3)
    learning_rate: float = knob(1e-3, title="Learning rate", help="Of the adapters", gt=0, le=10)
    match: str = knob(
        "*",
        title="Layers",
        help="Pattern of layer names; * for every convolution",
        min_length=1,
        max_length=200,
        advanced=True,
    )


Adaptation = Annotated[FullWeights | LoRA, Field(discriminator="kind")]


class OptimiserPart(Spec):
    """What optimisers share."""

    weight_decay: float = knob(0.0, title="Weight decay", help="L2 penalty added to the gradient", ge=0, le=1)
    spare: bool = knob(
        True,
        title="Spare biases",
        help="No weight decay on normalisation layers and biases",
        advanced=True,
    )


class _Betas(OptimiserPart):
    beta1: float = knob(0.9, title="β₁", help="Memory of the gradient", ge=0, lt=1, advanced=True)
    beta2: float = knob(0.999, title="β₂", help="Memory of its square", ge=0, lt=1, advanced=True)


class Adam(_Betas):
    """Adam: adaptive moments, the usual choice."""

    kind: Literal["adam"] = "adam"


class AdamW(_Betas):
    """AdamW: Adam with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = knob(0.01, title="Weight decay", help="Shrinks weights at every step", ge=0, le=1)


class RAdam(_Betas):
    """RAdam: Adam that warms itself up."""

    kind: Literal["radam"] = "radam"


class NAdam(_Betas):
    """NAdam: Adam with Nesterov momentum."""

    kind: Literal["nadam"] = "nadam"


class SGD(OptimiserPart):
    """SGD: plain gradient steps with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = knob(0.9, title="Momentum", help="Share of the last step that is kept", ge=0, lt=1)
    nesterov: bool = knob(False, title="Nesterov", help="Looks ahead along the momentum; needs some momentum")

    def model_post_init(self, context: object) -> None:
        """Nesterov looks along a momentum."""
        if self.nesterov and not self.momentum:
            refuse(("Nesterov needs a momentum above 0. Try 0.9.", ("momentum",)))


class RMSprop(OptimiserPart):
    """RMSprop: scales steps by recent gradients."""

    kind: Literal["rmsprop"] = "rmsprop"
    smoothing: float = knob(0.99, title="Smoothing", help="Memory of squared gradients", ge=0, lt=1)
    momentum: float = knob(0.0, title="Momentum", help="Share of the last step that is kept", ge=0, lt=1)


class Adagrad(OptimiserPart):
    """Adagrad: steps shrink where gradients have been large."""

    kind: Literal["adagrad"] = "adagrad"


class Muon(_Betas):
    """Muon: steps that change all directions of a weight matrix alike; for training from scratch."""

    kind: Literal["muon"] = "muon"
    weight_decay: float = knob(0.0, title="Weight decay", help="Shrinks weights at every step", ge=0, le=1)
    momentum: float = knob(0.95, title="Momentum", help="Share of the last step that is kept", ge=0, lt=1)
    beta1: float = knob(0.9, title="β₁", help="Memory of the gradient of biases", ge=0, lt=1, advanced=True)
    beta2: float = knob(0.999, title="β₂", help="Memory of its square", ge=0, lt=1, advanced=True)


class LBFGS(Spec):
    """L-BFGS: uses curvature; for tiny sets, in one batch."""

    kind: Literal["lbfgs"] = "lbfgs"
    history: int = knob(10, title="History", help="Steps it remembers", ge=1, le=1000)
    iterations: int = knob(
        5, title="Iterations", help="Inner iterations of a step, each a forward and backward pass", ge=1, le=100
    )


Optimiser = Annotated[
    Adam | AdamW | SGD | RMSprop | Adagrad | RAdam | NAdam | Muon | LBFGS, Field(discriminator="kind")
]


class NoAveraging(Spec):
    """Off: the weights as they are."""

    kind: Literal["none"] = "none"


class EMA(Spec):
    """Moving average (EMA): recent weights count most."""

    kind: Literal["ema"] = "ema"
    decay: float = knob(0.999, title="Decay", help="0.999 averages over about 1000 steps", gt=0, lt=1)


class SWA(Spec):
    """Plain average (SWA): the weights at the end of each of the last epochs."""

    kind: Literal["swa"] = "swa"
    begins: float = knob(0.75, title="Begins at", help="Share of the run after which epochs are averaged", ge=0, lt=1)


Averaging = Annotated[NoAveraging | EMA | SWA, Field(discriminator="kind")]
