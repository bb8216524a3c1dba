"""Colours, type and icons by role, and switching them while the window is open.

Widgets never name a colour: they ask `colour("text2")`, `icon("play")`, `font(12)`, or set the dynamic
properties that style.qss knows (`kind`, `t`, `card`, `fld` …). Custom-painted widgets connect `changed()`.
"""

from __future__ import annotations

import json
import re
import weakref
from functools import cache

import shiboken6
from PySide6.QtCore import QByteArray, QObject, QSize, Qt, Signal, SignalInstance
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget

from aegui import paths

STROKE = 1.75


class _Theme(QObject):
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice = "dark"
        self.text_size = 100
        self.tokens: dict[str, str] = _tokens("dark")
        # Icons that follow the theme; entries go away with their widgets.
        self.icons: weakref.WeakKeyDictionary[QWidget, tuple[str, str, int]] = weakref.WeakKeyDictionary()
        self.follows_system = False


@cache
def _theme() -> _Theme:
    return _Theme()


def changed() -> SignalInstance:
    """The signal that tells custom-painted widgets to repaint: `theme.changed().connect(self.update)`."""
    return _theme().changed


def name() -> str:
    """“dark” or “light”, whichever is shown now."""
    return _theme().tokens["name"]


def choice() -> str:
    """What the user chose: “system”, “dark” or “light”."""
    return _theme().choice


def text_size() -> int:
    """The scale of all text, in per cent."""
    return _theme().text_size


def _tokens(which: str) -> dict[str, str]:
    tokens = json.loads(paths.resource("themes", f"{which}.json").read_text(encoding="utf-8"))
    return {key: str(value) for key, value in tokens.items()}


def _system_is_dark() -> bool:
    return QGuiApplication.styleHints().colorScheme() != Qt.ColorScheme.Light


def _high_contrast() -> bool:
    hints = QGuiApplication.styleHints()
    if not hasattr(hints, "accessibility"):  # Qt < 6.10
        return False
    return bool(hints.accessibility().contrastPreference() == Qt.ContrastPreference.HighContrast)


def _contrast_tokens(tokens: dict[str, str]) -> dict[str, str]:
    """The system's own high-contrast colours in place of ours; plot and state colours stay."""
    palette = QGuiApplication.palette()
    base, text = palette.color(QPalette.ColorRole.Window).name(), palette.color(QPalette.ColorRole.WindowText).name()
    mark = palette.color(QPalette.ColorRole.Highlight).name()
    on_mark = palette.color(QPalette.ColorRole.HighlightedText).name()
    surfaces = dict.fromkeys(("window", "panel", "raised", "inset", "hover", "pressed", "selected"), base)
    inks = dict.fromkeys(("text", "text2", "text3", "line", "line2", "field", "focus"), text)
    accents = dict.fromkeys(("accent", "accentHover", "accentPressed"), mark)
    return tokens | surfaces | inks | accents | {"onAccent": on_mark, "accentText": text}


def load_fonts() -> None:
    """Make Inter known; without it Qt falls back to the system's own font."""
    for file in sorted(paths.resource("fonts").glob("*.otf")):
        QFontDatabase.addApplicationFont(str(file))


def apply(app: QApplication, theme: str = "system", text_size: int = 100) -> None:
    """Show a theme at a text size, now and in every open window."""
    ours = _theme()
    ours.choice, ours.text_size = theme, text_size
    if app.style().name() != "fusion":
        app.setStyle("Fusion")
    if "Inter" not in QFontDatabase.families():
        load_fonts()
    if not ours.follows_system:
        ours.follows_system = True
        QGuiApplication.styleHints().colorSchemeChanged.connect(_system_changed)
    dark = _system_is_dark() if theme == "system" else theme == "dark"
    ours.tokens = _tokens("dark" if dark else "light")
    if _high_contrast():
        ours.tokens = _contrast_tokens(ours.tokens)
    _pixmap.cache_clear()
    app.setFont(font(13))
    app.setPalette(_palette())
    app.setStyleSheet(style())
    for widget, (icon_name, role, size) in list(ours.icons.items()):
        if shiboken6.isValid(widget):
            _put_icon(widget, icon_name, role, size)
    ours.changed.emit()


def _system_changed() -> None:
    app = QApplication.instance()
    if isinstance(app, QApplication) and _theme().choice == "system":
        apply(app, "system", _theme().text_size)


def _palette() -> QPalette:
    """For what style sheets do not reach: file dialogs, placeholder text, disabled text."""
    palette = QPalette()
    roles = QPalette.ColorRole
    for role, token in (
        (roles.Window, "window"),
        (roles.WindowText, "text"),
        (roles.Base, "inset"),
        (roles.AlternateBase, "panel"),
        (roles.Text, "text"),
        (roles.Button, "raised"),
        (roles.ButtonText, "text"),
        (roles.ToolTipBase, "raised"),
        (roles.ToolTipText, "text"),
        (roles.Highlight, "accent"),
        (roles.HighlightedText, "onAccent"),
        (roles.Link, "accentText"),
        (roles.PlaceholderText, "text3"),
    ):
        palette.setColor(role, colour(token))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, colour("disabled"))
    return palette


