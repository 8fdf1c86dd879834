"""Complexity models that a person can read: linear in amounts of work, or powers of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from cpmodel.errors import FitError
from cpmodel.space import Floats
from cpmodel.surrogates.complexity.model import ComplexityModel
from cpmodel.surrogates.estimator import coefficients, variances

# Columns whose part of the total is below this fraction of rounding say nothing
_RANK = 1e-10
# A column of no greater values is nothing
_NOTHING = 1e-100
# Log of the largest factor between a power law's predictions and 1
_WIDEST = 300.0
# Rounds of weighting by the errors of the round before
_REWEIGHTED = 15
# The relative error that counts as none (scripts/bench/complexity.py)
_SMALL_MISS = 0.02


class _Linear(ComplexityModel):
    """A sum of features, the columns themselves, times coefficients, and a constant."""

    at_: tuple[int, ...]
    slopes_: Floats
    constant_: float
    covariance_: Floats
    residual_: float

    def _features(self, X: Floats) -> Floats:
        return X[:, list(self.at_)]

    def _design(self, X: Floats) -> Floats:
        return np.column_stack([self._features(X), np.ones(len(X))])

    def _sum(self, X: Floats) -> Floats:
        return np.asarray(self._features(X) @ self.slopes_ + self.constant_)

    def _least_squares(
        self, X: Floats, y: Floats, row: Floats, trainings: float, *, positive: bool = False
    ) -> NDArray[np.bool_]:
        """Least squares of (sum - y) times `row`, with no coefficient below 0 where `positive`.

        Says which of the slopes and the constant have a standard error.
        """
        design = self._design(X)
        sizes = np.abs(design).max(axis=0)
        # a column that is as good as nothing becomes nothing
        scale = np.where(sizes > _NOTHING, sizes, np.inf)
        A, b = design / scale * row[:, None], y * row
        solution = _non_negative(A, b) if positive else np.asarray(linalg.lstsq(A, b, cond=_RANK)[0])
        active = solution > 0 if positive else np.ones(len(solution), dtype=bool)
        residual = A @ solution - b
        freedom = trainings - int(active.sum())
        variance = float(residual @ residual) / max(freedom, 1.0)
        covariance = np.zeros((len(solution), len(solution)))
        inner = linalg.pinvh(A[:, active].T @ A[:, active]) if active.any() else np.empty((0, 0))
        covariance[np.ix_(active, active)] = variance * inner / np.outer(scale[active], scale[active])
        solution = solution / scale
        self.slopes_, self.constant_ = solution[:-1], float(solution[-1])
        self.covariance_, self.residual_ = covariance, float(np.sqrt(variance))
        return active & (freedom > 0)

    def _solve(self, X: Floats, c: Floats, weight: Floats, *, relative: bool, positive: bool) -> None:
        """Least squares of (prediction - c), or of its ratio to c, over the columns `at_`."""
        row = np.sqrt(weight) / (c if relative else np.exp(np.mean(np.log(c))))
        told = self._least_squares(X, c, row, float(weight.sum()), positive=positive)
        if not relative:
            self.residual_ = float(np.sqrt(np.average((self._said(X) / c - 1.0) ** 2, weights=weight)))
        names = [*(self._column_names()[at] for at in self.at_), "constant"]
        sure = np.sqrt(np.diag(self.covariance_))
        self.coefficients_ = coefficients(names, [*self.slopes_, self.constant_], sure, told)

    def _said(self, X: Floats) -> Floats:
        return np.maximum(self._sum(X), 0.0)

    def _std(self, X: Floats, mean: Floats) -> Floats:
        unsure = variances(self._design(X), self.covariance_)
        return np.sqrt(np.maximum(unsure, 0.0) + (self.residual_ * mean) ** 2)


@dataclass(eq=False, repr=False, kw_only=True)
class Eq1(_Linear):
    """C = alpha1 * (sum over convolutions of f_in k^2 f_out s_out^2) + alpha0.

    Parameters
    ----------
    weighting : least squares of the errors, as is usual, or of the relative errors
    names, categorical : as in `ComplexityModel`

    Notes
    -----
    Source: Ke, Cao, Lv, eq. 1. The sum is the column ``conv_macs``, else ``macs`` (in a table without names
    the first column). alpha1 is the coefficient of that column, alpha0 the constant, both in the unit of the
    complexity.
    """

    name: ClassVar[str] = "eq1"

    weighting: Literal["absolute", "relative"] = "absolute"

    def _learn(self, X: Floats, c: Floats, weight: Floats) -> None:
        if self.weighting not in ("absolute", "relative"):
            raise FitError(f"weighting: expected absolute or relative, got {self.weighting}")
        columns = self._column_names()
        found = [columns.index(name) for name in ("conv_macs", "macs") if name in columns]
        if not found and self._named():
            raise FitError(f"eq. 1: expected a column conv_macs or macs, got {', '.join(columns)}")
        self.at_ = tuple(found[:1] or [0])
        self._solve(X, c, weight, relative=self.weighting == "relative", positive=False)
        self._check_few(weight)


@dataclass(eq=False, repr=False, kw_only=True)
class LinearWork(_Linear):
    """C = sum of non-negative coefficients times amounts of work, plus a constant per call.

    Parameters
    ----------
    terms : names of the columns to use; every amount of work that says something of its own when None
    loss : what of the relative errors is least: their mean, which one bad measurement cannot bend, or their
        mean square
    names, categorical : as in `ComplexityModel`

    Notes
    -----
    Each coefficient is a price: of a multiply-accumulate, an activation, a weight, a layer. None is below
    zero; one of exactly zero has no standard error. The absolute loss is least squares with weights
    1 / |relative error|, errors under 2 % counted as 2 %. Of proportional columns the first takes the whole
    price, and the constant comes last: a constant number of layers is paid by the layer.
    """

    name: ClassVar[str] = "linear"

    terms: Sequence[str] | None = None
    loss: Literal["absolute", "squared"] = "absolute"

    def _learn(self, X: Floats, c: Floats, weight: Floats) -> None:
        columns = self._column_names()
        for term in self.terms or ():
            if term not in columns:
                raise FitError(f"terms: expected some of {', '.join(columns)}, got {term}")
        self.at_ = tuple(self._work() if self.terms is None else map(columns.index, self.terms))
        if not self.at_:
            raise FitError(f"no amount of work among the columns {', '.join(columns)}")
        if self.loss not in ("absolute", "squared"):
            raise FitError(f"loss: expected absolute or squared, got {self.loss}")
        self._solve(X, c, weight, relative=True, positive=True)
        for _ in range(_REWEIGHTED if self.loss == "absolute" else 0):
            misses = np.maximum(np.abs(self._said(X) / c - 1.0), _SMALL_MISS)
            again = weight / misses
            # weights of the same sum: they say how much is known
            self._solve(X, c, again * (weight.sum() / again.sum()), relative=True, positive=True)
        self._check_few(weight)


class PowerLaw(_Linear):
    """C = e^b0 * product of (x_j)^b_j over the raw parameters; e^(b_j x_j) for those that can be 0 or less.

    For tables without amounts of work. Least squares of the log; coefficients are b0 (``constant``), the
    exponents, and the ``effect of <name>=<code>``, against the first code, of each further code of a
    categorical column. Columns that never change have none.
    """

    name: ClassVar[str] = "power"
    _reads_work: ClassVar[bool] = False

    logged_: tuple[bool, ...]
    codes_: tuple[tuple[int, float], ...]
    middle_: Floats

    def _features(self, X: Floats) -> Floats:
        columns = [
            np.log(np.maximum(X[:, at], np.finfo(float).tiny)) if log else X[:, at]
            for at, log in zip(self.at_, self.logged_, strict=True)
        ]
        columns += [(X[:, at] == code).astype(np.float64) for at, code in self.codes_]
        return np.stack(columns, axis=1) - self.middle_ if columns else np.empty((len(X), 0))

    def _learn(self, X: Floats, c: Floats, weight: Floats) -> None:
        columns, parameters = self._column_names(), self._parameters()
        if not parameters:
            raise FitError(f"no raw parameter among the columns {', '.join(columns)}")
        codes = {self._index(name): codes for name, codes in self._codes(X).items()}
        self.at_ = tuple(at for at in parameters if at not in codes and X[:, at].min() < X[:, at].max())
        self.logged_ = tuple(bool(X[:, at].min() > 0) for at in self.at_)
        self.codes_ = tuple((at, code) for at in codes for code in codes[at][1:])
        self.middle_ = np.zeros(len(self.at_) + len(self.codes_))
        self.middle_ = np.average(self._features(X), axis=0, weights=weight)
        told = self._least_squares(X, np.log(c), np.sqrt(weight), float(weight.sum()))
        sure = np.sqrt(np.diag(self.covariance_))
        to_zero = np.append(-self.middle_, 1.0)
        sure[-1] = np.sqrt(max(to_zero @ self.covariance_ @ to_zero, 0.0))
        values = [*self.slopes_, self.constant_ - float(self.slopes_ @ self.middle_)]
        names = [columns[at] for at in self.at_]
        names += [f"effect of {columns[at]}={code:g}" for at, code in self.codes_]
        self.coefficients_ = coefficients([*names, "constant"], values, sure, told)
        self._check_few(weight)

    def _said(self, X: Floats) -> Floats:
        # far outside the rows of the fit powers leave what a float can hold
        return np.exp(np.clip(self._sum(X), -_WIDEST, _WIDEST))

    def _std(self, X: Floats, mean: Floats) -> Floats:
        unsure = variances(self._design(X), self.covariance_)
        return mean * np.sqrt(np.clip(unsure, 0.0, _WIDEST) + self.residual_**2)


def _non_negative(A: Floats, b: Floats) -> Floats:
    """The x >= 0 for which |A x - b| is least."""
    try:
        return np.asarray(optimize.nnls(A, b)[0])
    except RuntimeError:  # it may give up on columns that are nearly the same
        return np.asarray(optimize.lsq_linear(A, b, bounds=(0.0, np.inf)).x)
