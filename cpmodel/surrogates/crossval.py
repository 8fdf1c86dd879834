"""Cross-validation of any model of a table; repeats of a configuration are left out together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.estimator import TableModel, relative_error
from cpmodel.surrogates.groups import group_labels


def fold_numbers(
    X: Floats, folds: int, seed: int, *, singly: bool = False, turned: bool = False
) -> NDArray[np.int64]:
    """The fold of each row of X, shape (n,): equal rows in one, whatever the order of the rows.

    `singly` gives each configuration its own where they are fewer than two a fold; `turned` deals inversely.
    """
    labels = group_labels(X)
    count = int(labels.max(initial=-1)) + 1
    folds = count if singly and count < 2 * folds else min(folds, count)
    order = np.random.default_rng(seed).permutation(count)
    place = order if turned else np.argsort(order)
    return np.asarray((place % max(folds, 1))[labels], dtype=np.int64)


def left_out(
    model: TableModel,
    X: Floats,
    y: Floats,
    weight: Floats,
    fold: NDArray[np.int64],
    begin_at: Floats | None = None,
) -> list[tuple[NDArray[np.bool_], Any]]:
    """For every fold, which rows it holds, and what a clone fitted to all others says of them.

    Folds are numbers from 0; a row below is in none. Each clone's search starts at `begin_at`.
    """
    found = []
    for number in range(int(fold.max()) + 1):
        test = fold == number
        rest = ~test & (weight > 0)
        part = clone(model).set_params(**model._settled(X))
        part._begin_at, part.n_features_in_ = begin_at, X.shape[1]
        with warnings.catch_warnings():
            # the warnings of the fit to all rows say it once
            warnings.simplefilter("ignore", FitWarning)
            part._learn(X[rest], y[rest], weight[rest])
            found.append((test, part._said(X[test])))
    return found


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What a precision model says of each row, shape (n,), fitted without that row's configuration.

    `low` and `high` are the ends of an interval for one training.
    """

    measured: Floats
    predicted: Floats
    low: Floats
    high: Floats
    folds: int

    @property
    def relative_error(self) -> float:
        """Mean of |predicted - measured| / measured."""
        return relative_error(self.measured, self.predicted)


def cross_validate(
    model: TableModel,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    folds: int = 10,
    seed: int = 0,
    level: float = 0.9,
) -> CrossValidation:
    """Predict every row by clones of a precision model, fitted to the folds without its configuration."""
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if folds < 2:
        raise BadInputError("folds", expected="2 or more", got=folds)
    if X.ndim != 2 or len(np.unique(X, axis=0)) < 2:
        raise FitError("cross-validation: expected at least 2 distinct configurations")
    fold = fold_numbers(X, folds, seed)
    predicted, low, high = np.empty((3, len(y)))
    for test, law in left_out(model, X, y, weight, fold):
        predicted[test] = law.mean()
        low[test], high[test] = law.interval(level)
    return CrossValidation(y, predicted, low, high, int(fold.max()) + 1)
