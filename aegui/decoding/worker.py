"""The child process: reads one compressed frame after another from stdin and answers with its samples on stdout.

A message is the lengths of its two parts, then a JSON object and bytes. This module imports nothing of aegui, and
numpy and the codecs only when they are asked for, so that a worker starts at once and stays small.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

FLAG = "--decoding-worker"  # what the frozen program is called with
_HEAD = struct.Struct("<IQ")
_WINDOWS_LIMIT = 4 << 30  # bytes


def send(stream: BinaryIO, words: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Write one message."""
    text = json.dumps(words).encode()
    stream.write(_HEAD.pack(len(text), len(data)) + text)
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytearray]:
    """Read one message. EOFError when the other side is gone."""
    short, long = _HEAD.unpack(_exactly(stream, _HEAD.size))
    return json.loads(_exactly(stream, short)), _exactly(stream, long)


def _exactly(stream: BinaryIO, count: int) -> bytearray:
    data = bytearray(count)
    view, have = memoryview(data), 0
    while have < count:
        # BinaryIO does not promise it; every binary file and pipe has it.
        read = stream.readinto(view[have:])  # type: ignore[attr-defined]
        if not read:
            raise EOFError
        have += read
    return data


# --- decoders: (bytes of a frame, what its header says) → array (rows, columns[, samples]) -----------------------


def rle(data: bytes, header: dict[str, Any]) -> Any:
    """The RLE decoder of pylibjpeg, written in Rust."""
    from rle.utils import decode_frame

    return _from_planes(decode_frame(data, header["rows"] * header["columns"], header["allocated"], "<"), header)


def rle_in_python(data: bytes, header: dict[str, Any]) -> Any:
    """pydicom's own RLE decoder."""
    from pydicom.pixels.decoders.rle import _rle_decode_frame

    rows, columns, samples, bits = (header[name] for name in ("rows", "columns", "samples", "allocated"))
    return _from_planes(_rle_decode_frame(data, rows, columns, samples, bits, "<"), header)


def _from_planes(planes: bytes | bytearray, header: dict[str, Any]) -> Any:
    """One sample of all pixels after the other → (rows, columns, samples)."""
    import numpy as np

    values = np.frombuffer(planes, f"<u{max(1, header['allocated'] // 8)}")
    return np.moveaxis(values.reshape(header["samples"], header["rows"], header["columns"]), 0, -1)


def openjpeg(data: bytes, header: dict[str, Any]) -> Any:
    """JPEG 2000 and HTJ2K. Colour comes as RGB where the stream itself was transformed."""
    from openjpeg.utils import decode

    return decode(data)


def charls(data: bytes, header: dict[str, Any]) -> Any:
    """JPEG-LS."""
    import jpeg_ls
    import numpy as np

    pixels, found = jpeg_ls.decode_buffer(data)
    samples = int(found["components"])
    values = np.frombuffer(pixels, "u1" if found["bits_per_sample"] <= 8 else "<u2")
    if samples > 1 and found["interleave_mode"] == 0:
        return np.moveaxis(values.reshape(samples, found["height"], found["width"]), 0, -1)
    return values.reshape(found["height"], found["width"], samples)


def pillow(data: bytes, header: dict[str, Any]) -> Any:
    """JPEG of 8 bits by libjpeg-turbo, and grey JPEG 2000. Colour JPEG comes as it is stored, not transformed."""
    import numpy as np
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # sizes were checked before
    with Image.open(BytesIO(data), formats=("JPEG", "JPEG2000")) as image:
        if image.format == "JPEG":
            if header["samples"] == 3 and image.info.get("adobe_transform") != 0:
                image.draft("YCbCr", image.size)
            return np.asarray(image)
        if image.mode not in ("L", "I;16", "RGB") or header["signed"]:
            raise ValueError(f"no JPEG 2000 of mode {image.mode}")
        values = np.asarray(image)
        # Pillow scales samples up to the next full byte.
        precision = header["precision"]
        return values >> (values.dtype.itemsize * 8 - precision)


