"""What the training plots show: one row per epoch, as in metrics.csv, and thinned-out steps."""

from __future__ import annotations

import csv
from pathlib import Path

from aegui.events import Epoch, Started, Step

MOST = 4000  # step points kept; beyond, neighbours are merged and the larger gradient stays
LARGEST = 30_000_000  # bytes of a steps.csv that is still read on resume


class Curves:
    """Columns named as in the run's files. epochs: column → one value per finished epoch."""

    def __init__(self) -> None:
        self.planned = 1
        self.steps_per_epoch = 1
        self.clip: float | None = None
        self.epochs: dict[str, list[float]] = {"epoch": []}
        self.steps: dict[str, list[float]] = {"x": [], "grad_norm": []}
        self.best_epoch = 0

    def start(self, event: Started, run: Path | None = None) -> None:
        """A run begins or goes on; what it already wrote is read from its folder."""
        self.__init__()  # type: ignore[misc]
        self.planned, self.steps_per_epoch, self.clip = event.epochs, event.steps_per_epoch, event.clip
        if run is not None and (event.epoch or event.step):
            self._load(run)

    def _load(self, run: Path) -> None:
        for row in _rows(run / "metrics.csv"):
            if int(row.pop("best", 0)):
                self.best_epoch = int(row["epoch"])
            row.pop("seconds", None)
            self._append(self.epochs, row)
        for row in _rows(run / "steps.csv"):
            x = row["epoch"] - 1 + row["step"] / self.steps_per_epoch
            rates = {name: value for name, value in row.items() if name.startswith("lr_")}
            self._append(self.steps, {"x": x, "grad_norm": row["grad_norm"], **rates})
            self._thin()

    def add_step(self, event: Step) -> None:
        x = event.epoch - 1 + event.step / self.steps_per_epoch
        rates = {f"lr_{name}": value for name, value in event.lr.items()}
        self._append(self.steps, {"x": x, "grad_norm": event.grad_norm, **rates})
        self._thin()

    def add_epoch(self, event: Epoch) -> None:
        values: dict[str, float] = {"epoch": event.epoch, "psnr": event.psnr, "ssim": event.ssim}
        values |= {f"train_{name}": value for name, value in event.train.items()}
        values |= {f"val_{name}": value for name, value in event.val.items()}
        values |= {f"lr_{name}": value for name, value in event.lr.items()}
        if event.accuracy is not None:
            values["accuracy"] = event.accuracy
        self._append(self.epochs, values)
        self.best_epoch = event.best_epoch

    @property
    def terms(self) -> list[str]:
        """The loss terms, in the order of the recipe."""
        names = (name.removeprefix("val_") for name in self.epochs if name.startswith("val_"))
        return [name for name in names if name != "loss"]

    @property
    def groups(self) -> list[str]:
        return [name.removeprefix("lr_") for name in self.steps if name.startswith("lr_")]

    def best(self, column: str) -> float | None:
        """A column's value at the best epoch; None before the first."""
        if self.best_epoch in self.epochs["epoch"]:
            return self.epochs[column][self.epochs["epoch"].index(self.best_epoch)]
        return None

    @staticmethod
    def _append(table: dict[str, list[float]], values: dict[str, float]) -> None:
        before = max((len(column) for column in table.values()), default=0)
        for name, value in values.items():
            # A column that appears late starts with gaps.
            table.setdefault(name, [float("nan")] * before).append(value)
        for name in table.keys() - values.keys():
            table[name].append(float("nan"))

    def _thin(self) -> None:
        count = len(self.steps["x"])
        if count <= MOST:
            return
        norms = self.steps["grad_norm"]
        keep = [i if i + 1 == count or norms[i] >= norms[i + 1] else i + 1 for i in range(0, count, 2)]
        self.steps = {name: [column[i] for i in keep] for name, column in self.steps.items()}


def _rows(file: Path) -> list[dict[str, float]]:
    try:
        if file.stat().st_size > LARGEST:
            return []
        with file.open(newline="", encoding="utf-8") as handle:
            return [{k: float(v) for k, v in row.items() if v not in ("", None)} for row in csv.DictReader(handle)]
    except (OSError, ValueError):
        return []
