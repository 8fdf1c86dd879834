"""Gaussian process on features from 0 to 1: linear mean, hyperparameters at their posterior mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from cpmodel.errors import FitError
from cpmodel.space import Floats

Shape = Literal["matern", "quadratic"]

# The level of all values is known from their mean to about this, before the data are seen in detail
_LEVEL_SPREAD = 2.0
# Hyperparameters stay within so many standard deviations of their priors
_REACH = 4.0
# Added to the noise's variance, so that covariances of repeated or noiseless rows can be factored
_JITTER = 1e-9
# The time of the search grows with the cube of the rows, and hyperparameters need few of them
_SEARCH_ROWS = 150
# Rows that a process is conditioned on; more would change little and cost much
MOST_ROWS = 1500


@dataclass(frozen=True)
class Prior:
    """Beliefs about values of order 1 on features that run from 0 to 1.

    Parameters
    ----------
    slope : shape (m,)
        Expected change of the value over each feature's range.
    slope_spread : standard deviation of that belief
    amplitude, length, noise : median, and standard deviation of the log, of the deviations from the linear
        mean, of the distance over which they live (Matern only), and of one observation about the value
    """

    slope: Floats
    slope_spread: float = 0.3
    amplitude: tuple[float, float] = (0.15, 0.7)
    length: tuple[float, float] = (1.7, 0.5)
    noise: tuple[float, float] = (0.025, 0.6)


def matern(r2: Floats) -> tuple[Floats, Floats]:
    """Matern-5/2 correlation of squared scaled distances, and minus twice its derivative by them."""
    r = np.sqrt(5.0 * r2)
    decay = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * decay, (5.0 / 3.0) * (1.0 + r) * decay


def curvatures(F: Floats) -> tuple[Floats, Floats]:
    """Second-degree terms of features, shape (n, m): squares (n, m), products of pairs (n, m (m-1) / 2)."""
    centred = 2.0 * F - 1.0
    first, second = np.triu_indices(F.shape[1], k=1)
    return centred**2 - 1.0 / 3.0, centred[:, first] * centred[:, second]


class GaussianProcess:
    """A process conditioned on rows, its hyperparameters given; `fit` finds them.

    Parameters
    ----------
    shape : "matern" (deviations with a length per feature) or "quadratic" (squares and products of features)
    prior : what was believed before
    F, z, weight : shapes (n, m), (n,), (n,)
        The distinct rows: features, mean value, number of observations.
    theta : logs of the hyperparameters
        "matern": amplitude, lengths, noise; "quadratic": amplitude of squares, of products, noise.
    evidence : log posterior density at `theta`, per unit of z
    """

    def __init__(
        self, shape: Shape, prior: Prior, F: Floats, z: Floats, weight: Floats, theta: Floats, evidence: float
    ) -> None:
        self.shape, self.prior = shape, prior
        self.F, self.z, self.weight = F, z, weight
        self.theta, self.evidence = theta, evidence
        covariance = self._covariance(F, F) + np.diag(self._noise_variance / weight)
        self._factor: Floats = linalg.cholesky(covariance, lower=True)
        self._level = float(np.average(z, weights=weight))
        self._dual: Floats = linalg.cho_solve((self._factor, True), z - self._mean(F))

    @property
    def noise(self) -> float:
        """Standard deviation of one observation about the value."""
        return float(np.exp(self.theta[-1]))

    @property
    def _noise_variance(self) -> float:
        return float(np.exp(2.0 * self.theta[-1])) + _JITTER

    def _mean(self, F: Floats) -> Floats:
        mean: Floats = self._level + (F - 0.5) @ self.prior.slope
        return mean

    def _covariance(self, A: Floats, B: Floats) -> Floats:
        """Covariance of the values at features A, shape (a, m), and B, shape (b, m): shape (a, b)."""
        linear = _linear(A, self.prior) @ _linear(B, self.prior).T
        amplitude = np.exp(2.0 * self.theta)
        if self.shape == "quadratic":
            (squares, pairs), (squares_b, pairs_b) = curvatures(A), curvatures(B)
            curved: Floats = linear + amplitude[0] * squares @ squares_b.T + amplitude[1] * pairs @ pairs_b.T
            return curved
        length = np.exp(self.theta[1:-1])
        deviations: Floats = linear + amplitude[0] * matern(_squared_distances(A / length, B / length))[0]
        return deviations

    def _variance(self, F: Floats) -> Floats:
        amplitude = np.exp(2.0 * self.theta)
        linear: Floats = np.sum(_linear(F, self.prior) ** 2, axis=1)
        if self.shape == "quadratic":
            squares, pairs = curvatures(F)
            linear += amplitude[0] * np.sum(squares**2, axis=1) + amplitude[1] * np.sum(pairs**2, axis=1)
            return linear
        linear += amplitude[0]
        return linear

    def predict(self, F: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the values (without noise) at features, shape (n, m)."""
        cross = self._covariance(F, self.F)
        seen = linalg.solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = self._variance(F) - np.einsum("ij,ij->j", seen, seen)
        return self._mean(F) + cross @ self._dual, np.sqrt(np.maximum(variance, _JITTER))

    def covariance(self, F: Floats) -> Floats:
        """Covariance between the values (without noise) at features, shape (n, m): shape (n, n)."""
        seen = linalg.solve_triangular(
            self._factor, self._covariance(self.F, F), lower=True, check_finite=False
        )
        left: Floats = self._covariance(F, F) - seen.T @ seen
        return left

    def slopes(self) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the linear mean's slopes, shape (m,) each."""
        spread = self.prior.slope_spread
        cross = spread**2 * (self.F - 0.5)
        seen = linalg.solve_triangular(self._factor, cross, lower=True)
        variance = spread**2 - np.sum(seen**2, axis=0)
        return self.prior.slope + cross.T @ self._dual, np.sqrt(np.maximum(variance, 0.0))

    @classmethod
    def fit(
        cls,
        shape: Shape,
        prior: Prior,
        F: Floats,
        z: Floats,
        weight: Floats,
        within: float,
        freedom: float,
        start: Floats | None = None,
    ) -> Self:
        """The process whose hyperparameters have the greatest posterior density.

        Parameters
        ----------
        F, z, weight : shapes (n, m), (n,), (n,)
            Features, mean value and number of observations of distinct rows.
        within, freedom : sum of squares of repeated observations about their means, its degrees of freedom
        start : logs of hyperparameters to search from, or None to start from the beliefs

        Notes
        -----
        Of many rows, taken at random, 150 give the hyperparameters and 1500 are conditioned on.

        Raises
        ------
        FitError
            No hyperparameters give a covariance that can be factored.
        """
        some = _chosen(len(z), _SEARCH_ROWS)
        objective = _Objective(shape, prior, F[some], z[some], weight[some], within, freedom)
        bounds = list(
            zip(
                objective.middle - _REACH * objective.spread,
                objective.middle + _REACH * objective.spread,
                strict=True,
            )
        )
        best: Any = None
        # From the beliefs, and from rougher and less noisy ones: the two modes seen with few rows
        rougher = objective.middle - objective.spread
        rougher[0] = objective.middle[0] + objective.spread[0]
        for place in (objective.middle, rougher) if start is None else (start,):
            found = optimize.minimize(
                objective.loss_and_gradient, place, jac=True, method="L-BFGS-B", bounds=bounds
            )
            if best is None or found.fun < best.fun:
                best = found
        if not np.isfinite(best.fun) or best.fun >= _Objective.HOPELESS:
            raise FitError("Gaussian process: no covariance of these rows can be factored")
        kept = _chosen(len(z), MOST_ROWS)
        theta = np.asarray(best.x, dtype=np.float64)
        return cls(shape, prior, F[kept], z[kept], weight[kept], theta, -float(best.fun))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description."""
        return {
            "shape": self.shape,
            "prior": {**asdict(self.prior), "slope": self.prior.slope.tolist()},
            "features": self.F.tolist(),
            "values": self.z.tolist(),
            "weights": self.weight.tolist(),
            "log_hyperparameters": self.theta.tolist(),
            "log_evidence": self.evidence,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The process that `to_dict` described."""
        given = row["prior"]
        prior = Prior(
            np.array(given["slope"], dtype=np.float64),
            float(given["slope_spread"]),
            tuple(given["amplitude"]),
            tuple(given["length"]),
            tuple(given["noise"]),
        )
        z = np.array(row["values"], dtype=np.float64)
        F = np.array(row["features"], dtype=np.float64).reshape(len(z), len(prior.slope))
        weight = np.array(row["weights"], dtype=np.float64)
        theta = np.array(row["log_hyperparameters"], dtype=np.float64)
        return cls(row["shape"], prior, F, z, weight, theta, float(row["log_evidence"]))


