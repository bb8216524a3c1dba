"""Pixels per length: when it is the size of a pixel in the patient, and when only a screen's or a printer's."""

from __future__ import annotations

import math

MM_PER_INCH = 25.4
LENGTHS = {
    "m": 1000.0, "meter": 1000.0, "metre": 1000.0, "cm": 10.0, "centimeter": 10.0, "mm": 1.0, "millimeter": 1.0,
    "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "nm": 1e-6,
    "in": MM_PER_INCH, "inch": MM_PER_INCH,
}  # fmt: skip
_SCREENS = (72, 96, 100, 150, 200, 300, 600, 1200)  # dpi, and of printers
_SMALLEST, _LARGEST = 1e-6, 100.0  # mm


def plausible(step: float, inch: float = 0.0) -> bool:
    """Whether a pixel may be `step` mm wide. inch: mm per inch, where the value may come from a screen's dpi."""
    if not math.isfinite(step) or not _SMALLEST <= step <= _LARGEST:
        return False
    # PNG stores whole pixels per metre, so that 72 dpi comes as 72.009.
    return not inch or (min(abs(inch / step - usual) for usual in _SCREENS) > 0.03 and inch / step > 1.01)


def from_dpi(dpi: object) -> tuple[float, float] | None:
    """(y, x) in mm from Pillow's (x, y) in dots per inch; None where that says nothing of the patient."""
    try:
        x, y = (MM_PER_INCH / float(value) for value in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (y, x) if plausible(x, MM_PER_INCH) and plausible(y, MM_PER_INCH) else None
