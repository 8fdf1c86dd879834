"""Cross-validated predictions of any precision model; repeats of a configuration stay in one fold."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.groups import group_labels
from cpmodel.surrogates.precision.model import PrecisionModel, relative_error
from cpmodel.surrogates.predictive import Predictive


@dataclass(frozen=True)
class CrossValidation:
    """What a model says of each row when it was fitted without that row's configuration.

    Parameters
    ----------
    measured, predicted, std, low, high : shape (n,)
        Precision as measured and predicted, the standard deviation of its mean over seeds, and the interval
        of `level` for one training.
    log_density : shape (n,)
        Log density of each measured precision; its mean is the log score.
    folds : number of folds
    """

    measured: Floats
    predicted: Floats
    std: Floats
    low: Floats
    high: Floats
    log_density: Floats
    level: float
    folds: int

    @property
    def relative_error(self) -> float:
        """Mean of |predicted - measured| / measured."""
        return relative_error(self.measured, self.predicted)

    @property
    def coverage(self) -> float:
        """Share of rows whose precision lies in its interval."""
        return float(np.mean((self.low <= self.measured) & (self.measured <= self.high)))

    @property
    def log_score(self) -> float:
        """Mean log density of the measured precisions; greater is better."""
        return float(np.mean(self.log_density))


def fold_numbers(X: Floats, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row of X, shape (n,): equal rows in one, whatever the order of the rows."""
    labels = group_labels(X)
    count = int(labels.max()) + 1
    order = np.random.default_rng(seed).permutation(count)
    of_label = np.empty(count, dtype=np.int64)
    of_label[order] = np.arange(count) % min(folds, count)
    return of_label[labels]


def held_out(
    model: PrecisionModel,
    X: Floats,
    y: Floats,
    weight: Floats,
    fold: NDArray[np.int64],
    begin_at: Floats | None = None,
) -> list[tuple[NDArray[np.bool_], Predictive]]:
    """For every fold, which rows it holds and the laws of a clone fitted to the others."""
    domain = np.stack([X.min(axis=0), X.max(axis=0)], axis=1) if model.domain is None else model.domain
    found = []
    for number in range(int(fold.max()) + 1):
        test = fold == number
        # the same domain in every fold: the scales of the parameters must not depend on who is left out
        part = clone(model).set_params(domain=domain)
        part._begin_at = begin_at
        with warnings.catch_warnings():
            # the warnings of the fit to all rows say it once
            warnings.simplefilter("ignore", FitWarning)
            found.append((test, part._foresee(X[~test], y[~test], weight[~test], X[test])))
    return found


def cross_validate(
    model: PrecisionModel,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    folds: int = 10,
    seed: int = 0,
    level: float = 0.9,
) -> CrossValidation:
    """Predict every row by clones of `model` fitted to the folds without its configuration.

    Raises
    ------
    BadInputError
        Fewer than 2 folds.
    FitError
        Fewer than 2 distinct configurations, or a fold that cannot be fitted.
    """
    X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if folds < 2:
        raise BadInputError("folds", expected="2 or more", got=folds)
    if X.ndim != 2 or len(np.unique(X, axis=0)) < 2:
        raise FitError("cross-validation: expected at least 2 distinct configurations")
    fold = fold_numbers(X, folds, seed)
    empty = np.full(len(y), np.nan)
    result = CrossValidation(
        y, empty, empty.copy(), empty.copy(), empty.copy(), empty.copy(), level, int(fold.max()) + 1
    )
    for test, law in held_out(model, X, y, weight, fold):
        result.predicted[test], result.std[test] = law.mean(), law.std()
        result.low[test], result.high[test] = law.interval(level)
        result.log_density[test] = law.log_density(y[test])
    return replace(result)
