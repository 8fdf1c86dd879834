"""Complexity models C(T): the interface of the models.

A table of complexities has a row for each measured configuration. Its columns are amounts of work
(`cpmodel.families.Family.costs`: multiply-accumulates, weights, activations, ...), the raw parameters, or
both; a column's name tells which.
"""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.heldout import errors
from cpmodel.surrogates.precision.model import Coefficient

_HOMES = {
    "auto": "cpmodel.surrogates.complexity.auto:AutoComplexity",
    "eq1": "cpmodel.surrogates.complexity.work:Eq1",
    "linear": "cpmodel.surrogates.complexity.work:LinearWork",
    "power": "cpmodel.surrogates.complexity.work:PowerLaw",
    "steps": "cpmodel.surrogates.complexity.steps:WorkSteps",
}
_WORK = frozenset({"macs", "params", "layers", "maps", "pixels"})
_WORK_ENDINGS = ("_macs", "_params", "_bytes", "_elements", "_layers", "_maps", "_pixels")
# Columns that say nothing beyond others: each is left out where all of those are there
_REPEATED = {
    "macs": ("conv_macs", "dense_macs"),
    "weight_bytes": ("params",),
    "activation_peak_elements": ("activation_elements",),
}


def is_work(name: str) -> bool:
    """Whether a column of this name is an amount of work, rather than a raw parameter.

    >>> is_work("conv_macs"), is_work("f")
    (True, False)
    """
    return name in _WORK or name.endswith(_WORK_ENDINGS)


