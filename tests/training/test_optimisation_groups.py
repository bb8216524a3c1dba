"""Parameter groups: who takes what, how fast each layer learns, and when."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from aegui import recipes
from aegui.errors import UserError
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model
from aegui.training import groups, optimisation
from aegui.training.regularise import regularise
from tests.training.small import Small, classic, loss_of, normed, recipe, residual, train


def weights(net: SliceNet) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in net.net.named_parameters()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def taken(net: SliceNet, *settings: str, by: str) -> dict[str, list[str]]:
    return {members.name: members.names for members in groups.assign(net, recipe(*settings, groups=by))}


def test_parts_norm_layers_and_patterns_take_their_parameters_and_rest_the_others() -> None:
    found = taken(normed(), by="[{match: norm}, {match: encoder}, {match: rest}]")
    assert found["norm"] == ["encoder.1.weight", "encoder.1.bias", "decoder.1.weight", "decoder.1.bias"]
    assert found["encoder"] == ["encoder.0.weight", "encoder.0.bias"]
    assert found["rest"] == ["decoder.0.weight", "decoder.0.bias"]


def test_the_first_group_that_matches_takes_a_parameter() -> None:
    first = taken(residual(), by="[{match: encoder.stages.*}, {match: encoder}, {match: rest}]")
    assert set(first["encoder"]) == {"encoder.stem.weight", "encoder.downs.0.weight", "encoder.downs.1.weight"}
    assert "encoder.stages.*" not in taken(residual(), by="[{match: encoder}, {match: encoder.stages.*}]")
    # “rest” takes what is left wherever it stands in the list.
    assert taken(residual(), by="[{match: rest}, {match: head}]")["head"] == ["head.2.weight", "head.2.bias"]


def test_the_name_of_a_layer_takes_all_below_it() -> None:
    found = taken(residual(), by="[{match: encoder.stages.0}, {match: rest}]")
    assert found["encoder.stages.0"] == ["encoder.stages.0.0.conv1.weight", "encoder.stages.0.0.conv2.weight"]


def test_a_pattern_that_matches_nothing_names_what_there_is() -> None:
    with pytest.raises(UserError, match="“bottleneck\\.\\*” matches no parameter") as raised:
        optimisation.build(recipe(groups="[{match: bottleneck.*}, {match: rest}]"), residual(), 1)
    assert "encoder.stem.weight" in raised.value.hint and "head.2.bias" in raised.value.hint


def test_parameters_of_no_group_are_frozen() -> None:
    net = residual()
    before = weights(net)
    train(net, recipe(groups="[{match: decoder, learning_rate: 0.01}]"))
    assert moved(before, weights(net)) == {name for name in before if name.startswith("decoder")}


def test_a_frozen_group_does_not_move_nor_do_its_running_statistics() -> None:
    net = normed()
    part = recipe(groups="[{match: encoder, train: false}, {match: rest, learning_rate: 0.01}]")
    run = Small(net, part)
    regularise(net, part.regularisation, 0)
    before = copy.deepcopy(net.net.state_dict())
    run.run(0, 5)
    after = net.net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder"))
    assert not any(torch.equal(before[name], after[name]) for name in before if name.startswith("decoder"))


def test_the_factor_multiplies_the_rate() -> None:
    by = "[{match: encoder, learning_rate: 2.0e-3, factor: 0.1}, {match: rest, learning_rate: 2.0e-3}]"
    optimiser, _ = optimisation.build(recipe(groups=by), classic(), 1)
    assert optimisation.rates(optimiser) == pytest.approx({"encoder": 2e-4, "rest": 2e-3})


def test_layers_are_ordered_as_a_slice_runs_through_them() -> None:
    order = groups.layer_order(residual())
    # The decoder's stages are stored from fine to coarse, but run from coarse to fine.
    assert [name for name in order if name.startswith("decoder")] == [
        "decoder.ups.1",
        "decoder.stages.1.0.conv1",
        "decoder.stages.1.0.conv2",
        "decoder.ups.0",
        "decoder.stages.0.0.conv1",
        "decoder.stages.0.0.conv2",
        "decoder.out",
    ]
    assert order[0] == "encoder.stem" and order.index("encoder.downs.0") < order.index("encoder.stages.1.0.conv1")


def test_looking_at_the_order_changes_neither_statistics_nor_modes() -> None:
    net = normed().train()
    net.net.decoder.eval()  # type: ignore[union-attr]
    before = copy.deepcopy(net.net.state_dict())
    groups.layer_order(net)
    assert all(torch.equal(before[name], value) for name, value in net.net.state_dict().items())
    assert net.net.encoder.training and not net.net.decoder.training  # type: ignore[union-attr]


def test_every_layer_further_from_the_output_learns_by_the_factor_slower() -> None:
    net = classic(classes=2)
    by = "[{match: rest, learning_rate: 1.0e-2, layer_decay: 0.5}]"
    optimiser, _ = optimisation.build(recipe(groups=by), net, 1)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in net.net.named_parameters()}
    assert found == pytest.approx(
        {
            "encoder.0.weight": 1e-2 / 8,
            "encoder.0.bias": 1e-2 / 8,
            "encoder.2.weight": 1e-2 / 4,
            "encoder.2.bias": 1e-2 / 4,
            "decoder.0.weight": 1e-2 / 2,
            "decoder.0.bias": 1e-2 / 2,
            "decoder.2.weight": 1e-2,
            "decoder.2.bias": 1e-2,
            "classifier.2.weight": 1e-2,
            "classifier.2.bias": 1e-2,
        }
    )
    assert optimisation.rates(optimiser) == {"rest": 1e-2}


def test_a_norm_layer_learns_as_fast_as_the_layer_before_it() -> None:
    net = normed()
    optimiser, _ = optimisation.build(recipe(groups="[{match: rest, learning_rate: 1.0e-2, layer_decay: 0.1}]"), net, 1)
    names = {id(p): name for name, p in net.net.named_parameters()}
    assert {group["lr"]: sorted({names[id(p)][:9] for p in group["params"]}) for group in optimiser.param_groups} == {
        1e-2: ["decoder.0", "decoder.1"],
        1e-3: ["encoder.0", "encoder.1"],
    }


def test_layer_decay_counts_within_the_group() -> None:
    by = "[{match: encoder, learning_rate: 1.0e-3, layer_decay: 0.5}, {match: decoder, learning_rate: 1.0e-2}]"
    optimiser, _ = optimisation.build(recipe(groups=by), classic(), 1)
    assert [(g["name"], g["lr"]) for g in optimiser.param_groups] == [
        ("encoder", 1e-3),
        ("encoder", 5e-4),
        ("decoder", 1e-2),
    ]
    assert optimisation.names(optimiser) == ["encoder", "decoder"]


# ---------------------------------------------------------------- unfreezing

UNFREEZING = "[{match: encoder, learning_rate: 0.01, unfreeze_epoch: 3}, {match: rest, learning_rate: 0.01}]"


def test_a_group_is_unfrozen_at_its_epoch() -> None:
    net = classic()
    run = Small(net, recipe(groups=UNFREEZING), per_epoch=2)
    before = weights(net)
    run.run(0, 4)
    assert {name[:7] for name in moved(before, weights(net))} == {"decoder"}
    run.run(4, 5)
    assert {name[:7] for name in moved(before, weights(net))} == {"decoder", "encoder"}


def test_an_epoch_names_the_groups_it_unfreezes() -> None:
    run = Small(classic(), recipe(groups=UNFREEZING))
    assert [run.schedule.begin_epoch(epoch) for epoch in (1, 2, 3, 4)] == [(), (), ("encoder",), ()]


def test_an_unfrozen_group_starts_with_a_fresh_optimiser() -> None:
    net = classic()
    run = Small(net, recipe(groups=UNFREEZING))
    run.run(0, 2)
    frozen = [p for group in run.optimiser.param_groups if group["name"] == "encoder" for p in group["params"]]
    assert frozen and not any(p in run.optimiser.state for p in frozen)
    run.run(2, 3)
    assert all(int(run.optimiser.state[p]["step"]) == 1 for p in frozen)


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_run_that_unfreezes_goes_on_to_the_bit(cut: int) -> None:
    by = UNFREEZING.replace("unfreeze_epoch: 3", "unfreeze_epoch: 2, l2_sp: 0.1, layer_decay: 0.7")
    settings = ("schedule={kind: cosine}",)
    whole = Small(classic(), recipe(*settings, groups=by), per_epoch=2)
    whole.run(0, 8)
    first = Small(classic(), recipe(*settings, groups=by), per_epoch=2)
    first.run(0, cut)
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second = Small(classic(), recipe(*settings, groups=by), per_epoch=2)
    second.load(torch.load(buffer, weights_only=True))
    second.run(cut, 8)
    assert not moved(weights(whole.net), weights(second.net))


def test_a_recipe_that_begins_with_everything_frozen_is_refused() -> None:
    with pytest.raises(UserError, match="Nothing is trained before epoch 4"):
        optimisation.build(recipe(groups="[{match: rest, unfreeze_epoch: 4}]"), classic(), 1)


# ---------------------------------------------------------------- pull to the start


def distance(net: SliceNet, before: dict[str, torch.Tensor]) -> float:
    return float(sum((value - before[name]).square().sum() for name, value in weights(net).items()))


def test_an_l2_sp_run_stays_nearer_to_its_start() -> None:
    found = []
    for strength in (0.0, 0.01, 0.1):
        net = classic()
        before = weights(net)
        train(net, recipe(groups=f"[{{match: rest, learning_rate: 0.005, l2_sp: {strength}}}]"), 40)
        found.append(distance(net, before))
    assert found[0] > 10 * found[1] > 100 * found[2] > 0


def test_l2_sp_is_the_penalty_of_its_formula() -> None:
    ours, plain = classic(), classic()
    start = {name: value.detach().clone() for name, value in plain.net.named_parameters()}
    train(ours, recipe("optimiser={kind: sgd}", groups="[{match: rest, learning_rate: 0.1, l2_sp: 0.5}]"))
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimiser.zero_grad()
        away = sum((value - start[name]).square().sum() for name, value in plain.net.named_parameters())
        (loss_of(plain) + 0.5 / 2 * away).backward()
        optimiser.step()
    for name, value in plain.net.named_parameters():
        torch.testing.assert_close(dict(ours.net.named_parameters())[name], value, rtol=0, atol=1e-6)


def test_a_fresh_head_is_not_pulled_to_its_random_start() -> None:
    by = "[{match: rest, l2_sp: 1.0}]"
    for fresh, expected in ((True, 8), (False, 10)):
        optimiser, _ = optimisation.build(recipe(groups=by), classic(classes=2), 1, fresh_head=fresh)
        assert sum(len(group.get("start", ())) for group in optimiser.param_groups) == expected


def test_weight_decay_spares_norm_layers_and_biases_where_asked() -> None:
    def decays(spare: bool) -> dict[str, float]:
        net = normed()
        settings = (f"optimiser={{kind: adamw, weight_decay: 0.1, spare: {str(spare).lower()}}}",)
        optimiser, _ = optimisation.build(recipe(*settings), net, 1)
        by = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
        return {name: by[id(p)] for name, p in net.net.named_parameters()}

    assert {name for name, decay in decays(True).items() if decay} == {"encoder.0.weight", "decoder.0.weight"}
    assert set(decays(False).values()) == {0.1}


@pytest.mark.parametrize("ref", ["general-small", "classic-small", "monai-autoencoder", "monai-autoencoder-kl"])
def test_every_shipped_model_trains_with_all_of_it_at_once(ref: str) -> None:
    net = load_model(ref, "random").net
    by = (
        "[{match: encoder.*, learning_rate: 1.0e-4, layer_decay: 0.8, l2_sp: 0.01, unfreeze_epoch: 2},"
        " {match: rest, learning_rate: 1.0e-3, layer_decay: 0.9}]"
    )
    run = Small(net, recipe("optimiser={kind: adamw}", groups=by))
    before = weights(net)
    run.run(0, 3)
    assert {name.split(".")[0] for name in moved(before, weights(net))} == {"encoder", "decoder"}


def test_the_founding_recipes_have_the_groups_of_their_names() -> None:
    optimiser, _ = optimisation.build(recipes.load("layerwise"), classic(classes=3), 1)
    assert optimisation.rates(optimiser) == {"encoder": 1e-5, "decoder": 1e-4, "rest": 1e-3}
