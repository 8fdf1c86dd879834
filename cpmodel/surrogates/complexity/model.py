"""The interface of the complexity models C(T).

A table of complexities has a row for each measured configuration. Its columns are amounts of work
(`cpmodel.families.Family.costs`: multiply-accumulates, weights, activations, ...), the raw parameters, or
both; a column's name tells which.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.errors import BadInputError, FitError
from cpmodel.space import Floats
from cpmodel.surrogates.estimator import TableModel, described_name

# Where the model of each name is defined: loading one needs none of the others
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


def errors(measured: Floats, predicted: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """Mean of |predicted - measured| / measured, and the share of rows where that is 0.1 or less."""
    relative = np.abs(predicted - measured) / measured
    return float(np.average(relative, weights=weight)), float(np.average(relative <= 0.1, weights=weight))


class ComplexityModel(TableModel):
    """Base of the complexity models C(T).

    Parameters
    ----------
    names : names of the columns, or None; a data frame brings its own
    categorical : names of the raw parameters whose numbers are codes without order, or their codes by name
        Declared codes keep the model the same where rows lack some; else the codes in the rows count.

    Attributes
    ----------
    coefficients_ : tuple of Coefficient
        Of the readable part of the model; the unit is that of the complexity over that of the column.
    relative_error_, within_10_ : `errors` on the rows it was fitted to

    Notes
    -----
    Rows count by their relative error unless a model says otherwise: a run-time of 0.1 ms matters as much
    as one of 10 ms. A table without any names is taken as amounts of work by the models of work, and as raw
    parameters by the others. Predictions are never negative.
    """

    kind: ClassVar[str] = "complexity model"
    _reads_work: ClassVar[bool] = True

    relative_error_: float
    within_10_: float

    def __init__(
        self,
        *,
        names: Sequence[str] | None = None,
        categorical: Sequence[str] | Mapping[str, Sequence[float]] = (),
    ) -> None:
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
        rows, c, weight = self._checked(X, y, sample_weight)
        columns = self._column_names()
        for name in self.categorical:
            if name not in columns:
                raise FitError(f"categorical: expected some of {', '.join(columns)}, got {name}")
        if not np.all(c > 0):
            raise FitError(f"complexity: expected numbers above 0, got {c.min():g}")
        for column in self._work() if self._reads_work else ():
            if (least := rows[:, column].min()) < 0:
                raise FitError(
                    f"Negative values in data: column '{columns[column]}': expected 0 or more, got {least:g}"
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
        rows = self._asked(X)
        mean = self._mean(rows)
        return (mean, self._std(rows, mean)) if return_std else mean

    def _foresee(self, X: Floats, y: Floats, weight: Floats, new: Floats) -> Floats:
        self.n_features_in_ = X.shape[1]
        used = weight > 0
        self._fit(X[used], y[used], weight[used])
        return self._mean(new)

    def _settled(self, X: Floats) -> dict[str, Any]:
        return {"categorical": self._codes(X)}

    def _loaded(self, description: Mapping[str, Any]) -> ComplexityModel:
        return load_complexity(description)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        tags.input_tags.positive_only = self._reads_work
        return tags

    def _check_few(self, weight: Floats) -> None:
        """Warn of fewer than twice as many rows as coefficients."""
        count = len(self.coefficients_)
        if weight.sum() < 2 * count:
            self._warn(f"{weight.sum():g} rows for {count} coefficients; measure {2 * count} or more")

    # ---- columns

    def _index(self, column: Any) -> int:
        return self._column_names().index(column)

    def _named(self) -> bool:
        return self.names is not None or hasattr(self, "feature_names_in_")

    def _work(self) -> list[int]:
        """Indexes of the amounts of work that say something of their own."""
        columns = self._column_names()
        if not self._named():
            return list(range(len(columns)))
        return [
            index
            for index, name in enumerate(columns)
            if self._is_work(name) and not (name in _REPEATED and set(_REPEATED[name]) <= set(columns))
        ]

    def _parameters(self) -> list[int]:
        """Indexes of the raw parameters."""
        columns = self._column_names()
        return [i for i, name in enumerate(columns) if not self._named() or not self._is_work(name)]

    def _is_work(self, name: str) -> bool:
        return is_work(name) and name not in self.categorical


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
    return complexity_class(described_name(description, ComplexityModel.kind)).from_dict(description)
