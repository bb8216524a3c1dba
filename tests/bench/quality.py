"""How well the shipped models denoise scans that none of them was trained on, beside what people would pick instead.

    python tests/bench/quality.py --data FOLDER [--models …] [--only ct mr] [--noise gaussian-25 …] [--out ROWS]
    python tests/bench/quality.py --data FOLDER --only ct-volume --models ct-small ct-small-25d

FOLDER holds the real scans. Only those that are set aside are judged: CT of ct_chest_tcga/set_aside, of two patients
of ct_chest_tcia and of ct_abdomen_j2k; MR of mr_brain_papaya, the last slices of mr_t1_studyforrest and
mr_cine_sunnybrook/set_aside. A model whose card names one of them as training data is refused. Gaussian, non-local
means and total variation are tuned for every cell on slices of the training part (of the same kind of scan; for
brain PD, of which there is none, on T1). BM3D (Dabov et al. 2007; PyPI package bm3d, not a part of the program) is
given the true SD of the noise.

Noise is added without clipping, in the scan's unit: σ 15, 25, 50 of 255 (`aegui.measure`); photon noise of 150 photons
at the top of the range with read-out noise; Rician of σ 25; CT at a quarter of its dose, made in the projections.
A reference whose own noise is above half of the added noise judges nothing. Models that look at the slices beside are
shown them with noise of their own. --average is that of `aegui denoise`. Results go line by line to --out, and what is
there is not measured again: filters and BM3D once, a model until its weights change.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import yaml
from common import CPU, TRAINED_TCIA, Lines, Pixels, drain, interval, scan

from aegui import imaging
from aegui.classical import QUICK, Tuned, tune
from aegui.data.corruption import Corruptor
from aegui.data.item import Item
from aegui.imaging import Series, SliceSource
from aegui.inference.denoiser import Denoiser
from aegui.inference.views import COUNTS
from aegui.measure import Range, estimate_noise, psnr, signal_range, ssim, ssim_window
from aegui.models import cards
from aegui.models.card import INPUT
from aegui.models.intensity import Scale, sample
from aegui.models.library import file_of
from aegui.models.zoo import Model, load_model
from aegui.recipes.corruptions import Corruption, Gaussian, LowDoseCT, PoissonGaussian, Rician

SIDE = 320  # px: larger slices are judged in their middle, as BM3D takes half a minute for a slice of 512²
OWN = 0.5  # most noise of a reference, of the added noise
NAMES = {
    **{f"gaussian-{sd}": f"Gaussian, σ {sd}" for sd in (15, 25, 50)},
    "poisson": "photons",
    "rician-25": "Rician, σ 25",
    "dose-0.25": "a quarter of the dose",
}
NOISES: dict[str, tuple[tuple[str, ...], Corruption]] = {
    **{f"gaussian-{sd}": (("ct", "mr"), Gaussian(low=sd, high=sd)) for sd in (15, 25, 50)},
    "poisson": (("ct", "mr"), PoissonGaussian(low=150, high=150)),
    "rician-25": (("mr",), Rician(low=25, high=25)),
    "dose-0.25": (("ct",), LowDoseCT(low=0.25, high=0.25)),
}
# Words of a card's training data that name what is set aside.
ASIDE = ("A058062", "A062055", "set_aside", "papaya", "j2k", "phantom", "TotalSegmentator")
JUDGED_OF_T1 = range(165, 200, 7)
TUNED_OF_T1 = range(10, 140, 25)


@dataclass(frozen=True)
class Place:
    """A slice of a scan. kind: of which filters are tuned together."""

    series: Series
    index: int
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.series.patient} {self.series.files[0].name} {self.index}"


class Seen(NamedTuple):
    """A slice with and without noise, and where it has values."""

    noisy: Pixels
    reference: Pixels
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """A judged slice with one kind of noise. sd: of the added noise. own: of the reference's noise.

    seen: what models are shown of any slice of its series, with its noise, and where that has values.
    """

    place: Place
    source: SliceSource
    noisy: Pixels
    reference: Pixels
    mask: npt.NDArray[np.bool_]
    range: Range
    sd: float
    own: float
    seen: Callable[[int], Seen]

    def scores(self, image: Pixels) -> dict[str, float]:
        modality = self.place.series.modality
        window, data_range, _ = ssim_window(modality, self.range)
        return {
            "psnr": psnr(image, self.reference, self.range.value, self.mask),
            "ssim": ssim(image, self.reference, data_range, self.mask, window),
        }


# ---------------------------------------------------------------- what is judged, and what filters are tuned on


def ct(data: Path) -> tuple[list[Place], list[Place]]:
    tcga = [s for s in scan(data / "ct_chest_tcga") if s.modality == "CT"]
    tcia = [s for s in scan(data / "ct_chest_tcia") if s.modality == "CT"]
    (abdomen,) = [s for s in scan(data / "ct_abdomen_j2k") if s.modality == "CT"]
    aside = [s for s in tcga if "set_aside" in s.files[0].parts]
    aside += [s for s in tcia if not any(p in str(s.files[0]) for p in TRAINED_TCIA)]
    judged = [Place(s, 0, "ct") for s in aside] + [Place(abdomen, i, "ct") for i in range(2, 20, 6)]
    trained = [s for s in tcga if "train" in s.files[0].parts]
    return judged, [Place(s, 0, "ct") for s in trained]


def volume(data: Path) -> tuple[list[Place], list[Place]]:
    """Slices that lie beside each other, for models that see their neighbours."""
    (abdomen,) = [s for s in scan(data / "ct_abdomen_j2k") if s.modality == "CT"]
    return [Place(abdomen, i, "ct") for i in range(1, abdomen.slices - 1)], ct(data)[1]


def mr(data: Path) -> tuple[list[Place], list[Place]]:
    brain = [s for s in scan(data / "mr_brain_papaya") if s.modality == "MR"]
    (t1,) = [s for s in scan(data / "mr_t1_studyforrest") if s.modality == "MR"]
    cine = scan(data / "mr_cine_sunnybrook")
    aside = [s for s in cine if "set_aside" in s.files[0].parts]
    judged = [Place(s, i, "brain") for s in brain for i in range(3, s.slices, 4)]
    judged += [Place(t1, i, "brain") for i in JUDGED_OF_T1]
    judged += [Place(s, i, "cine") for s in aside for i in range(2, s.slices, 9)]
    trained = [s for s in cine if "train" in s.files[0].parts]
    return judged, [Place(t1, i, "brain") for i in TUNED_OF_T1] + [Place(s, 2, "cine") for s in trained[::4]]


SETS: dict[str, Callable[[Path], tuple[list[Place], list[Place]]]] = {"ct": ct, "mr": mr, "ct-volume": volume}


def noised(places: Iterable[Place], part: Corruption, folder: Path) -> Iterator[Slice]:
    """Slices with noise of their place; the same every time."""
    opened: dict[str, tuple[SliceSource, Range]] = {}
    for number, place in enumerate(places):
        if place.series.uid not in opened:
            source = imaging.open_series(place.series)
            found = [_grey(source.read(i)) for i in sample(source)]
            opened[place.series.uid] = source, signal_range(place.series.modality, place.series.bits, found)
        source, data_range = opened[place.series.uid]
        seen = partial(_seen, place, source, data_range, part, folder, number)
        noisy, reference, mask = seen(place.index)
        sd = float((noisy - reference)[mask].std())
        yield Slice(place, source, noisy, reference, mask, data_range, sd, estimate_noise(reference, mask), seen)


def _seen(
    place: Place, source: SliceSource, data_range: Range, part: Corruption, folder: Path, number: int, index: int
) -> Seen:
    whole, valid = _grey(source.read(index)), source.valid(index)
    # One unit is one unit, so that levels are in the scan's own.
    item = Item(place.series, index, Scale(0.0, 1.0, (-np.inf, np.inf)), data_range, 0.0, -1)
    own = folder / f"{number}_{index}"
    own.mkdir(exist_ok=True)
    corruptor = Corruptor((part,), own)
    image = np.where(valid, whole, np.nan).astype(np.float32)[None]
    corruptor.learn(image, item)
    rng = np.random.default_rng([17, number] if index == place.index else [17, number, index])
    noisy = corruptor.apply(image, item, 0, (0, 0), rng)[0][0]
    rows, columns = (slice(max(0, side - SIDE) // 2, max(0, side - SIDE) // 2 + SIDE) for side in whole.shape)
    reference, mask = whole[rows, columns], valid[rows, columns]
    return Seen(np.where(mask, noisy[rows, columns], reference).astype(np.float32), reference, mask)


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(pixels.mean(axis=-1) if pixels.ndim == 3 else pixels, dtype=np.float32)


# ---------------------------------------------------------------- what denoises


def bm3d(one: Slice) -> Pixels:
    from bm3d import bm3d as run

    return np.asarray(run(one.noisy / one.sd, 1.0) * one.sd, dtype=np.float32)


def denoised(model: Model, views: int, one: Slice) -> Pixels:
    reach, index = model.net.neighbours, one.place.index
    beside = imaging.beside(one.place.series, index, reach) if reach else ()
    seen = [one.seen(other) for other in beside]
    denoiser = Denoiser(model, one.source, CPU, average=views)
    result: Pixels = denoiser.pixels(one.noisy, one.mask, seen=[(s.noisy, s.mask) for s in seen]).pixels
    return result


def tuned(slices: list[Slice]) -> list[Tuned]:
    return drain(tune([(s.noisy, s.reference, s.range.value, s.mask) for s in slices], QUICK))


def allowed(model: str) -> str:
    """The hash of its weights. SystemExit if it was trained on what is judged."""
    card = load_model(model).card
    for data in card.training.datasets:
        if any(word.lower() in str(data).lower() for word in ASIDE):
            raise SystemExit(f"“{model}” was trained on scans that are set aside: {data['name']}")
    return card.sha256 or model


# ---------------------------------------------------------------- the cells


def cell(name: str, kind: str, data: Path, models: dict[str, str], views: int, lines: Lines, with_bm3d: bool) -> None:
    part = NOISES[kind][1]
    places, training = SETS[name](data)
    with tempfile.TemporaryDirectory() as folder:
        for label in ("judged", "trained"):
            (Path(folder) / label).mkdir()
        key = {"set": name, "noise": kind}
        slices = list(noised(places, part, Path(folder) / "judged"))
        counted = [s for s in slices if s.own <= OWN * s.sd]
        lines.add({**key, "arm": "cell", "counted": len(counted), "of": len(slices), "own": _share(counted)})

        def each(arm: str, apply: Callable[[Slice], Pixels], **more: Any) -> None:
            for one in counted:
                row = {**key, "arm": arm, "slice": one.place.name, **more}
                if lines.find(**row) is None:
                    lines.add({**row, **one.scores(apply(one)), "patient": one.place.series.patient})

        each("input", lambda s: s.noisy)
        if counted and any(lines.find(**key, arm=f.name, slice=s.place.name) is None for f in QUICK for s in counted):
            learnt = list(noised(training, part, Path(folder) / "trained"))
            best: dict[tuple[str, str], Tuned] = {}
            for group in {s.place.kind for s in learnt}:
                of_kind = [s for s in learnt if s.place.kind == group]
                # Better tuned on slices with noise of their own than not at all.
                of_kind = [s for s in of_kind if s.own <= OWN * s.sd] or of_kind
                picked = [of_kind[round(i)] for i in np.linspace(0, len(of_kind) - 1, min(6, len(of_kind)))]
                best |= {(t.name, group): t for t in tuned(picked)}
            for one in QUICK:
                each(one.name, lambda s, one=one: best[one.name, s.place.kind](s.noisy))  # type: ignore[misc]
        if with_bm3d:
            each("BM3D", bm3d)
        for model, weights in models.items():
            each(model, partial(denoised, load_model(model), views), weights=weights)


def _has(name: str, sets: tuple[str, ...]) -> bool:
    return name.partition("-")[0] in sets


def _share(slices: list[Slice]) -> list[float]:
    """Own noise of the references, of the added noise: least and most."""
    shares = [s.own / s.sd for s in slices]
    return [min(shares), max(shares)] if shares else []


# ---------------------------------------------------------------- the table


def table(lines: Lines, models: dict[str, str]) -> str:
    """Mean PSNR in dB and SSIM of every cell, and each model's gain over BM3D."""
    arms = ["input", *(one.name for one in QUICK), "BM3D", *models]
    heads = ["cell", "slices (own noise)", *arms, *(f"{model} − BM3D (95 %)" for model in models)]
    rows = [heads, ["---"] * len(heads)]
    gains: dict[str, list[float]] = {model: [] for model in models}
    for name in SETS:
        for kind, (sets, _) in NOISES.items():
            found = lines.find(set=name, noise=kind, arm="cell")
            if not _has(name, sets) or found is None:
                continue
            if not found["counted"]:
                rows.append([f"{name} {kind}", f"0 of {found['of']}: empty", *[""] * (len(heads) - 2)])
                continue
            by_arm: dict[str, dict[str, dict[str, Any]]] = {}
            for arm in arms:
                more = {"weights": models[arm]} if arm in models else {}
                of_arm = [r for r in lines.rows if r["set"] == name and r["noise"] == kind and r["arm"] == arm]
                by_arm[arm] = {r["slice"]: r for r in of_arm if all(r.get(k) == v for k, v in more.items())}
            words = [
                f"{name} {kind}",
                f"{found['counted']} of {found['of']} ({found['own'][0]:.2f}–{found['own'][1]:.2f})",
            ]
            for arm in arms:
                values = list(by_arm[arm].values())
                words.append("–" if not values else "{:.2f} / {:.3f}".format(*_means(values)))
            for model in models:
                both = [s for s in by_arm[model] if s in by_arm["BM3D"]]
                if not both:
                    words.append("–")
                    continue
                gain = [by_arm[model][s]["psnr"] - by_arm["BM3D"][s]["psnr"] for s in both]
                low, high = interval(gain, [by_arm[model][s]["patient"] for s in both])
                words.append(f"{np.mean(gain):+.2f} ({low:+.2f} … {high:+.2f})")
                if kind.startswith("gaussian") and name != "ct-volume":
                    gains[model].append(float(np.mean(gain)))
            rows.append(words)
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    for model, values in gains.items():
        if values:
            mean, least = float(np.mean(values)), min(values)
            text += f"\n{model}: {mean:+.2f} dB over BM3D, the mean of {len(values)} Gaussian cells; least {least:+.2f}"
    return text


