"""The frames of one instance being made: on disk, and compressed as they come where the transfer syntax compresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom.uid import UID

from aegui.imaging.dicom.derived.pixeldata import compressed
from aegui.imaging.removed import narrow
from aegui.imaging.series import Stored
from aegui.imaging.staging import Spool


class OutputFrames:
    """Frames in file order. bits: Bits Stored. codes: what they are compressed; None if they are not."""

    def __init__(self, values: Sequence[Stored] | Spool, bits: int, codes: list[bytes] | None) -> None:
        self.values = values
        self.bits = bits
        self.codes = codes

    def __iter__(self) -> Iterator[Stored]:
        for place in range(len(self.values)):
            yield self.values[place]

    @classmethod
    def single(cls, values: Stored, bits: int, syntax: UID) -> OutputFrames:
        """The one frame of a single-frame file."""
        code = compressed(values, bits, syntax) if syntax.is_encapsulated else None
        return cls([values], bits, None if code is None else [code])


class FrameStore:
    """Takes the frames of a multi-frame file in any order. removed: they are noise, of 16 bits if that will do."""

    def __init__(self, path: Path, count: int, like: Stored, bits: int, syntax: UID, *, removed: bool = False) -> None:
        self._spool = Spool(path, count, like.shape, "i4" if removed else like.dtype)
        self._bits = bits
        self._syntax = syntax
        self._codes: list[bytes] | None = [b""] * count if syntax.is_encapsulated else None
        self._removed = removed
        self._narrow = removed and like.dtype.itemsize <= 2

    def put(self, place: int, values: Stored) -> None:
        """Take one frame."""
        self._spool[place] = values
        # Noise starts as 16 bits and is compressed as such, until a frame needs more.
        if self._narrow and not narrow(values):
            self._narrow = False
            self._codes = None
        if self._codes is not None:
            frame = values.astype("<i2") if self._narrow else values
            bits = frame.dtype.itemsize * 8 if self._removed else self._bits
            code = compressed(frame, bits, self._syntax)
            if code is None:
                self._codes = None
            else:
                self._codes[place] = code

    def frames(self) -> OutputFrames:
        """All of them."""
        if self._narrow:
            wide = self._spool
            self._spool = Spool(wide.path.with_suffix(".narrow"), len(wide), wide[0].shape, "i2")
            for place in range(len(wide)):
                self._spool[place] = wide[place].astype(np.int16)
            wide.discard()
        return OutputFrames(self._spool, self._spool.dtype.itemsize * 8 if self._removed else self._bits, self._codes)

    def close(self) -> None:
        """Close the file, which stays."""
        self._spool.close()

    def discard(self) -> None:
        """Close and remove the file."""
        self._spool.discard()
