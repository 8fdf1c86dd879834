"""Precision models that are a Gaussian process on encoded features: each names its link and its prior."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cpmodel.errors import FitError
from cpmodel.space import Floats
from cpmodel.surrogates.estimator import coefficients
from cpmodel.surrogates.features import Derived, Features
from cpmodel.surrogates.gaussian import MOST_ROWS, GaussianProcess, Prior, chosen
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.precision.model import PrecisionModel, least_error
from cpmodel.surrogates.predictive import Link, Predictive

# Expected change of a log error over a parameter's range: a factor of 0.75 is usual in the tables of
# scripts/bench/surrogates.py
_USUAL_SLOPE = -0.3
# Share of the variance of what is not known that all rows have in common in draws of them together: with
# less, scripts/bench/search.py was promised cheaper answers that were not there
_ALIKE = 0.7
# "additive": median, and standard deviation of the log, of each parameter's own deviations from the power law
# (this and the next two: scripts/bench/surrogates.py)
_ROUGHNESS = (0.05, 0.5)
# "quadratic": the same of squares and products, in units of the mean error
_CURVATURE = (0.07, 1.0)
# "quadratic": the same of the scatter of one training, in the same units
_SCATTER = (0.0175, 0.8)


@dataclass(eq=False, repr=False, kw_only=True)
class ProcessModel(PrecisionModel):
    """A Gaussian process with a linear mean, on the scale of the model's link.

    Parameters
    ----------
    derived : columns that follow from those of X and are features beside them
    domain, names, categorical : as in `PrecisionModel`

    Attributes
    ----------
    coefficients_ : the linear mean: ``change over <name>``, over the whole range of each parameter, and
        ``effect of <name>=<code>``, each with its posterior standard deviation
    log_evidence_ : log density of the precisions that the hyperparameters were found by, comparable between
        models on any link; see `GaussianProcess` for what hyperparameters cost

    Notes
    -----
    Scatter about the smooth part is noise, or each configuration's own: repeats tell how much of it is which.
    """

    derived: Derived | None = None

    features_: Features = field(init=False)
    process_: GaussianProcess = field(init=False)
    log_evidence_: float = field(init=False)

    def _prior(self, slope: Floats) -> Prior:
        """Beliefs, given the expected change over each feature, shape (m,)."""
        return Prior("matern", slope)

    def _fit(self, groups: Groups) -> None:
        X = self._beside(groups.X)
        # what is derived rises or falls with the parameters: its range ends in corners of theirs
        domain = None if self.domain is None else np.sort(self._beside(self._domain(groups.X).T).T, axis=1)
        derived = range(self.n_features_in_, X.shape[1])
        self.features_ = Features.of(X, domain, self._codes(groups.X), derived)
        if len(groups) > MOST_ROWS:
            self._warn(f"{len(groups)} configurations are many: {MOST_ROWS} of them are used")
        rows = replace(groups, X=self.features_.encode(X))
        self.process_ = GaussianProcess.fit(self._prior(self._expected_slopes()), rows, self._begin_at)
        # from the density of values on the link's scale to that of precisions
        told = chosen(len(groups))
        slopes = self.link_.slope(groups.y[told])
        self.log_evidence_ = self.process_.evidence - float(groups.weight[told] @ np.log(slopes))
        names = self._column_names() + (() if self.derived is None else self.derived.names)
        labels = [
            f"change over {names[index]}" if code is None else f"effect of {names[index]}={code:g}"
            for index, code in self.features_.owners()
        ]
        self.coefficients_ = coefficients(labels, *self.process_.slopes())

    def _beside(self, X: Floats) -> Floats:
        return X if self.derived is None else self.derived.beside(X)

    def _expected_slopes(self) -> Floats:
        """Expected change of an error over each feature, shape (m,): a fall for parameters with logs."""
        # what is derived rises with the parameters, whose own fall is told already
        own = self.features_.columns[: self.n_features_in_]
        falls = {at: _USUAL_SLOPE for at, column in enumerate(own) if column.kind == "log"}
        return np.array([falls.get(at, 0.0) for at, _ in self.features_.owners()])

    def _predictive(self, X: Floats) -> Predictive:
        location, scale = self.process_.predict(self.features_.encode(self._beside(X)))
        return Predictive.of(self.link_, location, scale, self.process_.noise)

    def _covariance(self, X: Floats) -> Floats:
        left = self.process_.covariance(self.features_.encode(self._beside(X)))
        own = np.minimum(self.process_.own**2, np.diag(left))
        # what no process of this kind knows, its misfit, moves all rows alike but for what is each one's own
        alike = np.sqrt(np.diag(left) - own)
        shared: Floats = np.multiply.outer(alike, alike)
        np.einsum("ii->i", shared)[:] += own
        return (1.0 - _ALIKE) * left + _ALIKE * shared


@dataclass(eq=False, repr=False, kw_only=True)
class LogErrorGP(ProcessModel):
    """log(1 - P - saturation) is a power law plus smooth (Matern-3/2) deviations plus the noise of seeds.

    Parameters
    ----------
    saturation : error that no configuration gets below, as a share in [0, 1) of the least error measured
    derived, domain, names, categorical : as in `ProcessModel`
    """

    name = "loggp"

    saturation: float = 0.0

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        if not 0.0 <= self.saturation < 1.0:
            raise FitError(f"saturation: expected a fraction in [0, 1), got {self.saturation}")
        asymptote = float(self.saturation * errors.min())
        return Link("log_error", asymptote=asymptote, floor=least_error(errors - asymptote))


class AdditivePrecision(ProcessModel):
    """log(1 - P) = power law + sum_i g_i(x_i) + noise of seeds, each g_i continuous but not smooth.

    A value of a parameter may do better or worse than its neighbours wherever it is used. g_i has an
    exponential covariance, that of a random walk over the parameter's range.
    """

    name = "additive"

    def _prior(self, slope: Floats) -> Prior:
        return Prior("additive", slope, amplitude=_ROUGHNESS)


class QuadraticPrecision(ProcessModel):
    """P = level + sum of slopes, squares and products of the logs of the parameters.

    Coefficients are of the error, in units of the mean error. How far squares, and products, are shrunk
    towards zero is found by their evidence.
    """

    name = "quadratic"

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        return Link("error", unit=float(max(np.average(errors, weights=weight), 1e-6)))

    def _prior(self, slope: Floats) -> Prior:
        return Prior("quadratic", slope, amplitude=_CURVATURE, scatter=_SCATTER)
