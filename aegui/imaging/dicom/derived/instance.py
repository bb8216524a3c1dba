"""One derived instance: the source's data set with an identity of its own, saved."""

from __future__ import annotations

import hashlib
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from aegui.imaging.dicom.derived import noise, pixeldata, provenance
from aegui.imaging.dicom.derived.dataset import new_file_meta
from aegui.imaging.dicom.derived.identity import Identity
from aegui.imaging.dicom.derived.naming import series_description, series_number
from aegui.imaging.dicom.derived.outframes import OutputFrames
from aegui.imaging.dicom.derived.provenance import DENOISED, REMOVED_NOISE, Reference
from aegui.imaging.rules import OutputRules, Provenance
from aegui.imaging.staging import Spool, Staging, writing


class Draft(NamedTuple):
    """An instance without its pixels. source: what it is derived from. syntax: the one to write, if its frames are."""

    staging: Staging
    name: str
    dataset: Dataset
    source: Reference
    syntax: UID

    @property
    def path(self) -> Path:
        """Where it is saved."""
        return self.staging.path / self.name


class Writer:
    """Writes the instances of one derived series and of its noise. notes: what the report should say."""

    def __init__(self, rules: OutputRules, origin: Provenance, *, mosaic: bool) -> None:
        self._rules = rules
        self._origin = origin
        self._identity = Identity(rules, origin)
        self._words = f"{origin.words}{'; written as a mosaic, each tile denoised by itself' if mosaic else ''}"
        self.notes: list[str] = []

    def write(self, draft: Draft, frames: OutputFrames) -> str:
        """Save a denoised instance; returns its UID."""
        pixels = hashlib.sha256()
        for frame in frames:
            pixels.update(pixeldata.little(frame).tobytes())
        source = draft.source
        uid = self._identity.instance(source.sop_uid, pixels.hexdigest(), source.frames if source.volume else ())
        provenance.set_image_type(draft.dataset)
        self._describe(draft, self._words, DENOISED)
        self._save(draft, frames, uid)
        return uid

    def write_noise(self, draft: Draft, frames: OutputFrames, denoised: str) -> None:
        """Save what was removed from the instance whose denoised UID is given."""
        noise.turn_into_noise(draft.dataset)
        provenance.set_image_type(draft.dataset, noise=True)
        words = f"Removed noise: original minus denoised, in stored values. {self._words}"
        self._describe(draft, words, REMOVED_NOISE, removed=True)
        self._save(draft, frames, Identity.companion(denoised, noise.KIND))

    def _describe(self, draft: Draft, words: str, code: Code, *, removed: bool = False) -> None:
        """Where it comes from, and the series it belongs to."""
        dataset, source = draft.dataset, draft.source
        dataset.SeriesDescription = series_description(dataset, self._rules, self._origin, noise=removed)
        dataset.SeriesNumber = series_number(dataset, self._rules, noise=removed)
        dataset.SeriesInstanceUID = UID(self._identity.series(source.series_uid, noise.KIND if removed else ""))
        if source.volume:
            dataset.InstanceNumber = source.volume
        provenance.set_dates(dataset)
        provenance.set_derivation(dataset, words, code, source)
        provenance.add_equipment(dataset, words, self._origin)

    def _save(self, draft: Draft, frames: OutputFrames, uid: str) -> None:
        dataset, syntax = draft.dataset, draft.syntax
        was_implicit = dataset.original_encoding[0]
        like = frames.values[0]
        dataset.SOPInstanceUID = UID(uid)
        pixeldata.describe_pixels(dataset, like, bits=frames.bits)
        pixeldata.follow_sign(dataset, like.dtype.kind == "i")
        pixeldata.set_extremes(dataset, frames)
        reader: BufferedReader | None = None
        if syntax.is_encapsulated and frames.codes is None:
            self._note(f"Written uncompressed: {syntax.name} cannot hold its pixels")
            syntax = ExplicitVRLittleEndian
        if frames.codes is not None:
            pixeldata.set_compressed(dataset, frames.codes, syntax)
        elif isinstance(frames.values, Spool):
            reader = pixeldata.set_native_file(dataset, like, frames.values.path)
        else:
            pixeldata.set_native(dataset, frames.values)
        other = was_implicit != (syntax == ImplicitVRLittleEndian)
        pixeldata.make_readable(dataset, all_of_it=other, for_good=True)
        new_file_meta(dataset, syntax)
        try:
            with writing(draft.staging.folder):
                dataset.save_as(draft.path, enforce_file_format=True)
        finally:
            if reader is not None:
                reader.close()

    def _note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)
