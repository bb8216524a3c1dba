"""Noisy and clean series that probably belong together. A proposal only: the user confirms it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from aegui import workflow
from aegui.imaging.series import Series

DOSE_RATIO = 1.25  # exposures closer than this are the same dose


@dataclass(frozen=True)
class Proposal:
    """Pairs of one kind. warning: why they may teach the wrong thing."""

    title: str
    why: str
    pairs: tuple[workflow.Pair, ...]
    warning: str = ""

    @property
    def studies(self) -> int:
        """How many studies it concerns."""
        return len({pair.noisy.study_uid for pair in self.pairs})


def propose(series: Sequence[Series], clean: Sequence[Series] = ()) -> list[Proposal]:
    """The best first: with what the user called clean; low with full dose; thin with thick or two kernels last."""
    usable = [one for one in series if one.treat == "denoise" and not one.derived_here]
    if clean:
        chosen = {one.uid for one in clean}
        return _with_clean([one for one in usable if one.uid not in chosen], clean)
    return _by_dose(usable) + _by_sharpness(usable)


def _with_clean(noisy: Sequence[Series], clean: Sequence[Series]) -> list[Proposal]:
    pairs = workflow.match_pairs(noisy, clean)
    # Beside pairs of one geometry, a guess by name or order is more likely another patient.
    pairs = [pair for pair in pairs if pair.sure] or pairs
    if not pairs:
        return []
    why = _sentence(pairs[0].why)
    guess = "" if all(pair.sure for pair in pairs) else f"Matched by {pairs[0].method}, not by position. Look first."
    return [Proposal("Clean series found", f"{why}: {_names(pairs)}.", tuple(pairs), guess)]


def _groups(series: Sequence[Series]) -> list[list[Series]]:
    """Series of one patient and one grid."""
    groups: dict[tuple[object, ...], list[Series]] = defaultdict(list)
    for one in series:
        if one.form == "dicom" and one.geometry.positions:
            groups[(one.patient, one.modality, one.rows, one.columns, one.channels)].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _exposure(series: Series) -> float:
    try:
        return float(series.acquisition.get("exposure") or 0)
    except (TypeError, ValueError):
        return 0.0


def _geometric(noisy: Sequence[Series], clean: Sequence[Series]) -> list[workflow.Pair]:
    return [pair for pair in workflow.match_pairs(noisy, clean) if pair.method == "geometry"]


def _by_dose(series: Sequence[Series]) -> list[Proposal]:
    pairs: list[workflow.Pair] = []
    for group in _groups(series):
        known = [one for one in group if _exposure(one) > 0]
        if not known:
            continue
        top = max(map(_exposure, known))
        full = [one for one in known if _exposure(one) * DOSE_RATIO > top]
        low = [one for one in known if _exposure(one) * DOSE_RATIO <= top]
        pairs += _geometric(low, full) if low else []
    if not pairs:
        return []
    share = sorted(_exposure(pair.noisy) / _exposure(pair.clean) for pair in pairs)[len(pairs) // 2]
    why = f"Same positions and spacing, {round(100 * share)} % of the dose: {_names(pairs)}."
    return [Proposal("Low / full dose found", why, tuple(pairs))]


def _by_sharpness(series: Sequence[Series]) -> list[Proposal]:
    pairs: list[workflow.Pair] = []
    for group in _groups(series):
        for one in group:
            for other in group:
                if _smoother(other, one) and _exposure(one) == _exposure(other):
                    pairs += _geometric([one], [other])
    if not pairs:
        return []
    warning = "One acquisition, reconstructed twice: both share their noise and differ in sharpness."
    why = f"Same positions, other kernel or thickness: {_names(pairs)}."
    return [Proposal("Two reconstructions found", why, tuple(_first_of_each(pairs)), warning)]


def _smoother(a: Series, b: Series) -> bool:
    """Whether `a` is the thicker one, or of two kernels of one family the softer one (B30 before B60)."""
    thick_a, thick_b = float(a.acquisition.get("thickness") or 0), float(b.acquisition.get("thickness") or 0)
    if thick_a and thick_b and thick_a != thick_b:
        return thick_a > thick_b
    return _sharpness(a) < _sharpness(b) if _sharpness(a) and _sharpness(b) else False


def _sharpness(series: Series) -> int:
    digits = "".join(c for c in str(series.acquisition.get("kernel") or "") if c.isdecimal())
    return int(digits[:2]) if digits else 0


def _first_of_each(pairs: Sequence[workflow.Pair]) -> list[workflow.Pair]:
    return list({pair.noisy.uid: pair for pair in reversed(pairs)}.values())[::-1]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(pairs: Sequence[workflow.Pair]) -> str:
    first = pairs[0]
    more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"“{first.noisy.description or 'no name'}” with “{first.clean.description or 'no name'}”{more}"
