"""What a denoised scan is worth: residual audit, reports."""

from aegui.analysis.residual import ALERT, structure_score

__all__ = ["ALERT", "structure_score"]
