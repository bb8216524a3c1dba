"""Classical filters, tuned: the baselines every model is held against."""

from aegui.classical.filters import FILTERS, Tuned, tune

__all__ = ["FILTERS", "Tuned", "tune"]
