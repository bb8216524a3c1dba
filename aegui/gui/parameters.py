"""How many parameters of a model each group takes, read from the heads of its files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aegui.errors import UserError
from aegui.models import names
from aegui.recipes.optimisers import ParameterGroup, taker


@dataclass(frozen=True)
class Parameters:
    """Name, part, whether of a normalisation layer, count; empty where they are not known."""

    rows: tuple[tuple[str, str, bool, int], ...] = ()

    @classmethod
    def of(cls, ref: str | Path) -> Parameters:
        """Those of a model by id or file."""
        try:
            shapes = names.shapes_of(ref) if ref else None
        except (OSError, UserError):
            shapes = None
        if shapes is None:
            return cls()
        norms = names.norms(shapes)
        return cls(
            tuple(
                (name, names.part_of(name), name.rpartition(".")[0] in norms, math.prod(shapes[name]))
                for name in names.parameters(shapes)
            )
        )

    def by_group(self, groups: Sequence[ParameterGroup]) -> dict[str, int]:
        """Their number by the pattern of the group that takes them."""
        counts = {group.match: 0 for group in groups} if self.rows else {}
        for name, part, norm, count in self.rows:
            if (group := taker(groups, name, part, norm)) is not None:
                counts[group.match] += count
        return counts
