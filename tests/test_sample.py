import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from aegui import sample
from aegui.errors import UserError
from aegui.events import Done, Progress, finish
from aegui.sample.anatomy import Patient
from aegui.sample.scanner import Ellipse, Scanner

WATER = [Ellipse(0, 0, 100, 100, 1000)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sample")
    return finish(sample.generate(folder, slices=3, patients=3))


def volume(folder: Path) -> np.ndarray:
    """HU, slices sorted by position."""
    read = [pydicom.dcmread(file) for file in folder.glob("*.dcm")]
    read.sort(key=lambda ds: ds.ImagePositionPatient[2])
    return np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in read])


def middle(image: np.ndarray, half: int = 24) -> np.ndarray:
    centre = image.shape[-1] // 2
    return image[..., centre - half : centre + half, centre - half : centre + half]


def test_a_noiseless_scan_gives_the_hu_that_were_put_in() -> None:
    scanner = Scanner()
    insert = Ellipse(60, 0, 15, 15, 100)
    image = scanner.image(scanner.project([[*WATER, insert]]))[0]
    assert abs(middle(image).mean()) < 1
    assert abs(image[123:133, 162:172].mean() - 100) < 3  # x = 60 mm lies in column 167
    assert abs(image[:20].mean() + 1000) < 5


def test_an_ellipse_turns_by_its_angle_and_lies_where_it_was_put() -> None:
    scanner = Scanner(size=128, pixel=3.0)
    bar = Ellipse(30, -40, 60, 8, 500, 0.5)
    image = scanner.image(scanner.project([[bar]]))[0] + 1000
    y, x = np.mgrid[:128, :128]
    x, y = (x - 63.5) * 3, (y - 63.5) * 3
    weight = np.where(image > 250, 1.0, 0.0)
    cx, cy = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
    assert abs(cx - 30) < 1.5 and abs(cy + 40) < 1.5
    slope = (weight * (x - cx) * (y - cy)).sum() / (weight * (x - cx) ** 2).sum()
    assert abs(np.arctan(slope) - 0.5) < 0.05


def test_noise_grows_as_the_root_of_the_dose_falls() -> None:
    scanner = Scanner(electronic=0.0)
    integrals = scanner.project([WATER])
    rng = np.random.default_rng(1)
    noise = {
        dose: middle(scanner.image(scanner.expose(integrals, dose, rng)) - scanner.image(integrals)).std()
        for dose in (1.0, 0.1)
    }
    assert noise[0.1] / noise[1.0] == pytest.approx(10**0.5, rel=0.08)


def test_electronic_noise_counts_most_at_low_dose() -> None:
    integrals = np.full((1, 400, 50), 6.0, np.float32)

    def added(dose: float) -> float:
        """Noise with the electronics over noise without them; expected: sqrt(1 + SD² / counts)."""
        noise = [Scanner(electronic=sd).expose(integrals, dose, np.random.default_rng(0)).std() for sd in (20.0, 0.0)]
        return float(noise[0] / noise[1])

    counts = Scanner().photons * np.exp(-6)
    for dose in (1.0, 0.1):
        assert added(dose) == pytest.approx((1 + 400 / (dose * counts)) ** 0.5, rel=0.05)
    assert added(0.1) > added(1.0)


def test_noise_is_correlated_between_neighbours() -> None:
    scanner = Scanner()
    integrals = np.repeat(scanner.project([WATER]), 6, axis=0)
    noise = middle(scanner.image(scanner.expose(integrals, 0.1, np.random.default_rng(0)) - integrals), 40)
    noise = noise - noise.mean((1, 2), keepdims=True)
    spectrum = (abs(np.fft.fft2(noise)) ** 2).mean(0)
    low, mid, high = spectrum[0, 1:3].mean(), spectrum[0, 15:25].mean(), spectrum[0, 38:40].mean()
    assert mid > 2 * low, "filtered backprojection leaves little noise at the lowest frequencies"
    assert mid > 1.5 * high, "the kernel takes away the highest"


