"""How well scores tell classes apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegui.measure.scores import Array


def auc(scores: Array, labels: npt.NDArray[np.integer]) -> float | None:
    """Macro area under the ROC curve: the mean over classes, each against the rest; None where none can be told.

    The area is the chance that a sample of the class scores higher than another one, ties counting half (the
    Mann–Whitney statistic). scores: (n, classes). labels: (n,), −1 unknown. Classes that all or none of the samples
    belong to are left out.
    """
    known = labels >= 0
    scores, labels = scores[known], labels[known]
    areas = []
    for k in range(scores.shape[1]):
        inside = labels == k
        n, others = int(inside.sum()), int((~inside).sum())
        if n and others:
            _, place, counts = np.unique(scores[:, k], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # from 1; equal scores share their mean rank
            areas.append((ranks[inside].sum() - n * (n + 1) / 2) / (n * others))
    return float(np.mean(areas)) if areas else None
