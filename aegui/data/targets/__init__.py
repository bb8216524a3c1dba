"""Kinds of targets at work, one builder for each part of `aegui.recipes.targets`."""

from aegui.data.targets import blind, distillation, given, neighbours, recorrupted, repeats  # noqa: F401 - they register builders
from aegui.data.targets.kind import Drawn, Kind, Work, build_kind, not_beside, too_small

__all__ = ["Drawn", "Kind", "Work", "build_kind", "not_beside", "too_small"]
