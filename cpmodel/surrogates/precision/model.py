"""The interface of the precision models: estimators whose predictions are laws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel import registry
from cpmodel.errors import BadInputError, FitError
from cpmodel.space import Floats
from cpmodel.surrogates.estimator import TableModel, relative_error
from cpmodel.surrogates.groups import Groups, group
from cpmodel.surrogates.predictive import Link, Predictive

# The least error (1 - P) that is told from a perfect precision, where no smaller one was measured
_LEAST_ERROR = 1e-3
# Rows that are predicted at once: their covariances with the training rows stay in a processor cache
_ROWS_AT_ONCE = 1024
# Greatest value of a column: squares of larger numbers would leave the range of floats
_LARGEST = 1e100


@dataclass(eq=False, repr=False, kw_only=True)
class PrecisionModel(TableModel):
    """Base of the precision models P(T).

    Parameters
    ----------
    domain : shape (d, 2), least and greatest value of each column over which predictions must stay sane; the
        range of the training rows when None
    names : names of the columns; a data frame's own, or ``x0``, ``x1``, ... when None
    categorical : indexes of the columns whose numbers are codes without order, or their codes by index
        Declared codes keep the model the same where rows lack some; else the codes in the rows count.

    Attributes
    ----------
    noise_std_ : standard deviation of one training's precision about its mean over seeds, at mean precision
    relative_error_ : mean of |predicted - measured| / measured over the trainings it was fitted to

    Notes
    -----
    Equal rows of X are repeats of one configuration over seeds and tell the noise. A subclass chooses its
    link, fits groups on that scale (`_fit`), and says the laws of rows (`_predictive`).
    """

    kind: ClassVar[str] = "precision model"

    domain: ArrayLike | None = None
    names: Sequence[str] | None = None
    categorical: Sequence[int] | Mapping[int, Sequence[float]] = ()

    noise_std_: float = field(init=False)
    relative_error_: float = field(init=False)
    link_: Link = field(init=False)

    # ---- what a subclass provides

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        """The scale to model these errors on, shape (n,): their logs unless a subclass says otherwise."""
        return Link("log_error", floor=least_error(errors))

    def _fit(self, groups: Groups) -> None:
        """Learn from distinct configurations, `groups.y` on the scale of `link_`; set `coefficients_`."""

    @abstractmethod
    def _predictive(self, X: Floats) -> Predictive:
        """The laws of the rows of X, shape (n, d)."""

    def _covariance(self, X: Floats) -> Floats:
        """Covariance of what is not known of the rows of X, on the link's scale, shape (n, n)."""
        return np.diag(self._predictive(X).scale ** 2)

    def _draws(self, X: Floats, count: int, rng: np.random.Generator, stretch: float = 1.0) -> Floats:
        """As `draws`, `stretch` times as wide."""
        return self._predictive(X).stretched(stretch).together(self._covariance(X), count, rng)

    @classmethod
    def _called(cls, name: str) -> type[TableModel]:
        return model_class(name)

    def _learn(self, X: Floats, y: Floats, weight: Floats) -> None:
        self.link_ = self._choose_link(1.0 - y, weight)
        self._fit(group(X, self.link_.forward(y), weight))

    def _check(self, X: Floats, y: Floats) -> None:
        d, domain = X.shape[1], self._domain(X)
        if np.abs(X).max() > _LARGEST:
            raise FitError(f"X: expected values up to {_LARGEST:g}, got {np.abs(X).max():g}")
        if y.min() < 0.0 or y.max() > 1.0:
            raise FitError(f"precision: expected fractions in [0, 1], got {y.min():g} to {y.max():g}")
        if domain.shape != (d, 2) or not np.isfinite(domain).all() or np.any(domain[:, 0] > domain[:, 1]):
            raise FitError(f"domain: expected {d} rows of least and greatest value, got {domain.tolist()}")
        if not set(self.categorical) <= set(range(d)):
            columns = list(self.categorical)
            raise FitError(f"categorical: expected column numbers from 0 to {d - 1}, got {columns}")

    def _domain(self, X: Floats) -> Floats:
        """The domain as given, or else the range of X; shape (d, 2)."""
        if self.domain is not None:
            return np.asarray(self.domain, dtype=np.float64)
        return np.stack([X.min(axis=0), X.max(axis=0)], axis=1)

    def _settled(self, X: Floats) -> dict[str, Any]:
        return {**super()._settled(X), "domain": self._domain(X)}

    def _describe(self, X: Floats, y: Floats, weight: Floats) -> None:
        law = self._said(X)
        mean = float(np.average(y, weights=weight))
        slope = float(law.link.slope(law.link.forward(np.array([mean])))[0])
        self.noise_std_ = group(X, y, weight).noise_of(float(np.median(law.noise)) * slope)
        self.relative_error_ = relative_error(y, law.mean(), weight)

    def _said(self, X: Floats) -> Predictive:
        chunks = np.split(X, range(_ROWS_AT_ONCE, len(X), _ROWS_AT_ONCE))
        return Predictive.joined([self._predictive(rows) for rows in chunks])

    def predictive(self, X: ArrayLike) -> Predictive:
        """The laws behind all predictions for the rows of X, shape (n, d)."""
        return self._said(self._asked(X))

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Expected precision of the rows of X, shape (n,), fractions in [0, 1].

        With `return_std` also the standard deviation of the mean over seeds: what the model does not know.
        """
        law = self.predictive(X)
        return (law.mean(), law.std()) if return_std else law.mean()

    def predict_interval(self, X: ArrayLike, level: float = 0.9) -> tuple[Floats, Floats]:
        """Interval that holds the precision of one new training of each row with probability `level`."""
        return self.predictive(X).interval(level)

    def probability(self, X: ArrayLike, target: float) -> Floats:
        """Probability that the mean-over-seeds precision of each row reaches `target`, shape (n,)."""
        if not 0.0 <= float(target) <= 1.0:
            raise BadInputError("target", expected="a fraction in [0, 1]", got=target)
        return self.predictive(X).probability(float(target))

    def draws(self, X: ArrayLike, count: int, seed: int = 0) -> Floats:
        """Equally likely mean-over-seeds precisions of all rows of X together, shape (count, n).

        Neighbours are wrong together, so that the draws say what no law of single rows can: how good the
        best of them may be.
        """
        return self._draws(self._asked(X), count, np.random.default_rng(seed))


def least_error(errors: Floats) -> float:
    """The least positive one of the errors, shape (n,), but at most `_LEAST_ERROR`."""
    return float(np.min(errors, where=errors > 0, initial=_LEAST_ERROR))


def model_class(name: str) -> type[PrecisionModel]:
    """The class of the precision model `name`; an unknown name is refused."""
    found: type[PrecisionModel] = registry.plugin("precision_models", name)
    return found
