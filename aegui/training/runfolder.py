"""A run's folder: what it was asked, where it stands, its curves, its best weights."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aegui import paths
from aegui.errors import UserError


class RunFolder:
    """Files of a run. Everything that is replaced is replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "last.pt"
        self.best = folder / "best.safetensors"
        self.metrics = folder / "metrics.csv"
        self.steps = folder / "steps.csv"
        self.recipe = folder / "recipe.yaml"
        self.bundle = folder / "model.aegui"
        self.summary = folder / "run.json"
        self._key = folder / "split.key"
        self.kept = folder / "epochs"
        self.cache = folder / "cache"

    def open(self, resume: bool) -> bool:
        """Make the folder; True if there is a state to go on from."""
        paths.require_writable(self.folder, "run folder")
        if self.state.exists() and not resume:
            raise UserError(
                f"The folder {self.folder.name} already holds a run.", "Resume it, or choose another run folder."
            )
        return self.state.exists()

    def forget_best(self) -> None:
        """Remove the best weights of an older run, which a fresh one would take for its own."""
        self.best.unlink(missing_ok=True)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Where the run stands."""
        content = io.BytesIO()  # torch's own writer tells of a full disk in words of its own
        torch.save(dict(state), content)
        with paths.atomic(self.state) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_state(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001 - torch raises many kinds for a damaged file
            raise UserError(f"The checkpoint {self.state} is damaged.", f"Start a new run. ({error})") from None
        return state

    def save_best(self, weights: Mapping[str, torch.Tensor]) -> None:
        """The best weights so far."""
        self._save_weights(self.best, weights)

    def _save_weights(self, path: Path, weights: Mapping[str, torch.Tensor]) -> None:
        from safetensors.torch import save

        content = save({k: v.detach().cpu().contiguous() for k, v in weights.items()})
        with paths.atomic(path) as temporary:
            temporary.write_bytes(content)

    def keep(self, epoch: int, weights: Mapping[str, torch.Tensor]) -> None:
        """The weights of an epoch, besides the best."""
        self.kept.mkdir(exist_ok=True)
        self._save_weights(self.kept / f"epoch-{epoch:04d}.safetensors", weights)

    def load_best(self) -> dict[str, torch.Tensor]:
        """The best weights so far."""
        from safetensors.torch import load_file

        return dict(load_file(self.best))

    def write_text(self, path: Path, text: str) -> None:
        """Atomically."""
        with paths.atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def split_hashes(self, parts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """part → salted hashes of slice names. The key stays in this folder."""
        if not self._key.exists():
            self.write_text(self._key, secrets.token_hex(32))
        return {part: self.hashes(names) for part, names in parts.items()}

    def hashes(self, names: Iterable[str]) -> list[str]:
        """Those of slice names, with this folder's key. OSError or ValueError without one."""
        key = bytes.fromhex(self._key.read_text(encoding="ascii"))
        return [hmac.new(key, name.encode(), hashlib.sha256).hexdigest() for name in names]

    def summarise(self, values: Mapping[str, Any]) -> None:
        """run.json: what the run was and how it ended."""
        self.write_text(self.summary, json.dumps(values, indent=1, allow_nan=False))

    def clear_cache(self) -> None:
        """Remove what can be made again."""
        shutil.rmtree(self.cache, ignore_errors=True)


class Table:
    """A CSV that grows a row at a time and can be cut back to a checkpoint."""

    def __init__(self, path: Path, columns: Sequence[str], keep: int) -> None:
        self.path = path
        self.columns = list(columns)
        rows: list[list[str]] = []
        if keep and path.exists():
            with path.open(newline="", encoding="utf-8") as handle:
                rows = list(csv.reader(handle))[1 : keep + 1]
        with paths.atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([self.columns, *rows])
        self._handle = path.open("a", newline="", encoding="utf-8")

    def append(self, values: Mapping[str, Any]) -> None:
        """Numbers in full precision; absent columns stay empty."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\r\n").writerow(
            [repr(v) if isinstance(v := values.get(name, ""), float) else v for name in self.columns]
        )
        self._handle.write(buffer.getvalue())

    def flush(self) -> None:
        """To disk."""
        self._handle.flush()

    def close(self) -> None:
        """Release the file."""
        self._handle.close()
