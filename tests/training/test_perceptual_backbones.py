"""LPIPS and RadImageNet: used where somebody installed them, refused in plain words elsewhere, never fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from aegui.errors import UserError
from aegui.recipes.losses import Perceptual
from aegui.training import backbones
from tests.training.looks import image, seen, term

OUTPUT, TARGET = image(side=64, noise=0.1), image(side=64)
NETWORK = """
dependencies = ["torch"]

def radimagenet_resnet50(cache_dir=None):
    from torch import nn
    return nn.Conv2d(3, 4, 3, stride=2)
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of torch.hub, and every package that weights need."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    find = backbones.importlib.util.find_spec
    needed = ("lpips", "torchvision", "huggingface_hub")
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda name: find("json" if name in needed else name))
    return tmp_path / "torch" / "hub"


def test_the_folder_is_where_torch_looks(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backbones.hub() == hub == Path(torch.hub.get_dir())
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(hub))
    assert backbones.hub() == Path(torch.hub.get_dir())


@pytest.mark.parametrize("features", ["lpips", "radimagenet"])
def test_what_is_missing_is_named_and_nothing_is_fetched(
    features: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda name: None)
    part = Perceptual(features=features)
    assert "not installed" in backbones.available(part)
    with pytest.raises(UserError, match="is not installed here") as raised:
        term(part)
    package = "lpips" if features == "lpips" else "huggingface_hub"
    assert f"the package {package}" in raised.value.hint and str(tmp_path) in raised.value.hint
    assert backbones.available(Perceptual()) == ""


def test_radimagenet_is_used_from_torch_s_own_folder(hub: Path) -> None:
    part = Perceptual(features="radimagenet")
    assert backbones.available(part)
    code = hub / "Project-MONAI_perceptual-models_main"
    code.mkdir(parents=True)
    (code / "hubconf.py").write_text(NETWORK)
    (hub / "RadImageNet-ResNet50_notop.pth").touch()
    assert backbones.available(part) == ""
    output = OUTPUT.clone().requires_grad_()
    compare = term(part)
    loss = compare(seen(output, TARGET))
    loss.backward()
    assert loss > 0 and output.grad.any()
    assert float(compare(seen(TARGET, TARGET))) == 0


def test_lpips_is_given_pictures_from_minus_1_to_1(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[torch.Tensor] = []

    class Stand(nn.Module):
        def __init__(self, pretrained: bool, net: str, verbose: bool) -> None:
            super().__init__()
            assert pretrained and net == "alex"

        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            shown.extend((one, other))
            return (one - other).square().mean(dim=(1, 2, 3), keepdim=True)

    monkeypatch.setattr("monai.losses.perceptual.LPIPS", Stand)
    (hub / "checkpoints").mkdir(parents=True)
    (hub / "checkpoints" / "alexnet-owt-7be5be79.pth").touch()
    term(Perceptual(features="lpips"))(seen(OUTPUT, TARGET))
    torch.testing.assert_close(shown[0], 2 * OUTPUT - 1)
    torch.testing.assert_close(shown[1], 2 * TARGET - 1)
