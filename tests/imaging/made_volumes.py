"""Files of every format other than DICOM, written by libraries that the program does not write them with."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import tifffile
import torch
from PIL import Image

from aegui.imaging import OutputRules, Provenance, SliceSource, open_sink
from aegui.inference.denoiser import Denoiser
from tests.imaging.round_trips import identity

SHAPE = (3, 24, 20)
SPACING = (0.5, 0.75, 2.0)  # x, y, z
ORIGIN = (10.125, -5.5, 3.0)
# Turned about two axes: no number of it is 0 or 1.
TURN = np.array([[0.8, -0.36, 0.48], [0.6, 0.48, -0.64], [0.0, 0.8, 0.6]])
TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


def values_of(dtype: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    """Noise over most of the range that survives 32-bit floats."""
    kind = np.dtype(dtype)
    rng = np.random.default_rng(len(shape))
    if kind.kind == "f":
        return (rng.normal(0, 100, shape)).astype(kind)
    bits = min(kind.itemsize * 8, 22)
    low, high = (0, 1 << bits) if kind.kind == "u" else (-(1 << bits - 1), 1 << bits - 1)
    return rng.integers(low, high, shape).astype(kind)


def affine(unit: float = 1.0) -> np.ndarray[Any, Any]:
    """(x, y, z) → right, anterior, superior."""
    out = np.eye(4)
    out[:3, :3] = TURN * SPACING * unit
    out[:3, 3] = np.asarray(ORIGIN) * unit
    return out


def nifti(path: Path, values: np.ndarray[Any, Any], **changes: Any) -> Path:
    """values: (..., z, y, x). changes: fields of the header, set last; "two": NIfTI-2, "big": big-endian"""
    kind = nib.Nifti2Image if changes.pop("two", False) else nib.Nifti1Image
    big = changes.pop("big", values.dtype.newbyteorder("=") != values.dtype)
    header = kind.header_class(endianness=">" if big else "<")
    image = kind(values.T, affine(), header, dtype=values.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"who: Doe^Jane"
    image.header["intent_name"] = b"an intent"
    slope = changes.pop("scl_slope", None)
    for name, value in changes.items():
        image.header[name] = value
    if slope is not None:
        image.header.set_slope_inter(slope, changes.get("scl_inter", 0.0))
    image.header.set_data_dtype(values.dtype)
    _store(image, path, values)
    return path


def _store(image: Any, path: Path, values: np.ndarray[Any, Any]) -> None:
    """The header and the stored values as they are, which nibabel itself would scale."""
    import gzip

    data = bytearray(image.header.binaryblock)
    size = len(data)
    offset = size + 4
    order = image.header.endianness
    if size == 348:
        data[108:112] = np.array(offset, f"{order}f4").tobytes()
        for at, value in ((112, image.header["scl_slope"]), (116, image.header["scl_inter"])):
            data[at : at + 4] = np.array(value, f"{order}f4").tobytes()
        data[344:348] = b"n+1\0"
    else:
        data[168:176] = np.array(offset, f"{order}i8").tobytes()
    blob = bytes(data) + bytes(4) + values.astype(values.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(blob) if path.name.endswith(".gz") else blob)


def itk(path: Path, values: np.ndarray[Any, Any], packed: bool = False, vector: bool = False) -> Path:
    """NRRD or MetaImage."""
    image = sitk.GetImageFromArray(values, isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing(SPACING)
        image.SetOrigin(ORIGIN)
        image.SetDirection(TURN.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


def big_endian(path: Path, values: np.ndarray[Any, Any]) -> Path:
    """NRRD or MetaImage of bytes whose header says so, as programs for such machines write them."""
    data = itk(path, values).read_bytes()
    little = (b"MSB = False", b"MSB = True") if path.suffix == ".mha" else (b"encoding:", b"endian: big\nencoding:")
    path.write_bytes(data.replace(*little, 1))
    return path


def ome(path: Path, values: np.ndarray[Any, Any], axes: str = "ZYX", **options: Any) -> Path:
    """OME-TIFF with pixels of 0.5 × 0.75 × 2 mm."""
    sizes = {"PhysicalSizeX": 500.0, "PhysicalSizeY": 0.75, "PhysicalSizeZ": 2.0}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "mm", "PhysicalSizeZUnit": "mm"}
    described = {"axes": axes, **sizes, **units, "Name": "Doe^Jane"}
    tifffile.imwrite(path, values, ome=True, metadata=described, photometric="minisblack", **options)
    return path


def imagej(path: Path, values: np.ndarray[Any, Any], axes: str = "ZYX") -> Path:
    """ImageJ hyperstack with the same pixels."""
    words = {"axes": axes, "unit": "mm", "spacing": 2.0, "Info": "Doe^Jane"}
    tifffile.imwrite(path, values, imagej=True, resolution=(2.0, 1 / 0.75), metadata=words)
    return path


def npz(path: Path, packed: bool = False, **arrays: np.ndarray[Any, Any]) -> Path:
    """Several arrays by name."""
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def with_text(path: Path, values: np.ndarray[Any, Any]) -> Path:
    """PNG with 3779 × 2000 pixels per metre, a text and a profile."""
    from PIL import ImageCms, PngImagePlugin

    words = PngImagePlugin.PngInfo()
    words.add_text("Patient", "Doe^Jane")
    words.add_itxt("Title", "π")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(values).save(path, pnginfo=words, dpi=(50.8, 63.5), icc_profile=profile)
    return path


def members(path: Path) -> list[str]:
    """Names in an archive."""
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def through(source: SliceSource, folder: Path, strength: float = 1.0, **rules: Any) -> Path:
    """The whole path with a network that gives back its input."""
    torch.set_num_threads(1)
    sink = open_sink(source, folder, OutputRules(**rules), Provenance(model="identity", strength=strength))
    try:
        denoiser = Denoiser(identity(), source, torch.device("cpu"))
        for index in range(len(source)):
            sink.write(index, denoiser.slice(index, strength).pixels)
        out = sink.finish()
    except BaseException:
        sink.abort()
        raise
    source.close()
    return out


def _jpeg(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values_of("u1", (24, 20))).save(path, dpi=(50, 60), exif=exif)
    return path


# Every kind of file: a name for the test, and what makes it in a folder.
KINDS: dict[str, Callable[[Path], Path]] = {
    **{f"nifti {t}": (lambda f, t=t: nifti(f / "v.nii", values_of(t))) for t in (*TYPES, ">i2", ">f4", "i8", "u8")},
    "nifti big-endian u1": lambda f: nifti(f / "v.nii", values_of("u1"), big=True),
    "nrrd big-endian u1": lambda f: big_endian(f / "v.nrrd", values_of("u1")),
    "mha big-endian u1": lambda f: big_endian(f / "v.mha", values_of("u1")),
    "nifti gz": lambda f: nifti(f / "v.nii.gz", values_of("i2")),
    "nifti 2": lambda f: nifti(f / "v.nii", values_of("i2"), two=True),
    "nifti 2 big-endian gz": lambda f: nifti(f / "v.nii.gz", values_of(">u2"), two=True),
    "nifti slope": lambda f: nifti(f / "v.nii.gz", values_of("i2"), scl_slope=0.25, scl_inter=-1000.0),
    "nifti 2-D": lambda f: nifti(f / "v.nii", values_of("u2", (24, 20))),
    "nifti rgb": lambda f: _nifti_rgb(f / "v.nii.gz"),
    "nifti one slice": lambda f: nifti(f / "v.nii", values_of("u2", (1, 24, 20))),
    **{f"nrrd {t}": (lambda f, t=t: itk(f / "v.nrrd", values_of(t))) for t in (*TYPES, "i8", "u8")},
    "nrrd gzip": lambda f: itk(f / "v.nrrd", values_of("i2"), packed=True),
    "nhdr": lambda f: itk(f / "v.nhdr", values_of("i2")),
    "nhdr gzip": lambda f: itk(f / "v.nhdr", values_of("i2"), packed=True),
    "nrrd rgb": lambda f: itk(f / "v.nrrd", values_of("u1", (3, 24, 20, 3)), vector=True),
    **{f"mha {t}": (lambda f, t=t: itk(f / "v.mha", values_of(t))) for t in (*TYPES, "i8", "u8")},
    "mha packed": lambda f: itk(f / "v.mha", values_of("i2"), packed=True),
    "mhd": lambda f: itk(f / "v.mhd", values_of("i2")),
    "mhd packed": lambda f: itk(f / "v.mhd", values_of("i2"), packed=True),
    "mha rgb": lambda f: itk(f / "v.mha", values_of("u1", (3, 24, 20, 3)), vector=True),
    **{f"npy {t}": (lambda f, t=t: _npy(f / "v.npy", values_of(t))) for t in (*TYPES, ">i2", "i8", "f2")},
    "npy fortran": lambda f: _npy(f / "v.npy", np.asfortranarray(values_of("i2"))),
    "npy picture": lambda f: _npy(f / "a1.npy", values_of("i2", (24, 20))),
    "npy colour": lambda f: _npy(f / "a1.npy", values_of("u1", (24, 20, 3))),
    "npz": lambda f: npz(f / "v.npz", a=values_of("i2")),
    "npz packed": lambda f: npz(f / "v.npz", packed=True, a=values_of("f4")),
    "npz picture": lambda f: npz(f / "v.npz", a=values_of("u2", (24, 20))),
    **{f"tiff {t}": (lambda f, t=t: _tiff(f / "v.tif", values_of(t), photometric="minisblack")) for t in TYPES},
    "tiff big-endian": lambda f: _tiff(f / "v.tif", values_of("u2"), photometric="minisblack", byteorder=">"),
    "tiff deflate": lambda f: _tiff(
        f / "v.tif", values_of("u2"), photometric="minisblack", compression="zlib", predictor=True
    ),
    "tiff tiled": lambda f: _tiff(
        f / "v.tif", values_of("u2", (3, 40, 50)), photometric="minisblack", compression="zlib", tile=(16, 32)
    ),
    "tiff bigtiff": lambda f: _tiff(f / "v.tif", values_of("i2"), photometric="minisblack", bigtiff=True),
    "tiff ome": lambda f: ome(f / "v.ome.tif", values_of("i2")),
    "tiff ome packed": lambda f: ome(f / "v.ome.tif", values_of("u2"), compression="zlib"),
    "tiff imagej": lambda f: imagej(f / "v.tif", values_of("u2")),
    "tiff rgb": lambda f: _tiff(f / "v.tif", values_of("u1", (3, 24, 20, 3)), photometric="rgb"),
    "tiff rgba": lambda f: _tiff(
        f / "v.tif", values_of("u1", (3, 24, 20, 4)), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "tiff rgb planar": lambda f: _tiff(
        f / "v.tif", values_of("u1", (3, 3, 24, 20)), photometric="rgb", planarconfig="separate"
    ),
    "tiff picture": lambda f: _tiff(f / "a1.tif", values_of("u2", (24, 20)), resolution=(20, 10), resolutionunit=3),
    "tiff rgba picture": lambda f: _tiff(
        f / "a1.tif", values_of("u1", (24, 20, 4)), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "tiff lzw": lambda f: _lzw(f / "v.tif"),
    "png u1": lambda f: with_text(f / "a1.png", values_of("u1", (24, 20))),
    "png u2": lambda f: with_text(f / "a1.png", values_of("u2", (24, 20))),
    "png rgb": lambda f: with_text(f / "a1.png", values_of("u1", (24, 20, 3))),
    "png rgba": lambda f: with_text(f / "a1.png", values_of("u1", (24, 20, 4))),
    "bmp": lambda f: _bmp(f / "a1.bmp"),
    "jpeg": lambda f: _jpeg(f / "a1.jpg"),
}


def _nifti_rgb(path: Path) -> Path:
    colours = values_of("u1", (3, 24, 20, 3))
    named = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(np.ascontiguousarray(colours).view(named)[..., 0].T, affine()), path)
    return path


def _npy(path: Path, values: np.ndarray[Any, Any]) -> Path:
    np.save(path, values)
    return path


def _tiff(path: Path, values: np.ndarray[Any, Any], **options: Any) -> Path:
    tifffile.imwrite(path, values, description="Doe^Jane", metadata=None, **options)
    return path


def _bmp(path: Path) -> Path:
    Image.fromarray(values_of("u1", (24, 20))).save(path, dpi=(50, 60))
    return path


def _lzw(path: Path) -> Path:
    pages = [Image.fromarray(page) for page in values_of("u2")]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    return path


def independent(path: Path) -> tuple[np.ndarray[Any, Any], Any]:
    """(stored values, geometry and metadata) as another library reads them."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        image = nib.load(path)
        stored = np.asanyarray(image.dataobj.get_unscaled())
        return stored, (image.header.binaryblock, image.affine.tolist(), image.get_data_dtype())
    if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        image = sitk.ReadImage(str(path))
        keys = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
        place = (image.GetSpacing(), image.GetOrigin(), image.GetDirection(), image.GetPixelIDTypeAsString())
        return sitk.GetArrayFromImage(image), (place, keys)
    if name.endswith(".npy"):
        values = np.load(path)
        return values, values.dtype
    if name.endswith(".npz"):
        with np.load(path) as archive:
            (key,) = archive.files
            return archive[key], (key, archive[key].dtype)
    if name.endswith((".tif", ".tiff")):
        return _from_tiff(path)
    with Image.open(path) as image:
        return np.asarray(image), (image.mode, {k: v for k, v in image.info.items() if k != "jfif"})


def _from_tiff(path: Path) -> tuple[np.ndarray[Any, Any], Any]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        kept = ("ImageDescription", "XResolution", "YResolution", "ResolutionUnit", "IJMetadata", "Software")
        tags = {name: page.tags.valueof(name) for name in kept}
        image = tiff.series[0]
        facts = (tiff.byteorder, tiff.is_bigtiff, image.axes, image.shape, page.photometric, tags)
        if page.compression == tifffile.COMPRESSION.LZW:
            with Image.open(path) as pages:
                stack = [np.asarray(pages) for n in range(pages.n_frames) if pages.seek(n) is None]
            return np.stack(stack).astype(page.dtype), None
        return tiff.asarray(), (*facts, page.dtype)
