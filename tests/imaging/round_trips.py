"""A series through the whole path with a network that changes nothing, compared with what went in."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import torch
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from torch import nn

from aegui.errors import UserError
from aegui.imaging import OutputRules, Provenance, Series, open_series, open_sink
from aegui.imaging.dicom.pixels import DicomSource
from aegui.inference.denoiser import Denoiser
from aegui.models.card import Card, FixedRange, RobustRange
from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import Model
from tests.imaging.made_files import WHEEL, scanned

VERIFIER = shutil.which("dciodvfy")
UIDS = ("SOPInstanceUID", "SeriesInstanceUID")


class _Nothing(nn.Module):
    channels, multiple, head = 1, 8, None

    def outputs(self, x: torch.Tensor, level: torch.Tensor) -> Outputs:
        return Outputs(x, None, x)

    def forward(self, x: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return x


def identity() -> Model:
    """A model of the usual ranges whose network gives back its input."""
    intensity = {"CT": FixedRange(low=-1024, high=3071), "8-bit": FixedRange(low=0, high=255), "*": RobustRange()}
    card = Card(id="identity", title="Identity", architecture="residual_autoencoder", intensity=intensity)
    return Model(card, SliceNet(_Nothing(), 1, 8), "identity")


@dataclass
class Trip:
    """What happened to one series. outcome: "same", "refused: …", "not opened: …" or what differs."""

    outcome: str
    slices: int = 0
    files: int = 0
    new_errors: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    bits: int = 0
    notes: tuple[str, ...] = ()


def travel(series: Series, folder: Path, model: Model, strength: float = 1.0, **rules: Any) -> Trip:
    """Denoise into `folder`, read back, compare stored values and geometry, and let dciodvfy judge both."""
    series = replace(series, treat="denoise")
    try:
        source = open_series(series)
    except UserError as error:
        return Trip(f"not opened: {error}")
    assert isinstance(source, DicomSource)
    try:
        out, notes = _written(source, folder, model, strength, rules)
    except UserError as error:
        assert not list(folder.glob("*")), "something is left of a refused series"
        return Trip(f"refused: {error}")
    trip = Trip("same", len(source), notes=notes)
    _compare(source, out, trip, same=model.card.id == "identity" or strength == 0, secret=bool(rules.get("deidentify")))
    source.close()
    return trip


def _written(
    source: DicomSource, folder: Path, model: Model, strength: float, rules: dict[str, Any]
) -> tuple[Path, tuple[str, ...]]:
    torch.set_num_threads(1)
    sink = open_sink(source, folder, OutputRules(**rules), Provenance(model=model.card.id, strength=strength))
    try:
        denoiser = Denoiser(model, source, torch.device("cpu"))
        for index in range(len(source)):
            sink.write(index, denoiser.slice(index, strength).pixels)
        out = sink.finish()
    except BaseException:
        sink.abort()
        raise
    return out, sink.notes


def _compare(source: DicomSource, out: Path, trip: Trip, *, same: bool, secret: bool) -> None:
    """Stored values and place of every slice. same: they must be the source's; else noise must bring them back."""
    series = source.series
    names = _names(series, secret)
    trip.files = len(names)
    if {out / name for name in names} != set(out.iterdir()):
        trip.outcome = f"files {sorted(f.name for f in out.iterdir())[:3]}, expected {names[:3]}"
        return
    again = DicomSource(_back(series, out, names))
    beside = out.parent / f"{out.name}_noise"
    noise = DicomSource(_back(series, beside, names)) if beside.is_dir() else None
    for index in range(len(source)):
        old, new = source.slice(index), again.slice(index)
        trip.bits = old.bits
        whole = new.stored.astype(np.int64) + (noise.slice(index).stored if noise else 0)
        if (same or noise) and not np.array_equal(old.stored, whole):
            trip.outcome = f"slice {index}: {np.count_nonzero(old.stored != whole)} stored values differ"
        elif (old.slope, old.intercept) != (new.slope, new.intercept):
            trip.outcome = f"slice {index}: another rescale"
        elif noise and (old.slope, 0.0) != (noise.slice(index).slope, noise.slice(index).intercept):
            trip.outcome = f"slice {index}: another rescale of the noise"
    for folder in [out, beside] if noise else [out]:
        if not _same_place(series, folder, names):
            trip.outcome = "another geometry"
        _judge(series, folder, names, trip)


def _back(series: Series, out: Path, names: list[str]) -> Series:
    """The series as written, slice for slice: file names are the source's, frames lie in file order."""
    files = tuple(out / name for name in names)
    if series.frames and not series.mosaic:
        order = sorted(series.frames)
        frames = tuple(order.index(frame) for frame in series.frames)
        return replace(series, files=files[:1], frames=frames)
    return replace(series, files=files[:1] if series.mosaic else files)


def _names(series: Series, secret: bool) -> list[str]:
    from aegui.imaging.dicom.derived.naming import FileNames

    names = FileNames()
    files = series.files[:1] if series.frames else series.files
    return [names.give(f"IM{i + 1:04d}.dcm" if secret else file.name) for i, file in enumerate(files)]


def _same_place(series: Series, out: Path, names: list[str]) -> bool:
    found = [item for item in scanned(out).series if item.files[0].name in names]
    places = {position for item in found for position in item.geometry.positions}
    turns = {item.geometry.orientation for item in found if item.geometry.positions}
    expected = {series.geometry.orientation} if series.geometry.positions else set()
    sizes = {item.geometry.spacing[1:] for item in found}
    return places == set(series.geometry.positions) and turns == expected and sizes == {series.geometry.spacing[1:]}


def _judge(series: Series, out: Path, names: list[str], trip: Trip) -> None:
    seen: set[str] = set()
    for file, name in zip(series.files, names, strict=False):
        old, new = pydicom.dcmread(file, force=True), pydicom.dcmread(out / name)
        for keyword in UIDS:
            assert new[keyword].value != old.get(keyword)
        assert new.SOPInstanceUID not in seen
        seen.add(new.SOPInstanceUID)
        if VERIFIER is not None:
            trip.new_errors.update(errors(out / name) - errors(file))
            trip.checked += 1


def errors(path: Path) -> Counter[str]:
    """What dciodvfy calls an error, without values and item numbers."""
    dataset = pydicom.dcmread(path, force=True)
    with tempfile.TemporaryDirectory() as folder:
        if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # The checker's usual build cannot inflate.
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            path = Path(folder, "inflated.dcm")
            dataset.save_as(path)
        command = ["dciodvfy", "-new", str(path)]
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = (run.stdout + run.stderr).splitlines()
    return Counter(re.sub(r"\[\d+\]|(?<= = )<[^>]*>", "", line) for line in lines if line.startswith("Error"))


def pydicom_files() -> list[Path]:
    """The local test files of pydicom's wheel and of pydicom-data."""
    try:
        import data_store
    except ImportError:
        data_store = SimpleNamespace(__path__=[])
    folders = [WHEEL, *(Path(folder, "data") for folder in data_store.__path__)]
    return sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())


def series_of(file: Path, folder: Path) -> Iterator[Series]:
    """The series of one file that lies alone in a folder."""
    folder.mkdir(parents=True)
    shutil.copy(file, folder / file.name)
    yield from scanned(folder).series
