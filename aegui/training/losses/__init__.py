"""Loss terms as torch functions."""

from aegui.training.losses.pixel import total_variation
from aegui.training.losses.term import Context, Seen, Term, build_term

__all__ = ["Context", "Seen", "Term", "build_term", "total_variation"]