def write_scores(lines: Lines, models: dict[str, str]) -> None:
    """Put the cells that hold all arms into the models' cards, as the window shows them."""
    filters = ("non-local means", "total variation", "BM3D")
    others = {"input": INPUT, **{name: name for name in filters}}
    for model, weights in models.items():
        file = file_of(model)
        card = yaml.safe_load(file.read_text(encoding="utf-8"))
        scores = []
        for name in SETS:
            for kind, words in NAMES.items():
                of_cell = [r for r in lines.rows if r["set"] == name and r["noise"] == kind]
                mine = [r for r in of_cell if r["arm"] == model and r.get("weights") == weights]
                theirs = {arm: [r for r in of_cell if r["arm"] == arm] for arm in others}
                if not mine or any(len(rows) != len(mine) for rows in theirs.values()):
                    continue
                scores.append(
                    {
                        "scans": name.upper(),
                        "noise": words,
                        "slices": len(mine),
                        "psnr": round(_means(mine)[0], 2),
                        "others": {others[arm]: round(_means(rows)[0], 2) for arm, rows in theirs.items()},
                    }
                )
        card["scores"] = scores
        card["scored_by"] = "tests/bench/quality.py, patients it was not trained on; filters tuned, BM3D told σ"
        file.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _means(rows: list[dict[str, Any]]) -> tuple[float, float]:
    return float(np.mean([r["psnr"] for r in rows])), float(np.mean([r["ssim"] for r in rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="*", help="ids or model files; at first every shipped one with weights")
    parser.add_argument("--only", nargs="*", default=["ct", "mr"], choices=list(SETS))
    parser.add_argument("--noise", nargs="*", default=list(NOISES), choices=list(NOISES))
    parser.add_argument("--out", type=Path, help="JSON lines; a bench that was killed goes on from it")
    parser.add_argument("--average", type=int, default=1, choices=COUNTS, help="views of a slice to average")
    parser.add_argument("--write", action="store_true", help="put the scores into the cards of the shipped models")
    parser.add_argument("--no-bm3d", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    wanted = arguments.models if arguments.models is not None else [c.id for c in cards() if c.weights]
    if arguments.write and arguments.average > 1:
        parser.error("cards hold the scores of a single view")
    views = f" ×{arguments.average}" if arguments.average > 1 else ""
    models = {model: allowed(model) + views for model in wanted}
    lines = Lines(arguments.out)
    for kind in arguments.noise:
        for name in arguments.only:
            if _has(name, NOISES[kind][0]):
                cell(name, kind, arguments.data, models, arguments.average, lines, not arguments.no_bm3d)
                print(f"{name} {kind}: done", flush=True)
    print(table(lines, models))
    if arguments.write:
        write_scores(lines, models)


if __name__ == "__main__":
    main()
