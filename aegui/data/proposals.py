"""Series that could be learnt from as pairs, with the reason. Proposals only: nothing uses them before the user does.

Independent repeats and two doses come first; what shares its noise comes last and is off by default. Echoes,
b-values, cardiac and contrast phases, and different objects are never each other's target.
"""

from __future__ import annotations

import math
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


class _Place:
    """Series at equal positions, each measured at another time, in the order of time."""

    def __init__(self, first: Series) -> None:
        self.members = [first]
        self._moments = {likeness.moment(first)}
        self._triggers = {likeness.value(first, "temporal"): likeness.value(first, "trigger")}

    def offer(self, one: Series) -> bool:
        """Whether it lies here. Taken in only if it was measured apart from all others, at the same dose."""
        first = self.members[0]
        if one.slices != first.slices or math.dist(one.geometry.positions[0], first.geometry.positions[0]) > 1:
            return False  # most are told apart by this alone, which is quick
        if len(same_places(first, one)) != one.slices:
            return False
        moment, trigger = likeness.moment(one), likeness.value(one, "trigger")
        # Trigger times run with the repeats; where only they differ, they are phases of a heartbeat.
        alone = self._triggers.setdefault(likeness.value(one, "temporal"), trigger) == trigger
        if moment not in self._moments and alone and _same_dose(first, one):
            self._moments.add(moment)
            self.members.append(one)
        return True


def _of_one_place(group: Sequence[Series]) -> list[list[Series]]:
    places: list[_Place] = []
    for one in sorted(group, key=likeness.moment):
        if not any(place.offer(one) for place in places):
            places.append(_Place(one))
    return [place.members for place in places]


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
    groups: dict[tuple[Any, ...], dict[likeness.Dose, list[Series]]] = defaultdict(lambda: defaultdict(list))
    for one in series:
        if one.form == "dicom" and one.geometry.positions:
            groups[likeness.but_dose(one)][likeness.dose(one)].append(one)
    found: list[tuple[Pair, float]] = []
    for doses in groups.values():
        # Only the most exposed series are clean; what lies between would be target and input at once.
        highest = [d for d in doses if len(doses) > 1 and all(_ratio(d, other) < DOSE_RATIO for other in doses)]
        for dose, members in doses.items():
            enough = [one for high in highest if _ratio(dose, high) >= DOSE_RATIO for one in doses[high]]
            for one in members if enough else ():
                best, slices = _nearest(one, [other for other in enough if _apart(one, other)])
                if best is not None:
                    share = 1 / _ratio(dose, likeness.dose(best))
                    found.append((Pair(one, best, slices, "geometry", True, "same positions, more dose"), share))
    return found


def _nearest(one: Series, partners: Sequence[Series]) -> tuple[Series | None, tuple[tuple[int, int], ...]]:
    """The partner with the most slices at the same places."""
    best: Series | None = None
    slices: tuple[tuple[int, int], ...] = ()
    for other in partners:
        if len(found := same_places(one, other)) > len(slices):
            best, slices = other, found
    return best, slices


def _ratio(low: likeness.Dose, high: likeness.Dose) -> float:
    """How many times the dose of `low` the other one is; 1 if nothing says so."""
    for a, b in zip(low.measured, high.measured, strict=True):
        if a > 0 and b > 0 and max(a, b) >= DOSE_RATIO * min(a, b):
            return b / a
    # Where a lower dose was simulated, the header may still tell of the full one.
    return high.named / low.named if low.name == high.name and min(low.named, high.named) > 0 else 1.0


def _same_dose(a: Series, b: Series) -> bool:
    return 1 / DOSE_RATIO < _ratio(likeness.dose(a), likeness.dose(b)) < DOSE_RATIO


def _apart(a: Series, b: Series) -> bool:
    """More averages in one go are the mean of these very parts: not independent."""
    return a.modality != "MR" or likeness.moment(a) != likeness.moment(b)


def _by_mark(series: Sequence[Series]) -> list[tuple[Pair, float]]:
    """Volumes and images without positions: paths that differ in nothing but the word for the dose."""
    groups: dict[tuple[Any, ...], list[tuple[float, Series]]] = defaultdict(list)
    for one in series:
        if one.form != "dicom" and one.modality != "MR":
            name, share = likeness.mark(one)
            groups[(one.form, one.rows, one.columns, one.slices, one.channels, one.geometry.spacing, name)].append(
                (share, one)
            )
    found: list[tuple[Pair, float]] = []
    for group in groups.values():
        most, full = max(group, key=lambda item: item[0])
        for share, one in group:
            if share * DOSE_RATIO <= most:
                slices = tuple((i, i) for i in range(one.slices))
                pair = Pair(one, full, slices, "name", False, "the names differ in the dose only")
                found.append((pair, share / most))
    return found


# ---------------------------------------------------------------- shared noise, different sharpness


def _shared(series: Sequence[Series]) -> list[Proposal]:
    """Two reconstructions of one acquisition; an average and its parts."""
    usable = [one for one in series if one.form == "dicom" and one.geometry.positions]
    rules: tuple[tuple[Callable[[Series], likeness.Place | None], str, str], ...] = (
        (likeness.smoothness, "Two reconstructions", "Same acquisition, other kernel or thickness"),
        (likeness.averaging, "An average and its parts", "The average contains the noise of the parts"),
    )
    found: list[Proposal] = []
    for rule, title, why in rules:
        pairs = _up_one(usable, rule)
        if pairs:
            found.append(Proposal("shared-noise", title, f"{why}: {_names(pairs)}.", pairs, TARGETS["shared-noise"]))
    return found


def _up_one(series: Sequence[Series], rule: Callable[[Series], likeness.Place | None]) -> tuple[Pair, ...]:
    """Every series with the smoothest one of its acquisition, which is nobody's input."""
    groups: dict[tuple[Any, ...], list[tuple[tuple[float, ...], Series]]] = defaultdict(list)
    for one in series:
        if (place := rule(one)) is not None:
            key = (one.patient, one.study_uid, one.modality, one.rows, one.columns, one.channels, *place.key)
            groups[key].append((place.rank, one))
    pairs: list[Pair] = []
    for group in groups.values():
        top = max(rank for rank, _ in group)
        smoothest = [one for rank, one in group if rank == top]
        for rank, one in group:
            if rank < top:
                best, slices = _nearest(one, smoothest)
                if best is not None:
                    pairs.append(Pair(one, best, slices, "geometry", True, "same acquisition", "shared-noise"))
    return tuple(pairs)


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
