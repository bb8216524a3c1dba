"""Bad input on the command line: an exit code, a plain sentence that names the thing, a hint, and no ruins."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from aegui.cli import run
from aegui.imaging.phantom_dicom import PhantomSeries, write_slice

QUICK = ["--set", "run.epochs=1", "run.steps_per_epoch=1", "run.batch_size=1", "run.patch_size=32"]


@dataclass
class Said:
    """What a command line gave back."""

    code: int
    out: str
    err: str

    def refuses(self, *parts: str) -> None:
        """One sentence that names the thing, and a hint; nothing of Python's."""
        assert self.code == 1, self
        assert self.out == ""
        assert "Traceback" not in self.err and "met an unexpected" not in self.err
        last = self.err.strip().splitlines()[-1]
        for part in parts:
            assert part in last, last
        assert last.count(".") >= 2 or ":" in last, "a sentence and a hint"


Aegui = Callable[..., Said]


@pytest.fixture
def aegui(capsys: pytest.CaptureFixture[str]) -> Aegui:
    def call(*words: object) -> Said:
        capsys.readouterr()
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def write_series(folder: Path, *, patient: str = "A", slices: int = 3, side: int = 64, seed: int = 0) -> Path:
    """A small CT series."""
    folder.mkdir(parents=True, exist_ok=True)
    header = PhantomSeries(
        study=f"{patient}/{folder.name}",
        patient=patient,
        sex="O",
        number=1,
        description=f"Series {patient} {folder.name}",
        exposure=100,
        thickness=5.0,
        spacing=(5.0, 1.0, 1.0),
        origin=(0.0, 0.0, 0.0),
    )
    rng = np.random.default_rng(seed)
    for i in range(slices):
        y, x = np.mgrid[:side, :side]
        disc = np.where((x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2, 40.0, -1000.0)
        pixels = disc + rng.normal(0, 20, disc.shape)
        write_slice(folder / f"{folder.name}-{i}.dcm", header, i, pixels.astype(np.float32))
    return folder


def cut(file: Path, share: float = 0.5) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for k, patient in enumerate("ABC"):
        write_series(tmp_path / "scans" / patient, patient=patient, seed=k)
    return tmp_path / "scans"


def leftovers(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---------------------------------------------------------------- folders


def test_an_empty_folder(aegui: Aegui, tmp_path: Path) -> None:
    empty = tmp_path / "nothing here"
    empty.mkdir()
    said = aegui("scan", empty)
    assert said.code == 1 and str(empty) in said.err and "Choose" in said.err
    aegui("denoise", "--input", empty, "--output", tmp_path / "out").refuses(str(empty), "Choose")
    aegui("train", "--data", empty, "--out", tmp_path / "run").refuses(str(empty), "Choose")
    assert not (tmp_path / "out").exists() and not (tmp_path / "run").exists()


def test_an_empty_folder_as_json_is_an_empty_list_an_error_and_exit_1(aegui: Aegui, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = aegui("scan", tmp_path / "empty", "--json")
    assert said.code == 1
    found = json.loads(said.out)
    assert found["error"].endswith("holds no images.") and "Choose" in found["hint"]
    assert (found["series"], found["skipped"], found["pairs"]) == ([], [], [])


def test_a_folder_without_images(aegui: Aegui, tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear all")
    (folder / "sheet.csv").write_text("a,b\n1,2\n")
    said = aegui("scan", folder, "--json")
    assert said.code == 1
    assert len(json.loads(said.out)["skipped"]) == 2
    aegui("denoise", "--input", folder, "--output", tmp_path / "out").refuses(str(folder), "Choose")


def test_an_output_that_cannot_be_written(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep me")
    below = tmp_path / "file" / "out"
    aegui("denoise", "--input", scans, "--output", below).refuses(str(below), "Choose another folder")
    aegui("train", "--data", scans, "--out", below, *QUICK).refuses(str(below), "Choose another folder")
    aegui("export", "classic-small", "--format", "safetensors", "--output", below / "m.safetensors").refuses("Choose")
    aegui("demo", "--out", below).refuses(str(below), "Choose another")
    assert (tmp_path / "file").read_text() == "keep me"


def test_folders_of_the_program_that_cannot_be_made(
    aegui: Aegui, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    homes = {kind: tmp_path / "file" / kind.lower() for kind in ("CONFIG", "DATA", "CACHE")}
    for kind, home in homes.items():
        monkeypatch.setenv(f"AEGUI_{kind}_HOME", str(home))
    assert "general-small" in aegui("models").out
    words = ["--model", "classic-small", "--input", scans / "A", "--output", tmp_path / "out"]
    assert aegui("denoise", *words, "--engine", "torch").code == 0
    aegui("denoise", *words, "--deidentify").refuses(str(homes["DATA"]), "AEGUI_DATA_HOME")
    aegui("export", "classic-small", "--format", "safetensors", "--output", tmp_path / "m.safetensors")
    aegui("models", "--add", tmp_path / "m.safetensors").refuses(str(homes["DATA"]), "AEGUI_DATA_HOME")


def test_names_longer_than_a_file_can_have(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    long = "x" * 300
    aegui("scan", tmp_path / long).refuses(long, "There is no folder or file")
    aegui("denoise", "--input", tmp_path / long, "--output", tmp_path / "out").refuses(long, "There is no folder")
    aegui("runs", tmp_path / long).refuses(long, "There is no folder")
    words = ["denoise", "--input", scans / "A", "--output", tmp_path / "out", "--model"]
    aegui(*words, long).refuses(long, "There is no model")
    for suffix in (".aegui", ".safetensors", ".adapter.safetensors", ".pt", ".pth"):
        aegui(*words, long + suffix).refuses(long + suffix, "There is no file")
        aegui("models", "--add", long + suffix).refuses(long + suffix, "There is no file")
    aegui("recipes", "show", long).refuses(long, "There is no recipe")


# ---------------------------------------------------------------- files of a batch


def test_a_truncated_dicom_is_left_out_and_the_rest_goes_on(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    broken = scans / "A" / "A-1.dcm"
    cut(broken)
    said = aegui("scan", scans, "--json")
    skipped = json.loads(said.out)["skipped"]
    assert said.code == 0 and [row["file"] for row in skipped] == [str(broken)]
    assert "Truncated" in skipped[0]["reason"]
    out = tmp_path / "out"
    said = aegui("denoise", "--model", "classic-small", "--input", scans, "--output", out)
    assert said.code == 2, said
    assert str(broken) in said.err
    assert "Traceback" not in said.err
    report = json.loads((out / "report.json").read_text())
    assert [row["status"] in ("done", "flagged") for row in report["series"]] == [True, True, True]
    written = [pydicom.dcmread(file) for file in out.rglob("*.dcm")]
    assert sorted(ds.PatientID for ds in written) == ["A", "A", *"BBBCCC"]


def test_a_folder_with_nothing_but_a_truncated_dicom(aegui: Aegui, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "one", slices=1)
    cut(folder / "one-0.dcm")
    aegui("denoise", "--input", folder, "--output", tmp_path / "out").refuses(str(folder), "Truncated")
    assert not (tmp_path / "out").exists()


def test_a_dicom_without_pixels_is_left_out_and_the_rest_goes_on(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    bare = scans / "B" / "B-0.dcm"
    ds = pydicom.dcmread(bare)
    del ds.PixelData
    ds.save_as(bare)
    out = tmp_path / "out"
    said = aegui("denoise", "--model", "classic-small", "--input", scans, "--output", out)
    assert said.code == 2
    assert str(bare) in said.err and "pixel" in said.err
    assert len(list(out.rglob("*.dcm"))) == 8


def test_unequal_sizes_in_one_series_become_series_of_their_own(aegui: Aegui, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "mixed", slices=3, side=64)
    write_series(tmp_path / "other" / "mixed", slices=3, side=48)
    shutil.copy(tmp_path / "other" / "mixed" / "mixed-2.dcm", folder / "mixed-2.dcm")
    said = aegui("scan", folder, "--json")
    found = json.loads(said.out)
    sizes = sorted((row["rows"], row["slices"]) for row in found["series"])
    assert sizes == [(48, 1), (64, 2)]
    assert len({row["uid"] for row in found["series"]}) == 2
    assert any("size" in text.lower() for row in found["series"] for text in row["warnings"])
    out = tmp_path / "out"
    assert aegui("denoise", "--model", "classic-small", "--input", folder, "--output", out).code == 0
    assert sorted(pydicom.dcmread(file).Rows for file in out.rglob("*.dcm")) == [48, 64, 64]


# ---------------------------------------------------------------- models


def test_a_checkpoint_of_another_architecture(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    import torch

    other = tmp_path / "resnet.pt"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(10)}, other)
    out = tmp_path / "out"
    aegui("denoise", "--model", other, "--input", scans, "--output", out).refuses("resnet.pt", "conv1.weight")
    aegui("models", "--add", other).refuses("resnet.pt", "conv1.weight")
    aegui("train", "--model", other, "--data", scans, "--out", tmp_path / "run", *QUICK).refuses("resnet.pt")
    said = aegui("models", "--add", other, "--architecture", "conv_autoencoder")
    said.refuses("missing: encoder.0.weight", "unexpected: conv1.weight")
    assert not out.exists() and not (tmp_path / "run").exists()


class _Malice:
    def __reduce__(self) -> object:
        return Path.touch, (Path("proof-of-code"),)


@pytest.mark.parametrize("kind", ["text", "pickle", "torch"])
def test_a_text_file_or_malicious_pickle_named_pt(
    kind: str, aegui: Aegui, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"{kind}.pt"
    if kind == "text":
        file.write_text("I am a letter.")
    elif kind == "pickle":
        file.write_bytes(pickle.dumps({"encoder.0.weight": _Malice()}))
    else:
        torch.save({"encoder.0.weight": _Malice()}, file)
    out = tmp_path / "out"
    aegui("denoise", "--model", file, "--input", scans, "--output", out).refuses(file.name)
    aegui("models", "--add", file).refuses(file.name)
    aegui("train", "--model", file, "--data", scans, "--out", tmp_path / "run", *QUICK).refuses(file.name)
    assert not (tmp_path / "proof-of-code").exists()
    assert not out.exists() and not (tmp_path / "run").exists()


# ---------------------------------------------------------------- recipes, pairs, labels


def test_a_recipe_with_an_unknown_key(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("id: mine\ntitle: Mine\nlosses: [{kind: mse}]\nlearning_rat: 1\n")
    said = aegui("train", "--recipe", recipe, "--data", scans, "--out", tmp_path / "run")
    said.refuses("learning_rat", "mine.yaml", "spelling")
    said = aegui("train", "--data", scans, "--out", tmp_path / "run", "--set", "run.epoch=3")
    said.refuses("run.epoch", "spelling")
    assert not (tmp_path / "run").exists()


def test_a_negative_learning_rate(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    said = aegui("train", "--data", scans, "--out", tmp_path / "run", "--set", "groups.rest.learning_rate=-1e-4")
    said.refuses("learning_rate", "more than 0", "-0.0001")
    assert not (tmp_path / "run").exists()


def test_pairs_that_do_not_match(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    clean = write_series(tmp_path / "clean", patient="Z", slices=2, side=48)
    said = aegui("train", "--data", scans, "--clean", clean, "--out", tmp_path / "run", *QUICK)
    said.refuses("No clean series matches", "64×64", "48×48")
    aegui("evaluate", "--noisy", scans, "--clean", clean).refuses("No clean series matches")
    assert not (tmp_path / "run").exists()


def test_pairs_by_order_must_be_accepted(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    for k, patient in enumerate("XYZ"):
        write_series(tmp_path / "clean" / patient, patient=patient, seed=k + 7)
    words = ["train", "--model", "classic-small", "--data", scans, "--clean", tmp_path / "clean"]
    words += ["--out", tmp_path / "run", *QUICK]
    said = aegui(*words)
    said.refuses("order", "--accept-pairs")
    assert "Paired by order" in said.err
    assert not (tmp_path / "run").exists()
    assert aegui(*words, "--accept-pairs").code == 0


def test_labels_for_the_wrong_files(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nsomewhere/else.dcm,sick\nanother.dcm,well\n")
    words = ["train", "--recipe", "discriminative", "--data", scans, "--out", tmp_path / "run", *QUICK]
    aegui(*words, "--labels", labels).refuses("labels.csv", "somewhere/else.dcm")
    labels.write_text("one column only\n")
    aegui(*words, "--labels", labels).refuses("labels.csv", "two columns")
    aegui(*words, "--labels", tmp_path / "none.csv").refuses("none.csv")
    assert not (tmp_path / "run").exists()


def test_labels_that_fit_train_a_head(aegui: Aegui, scans: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nA,sick\nB,well\nC,sick\n")
    words = ["train", "--model", "classic-small", "--recipe", "discriminative", "--data", scans]
    assert aegui(*words, "--out", tmp_path / "run", *QUICK, "--labels", labels).code == 0
    by_folder = aegui(*words, "--out", tmp_path / "run2", *QUICK)
    assert by_folder.code == 0, by_folder
