"""Classical filters, tuned: the baselines every model is held against."""

from aegui.classical.filters import FILTERS, QUICK, Filter, Tuned, tune

__all__ = ["FILTERS", "QUICK", "Filter", "Tuned", "tune"]
