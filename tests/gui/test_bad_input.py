"""Bad input in the window: one plain sentence that names the thing and says what to do; no crash, no ruins."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog

from aegui.data.labels import label_of
from aegui.gui.pages.deliver import DeliverPage
from aegui.gui.pages.recipe import RecipePage
from aegui.gui.pages.train import TrainPage
from aegui.gui.widgets.import_dialog import ImportDialog
from aegui.gui.widgets.table import TableEditor
from tests.gui import generated

Open = Callable[..., object]


@pytest.fixture(autouse=True)
def no_crash(window) -> Iterator[None]:
    """Whatever is given, it is never a bug's dialog that answers."""
    crashes: list[BaseException] = []
    window.session.crash.connect(crashes.append)
    yield
    assert crashes == []


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for patient in "ABC":
        generated.write_ct(tmp_path / "scans" / patient, f"Body{patient}", slices=3, patient=patient)
    return tmp_path / "scans"


def says(words: str, *parts: str) -> None:
    for part in parts:
        assert part in words, words
    assert words.count(".") >= 2 or ":" in words, f"a sentence and a hint: {words}"
    assert "Traceback" not in words
    assert "Error" not in words


def page(window, kind):
    return next(one for one in window.pages if isinstance(one, kind))


def idle(window, qtbot) -> None:
    qtbot.waitUntil(lambda: not window.session.lanes.running() and not window.scans.scanning.running, timeout=60_000)


def denoise(window, qtbot, output: Path) -> DeliverPage:
    """Everything that is open, with the small shipped model."""
    window.session.set_model(generated.MODEL)
    window.show_page_named("deliver")
    deliver = page(window, DeliverPage)
    deliver.options.folder.setText(str(output))
    qtbot.mouseClick(deliver.bar.run, Qt.MouseButton.LeftButton)
    idle(window, qtbot)
    return deliver


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


# ---------------------------------------------------------------- folders


def test_an_empty_folder(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "nothing here").mkdir()
    window = opened(tmp_path / "nothing here")
    says(window.notices.text, "nothing here", "empty", "Choose the folder")
    assert window.session.series == ()
    assert window.scans.first.isVisible()


