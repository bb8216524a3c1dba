"""TIFF: single pages, stacks, OME-TIFF, ImageJ hyperstacks, BigTIFF."""

from __future__ import annotations

import struct
import threading
import weakref
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from aegui.errors import UserError
from aegui.imaging.files.formats.layout import PALETTE, Layout, New, derived_note
from aegui.imaging.files.formats.raw import LARGEST_SLICE, Broken, Raw, RawStack
from aegui.imaging.files.formats.resolution import LENGTHS, MM_PER_INCH, plausible
from aegui.imaging.series import Stored, Vector

SUFFIXES = (".tif", ".tiff")
_SLICES = "ZIQ"  # axes that count slices: depth, a sequence, pages of a kind nobody knows
_WRITTEN = {1: None, 8: "zlib", 32946: "zlib", 32773: "packbits", 34925: "lzma", 50000: "zstd"}
_PALETTE, _CMYK, _INVERTED = 3, 5, 0
_INCH, _CM = 2, 3
_MOST_PAGES = 1_000_000
# Beside all private tags: texts, orientation, times, colour profile. Pointers to further directories are not copied.
_KEPT = {269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 700, 33432}
_POINTERS = {330, 34665, 34853, 40965, 50740}
_STRUCTURE = {32995, 32996, 32997, 32998}
_ORIENTATION = 274


class Parts:
    """An opened file: the images in it."""

    def __init__(self, path: Path) -> None:
        # Planes that lie in other files of an OME set are series of their own there.
        self.tiff = tifffile.TiffFile(path, _multifile=False)
        try:
            self.images = [image for image in self.tiff.series if len(image.shape) >= 2]
        except BaseException:
            self.tiff.close()
            raise
        if not self.images:
            self.tiff.close()
            raise Broken("Holds no values.")

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.tiff.close()


def layouts(path: Path) -> dict[str, Layout]:
    """Each image of the file that can be read; the reason for the first where none can."""
    _check_pages(path)
    out: dict[str, Layout] = {}
    problem: UserError | None = None
    with Parts(path) as parts:
        for number in range(len(parts.images)):
            try:
                out[str(number) if len(parts.images) > 1 else ""] = _layout(parts, number)
            except UserError as error:
                problem = problem or error
    if problem is not None and not out:
        raise problem
    return out