def gdcm(data: bytes, header: dict[str, Any]) -> Any:
    """GDCM, of SimpleITK: the only one here for JPEG of 12 bits and lossless JPEG. It reads files."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    file = Path(header["folder"]) / "frame.dcm"
    try:
        file.write_bytes(_as_dicom(data, header))
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        values = sitk.GetArrayFromImage(reader.Execute())
    finally:
        file.unlink(missing_ok=True)
    return values.reshape(header["rows"], header["columns"], header["samples"])


def _as_dicom(data: bytes, header: dict[str, Any]) -> bytes:
    """The smallest DICOM file that holds the frame: nothing in it that GDCM would rescale, map or invert."""

    def element(group: int, number: int, vr: str, value: bytes | str | int) -> bytes:
        if isinstance(value, int):
            value = struct.pack("<H", value)
        elif isinstance(value, str):
            value = value.encode()
            value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
        length = struct.pack("<HI", 0, len(value)) if vr == "OB" else struct.pack("<H", len(value))
        return struct.pack("<HH2s", group, number, vr.encode()) + length + value

    capture, instance = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
    meta = (
        element(2, 0x01, "OB", b"\0\1")
        + element(2, 0x02, "UI", capture)
        + element(2, 0x03, "UI", instance)
        + element(2, 0x10, "UI", header["syntax"])
        + element(2, 0x12, "UI", instance)
    )
    samples, precision = header["samples"], header["precision"] or header["stored"]
    allocated = 8 if precision <= 8 else 16
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(data) + len(data) % 2)
    return b"".join(
        (
            b"\0" * 128 + b"DICM",
            element(2, 0, "UL", struct.pack("<I", len(meta))),
            meta,
            element(0x08, 0x16, "UI", capture),
            element(0x08, 0x18, "UI", instance),
            element(0x28, 0x02, "US", samples),
            element(0x28, 0x04, "CS", "RGB" if samples == 3 else "MONOCHROME2"),
            element(0x28, 0x06, "US", 0) if samples == 3 else b"",
            element(0x28, 0x10, "US", header["rows"]),
            element(0x28, 0x11, "US", header["columns"]),
            element(0x28, 0x100, "US", allocated),
            element(0x28, 0x101, "US", precision),
            element(0x28, 0x102, "US", precision - 1),
            element(0x28, 0x103, "US", int(header["signed"])),
            struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + items,
            data + b"\0" * (len(data) % 2),
            struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
        )
    )


Decoder = Callable[[bytes, dict[str, Any]], Any]
DECODERS: dict[str, Decoder] = {
    decoder.__name__: decoder for decoder in (rle, rle_in_python, openjpeg, charls, pillow, gdcm)
}
_NEEDS = {
    "rle": ("numpy", "rle.utils"),
    "rle_in_python": ("numpy", "pydicom.pixels.decoders.rle"),
    "openjpeg": ("numpy", "openjpeg.utils"),
    "charls": ("numpy", "jpeg_ls"),
    "pillow": ("numpy", "PIL.Image", "PIL.JpegImagePlugin", "PIL.Jpeg2KImagePlugin"),
    "gdcm": ("numpy", "SimpleITK"),
}


# --- the loop ----------------------------------------------------------------------------------------------------


def limit_memory(more: int | None) -> None:
    """Let this process grow by no more than so many bytes, where the system can see to it (Linux). None: no limit."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    except (ImportError, OSError):
        return
    wanted = hard if more is None else used + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _limit_on_windows() -> None:
    """Put this process into a job with a memory limit."""
    import ctypes

    class Limits(ctypes.Structure):  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
        _fields_ = (
            ("times", ctypes.c_int64 * 2),
            ("flags", ctypes.c_uint32),
            ("working_set", ctypes.c_size_t * 2),
            ("processes", ctypes.c_uint32),
            ("affinity", ctypes.c_size_t),
            ("classes", ctypes.c_uint32 * 2),
            ("counters", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 3),
        )

    # Only Windows has it, and mypy is run elsewhere too.
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
    job, this = ctypes.c_void_p(kernel.CreateJobObjectW(None, None)), ctypes.c_void_p(kernel.GetCurrentProcess())
    limits = Limits(flags=0x100, process_memory=_WINDOWS_LIMIT)  # JOB_OBJECT_LIMIT_PROCESS_MEMORY
    # Without the limit (an old Windows, a job around it already) frames are still limited by what their headers say.
    if kernel.SetInformationJobObject(job, 9, ctypes.byref(limits), ctypes.sizeof(limits)):
        kernel.AssignProcessToJobObject(job, this)


def _answer(words: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Any]:
    limit_memory(None)  # the codecs' libraries are not what is limited
    for module in _NEEDS[words["decoder"]]:
        importlib.import_module(module)
    if words["task"] == "load":
        return {}, b""
    import numpy as np

    limit_memory(words["memory"])
    values: Any = np.ascontiguousarray(DECODERS[words["decoder"]](data, words))
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return {"dtype": values.dtype.str, "shape": values.shape}, memoryview(values).cast("B")


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, which may want to finish its slice
    # The codecs print; what they print must not get between the answers. A program without console has neither.
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the end
    if sys.platform == "win32":
        with contextlib.suppress(OSError, AttributeError):
            _limit_on_windows()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            words, data = receive(questions)
            answer: tuple[dict[str, Any], Any]
            try:
                answer = _answer(words, bytes(data))
            except MemoryError:
                answer = {"error": "it needs more memory than its size allows"}, b""
            except BaseException as error:  # noqa: BLE001 - Rust codecs panic with more than Exception
                answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}, b""
            send(answers, *answer)


if __name__ == "__main__":
    main()
