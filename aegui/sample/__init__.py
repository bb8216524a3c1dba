"""Sample data that can ship: simulated CT at two doses, and pydicom's own CT and MR, as DICOM files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aegui.errors import UserError
from aegui.events import Done, Event, Progress
from aegui.imaging import phantom_dicom
from aegui.sample.anatomy import Patient
from aegui.sample.scanner import Scanner

LOW_DOSE = 0.1
FULL_EXPOSURE = 200.0  # mAs
THICKNESS = 5.0  # mm
_SPAN = 200.0  # mm of the body that the slices are spread over

_FOLDERS = {"low": "low_dose", "full": "full_dose", "other": "other"}


def folders(folder: Path) -> dict[str, Path]:
    """Where `generate` puts the low-dose series, the full-dose series and the other scans."""
    return {key: folder / name for key, name in _FOLDERS.items()}


def generate(
    folder: Path, *, slices: int = 10, patients: int = 4, seed: int = 0, low_dose: float = LOW_DOSE
) -> Iterator[Event]:
    """Write the sample data; ends in Done({"low": …, "full": …, "other": …}).

    A folder that already holds it is left as it is: each part appears only when it is complete.
    """
    parts = folders(folder)
    total = 2 * patients * slices
    if all(path.is_dir() for path in parts.values()):
        yield Progress(total, total, "Making sample scans")
        yield Done(parts)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".sample-", dir=folder))
    except OSError:
        raise UserError(f"The folder {folder} cannot be written.", "Choose another folder.") from None
    try:
        yield Progress(0, total, "Making sample scans")
        for index in range(patients):
            start = 2 * slices * index
            for share in _patient(temporary, index, slices, seed, low_dose):
                yield Progress(start + int(share * 2 * slices), total, "Making sample scans")
        other = temporary / _FOLDERS["other"]
        other.mkdir()
        for file in phantom_dicom.bundled_files():
            shutil.copyfile(file, other / file.name)
        for key, path in parts.items():
            if not path.exists():
                (temporary / _FOLDERS[key]).replace(path)
    except OSError as error:
        raise UserError(f"The sample scans cannot be written to {folder}.", f"{error.strerror}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    yield Done(parts)


def _patient(folder: Path, index: int, slices: int, seed: int, low_dose: float) -> Iterator[float]:
    """Simulate and write one patient at both doses; yields the share that is done."""
    rng = np.random.default_rng([seed, index])
    scanner = Scanner()
    doses = {"low": low_dose, "full": 1.0}
    filtered = np.empty((2, slices, scanner.views, scanner.cells), np.float32)
    for i, level in enumerate(Patient(seed * 1000 + index).slices(slices)):
        integrals = scanner.project([level])
        for page, dose in zip(filtered, doses.values(), strict=True):
            page[i] = scanner.filtered(scanner.expose(integrals, dose, rng))[0]
        yield 0.2 * (i + 1) / slices
    images = np.empty((2 * slices, scanner.size, scanner.size), np.float32)
    for share in scanner.backproject(filtered.reshape(2 * slices, *filtered.shape[2:]), images):
        yield 0.2 + 0.7 * share
    # Beyond the circle that every view sees, values mean nothing: scanners write air there.
    axis = np.arange(scanner.size) - (scanner.size - 1) / 2
    images[:, axis[:, None] ** 2 + axis**2 > (scanner.size / 2) ** 2] = -1024
    name = f"{index + 1:02d}"
    corner = -(scanner.size - 1) / 2 * scanner.pixel
    for number, (key, dose) in enumerate(doses.items(), start=1):
        target = folder / _FOLDERS[key] / f"patient{name}"
        target.mkdir(parents=True)
        header = phantom_dicom.PhantomSeries(
            study=f"{seed}/{slices}/{name}",
            patient=f"PHANTOM{name}",
            sex="F" if index % 2 else "M",
            number=number,
            description=f"Simulated {'low' if key == 'low' else 'full'} dose, {dose * 100:g} %",
            exposure=FULL_EXPOSURE * dose,
            thickness=THICKNESS,
            spacing=(round(_SPAN / slices, 3), scanner.pixel, scanner.pixel),
            origin=(corner, corner, -_SPAN / 2),
        )
        for i in range(slices):
            # Slices run from the abdomen up, as the patient's z axis does.
            pixels = images[(number - 1) * slices + slices - 1 - i]
            phantom_dicom.write_slice(target / f"slice{i + 1:03d}.dcm", header, i, pixels)
        yield 0.9 + 0.05 * number
