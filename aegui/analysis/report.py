"""The review report: one HTML file that holds everything it shows."""

from __future__ import annotations

import base64
import datetime
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

import aegui
from aegui import paths
from aegui.errors import UserError

USE = "Research use only — not for primary diagnosis"


@dataclass(frozen=True)
class Picture:
    """rgb: (rows, columns, 3) bytes. aspect: height over width of one pixel."""

    title: str
    caption: str
    rgb: npt.NDArray[np.uint8]
    aspect: float = 1.0


@dataclass(frozen=True)
class Table:
    """Plain text cells; the first column is a name, the others are figures."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """Lines of (name, x, y); the first is drawn dashed, the last solid."""

    title: str
    x_unit: str
    y_unit: str
    lines: tuple[tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]], ...]


@dataclass(frozen=True)
class Report:
    """What a report says. Names of patients have no place in it."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()


def html(report: Report, now: datetime.datetime | None = None) -> str:
    """The whole file."""
    when = (now or datetime.datetime.now()).strftime("%Y-%m-%d %H:%M")
    template = Template(paths.resource("templates", "report.html").read_text(encoding="utf-8"))
    facts = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in report.facts)
    parts = [f'<table class="facts">{facts}</table>'] if facts else []
    if report.pictures:
        parts.append("<h2>Shown slice</h2>")
        parts.append('<div class="pictures">' + "".join(map(_picture, report.pictures)) + "</div>")
    parts += [_table(table) for table in report.tables]
    parts += [_plot(plot) for plot in report.plots]
    if report.notes:
        parts.append("<h2>Notes</h2>" + "".join(f"<p>{escape(note)}</p>" for note in report.notes))
    return template.substitute(
        title=escape(report.title),
        subtitle=escape(report.subtitle),
        use=USE,
        body="\n".join(parts),
        foot=f"Written {when} by aegui {aegui.__version__}. Figures are defined in the program's documentation.",
    )


def write(report: Report, path: Path) -> Path:
    """Write it whole or not at all."""
    try:
        with paths.atomic(path) as temporary:
            temporary.write_text(html(report), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {path}.", f"Choose a folder you may write to. ({error.strerror})"
        ) from None
    return path


def _picture(picture: Picture) -> str:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture.rgb))
    if abs(picture.aspect - 1) > 0.01:
        image = image.resize((image.width, max(1, round(image.height * picture.aspect))))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    title, caption = escape(picture.title), escape(picture.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{title}, {caption}">'
        f"<figcaption><b>{title}</b> {caption}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    note = f'<div class="help">{escape(table.note)}</div>' if table.note else ""
    return f"<h2>{escape(table.title)}</h2>{note}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


_COLOURS = ("#6B737B", "#0072B2", "#00815C", "#B06A00")


def _plot(plot: Plot, width: int = 560, height: int = 220) -> str:
    left, bottom, top, right = 56, 30, 12, 84
    xs = np.concatenate([x for _, x, _ in plot.lines]) if plot.lines else np.zeros(0)
    ys = np.concatenate([y for *_, y in plot.lines]) if plot.lines else np.zeros(0)
    if not xs.size or not np.isfinite(ys).all():
        return ""
    x_top, y_top = float(xs.max()) or 1.0, float(ys.max()) * 1.08 or 1.0

    def at(x: float, y: float) -> str:
        across = left + x / x_top * (width - left - right)
        return f"{across:.1f},{height - bottom - y / y_top * (height - bottom - top):.1f}"

    drawn = [
        f'<path d="M{at(0, y_top)} L{at(0, 0)} L{at(x_top, 0)}" fill="none" stroke="#CBD0D5"/>',
        *(_tick(at(0, y), f"{y:.3g}", -6, 4, "end") for y in _ticks(y_top)),
        *(_tick(at(x, 0), f"{x:.2g}", 0, 16, "middle") for x in _ticks(x_top)),
        _tick(at(x_top, 0), plot.x_unit, 8, 4, "start"),
    ]
    for number, (name, x, y) in enumerate(plot.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        dash = ' stroke-dasharray="5 4"' if number < len(plot.lines) - 1 else ""
        points = " ".join(at(float(a), float(b)) for a, b in zip(x, y, strict=True))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        drawn.append(
            f'<text x="{width - right + 8}" y="{top + 14 + 16 * number}" style="fill:{colour}">{escape(name)}</text>'
        )
    title = f"{escape(plot.title)} <span class='help'>{escape(plot.y_unit)}</span>"
    return f'<h2>{title}</h2><svg viewBox="0 0 {width} {height}" role="img">{"".join(drawn)}</svg>'


def _ticks(top: float) -> Sequence[float]:
    decade = 10.0 ** np.floor(np.log10(top))
    step = decade * next(factor for factor in (0.2, 0.25, 0.5, 1.0, 2.0) if top / (decade * factor) <= 5.5)
    return [float(value) for value in np.arange(step, top, step)]


def _tick(place: str, text: str, dx: int, dy: int, anchor: str) -> str:
    x, y = (float(part) for part in place.split(","))
    return f'<text x="{x + dx:.1f}" y="{y + dy:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
