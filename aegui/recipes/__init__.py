"""Fine-tuning recipes: the one list of fields behind forms, files, overrides and documentation."""

from aegui.recipes.recipe import Recipe, differences, load, shipped

__all__ = ["Recipe", "differences", "load", "shipped"]
