"""The lower card of Train: which slice is shown, and what a recipe tells apart."""

from __future__ import annotations

import numpy as np
import pytest

from aegui.events import Features, Preview
from aegui.gui.widgets.watch_card import WatchCard


def preview(slot: int, slots: int, epoch: int = 1) -> Preview:
    picture = np.full((8, 8), 10.0 * slot + epoch, np.float32)
    return Preview(
        f"Case {slot}", epoch, picture, picture + 1, picture + 2, (80, 40), 20, 25, False, slot, slots, "Mean"
    )


def features(counts: list[list[int]]) -> Features:
    labels = np.asarray([0, 0, 1, 1, 1])
    points = np.asarray([[0, 0], [0, 1], [5, 0], [5, 1], [6, 0]], np.float32)
    held = np.asarray([True, False, True, True, False])
    return Features(1, points, labels, ("axial", "coronal"), np.asarray(counts), 2 / 3, 0.75, "PCA", held)


@pytest.fixture
def card(themed, qtbot) -> WatchCard:
    made = WatchCard()
    made.resize(1000, 320)
    qtbot.addWidget(made)
    made.show()
    return made


def test_one_slice_is_named_and_there_is_nothing_to_choose(card):
    card.show_preview(preview(0, 1))
    assert card.name.text() == "Case 0"
    assert not card.chooser.isVisible() and not card.tabs.isVisible()
    assert card.views[2].title == "Mean"


def test_the_chosen_slice_stays_chosen_in_the_next_epochs(card):
    for slot in range(3):
        card.show_preview(preview(slot, 3))
    assert [card.chooser.itemText(i) for i in range(card.chooser.count())] == ["Case 0", "Case 1", "Case 2"]
    assert card.views[0].pixels[0, 0] == 1
    card.chooser.setCurrentIndex(2)
    card.chooser.activated.emit(2)
    assert card.views[0].pixels[0, 0] == 21
    for slot in range(3):
        card.show_preview(preview(slot, 3, epoch=2))
    assert card.views[0].pixels[0, 0] == 22
    assert card.views[1].title == "Now, epoch 2"


def test_the_classes_have_a_tab_of_their_own_once_there_are_any(card, qtbot):
    card.show_preview(preview(0, 2))
    card.show_features(features([[1, 0], [1, 1]]))
    assert card.tabs.isVisible() and card.stack.currentIndex() == 0
    card.tabs.button(1).click()
    assert card.features.isVisible() and not card.chooser.isVisible()
    assert card.features.figures.text() == "Accuracy 67 % · AUC 0.750"
    assert "3 validation slices" in card.features.legend.text()
    table = card.features.table.accessibleDescription()
    assert "coronal taken for axial 1 times" in table and "axial taken for coronal" not in table
    rows = card.features.scatter.values().splitlines()
    assert rows[1] == "axial\tvalidation\t0.0\t0.0" and rows[-1] == "coronal\ttraining\t6.0\t0.0"


def test_a_new_run_starts_with_an_empty_card(card):
    card.show_preview(preview(0, 2))
    card.show_features(features([[1, 0], [0, 2]]))
    card.tabs.button(1).click()
    card.clear()
    assert card.stack.currentIndex() == 0 and not card.tabs.isVisible() and card.chooser.count() == 0
    assert all(view.pixels is None for view in card.views)
