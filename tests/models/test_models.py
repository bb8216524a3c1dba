"""Networks, checkpoints and bundles."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import paths, recipes
from aegui.errors import UserError
from aegui.models import bundle, card_of, cards
from aegui.models.library import shipped
from aegui.models.networks import ARCHITECTURES, ConvAutoencoder
from aegui.models.slicenet import SliceNet, parameters_by_part
from aegui.models.zoo import import_checkpoint, load_model

ALL = sorted(ARCHITECTURES)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(64, 64), (37, 51), (101, 16)])
def test_every_network_keeps_the_size_of_any_image(name: str, size: tuple[int, int]) -> None:
    net = ARCHITECTURES[name](channels=1)
    x = torch.rand(2, 1, *size)
    y = SliceNet(net, 1, net.multiple).eval()(x, torch.tensor([0.1, 0.1]))
    assert y.shape == x.shape


@pytest.mark.parametrize("name", ALL)
def test_every_network_shows_the_same_parts(name: str) -> None:
    net = ARCHITECTURES[name](channels=1)
    net.attach_head(3)
    wrapped = SliceNet(net, 1, net.multiple)
    assert set(parameters_by_part(wrapped)) == {"encoder", "decoder", "head"}
    image, logits = wrapped.both(torch.rand(2, 1, 40, 48), torch.tensor([0.1, 0.1]))
    assert image.shape == (2, 1, 40, 48)
    assert logits is not None and logits.shape == (2, 3)


def test_a_colour_network_averages_its_outputs_on_a_grey_slice() -> None:
    torch.manual_seed(0)
    net = ConvAutoencoder(channels=3)
    x = torch.rand(1, 1, 32, 32)
    expected = net(x.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(SliceNet(net, 3, 4)(x), expected)


def test_a_grey_network_takes_the_colours_of_a_slice_one_by_one() -> None:
    torch.manual_seed(0)
    wrapped = SliceNet(ConvAutoencoder(channels=1), 1, 4)
    x = torch.rand(1, 3, 32, 32)
    result = wrapped(x, torch.tensor([0.1]))
    for colour in range(3):
        torch.testing.assert_close(result[:, colour : colour + 1], wrapped(x[:, colour : colour + 1]))


def test_the_fixed_head_works_at_its_own_size_as_flatten_linear_does() -> None:
    torch.manual_seed(0)
    net = ConvAutoencoder(1, 4, "fixed")
    x = torch.rand(2, 1, 64, 64)
    expected = torch.nn.functional.linear(net.encoder(x).flatten(1), net.classifier[1].weight, net.classifier[1].bias)
    torch.testing.assert_close(net(x)[1], expected)
    assert net(torch.rand(1, 1, 96, 80))[1].shape == (1, 4)


def test_the_residual_autoencoder_is_equivariant_to_the_intensity_scale() -> None:
    model = load_model("general-small")
    x, level = torch.rand(1, 1, 48, 48), torch.tensor([0.1])
    with torch.inference_mode():
        one, ten = model.net(x, level), model.net(10 * x, 10 * level)
    torch.testing.assert_close(10 * one, ten, rtol=1e-4, atol=1e-4)


def test_classic_checkpoints_load_by_their_own_layer_names(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = ConvAutoencoder(1, 5, "fixed")
    torch.save(net.state_dict(), tmp_path / "mine.pt")
    assert {"encoder.0.weight", "decoder.2.bias", "classifier.1.weight"} <= set(net.state_dict())
    card, loaded, fit = import_checkpoint(tmp_path / "mine.pt")
    assert fit.complete and card.architecture == "conv_autoencoder"
    x = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(loaded(x), net(x)[0])


def test_a_run_folder_is_no_model_but_holds_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.aegui").touch()
    with pytest.raises(UserError, match=r"is a folder, not a model\. .*run/model\.aegui"):
        load_model(tmp_path / "run")


def test_weights_with_adapters_of_a_run_point_to_its_model(tmp_path: Path) -> None:
    name = "encoder.0.parametrizations.weight"
    torch.save({f"{name}.original": torch.zeros(1), f"{name}.0.A": torch.zeros(1)}, tmp_path / "best.pt")
    with pytest.raises(UserError, match="holds a run's adapters") as caught:
        load_model(tmp_path / "best.pt")
    assert "model.aegui" in caught.value.hint


def test_a_checkpoint_of_other_layers_lists_what_does_not_fit(tmp_path: Path) -> None:
    weights = ConvAutoencoder(1).state_dict()
    weights["encoder.0.weight"] = torch.zeros(16, 1, 5, 5)
    weights["extra.weight"] = torch.zeros(2)
    del weights["decoder.2.bias"]
    torch.save(weights, tmp_path / "odd.pth")
    _, _, fit = import_checkpoint(tmp_path / "odd.pth", "conv_autoencoder")
    assert fit.missing == ("decoder.2.bias",)
    assert fit.unexpected == ("extra.weight",)
    assert fit.misshaped == ("encoder.0.weight (16, 1, 5, 5) instead of (16, 1, 3, 3)",)
    with pytest.raises(UserError, match=r"decoder\.2\.bias"):
        load_model(tmp_path / "odd.pth")


def test_checkpoints_of_monais_own_networks_load_by_their_layer_names(tmp_path: Path) -> None:
    from monai.networks.nets import AutoEncoder
    from monai.networks.nets.autoencoderkl import AutoencoderKL

    plain = AutoEncoder(2, 1, 1, channels=(8, 16), strides=(2, 2), num_res_units=1)
    variational = AutoencoderKL(
        2,
        channels=(16, 32, 64),
        num_res_blocks=1,
        attention_levels=(False,) * 3,
        latent_channels=4,
        norm_num_groups=8,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )
    x = torch.rand(1, 1, 32, 32)
    for name, theirs in (("plain", plain.eval()), ("kl", variational.eval())):
        torch.save(theirs.state_dict(), tmp_path / f"{name}.pt")
        _, net, fit = import_checkpoint(tmp_path / f"{name}.pt")
        assert fit.complete, fit.words()
        with torch.inference_mode():
            expected = theirs(x) if name == "plain" else theirs.reconstruct(x)
            torch.testing.assert_close(net.eval()(x), expected)


@pytest.mark.parametrize(
    "shapes",
    [
        {"encoder.stem.weight": (64, 3, 7, 7), "encoder.stages.0.blocks.0.conv.weight": (1,)},
        {"encoder.stem.weight": (64, 3, 7, 7), "encoder.stages.layer0.weight": (1,)},
        {"encoder.stem.weight": (64,)},
        {"encoder.encode_0.bias": (1,)},
    ],
)
def test_a_checkpoint_whose_names_mislead_is_refused(shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "a.pt")
    with pytest.raises(UserError):
        load_model(tmp_path / "a.pt")


def test_a_card_that_cannot_be_read_keeps_no_other_model_away(expect_log: Callable[[str], None]) -> None:
    expect_log("a model of your own is left out: .*later.yaml")
    expect_log("a model of your own is left out: .*empty.yaml")
    folder = paths.data_home() / "models"
    folder.mkdir(parents=True)
    (folder / "later.yaml").write_text("schema_version: 99\n")
    (folder / "empty.yaml").write_text("")
    (folder / "._mine.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert cards() == shipped()
    assert card_of("general-small") is not None
    with pytest.raises(UserError):
        load_model("later")


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bad:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (marker,)

    for name, save in (("zip.pt", lambda f: torch.save({"a": Bad()}, f)), ("raw.pt", _raw_pickle(Bad()))):
        save(tmp_path / name)
        with pytest.raises(UserError, match=r"could run code|not a torch checkpoint"):
            load_model(tmp_path / name)
    assert not marker.exists()


def _raw_pickle(value: object):  # type: ignore[no-untyped-def]
    def save(file: Path) -> None:
        # A class local to a test does not pickle, its reduction does.
        function, arguments = value.__reduce__()  # type: ignore[misc]
        file.write_bytes(b"cposix\nsystem\n(S'touch " + str(arguments[0]).encode() + b"'\ntR.")
        assert function is Path.touch

    return save


def test_a_text_file_named_pt_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("hello")
    with pytest.raises(UserError, match=r"notes\.pt is not a torch checkpoint"):
        load_model(tmp_path / "notes.pt")


def test_a_checkpoint_of_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    torch.save({"layer1.conv.weight": torch.zeros(3)}, tmp_path / "resnet.pt")
    with pytest.raises(UserError, match=r"architecture this program does not know"):
        load_model(tmp_path / "resnet.pt")


def test_the_default_model_comes_first() -> None:
    assert cards()[0].id == "general-small"


def test_random_weights_follow_the_seed() -> None:
    one, two, other = (load_model("classic-small", "random", seed).net.state_dict() for seed in (4, 4, 5))
    key = "net.encoder.0.weight"
    assert torch.equal(one[key], two[key]) and not torch.equal(one[key], other[key])


def test_a_bundle_gives_the_same_model_and_passes_its_own_test(tmp_path: Path) -> None:
    model = load_model("monai-autoencoder", "random", 2)
    file = tmp_path / "model.aegui"
    bundle.save(file, model.card, model.net, recipes.load("denoise"), "epoch\n", {"train": ["ab"]})
    loaded = load_model(file)
    x = torch.rand(1, 1, 40, 40)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.net(x), model.net(x))
    assert bundle.self_test(file) < 1e-5
    assert loaded.recipe == recipes.load("denoise")


def test_a_bundle_with_changed_weights_is_refused(tmp_path: Path) -> None:
    import zipfile

    model = load_model("classic-small", "random")
    file = tmp_path / "model.aegui"
    bundle.save(file, model.card, model.net, recipes.load("denoise"), "", {})
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["weights.safetensors"] = content["weights.safetensors"][:-4] + b"\1\2\3\4"
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(UserError, match="changed or damaged"):
        load_model(file)


def test_a_bundle_that_was_damaged_in_copying_is_refused(tmp_path: Path) -> None:
    model = load_model("classic-small")
    path = tmp_path / "model.aegui"
    bundle.save(path, model.card, model.net, None, "", {})
    assert bundle.read(path).recipe is None
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        spoilt = bytearray(content)
        spoilt[rng.integers(30, 1200)] ^= 1 << rng.integers(8)  # in card.yaml
        path.write_bytes(spoilt)
        card_of(path)
        with suppress(UserError):
            bundle.read(path)


def test_a_bundle_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    model = load_model("classic-small", "random")
    file = tmp_path / "model.aegui"
    bundle.save(file, model.card, model.net, recipes.load("denoise"), "", {})
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match="not a model bundle"):
        load_model(file)


def test_an_empty_pickle_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.pt").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError):
        load_model(tmp_path / "list.pt")


def test_shipped_weights_are_small_and_do_reduce_noise() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96] / 96
    clean = (0.5 + 0.3 * np.sin(6 * x) * np.cos(5 * y)).astype(np.float32)
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)
    for card in cards():
        if card.weights is None:
            continue
        with torch.inference_mode():
            out = load_model(card.id).net(torch.from_numpy(noisy[None, None]), torch.tensor([0.1]))[0, 0].numpy()
        assert np.std(out - clean) < 0.7 * np.std(noisy - clean), card.id


def test_normalisation_layers_can_be_trained_alone_in_every_network() -> None:
    """In a process of its own: torch has crashed here."""
    words = """
import sys, torch
from aegui.models.slicenet import on
from aegui.models.zoo import load_model
net = on(torch.device("cpu"), load_model("monai-autoencoder-kl").net).train()
norms = [m for m in net.modules() if isinstance(m, torch.nn.GroupNorm)]
net.requires_grad_(False)
for norm in norms:
    norm.requires_grad_(True)
noisy = torch.rand(4, 1, 16, 16).contiguous(memory_format=torch.channels_last)
net.outputs(noisy, torch.zeros(4)).image.square().mean().backward()
assert norms and all(norm.weight.grad is not None for norm in norms)
"""
    subprocess.run([sys.executable, "-c", words], check=True, timeout=120)