def _chosen(rows: int, most: int) -> NDArray[np.int64]:
    """Positions of at most so many of the rows, the same ones every time."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False)).astype(np.int64)


def _linear(F: Floats, prior: Prior) -> Floats:
    """Features whose inner products are the covariance of the level and of the linear mean."""
    level = np.full((len(F), 1), _LEVEL_SPREAD)
    return np.concatenate([level, prior.slope_spread * (F - 0.5)], axis=1)


def _squared_distances(A: Floats, B: Floats) -> Floats:
    squares: Floats = np.sum(A * A, axis=1)[:, None] + np.sum(B * B, axis=1) - 2.0 * A @ B.T
    return np.maximum(squares, 0.0, out=squares)


class _Objective:
    """Minus the log posterior density of the hyperparameters, and its gradient."""

    HOPELESS = 1e25

    def __init__(
        self, shape: Shape, prior: Prior, F: Floats, z: Floats, weight: Floats, within: float, freedom: float
    ) -> None:
        self.shape, self.weight, self.within, self.freedom = shape, weight, within, freedom
        level = float(np.average(z, weights=weight))
        self.deviation = z - level - (F - 0.5) @ prior.slope
        linear = _linear(F, prior)
        self.fixed = linear @ linear.T + np.diag(_JITTER / weight)
        amplitude, length, noise = prior.amplitude, prior.length, prior.noise
        if shape == "quadratic":
            squares, pairs = curvatures(F)
            self.parts = [squares @ squares.T, pairs @ pairs.T]
            beliefs = [amplitude, amplitude, noise]
        else:
            self.parts = [(F[:, [j]] - F[:, j]) ** 2 for j in range(F.shape[1])]
            beliefs = [amplitude, *[length] * F.shape[1], noise]
        self.middle = np.log([median for median, _ in beliefs])
        self.spread = np.array([spread for _, spread in beliefs])

    def loss_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        n = len(self.deviation)
        noise = np.exp(2.0 * theta[-1])
        covariance, derivatives = self._covariance(theta)
        try:
            factor = linalg.cholesky(covariance + np.diag(noise / self.weight), lower=True)
        except linalg.LinAlgError:
            return self.HOPELESS, np.zeros_like(theta)
        inverse = linalg.cho_solve((factor, True), np.eye(n))
        dual = inverse @ self.deviation
        # the last part: repeated observations about their means
        loss = (
            0.5 * self.deviation @ dual + float(np.sum(np.log(np.diag(factor)))) + 0.5 * n * np.log(2 * np.pi)
        )
        loss += 0.5 * self.within / noise + self.freedom * (theta[-1] + 0.5 * np.log(2 * np.pi))
        pull = inverse - np.outer(dual, dual)
        gradient = np.array([0.5 * np.sum(pull * derivative) for derivative in derivatives] + [0.0])
        gradient[-1] = noise * np.sum(np.diag(pull) / self.weight) - self.within / noise + self.freedom
        belief = (theta - self.middle) / self.spread
        loss += (
            0.5 * belief @ belief + float(np.sum(np.log(self.spread))) + 0.5 * len(theta) * np.log(2 * np.pi)
        )
        return float(loss), gradient + belief / self.spread

    def _covariance(self, theta: Floats) -> tuple[Floats, list[Floats]]:
        """Covariance without noise, and its derivatives by all of theta but the noise."""
        amplitude = np.exp(2.0 * theta)
        if self.shape == "quadratic":
            squares, pairs = amplitude[0] * self.parts[0], amplitude[1] * self.parts[1]
            return self.fixed + squares + pairs, [2.0 * squares, 2.0 * pairs]
        scaled = [part / np.exp(2.0 * log) for part, log in zip(self.parts, theta[1:-1], strict=True)]
        correlation, fall = matern(np.sum(scaled, axis=0) if scaled else np.zeros_like(self.fixed))
        deviations = amplitude[0] * correlation
        lengths = [amplitude[0] * fall * part for part in scaled]
        return self.fixed + deviations, [2.0 * deviations, *lengths]
