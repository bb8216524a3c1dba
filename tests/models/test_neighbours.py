"""Networks that see the slices beside the one they denoise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aegui.errors import UserError
from aegui.models import bundle
from aegui.models.card import Card
from aegui.models.networks import Halved, ResidualAutoencoder
from aegui.models.planes import middle
from aegui.models.slicenet import build
from aegui.models.zoo import import_checkpoint, load_model
from tests.twohalf import card, network, saved

LEVEL = torch.tensor([0.1])


def test_an_untrained_network_returns_the_middle_slice() -> None:
    net = build(card(2))
    x = torch.rand(1, 5, 30, 21)
    assert torch.equal(net(x, LEVEL), x[:, 2:3])


@pytest.mark.parametrize("neighbours", [1, 2])
def test_the_result_is_one_slice_and_depends_on_every_plane(neighbours: int) -> None:
    net = network(neighbours)
    x = torch.rand(1, 2 * neighbours + 1, 30, 21, requires_grad=True)
    image = net(x, LEVEL)
    assert image.shape == (1, 1, 30, 21)
    image.square().sum().backward()
    assert x.grad is not None and all(float(plane.abs().sum()) > 0 for plane in x.grad[0])


def test_a_slice_alone_stands_for_its_neighbours() -> None:
    net = network()
    x = torch.rand(2, 1, 16, 16)
    level = torch.tensor([0.1, 0.2])
    assert torch.equal(net(x, level), net(x.expand(-1, 3, -1, -1), level))


def test_the_halves_make_the_whole() -> None:
    net = network().net
    assert isinstance(net, Halved)
    x = torch.rand(1, 3, 16, 16)
    removed = net.removed(net.first(x, LEVEL))
    torch.testing.assert_close(middle(x, 1) - removed, net.outputs(x, LEVEL).image)  # type: ignore[operator]


def test_without_neighbours_a_network_has_the_weights_it_always_had() -> None:
    plain, none = ResidualAutoencoder(1, (8, 8), (1, 1)), ResidualAutoencoder(1, (8, 8), (1, 1), neighbours=0)
    none.load_state_dict(plain.state_dict())
    x = torch.rand(1, 1, 16, 16)
    assert torch.equal(none.outputs(x, LEVEL).image, plain.outputs(x, LEVEL).image)
    assert build(card(0)).planes == 1


@pytest.mark.parametrize("options", [{"channels": 3, "neighbours": 1}, {"neighbours": -1}, {"neighbours": 1.5}])
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    wrong = Card.parse({"id": "a", "title": "A", "architecture": "residual_autoencoder", "options": options})
    with pytest.raises(UserError, match="do not fit its architecture"):
        build(wrong)


def test_other_architectures_have_none() -> None:
    wrong = Card.parse({"id": "a", "title": "A", "architecture": "conv_autoencoder", "options": {"neighbours": 1}})
    with pytest.raises(UserError, match="do not fit its architecture"):
        build(wrong)


def test_a_bundle_keeps_them_and_tests_itself(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert load_model(path).net.planes == 3
    assert bundle.self_test(path) < 1e-6
    x, _ = bundle.test_input(card())
    assert x.shape == (1, 3, 64, 64) and abs(x[0, 0] - x[0, 1]).max() > 0.01


def test_a_bare_checkpoint_tells_how_many_it_has(tmp_path: Path) -> None:
    for neighbours in (0, 1, 2):
        torch.save(network(neighbours).net.state_dict(), tmp_path / "m.pt")
        found, net, fit = import_checkpoint(tmp_path / "m.pt")
        assert fit.complete and net.neighbours == neighbours == found.neighbours
    torch.save(ResidualAutoencoder(3).state_dict(), tmp_path / "colour.pt")
    assert import_checkpoint(tmp_path / "colour.pt")[0].options["channels"] == 3


def test_the_card_says_that_it_looks_beside() -> None:
    assert card(0).sees == "" and card(0).about == "For tests"
    assert card(1).about == "For tests. Looks at the slice before and after, too."
    assert "2 slices before and after" in card(2).about
