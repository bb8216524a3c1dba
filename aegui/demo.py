"""The whole path on sample data: make it, scan it, adapt the default model, judge, export, denoise, report."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegui import imaging, paths, recipes, sample, workflow
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Noted, Progress, Stop, Warned
from aegui.models import DEFAULT
from aegui.recipes import Recipe
from aegui.workflow import Pair

if TYPE_CHECKING:
    from aegui.classical import Tuned

Part = Generator[Event, None, Any]


def recipe(epochs: int) -> Recipe:
    """Denoise, from pairs, short enough for a demonstration on two cores."""
    preset = recipes.load("denoise")
    values = preset.model_dump(mode="json")
    values["targets"] = {"kind": "paired"}
    values["losses"] = [{"kind": "mse"}]
    values["schedule"] = {"kind": "cosine", "warmup": 0.2}
    values["groups"] = [{"match": "rest", "learning_rate": 4e-4}]
    values["run"] |= {"epochs": epochs, "steps_per_epoch": 20, "batch_size": 8, "validation_slices": 6}
    return Recipe.parse(values)


def run(out: Path, *, epochs: int = 8, pictures: bool = True) -> Events:
    """Everything lies in `out` afterwards; Done(summary), Done(None) if stopped. What was broken off goes on."""
    try:
        summary = yield from _walk(out.absolute(), epochs, pictures)
    except Stop:
        summary = None
    yield Done(summary)


def _walk(out: Path, epochs: int, pictures: bool) -> Generator[Event, None, dict[str, Any]]:
    """The summary. Raises Stop also after a part that ended early because of one."""
    began = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {out} cannot be written.", f"Choose another with --out. ({error.strerror})"
        ) from None
    folders = yield from _end(sample.generate(out / "sample"))
    found = yield from _end(workflow.scan([folders["low"], folders["full"]]))
    low = tuple(s for s in found.series if s.files[0].is_relative_to(folders["low"]))
    full = tuple(s for s in found.series if s.files[0].is_relative_to(folders["full"]))
    pairs = workflow.match_pairs(low, full)
    yield Noted(
        f"{len(low)} patients at two doses, paired by {pairs[0].method}. The last is kept for judging.", "layers"
    )

    judged = max(pairs, key=lambda pair: pair.noisy.patient)
    known = [pair for pair in pairs if pair is not judged]
    job = workflow.TrainJob(
        model=DEFAULT,
        recipe=recipe(epochs),
        noisy=low,
        run=out / "run",
        clean=full,
        pairs=tuple(pairs),
        holdout=(judged.noisy.uid,),
        resume=(out / "run" / "last.pt").exists(),
    )
    if problem := next((p for p in workflow.check(job) if p.blocking), None):
        raise UserError(problem.message, problem.hint)
    from aegui.training.trainer import AnotherRunError

    said: list[Event] = []
    try:
        trained = yield from _end(workflow.train(job), said)
    except AnotherRunError as error:
        hint = "Choose another folder with --out, or the --epochs that it was begun with."
        raise UserError(error.message, hint) from None
    if trained.stopped:
        raise Stop

    before = yield from _end(workflow.evaluate(DEFAULT, [judged]))
    after = yield from _end(workflow.evaluate(str(trained.bundle), [judged]))
    classical, classical_psnr = yield from _classical(known, judged)
    exported = yield from _end(workflow.export(str(trained.bundle), "onnx", out / "model.onnx"))
    report = yield from _end(
        workflow.denoise(
            workflow.DenoiseJob(str(trained.bundle), low, out / "denoised", rules=imaging.OutputRules(format="dicom"))
        )
    )
    if report.stopped:
        raise Stop
    row = next(row for row in report.series if row.uid == judged.noisy.uid)
    if not row.output:
        raise UserError(f"{judged.noisy.label} was not denoised.", row.reason)
    sd = yield from _noise(judged, Path(row.output))
    summary: dict[str, Any] = {
        "schema": 1,
        "patients": len(low),
        "slices": sum(s.slices for s in low),
        "judged_on": judged.noisy.label,
        "psnr_db": {
            "input": before.input["psnr"],
            "classical": classical_psnr,
            "pretrained": before.output["psnr"],
            "fine_tuned": after.output["psnr"],
        },
        "ssim": {
            "input": before.input["ssim"],
            "pretrained": before.output["ssim"],
            "fine_tuned": after.output["ssim"],
        },
        "psnr_range": after.psnr_range,
        "ssim_window": after.ssim_window,
        "classical": f"{classical.name}, strength {classical.strength:g}",
        "rmse_hu": {
            "input": before.input["rmse"],
            "pretrained": before.output["rmse"],
            "fine_tuned": after.output["rmse"],
        },
        "noise_sd_hu": {"before": sd[0], "after": sd[1]},
        "noise_measured_in": "SD of a flat 9 mm circle of soft tissue, mean over slices",
        "best_epoch": trained.best_epoch,
        "epochs": trained.epochs,
        "model": str(trained.bundle),
        "export": {"file": str(exported.path), "max_difference": exported.max_difference, "unit": exported.unit},
        "denoised": [{"uid": r.uid, "status": r.status, "output": r.output} for r in report.series],
        "report": str(report.path),
        "pictures": [],
    }
    if pictures:
        summary["pictures"] = yield from _pictures(out / "pictures", found, job, said, trained, report)
    summary["seconds"] = round(time.monotonic() - began, 1)
    with paths.atomic(out / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary


def _end(events: Events, said: list[Event] | None = None) -> Part:
    """Pass a job's events on (and keep them in `said`), but its Done; return what that holds."""
    result: Any = None
    job: Any = events
    try:
        event = next(job)
        while True:
            if isinstance(event, Done):
                result = event.result
                event = next(job)
                continue
            if said is not None:
                said.append(event)
            try:
                yield event
            except Exception as request:  # noqa: BLE001 - Stop, on its way to the job
                event = job.throw(request)
            else:
                event = next(job)
    except StopIteration:
        return result
    finally:
        job.close()


