"""What a training run needs before it can start, each with the way to it."""

from __future__ import annotations

from collections.abc import Callable

from aegui import workflow
from aegui.gui.runs import train_job
from aegui.gui.session import Session
from aegui.gui.widgets.states import Requirement


def requirements(session: Session) -> list[Requirement]:
    """What a run needs, and what of it is there."""
    series, held = len(session.series), len(session.holdout)
    kept_apart = set(session.holdout)
    noisy = [s for s in session.noisy if s.uid not in kept_apart]
    studies = len({s.study_uid for s in session.series})
    broken = [p for p in workflow.check(train_job(session)) if p.blocking] if noisy else []

    def go(page: str) -> Callable[[], object]:
        return lambda: session.request_page(page)

    loaded = f"{studies} {'study' if studies == 1 else 'studies'}, {series} series"
    items = [
        Requirement(
            "Scans loaded" if series else "No scans loaded",
            loaded if series else "Open a folder of scans, or try the sample data",
            bool(series),
            "Open scans",
            go("scans"),
        )
    ]
    if series:
        items.append(
            Requirement(
                "Series to learn from" if noisy else "No series to learn from",
                f"{len(noisy)} noisy series" if noisy else "Mark at least one series as noisy input",
                bool(noisy),
                "Choose roles",
                go("scans"),
            )
        )
        items += [
            Requirement(p.message.rstrip("."), p.hint, False, "Open recipe" if p.where else "Open scans",
                        go("recipe" if p.where else "scans"))
            for p in broken
        ]  # fmt: skip
        items.append(
            Requirement(
                f"{held} series held out" if held else "No series held out",
                "Not used before Review" if held else "Without one, Review can only show slices known to the run",
                bool(held),
                "Choose hold-out",
                go("scans"),
                needed=False,
            )
        )
    count = len(session.recipe_problems) - len(broken)
    wrong = count > 0
    items.append(
        Requirement(
            f"Recipe has {count} thing{'s' if count > 1 else ''} to fix" if wrong else "Recipe is complete",
            session.recipe_problems[0] if wrong else session.recipe.title,
            not wrong,
            "Open recipe",
            go("recipe"),
        )
    )
    return items
