"""Repeated rows of a table brought together: their mean, their weight, and the noise they reveal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpmodel.space import Floats

# So many repeats tell the noise of seeds better than the scatter about a model does
_TELLING = 3.0


@dataclass(frozen=True)
class Groups:
    """Distinct configurations with what was seen of each.

    Parameters
    ----------
    X : shape (m, d), distinct rows in lexicographic order, so that the order of the table cannot matter
    y, weight : shape (m,), weighted mean of each, and its number of trainings: the sum of their weights
    within, freedom : sum of weighted squared deviations from the means, over all groups, and its degrees of
        freedom: trainings beyond the first of each configuration
    """

    X: Floats
    y: Floats
    weight: Floats
    within: float
    freedom: float

    def __len__(self) -> int:
        return len(self.y)

    def noise_of(self, scatter: float) -> float:
        """The part of a model's scatter that is noise of seeds: what repeats say, else all of it."""
        return float(np.sqrt(self.within / self.freedom)) if self.freedom >= _TELLING else scatter


def group(X: Floats, y: Floats, weight: Floats) -> Groups:
    """Bring equal rows of X, shape (n, d), together; rows of weight 0 are left out."""
    used = weight > 0
    X, y, weight = X[used], y[used], weight[used]
    distinct, index = np.unique(X, axis=0, return_inverse=True)
    # sums in a fixed order, so that a table's row order does not reach the last bit of the means
    order = np.lexsort((weight, y, index))
    index, y, weight = index[order], y[order], weight[order]
    total: Floats = np.bincount(index, weight).astype(np.float64)
    mean: Floats = np.bincount(index, weight * y) / total
    within = float(np.sum(weight * (y - mean[index]) ** 2))
    return Groups(distinct, mean, total, within, float(np.sum(np.maximum(total - 1.0, 0.0))))


def group_labels(X: Floats) -> NDArray[np.int64]:
    """The number of the distinct configuration that each row of X is, shape (n,)."""
    return np.unique(X, axis=0, return_inverse=True)[1].astype(np.int64)
