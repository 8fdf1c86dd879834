"""Gaussian process for what a law of work leaves over: a smooth part, and steps at values of parameters.

A device's run-time jumps where a size stops fitting its vectors, tiles or caches. Every value that a
parameter takes in several rows therefore has an offset of its own, beside a smooth surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy import linalg, optimize

from cpmodel.errors import FitError
from cpmodel.space import Floats

# Median, and standard deviation of the log, of what is believed of log ratios on features from 0 to 1:
# size and length of the smooth part, size of the steps, noise of one measurement
_SMOOTH, _LENGTH, _STEP, _NOISE = (0.15, 1.0), (0.8, 1.0), (0.03, 1.0), (0.01, 1.0)
_REACH = 4.0
# Standard deviation of the mean of all log ratios; the law before has seen to it that it is small
_LEVEL = 0.3
_JITTER = 1e-8
_ROWS_AT_ONCE = 4096
_HOPELESS = 1e25
# A row so many standard deviations from what the others say of it counts a quarter; rounds of finding these
_FAR, _REWEIGHTED = 2.5, 3
# Relative change of the log density at which the search for hyperparameters ends
_PRECISE = 1e-6


class StepProcess:
    """A process conditioned on rows, its hyperparameters given; `fit` finds them.

    Parameters
    ----------
    smooth, steps, z, weight : shapes (n, m), (n, q), (n,), (n,)
        The distinct rows: features from 0 to 1, parameters whose values have offsets, mean value, number
        of observations.
    theta : shape (1 + m + q + 1,)
        Logs of: size of the smooth part, its length along each feature, size of the steps of each
        parameter, noise of one observation.
    """

    def __init__(self, smooth: Floats, steps: Floats, z: Floats, weight: Floats, theta: Floats) -> None:
        self.smooth, self.steps, self.z, self.weight, self.theta = smooth, steps, z, weight, theta
        objective = _Objective(smooth, steps, z, weight, 0.0, 0.0)
        try:
            self._factor = linalg.cholesky(objective.covariance(theta)[0], lower=True)
        except linalg.LinAlgError as error:
            raise FitError("Gaussian process: the covariance of these rows cannot be factored") from error
        self._dual = linalg.cho_solve((self._factor, True), z)

    @property
    def noise(self) -> float:
        """Standard deviation of one observation about the value."""
        return float(np.exp(self.theta[-1]))

    @classmethod
    def fit(
        cls, smooth: Floats, steps: Floats, z: Floats, weight: Floats, within: float, freedom: float
    ) -> Self:
        """The process whose hyperparameters have the greatest posterior density.

        Parameters
        ----------
        smooth, steps, z, weight
            As for the class.
        within, freedom : float
            Sum of squares of repeated observations about their means, and its degrees of freedom.

        Raises
        ------
        FitError
            No hyperparameters give a covariance that can be factored.
        """
        trust = np.ones(len(z))
        theta = None
        for _ in range(1 + _REWEIGHTED):
            objective = _Objective(smooth, steps, z, weight * trust, within, freedom)
            low = objective.middle - _REACH * objective.spread
            high = objective.middle + _REACH * objective.spread
            found = optimize.minimize(
                objective.loss_and_gradient,
                objective.middle if theta is None else theta,
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(low, high, strict=True)),
                options={"ftol": _PRECISE},
            )
            theta = np.asarray(found.x, dtype=np.float64)
            process = cls(smooth, steps, z, weight * trust, theta)
            trust = 1.0 / (1.0 + (process.misses() / _FAR) ** 2) ** 2
        return process

    def misses(self) -> Floats:
        """How far each row is from what the others say of it, in standard deviations; shape (n,)."""
        inverse = linalg.cho_solve((self._factor, True), np.eye(len(self.z)))
        # residual and variance of leaving one out: dual / diagonal and 1 / diagonal
        return np.asarray(np.abs(self._dual) / np.sqrt(np.diag(inverse)))

    def mean(self, smooth: Floats, steps: Floats) -> Floats:
        """Mean at features (n, m) and parameters (n, q)."""
        parts = [
            self._cross(smooth[i : i + _ROWS_AT_ONCE], steps[i : i + _ROWS_AT_ONCE]) @ self._dual
            for i in range(0, max(len(smooth), 1), _ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def std(self, smooth: Floats, steps: Floats) -> Floats:
        """Standard deviation, without noise, at features (n, m) and parameters (n, q)."""
        m = self.smooth.shape[1]
        prior = _LEVEL**2 + np.exp(2 * self.theta[0]) + np.exp(2 * self.theta[1 + m : -1]).sum()
        parts = []
        for i in range(0, max(len(smooth), 1), _ROWS_AT_ONCE):
            cross = self._cross(smooth[i : i + _ROWS_AT_ONCE], steps[i : i + _ROWS_AT_ONCE])
            seen = linalg.solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
            parts.append(prior - np.einsum("ij,ij->j", seen, seen))
        std: Floats = np.sqrt(np.maximum(np.concatenate(parts), _JITTER))
        return std

    def _cross(self, smooth: Floats, steps: Floats) -> Floats:
        """Covariance of the values at n rows with those of the rows known, shape (n, known)."""
        m = self.smooth.shape[1]
        lengths = np.exp(self.theta[1 : 1 + m])
        a, b = smooth / lengths, self.smooth / lengths
        squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1) - 2 * a @ b.T
        cross: Floats = _LEVEL**2 + np.exp(2 * self.theta[0]) * _matern(np.maximum(squares, 0.0))[0]
        for column, size in enumerate(np.exp(2 * self.theta[1 + m : -1])):
            cross += size * np.equal.outer(steps[:, column], self.steps[:, column])
        return cross

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description."""
        return {
            "smooth": self.smooth.tolist(),
            "steps": self.steps.tolist(),
            "values": self.z.tolist(),
            "weights": self.weight.tolist(),
            "log_hyperparameters": self.theta.tolist(),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The process that `to_dict` described."""
        z = np.array(row["values"], dtype=np.float64)
        smooth = np.array(row["smooth"], dtype=np.float64).reshape(len(z), -1)
        steps = np.array(row["steps"], dtype=np.float64).reshape(len(z), -1)
        theta = np.array(row["log_hyperparameters"], dtype=np.float64)
        return cls(smooth, steps, z, np.array(row["weights"], dtype=np.float64), theta)


def _matern(r2: Floats) -> tuple[Floats, Floats]:
    """Matern-5/2 correlation of squared scaled distances, and minus twice its derivative by them."""
    r = np.sqrt(5.0 * r2)
    decay = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * decay, (5.0 / 3.0) * (1.0 + r) * decay


class _Objective:
    """Minus the log posterior density of the hyperparameters, and its gradient."""

    def __init__(
        self, smooth: Floats, steps: Floats, z: Floats, weight: Floats, within: float, freedom: float
    ) -> None:
        self.z, self.weight, self.within, self.freedom = z, weight, within, freedom
        n, self.m = smooth.shape
        # one row a feature: sums over features, and derivatives by them, are then single products
        self.squares = ((smooth.T[:, :, None] - smooth.T[:, None, :]) ** 2).reshape(self.m, n * n)
        equal = steps.T[:, :, None] == steps.T[:, None, :]
        self.equal = equal.reshape(steps.shape[1], n * n).astype(np.float64)
        beliefs = [_SMOOTH, *[_LENGTH] * self.m, *[_STEP] * len(self.equal), _NOISE]
        self.middle = np.log([median for median, _ in beliefs])
        self.spread = np.array([spread for _, spread in beliefs])

    def covariance(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Covariance of the observed means, its smooth part, and how that falls with squared distance."""
        n = len(self.z)
        correlation, fall = _matern((np.exp(-2 * theta[1 : 1 + self.m]) @ self.squares).reshape(n, n))
        size = np.exp(2 * theta[0])
        offsets = (np.exp(2 * theta[1 + self.m : -1]) @ self.equal).reshape(n, n)
        whole = _LEVEL**2 + size * correlation + offsets
        whole[np.diag_indices(n)] += (np.exp(2 * theta[-1]) + _JITTER) / self.weight
        return whole, size * correlation, size * fall

    def loss_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        covariance, smooth, fall = self.covariance(theta)
        try:
            factor = linalg.cholesky(covariance, lower=True, check_finite=False)
        except linalg.LinAlgError:
            return _HOPELESS, np.zeros_like(theta)
        inverse = linalg.cho_solve((factor, True), np.eye(len(self.z)), check_finite=False)
        dual = inverse @ self.z
        noise = np.exp(2 * theta[-1])
        # repeated observations about their means tell the noise, too
        loss = 0.5 * self.z @ dual + float(np.sum(np.log(np.diag(factor))))
        loss += 0.5 * self.within / noise + self.freedom * theta[-1]
        pull = inverse - np.outer(dual, dual)
        gradient = np.empty_like(theta)
        gradient[0] = np.sum(pull * smooth)
        gradient[1 : 1 + self.m] = (
            0.5 * np.exp(-2 * theta[1 : 1 + self.m]) * (self.squares @ (pull * fall).ravel())
        )
        gradient[1 + self.m : -1] = np.exp(2 * theta[1 + self.m : -1]) * (self.equal @ pull.ravel())
        gradient[-1] = noise * np.sum(np.diag(pull) / self.weight) + self.freedom - self.within / noise
        belief = (theta - self.middle) / self.spread
        return float(loss + 0.5 * belief @ belief), gradient + belief / self.spread
