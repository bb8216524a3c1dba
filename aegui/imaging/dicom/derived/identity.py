"""UIDs of derived series and instances: functions of what they are made from, never random by themselves."""

from __future__ import annotations

import uuid

from aegui.imaging.rules import OutputRules, Provenance

# Raised whenever the same source, model and settings would give another data set.
WRITER = 2
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "aegui derived image")


class Identity:
    """Gives out the UIDs of one derived series; none twice."""

    def __init__(self, rules: OutputRules, origin: Provenance) -> None:
        level = "measured" if origin.noise_level is None else f"{origin.noise_level:.9g}"
        self._settings: tuple[object, ...] = (origin.weights or origin.model, f"{origin.strength:.9g}", level, WRITER)
        if origin.views > 1:
            self._settings = (*self._settings, origin.views)
        self._runtime = f"{origin.engine}, {origin.precision}"
        self._lead = origin.lead or self._runtime
        # Mixed in, the UIDs of every batch are new.
        self._batch = () if rules.deterministic_uids else (origin.batch,)
        self._taken: set[str] = set()

    def series(self, source: str, kind: str = "") -> str:
        """Series Instance UID; the volumes of one source series share it."""
        return _uid("series", source, *self._settings, self._lead, *self._batch, *filter(None, (kind,)))

    def instance(self, source: str, pixels: str, frames: tuple[int, ...] = ()) -> str:
        """SOP Instance UID. pixels: SHA-256 of the output's. frames: those of the source, unless all."""
        parts = ("instance", source, pixels, *self._settings, self._runtime, *self._batch, *frames)
        # Broken archives give one UID to several images; should these be equal too, they are told apart by order.
        made, again = _uid(*parts), 1
        while made in self._taken:
            again += 1
            made = _uid(*parts, again)
        self._taken.add(made)
        return made

    @staticmethod
    def companion(instance: str, kind: str) -> str:
        """SOP Instance UID of what is written beside a derived instance."""
        return _uid("companion", instance, kind)


def _uid(*parts: object) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(str(part) for part in parts)).int}"
