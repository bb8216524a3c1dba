"""One derived instance: the source's data set with an identity of its own, saved."""

from __future__ import annotations

import hashlib
from io import BufferedReader

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from aegui.imaging.derived import noise, pixeldata, provenance
from aegui.imaging.derived.dataset import new_file_meta
from aegui.imaging.derived.identity import Identity
from aegui.imaging.derived.naming import series_description, series_number
from aegui.imaging.derived.outframes import OutputFrames
from aegui.imaging.derived.provenance import DENOISED, REMOVED_NOISE, Reference
from aegui.imaging.rules import OutputRules, Provenance
from aegui.imaging.staging import Spool, Staging, writing


class Writer:
    """Writes the instances of one derived series and of its noise. notes: what the report should say."""

    def __init__(self, rules: OutputRules, origin: Provenance, *, mosaic: bool) -> None:
        self._rules = rules
        self._origin = origin
        self._identity = Identity(rules, origin)
        self._words = f"{origin.words}{'; written as a mosaic, each tile denoised by itself' if mosaic else ''}"
        self.notes: list[str] = []

    def write(
        self,
        staging: Staging,
        name: str,
        dataset: Dataset,
        source: Reference,
        frames: OutputFrames,
        syntax: UID,
    ) -> str:
        """Save a denoised instance under `name`; returns its UID. syntax: the one to write, if its frames are."""
        pixels = hashlib.sha256()
        for frame in frames:
            pixels.update(pixeldata.little(frame).tobytes())
        volume = source.frames if source.volume else ()
        uid = self._identity.instance(source.sop_uid, pixels.hexdigest(), volume)
        provenance.set_image_type(dataset)
        self._describe(dataset, source, self._words, DENOISED)
        self._save(staging, name, dataset, frames, syntax, uid)
        return uid

    def write_noise(
        self,
        staging: Staging,
        name: str,
        dataset: Dataset,
        source: Reference,
        frames: OutputFrames,
        syntax: UID,
        denoised: str,
    ) -> None:
        """Save what was removed from the instance whose denoised UID is given."""
        uid = Identity.companion(denoised, noise.KIND)
        noise.turn_into_noise(dataset)
        provenance.set_image_type(dataset, noise=True)
        words = f"Removed noise: original minus denoised, in stored values. {self._words}"
        self._describe(dataset, source, words, REMOVED_NOISE, noise=True)
        self._save(staging, name, dataset, frames, syntax, uid)

    def _describe(self, dataset: Dataset, source: Reference, words: str, code: Code, *, noise: bool = False) -> None:
        """Where it comes from, and the series it belongs to."""
        kind = "noise" if noise else ""
        dataset.SeriesDescription = series_description(dataset, self._rules, self._origin, noise=noise)
        dataset.SeriesNumber = series_number(dataset, self._rules, noise=noise)
        dataset.SeriesInstanceUID = UID(self._identity.series(source.series_uid, kind))
        if source.volume:
            dataset.InstanceNumber = source.volume
        provenance.set_dates(dataset)
        provenance.set_derivation(dataset, words, code, source)
        provenance.add_equipment(dataset, words, self._origin)

    def _save(self, staging: Staging, name: str, dataset: Dataset, frames: OutputFrames, syntax: UID, uid: str) -> None:
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
        pixeldata.make_readable(dataset, all_of_it=was_implicit != (syntax == ImplicitVRLittleEndian))
        new_file_meta(dataset, syntax)
        try:
            with writing(staging.folder):
                dataset.save_as(staging.path / name, enforce_file_format=True)
        finally:
            if reader is not None:
                reader.close()

    def _note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)
