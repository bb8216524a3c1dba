"""Files of derived series: one per slice, or one for all frames, in folders that appear when they are whole."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from aegui.errors import UserError
from aegui.imaging.dicom.deidentify import Deidentifier
from aegui.imaging.dicom.derived import noise, pixeldata
from aegui.imaging.dicom.derived.dataset import complete, strip
from aegui.imaging.dicom.derived.instance import Draft, Writer
from aegui.imaging.dicom.derived.keepframes import keep_frames
from aegui.imaging.dicom.derived.loss import keep_loss, was_lossy
from aegui.imaging.dicom.derived.naming import FileNames
from aegui.imaging.dicom.derived.outframes import FrameStore, OutputFrames
from aegui.imaging.dicom.derived.overlays import lift_overlays
from aegui.imaging.dicom.derived.provenance import Reference
from aegui.imaging.dicom.derived.refusal import refusal
from aegui.imaging.dicom.elements import BIG_ENDIAN, text, whole
from aegui.imaging.dicom.headers import read_dataset
from aegui.imaging.dicom.pixels import DicomSource, decode
from aegui.imaging.encoding import Tally, encode
from aegui.imaging.removed import difference, narrow
from aegui.imaging.rules import OutputRules, Provenance, output_name
from aegui.imaging.series import Pixels, Stored
from aegui.imaging.staging import SeriesFolders, writing

_SPOOL = ".frames.part"  # safe names never begin with a dot


class DicomSink:
    """Writes one file per slice, or one for all frames; with the noise series, a second folder beside it."""

    def __init__(self, source: DicomSource, folder: Path, rules: OutputRules, origin: Provenance) -> None:
        series = source.series
        header = source.header(0)
        if reason := refusal(series, header, rules):
            raise UserError(f"{series.description or series.modality} is not written as DICOM. {reason}")
        self._source = source
        self._rules = rules
        self._person = Deidentifier(origin.secret, origin.pseudonym(series)) if rules.deidentify else None
        self._writer = Writer(rules, origin, mosaic=bool(series.mosaic))
        self._tally = Tally(len(source))
        self._names = FileNames()
        self._lossy = False
        self._wide: set[Path] = set()
        self._narrow: set[Path] = set()
        self._folders = SeriesFolders(folder, output_name(series, rules, origin), noise=rules.noise_series)
        # The frames of one file, in file order; tiles of a mosaic stay in the picture they are part of.
        self._order = sorted(series.frames) if self._in_one_file else []
        self._frames: FrameStore | None = None
        self._noise_frames: FrameStore | None = None
        self._mosaic: Stored | None = None
        self._mosaic_noise: Stored | None = None

    @property
    def clipped(self) -> int:
        """How many pixels did not fit into the stored type."""
        return self._tally.clipped

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how it was written."""
        lossy = "The source was compressed with loss" if self._lossy else ""
        return tuple(note for note in (lossy, *self._writer.notes) if note)

    @property
    def _in_one_file(self) -> bool:
        return bool(self._source.series.frames) and not self._source.series.mosaic

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`, in the source's real units."""
        item = self._source.slice(index)
        stored = item.stored
        values = self._encoded(index, pixels)
        removed = difference(stored, values) if self._folders.noise else None
        if self._source.series.mosaic:
            self._put_tile(index, values, removed)
        elif self._in_one_file:
            self._put_frame(index, values, removed)
        else:
            self._save_slice(index, values, removed)
        self._tally.take(index)

    def _encoded(self, index: int, pixels: Pixels) -> Stored:
        item = self._source.slice(index)
        if item.stored.dtype.kind == "f":
            raise UserError("Pixels that are not whole numbers are not written as DICOM.", "Choose NIfTI.")
        limits = pixeldata.stored_range(self._bits(index), item.stored.dtype.kind == "i")
        scale = (item.slope, item.intercept)
        if item.stored.ndim == 3:
            scale = (1.0 if item.bits <= 8 else 255 / limits[1], 0.0)  # colours are read as 0 to 255
        values = encode(pixels, item.stored, self._source.valid(index), scale, limits, self._tally)
        return values if item.stored.ndim == 2 else np.where(pixels == self._source.read(index), item.stored, values)

    def finish(self) -> Path:
        """Rename the folders into place; returns that of the denoised series."""
        self._tally.close()
        if self._mosaic is not None:
            self._save_slice(0, self._mosaic, self._mosaic_noise)
        if self._frames is not None:
            self._save_frames(self._frames)
        for path in self._narrow if self._wide else ():
            with writing(self._folders.denoised.folder):
                noise.widen(path)
        return self._folders.publish()

    def abort(self) -> None:
        """Remove what was written."""
        for store in (self._frames, self._noise_frames):
            if store is not None:
                store.close()
        self._folders.discard()

    # --- slices as they come ---------------------------------------------------------------------------------

    def _put_tile(self, index: int, values: Stored, removed: Stored | None) -> None:
        if self._mosaic is None:
            self._mosaic = decode(self._source.file(0)).copy()
            self._mosaic_noise = None if removed is None else np.zeros(self._mosaic.shape, "<i4")
        series = self._source.series
        down, across = divmod(series.frames[index], series.mosaic)
        rows, columns = values.shape
        tile = np.s_[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns]
        self._mosaic[tile] = values
        if self._mosaic_noise is not None:
            self._mosaic_noise[tile] = removed

    def _put_frame(self, index: int, values: Stored, removed: Stored | None) -> None:
        if self._frames is None:
            count, bits, syntax = len(self._order), self._bits(index), self._target(self._source.header(0))
            self._frames = FrameStore(self._folders.denoised.path / _SPOOL, count, values, bits, syntax)
            if self._folders.noise:
                path = self._folders.noise.path / _SPOOL
                self._noise_frames = FrameStore(path, count, values, bits, syntax, removed=True)
        place = bisect_left(self._order, self._source.series.frames[index])
        self._frames.put(place, values)
        if self._noise_frames is not None and removed is not None:
            self._noise_frames.put(place, removed)

    def _save_slice(self, index: int, values: Stored, removed: Stored | None) -> None:
        draft, beside = self._drafts(index)
        uid = self._writer.write(draft, OutputFrames.single(values, self._bits(index), draft.syntax))
        if beside is None or removed is None:
            return
        short = narrow(removed) and values.dtype.itemsize <= 2
        frames = OutputFrames.single(removed.astype("<i2") if short else removed, 16 if short else 32, draft.syntax)
        self._writer.write_noise(beside, frames, uid)
        (self._narrow if short else self._wide).add(beside.path)

    def _save_frames(self, frames: FrameStore) -> None:
        draft, beside = self._drafts(0)
        uid = self._writer.write(draft, frames.frames())
        frames.discard()
        if beside is not None and self._noise_frames is not None:
            self._writer.write_noise(beside, self._noise_frames.frames(), uid)
            self._noise_frames.discard()

    def _drafts(self, index: int) -> tuple[Draft, Draft | None]:
        """The instance of slice `index` without its pixels, and that of its noise."""
        dataset = self._prepared(index)
        syntax = self._target(dataset)
        source = self._adapted(dataset, index)
        if self._order:
            keep_frames(dataset, tuple(self._order))
        lift_overlays(dataset, self._words(index))
        draft = Draft(self._folders.denoised, self._name(index), dataset, source, syntax)
        if self._folders.noise is None:
            return draft, None
        return draft, draft._replace(staging=self._folders.noise, dataset=copy.deepcopy(dataset))

    def _words(self, index: int) -> Iterator[Stored]:
        """The words of the frames of the file of slice `index`, in file order."""
        frames = self._source.series.frames
        indices = sorted(range(len(frames)), key=frames.__getitem__) if self._order else [index]
        return (self._source.words(one) for one in indices)

    def _bits(self, index: int) -> int:
        item = self._source.slice(index)
        return min(item.bits, item.stored.dtype.itemsize * 8)  # a palette's colours are of 8 bits

    def _target(self, dataset: Dataset) -> UID:
        return pixeldata.target_syntax(str(dataset.file_meta.TransferSyntaxUID), self._rules.transfer_syntax)

    # --- the source's data set -------------------------------------------------------------------------------

    def _prepared(self, index: int) -> Dataset:
        """The source's data set with its pixels."""
        path = self._source.file(index)
        try:
            dataset = read_dataset(path)
            if "PixelData" not in dataset:
                # pydicom loses all elements where the pixels are cut off.
                dataset = read_dataset(path, pixels=False)
        except OSError as error:
            raise UserError(f"{path.name} cannot be read: {error.strerror or error}.", "Scan again.") from error
        return dataset

    def _adapted(self, dataset: Dataset, index: int) -> Reference:
        """Take out of the data set what is true of the source alone; returns what to call the source by."""
        series = self._source.series
        syntax = dataset.file_meta.TransferSyntaxUID
        encoded = len(dataset.get("PixelData") or b"") if was_lossy(dataset, syntax) and syntax.is_encapsulated else 0
        self._lossy |= was_lossy(dataset, syntax)
        complete(dataset, series, index)
        keep_loss(dataset, syntax, encoded)
        if "PixelData" in dataset:
            del dataset.PixelData
        if syntax == BIG_ENDIAN:
            pixeldata.make_readable(dataset)
            pixeldata.to_little_endian(dataset)
        if self._person:
            self._person.apply(dataset)
        strip(dataset, private=self._rules.private_tags == "keep")
        total = max(1, whole(dataset, "NumberOfFrames", 1))
        all_frames = self._order == list(range(total))
        return Reference(
            text(dataset, "SOPClassUID"),
            text(dataset, "SOPInstanceUID"),
            text(dataset, "SeriesInstanceUID"),
            tuple(self._order),
            # Several volumes of one file are several instances.
            0 if not self._order or all_frames else _ordinal(series.uid),
        )

    def _name(self, index: int) -> str:
        wanted = f"IM{index + 1:04d}.dcm" if self._person else self._source.file(index).name
        return self._names.give(wanted)


def _ordinal(uid: str) -> int:
    _, _, number = uid.partition("#")
    return int(number) if number.isdecimal() else 1
