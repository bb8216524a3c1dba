"""Series that could be learnt from as pairs, with the reason. Proposals only: nothing uses them before the user does.

Independent repeats and two doses come first; what shares its noise comes last and is off by default. Echoes,
b-values, cardiac and contrast phases, and different objects are never each other's target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from aegui.data import likeness
from aegui.data.pairs import TARGETS, Pair, match_pairs, same_places
from aegui.imaging import Series

Kind = Literal["clean", "repeats", "dose", "shared-noise"]
DOSE_RATIO = 1.25  # doses closer than this are the same dose
MOVED = "Edges in the difference mean that something moved."


@dataclass(frozen=True)
class Proposal:
    """Pairs of one kind, in words. warning: what to know before they are used."""

    kind: Kind
    title: str
    why: str
    pairs: tuple[Pair, ...]
    warning: str = ""

    @property
    def on_by_default(self) -> bool:
        """Whether it is worth offering first; the others stand folded, last."""
        return self.kind != "shared-noise"

    @property
    def key(self) -> str:
        """The same for the same pairs, so that an answer can be remembered."""
        first = self.pairs[0]
        return f"{self.kind} {first.noisy.uid} {first.clean.uid} {len(self.pairs)}"

    @property
    def words(self) -> str:
        """One line for a terminal."""
        return " ".join(part for part in (f"{self.title}.", self.why, self.warning) if part)


def propose(series: Sequence[Series], clean: Sequence[Series] = ()) -> list[Proposal]:
    """The best first. clean: what the user called clean; then only its partners are looked for."""
    usable = [one for one in series if one.treat == "denoise" and not one.derived_here]
    if clean:
        chosen = {one.uid for one in clean}
        return _with_clean([one for one in usable if one.uid not in chosen], clean)
    return [*_repeats(usable), *_doses(usable), *_shared(usable)]


# ---------------------------------------------------------------- what the user called clean


def _with_clean(noisy: Sequence[Series], clean: Sequence[Series]) -> list[Proposal]:
    pairs = match_pairs(noisy, clean)
    # Beside pairs of one geometry, a guess by name or order is more likely another patient.
    pairs = [pair for pair in pairs if pair.sure] or pairs
    if not pairs:
        return []
    why = pairs[0].why
    guess = "" if all(pair.sure for pair in pairs) else f"Matched by {pairs[0].method}, not by position. Look first."
    return [Proposal("clean", "Clean series found", f"{_sentence(why)}: {_names(pairs)}.", tuple(pairs), guess)]


# ---------------------------------------------------------------- independent repeats


def _repeats(series: Sequence[Series]) -> list[Proposal]:
    groups: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        if likeness.repeatable(one):
            groups[(one.study_uid, likeness.protocol(one))].append(one)
    volumes: dict[str, list[list[Series]]] = defaultdict(list)
    for group in groups.values():
        for members in _of_one_place(group):
            if len(members) > 1:
                volumes[likeness.name(members[0])].append(members)
    return [_repeats_of(name, found) for name, found in volumes.items()]


def _of_one_place(group: Sequence[Series]) -> list[list[Series]]:
    """Series at equal positions, each measured at another time, in the order of time."""
    places: list[list[Series]] = []
    for one in sorted(group, key=likeness.moment):
        for place in places:
            if len(same_places(place[0], one)) == one.slices == place[0].slices:
                if all(likeness.independent(one, other) and _same_dose(one, other) for other in place):
                    place.append(one)
                break
        else:
            places.append([one])
    return places


def _repeats_of(name: str, volumes: Sequence[Sequence[Series]]) -> Proposal:
    pairs: list[Pair] = []
    why = "same patient, place and protocol, measured again"
    for members in volumes:
        # Each is an input once. Its neighbour in time is the target: there the least has moved in between.
        for one, other in [*pairwise(members), (members[-1], members[-2])]:
            pairs.append(Pair(one, other, same_places(one, other), "geometry", True, why, "repeat"))
    count = len(volumes[0])
    title = f"{count} repeats found" if len(volumes) == 1 else f"{len(volumes)} repeated scans found"
    text = f"“{name or volumes[0][0].modality}”: {why}. {MOVED}"
    return Proposal("repeats", title, text, tuple(pairs), TARGETS["repeat"])


# ---------------------------------------------------------------- low and full dose


def _doses(series: Sequence[Series]) -> list[Proposal]:
    measured = _by_measure(series)
    known = {pair.noisy.uid for pair, _ in measured}
    named = _by_mark([one for one in series if one.uid not in known])
    found = [(pair, share, "") for pair, share in measured]
    found += [(pair, share, "by name") for pair, share in named]
    if not found:
        return []
    pairs = tuple(pair for pair, _, _ in found)
    shares = sorted(share for _, share, _ in found)
    percent = f"{round(100 * shares[len(shares) // 2])} %"
    if any(how for _, _, how in found):
        why = f"The names say {percent} of the dose: {_names(pairs)}."
        return [Proposal("dose", "Low / full dose found", why, pairs, "Matched by name, not by position. Look first.")]
    if pairs[0].noisy.modality == "MR":
        why = f"Same positions and protocol, {percent} of the averages: {_names(pairs)}."
        return [Proposal("dose", "Few / many averages found", why, pairs, MOVED)]
    why = f"Same positions and spacing, {percent} of the dose: {_names(pairs)}."
    return [Proposal("dose", "Low / full dose found", why, pairs)]


def _by_measure(series: Sequence[Series]) -> list[tuple[Pair, float]]:
    """(pair, share of the dose) of series at the same positions, the rest of the protocol being equal."""
    groups: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        if one.form == "dicom" and one.geometry.positions:
            groups[likeness.but_dose(one)].append(one)
    found: list[tuple[Pair, float]] = []
    for group in groups.values():
        for one in group:
            best = max(
                (other for other in group if _ratio(one, other) >= DOSE_RATIO and same_places(one, other)),
                key=lambda other, one=one: (_ratio(one, other), len(same_places(one, other))),  # type: ignore[misc]
                default=None,
            )
            # Only the most exposed series is clean; what lies between would be target and input at once.
            if best is not None and all(_ratio(best, other) < DOSE_RATIO for other in group):
                why = "same positions, more dose"
                slices = same_places(one, best)
                found.append((Pair(one, best, slices, "geometry", True, why), 1 / _ratio(one, best)))
    return found


def _ratio(low: Series, high: Series) -> float:
    """How many times the dose of `low` the other one got; 1 if nothing says so."""
    for measure in likeness.DOSES:
        a, b = likeness.value(low, measure), likeness.value(high, measure)
        if a > 0 and b > 0 and max(a, b) >= DOSE_RATIO * min(a, b):
            # More averages in one go are the mean of these very parts: not independent.
            return 1.0 if measure == "averages" and likeness.moment(low) == likeness.moment(high) else b / a
    # Where a lower dose was simulated, the header may still tell of the full one.
    (one, a), (other, b) = likeness.mark(low), likeness.mark(high)
    return b / a if one == other and min(a, b) > 0 and low.modality != "MR" else 1.0


def _same_dose(a: Series, b: Series) -> bool:
    return 1 / DOSE_RATIO < _ratio(a, b) < DOSE_RATIO


def _by_mark(series: Sequence[Series]) -> list[tuple[Pair, float]]:
    """Volumes and images without positions: paths that differ in nothing but the word for the dose."""
    groups: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        if one.form != "dicom" and one.modality != "MR" and likeness.mark(one)[1] > 0:
            grid = (one.form, one.rows, one.columns, one.slices, one.channels, one.geometry.spacing)
            groups[(*grid, likeness.mark(one)[0])].append(one)
    found: list[tuple[Pair, float]] = []
    for group in groups.values():
        full = max(group, key=lambda one: likeness.mark(one)[1])
        for one in group:
            share = likeness.mark(one)[1] / likeness.mark(full)[1]
            if share * DOSE_RATIO <= 1:
                slices = tuple((i, i) for i in range(one.slices))
                found.append((Pair(one, full, slices, "name", False, "the names differ in the dose only"), share))
    return found


# ---------------------------------------------------------------- shared noise, different sharpness


def _shared(series: Sequence[Series]) -> list[Proposal]:
    """Two reconstructions of one acquisition; an average and its parts."""
    groups: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        if one.form == "dicom" and one.geometry.positions:
            groups[(one.patient, one.study_uid, one.modality, one.rows, one.columns, one.channels)].append(one)
    rules: tuple[tuple[Callable[[Series, Series], bool], str, str], ...] = (
        (likeness.smoother, "Two reconstructions", "Same acquisition, other kernel or thickness"),
        (likeness.averaged, "An average and its parts", "The average contains the noise of the parts"),
    )
    found: list[Proposal] = []
    for rule, title, why in rules:
        pairs: dict[str, Pair] = {}
        for group in groups.values():
            for one in group:
                partners = [other for other in group if other is not one and rule(other, one)]
                best = max(partners, key=lambda other, one=one: len(same_places(one, other)), default=None)  # type: ignore[misc]
                if best is not None and (slices := same_places(one, best)):
                    pairs[one.uid] = Pair(one, best, slices, "geometry", True, "same acquisition", "shared-noise")
        # The target of one pair is not the input of another: only the ends of a chain are of use.
        kept = tuple(pair for pair in pairs.values() if pair.clean.uid not in pairs) or tuple(pairs.values())
        if kept:
            found.append(Proposal("shared-noise", title, f"{why}: {_names(kept)}.", kept, TARGETS["shared-noise"]))
    return found


# ---------------------------------------------------------------- again, and in words


def confirmed_again(series: Sequence[Series], pairs: Iterable[tuple[str, str]]) -> list[Pair]:
    """Pairs that the user had confirmed, by (noisy uid, clean uid), found in a new scan with what is known of them."""
    by_uid = {one.uid: one for one in series}
    proposed = {(p.noisy.uid, p.clean.uid): p for found in propose(series) for p in found.pairs}
    out: list[Pair] = []
    for key in pairs:
        if key in proposed:
            out.append(proposed[key])
        elif key[0] in by_uid and key[1] in by_uid:
            out += match_pairs([by_uid[key[0]]], [by_uid[key[1]]])
    return out


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(pairs: Sequence[Pair]) -> str:
    first = pairs[0]
    more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    one, other = (likeness.told(series) for series in (first.noisy, first.clean))
    return f"“{one}” with “{other}”{more}"