def _classical(known: Sequence[Pair], judged: Pair) -> Generator[Event, None, tuple[Tuned, float]]:
    """The best classical filter, tuned on the training patients, and its mean PSNR (dB) on the judged one."""
    from aegui.classical import tune
    from aegui.measure import psnr, signal_range

    def slices(pair: Pair, step: int) -> list[Any]:
        noisy, clean = imaging.open_series(pair.noisy), imaging.open_series(pair.clean)
        try:
            return [
                (noisy.read(i), clean.read(j), data_range, clean.valid(j) & noisy.valid(i))
                for i, j in pair.slices[::step]
            ]
        finally:
            noisy.close()
            clean.close()

    data_range = signal_range(judged.clean.modality, judged.clean.bits, iter(())).value
    tuned = yield from tune([item for pair in known for item in slices(pair, 4)])
    scores: list[float] = []
    for noisy, clean, value, mask in slices(judged, 1):
        yield Progress(len(scores), len(judged.slices), f"Filtering, {tuned[0].name}")
        scores.append(psnr(tuned[0](noisy), clean, value, mask))
    return tuned[0], sum(scores) / len(scores)


def _noise(judged: Pair, output: Path) -> Generator[Event, None, tuple[float, float]]:
    """SD in HU before and after, in the flattest soft tissue of every slice. Reads back what was written."""
    from aegui.measure.regions import Circle, compare, flattest

    written = (yield from _end(workflow.scan([output]))).series[0]
    before, after, clean = (imaging.open_series(s) for s in (judged.noisy, written, judged.clean))
    y, x = judged.clean.geometry.spacing[1:]
    found: list[tuple[float, float]] = []
    try:
        for i, j in judged.slices:
            yield Progress(len(found), len(judged.slices), "Measuring noise")
            reference = clean.read(j)
            place = flattest(reference, (reference > 0) & (reference < 170), 13)
            if place is None:
                continue
            both = compare(before.read(i), after.read(i), Circle(*place, 9.0), (y, x))
            found.append((both.before.sd, both.after.sd))
    finally:
        for source in (before, after, clean):
            source.close()
    return sum(a for a, _ in found) / len(found), sum(b for _, b in found) / len(found)


def _pictures(out: Path, *shown: Any) -> Generator[Event, None, list[str]]:
    """PNGs of the window's pages with this run in them; none where Qt's system libraries are missing."""
    from aegui.gui import pictures

    try:
        files: list[Path] = yield from pictures.shoot(out, *shown)
    except ImportError as error:
        yield Warned("The window cannot be drawn on this machine.", f"A system library is missing. ({error})")
        return []
    return [str(file) for file in files]


def words(summary: dict[str, Any]) -> str:
    """The summary for people."""
    psnr, noise = summary["psnr_db"], summary["noise_sd_hu"]
    lines = [
        f"Judged on {summary['judged_on']}, a patient not trained on. PSNR over {summary['psnr_range']}:",
        f"    input                 {psnr['input']:6.2f} dB",
        f"    {summary['classical'].split(',')[0]:<21} {psnr['classical']:6.2f} dB",
        f"    model as shipped      {psnr['pretrained']:6.2f} dB",
        f"    model fine-tuned      {psnr['fine_tuned']:6.2f} dB",
        f"Noise SD: {noise['before']:.1f} HU before, {noise['after']:.1f} HU after.",
        f"ONNX: {summary['export']['file']}, largest difference {summary['export']['max_difference']:.2g} "
        f"{summary['export']['unit']}".rstrip(),
        f"Denoised DICOM and report: {summary['report']}",
    ]
    if summary["pictures"]:
        lines.append(f"Pictures of the window: {Path(summary['pictures'][0]).parent}")
    lines.append(f"Everything took {summary['seconds']:.0f} s.")
    return "\n".join(lines)
