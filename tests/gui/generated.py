"""Small generated scans for the window's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aegui import imaging
from aegui.events import finish
from aegui.imaging.phantom_dicom import PhantomSeries, write_slice
from aegui.imaging.series import Series

MODEL = "classic-small"


def write_ct(
    folder: Path, description: str = "Thin", slices: int = 5, sd: float = 25, side: int = 64, patient: str = "A"
) -> None:
    """A disc in air with noise; two series of one patient share their geometry."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, description)))
    y, x = np.mgrid[:side, :side] - side / 2
    body = np.where(np.hypot(x, y) < side * 0.42, 50.0, -1000.0)
    header = PhantomSeries(
        study=patient,
        patient=patient,
        sex="O",
        number=1,
        description=description,
        exposure=100.0,
        thickness=2.0,
        spacing=(2.0, 0.8, 0.8),
        origin=(0.0, 0.0, 0.0),
    )
    for index in range(slices):
        pixels = body + rng.normal(0, sd, body.shape)
        write_slice(folder / f"{description}_{index:03}.dcm", header, index, pixels.astype(np.float32))


def write_volume(folder: Path, name: str = "knee", slices: int = 3) -> Path:
    """A float volume without units or modality."""
    import SimpleITK

    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(7).normal(400, 30, (slices, 48, 56)).astype(np.float32)
    path = folder / f"{name}.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    return path


def scanned(*folders: Path) -> Any:
    return finish(imaging.scan(list(folders)))


def ct(folder: Path, description: str = "Thin", **options: Any) -> Series:
    """Write one CT series and scan it."""
    write_ct(folder, description, **options)
    return next(s for s in scanned(folder).series if s.description == description)