def test_each_dose_is_a_series_of_its_own_in_one_study(made: dict[str, Path]) -> None:
    low, full = (sorted(made[key].rglob("*.dcm")) for key in ("low", "full"))
    assert len(low) == len(full) == 9
    headers = {
        key: [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
        for key, files in (("low", low), ("full", full))
    }
    for key in headers:
        assert len({ds.SeriesInstanceUID for ds in headers[key]}) == 3
    assert not {d.SeriesInstanceUID for d in headers["low"]} & {d.SeriesInstanceUID for d in headers["full"]}
    assert len({d.SOPInstanceUID for d in headers["low"] + headers["full"]}) == 18
    for a, b in zip(headers["low"], headers["full"], strict=True):
        assert a.PatientID == b.PatientID
        assert a.StudyInstanceUID == b.StudyInstanceUID
        assert a.FrameOfReferenceUID == b.FrameOfReferenceUID
        assert a.ImagePositionPatient == b.ImagePositionPatient
        assert a.Exposure < b.Exposure
    assert len({d.PatientID for d in headers["low"]}) == 3


def test_the_low_dose_series_is_noisier_by_about_the_expected_factor(made: dict[str, Path]) -> None:
    # The truth is the same at both doses, so its noiseless reconstruction shows what each dose added.
    scanner = Scanner()
    truth = scanner.image(scanner.project(Patient(0).slices(3)))[::-1]
    noise = {}
    for key in ("low", "full"):
        error = middle(volume(made[key] / "patient01") - truth)
        assert abs(error.mean()) < 2
        noise[key] = error.std((1, 2))
    assert (noise["low"] / noise["full"] > 2.7).all()
    assert (noise["low"] / noise["full"] < 4.2).all()
    assert (noise["low"] > 10).all() and (noise["low"] < 45).all()


def test_patients_differ_and_the_same_seed_repeats(made: dict[str, Path], tmp_path: Path) -> None:
    one, two = volume(made["full"] / "patient01"), volume(made["full"] / "patient02")
    assert np.abs(one - two).mean() > 20
    again = finish(sample.generate(tmp_path, slices=3, patients=3))
    files = sorted(made["low"].rglob("*.dcm"))
    assert all((again["low"] / f.relative_to(made["low"])).read_bytes() == f.read_bytes() for f in files)


def test_hu_span_air_to_bone(made: dict[str, Path]) -> None:
    full = volume(made["full"] / "patient01")
    assert full.min() == -1024
    assert full.max() > 350
    assert full[:, 0, 0].tolist() == [-1024.0] * 3


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_dciodvfy_finds_no_error(made: dict[str, Path]) -> None:
    for file in sorted(made["low"].rglob("*.dcm"))[:2] + sorted(made["full"].rglob("*.dcm"))[:1]:
        said = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr


def test_scanning_the_sample_groups_it_into_the_right_series(made: dict[str, Path]) -> None:
    from aegui import imaging

    result = finish(imaging.scan([made["low"], made["full"]]))
    assert len(result.series) == 6
    assert {s.slices for s in result.series} == {3}
    assert {s.unit for s in result.series} == {"HU"}
    assert len({s.patient for s in result.series}) == 3
    assert result.skipped == ()


def test_pydicoms_own_ct_and_mr_come_along(made: dict[str, Path]) -> None:
    assert sorted(p.name for p in made["other"].iterdir()) == ["CT_small.dcm", "MR_small.dcm"]


def test_a_complete_sample_is_left_as_it_is(made: dict[str, Path]) -> None:
    times = {f: f.stat().st_mtime_ns for f in made["low"].rglob("*.dcm")}
    assert finish(sample.generate(made["low"].parent, slices=3, patients=3)) == made
    assert times == {f: f.stat().st_mtime_ns for f in made["low"].rglob("*.dcm")}


def test_generation_reports_progress_and_leaves_nothing_behind_when_abandoned(tmp_path: Path) -> None:
    events = sample.generate(tmp_path, slices=2, patients=1)
    for event in events:
        assert isinstance(event, Progress | Done)
        if isinstance(event, Progress) and event.done >= 2:
            break
    events.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file"):
        finish(sample.generate(tmp_path / "file" / "below"))