class ComplexityModel(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base of the complexity models C(T).

    Parameters
    ----------
    names : sequence of str, optional
        Names of the columns; a data frame brings its own.
    categorical : sequence of str
        Columns of raw parameters whose numbers are codes without order.

    Attributes
    ----------
    coefficients_ : tuple of Coefficient
        Of the readable part of the model; the unit is that of the complexity over that of the column.
    relative_error_, within_10_ : float
        On the rows it was fitted to: mean of |predicted - measured| / measured, and the share of rows for
        which that is 0.1 or less.
    n_features_in_ : int

    Notes
    -----
    Rows count by their relative error unless a model says otherwise: a run-time of 0.1 ms matters as much
    as one of 10 ms. A table without any names is taken as amounts of work by the models of work, and as raw
    parameters by the others. Predictions are never negative.
    """

    name: ClassVar[str]
    _reads_work: ClassVar[bool] = True

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    coefficients_: tuple[Coefficient, ...]
    relative_error_: float
    within_10_: float

    def __init__(self, *, names: Sequence[str] | None = None, categorical: Sequence[str] = ()) -> None:
        self.names = names
        self.categorical = categorical

    # ---- what a subclass provides

    @abstractmethod
    def _fit(self, X: Floats, c: Floats, weight: Floats) -> None:
        """Learn from rows of weight above 0; set `coefficients_`."""

    @abstractmethod
    def _mean(self, X: Floats) -> Floats:
        """Predictions for rows of X."""

    @abstractmethod
    def _std(self, X: Floats, mean: Floats) -> Floats:
        """Standard deviations of the predictions `mean`."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What `_restore` needs, JSON-ready."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """Become the fitted model whose `_state` this is."""

    # ---- fitting and predicting

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to measured complexities.

        Parameters
        ----------
        X : shape (n, d)
            Data frame or array: amounts of work (0 or more) and raw parameters, finite.
        y : shape (n,)
            Complexity of each row, any unit, above 0.
        sample_weight : shape (n,), not negative, optional
            A weight w stands for w equal rows.

        Raises
        ------
        FitError
            Not numbers, not finite, not of these shapes, out of these ranges, or columns the model needs
            are not there.
        """
        try:
            valid: tuple[Any, Any] = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
            given = _check_sample_weight(sample_weight, valid[0], dtype=np.float64, ensure_non_negative=True)
        except ValueError as error:
            raise FitError(str(error)) from error
        rows, c = (np.asarray(part, dtype=np.float64) for part in valid)
        weight = np.asarray(given, dtype=np.float64)
        if self.names is not None and len(self.names) != rows.shape[1]:
            raise FitError(f"names: expected {rows.shape[1]}, one a column, got {len(self.names)}")
        if not np.all(c > 0):
            raise FitError(f"complexity: expected numbers above 0, got {c.min():g}")
        for column in self._work() if self._reads_work else ():
            least, title = rows[:, column].min(), self._columns()[column]
            if least < 0:
                raise FitError(
                    f"Negative values in data: column '{title}': expected 0 or more, got {least:g}"
                )
        used = weight > 0
        rows, c, weight = rows[used], c[used], weight[used]
        self._fit(rows, c, weight)
        self.relative_error_, self.within_10_ = errors(c, self._mean(rows), weight)
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Expected complexity of the rows of X, 0 or more.

        Returns
        -------
        complexity : shape (n,)
        std : shape (n,), only if `return_std`
            Standard deviation of a measured complexity about the predicted one.
        """
        check_is_fitted(self)
        rows = np.asarray(validate_data(self, X, dtype=np.float64, reset=False))
        mean = self._mean(rows)
        return (mean, self._std(rows, mean)) if return_std else mean

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.input_tags.positive_only = self._reads_work
        return tags

    def _warn(self, message: str) -> None:
        warnings.warn(f"complexity model {self.name}: {message}", FitWarning, stacklevel=4)

    def _check_few(self, weight: Floats) -> None:
        """Warn of fewer than twice as many rows as coefficients."""
        count = len(self.coefficients_)
        if weight.sum() < 2 * count:
            self._warn(f"{weight.sum():g} rows for {count} coefficients; measure {2 * count} or more")

    # ---- columns

    def _columns(self) -> tuple[str, ...]:
        if hasattr(self, "feature_names_in_"):
            return tuple(map(str, self.feature_names_in_))
        if self.names is not None:
            return tuple(self.names)
        return tuple(f"x{index}" for index in range(self.n_features_in_))

    def _named(self) -> bool:
        return self.names is not None or hasattr(self, "feature_names_in_")

    def _work(self) -> list[int]:
        """Indexes of the amounts of work that say something of their own."""
        columns = self._columns()
        if not self._named():
            return list(range(len(columns)))
        return [
            index
            for index, name in enumerate(columns)
            if is_work(name) and not (name in _REPEATED and set(_REPEATED[name]) <= set(columns))
        ]

    def _parameters(self) -> list[int]:
        """Indexes of the raw parameters."""
        columns = self._columns()
        return [index for index, name in enumerate(columns) if not self._named() or not is_work(name)]

    # ---- saving

    def to_dict(self) -> dict[str, Any]:
        """The fitted model, JSON-ready and readable; `load_complexity` gives one that predicts the same."""
        check_is_fitted(self)
        return {
            "model": self.name,
            "parameters": {key: _plain(value) for key, value in self.get_params(deep=False).items()},
            "columns": list(self._columns()),
            "named": hasattr(self, "feature_names_in_"),
            "relative_error": self.relative_error_,
            "within_10": self.within_10_,
            "coefficients": [asdict(coefficient) for coefficient in self.coefficients_],
            "state": self._state(),
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """The model that `to_dict` described.

        Raises
        ------
        BadInputError
            The description is not one of this kind of model.
        """
        if description.get("model") != cls.name:
            raise BadInputError("complexity model", expected=cls.name, got=description.get("model"))
        try:
            model = cls(**description["parameters"])
            model.n_features_in_ = len(description["columns"])
            if description["named"]:
                model.feature_names_in_ = np.array(description["columns"], dtype=object)
            model.relative_error_ = float(description["relative_error"])
            model.within_10_ = float(description["within_10"])
            model.coefficients_ = tuple(Coefficient(**row) for row in description["coefficients"])
            model._restore(description["state"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadInputError(f"complexity model {cls.name}: {error!r}", expected="a saved fit") from error
        return model


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def complexity_models() -> tuple[str, ...]:
    """Names of the complexity models."""
    return tuple(sorted(_HOMES))


def complexity_class(name: str) -> type[ComplexityModel]:
    """The class of the complexity model `name`.

    Raises
    ------
    BadInputError
        No model has this name.
    """
    if name not in _HOMES:
        raise BadInputError("complexity model", expected=f"one of {', '.join(complexity_models())}", got=name)
    module, _, attribute = _HOMES[name].partition(":")
    found: type[ComplexityModel] = getattr(importlib.import_module(module), attribute)
    return found


def load_complexity(description: Mapping[str, Any]) -> ComplexityModel:
    """The fitted complexity model that `to_dict` described, whichever it is.

    Raises
    ------
    BadInputError
        The description is not one of a fitted complexity model.
    """
    if not isinstance(description, Mapping) or "model" not in description:
        raise BadInputError("complexity model", expected="a saved fit", got=type(description).__name__)
    return complexity_class(str(description["model"])).from_dict(description)
