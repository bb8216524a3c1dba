"""PNG, JPEG and BMP through Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from aegui.errors import UserError
from aegui.imaging.files.formats import png
from aegui.imaging.files.formats.layout import PALETTE
from aegui.imaging.files.formats.raw import LARGEST_SLICE, Broken
from aegui.imaging.files.formats.resolution import from_dpi
from aegui.imaging.series import Stored

LOSSY = (".jpg", ".jpeg")
_MODES = {"L": (1, 8), "LA": (1, 8), "RGB": (3, 8), "RGBA": (3, 8), "I;16": (1, 16), "I;16B": (1, 16), "F": (1, 32)}
_DEEP = 16
HALF_READ = ": shown in 8 bits, not denoised."  # end of the reason


class Facts(NamedTuple):
    """What the header of a picture says. spacing: mm, (y, x); None where it says nothing of the patient."""

    rows: int
    columns: int
    channels: int
    bits: int
    spacing: tuple[float, float] | None
    problem: str


def inspect(path: Path) -> Facts:
    """Without its pixels. UserError for what is not read."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            mode, frames, dpi = image.mode, getattr(image, "n_frames", 1), image.info.get("dpi")
            kind = image.format
    except Image.DecompressionBombError:
        raise Broken("Its header claims more pixels than can be: refused.") from None
    if width * height > LARGEST_SLICE:
        raise Broken(f"Its header claims {width} × {height} pixels, which cannot be.")
    if kind == "GIF":
        raise UserError("GIF: 256 colours at most, not a scan.")
    depth, moving = png.facts(path) if kind == "PNG" else (8, False)
    if moving or (frames > 1 and kind == "PNG"):
        raise UserError("Animated PNG: not a scan.")
    mode = "I;16" if mode == "I" else mode
    if mode == "1":
        raise UserError("One-bit image: not a scan.")
    if mode == "P":
        return Facts(height, width, 3, 8, from_dpi(dpi), PALETTE)
    if mode not in _MODES:
        raise UserError(f"{mode} image: not read.")
    channels, bits = _MODES[mode]
    problem = ""
    if depth == _DEEP and bits == 8:
        # Pillow reads the upper 8 bits of these.
        problem = f"16-bit {'colour' if channels == 3 else 'grey with transparency'} PNG{HALF_READ}"
    return Facts(height, width, channels, bits, from_dpi(dpi), problem)


def load(path: Path) -> Stored:
    """(rows, columns) or (rows, columns, 3), as the file stores them: an EXIF rotation is left to the viewer."""
    with Image.open(path) as image:
        if image.mode == "P":
            return np.asarray(image.convert("RGB"))
        values = np.asarray(image)
        if image.mode in ("RGBA", "LA"):
            return values[..., :3] if image.mode == "RGBA" else values[..., 0]
        return values.astype(np.uint16) if image.mode in ("I", "I;16", "I;16B") else values


def save(source: Path, target: Path, values: Stored, clean: bool) -> None:
    """Like the source: same mode, its transparency, resolution, profile and texts. clean: no texts."""
    with Image.open(source) as image:
        mode, info = image.mode, dict(image.info)
        alpha = np.asarray(image)[..., -1:] if mode in ("RGBA", "LA") else None
    if mode in ("RGB", "RGBA") and values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    if alpha is not None:
        values = np.concatenate([values if values.ndim == 3 else values[..., None], alpha], axis=2)
    options: dict[str, Any] = {}
    if target.suffix.lower() == ".png":
        carried = source.suffix.lower() == ".png"
        if not carried:
            options = {name: info[name] for name in ("dpi", "icc_profile") if info.get(name)}
            if not clean:
                options |= {"exif": info["exif"]} if info.get("exif") else {}
                options |= {"pnginfo": _comment(info["comment"])} if info.get("comment") else {}
    else:
        carried = False
        options = {"dpi": info["dpi"]} if "dpi" in info else {}
    Image.fromarray(np.ascontiguousarray(values)).save(target, **options)
    if carried:
        png.carry(source, target, clean)


def _comment(text: bytes | str) -> PngImagePlugin.PngInfo:
    words = PngImagePlugin.PngInfo()
    words.add_text("Comment", text.decode("latin-1") if isinstance(text, bytes) else text)
    return words