def _check_pages(path: Path) -> None:
    """Broken where the chain of pages leads out of the file or back: a reader would stop there and not say so."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        if len(head) < 8 or head[:2] not in (b"II", b"MM"):
            raise Broken("Not a TIFF file, whatever its name says.")
        count, entry, offset = ("Q", 20, "Q") if big else ("H", 12, "I")
        place = struct.unpack_from(order + offset, head, 8 if big else 4)[0] if not big or len(head) == 16 else size
        seen: set[int] = set()
        while place:
            file.seek(min(place, size))
            try:
                entries = struct.unpack(order + count, file.read(struct.calcsize(count)))[0]
                file.seek(min(place + struct.calcsize(count) + entries * entry, size))
                following = struct.unpack(order + offset, file.read(struct.calcsize(offset)))[0]
            except struct.error:
                raise Broken(f"Truncated: page {len(seen) + 1} is not in the file.") from None
            seen.add(place)
            if following in seen or len(seen) > _MOST_PAGES:
                raise Broken("Damaged: its pages follow each other in a circle.")
            place = following


def _layout(parts: Parts, number: int) -> Layout:
    image = parts.images[number]
    page = image.keyframe
    dtype = np.dtype(image.dtype).newbyteorder(parts.tiff.byteorder)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UserError("One-bit image: not a scan." if dtype.kind == "b" else f"TIFF of {dtype.name}: not an image.")
    if int(page.photometric) == _CMYK:
        raise UserError("CMYK image: not read.")
    roles = _roles(image)
    sizes = {role: int(np.prod([n for n, r in zip(image.shape, roles, strict=True) if r == role])) for role in "vzyxc"}
    if min(image.shape) <= 0:
        raise Broken("Holds no values.")
    if sizes["y"] * sizes["x"] > LARGEST_SLICE:
        raise Broken(f"Its header claims {sizes['x']} × {sizes['y']} pixels, which cannot be.")
    if "c" in roles and sizes["c"] not in (3, 4):
        raise UserError(f"{sizes['c']} values per pixel: not read.")
    if image.dataoffset is None and any(item is None for item in image.pages):
        raise UserError("Part of a set of OME files: open them as single stacks.")
    for item in image.pages if image.dataoffset is None else [page]:
        size = parts.tiff.filehandle.size
        if any(begin + count > size for begin, count in zip(item.dataoffsets, item.databytecounts, strict=False)):
            raise Broken("Truncated: the file is shorter than its header says.")
    if image.dataoffset is not None and image.dataoffset + image.nbytes > parts.tiff.filehandle.size:
        raise Broken("Truncated: the file is shorter than its header says.")
    notes: tuple[str, ...] = ("Smaller copies of the image in the file are not kept",) if len(image.levels) > 1 else ()
    notes += derived_note(parts.tiff.ome_metadata or "")
    problem = PALETTE if int(page.photometric) == _PALETTE else ""
    return Layout(
        (sizes["v"], sizes["z"], sizes["y"], sizes["x"]),
        dtype,
        3 if "c" in roles else 1,
        spacing=_spacing(parts.tiff, number, page),
        words=_words(image, roles),
        notes=notes,
        problem=problem,
        inverted=int(page.photometric) == _INVERTED,
    )


def _roles(image: Any) -> str:
    """A letter per axis of the image, as in Raw."""
    axes = image.axes.upper()
    # A film of one plane is a stack of its frames; of several planes, each time is a volume.
    depth = next((axis for axis in _SLICES if axis in axes), "T" if "T" in axes else "")
    letters = {"Y": "y", "X": "x", "S": "c", depth: "z"}
    roles = "".join(letters.get(axis, "v") for axis in axes)
    if any(roles.count(role) != 1 for role in "yx") or any(roles.count(role) > 1 for role in "zc"):
        raise UserError(f"TIFF with axes {axes}: not read.")
    return roles


def _words(image: Any, roles: str) -> tuple[str, ...]:
    sizes = [
        (axis, n) for axis, n, role in zip(image.axes.upper(), image.shape, roles, strict=True) if role == "v" and n > 1
    ]
    names = {"T": "Volume", "C": "Channel"}
    return tuple(
        ", ".join(f"{names.get(axis, 'Part')} {i + 1} of {n}" for (axis, n), i in zip(sizes, place, strict=True))
        for place in np.ndindex(*(n for _, n in sizes))
        if sizes
    )


def _spacing(tiff: Any, number: int, page: Any) -> Vector:
    """mm, (z, y, x); 1 in plane and 0 between slices where the file does not say."""
    if tiff.ome_metadata:
        return _ome_spacing(tiff.ome_metadata, number) or (0.0, 1.0, 1.0)
    x, y = (_per_unit(page, name) for name in ("XResolution", "YResolution"))
    y = y or x
    if not x or not y:
        return 0.0, 1.0, 1.0
    if tiff.imagej_metadata is not None:
        words = tiff.imagej_metadata
        unit = LENGTHS.get(str(words.get("unit", "")).replace("\\u00B5", "µ").strip().lower())
        if unit is not None and plausible(unit / x) and plausible(unit / y):
            depth = abs(float(words.get("spacing", 0.0))) * unit
            return (depth if np.isfinite(depth) else 0.0), unit / y, unit / x
        return 0.0, 1.0, 1.0
    unit = {_INCH: MM_PER_INCH, _CM: 10.0}.get(int(page.tags.valueof("ResolutionUnit", default=_INCH)))
    if unit is None or not plausible(unit / x, MM_PER_INCH) or not plausible(unit / y, MM_PER_INCH):
        return 0.0, 1.0, 1.0
    return 0.0, unit / y, unit / x


def _per_unit(page: Any, name: str) -> float:
    value = page.tags.valueof(name)
    try:
        top, low = value
        return float(top) / float(low)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0


def _ome_spacing(text: str, number: int) -> Vector | None:
    try:
        pixels = [item for item in ET.fromstring(text).iter() if item.tag.endswith("}Pixels") or item.tag == "Pixels"]
    except ET.ParseError:
        return None
    if number >= len(pixels):
        return None
    steps = []
    for axis in "ZYX":
        unit = LENGTHS.get(pixels[number].get(f"PhysicalSize{axis}Unit", "µm").lower())
        try:
            step = float(pixels[number].get(f"PhysicalSize{axis}", "")) * (unit or float("nan"))
        except ValueError:
            step = float("nan")
        steps.append(step if plausible(step) else 0.0)
    return (steps[0], steps[1], steps[2]) if steps[1] and steps[2] else None


class TiffStack:
    """The slices of one image of a file."""

    def __init__(self, path: Path, part: str) -> None:
        self._path = path
        self._number = int(part or 0)
        self._lock = threading.Lock()
        self._parts: Parts | None = Parts(path)
        self._image = self._parts.images[self._number]
        weakref.finalize(self, self._parts.tiff.close)
        roles = _roles(self._image)
        self._raw = Raw(
            ((path, self._image.dataoffset or 0),),
            np.dtype(self._image.dtype).newbyteorder(self._parts.tiff.byteorder),
            tuple(self._image.shape),
            roles,
        )
        self._plain = RawStack(self._raw) if self._image.dataoffset is not None and _orderly(roles) else None

    def slice(self, index: int) -> Stored:
        """Slice `index`, volumes one after the other."""
        if self._plain is not None:
            values = self._plain.slice(index)
            return values[..., :3] if values.ndim == 3 else values
        volume, plane = divmod(index, self._raw.size("z"))
        leading = [(n, r) for n, r in zip(self._raw.shape, self._raw.roles, strict=True) if r in "vz"]
        which = iter(np.unravel_index(volume, [n for n, r in leading if r == "v"] or [1]))
        place = [int(next(which)) if r == "v" else plane for _, r in leading]
        number = int(np.ravel_multi_index(place, [n for n, _ in leading])) if leading else 0
        with self._lock:
            if self._parts is None:
                self._parts = Parts(self._path)
                weakref.finalize(self, self._parts.tiff.close)
                self._image = self._parts.images[self._number]
            page = self._image.pages[number]
            values = page_values(self._path, page)
        values = values.astype(self._raw.dtype, copy=False)
        order = [role for role in self._raw.roles if role in "yxc"]
        return np.moveaxis(values, order.index("c"), -1)[..., :3] if "c" in order else values

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._parts is not None:
                self._parts.tiff.close()
                self._parts = None


def _orderly(roles: str) -> bool:
    return [role for role in roles if role in "zyx"] in (["z", "y", "x"], ["y", "x"]) and "c" not in roles[:1]


def page_values(path: Path, page: Any) -> Stored:
    """The values of a page; by a second decoder where the first lacks the compression."""
    try:
        return np.asarray(page.asarray())
    except ValueError:
        if int(page.compression) in _WRITTEN or page.index is None:
            raise
    with Image.open(path) as image:
        image.seek(int(page.index if isinstance(page.index, int) else page.index[0]))
        values = np.asarray(image)
    if values.shape != page.shape or (values.ndim == 3 and values.dtype != page.dtype):
        raise UserError(f"{path.name} has a compression that is not read ({page.compression.name}).", "Save it anew.")
    return values.astype(page.dtype)


def tags_of(tiff: Any, page: Any, clean: bool) -> list[tuple[int, int, int, bytes, bool]]:
    """Tags that say nothing about how the values are stored, as they are in the file."""
    out = []
    for tag in page.tags:
        known = tag.code in _KEPT or tag.code >= 32768
        if not known or tag.code in _POINTERS | _STRUCTURE or (clean and tag.code != _ORIENTATION):
            continue
        tiff.filehandle.seek(tag.valueoffset)
        out.append((tag.code, int(tag.dtype), tag.count, tiff.filehandle.read(tag.valuebytecount), True))
    return out


def rewrite(source: Path, part: str, target: Path, new: New) -> None:
    """The source's tags around new values; one volume, or one image, where the source held several."""
    with Parts(source) as parts:
        number = int(part or 0)
        image = parts.images[number]
        page = image.keyframe
        found = _layout(parts, number)
        if not found.geometry().measured:
            found = replace(found, spacing=(0.0, 0.0, 0.0))
        whole = len(parts.images) == 1 and int(np.prod(found.shape)) == int(np.prod(new.shape[:3]))
        tags = tags_of(parts.tiff, page, new.clean)
        options: dict[str, Any] = {"photometric": int(page.photometric), "software": False, "metadata": None}
        if int(page.photometric) not in (_INVERTED, 1, 2, _PALETTE):
            options["photometric"] = "rgb" if found.channels == 3 else "minisblack"
        if int(page.photometric) == _PALETTE:
            options["colormap"] = page.colormap
        compression = _WRITTEN.get(int(page.compression), "zlib")
        if compression == "packbits":
            compression = "zlib"  # no encoder here; as lossless
        options |= {"compression": compression, "predictor": compression is not None and int(page.predictor) == 2}
        resolution = _resolution(page)
        imagej = parts.tiff.is_imagej
        if not whole or (new.clean and (imagej or parts.tiff.ome_metadata)):
            tags = [tag for tag in tags if tag[0] not in (270, 305, 50838, 50839)]
            options |= {"metadata": _fresh(found, new), "description": None}
        if found.channels == 3 and image.axes.upper().find("S") < image.axes.upper().find("Y"):
            # A colour after the other, as in the source.
            options |= {"planarconfig": "separate"}
            slices = (np.moveaxis(values, -1, 0) for values in new.slices)
            new = replace(new, slices=slices, shape=(new.shape[0], new.shape[3], *new.shape[1:3]))
        order, big = parts.tiff.byteorder, parts.tiff.is_bigtiff
        ome = options["metadata"] is not None
        if image.keyframe.samplesperpixel == 4 and len(new.shape) == 4 and (whole or new.shape[0] == 1):
            new = _transparent(source, image, new, axis=0 if "planarconfig" in options else 2)
            options |= {"extrasamples": ["unassalpha"]}
        _save(target, new, options | resolution, tags, order, big, ome)