def colour(role: str) -> QColor:
    """A token of the theme file: “text2”, “accent”, “c_den” …"""
    return css_colour(_theme().tokens[role])


def css_colour(text: str) -> QColor:
    """“#RRGGBB” or “rgba(r,g,b,a)”."""
    if text.startswith("rgba"):
        return QColor(*(int(part) for part in re.findall(r"\d+", text)))
    return QColor(text)


def number(role: str) -> float:
    """A token that is a number, such as “grid”."""
    return float(_theme().tokens[role])


def scaled(px: float) -> int:
    """A length that grows with the text."""
    return round(px * _theme().text_size / 100)


def font(px: float = 13, weight: int = 400) -> QFont:
    """Inter at a size of the type scale, with figures of one width."""
    shape = QFont("Inter")
    shape.setPixelSize(max(1, scaled(px)))
    shape.setWeight(QFont.Weight(weight))
    shape.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    shape.setFeature(QFont.Tag("tnum"), 1)
    shape.setFeature(QFont.Tag("cv05"), 1)
    return shape


def mono_font(px: float = 12) -> QFont:
    """The system's fixed font."""
    shape = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    shape.setPixelSize(max(1, scaled(px)))
    return shape


def style() -> str:
    """style.qss filled with the tokens of the current theme."""
    ours = _theme()
    light = ours.tokens["name"] == "light"
    extra = {
        "mono": mono_font().family(),
        "segOn": ours.tokens["raised"] if light else ours.tokens["pressed"],
        "segLine": ours.tokens["line2"] if light else ours.tokens["field"],
    }
    text = paths.resource("themes", "style.qss").read_text(encoding="utf-8")
    text = re.sub(r"\{icon:([a-z0-9-]+):(\w+)\}", lambda m: _icon_file(m[1], m[2]), text)
    text = re.sub(r"\{(\w+)\}", lambda m: extra.get(m[1]) or ours.tokens[m[1]], text)
    return re.sub(r"font-size: (\d+)px", lambda m: f"font-size: {scaled(int(m[1]))}px", text)


def _svg(icon_name: str, ink: str, stroke: float) -> str:
    text = paths.resource("icons", f"{icon_name}.svg").read_text(encoding="utf-8")
    return text.replace("currentColor", ink).replace('stroke-width="2"', f'stroke-width="{stroke:g}"')


def _icon_file(icon_name: str, role: str) -> str:
    """A recoloured copy on disk, since style sheets take icons only as files."""
    folder = paths.cache_home() / "icons"
    folder.mkdir(parents=True, exist_ok=True)
    ink = colour(role).name()
    file = folder / f"{icon_name}-{ink[1:]}.svg"
    if not file.exists():
        with paths.atomic(file) as temporary:
            temporary.write_text(_svg(icon_name, ink, 2), encoding="utf-8")
    return file.as_posix()


@cache
def _pixmap(icon_name: str, ink: str, size: int, ratio: float, stroke: float) -> QPixmap:
    image = QPixmap(QSize(round(size * ratio), round(size * ratio)))
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(_svg(icon_name, ink, stroke).encode())).render(painter)
    painter.end()
    image.setDevicePixelRatio(ratio)
    return image


def _ratio() -> float:
    app = QGuiApplication.instance()
    return app.devicePixelRatio() if isinstance(app, QGuiApplication) else 1.0


def pixmap(icon_name: str, role: str = "text2", size: int = 16, stroke: float = STROKE) -> QPixmap:
    """A Lucide icon in the colour of a role (or a plain “#RRGGBB” on top of images)."""
    ink = role if role.startswith("#") else colour(role).name()
    return _pixmap(icon_name, ink, size, _ratio(), stroke)


def icon(icon_name: str, role: str = "text2", size: int = 16) -> QIcon:
    """The icon with its disabled look."""
    made = QIcon(pixmap(icon_name, role, size))
    made.addPixmap(pixmap(icon_name, "disabled", size), QIcon.Mode.Disabled)
    return made


def _put_icon(widget: QWidget, icon_name: str, role: str, size: int) -> None:
    if isinstance(widget, QAbstractButton):
        widget.setIcon(icon(icon_name, role, size))
        widget.setIconSize(QSize(size, size))
    elif isinstance(widget, QLabel):
        widget.setPixmap(pixmap(icon_name, role, size))


def set_icon(widget: QAbstractButton | QLabel, icon_name: str, role: str = "text2", size: int = 16) -> None:
    """Give a button or label an icon that follows the theme."""
    _theme().icons[widget] = (icon_name, role, size)
    _put_icon(widget, icon_name, role, size)


def set_property(widget: QWidget, **values: object) -> None:
    """Change dynamic properties and restyle the widget."""
    same = all(widget.property(key) == value for key, value in values.items())
    if same:
        return
    for key, value in values.items():
        widget.setProperty(key, value)
    widget.style().unpolish(widget)
    widget.style().polish(widget)
    widget.update()
