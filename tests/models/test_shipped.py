"""What the models that come with the program must tell of themselves."""

from __future__ import annotations

import pytest

from aegui import paths, recipes
from aegui.models.card import Card
from aegui.models.library import shipped

CARDS = shipped()
TRAINED = [card for card in CARDS if card.weights]
# Words of data that is set aside for judging.
ASIDE = ("A058062", "A062055", "set aside", "papaya", "TotalSegmentator", "phantom")


@pytest.mark.parametrize("card", TRAINED, ids=lambda card: card.id)
def test_a_shipped_model_tells_what_it_learnt_from_by_which_recipe_and_for_how_long(card: Card) -> None:
    assert card.weights is not None
    assert (paths.resource("models") / card.weights).stat().st_size <= 10_000_000
    assert card.licence and card.version and card.parameters
    assert card.training.datasets
    for data in card.training.datasets:
        assert data["name"] and data["licence"], data
        assert not any(word.lower() in str(data).lower() for word in ASIDE), data
    assert card.training.recipe == f"pretrain-{card.id}"
    assert recipes.load(card.training.recipe).id == card.training.recipe
    assert 0 < card.training.seconds * (card.training.threads or 2) <= 2 * 2.5 * 3600, "2.5 h on two cores"
    assert card.seen


@pytest.mark.parametrize("card", TRAINED, ids=lambda card: card.id)
def test_a_shipped_models_scores_stand_beside_the_input_and_filters(card: Card) -> None:
    assert card.scores and card.scored_by
    for score in card.scores:
        assert {"input", "non-local means", "BM3D"} <= set(score.others), score
    assert any(score.psnr > score.others["input"] for score in card.scores)
    strongest, gains = card.gains()
    assert strongest and gains


@pytest.mark.parametrize("card", [card for card in CARDS if not card.weights], ids=lambda card: card.id)
def test_a_model_without_weights_says_so_and_claims_nothing(card: Card) -> None:
    assert "weights" in card.summary
    assert not card.scores and not card.sha256 and not card.seen
