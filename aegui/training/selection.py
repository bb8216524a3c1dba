"""Which epoch is the best one, and when there is nothing more to gain. Never judged by the training loss."""

from __future__ import annotations

from aegui.recipes import Recipe
from aegui.training.standing import Best, Standing
from aegui.training.validation import Scores

_UNITS = {"psnr": " dB"}


class Selection:
    """What picks the best epoch. classes: how many the validation slices show. score: what their PSNR is, in words."""

    def __init__(self, recipe: Recipe, classes: int, score: str) -> None:
        self._recipe, self._score = recipe, score
        self.warning = ""
        metric = recipe.stopping.metric
        if metric == "auto":
            metric = "loss" if recipe.needs_labels else "psnr"
        wanted = {"accuracy": 1, "auc": 2}.get(metric, 0)
        if classes < wanted:
            few = "no validation slice has a label" if not classes else "validation slices are all of one class"
            self.warning = f"The best epoch is chosen by the loss, as {few}."
            metric = "loss"
        self.metric = metric

    @property
    def words(self) -> str:
        """For people: "validation PSNR", "held-out pixels"."""
        if self.metric == "psnr":
            return self._score
        names = {"ssim": "SSIM", "auc": "AUC"}
        return f"validation {names.get(self.metric, self.metric)}"

    def value(self, scores: Scores) -> float:
        """Higher is better."""
        if self.metric == "loss":
            # With the weights as they stand in the recipe: weights that change, and a discriminator that learns,
            # would make epochs incomparable.
            terms = (t for t in self._recipe.losses if t.name != "adversarial")
            return -sum(term.weight * scores.terms[term.name] for term in terms)
        found = {"psnr": scores.psnr, "ssim": scores.ssim, "accuracy": scores.accuracy, "auc": scores.auc}[self.metric]
        return -float("inf") if found is None else found

    def judge(self, at: Standing, epoch: int, scores: Scores) -> bool:
        """Note the epoch's scores; True if it is the best so far."""
        value = self.value(scores)
        if at.gained == -float("inf") or value - at.gained > self._recipe.stopping.min_gain:
            at.gained, at.gained_epoch = value, epoch
        if not value > at.best.value:
            return False
        at.best = Best(value, epoch, scores.psnr, scores.ssim)
        return True

    def exhausted(self, at: Standing) -> str:
        """Why the run should end after the epochs that are done; "" to go on."""
        stopping = self._recipe.stopping
        waited = at.epoch - at.gained_epoch
        if stopping.patience is None or waited < stopping.patience or at.epoch < stopping.min_epochs:
            return ""
        gain = f" of more than {stopping.min_gain:g}{_UNITS.get(self.metric, '')}" if stopping.min_gain else ""
        epochs = "epoch" if waited == 1 else "epochs"
        return f"Stopped early after epoch {at.epoch}: no gain{gain} for {waited} {epochs} ({self.words})"
