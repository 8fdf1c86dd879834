"""C(T) fitted to measured complexities, with its errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from cpmodel import codec
from cpmodel.errors import FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.complexity.auto import foreseen
from cpmodel.surrogates.complexity.model import ComplexityModel, complexity_class, errors
from cpmodel.surrogates.crossval import left_out
from cpmodel.surrogates.groups import group_labels

# How many configurations the paper keeps apart to judge its models by
HELD_OUT = 50


@dataclass(frozen=True, eq=False)
class Apart:
    """What a model says of rows, shape (n,), kept apart at random, fitted to all others; NaN elsewhere."""

    rows: NDArray[np.bool_]
    predicted: Floats
    relative_error: float
    within_10: float


def kept_apart(model: ComplexityModel, X: Floats, c: Floats, *, count: int = HELD_OUT) -> Apart | None:
    """Judge a model by `count` random configurations; None where fewer than as many would be left to fit."""
    labels = group_labels(X)
    configurations = int(labels.max(initial=-1)) + 1
    if configurations < 2 * count:
        return None
    rows = np.isin(labels, np.random.default_rng(0).permutation(configurations)[:count])
    [(_, said)] = left_out(model, X, c, np.ones(len(c)), np.where(rows, 0, -1))
    predicted = np.full(len(c), np.nan)
    predicted[rows] = said
    return Apart(rows, predicted, *errors(c[rows], said))


@dataclass(frozen=True, eq=False)
class ComplexityFit:
    """A fitted C(T) and how far it can be trusted.

    Parameters
    ----------
    name : of the model that was asked for
    relative_error, within_10 : mean of |predicted - measured| / measured, and share of rows within 10 %
    cv_relative_error, cv_within_10 : the same on rows it had not seen, by cross-validation
    measured, predicted : shape (n,), the latter by cross-validation; NaN with fewer than 3 configurations
    why : why this model was chosen, in a sentence; empty when it was asked for
    warnings : what the data cannot support
    apart : how it did on 50 random configurations when fitted to the others, where there are 100 or more
    """

    name: str
    model: ComplexityModel
    relative_error: float
    within_10: float
    cv_relative_error: float
    cv_within_10: float
    measured: Floats
    predicted: Floats
    why: str
    warnings: tuple[str, ...]
    apart: Apart | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the errors (None where they could not be told) and the model itself."""
        told = ("why", "relative_error", "within_10", "cv_relative_error", "cv_within_10", "warnings")
        description = {"model": self.name, **codec.dump({name: getattr(self, name) for name in told})}
        held_out = None
        if (apart := self.apart) is not None:
            rows = int(apart.rows.sum())
            held_out = {"rows": rows, "relative_error": apart.relative_error, "within_10": apart.within_10}
        return {**description, "held_out": held_out, "fit": self.model.to_dict()}


def fit_complexity(
    X: Any,
    c: ArrayLike,
    name: str = "auto",
    *,
    categorical: Sequence[str] | Mapping[str, Sequence[float]] = (),
) -> ComplexityFit:
    """C(T) of measured configurations.

    Parameters
    ----------
    X : data frame of n rows: amounts of work, raw parameters, or (best) both, under their names
    c : shape (n,), measured complexity, above 0
    name, categorical : one of `complexity_models`, and its codes, best all there are
    """
    measured = np.asarray(c, dtype=np.float64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FitWarning)
        model = complexity_class(name)(categorical=categorical).fit(X, measured)
    said = tuple(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, FitWarning)))
    rows, new = np.asarray(X, dtype=np.float64), clone(model)
    if model._named():
        new.set_params(names=list(model._column_names()))
    predicted = getattr(model, "cv_predicted_", None)
    unseen = (float("nan"), float("nan"))
    if predicted is None:
        predicted = np.full(len(measured), np.nan)
        with suppress(FitError):
            predicted = foreseen(new, rows, measured, np.ones(len(measured)))
    if np.isfinite(predicted).all():
        unseen = errors(measured, predicted)
    why, apart = str(getattr(model, "report_", "")), kept_apart(new, rows, measured)
    seen = (model.relative_error_, model.within_10_)
    return ComplexityFit(name, model, *seen, *unseen, measured, predicted, why, said, apart)