def _transparent(source: Path, image: Any, new: New, axis: int) -> New:
    """With the fourth channel, which is passed through."""
    shape = list(new.shape)
    shape[axis + 1] = 4
    pages = (np.take(page_values(source, page), [3], axis) for page in image.pages)
    slices = (np.concatenate(pair, axis) for pair in zip(new.slices, pages, strict=False))
    return replace(new, slices=slices, shape=tuple(shape))


def _resolution(page: Any) -> dict[str, Any]:
    x, y = page.tags.valueof("XResolution"), page.tags.valueof("YResolution")
    if x is None or y is None or 0 in (x[1], y[1]):
        return {}
    return {"resolution": (x, y), "resolutionunit": int(page.tags.valueof("ResolutionUnit", default=_INCH))}


def _fresh(found: Layout, new: New) -> dict[str, Any]:
    """OME's description of a plain stack."""
    z, y, x = found.spacing
    described: dict[str, Any] = {"axes": "ZYXS" if len(new.shape) == 4 else "ZYX"}
    for axis, step in (("X", x), ("Y", y), ("Z", z)):
        if step > 0:
            described |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "mm"}
    return described


def create(target: Path, new: New, spacing: Vector, words: str, *, inverted: bool = False) -> None:
    """A new OME-TIFF stack. spacing: mm, (z, y, x), 0 where unknown. words: how it was made. inverted: as in Layout."""
    found = Layout((1, *new.shape[:3]), new.dtype, spacing=spacing)  # type: ignore[arg-type]
    options: dict[str, Any] = {
        "photometric": "rgb" if len(new.shape) == 4 else "miniswhite" if inverted else "minisblack",
        "metadata": _fresh(found, new) | {"Description": words},
        "software": False,
        "compression": "zlib",
        "predictor": new.dtype.kind != "f" and new.dtype.itemsize <= 4,
    }
    if spacing[1] > 0 and spacing[2] > 0:
        options |= {"resolution": (10.0 / spacing[2], 10.0 / spacing[1]), "resolutionunit": "CENTIMETER"}
    _save(target, new, options, [], "<", False, True)


def _save(
    target: Path,
    new: New,
    options: dict[str, Any],
    tags: list[tuple[int, int, int, bytes, bool]],
    order: str,
    big: bool,
    ome: bool,
) -> None:
    size = int(np.prod(new.shape, dtype=np.int64)) * new.dtype.itemsize
    slices = iter(new.slices)
    shape = new.shape if ome or new.shape[0] > 1 else new.shape[1:]
    with tifffile.TiffWriter(target, bigtiff=big or size > 2**32 - 2**26, byteorder=order, ome=ome) as tiff:
        if new.shape[0] == 1:
            values = next(slices)
            values = np.ascontiguousarray(values[None] if ome else values, new.dtype)
            tiff.write(values, extratags=tags, **options)
        else:
            pages = (np.ascontiguousarray(values, new.dtype) for values in slices)
            tiff.write(pages, shape=shape, dtype=new.dtype, extratags=tags, **options)
