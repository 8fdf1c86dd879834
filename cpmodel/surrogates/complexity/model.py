"""The interface of the complexity models C(T), of tables of work, raw parameters or both, as names tell."""

from __future__ import annotations

import pkgutil
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.errors import BadInputError, FitError
from cpmodel.space import Floats
from cpmodel.surrogates.estimator import TableModel

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
    """Whether a column of this name is an amount of work, rather than a raw parameter."""
    return name in _WORK or name.endswith(_WORK_ENDINGS)


def errors(measured: Floats, predicted: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """Mean of |predicted - measured| / measured, and the share of rows where that is 0.1 or less."""
    relative = np.abs(predicted - measured) / measured
    return float(np.average(relative, weights=weight)), float(np.average(relative <= 0.1, weights=weight))


@dataclass(eq=False, repr=False, kw_only=True)
class ComplexityModel(TableModel):
    """Base of the complexity models C(T).

    Parameters
    ----------
    names : names of the columns, or None; a data frame brings its own
    categorical : names of the raw parameters whose numbers are codes without order, or their codes by name
        Declared codes keep the model the same where rows lack some; else the codes in the rows count.

    Attributes
    ----------
    coefficients_ : of the readable part, in the unit of the complexity over that of the column
    relative_error_, within_10_ : `errors` on the rows it was fitted to

    Notes
    -----
    Rows count by their relative error unless a model says otherwise. A table without any names is taken as
    amounts of work by the models of work, and as raw parameters by the others.
    """

    kind: ClassVar[str] = "complexity model"
    _reads_work: ClassVar[bool] = True

    names: Sequence[str] | None = None
    categorical: Sequence[str] | Mapping[str, Sequence[float]] = ()

    relative_error_: float = field(init=False)
    within_10_: float = field(init=False)

    # ---- what a subclass provides, beside `_learn`

    @abstractmethod
    def _said(self, X: Floats) -> Floats:
        """Predictions for rows of X."""

    @abstractmethod
    def _std(self, X: Floats, mean: Floats) -> Floats:
        """Standard deviations of the predictions `mean`."""

    @classmethod
    def _called(cls, name: str) -> type[TableModel]:
        return complexity_class(name)

    def _check(self, X: Floats, c: Floats) -> None:
        columns = self._column_names()
        for name in self.categorical:
            if name not in columns:
                raise FitError(f"categorical: expected some of {', '.join(columns)}, got {name}")
        if not np.all(c > 0):
            raise FitError(f"complexity: expected numbers above 0, got {c.min():g}")
        for column in self._work() if self._reads_work else ():
            if (least := X[:, column].min()) < 0:
                told = f"column '{columns[column]}': expected 0 or more, got {least:g}"
                raise FitError(f"Negative values in data: {told}")

    def _describe(self, X: Floats, c: Floats, weight: Floats) -> None:
        self.relative_error_, self.within_10_ = errors(c, self._said(X), weight)

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Expected complexity of the rows of X, shape (n,), and the standard deviation of a measured one."""
        rows = self._asked(X)
        mean = self._said(rows)
        return (mean, self._std(rows, mean)) if return_std else mean

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

    def _named(self) -> bool:
        return self.names is not None or hasattr(self, "feature_names_in_")

    def _work(self) -> list[int]:
        """Indexes of the amounts of work that say something of their own."""
        columns = self._column_names()
        if not self._named():
            return list(range(len(columns)))
        repeated = [name for name, others in _REPEATED.items() if set(others) <= set(columns)]
        return [i for i, name in enumerate(columns) if self._is_work(name) and name not in repeated]

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
    """The class of the complexity model `name`; an unknown name is refused."""
    if name not in _HOMES:
        raise BadInputError("complexity model", expected=f"one of {', '.join(complexity_models())}", got=name)
    found: type[ComplexityModel] = pkgutil.resolve_name(_HOMES[name])
    return found
