"""Relative errors of a complexity model, on the rows it was fitted to and on rows it has not seen."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone

from cpmodel.errors import FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.groups import group_labels

_FOLDS = 10


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
