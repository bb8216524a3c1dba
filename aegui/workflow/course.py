"""What a recipe race is run on: crops of the user's own scans, in files of their own, and the slices that judge.

Every contender is judged on the same inputs against the same references. Where the scans have no clean partners,
noise is added to them, or pixels are hidden and guessed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from aegui import imaging
from aegui.data.corruption.patch import fits
from aegui.data.labels import label_of
from aegui.data.pairs import Pair, match_pairs
from aegui.data.split import split
from aegui.errors import UserError
from aegui.events import Event, Progress
from aegui.imaging import Geometry, Mask, Pixels, Series
from aegui.measure import Range, estimate_noise, signal_range
from aegui.models.planes import middle
from aegui.recipes import Recipe
from aegui.recipes.corruptions import AnyCorruption
from aegui.recipes.losses import MSE
from aegui.recipes.targets import SyntheticTargets
from aegui.workflow.crops import Cut, Part, corner, crop, cuts, spread

JUDGING, TUNING = 4, 4  # slices at most
OWN_NOISE = 0.5  # of a judging slice, of the added noise: with more it judges little
HIDDEN_EVERY = 4  # px between hidden pixels
Way = Literal["clean", "repeat", "noise", "pixels"]


@dataclass(frozen=True)
class Judged:
    """A slice that judges: (rows, columns) in real units. counted: pixels that are scored. level: noise SD of the
    slice as it is, None where it is to be estimated. series: where its values come from, for the model's scale.
    seen: (noisy, valid) of all slices that the model sees with it, in order; (): the slice alone.
    """

    series: Series
    noisy: Pixels
    reference: Pixels
    valid: Mask
    counted: Mask
    level: float | None = None
    seen: tuple[tuple[Pixels, Mask], ...] = ()


@dataclass(frozen=True)
class Course:
    """scans: what recipes that add noise learn from; noisy: what the others do. tuning: slices for classical filters.

    shown: the slice to look at. slices: how many judge. words: what is judged, and against what.
    """

    way: Way
    words: str
    scans: tuple[Series, ...]
    noisy: tuple[Series, ...]
    pairs: tuple[Pair, ...]
    labels: Mapping[str, str]
    judged: tuple[Judged, ...]
    tuning: tuple[Judged, ...]
    shown: Judged
    slices: int
    range: Range

    @property
    def whole(self) -> bool:
        """Whether whole pictures are compared, so that SSIM means something."""
        return self.way != "pixels"


def way_for(recipes: Sequence[Recipe], pairs: Sequence[Pair]) -> Way:
    """How these recipes can be judged alike. pairs: what is known to show the same."""
    kinds = {pair.kind for pair in pairs}
    if "clean" in kinds:
        return "clean"
    if "repeat" in kinds:
        return "repeat"
    alone = [r for r in recipes if r.targets.noisy and not r.targets.pairs]
    return "pixels" if alone and not any(isinstance(r.targets, SyntheticTargets) for r in recipes) else "noise"


def known_pairs(noisy: Sequence[Series], clean: Sequence[Series], pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs that may judge: confirmed, or sure by geometry; never those that share their noise."""
    found = list(pairs) or [pair for pair in match_pairs(noisy, clean) if pair.sure]
    kinds = {pair.kind for pair in found}
    wanted = "clean" if "clean" in kinds else "repeat"
    return [pair for pair in found if pair.kind == wanted]


