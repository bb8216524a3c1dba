"""Whether a model has seen the like of a scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aegui import imaging, workflow
from aegui.data.looks import Look, glimpse, look, looks, looks_of, unlike
from aegui.events import Done, finish
from aegui.measure import Range, signal_range
from aegui.models.card import Card, Seen
from aegui.models.zoo import load_model
from aegui.recipes import load

CT = Seen(slices=9, spacing=(0.6, 1.0), noise=(4, 60), grain=(0.15, 0.35), dark=(0.3, 0.6), bright=(0.85, 1.05))
CARD = Card(id="m", title="M", architecture="conv_autoencoder", seen={"CT": CT})
USUAL = Look("CT", 0.8, 25, 0.25, 0.4, 1.0)


def test_a_scan_like_those_of_the_training_is_no_matter() -> None:
    assert unlike(CARD, [USUAL, replace(USUAL, noise=40), replace(USUAL, grain=None)]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modality": "MR"}, "MR; the model has seen CT"),
        ({"noise": 120.0}, "noise of 120 of 255; the model has seen 4 to 60"),
        ({"noise": 0.2}, "noise of 0 of 255"),
        ({"spacing": 3.0}, "pixels of 3 mm; the model has seen 0.6 to 1 mm"),
        ({"dark": 0.02}, "2% of each slice is dark; the model has seen 30% to 60%"),
        ({"bright": 0.3}, "other grey values"),
        ({"grain": 0.05}, "coarser noise"),
        ({"grain": 0.45}, "finer noise"),
        ({"colour": True}, "colour; the model has seen grey pictures"),
    ],
)
def test_what_is_far_outside_is_said_in_words(change: dict[str, float], words: str) -> None:
    (found,) = unlike(CARD, [replace(USUAL, **change)] * 3)  # type: ignore[arg-type]
    assert words in found


def test_one_odd_slice_of_a_scan_is_no_matter_and_cards_that_do_not_tell_say_nothing() -> None:
    assert unlike(CARD, [USUAL, USUAL, replace(USUAL, noise=200)]) == []
    assert unlike(CARD.model_copy(update={"seen": {}}), [replace(USUAL, noise=200)]) == []
    assert unlike(CARD, [replace(USUAL, spacing=0)]) == []


def test_pictures_that_no_header_names_are_hardly_less_dark_than_those_that_were_seen() -> None:
    card = CARD.model_copy(update={"seen": {"OT": CT.model_copy(update={"dark": (0.1, 0.6)})}})
    picture = replace(USUAL, modality="OT")
    assert unlike(card, [replace(picture, dark=0.05)]) == []
    (words,) = unlike(card, [replace(picture, dark=0.03)])
    assert words.startswith("3% of each slice is dark")
    assert unlike(CARD, [replace(USUAL, dark=0.15)]) == []


@pytest.mark.parametrize("name", ["astronaut", "coffee", "coins", "moon", "page", "text", "brick", "grass", "gravel"])
def test_the_shipped_model_takes_no_photograph_for_a_scan(name: str, tmp_path: Path) -> None:
    from PIL import Image
    from skimage import data

    Image.fromarray(getattr(data, name)()).save(tmp_path / "photo.png")
    (series,) = finish(workflow.scan([tmp_path])).series
    source = imaging.open_series(series)
    words = unlike(load_model("general-small").card, looks_of(source))
    source.close()
    assert words


def test_the_figures_of_a_slice_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    body = np.where(np.hypot(x, y) < 0.8, 40.0, -1000.0)
    found = look(
        glimpse(body + rng.normal(0, 20, body.shape), np.ones(body.shape, np.bool_)), "CT", 0.7, Range(400.0, "R")
    )
    assert found.noise == pytest.approx(20 / 400 * 255, rel=0.05)
    assert found.dark == pytest.approx((np.hypot(x, y) >= 0.8).mean(), abs=0.01)
    assert found.bright == pytest.approx(1.04, abs=0.01)
    # White noise: the mean frequency of rings whose number grows with the frequency.
    assert found.grain == pytest.approx(1 / 3, abs=0.02)


def test_a_pixel_size_that_is_not_known_is_not_compared() -> None:
    slices = [glimpse(np.random.default_rng(0).normal(50, 20, (32, 32)), np.ones((32, 32), np.bool_))]
    known = imaging.Geometry((0.0, 0.5, 0.5))
    series = imaging.Series("1", "2", "p", "A", "", "CR", "", "dicom", (), 32, 32, 1, known)
    unknown = replace(series, geometry=imaging.Geometry((0.0, 1.0, 1.0), measured=False))
    assert [looks(one, slices)[0].spacing for one in (series, unknown)] == [0.5, 0.0]


def test_a_trained_model_knows_what_it_has_seen_and_a_photograph_is_not_of_it(tmp_path: Path) -> None:
    from PIL import Image
    from skimage.data import camera

    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    for patient in range(4):
        for number in range(3):
            body = 120 * (np.hypot(x, y * 1.2) < 0.6 + 0.03 * patient) * (1 + 0.2 * np.sin(9 * x + number))
            for folder, sd in (("scans", 2), ("noisy", 25)):
                (tmp_path / folder / f"p{patient}").mkdir(parents=True, exist_ok=True)
                pixels = np.clip(body + rng.normal(0, sd, body.shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / f"p{patient}" / f"{number}.png")
    (tmp_path / "photo").mkdir()
    Image.fromarray(camera()).save(tmp_path / "photo" / "camera.png")
    series = finish(workflow.scan([tmp_path / "scans"])).series
    recipe = load("denoise").with_set(["run.epochs=1", "run.batch_size=2", "run.patch_size=32"])
    (*_, done) = workflow.train(workflow.TrainJob("classic-small", recipe, series, tmp_path / "run", device="cpu"))
    assert isinstance(done, Done)
    card = load_model(str(done.result.bundle)).card
    (known,) = card.seen.values()
    assert known.slices >= 6 and known.noise[1] > 10 and known.dark[0] > 0.3

    def words(folder: Path) -> list[str]:
        (one, *_) = finish(workflow.scan([folder])).series
        source = imaging.open_series(one)
        try:
            return unlike(card, looks_of(source))
        finally:
            source.close()

    assert words(tmp_path / "noisy") == []
    assert any("dark" in found for found in words(tmp_path / "photo"))


def shared_words(folder: Path, sd: float, card: Card, seed: int = 0) -> list[list[str]]:
    """Of every series of a folder with noise added, of 255."""
    found = []
    for series in finish(workflow.scan([folder])).series:
        source = imaging.open_series(series)
        data_range = signal_range(series.modality, series.bits, [source.read(len(source) // 2)]).value
        found.append(unlike(card, looks_of(Noisier(source, sd * data_range / 255, seed))))
        source.close()
    return found


class Noisier:
    """A source with noise added."""

    def __init__(self, source: imaging.SliceSource, sd: float, seed: int) -> None:
        self.series, self._source, self._sd, self._seed = source.series, source, sd, seed

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> imaging.Pixels:
        pixels = self._source.read(index)
        return (pixels + np.random.default_rng([self._seed, index]).normal(0, self._sd, pixels.shape)).astype(
            np.float32
        )

    def valid(self, index: int) -> imaging.Mask:
        return self._source.valid(index)

    def close(self) -> None:
        self._source.close()


def test_the_shipped_model_is_silent_on_scans_of_its_kinds_that_it_never_saw(shared: Path) -> None:
    card = load_model("general-small").card
    for folder in ("ct_chest_tcga/set_aside", "ct_abdomen_j2k", "mr_cine_sunnybrook/set_aside", "mr_brain_papaya"):
        assert not any(shared_words(shared / folder, 25, card)), folder


def test_the_shipped_model_warns_of_strong_noise_of_other_kinds_and_of_mr_if_it_knew_ct_only(shared: Path) -> None:
    card = load_model("general-small").card
    assert all("noise of" in words[0] for words in shared_words(shared / "ct_abdomen_j2k", 120, card))
    of_ct = card.model_copy(update={"seen": {"CT": card.seen["CT"]}})
    assert shared_words(shared / "mr_brain_papaya", 25, of_ct) == [["MR; the model has seen CT"]]
    of_ct = load_model("ct-small").card
    assert shared_words(shared / "mr_brain_papaya", 25, of_ct) == [["MR; the model has seen CT"]]
    assert not any(shared_words(shared / "ct_abdomen_j2k", 25, of_ct))
    of_mr = load_model("mr-small").card
    assert shared_words(shared / "ct_abdomen_j2k", 25, of_mr) == [
        ["CT; the model has seen MR and pictures of no modality"]
    ]
    assert not any(shared_words(shared / "mr_brain_papaya", 25, of_mr))
