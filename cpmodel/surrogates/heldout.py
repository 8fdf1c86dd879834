"""Relative errors of a complexity model, on the rows it was fitted to and on rows it has not seen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from cpmodel.errors import FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.groups import group_labels

_FOLDS = 10
# How many configurations the paper keeps apart to judge its models by
HELD_OUT = 50


def errors(measured: Floats, predicted: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """Mean of |predicted - measured| / measured, and the share of rows where that is 0.1 or less."""
    relative = np.abs(predicted - measured) / measured
    return float(np.average(relative, weights=weight)), float(np.average(relative <= 0.1, weights=weight))


def held_out(
    model: Any,
    X: Any,
    c: Floats,
    *,
    weight: Floats | None = None,
    folds: int = _FOLDS,
    seed: int = 0,
) -> Floats:
    """Prediction of each row by a model that has not seen its configuration; shape (n,).

    Parameters
    ----------
    X : shape (n, d)
        Data frame or array; equal rows are always left out together.
    folds : int
        Parts that are left out in turn; one configuration each where there are fewer than twice as many.

    Raises
    ------
    FitError
        Fewer than 3 configurations.
    """
    labels = group_labels(np.asarray(X, dtype=np.float64))
    count = int(labels.max(initial=-1)) + 1
    if count < 3:
        raise FitError(f"cross-validation: expected 3 different configurations or more, got {count}")
    parts = count if count < 2 * folds else folds
    part = np.random.default_rng(seed).permutation(count)[labels] % parts
    predicted = np.empty(len(c))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # said once, of the whole table
        for fold in range(parts):
            out = part == fold
            rows = X.iloc[~out] if hasattr(X, "iloc") else X[~out]
            rest = X.iloc[out] if hasattr(X, "iloc") else X[out]
            fitted = clone(model).fit(rows, c[~out], None if weight is None else weight[~out])
            predicted[out] = fitted.predict(rest)
    return predicted


@dataclass(frozen=True, eq=False)
class Apart:
    """What a model says of configurations that were kept apart at random, fitted to all others.

    Parameters
    ----------
    rows : shape (n,), bool
        Which rows were kept apart.
    predicted : shape (n,)
        Their predictions; NaN elsewhere.
    relative_error, within_10 : mean relative error of those, and their share with 0.1 or less
    """

    rows: NDArray[np.bool_]
    predicted: Floats
    relative_error: float
    within_10: float


def kept_apart(model: Any, X: Any, c: Floats, *, count: int = HELD_OUT, seed: int = 0) -> Apart | None:
    """Judge a model by `count` random configurations; None where fewer than as many would be left to fit.

    Parameters
    ----------
    X : shape (n, d)
        Data frame or array; equal rows are one configuration.
    """
    labels = group_labels(np.asarray(X, dtype=np.float64))
    configurations = int(labels.max(initial=-1)) + 1
    if configurations < 2 * count:
        return None
    rows = np.isin(labels, np.random.default_rng(seed).permutation(configurations)[:count])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # said once, of the whole table
        fitted = clone(model).fit(X.iloc[~rows] if hasattr(X, "iloc") else X[~rows], c[~rows])
    predicted = np.full(len(c), np.nan)
    predicted[rows] = fitted.predict(X.iloc[rows] if hasattr(X, "iloc") else X[rows])
    return Apart(rows, predicted, *errors(c[rows], predicted[rows]))
