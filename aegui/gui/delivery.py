"""What Deliver is set to beside the output rules: how scans are denoised."""

from __future__ import annotations

from typing import Literal

from aegui.spec import Spec, knob


class Delivery(Spec):
    """Kept with the project. noise_level: SD in the unit of the scans; None: measured on each slice."""

    strength: float = knob(1.0, title="Strength", help="How much of what the model takes away goes", ge=0, le=1)
    average: Literal[1, 2, 4, 8] = knob(1, title="Average", help="Views of each slice that are averaged")
    noise_level: float | None = knob(None, title="Noise SD", help="What the model is told", ge=0)
