"""The project file: paths, roles, choices. No pixels, no names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from aegui import paths
from aegui.errors import UserError
from aegui.gui.delivery import Delivery
from aegui.gui.session import Role, Session
from aegui.imaging import OutputRules
from aegui.recipes import recipe as recipes
from aegui.spec import Spec, knob

SUFFIX = ".aeguiproject"


class Project(Spec):
    """What is in a *.aeguiproject file (YAML)."""

    schema_version: int = knob(1, title="Schema", help="Version of this file's form", ge=1, le=1)
    paths: tuple[str, ...] = knob((), title="Paths", help="Folders and files that were opened")
    roles: dict[str, Role] = knob({}, title="Roles", help="Role by Series Instance UID")
    labels: dict[str, str] = knob({}, title="Labels", help="Class by series or file")
    pairs: tuple[tuple[str, str], ...] = knob((), title="Pairs", help="Confirmed: noisy uid, clean uid")
    ignored: tuple[str, ...] = knob((), title="Ignored", help="Proposed pairs that are not wanted")
    insisted: tuple[str, ...] = knob((), title="Denoise anyway", help="View-only series to denoise all the same")
    model: str = knob("", title="Model", help="Id or file")
    initial: Literal["pretrained", "random"] = knob("pretrained", title="Start from", help="Weights to start from")
    preset: str = knob("", title="Preset", help="Recipe the values started from")
    own_preset: recipes.Recipe | None = knob(None, title="Own preset", help="The preset, where it is not a shipped one")
    recipe: recipes.Recipe | None = knob(None, title="Recipe", help="All values")
    output: OutputRules | None = knob(None, title="Output", help="How denoised series are written")
    run: str = knob("", title="Run", help="Folder of the last run")
    accepted: bool | None = knob(None, title="Accepted", help="Review's verdict")
    strength: float = knob(1.0, title="Strength", help="At which Review looked", ge=0, le=1)
    delivery: Delivery | None = knob(None, title="Delivery", help="How scans are denoised; none: as Review looked")


def of(session: Session) -> Project:
    """The session as it is now."""
    return Project(
        paths=tuple(str(path) for path in session.paths),
        roles=dict(session.roles),
        labels=dict(session.labels),
        pairs=tuple((pair.noisy.uid, pair.clean.uid) for pair in session.pairs),
        ignored=tuple(sorted(session.ignored)),
        insisted=tuple(sorted(session.insisted)),
        model=str(session.model_ref),
        initial=session.initial,
        preset=session.preset.id,
        own_preset=None if session.preset in recipes.shipped() else session.preset,
        recipe=session.recipe,
        output=session.output,
        run=str(session.run_folder or ""),
        accepted=session.accepted,
        strength=session.strength,
        delivery=session.delivery,
    )


def save(session: Session, file: Path) -> None:
    """Write the project file atomically."""
    if file.suffix != SUFFIX:
        file = file.with_name(file.name + SUFFIX)
    _write(session, file)
    session.mark_saved(file)


def _write(session: Session, file: Path) -> None:
    try:
        with paths.atomic(file) as temporary:
            temporary.write_text(of(session).to_yaml(), encoding="utf-8")
    except OSError as error:
        hint = f"{error.strerror}. Choose another folder."
        raise UserError(f"The project {file.name} cannot be written.", hint) from None


def last_session_file() -> Path:
    """Where work that was never saved is kept when the window closes."""
    return paths.data_home() / f"last session{SUFFIX}"


def keep(session: Session) -> None:
    """Before another comes or the window closes: a named project is saved, an unnamed one kept for the next start."""
    if session.saved:
        return
    if session.project_file is not None:
        save(session, session.project_file)
    elif session.paths:  # what was only looked at must not take the place of real work
        _write(session, last_session_file())


def apply(session: Session, project: Project, result: Any = None) -> None:
    """Take over everything but the scans, which must have been scanned before. result: of the project's run."""
    known = {series.uid for series in session.series}
    roles: dict[str, Role] = {**session.roles, **{u: r for u, r in project.roles.items() if u in known}}
    session.adopt(
        roles=roles,
        labels=dict(project.labels),
        ignored=frozenset(project.ignored),
        insisted=frozenset(s.uid for s in session.series if s.uid in project.insisted and s.treat == "view"),
        model_ref=_model(project),
        initial=project.initial,
        preset=_preset(project),
        recipe=project.recipe or session.recipe,
        output=project.output or session.output,
        run_folder=Path(project.run) if project.run else None,
        accepted=project.accepted,
        strength=project.strength,
        delivery=project.delivery or Delivery(strength=project.strength),
        result=result,
    )


def _model(project: Project) -> str | Path:
    text = project.model
    return Path(text) if text.endswith(".aegui") or "/" in text or "\\" in text else text


def _preset(project: Project) -> recipes.Recipe:
    if project.own_preset is not None:
        return project.own_preset
    presets = recipes.shipped()
    return next((preset for preset in presets if preset.id == project.preset), presets[0])
