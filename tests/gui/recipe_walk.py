"""Walks through every kind and every field of the Recipe page with a real mouse and keyboard.

python tests/gui/recipe_walk.py --out pictures --theme light

By Tab from field to field: a wrong value is typed into each number, must be told in words and switch Start training
off, and must be gone after Ctrl+Z. What was told is printed, to be read; of each kind a picture is taken, to be
looked at.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
if __package__ in (None, ""):
    sys.path.insert(0, str(REPOSITORY))

from tests.gui.desk import Desk, Seen, missing, screen  # noqa: E402
from tests.gui.walk import desk, scans  # noqa: E402

# Choices whose kinds have fields of their own, and the field behind those.
KINDS = (
    ("What to learn", "Patch"),
    ("Weight averaging", "Flips"),
    ("What changes", "Optimiser"),
    ("Optimiser", "Schedule"),
    ("Schedule", "At most"),
)
LISTS = ("Add corruption", "Add term")
MOST = 12  # choices of one kind
WRONG = "1e99"
ROOM = (160, 800)  # px from the top of the screen between which the form is to be seen


def tell(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def focused(user: Desk) -> Seen:
    """What has the focus; plots are hidden behind their own contents."""
    found = [one for one in user.look(like=".") if one["focus"]]
    return found[-1] if found else {"kind": "plot", "name": "", "text": ""}


def tab(user: Desk) -> Seen:
    user.keys("Tab")
    time.sleep(0.1)
    return focused(user)


def reach(user: Desk, name: str) -> Seen:
    """Click it, wherever the form has to be scrolled to."""
    user.point(user.find("Start training", enabled=False), 0.5, -8)
    for turn in [4] * 60 + [5] * 60:
        found = [one for one in user.look(name) if one["enabled"] and one["kind"] != "QLabel"]
        if found and ROOM[0] < found[0]["rect"][1] < ROOM[1] and found[0]["rect"][3] >= 24:
            user.point(found[0])
            return found[0]
        user._do("click", "--repeat", 3, "--delay", 20, turn)
        time.sleep(0.15)
    raise AssertionError(f"“{name}” is nowhere in the form")


def try_wrong(user: Desk, field: Seen) -> None:
    """A number far too large; then back. The focus stays."""
    user.keys("ctrl+a")
    user.type(WRONG)
    user.keys("Tab")
    time.sleep(0.3)
    told = [one["text"] for one in user.look(like="(Try|empty)") if one["kind"] == "_Link"]
    assert user.find("Start training", enabled=False)["enabled"] is not bool(told), field
    tell(f"    {field['name']}: {told}")
    user.keys("ctrl+z", "shift+Tab")
    time.sleep(0.3)
    now = focused(user)
    assert (now["name"], now["text"]) == (field["name"], field["text"]), f"{now} instead of {field} after Ctrl+Z"


def number(field: Seen) -> bool:
    return field["kind"] == "_Line" and re.fullmatch(r"[-0-9.e]*", field["text"]) is not None


def fields(user: Desk, until: str) -> None:
    """Every field from the one that has the focus on; what is folded is unfolded."""
    passed: list[str] = []
    while (here := tab(user))["name"] != until:
        assert not here["name"] or here["name"] not in passed, f"Tab came twice to “{here['name']}”: {passed}"
        passed.append(here["name"])
        if here["kind"] == "QPushButton" and re.match("More", here["text"]):
            user.keys("space")
            time.sleep(0.3)
        elif number(here):
            try_wrong(user, here)


def kinds(user: Desk, name: str, until: str) -> None:
    """Every choice, by the arrow keys."""
    last = ""
    for place in range(50):
        reach(user, name)
        user._do("click", 1)
        # Home would stay where it is: above the first choice may be a heading.
        user.keys(*["Up"] * MOST, *["Down"] * place, "Return")
        time.sleep(0.5)
        here = focused(user)
        if here["text"] == last:
            return
        last = here["text"]
        tell(f"{name}: {last}")
        user.shot(re.sub(r"\W+", "-", f"{name} {last}"))
        fields(user, until)


def items(user: Desk, add: str) -> None:
    """Every entry of a menu that adds to a list, from the last to the first; each is taken out by Ctrl+Z."""
    seen: set[str] = set()
    for place in range(1, 30):
        reach(user, add)
        user._do("click", 1)
        time.sleep(0.3)
        user.keys(*["Up"] * place, "Return")
        time.sleep(0.6)
        here = focused(user)
        title = here["name"].rpartition(", ")[0]
        if title in seen:
            return
        seen.add(title)
        tell(f"{add}: {title}")
        user.point(user.look(f"Settings of {title}")[-1])
        user._do("click", 1)
        time.sleep(0.3)
        user.shot(re.sub(r"\W+", "-", f"{add} {title}"))
        while title in (here := tab(user))["name"]:
            if number(here):
                try_wrong(user, here)
        user.keys("ctrl+z")
        time.sleep(0.3)


def whole_form(user: Desk) -> None:
    reach(user, "What to learn")
    user._do("click", 1)
    user.keys("Escape")
    tell("Everything, in the order of Tab")
    fields(user, "Save recipe")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, help="folder for pictures")
    words.add_argument("--theme", choices=("dark", "light"), default="dark")
    words.add_argument("--only", nargs="*", help="titles of choices or lists; at first everything")
    given = words.parse_args()
    if gone := missing():
        sys.exit(f"Not installed: {', '.join(gone)}.")
    with (
        tempfile.TemporaryDirectory(prefix="aegui-scans-") as folder,
        screen() as display,
        desk(display, given.theme, given.out, "recipe-") as user,
    ):
        made = scans(Path(folder) / "phantom")
        user.click("Adapt a model")
        user.answer_dialog("Open a folder of scans", made["low"].parent)
        user.click("Continue to Recipe")
        if not given.only:
            whole_form(user)
        for add in LISTS:
            if not given.only or add in given.only:
                items(user, add)
        for name, until in KINDS:
            if not given.only or name in given.only:
                kinds(user, name, until)
        assert "Traceback" not in user.words(), user.words()


if __name__ == "__main__":
    main()
