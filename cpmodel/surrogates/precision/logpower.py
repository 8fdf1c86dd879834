"""Power law of the error: log(1 - P) linear in the logs of the parameters, one exponent each."""

from __future__ import annotations

import numpy as np

from cpmodel.space import Floats
from cpmodel.surrogates.estimator import coefficients, variances
from cpmodel.surrogates.features import Features
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.precision.model import PrecisionModel
from cpmodel.surrogates.predictive import Predictive

# Weak beliefs on the log of the error, which matter only where the data say nothing. Scatter about the law
_PRIOR_SCATTER = 0.05
# Trainings that this belief is worth
_PRIOR_FREEDOM = 1.0
# Standard deviation of an effect over a parameter's whole range, in units of the scatter: below 5 or so
_PRIOR_EFFECT = 100.0
# Standard deviation of the constant, in units of the scatter
_PRIOR_CONSTANT = 1e4


class LogErrorPower(PrecisionModel):
    """1 - P = exp(b0) prod_i x_i^(a_i), by least squares on log(1 - P).

    Attributes
    ----------
    coefficients_ : ``constant`` (b0) and an ``exponent of <name>`` for each parameter that has logs; a
        ``slope of <name>`` for one with zero or negative values; an ``effect of <name>=<code>``, against the
        first code, for each further code of a categorical one

    Notes
    -----
    Conjugate Bayesian regression, with beliefs so weak that they matter only where the data say nothing.

    Examples
    --------
    >>> x = np.array([[8.0], [16.0], [32.0], [64.0]])
    >>> model = LogErrorPower(names=["f"]).fit(x, 1 - 0.8 * x[:, 0] ** -0.5)
    >>> [f"{c.name} {c.value:.3f}" for c in model.coefficients_]
    ['constant -0.223', 'exponent of f -0.500']
    """

    name = "logpower"

    features_: Features
    center_: Floats
    covariance_: Floats
    freedom_: float
    scatter_: float
    noise_: float

    def _fit(self, groups: Groups) -> None:
        self.features_ = Features.of(groups.X, self._domain(groups.X), self._codes(groups.X))
        F = self._design(groups.X)
        if len(groups) <= F.shape[1]:
            few = f"{len(groups)} configurations for {F.shape[1]} coefficients"
            self._warn(f"{few}; where they say nothing, weak prior beliefs do")
        precision = np.full(F.shape[1], _PRIOR_EFFECT**-2.0)
        precision[0] = _PRIOR_CONSTANT**-2.0
        normal = (F.T * groups.weight) @ F + np.diag(precision)
        inverse: Floats = np.asarray(np.linalg.inv(normal), dtype=np.float64)
        # the constant's belief is about zero only formally; centring keeps it from pulling at all
        middle = float(np.average(groups.y, weights=groups.weight))
        self.center_ = inverse @ (F.T @ (groups.weight * (groups.y - middle)))
        residual = groups.y - middle - F @ self.center_
        misfit = float(groups.weight @ residual**2 + precision @ self.center_**2) + groups.within
        self.center_[0] += middle
        self.freedom_ = _PRIOR_FREEDOM + max(float(groups.weight.sum()) - F.shape[1], 0.0)
        scatter2 = (_PRIOR_FREEDOM * _PRIOR_SCATTER**2 + misfit) / self.freedom_
        self.scatter_ = float(np.sqrt(scatter2))
        self.noise_ = min(groups.noise_of(self.scatter_), self.scatter_)
        self.covariance_ = scatter2 * inverse
        # in the units of the parameters: of log x, not of its position in the range
        names, back, labels = self._column_names(), np.eye(len(self.center_)), ["constant"]
        for row, (index, code) in enumerate(self.features_.owners(), start=1):
            column = self.features_.columns[index]
            if code is not None:
                labels.append(f"effect of {names[index]}={code:g}")
                continue
            labels.append(f"{'exponent' if column.kind == 'log' else 'slope'} of {names[index]}")
            back[row, row] = 1.0 / column.width
            back[0, row] = -(np.log(column.low) if column.kind == "log" else column.low) / column.width
        errors = np.sqrt(np.diag(back @ self.covariance_ @ back.T))
        self.coefficients_ = coefficients(labels, back @ self.center_, errors)

    def _design(self, X: Floats) -> Floats:
        return np.column_stack([np.ones(len(X)), self.features_.encode(X)])

    def _predictive(self, X: Floats) -> Predictive:
        F = self._design(X)
        # what the scatter holds beyond the seeds' noise is misfit, and misfit is not averaged out by seeds
        misfit2 = self.scatter_**2 - self.noise_**2
        scale = np.sqrt(variances(F, self.covariance_) + misfit2)
        return Predictive.of(self.link_, F @ self.center_, scale, self.noise_, self.freedom_)

    def _covariance(self, X: Floats) -> Floats:
        F = self._design(X)
        # misfit is smooth: near rows have the same
        return np.asarray(F @ self.covariance_ @ F.T + self.scatter_**2 - self.noise_**2)
