"""Phantom patients: chest and abdomen out of ellipses, one list per slice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aegui.sample.scanner import Ellipse

FAT, MUSCLE, LUNG = -100.0, 50.0, -860.0


@dataclass(frozen=True)
class _Tube:
    """A vessel: centre at the middle slice, drift per unit of depth, radius, stretch, angle."""

    x: float
    y: float
    dx: float
    dy: float
    radius: float
    stretch: float
    angle: float


@dataclass(frozen=True)
class Patient:
    """Someone made up from a seed. Depth runs from 0 (chest) to 1 (abdomen)."""

    seed: int

    def slices(self, count: int) -> list[list[Ellipse]]:
        """Ellipses of `count` slices from chest to abdomen."""
        rng = np.random.default_rng([7, self.seed])
        wide, deep = rng.uniform(0.92, 1.06), rng.uniform(0.92, 1.05)
        shape = rng.normal(0, 1, 16)
        tubes = [_tube(rng) for _ in range(420)]
        lobules = [_tube(rng) for _ in range(160)]
        # Depth starts at 0.15: the middle of the chest; it ends at the kidneys.
        depths = 0.15 + 0.8 * (np.arange(count) + 0.5) / count
        return [[_scaled(e, wide, deep) for e in _level(float(depth), shape, tubes, lobules)] for depth in depths]


def _tube(rng: np.random.Generator) -> _Tube:
    x, y = rng.uniform(-128, 128), rng.uniform(-85, 85)
    dx, dy = rng.normal(0, 30, 2)
    radius = min(0.9 + rng.exponential(1.1), 5.0)
    return _Tube(x, y, dx, dy, radius, rng.uniform(1, 2.6), rng.uniform(0, math.pi))


def _scaled(e: Ellipse, wide: float, deep: float) -> Ellipse:
    return Ellipse(e.x * wide, e.y * deep, e.a * wide, e.b * deep, e.hu, e.angle)


def _bump(depth: float, start: float, end: float) -> float:
    """Cross-section of a rounded organ that reaches from start to end: 0 outside, 1 in its middle."""
    t = (depth - start) / (end - start) * 2 - 1
    return math.sqrt(1 - t * t) if -1 < t < 1 else 0.0


def _level(depth: float, shape: np.ndarray, tubes: list[_Tube], lobules: list[_Tube]) -> list[Ellipse]:
    found = [Ellipse(0, 0, 165, 115, FAT + 1000), Ellipse(0, 1, 151, 102, MUSCLE - FAT)]
    bones = _bones(depth)
    lungs = _lungs(depth, shape)
    organs = _organs(depth, shape)
    taken = [*lungs, *bones, *organs]
    found += taken
    for lung in lungs:
        found += _vessels(lung, depth, tubes)
    for organ in organs:
        if organ.a > 40 and organ.hu > 0:  # the liver
            found += _vessels(organ, depth, tubes[:60], hu=45.0, limit=12)
            found += _lesions(organ, depth, shape)
    # Fat between the organs, so that soft tissue is not one flat area.
    found += _fat(taken, depth, lobules)
    return found


def _bones(depth: float) -> list[Ellipse]:
    found = [
        Ellipse(0, 54, 20, 17, 260),
        Ellipse(0, 54, 16.5, 13.5, -110),
        Ellipse(0, 80, 9, 8, -25),
        Ellipse(0, 93, 4.5, 7, 380),
        Ellipse(-24, 76, 13, 4, 330, 0.35),
        Ellipse(24, 76, 13, 4, 330, -0.35),
    ]
    ribs = 14
    for k in range(ribs):
        # Ribs slope: they wander along the chest wall with depth.
        phi = 2 * math.pi * (k + 0.5) / ribs + 0.5 * depth
        x, y = 138 * math.cos(phi), 91 * math.sin(phi)
        if abs(x) < 42 and y > 0:  # the spine's place
            continue
        if depth > 0.6 and y < 20:  # floating ribs only
            continue
        tangent = math.atan2(91 * math.cos(phi), -138 * math.sin(phi))
        found += [Ellipse(x, y, 10, 4.2, 520, tangent), Ellipse(x, y, 7.5, 2.2, -330, tangent)]
    return found


def _lungs(depth: float, shape: np.ndarray) -> list[Ellipse]:
    size = _bump(depth, -0.45, 0.5)
    if size < 0.15:
        return []
    back = 32 * max(0.0, depth) / 0.5  # they end behind the liver
    right = Ellipse(-76, -8 + back, (44 + shape[0]) * size, (70 + 2 * shape[1]) * size, LUNG - MUSCLE, 0.06)
    left = Ellipse(85, -6 + back, (37 + shape[2]) * size, (67 + 2 * shape[3]) * size, LUNG - MUSCLE, -0.06)
    return [right, left]


def _organs(depth: float, shape: np.ndarray) -> list[Ellipse]:
    """The lists never overlap within a level, so that added HU are those of the tissue."""
    blood = 110 + 12 * shape[4]
    found = [Ellipse(13, 27, 10.5, 10.5, blood), Ellipse(-19, 30, 9, 7.5, blood * 0.7)]
    heart = _bump(depth, -0.1, 0.48)
    if heart > 0.3:
        found += [Ellipse(7, -28, 36 * heart, 34 * heart, 25), Ellipse(12, -24, 20 * heart, 18 * heart, blood - 25)]
    liver = _bump(depth, 0.4, 1.3)
    if liver > 0.25:
        found.append(Ellipse(-56, -24, (61 + shape[5]) * liver, (50 + shape[6]) * liver, 55 + 5 * shape[7], -0.08))
    stomach = _bump(depth, 0.42, 1.05)
    if stomach > 0.3:
        found += [
            Ellipse(55, -40, 38 * stomach, 27 * stomach, -MUSCLE),
            Ellipse(55, -40 - 18 * stomach, 17 * stomach, 5 * stomach, -950),
        ]
    spleen = _bump(depth, 0.48, 0.95)
    if spleen > 0.2:
        found.append(Ellipse(97, 22, 21 * spleen, 34 * spleen, 65 + 5 * shape[8], 0.15))
    kidney = _bump(depth, 0.6, 1.25)
    if kidney > 0.2:
        for x in (-50.0, 52.0):
            found += [
                Ellipse(x, 58, 19 * kidney, 24 * kidney, 125 + 8 * shape[9]),
                Ellipse(x * 0.94, 57, 7 * kidney, 9 * kidney, -140),
            ]
    return found


def _vessels(
    organ: Ellipse, depth: float, tubes: list[_Tube], hu: float | None = None, limit: int = 70
) -> list[Ellipse]:
    """Those of the tubes that lie in an organ at this depth and touch no other."""
    found: list[Ellipse] = []
    for tube in tubes:
        x, y = tube.x + tube.dx * (depth - 0.5), tube.y + tube.dy * (depth - 0.5)
        long = tube.radius * tube.stretch
        free = all(math.hypot(x - e.x, y - e.y) > long + e.a for e in found)
        if free and organ.holds(x, y, long + 3):
            found.append(Ellipse(x, y, long, tube.radius, -organ.hu * 0.97 if hu is None else hu, tube.angle))
        if len(found) == limit:
            break
    return found


def _lesions(liver: Ellipse, depth: float, shape: np.ndarray) -> list[Ellipse]:
    """Low-contrast inserts: −40, −25 and +30 HU, 12 to 18 mm across."""
    found = []
    places = ((-0.45, 0.25, 9.0, -40.0, 0.75), (0.3, 0.3, 7.0, -25.0, 0.8), (-0.1, -0.5, 6.0, 30.0, 0.7))
    for k, (u, v, radius, hu, level) in enumerate(places):
        size = radius * _bump(depth, level - 0.2, level + 0.2)
        x, y = liver.x + u * liver.a + 2 * shape[10 + k], liver.y + v * liver.b
        if size > 2 and liver.holds(x, y, size + 2):
            found.append(Ellipse(x, y, size, size, hu))
    return found


def _fat(taken: list[Ellipse], depth: float, lobules: list[_Tube]) -> list[Ellipse]:
    found: list[Ellipse] = []
    cavity = Ellipse(0, 0, 132, 84, 0)
    for tube in lobules:
        x, y = tube.x + 0.5 * tube.dx * (depth - 0.5), tube.y + 0.5 * tube.dy * (depth - 0.5)
        a, b = 3 * tube.radius, 1.6 * tube.radius + 1
        reach = max(a, b) + 1
        clear = all(not _near(e, x, y, reach) for e in taken)
        if clear and cavity.holds(x, y, reach) and all(math.hypot(x - e.x, y - e.y) > reach + e.a for e in found):
            found.append(Ellipse(x, y, a, b, FAT - MUSCLE, tube.angle))
    return found


def _near(e: Ellipse, x: float, y: float, reach: float) -> bool:
    return e.holds(x, y, -reach)