def lay_out(
    recipe: Recipe,
    recipes: Sequence[Recipe],
    noisy: Sequence[Series],
    clean: Sequence[Series],
    pairs: Sequence[Pair],
    labels: Mapping[str, str],
    holdout: Sequence[str],
    folder: Path,
    neighbours: int = 0,
) -> Generator[Event, None, Course]:
    """Choose the crops and write them. recipe: whose seed and split are used. Hold-out series take no part.

    neighbours: slices on either side that the models see.
    """
    free = [s for s in noisy if s.uid not in holdout]
    usable = [p for p in known_pairs(free, clean, pairs) if p.noisy.uid not in holdout and p.clean.uid not in holdout]
    way = way_for(recipes, usable)
    if way in ("clean", "repeat"):
        parts: list[Part] = [(p.noisy, p.clean, p.kind, p.slices) for p in usable]
    else:
        parts = [(s, None, "", [(i, i) for i in range(s.slices)]) for s in free]
    blocks = [(part[0].patient, number) for number, part in enumerate(parts) for _ in part[3]]
    if len(blocks) < 3:
        raise UserError("A race needs at least three slices that are not held out.", "Add slices.")
    parted = split(blocks, recipe.run.validation_fraction, 0.0, recipe.run.seed)
    places = [(number, k) for number, part in enumerate(parts) for k in range(len(part[3]))]
    train = [places[i] for i in parted.train]
    judge = spread([places[i] for i in parted.validation], JUDGING)
    rng = np.random.default_rng([recipe.run.seed, 11])
    corners = [corner(part[0], rng) for part in parts]
    learn, ask = cuts(parts, train, corners), cuts(parts, judge, corners, neighbours, together=False)
    total = sum(len(cut.slices) * (1 + (cut.partner is not None)) for cut in (*learn, *ask))
    done = 0
    for cut in (*learn, *ask):
        for one, numbers, into in (
            (cut.source, [i for i, _ in cut.slices], cut.noisy),
            (cut.partner, [j for _, j in cut.slices], cut.other),
        ):
            if one is None:
                continue
            source = imaging.open_series(one)
            try:
                for number in numbers:
                    yield Progress(done, total, "Cutting crops")
                    into.append(crop(source.read(number), source.valid(number), cut.corner))
                    done += 1
            finally:
                source.close()
    layout = _Layout(way, recipe, recipes, labels, folder, neighbours, learn, ask)
    return (yield from layout.course(parted.by))


def _caution(cuts: Sequence[Cut], noised: Sequence[Sequence[Pixels]]) -> str:
    """What is to be said where slices that others are judged against are noisy themselves."""
    shares = [
        estimate_noise(np.nan_to_num(clean), np.isfinite(clean)) / max(float(np.nanstd(noisy - clean)), 1e-12)
        for cut, images in zip(cuts, noised, strict=True)
        for noisy, clean in zip(images, cut.noisy, strict=True)
        if np.isfinite(clean).any()
    ]
    share = float(np.median(shares)) if shares else 0.0
    if share <= OWN_NOISE:
        return ""
    return f" They have noise of their own, {share:.0%} of what is added: a recipe that removes that too scores less."


