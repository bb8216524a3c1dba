"""Settings as they are typed: `a.b=c`."""

from __future__ import annotations

import pytest

from aegui import recipes
from aegui.errors import UserError


@pytest.mark.parametrize("setting", ["optimiser.kind=sgd", "optimiser=sgd"])
def test_another_kind_drops_what_only_the_one_before_had(setting: str) -> None:
    recipe = recipes.load("robust").with_set(["optimiser.weight_decay=0.3", setting])
    assert recipe.optimiser.kind == "sgd"
    assert recipe.optimiser.weight_decay == 0.3, "both have it"
    assert recipe.with_set(["averaging.kind=none"]).averaging.kind == "none"


def test_a_field_of_the_kind_before_that_is_asked_for_is_named() -> None:
    with pytest.raises(UserError, match=r"optimiser\.sgd\.beta1.* is not a known setting"):
        recipes.load("robust").with_set(["optimiser.kind=sgd", "optimiser.beta1=0.8"])


def test_a_number_in_the_place_of_several_settings_is_told_in_plain_words() -> None:
    with pytest.raises(UserError, match="“optimiser” has settings of its own") as caught:
        recipes.load("robust").with_set(["optimiser=5"])
    assert "{name: value}" in caught.value.hint


@pytest.mark.parametrize("text", ["1:30", "yes", "2026-01-02", "0x10"])
def test_what_only_yaml_takes_for_a_number_is_none(text: str) -> None:
    with pytest.raises(UserError, match=r"“run\.epochs” must be a whole number"):
        recipes.load("robust").with_set([f"run.epochs={text}"])


def test_numbers_words_and_lists_are_what_they_look_like() -> None:
    recipe = recipes.load("robust").with_set(
        ["run.epochs=010", "run.steps=null", "augmentation.flips=no", "losses=[{kind: l1, weight: 2}]"]
    )
    assert (recipe.run.epochs, recipe.run.steps, recipe.augmentation.flips) == (10, None, False)
    assert [(term.kind, term.weight) for term in recipe.losses] == [("l1", 2.0)]
