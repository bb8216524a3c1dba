"""Forms generated from a Spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pytest
from pydantic import Field
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QScrollArea, QStyleOptionComboBox, QWidget

from aegui import recipes
from aegui.gui.widgets.basic import column, scroll
from aegui.gui.widgets.editors import Combo, NumberEditor
from aegui.gui.widgets.fields import UnionEditor
from aegui.gui.widgets.forms import Form
from aegui.gui.widgets.knobs import format_number, knobs, read_number, step_number, walk
from aegui.gui.widgets.rows import Cell, Row
from aegui.gui.widgets.table import TableEditor
from aegui.gui.widgets.terms import TermsEditor
from aegui.recipes import Recipe
from aegui.recipes.corruptions import PoissonGaussian
from aegui.recipes.optimisers import AdamW, ParameterGroup
from aegui.recipes.schedules import CosineSchedule
from aegui.recipes.targets import PairedTargets, SyntheticTargets
from aegui.spec import Spec, knob
from aegui.workflow import Problem


class Round(Spec):
    """Round thing: rolls."""

    kind: Literal["round"] = "round"
    radius: float = knob(1.0, title="Radius", help="Of the thing", unit="mm", gt=0, le=10)


class Square(Spec):
    """Square thing: stays."""

    kind: Literal["square"] = "square"
    sides: int = knob(4, title="Sides", help="How many", ge=1)


Shape = Annotated[Round | Square, Field(discriminator="kind")]


class Inner(Spec):
    """Nested."""

    note: str = knob("a", title="Note", help="Free text", max_length=5)
    on: bool = knob(True, title="On", help="Whether")


class Thing(Spec):
    """A Spec that no page knows."""

    shape: Shape = knob(Round(), title="Shape", help="Which one")
    parts: tuple[Shape, ...] = knob((Square(),), title="Parts", help="Some", min_length=1)
    speed: float | None = knob(None, title="Speed", help="Empty: still", unit="m/s", gt=0, le=100)
    mode: Literal["slow", "quick"] = knob("slow", title="Mode", help="How")
    inner: Inner = knob(Inner(), title="Inner", help="Nested")


def shown(form: Form, qtbot) -> QScrollArea:
    body = QWidget()
    body.setLayout(column(*form.rows.values()))
    area = scroll(body)
    area.resize(520, 400)
    qtbot.addWidget(area)
    area.show()
    qtbot.waitExposed(area)
    return area


@pytest.fixture
def form(themed, qtbot) -> Iterator[Form]:
    made = Form(Recipe)
    made.set_value(recipes.load("layerwise"), recipes.load("layerwise"))
    made.area = shown(made, qtbot)  # type: ignore[attr-defined]
    yield made


def type_into(qtbot, line: QLineEdit, text: str, leave: bool = True) -> None:
    line.setFocus()
    line.selectAll()
    qtbot.keyClicks(line, text) if text else qtbot.keyClick(line, Qt.Key.Key_Delete)
    if leave:
        qtbot.keyClick(line, Qt.Key.Key_Return)


def number(form: Form, *address: str) -> NumberEditor:
    editor = form.editors[address]
    assert isinstance(editor, NumberEditor)
    return editor


def choose(union: UnionEditor, title: str) -> None:
    """As the keyboard does: the entry with that name."""
    control = union.choice.inputs()[0]
    assert isinstance(control, Combo)
    control.setFocus()
    control.setCurrentIndex(control.findText(title))
    control.activated.emit(control.currentIndex())


def rates(form: Form) -> list[QLineEdit]:
    table = form.editors[("groups",)]
    assert isinstance(table, TableEditor)
    return [fields.editors[("learning_rate",)].line for fields in table.items]


@pytest.mark.parametrize("preset", recipes.shipped(), ids=lambda r: r.id)
def test_every_shipped_preset_comes_back_from_the_form_unchanged(qtbot, preset):
    form = Form(Recipe)
    form.set_value(preset, preset)
    assert form.value() == preset
    assert form.errors() == []
    assert not any(place.changed_from_preset() for place in form.rows.values() if isinstance(place, Row))


def test_a_form_is_made_for_any_spec(qtbot):
    form = Form(Thing)
    value = Thing(shape=Square(sides=7), parts=(Round(radius=2.5), Square()), speed=1e-5, mode="quick")
    form.set_value(value)
    assert form.value() == value
    assert [address for address, _ in walk(Thing)] == list(form.editors)


def test_a_learning_rate_of_1e_4_survives(form, qtbot):
    type_into(qtbot, rates(form)[0], "1e-4")
    assert form.value().groups[0].learning_rate == 1e-4
    form.set_value(form.value())
    assert rates(form)[0].text() == "1e-4"


@pytest.mark.parametrize("value", [1e-4, 2.5e-5, 1.2345e-7, 0.1, 64.0, 1e6, 3e-3, 0.30000000000000004])
def test_numbers_are_written_short_and_read_back_exactly(value):
    assert read_number(format_number(value), whole=False) == value


def test_a_decimal_comma_and_a_true_minus_are_understood():
    assert read_number("0,5", whole=False) == 0.5
    assert read_number("\u22122", whole=True) == -2


def test_a_whole_number_far_too_large_is_told_its_limit(form, qtbot):
    for address, limit in ((("run", "patch_size"), "4096"), (("run", "seed"), "2147483647")):
        type_into(qtbot, number(form, *address).line, "1e99")
        assert form.row(*address).message.text.text().startswith(f"Must be at most {limit}. Try ")


def test_limits_are_written_short(form, qtbot):
    type_into(qtbot, number(form, "regularisation", "gradient_clip").line, "1e99")
    assert "at most 1e6" in form.row("regularisation", "gradient_clip").message.text.text()


def test_steps_follow_the_leading_digit_and_stay_inside_the_limits():
    rate = next(k for k in knobs(ParameterGroup) if k.name == "learning_rate")
    assert step_number(1e-4, True, rate) == 2e-4
    assert step_number(1e-4, False, rate) == 9e-5
    assert step_number(10.0, True, rate) == 10.0


def test_a_value_out_of_range_is_explained_at_its_field_when_it_is_left(form, qtbot):
    row = form.row("run", "epochs")
    type_into(qtbot, number(form, "run", "epochs").line, "0", leave=False)
    assert row.tone == "", "not while the first value is being typed"
    qtbot.keyClick(number(form, "run", "epochs").line, Qt.Key.Key_Return)
    assert row.tone == "err"
    assert row.message.text.text() == "Must be at least 1. Try 50."
    assert form.value() is None
    assert number(form, "run", "epochs").frame.property("fld") == "err"


def test_after_the_first_error_a_field_is_checked_while_typing(form, qtbot):
    line = number(form, "run", "epochs").line
    type_into(qtbot, line, "0")
    type_into(qtbot, line, "7", leave=False)
    assert form.row("run", "epochs").tone == ""
    assert form.row("run", "epochs").message.text.text() == "Passes over the training slices"
    assert form.value().run.epochs == 7


def test_text_that_is_no_number_is_refused_in_words(form, qtbot):
    type_into(qtbot, number(form, "run", "batch_size").line, "1e")
    assert "Must be a whole number" in form.row("run", "batch_size").message.text.text()


def test_an_optional_number_may_be_empty_and_a_required_one_may_not(form, qtbot):
    type_into(qtbot, number(form, "run", "patch_size").line, "")
    assert form.value().run.patch_size is None
    type_into(qtbot, number(form, "run", "epochs").line, "")
    assert form.row("run", "epochs").tone == "err"


def test_an_error_in_a_table_names_its_row_and_marks_its_cell(form, qtbot):
    type_into(qtbot, rates(form)[1], "-1")
    assert form.errors()[0].where == ("groups", 1, "learning_rate")
    place, rest = form.locate(form.errors()[0].where)
    assert isinstance(place, Cell) and rest == ()
    assert place.editor.frame.property("fld") == "err"
    table = form.editors[("groups",)]
    assert table.message.text.text().startswith("Decoder, learning rate: must be more than 0")
    assert form.say(form.errors()[0]).startswith("Decoder, learning rate: must be more than 0")


def test_an_error_inside_a_union_reaches_the_inner_field_although_its_address_names_the_kind(form, qtbot):
    union = form.editors[("targets",)]
    assert isinstance(union, UnionEditor)
    union.fields.complete()
    type_into(qtbot, union.fields.editors[("average",)].line, "300")
    assert form.errors()[0].where == ("targets", "synthetic", "average")
    assert union.fields.rows[("average",)].tone == "err"


def test_an_error_in_a_list_inside_a_union_reaches_its_field(form, qtbot):
    noise = form.editors[("targets",)].fields.editors[("corruptions",)].items[0]
    type_into(qtbot, noise.editors[("low",)].line, "300")
    assert form.errors()[0].where == ("targets", "synthetic", "corruptions", 0, "gaussian", "low")
    assert noise.rows[("low",)].tone == "err"


def test_a_range_the_wrong_way_round_is_told_at_its_upper_end_with_a_value_that_works(form, qtbot):
    corruptions = form.editors[("targets",)].fields.editors[("corruptions",)]
    type_into(qtbot, corruptions.items[0].editors[("low",)].line, "90")
    assert corruptions.items[0].rows[("high",)].tone == "err"
    assert form.say(form.errors()[0]) == "Gaussian noise, to: must not be below “From”. Try 90."


def test_problems_found_outside_appear_at_their_field_and_go_away(form):
    blocking = Problem("Too large for this card.", "Try 16.", ("run", "batch_size"))
    warning = Problem("No class labels.", "", ("losses", 0, "mse", "weight"), blocking=False)
    form.set_problems([blocking, warning])
    assert form.row("run", "batch_size").tone == "err"
    assert form.row("run", "batch_size").message.text.text() == "Too large for this card. Try 16."
    terms = form.editors[("losses",)]
    assert terms.items[0].rows[("weight",)].tone == "warn"
    form.set_problems([])
    assert form.row("run", "batch_size").tone == ""
    assert terms.items[0].rows[("weight",)].tone == ""


def test_choosing_another_kind_rebuilds_the_form_and_remembers_what_was_typed(form, qtbot):
    union = form.editors[("schedule",)]
    assert isinstance(union, UnionEditor)
    type_into(qtbot, union.fields.editors[("warmup",)].line, "3")
    choose(union, "Cosine")
    assert form.value().schedule == CosineSchedule()
    type_into(qtbot, union.fields.editors[("final",)].line, "0.5")
    choose(union, "Constant")
    assert form.value().schedule.warmup == 3
    choose(union, "Cosine")
    assert form.value().schedule == CosineSchedule(final=0.5)


def test_terms_are_added_once_each_and_the_last_one_cannot_be_removed(form, qtbot):
    terms = form.editors[("losses",)]
    assert isinstance(terms, TermsEditor)
    assert len(form.value().losses) == 1
    terms.offer("Total variation").trigger()
    assert [term.kind for term in form.value().losses] == ["mse", "tv"]
    assert not terms.offer("Total variation").isEnabled()
    assert form.row("losses").changed_from_preset()
    terms.remove(terms.items[1])
    assert [term.kind for term in form.value().losses] == ["mse"]
    assert not form.row("losses").changed_from_preset()
    terms.remove(terms.items[0])
    assert form.row("losses").tone == "err"


def test_an_added_term_is_scrolled_to(form):
    losses = form.editors[("losses",)]
    form.area.ensureWidgetVisible(losses.add_button)
    for title in ("Huber", "Charbonnier", "Edges", "Spectrum"):
        losses.offer(title).trigger()
    added = losses.terms[-1].fields.editors[("weight",)]
    assert added.line.hasFocus()
    assert added.visibleRegion().boundingRect() == added.rect()


def test_a_new_group_takes_a_part_that_is_not_in_the_table_yet(form, qtbot):
    table = form.editors[("groups",)]
    qtbot.mouseClick(table.add_button, Qt.MouseButton.LeftButton)
    assert [group.match for group in form.value().groups] == ["encoder", "decoder", "rest", "head"]
    qtbot.mouseClick(table.add_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(table.add_button, Qt.MouseButton.LeftButton)
    assert [group.match for group in form.value().groups][4:] == ["norm", "encoder.0.*"]


def test_a_dot_marks_what_differs_from_the_preset(form, qtbot):
    type_into(qtbot, number(form, "run", "epochs").line, "60")
    changed = [address for address, row in form.rows.items() if row.changed_from_preset()]
    assert changed == [("run", "epochs")]


def test_the_wheel_changes_no_field_with_the_focus_or_without(form):
    before = form.value()
    inputs = [place.editor for place in form.all_rows()]
    targets = [(e.frame, e.line) for e in inputs if isinstance(e, NumberEditor)]
    targets += [(c, c) for e in inputs for c in e.findChildren(Combo)]
    assert len(targets) > 10
    for target, focus in targets:
        form.area.setFocus()
        wheel(target)
        focus.setFocus()
        wheel(target)
    assert form.value() == before


def test_a_long_choice_ends_in_dots_where_it_has_no_room(form):
    box = form.editors[("targets",)].choice.control
    box.setCurrentText("Neighbouring pixels (Neighbor2Neighbor)")
    option = QStyleOptionComboBox()
    for wide, end in ((150, "…"), (400, "(Neighbor2Neighbor)")):
        box.resize(wide, box.height())
        box.initStyleOption(option)
        assert option.currentText.startswith("Neighbouring")
        assert option.currentText.endswith(end)


def test_two_numbers_of_a_term_share_the_whole_line(form):
    form.area.resize(400, 400)
    noise = PoissonGaussian(low=50, high=50_000)
    form.set_value(form.value().model_copy(update={"targets": SyntheticTargets(corruptions=(noise,))}))
    QApplication.processEvents()
    for editor in form.editors[("targets",)].fields.editors[("corruptions",)].terms[0].fields.editors.values():
        if editor.isVisible():
            assert editor.line.fontMetrics().horizontalAdvance(editor.line.text()) <= editor.line.width() - 4


def test_what_concerns_a_term_as_a_whole_names_and_marks_none_of_its_fields(form):
    words = "“Mean squared error” is not for these scans."
    form.set_problems([Problem(words, "Try another.", ("losses", 0), blocking=True)])
    term = form.editors[("losses",)].terms[0]
    assert term.message.text.text() == f"{words} Try another."
    assert all(place.tone == "" for place in term.fields.rows.values())
    assert form.say(form._outside[0]) == f"{words} Try another."
    form.set_problems([])
    assert term.message.isHidden()


def wheel(target: QWidget) -> None:
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(target.mapToGlobal(QPoint(5, 5))),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(target, event)


def test_arrow_keys_step_a_number(form, qtbot):
    editor = number(form, "run", "epochs")
    editor.line.setFocus()
    qtbot.keyClick(editor.line, Qt.Key.Key_Up)
    assert form.value().run.epochs == 51
    qtbot.keyClick(editor.line, Qt.Key.Key_Down)
    assert form.value().run.epochs == 50


def test_every_knob_has_an_editor_a_name_and_a_description(qtbot):
    form = Form(Recipe)
    everything = recipes.load("denoise").model_copy(
        update={"optimiser": AdamW(), "schedule": CosineSchedule(), "groups": (ParameterGroup(),)}
    )
    form.set_value(everything)
    assert set(form.editors) == {address for address, _ in walk(Recipe)}
    for place in form.all_rows():
        for widget in place.editor.inputs():
            assert widget.accessibleName(), place.name
            assert widget.accessibleDescription() or not place.editor.knob.help, place.name
            assert widget.focusPolicy() != Qt.FocusPolicy.NoFocus, place.name
        if isinstance(place, Row) and place.editor.inputs() and place.label.text():
            assert place.label.buddy() is place.editor.inputs()[0], place.name


def test_no_two_fields_have_the_same_name(form):
    names = [row.name for row in form.rows.values()]
    assert sorted(set(names)) == sorted(names)


def test_accessible_descriptions_carry_the_problem(form, qtbot):
    line = number(form, "run", "epochs").line
    type_into(qtbot, line, "0")
    assert line.accessibleDescription() == "Must be at least 1. Try 50."
    type_into(qtbot, line, "5")
    assert line.accessibleDescription() == "Passes over the training slices"


def test_reveal_unfolds_and_focuses_a_hidden_field(form, qtbot):
    union = form.editors[("targets",)]
    assert not union.fields.whole
    form.reveal(("targets", "synthetic", "average"))
    line = union.fields.editors[("average",)].line
    assert line.isVisible() and line.hasFocus()


def test_a_union_without_knobs_shows_no_empty_space(form, qtbot):
    form.set_value(form.value().model_copy(update={"targets": PairedTargets()}))
    assert form.value().targets == PairedTargets()
    assert form.editors[("targets",)].isHidden()
    assert form.row("targets").message.text.text() == "A clean series for every noisy one"


def test_labels_of_the_form_stand_in_the_words_of_the_spec(form):
    titles = {label.text() for label in form.area.findChildren(QLabel)}
    assert {knob.title for _, knob in walk(Recipe) if knob.kind not in ("switch",)} <= titles
