"""The verbs about recipes and training. Slow imports lie inside them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegui.cli import inputs
from aegui.cli.listing import (
    forecast_lines,
    print_fields,
    print_race,
    print_runs,
    race_rows,
    recipe_rows,
    runs_rows,
    scores_words,
)
from aegui.cli.program import (
    AcceptOption,
    CleanOption,
    DataOption,
    Device,
    DeviceOption,
    Init,
    InitOption,
    Json,
    LabelsOption,
    ModelRef,
    RecipeOption,
    SetOption,
    app,
)
from aegui.cli.show import drive, print_json, print_text, say, warn
from aegui.errors import UserError
from aegui.paths import exists

if TYPE_CHECKING:
    from aegui.imaging import Series
    from aegui.recipes import Recipe
    from aegui.workflow import TrainJob


class About(StrEnum):
    """What `recipes` tells."""

    list = "list"
    show = "show"
    fields = "fields"


@app.command()
def recipes(
    about: Annotated[About, typer.Argument(help="All recipes, one of them, or every field there is.")] = About.list,
    name: Annotated[str, typer.Argument(help="For `show`: a recipe's id, or a recipe file.")] = "",
    json: Json = False,
) -> int:
    """List the recipes, show one, or explain every field."""
    from aegui import recipes as shelf

    if about is About.fields:
        from aegui.recipes.describe import sections

        if json:
            print_json({"sections": sections()})
        else:
            print_fields(sections())
        return 0
    if about is About.show:
        if not name:
            raise UserError("Which recipe?", "Name it: aegui recipes show denoise")
        recipe = shelf.load(name)
        if json:
            print_json({"recipe": recipe.model_dump(mode="json")})
        else:
            print_text(recipe.to_yaml().rstrip())
        return 0
    if name:
        raise UserError(f"“{name}” is not needed to list the recipes.", f"Try: aegui recipes show {name}")
    found = shelf.shipped()
    if json:
        print_json(recipe_rows(found))
        return 0
    for recipe in found:
        print_text(f"{recipe.id:<24} {recipe.title}: {recipe.summary}")
        if recipe.use:
            print_text(f"{'':<24}     For: {recipe.use}")
    return 0


# ---------------------------------------------------------------- what to train


def _plan(
    plan: Recipe,
    data: list[Path],
    model: str,
    init: Init,
    clean: list[Path] | None,
    accept_pairs: bool,
    labels: Path | None,
    device: Device,
    quiet: bool,
    out: Path = Path("run"),
    resume: bool = False,
) -> TrainJob:
    """The job that options describe."""
    from aegui import workflow
    from aegui.models import DEFAULT
    from aegui.recipes.targets import Noise2Noise

    noisy: tuple[Series, ...] = inputs.series(data, quiet) if data else ()
    partners: tuple[Series, ...] = ()
    pairs: tuple[Any, ...] = ()
    if clean:
        partners = inputs.series(clean, quiet)
        pairs = tuple(inputs.pairs(noisy, partners, accept_pairs))
        fitted = workflow.learning_from(plan, pairs)
        if fitted is not plan:
            say("Learning from the pairs given, instead of from added noise.")
        plan = fitted
    elif isinstance(plan.targets, Noise2Noise):
        pairs = inputs.repeats(noisy, accept_pairs)
    return workflow.TrainJob(
        model=model or DEFAULT,
        recipe=plan,
        noisy=noisy,
        run=out,
        clean=partners,
        pairs=pairs,
        labels=inputs.class_labels(plan, labels, noisy),
        init=init.value,
        device=device.value,
        resume=resume,
    )


def _recipe(ref: str, assignments: list[str] | None) -> Recipe:
    from aegui import recipes as shelf

    return shelf.load(ref).with_set(assignments or [])


def _checked(job: TrainJob) -> tuple[list[Any], list[Any]]:
    """(all problems, those that are in the way), having said what is only to be known."""
    from aegui import workflow

    problems = workflow.check(job)
    # Parts of one kind have the same to say.
    for message, hint in dict.fromkeys((found.message, found.hint) for found in problems if not found.blocking):
        warn(message, hint)
    return problems, [problem for problem in problems if problem.blocking]


def _say_all(problems: list[Any]) -> None:
    for problem in problems:
        where = ".".join(str(part) for part in problem.where)
        say(f"{f'{where}: ' if where else ''}{problem.message} {problem.hint}".rstrip())


@app.command()
def train(
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="The run folder.")],
    model: ModelRef = "",
    recipe: RecipeOption = "denoise",
    init: InitOption = Init.pretrained,
    assignments: SetOption = None,
    clean: CleanOption = None,
    accept_pairs: AcceptOption = False,
    labels: LabelsOption = None,
    device: DeviceOption = Device.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was broken off.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is wrong, and what it will take; write nothing.")
    ] = False,
    json: Json = False,
) -> int:
    """Fine-tune a model on your scans."""
    from aegui import workflow

    plan = _recipe(recipe, assignments)
    job = _plan(plan, data, model, init, clean, accept_pairs, labels, device, json, out, resume)
    problems, blocking = _checked(job)
    if dry_run:
        _say_all(blocking)
        found = None if blocking else drive(workflow.forecast(job), json)
        if json:
            print_json({"problems": problems, "forecast": found})
        elif found is not None:
            for line in forecast_lines(found):
                print_text(line)
        return 1 if blocking else 0
    if blocking:
        _say_all(blocking)
        if json:
            print_json({"error": blocking[0].message, "hint": blocking[0].hint, "problems": problems})
        return 1
    result = drive(workflow.train(job), json)
    if json:
        print_json(result)
    else:
        print_text(f"Best epoch {result.best_epoch} of {result.epochs}: {scores_words(result.scores)}")
        for name, scores in result.baselines.items():
            print_text(f"    {name}: {scores_words(scores)}")
        print_text(f"Model: {result.bundle}")
    return 0


# ---------------------------------------------------------------- help in choosing


@app.command()
def forecast(
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Folders of scans; without any, only a step is measured.")
    ] = None,
    model: ModelRef = "",
    recipe: RecipeOption = "denoise",
    init: InitOption = Init.pretrained,
    assignments: SetOption = None,
    clean: CleanOption = None,
    accept_pairs: AcceptOption = False,
    labels: LabelsOption = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> int:
    """Measure time, memory and the batch that fits, from a few steps."""
    from aegui import workflow

    plan = _recipe(recipe, assignments)
    job = _plan(plan, data or [], model, init, clean, accept_pairs, labels, device, json)
    found = drive(workflow.forecast(job), json)
    if json:
        print_json(found)
    else:
        for line in forecast_lines(found):
            print_text(line)
    return 0


@app.command(name="find-rate")
def find_rate(
    data: DataOption,
    model: ModelRef = "",
    recipe: RecipeOption = "denoise",
    init: InitOption = Init.pretrained,
    assignments: SetOption = None,
    clean: CleanOption = None,
    accept_pairs: AcceptOption = False,
    labels: LabelsOption = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> int:
    """Find a learning rate for the recipe on your scans."""
    from aegui import workflow

    plan = _recipe(recipe, assignments)
    job = _plan(plan, data, model, init, clean, accept_pairs, labels, device, json)
    found = drive(workflow.find_rate(job), json)
    if json:
        print_json(found)
        return 0
    print_text(found.words)
    for name, rate in found.rates.items():
        print_text(f"    {name}: {rate:.2g}")
    return 0


@app.command(name="match-scanner")
def match_scanner(
    data: Annotated[list[Path], typer.Option("--data", help="Folders of scans whose noise is measured.")],
    json: Json = False,
) -> int:
    """Measure the noise of your scanner, to put the same on clean scans."""
    from aegui import workflow

    found = drive(workflow.match_scanner(inputs.series(data, json)), json)
    if json:
        from aegui.cli.show import plain

        print_json(plain(found) | {"corruptions": [part.model_dump(mode="json") for part in found.corruptions]})
        return 0
    import yaml

    print_text(found.words)
    parts = {"kind": "synthetic", "corruptions": [part.model_dump(mode="json") for part in found.corruptions]}
    print_text("For a recipe, under `targets`:")
    print_text(yaml.safe_dump(parts, sort_keys=False, allow_unicode=True).rstrip())
    return 0


@app.command()
def race(
    data: DataOption,
    recipe: Annotated[list[str] | None, typer.Option("--recipe", help="Recipes that compete; ids or files.")] = None,
    model: ModelRef = "",
    seconds: Annotated[float, typer.Option(min=1.0, help="Time for each recipe.")] = 60.0,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="With random weights as well.")] = False,
    assignments: SetOption = None,
    clean: CleanOption = None,
    accept_pairs: AcceptOption = False,
    labels: LabelsOption = None,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> int:
    """Compare recipes on crops of your scans, with tuned classical filters."""
    from aegui import workflow

    plans = [_recipe(name, assignments) for name in recipe or ["denoise", "robust", "structure"]]
    job = _plan(plans[0], data, model, Init.pretrained, clean, accept_pairs, labels, device, json)
    result = drive(workflow.race(job, plans, seconds, from_scratch), json)
    if json:
        print_json(race_rows(result))
    else:
        print_race(result)
    return 0


@app.command()
def runs(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Run folders, or folders that hold some.")],
    json: Json = False,
) -> int:
    """List earlier runs and what their recipes do differently."""
    from aegui import workflow

    for folder in folders:
        if not exists(folder):
            raise UserError(f"There is no folder {folder}.", "Check its name.")
    found = workflow.runs(folders)
    differences = workflow.run_differences(found) if len(found) > 1 else []
    if json:
        print_json(runs_rows(found, differences))
    else:
        print_runs(found, differences)
    return 0 if found else 1
