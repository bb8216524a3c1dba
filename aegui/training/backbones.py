"""Frozen networks whose features can be compared, where somebody installed them; nothing is ever downloaded.

No torch here: forms ask before training starts.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from aegui.recipes.losses import Perceptual

LPIPS_SMALLEST = 32  # px: AlexNet's strides leave nothing of less
_ALEXNET = "alexnet-owt-7be5be79.pth"
_RADIMAGENET = "RadImageNet-ResNet50_notop.pth"
_RADIMAGENET_CODE = "Project-MONAI_perceptual-models_main"


def hub() -> Path:
    """Where torch.hub keeps weights, as torch says it."""
    home = os.environ.get("TORCH_HOME")
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return (Path(home) if home else Path(cache) / "torch").expanduser() / "hub"


def missing(part: Perceptual) -> list[str]:
    """What has to be installed for the features of a perceptual term: packages, then files."""
    if part.features == "own":
        return []
    folder = hub()
    if part.features == "lpips":
        packages, files = ["lpips", "torchvision"], [folder / "checkpoints" / _ALEXNET]
    else:
        packages, files = ["huggingface_hub"], [folder / _RADIMAGENET_CODE / "hubconf.py", folder / _RADIMAGENET]
    absent = [f"the package {name}" for name in packages if importlib.util.find_spec(name) is None]
    return absent + [f"the file {file}" for file in files if not file.is_file()]


def available(part: Perceptual) -> str:
    """Why the features of a perceptual term cannot be had, or ""."""
    absent = missing(part)
    return f"{'LPIPS' if part.features == 'lpips' else 'RadImageNet'} is not installed here." if absent else ""
