"""Every choice of the recipe's form: chosen, read back, filled in again, and wrong in each kind of its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QComboBox

from aegui import recipes
from aegui.gui.widgets.editors import NumberEditor, TextEditor
from aegui.gui.widgets.fields import Fields, UnionEditor
from aegui.gui.widgets.forms import Form
from aegui.gui.widgets.knobs import choice_title, knobs, walk
from aegui.gui.widgets.pickers import SuggestEditor
from aegui.gui.widgets.recipe_form import RecipeForm
from aegui.recipes import Recipe
from aegui.recipes.targets import SyntheticTargets

UNIONS = [(address, knob) for address, knob in walk(Recipe) if knob.kind == "union"]
(CORRUPTIONS,) = (knob for knob in knobs(SyntheticTargets) if knob.kind == "list")
LISTS = [(address, knob) for address, knob in walk(Recipe) if knob.kind == "list"]


@pytest.fixture(scope="module")
def whole(qapp) -> Iterator[RecipeForm]:
    """One form for all: making it takes longer than using it."""
    made = RecipeForm()
    made.show()
    yield made
    made.deleteLater()


@pytest.fixture
def form(whole: RecipeForm) -> Form:
    preset = recipes.load("denoise")
    whole.form.set_value(preset, preset)
    return whole.form


def comes_back(form: Form) -> None:
    """form → recipe → form unchanged."""
    recipe = form.value()
    assert recipe is not None, form.errors()
    form.set_value(recipes.load("layerwise"))
    form.set_value(recipe)
    assert form.value() == recipe


def goes_wrong(form: Form, fields: Fields) -> int:
    """A wrong value in every number and text: each is told at its own field with a value that works, and goes away."""
    fields.complete()
    seen = 0
    for address, editor in fields.editors.items():
        if not isinstance(editor, NumberEditor | TextEditor | SuggestEditor):
            continue
        place, good = fields.rows[address], editor.raw()
        for wrong in wrongs(editor):
            editor.line.setText(wrong)
            editor.changed.emit()
            assert form.value() is None, (place.name, wrong)
            assert place.tone == "err", (place.name, wrong, form.errors())
            words = place.message.text.text()
            assert words, place.name
            assert "Try" in words or "leave it empty" in words or "character" in words, words
            assert not any(jargon in words for jargon in ("Input", "string", "regex", "pattern ^", "None")), words
            seen += 1
        editor.set_raw(good)
        editor.changed.emit()
        assert place.tone == "", place.name
    return seen


def wrongs(editor: Any) -> list[str]:
    if not isinstance(editor, NumberEditor):
        return ["", "x" * 2001] if editor.knob.kind == "text" and editor.knob.default else []
    found = ["1e", "--"]
    if not editor.knob.optional:
        found.append("")
    if editor.knob.high is not None:
        found.append(str(editor.knob.high * 10 + 1))
    if editor.knob.low is not None:
        found.append(str(editor.knob.low - 1))
    if editor.knob.whole:
        found.append("2.5")
    return found


def choose(union: UnionEditor, choice: type) -> None:
    control = union.choice.inputs()[0]
    if isinstance(control, QComboBox):
        control.setCurrentIndex(control.findText(choice_title(choice)))
        control.activated.emit(control.currentIndex())
    else:
        union.choice.control.button(union.knob.choices.index(choice)).click()


@pytest.mark.parametrize(
    ("address", "choice"),
    [(address, choice) for address, knob in UNIONS for choice in knob.choices],
    ids=lambda value: getattr(value, "__name__", None) or ".".join(value),
)
def test_every_choice_of_a_union_can_be_chosen_comes_back_and_tells_what_is_wrong(form, address, choice):
    union = form.editors[address]
    choose(union, choice)
    assert type(getattr(form.value(), address[0])) is choice
    comes_back(form)
    goes_wrong(form, union.fields)
    assert form.value() is not None


@pytest.mark.parametrize(
    "choice", [c for _, knob in LISTS if knob.tag for c in knob.choices], ids=lambda choice: choice.__name__
)
def test_every_loss_term_can_be_added_comes_back_and_tells_what_is_wrong(form, choice):
    terms = form.editors[("losses",)]
    if choice.another(form.value().losses) is None or choice in {type(term) for term in form.value().losses}:
        form.set_value(form.value().with_set(["losses=[{kind: charbonnier}]"]))
    terms.offer(choice_title(choice)).trigger()
    assert type(form.value().losses[-1]) is choice
    comes_back(form)
    assert goes_wrong(form, terms.items[-1])


@pytest.mark.parametrize("choice", CORRUPTIONS.choices, ids=lambda choice: choice.__name__)
def test_every_corruption_can_be_added_comes_back_and_tells_what_is_wrong(form, choice):
    terms = form.editors[("targets",)].fields.editors[("corruptions",)]
    terms.offer(choice_title(choice)).trigger()
    assert type(form.value().targets.corruptions[-1]) is choice
    comes_back(form)
    assert goes_wrong(form, terms.items[-1])
    high, low = terms.items[-1].editors[("high",)], terms.items[-1].editors[("low",)]
    low.line.setText(high.line.text())
    low.changed.emit()
    high.line.setText(str(high.knob.low if high.knob.low else low.raw() / 2))
    high.changed.emit()
    assert terms.items[-1].rows[("high",)].tone == "err"


def test_corruptions_are_moved_and_removed_and_the_last_one_stays(form):
    terms = form.editors[("targets",)].fields.editors[("corruptions",)]
    for title in ("Blur", "Stripes"):
        terms.offer(title).trigger()
    terms.terms[2].up.click()
    assert [c.kind for c in form.value().targets.corruptions] == ["gaussian", "stripes", "blur"]
    terms.terms[0].down.click()
    assert [c.kind for c in form.value().targets.corruptions] == ["stripes", "gaussian", "blur"]
    terms.terms[0].drop.click()
    terms.terms[1].drop.click()
    assert [c.kind for c in form.value().targets.corruptions] == ["gaussian"]
    assert not terms.terms[0].drop.isEnabled()
    assert "At least 1" in terms.terms[0].drop.toolTip()


def test_the_same_term_again_compares_in_another_window(form):
    terms = form.editors[("losses",)]
    form.set_value(form.value().with_set(["losses=[{kind: mse}]"]))
    terms.offer("Mean squared error").trigger()
    assert [term.name for term in form.value().losses] == ["mse", "mse_lung"]
    assert "Window: lung" in terms.terms[1].help.text()
    comes_back(form)


def test_marks_show_which_item_of_a_nested_list_was_changed(form):
    terms = form.editors[("targets",)].fields.editors[("corruptions",)]
    terms.offer("Blur").trigger()
    assert [term.mark.text() for term in terms.terms] == ["", "•"]
    assert form.row("targets").changed_from_preset()
    assert not form.row("losses").changed_from_preset()


RULES = [
    (["losses=[{kind: mse}, {kind: mse}]"], ("losses", 1, "mse", "window"), "listed twice. Try the window “lung”"),
    (["losses=[{kind: tv}, {kind: tv}]"], ("losses", 1, "tv", "weight"), "listed twice. Remove one."),
    (["losses=[{kind: mse, weight: 0}]"], ("losses", 0, "mse", "weight"), "Try 1."),
    (["targets={kind: noise2void}", "losses=[{kind: ssim}]"], ("losses", 0, "ssim", "weight"), "single hidden pixels"),
    (["targets={kind: noise2self}", "regularisation.mixup=0.2"], ("regularisation", "mixup"), "Set it to 0"),
    (["losses=[{kind: ms_ssim}]", "run.patch_size=32"], ("run", "patch_size"), "Try 42, or fewer scales."),
    (["targets={kind: neighbor2neighbor}", "run.patch_size=33"], ("run", "patch_size"), "Try 34."),
    (["targets={kind: neighbor2neighbor}", "run.patch_size=30"], ("run", "patch_size"), "32 px at least."),
    (["optimiser={kind: sgd, momentum: 0, nesterov: true}"], ("optimiser", "sgd", "momentum"), "Try 0.9."),
    (["optimiser={kind: lbfgs}", "run.accumulate=2"], ("run", "accumulate"), "Try 1."),
    (["stopping.metric=auc"], ("stopping", "metric"), "Try Auto"),
    (["stopping.min_epochs=90"], ("stopping", "min_epochs"), "Try 50."),
    (["groups=[{match: rest}, {match: rest}]"], ("groups", 1, "match"), "Try “encoder”."),
    (["groups=[{match: rest, train: false}]"], ("groups", 0, "train"), "Switch one on."),
]


@pytest.mark.parametrize(("settings", "where", "words"), RULES, ids=lambda value: str(value)[:40])
def test_what_does_not_go_together_is_told_at_the_field_to_change(form, settings, where, words):
    values = recipes.load("denoise").model_dump(mode="json")
    for setting in settings:
        values = with_value(values, setting)
    form.set_raw(values)
    form.changed.emit()
    assert form.value() is None
    error = form.errors()[0]
    assert error.where == where
    place, rest = form.locate(where)
    assert rest == () and place.tone == "err"
    assert words in place.message.text.text()
    QApplication.processEvents()
    assert place.editor.isVisible(), "what was folded away is unfolded"


def with_value(values: dict[str, Any], setting: str) -> dict[str, Any]:
    """As --set does, without checking."""
    import yaml

    address, _, text = setting.partition("=")
    *parents, last = address.split(".")
    node = values
    for key in parents:
        node = node[key]
    value = yaml.safe_load(text)
    union = next((knob for a, knob in walk(Recipe) if a == tuple(address.split("."))), None)
    if union is not None and union.kind == "union":
        value = filled(union.choices, value)
    elif union is not None and union.kind == "list":
        value = [filled(union.choices, item) for item in value]
    node[last] = value
    return values


def filled(choices: tuple[Any, ...], value: dict[str, Any]) -> dict[str, Any]:
    """With the defaults of the class it names."""
    spec = next(c for c in choices if "kind" not in value or c.model_fields["kind"].default == value["kind"])
    return {**spec().model_dump(mode="json"), **value}


def test_a_pattern_of_parameter_names_can_be_typed(form):
    table = form.editors[("groups",)]
    table.add_button.click()
    editor = table.items[-1].editors[("match",)]
    editor.line.setText("encoder.0.*")
    editor.changed.emit()
    assert form.value().groups[-1].match == "encoder.0.*"
    editor.line.setText("HEAD")
    editor.changed.emit()
    assert form.value().groups[-1].match == "head", "the words of the list are known in any case"
    comes_back(form)


def test_groups_tell_what_is_wrong_in_folded_fields_too(form):
    table = form.editors[("groups",)]
    assert goes_wrong(form, table.items[0]) > 8


def test_the_plain_fields_of_the_recipe_tell_what_is_wrong(form):
    plain = {a for a, knob in walk(Recipe) if knob.kind == "number"}
    assert len(plain) > 15
    assert goes_wrong(form, form) > 60


def test_nothing_of_the_schema_is_left_out_of_the_form(whole):
    assert set(whole.form.rows) == {address for address, _ in walk(Recipe)}
    assert whole._placed == set(whole.form.rows) - {
        address for address in whole.form.rows if whole.more.isAncestorOf(whole.form.row(*address))
    }


def test_tab_goes_through_the_form_in_reading_order_also_after_rows_were_added(whole, form, qtbot):
    whole.resize(944, 640)
    form.editors[("targets",)].fields.editors[("corruptions",)].offer("Blur").trigger()
    QApplication.processEvents()
    names = []
    whole.activateWindow()
    whole.stops()[0].setFocus()
    for _ in range(len(whole.stops()) - 1):
        focus = whole.focusWidget()
        names.append(focus.accessibleName() or focus.text())
        whole.focusNextPrevChild(True)
    wanted = [
        "What to learn",
        "Gaussian noise, from",
        "Gaussian noise, to",
        "Blur, from",
        "Patch",
        "Mean squared error, weight",
        "Clip gradients",
        "Flips",
        "Rest, learning rate",
        "What changes",
        "Optimiser",
        "Schedule",
        "At most",
    ]
    places = [names.index(name) for name in wanted]
    assert places == sorted(places), names
    before = whole.focusWidget()
    whole.focusNextPrevChild(False)
    whole.focusNextPrevChild(True)
    assert whole.focusWidget() is before