def test_a_folder_without_images(opened: Open, tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear all")
    (folder / "sheet.csv").write_text("a,b\n1,2\n")
    window = opened(folder)
    says(window.notices.text, "letters", "2 files", "letter.txt", "Choose the folder")
    assert window.scans.first.isVisible()


def test_a_folder_without_images_does_not_take_away_what_is_open(opened: Open, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing here").mkdir()
    opened(scans)
    window = opened(tmp_path / "nothing here")
    says(window.notices.text, "nothing here")
    assert len(window.session.series) == 3


def test_an_output_folder_below_a_file(opened: Open, qtbot, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep me")
    window = opened(scans)
    deliver = denoise(window, qtbot, tmp_path / "file" / "out")
    assert deliver.problem.isVisible()
    says(deliver.problem.accessibleName(), "out", "cannot be written", "Choose another folder")
    assert {entry.status for entry in deliver.batch.model.entries} == {"waiting"}
    assert (tmp_path / "file").read_text() == "keep me"


def test_an_output_folder_that_stops_being_one_fails_its_series_in_words(
    opened: Open, qtbot, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = opened(scans)
    out = tmp_path / "out"
    deliver = page(window, DeliverPage)
    real = deliver.options.output

    def vanish() -> Path:
        made = real()
        shutil.rmtree(made)
        made.write_text("a file now")
        return made

    monkeypatch.setattr(deliver.options, "output", vanish)
    denoise(window, qtbot, out)
    qtbot.waitUntil(deliver.problem.isVisible, timeout=30_000)  # told after the job has gone from its lane
    says(deliver.problem.accessibleName(), "out", "Choose another")
    assert out.read_text() == "a file now"


def test_an_export_below_a_file(opened: Open, qtbot, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep me")
    window = opened(scans)
    window.session.set_model(generated.MODEL)
    deliver = page(window, DeliverPage)
    deliver.exports.export("safetensors", tmp_path / "file" / "m.safetensors")
    idle(window, qtbot)
    card = deliver.exports.cards["safetensors"]
    assert card.state == "err"
    says(card.words.text(), "Choose")
    assert (tmp_path / "file").read_text() == "keep me"


# ---------------------------------------------------------------- files of a batch


def test_a_truncated_dicom_is_listed_and_the_rest_goes_on(opened: Open, qtbot, scans: Path, tmp_path: Path) -> None:
    broken = next((scans / "A").iterdir())
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    window = opened(scans)
    (skipped,) = window.session.skipped
    assert skipped.file == broken
    assert "Truncated" in skipped.reason
    assert "1 file is in no series." in window.scans.side.skipped.text()
    out = tmp_path / "out"
    denoise(window, qtbot, out)
    written = [pydicom.dcmread(file).PatientID for file in out.rglob("*.dcm")]
    assert sorted(written) == ["A", "A", *"BBBCCC"]
    listed = json.loads((out / "report.json").read_text())["series"]
    assert {row["status"] for row in listed} <= {"done", "flagged"}


def test_a_dicom_cut_off_after_it_was_opened_fails_alone(opened: Open, qtbot, scans: Path, tmp_path: Path) -> None:
    window = opened(scans)
    broken = sorted((scans / "B").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    out = tmp_path / "out"
    deliver = denoise(window, qtbot, out)
    failed = [entry for entry in deliver.batch.model.entries if entry.status == "failed"]
    assert [entry.series.description for entry in failed] == ["BodyB"]
    assert broken.name in failed[0].reason
    assert sorted({pydicom.dcmread(file).PatientID for file in out.rglob("*.dcm")}) == ["A", "C"]
    assert window.rail.items[4].note == "1 failed"


def test_a_folder_with_nothing_but_a_truncated_dicom(opened: Open, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    generated.write_ct(folder, slices=1)
    (only,) = folder.iterdir()
    only.write_bytes(only.read_bytes()[:2000])
    window = opened(folder)
    says(window.notices.text, only.name, "Truncated", "Choose another file")


def test_a_dicom_without_pixels_is_listed_and_the_rest_goes_on(
    opened: Open, qtbot, scans: Path, tmp_path: Path
) -> None:
    bare = next((scans / "B").iterdir())
    ds = pydicom.dcmread(bare)
    del ds.PixelData
    ds.save_as(bare)
    window = opened(scans)
    (skipped,) = window.session.skipped
    assert skipped.file == bare
    assert "pixel" in skipped.reason
    denoise(window, qtbot, tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 8


def test_unequal_sizes_in_one_series_become_series_with_a_warning(opened: Open, qtbot, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    generated.write_ct(folder, "Mixed", slices=3, side=64)
    generated.write_ct(tmp_path / "other", "Mixed", slices=3, side=48)
    shutil.copy(tmp_path / "other" / "Mixed_002.dcm", folder / "Mixed_002.dcm")
    window = opened(folder)
    assert sorted((one.rows, one.slices) for one in window.session.series) == [(48, 1), (64, 2)]
    assert any("size" in text.lower() for one in window.session.series for text in one.warnings)
    denoise(window, qtbot, tmp_path / "out")
    assert sorted(pydicom.dcmread(file).Rows for file in (tmp_path / "out").rglob("*.dcm")) == [48, 64, 64]


# ---------------------------------------------------------------- models


class _Malice:
    def __reduce__(self) -> object:
        return Path.touch, (Path("proof-of-code"),)


@pytest.mark.parametrize("kind", ["text", "pickle", "torch"])
def test_a_text_file_or_malicious_pickle_named_pt(
    kind: str, opened: Open, qtbot, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"{kind}.pt"
    if kind == "text":
        file.write_text("I am a letter.")
    elif kind == "pickle":
        file.write_bytes(pickle.dumps({"encoder.0.weight": _Malice()}))
    else:
        torch.save({"encoder.0.weight": _Malice()}, file)
    window = opened(scans)
    recipe = page(window, RecipePage)
    before = window.session.ensure_model()
    recipe.models.load_model(file)
    qtbot.waitUntil(lambda: bool(window.notices.text), timeout=30_000)
    idle(window, qtbot)
    says(window.notices.text, file.name)
    assert window.findChild(ImportDialog) is None
    assert window.session.model_ref == before
    assert not (tmp_path / "proof-of-code").exists()


def test_a_checkpoint_of_another_architecture_is_refused_by_name(
    opened: Open, qtbot, scans: Path, tmp_path: Path
) -> None:
    other = tmp_path / "resnet.pt"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(10)}, other)
    window = opened(scans)
    before = window.session.ensure_model()
    page(window, RecipePage).models.load_model(other)
    qtbot.waitUntil(lambda: bool(window.notices.text), timeout=30_000)
    idle(window, qtbot)
    says(window.notices.text, "resnet.pt", "conv1.weight")
    assert window.session.model_ref == before


def test_a_model_file_that_is_gone_is_said_where_it_is_used(opened: Open, qtbot, scans: Path, tmp_path: Path) -> None:
    window = opened(scans)
    window.session.set_model(tmp_path / "gone.aegui")
    window.show_page_named("deliver")
    deliver = page(window, DeliverPage)
    deliver.options.folder.setText(str(tmp_path / "out"))
    deliver.bar.run.click()
    idle(window, qtbot)
    says(deliver.problem.accessibleName() + window.notices.text, "gone.aegui")
    assert files(tmp_path / "out") == []


# ---------------------------------------------------------------- recipes, pairs, labels


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("learning_rat: 1", ("learning_rat", "mine.yaml")),
        ("groups: [{match: rest, learning_rate: -1.0e-4}]", ("learning_rate", "mine.yaml", "more than 0")),
        ("losses: [", ("mine.yaml",)),
    ],
)
def test_a_recipe_file_that_is_wrong(opened: Open, line: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    losses = "" if line.startswith("losses") else "losses: [{kind: mse}]\n"
    file.write_text(f"id: mine\ntitle: Mine\n{losses}{line}\n")
    window = opened()
    before = window.session.recipe
    page(window, RecipePage).load_recipe(file)
    says(window.notices.text, *parts)
    assert window.session.recipe == before


def test_a_negative_learning_rate_that_is_typed(opened: Open, qtbot, scans: Path) -> None:
    window = opened(scans)
    window.show_page_named("recipe")
    recipe = page(window, RecipePage)
    table = recipe.editor.form.editors[("groups",)]
    assert isinstance(table, TableEditor)
    rate = table.items[0].editors[("learning_rate",)].line
    rate.setFocus()
    rate.selectAll()
    qtbot.keyClicks(rate, "-1e-4")
    qtbot.keyClick(rate, Qt.Key.Key_Return)
    (error,) = recipe.editor.form.errors()
    says(recipe.editor.form.say(error), "earning rate", "more than 0", "Try")
    assert not recipe.foot.start.isEnabled()
    assert window.rail.items[1].note == "1 to fix"
    recipe.start_training()
    assert window.page is recipe
    assert window.session.train_job is None


def test_pairs_that_do_not_match(opened: Open, qtbot, scans: Path, tmp_path: Path) -> None:
    generated.write_ct(tmp_path / "clean", "Sharp", slices=2, side=48, patient="Z")
    window = opened(scans, tmp_path / "clean")
    session = window.session
    clean = next(one for one in session.series if one.description == "Sharp")
    session.set_roles([clean.uid], "clean")
    session.set_recipe(session.recipe.with_set(["targets={kind: paired}"]))
    window.show_page_named("recipe")
    recipe = page(window, RecipePage)
    recipe._check()
    words = recipe.editor.form.row("targets").message.text.text()
    says(words, "No noisy series has a matching clean series", "Add")
    assert not recipe.foot.start.isEnabled()
    window.show_page_named("train")
    assert page(window, TrainPage).stack.currentWidget() is page(window, TrainPage).blocked


@pytest.mark.parametrize(
    ("text", "part"),
    [("path,label\nsomewhere/else.dcm,sick\nanother.dcm,well\n", "somewhere/else.dcm"), ("one column\n", "columns")],
)
def test_labels_for_the_wrong_files(
    opened: Open, scans: Path, text: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_a, **_k: (str(labels), ""))
    window = opened(scans)
    window.scans._ask_labels()
    says(window.notices.text, "labels.csv", part)
    assert window.session.labels == {}


def test_labels_of_the_right_files_are_taken(
    opened: Open, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nA,sick\nB,well\nC,sick\n")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_a, **_k: (str(labels), ""))
    window = opened(scans)
    window.scans._ask_labels()
    assert window.notices.text == ""
    found = {label_of(one, 0, window.session.labels) for one in window.session.series}
    assert found == {"sick", "well"}


def test_a_run_folder_that_cannot_be_made(opened: Open, qtbot, scans: Path, homes: Path) -> None:
    window = opened(scans)
    (homes / "data").mkdir(parents=True, exist_ok=True)
    (homes / "data" / "runs").write_text("a file, not a folder")
    window.session.ensure_model()
    window.show_page_named("recipe")
    recipe = page(window, RecipePage)
    recipe.start_training()
    idle(window, qtbot)
    assert page(window, TrainPage).state == "none"
    assert not recipe.foot.start.isEnabled()
    (problem,) = [problem for problem in recipe.problems if problem.blocking]
    says(f"{problem.message} {problem.hint}", "cannot be written")
    assert problem.message in recipe.foot.start.toolTip()