class _Layout:
    """Writes the crops, and makes of them what is learnt from and what judges."""

    def __init__(
        self,
        way: Way,
        recipe: Recipe,
        recipes: Sequence[Recipe],
        labels: Mapping[str, str],
        folder: Path,
        neighbours: int,
        train: list[Cut],
        judge: list[Cut],
    ) -> None:
        self.neighbours = neighbours
        self.way, self.recipe, self.recipes, self.labels, self.folder = way, recipe, recipes, labels, folder
        self.train, self.judge = train, judge
        self.named: dict[str, str] = {}
        self._written: dict[tuple[str, tuple[int, ...], str], Series] = {}

    def course(self, parted: str) -> Generator[Event, None, Course]:
        """The course, all told."""
        scans = tuple(self._write(cut.source, cut.noisy, [i for i, _ in cut.slices], "scan") for cut in self.train)
        asked = [self._write(cut.source, cut.noisy, [i for i, _ in cut.slices], "asked") for cut in self.judge]
        references = [image for cut in self.train for image in (cut.other or cut.noisy)]
        first = self.train[0].source
        data_range = signal_range(first.modality, first.bits, [np.nan_to_num(image) for image in references[:8]])
        noisy, words, caution = scans, "", ""
        pairs: tuple[Pair, ...] = ()
        learned: list[Judged]
        judged: list[Judged]
        if self.way in ("clean", "repeat"):
            pairs = tuple(self._pair(cut, series) for cut, series in zip(self.train, scans, strict=True))
            judged = [one for cut, series in zip(self.judge, asked, strict=True) for one in self._against(cut, series)]
            learned = [one for cut, series in zip(self.train, scans, strict=True) for one in self._against(cut, series)]
        elif self.way == "noise":
            noise, words = self._noise()
            both = yield from self._noised(noise, (*scans, *asked))
            made, tested = both[: len(scans)], both[len(scans) :]
            caution = _caution(self.judge, [_own(planes) for planes in tested])
            noisy = tuple(
                self._write(cut.source, _own(planes), [i for i, _ in cut.slices], "noisy")
                for cut, planes in zip(self.train, made, strict=True)
            )
            judged, learned = (
                [
                    one
                    for cut, series, planes in zip(cuts, group, values, strict=True)
                    for one in self._judged(cut, series, _own(planes), cut.noisy, planes)
                ]
                for cuts, group, values in ((self.judge, asked, tested), (self.train, noisy, made))
            )
        else:
            judged = [one for cut, series in zip(self.judge, asked, strict=True) for one in _guessed(cut, series)]
            learned = [one for cut, series in zip(self.train, scans, strict=True) for one in _guessed(cut, series)]
        judged = [one for one in judged if _tells(one)]
        learned = [one for one in learned if _tells(one)]
        if not judged or not learned:
            raise UserError("The crops hold nothing but padding.", "Choose scans whose middle shows something.")
        count = sum(len(cut.judges) for cut in self.judge)
        middle = judged[len(judged) // 2]
        shown = middle
        if self.way == "pixels":
            cut = self.judge[len(self.judge) // 2]
            image = cut.noisy[cut.judges[len(cut.judges) // 2]]
            shown = _whole(asked[len(self.judge) // 2], image, image)
        taken = [learned[round(i)] for i in np.linspace(0, len(learned) - 1, min(TUNING, len(learned)))]
        return Course(
            self.way,
            self._words(words, parted, count) + caution,
            scans,
            noisy,
            pairs,
            self.named,
            tuple(judged),
            tuple(taken),
            shown,
            count,
            data_range,
        )

    def _words(self, noise: str, parted: str, count: int) -> str:
        many = "one held-out slice" if count == 1 else f"{count} held-out slices"
        ends = {
            "clean": "against their clean partners.",
            "repeat": "against the repeats of the same slices. These have noise of their own, so PSNR is lower than "
            "against the truth, but it ranks alike.",
            "noise": f"with {noise} added, against the slices as they are. Recipes for noisy scans were given scans "
            "with that noise.",
            "pixels": "by hidden pixels: each contender guesses every fourth pixel of every fourth row from the "
            "pixels around it. PSNR is lower than against the truth, but it ranks alike as long as the noise of "
            "neighbouring pixels is independent. The input's score is that of the mean of the neighbours.",
        }
        return f"Judged on crops of {many} (parted {parted}), {ends[self.way]}"

    def _write(self, source: Series, images: Sequence[Pixels], numbers: Sequence[int], part: str) -> Series:
        """The crop as a series of its own, with what matters of where it comes from."""
        from aegui.imaging.files.volumes import describe

        key = (source.uid, tuple(numbers), part)
        if key in self._written:
            return self._written[key]
        file = self.folder / f"{len(self._written):03}-{part}.npy"
        np.save(file, np.stack(images))
        found = describe(file, self.folder)
        assert isinstance(found, Series)
        shape = source.geometry
        places = shape.positions if len(shape.positions) == source.slices else ()
        gap = shape.spacing[0] if source.form == "volume" else 0.0
        series = replace(
            found,
            patient=source.patient,
            label=source.label,
            modality=source.modality,
            description=source.description,
            unit=source.unit,
            bits=source.bits,
            treat="denoise",
            reason="",
            acquisition=source.acquisition,
            # Where they lie in their series: slices that were not taken leave gaps.
            geometry=Geometry(
                shape.spacing,
                shape.orientation if places else Geometry.orientation,
                tuple(places[k] if places else (0.0, 0.0, gap * k) for k in numbers),
                shape.measured,
            ),
        )
        name = label_of(source, numbers[0], self.labels)
        if name:
            self.named[series.uid] = name
        self._written[key] = series
        return series

    def _pair(self, cut: Cut, series: Series) -> Pair:
        assert cut.partner is not None
        # A repeat is an input in one pair and a target in another: it is written once where the slices are the same.
        part = "scan" if cut.kind == "repeat" else "clean"
        other = self._write(cut.partner, cut.other, [j for _, j in cut.slices], part)
        slices = tuple((k, k) for k in range(len(cut.slices)))
        return Pair(series, other, slices, "geometry", True, "crops at the same place", cut.kind)  # type: ignore[arg-type]

    def _against(self, cut: Cut, series: Series) -> list[Judged]:
        return self._judged(cut, series, cut.noisy, cut.other)

    def _judged(
        self,
        cut: Cut,
        series: Series,
        images: Sequence[Pixels],
        references: Sequence[Pixels],
        planes: Sequence[Pixels] | None = None,
    ) -> list[Judged]:
        """The slices of a crop that judge. series: as it was written.

        planes: of each slice all that a model sees, (planes, rows, columns), where these are not the slices beside.
        """
        found = []
        for k in cut.judges:
            one = _whole(series, images[k], references[k])
            if self.neighbours:
                beside = imaging.beside(series, k, self.neighbours)
                others = [images[other] for other in beside] if planes is None else list(planes[k])
                one = replace(one, seen=tuple((_filled(image), np.isfinite(image)) for image in others))
            found.append(one)
        return found

    def _noise(self) -> tuple[Recipe, str]:
        """A recipe that adds what the first of the recipes adds, and that in words."""
        own = next((r.targets for r in (self.recipe, *self.recipes) if isinstance(r.targets, SyntheticTargets)), None)
        own = own or SyntheticTargets()
        targets = SyntheticTargets(corruptions=own.corruptions, each=own.each)
        run = self.recipe.run.model_copy(update={"patch_size": None})
        made = Recipe(id="noise", title="Noise", losses=(MSE(),), targets=targets, run=run)
        if own.each == "all":
            return made, " and ".join(_strength(part) for part in own.corruptions)
        sources = [cut.source for cut in (*self.train, *self.judge)]
        fitting = [part for part in own.corruptions if any(fits(part, source) for source in sources)]
        return made, " or ".join(_strength(part) for part in fitting or own.corruptions)

    def _noised(self, recipe: Recipe, series: Sequence[Series]) -> Generator[Event, None, list[list[Pixels]]]:
        """The slices of these series with the recipe's noise, real units, padding NaN: (planes, rows, columns).

        What is seen together has noise of one strength and kind, as in training.
        """
        from aegui.data.dataset import prepare
        from aegui.data.draw import shown
        from aegui.models import cards

        data = yield from prepare(recipe, cards()[0], 1, series, (), {}, (), self.folder / "noise")
        # All of these slices judge, or none does: no part of a split keeps them from each other.
        places = {(item.series.uid, item.index): member for member, item in enumerate(data.items)}
        seen = (imaging.beside(item.series, item.index, self.neighbours) for item in data.items)
        data = replace(
            data,
            beside=tuple(
                tuple(places[item.series.uid, other] for other in others)
                for item, others in zip(data.items, seen, strict=True)
            ),
        )
        try:
            found: dict[str, list[Pixels]] = {one.uid: [] for one in series}
            for member, item in enumerate(data.items):
                found[item.series.uid].append(item.scale.restore(shown(data, recipe, member).noisy))
                yield Progress(member, len(data.items), "Adding noise")
        finally:
            data.close()
        return [found[one.uid] for one in series]


def _own(planes: Sequence[Pixels]) -> list[Pixels]:
    """Of each slice itself what is seen of it with those beside."""
    return [middle(seen, 1)[0] for seen in planes]


def _strength(part: AnyCorruption) -> str:
    """“Gaussian noise (25 of 255)”."""
    extra = type(part).model_fields["low"].json_schema_extra
    unit = extra["unit"] if isinstance(extra, dict) else ""
    values = f"{part.low:g}" if part.low == part.high else f"{part.low:g} to {part.high:g}"
    name = (type(part).__doc__ or "").partition(":")[0].partition(" (")[0]
    return f"{name} ({f'{values} {unit}'.strip()})"


def _whole(series: Series, noisy: Pixels, reference: Pixels) -> Judged:
    valid = np.isfinite(noisy) & np.isfinite(reference)
    return Judged(series, _filled(noisy), _filled(reference), np.isfinite(noisy), valid)


def _filled(image: Pixels) -> Pixels:
    """Padding as the lowest value there is."""
    lowest = float(np.nanmin(image)) if np.isfinite(image).any() else 0.0
    return np.nan_to_num(image, nan=lowest).astype(np.float32)


def _tells(one: Judged) -> bool:
    """Whether it has pixels that count, and an error: without one every score would be infinite."""
    return not np.array_equal(one.noisy[one.counted], one.reference[one.counted])


def _guessed(cut: Cut, series: Series) -> list[Judged]:
    """Each slice four times over, with other pixels hidden each time."""
    from aegui.data.targets.hiding import from_around

    found = []
    for image in (cut.noisy[k] for k in cut.judges):
        valid, filled = np.isfinite(image), _filled(image)
        level = estimate_noise(filled, valid)
        for top, left in ((0, 0), (0, 2), (2, 0), (2, 2)):
            hidden = np.zeros(image.shape, dtype=np.bool_)
            hidden[top::HIDDEN_EVERY, left::HIDDEN_EVERY] = True
            hidden &= valid
            guess = from_around(filled[None], hidden, valid)[0]
            found.append(Judged(series, guess, filled, valid, hidden, level))
    return found
