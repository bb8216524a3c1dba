"""Where a run stands: all that a resumed one needs besides weights."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class Best:
    """The best epoch so far; 0 is the model as it was. value: what it was chosen by, higher is better."""

    value: float = -float("inf")
    epoch: int = 0
    psnr: float = float("nan")
    ssim: float = float("nan")


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass
class Standing:
    """epoch: whole ones done; step: done in the next one. sums, clipped, norm, epoch_seconds: of that epoch so far.

    rates: learning rates of the last step, by recipe group. passed: baselines that were beaten. began: date and time.
    gained, gained_epoch: what early stopping measures gains from.
    """

    epoch: int = 0
    step: int = 0
    best: Best = field(default_factory=Best)
    sums: dict[str, float] = field(default_factory=dict)
    clipped: int = 0
    norm: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    classical: str = ""
    passed: list[str] = field(default_factory=list)
    began: str = field(default_factory=_now)
    gained: float = -float("inf")
    gained_epoch: int = 0

    def plain(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """As it was stored."""
        return cls(**{**stored, "best": Best(**stored["best"])})

    def add(
        self, values: Mapping[str, float], norm: float, clipped: bool, rates: dict[str, float], seconds: float
    ) -> None:
        """One more step. values: the losses; norm: of the gradient; rates: that it was taken with."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.clipped += clipped
        self.norm = max(self.norm, norm)
        self.rates = rates
        self.step += 1
        self.seconds += seconds
        self.epoch_seconds += seconds

    def turn(self, epoch: int) -> None:
        """That epoch is done; the next one begins."""
        self.epoch, self.step, self.sums, self.clipped, self.norm, self.epoch_seconds = epoch, 0, {}, 0, 0.0, 0.0
