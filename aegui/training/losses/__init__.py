"""Loss terms as torch functions."""

from aegui.training.losses import adversarial, latent, perceptual, pixel, structure  # noqa: F401 - registers builders
from aegui.training.losses.pixel import total_variation
from aegui.training.losses.term import Comparison, Context, Learner, Seen, Term, build_term, pooled

__all__ = ["Comparison", "Context", "Learner", "Seen", "Term", "build_term", "pooled", "total_variation"]
