"""Gaussian process on features from 0 to 1: linear mean, hyperparameters at their posterior mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

from cpmodel.errors import FitError
from cpmodel.space import Floats, rows_of

Shape = Literal["matern", "quadratic", "additive"]

# The level of all values is known from their mean to about this, before the data are seen in detail
_LEVEL_SPREAD = 2.0
# Hyperparameters stay within so many standard deviations of their priors
_REACH = 4.0
# Added to the noise's variance, so that covariances of repeated or noiseless rows can be factored
_JITTER = 1e-9
# The time of the search grows with the cube of the rows, and hyperparameters need few of them
_SEARCH_ROWS = 150
# Relative change of the log density at which that search ends: from the beliefs, and from a fit to nearly the
# same rows
_PRECISE, _NEARLY = 2e-9, 1e-5
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
    amplitude, length, scatter : median, and standard deviation of the log, of the deviations from the linear
        mean, of the distance over which they live (Matern only), and of one observation about both
    own : mean, and standard deviation, of the logit of the share of that scatter's variance which is the
        row's own, in all its observations; the rest is noise, and only repeats tell the two apart
    """

    slope: Floats
    slope_spread: float = 0.3
    amplitude: tuple[float, float] = (0.15, 0.7)
    length: tuple[float, float] = (1.7, 0.5)
    scatter: tuple[float, float] = (0.025, 0.6)
    own: tuple[float, float] = (-5.0, 3.0)


def matern(r2: Floats) -> tuple[Floats, Floats]:
    """Matern-3/2 correlation of squared scaled distances, and minus twice its derivative by them."""
    r = np.sqrt(3.0 * r2)
    decay = np.exp(-r)
    return (1.0 + r) * decay, 3.0 * decay


def curvatures(F: Floats) -> tuple[Floats, Floats]:
    """Second-degree terms of features, shape (n, m): squares (n, m), products of pairs (n, m (m-1) / 2)."""
    centred = 2.0 * F - 1.0
    first, second = np.triu_indices(F.shape[1], k=1)
    return centred**2 - 1.0 / 3.0, centred[:, first] * centred[:, second]


def own_effects(A: Floats, B: Floats) -> Floats:
    """Sum over features of exponential correlations of A, shape (a, m), and B, shape (b, m): shape (a, b)."""
    total = np.zeros((len(A), len(B)))
    # exp(-|a - b|) is the lesser of two products: no exponential for each pair
    for up_a, up_b in zip(np.exp(A.T), np.exp(B.T), strict=True):
        total += np.minimum(np.outer(up_a, 1.0 / up_b), np.outer(1.0 / up_a, up_b))
    return total


def amplified(shape: Shape, A: Floats, B: Floats) -> list[Floats]:
    """Covariances, shape (a, b), that each have an amplitude and no other hyperparameter."""
    if shape == "additive":
        return [own_effects(A, B)]
    return [of_a @ of_b.T for of_a, of_b in zip(curvatures(A), curvatures(B), strict=True)]


def divided(theta: Floats) -> tuple[float, float]:
    """Variances of what rows have of their own, and of noise, by the last two hyperparameters."""
    whole, share = np.exp(2.0 * theta[-1]), special.expit([theta[-2], -theta[-2]])
    return float(whole * share[0]), float(whole * share[1])


class GaussianProcess:
    """A process conditioned on rows, its hyperparameters given; `fit` finds them.

    Parameters
    ----------
    shape : "matern" (deviations with a length per feature), "quadratic" (squares and products of features) or
        "additive" (rough deviations along each feature by itself)
    prior : what was believed before
    F, z, weight : shapes (n, m), (n,), (n,)
        The distinct rows: features, mean value, number of observations.
    theta : logs of the hyperparameters, and the logit of the share of the scatter that is the rows' own
        "matern": amplitude, lengths, share, scatter; "quadratic": amplitude of squares, of products, share,
        scatter; "additive": amplitude, share, scatter.
    evidence : log density of the rows at `theta`, per unit of z, less half the square of how many standard
        deviations `theta` lies from the beliefs: hyperparameters that the rows leave alone cost nothing
    """

    def __init__(
        self, shape: Shape, prior: Prior, F: Floats, z: Floats, weight: Floats, theta: Floats, evidence: float
    ) -> None:
        self.shape, self.prior = shape, prior
        self.F, self.z, self.weight = F, z, weight
        self.theta, self.evidence = theta, evidence
        self._own, self._noise = divided(theta)
        covariance = self._covariance(F, F)
        np.einsum("ii->i", covariance)[:] += self._own + (self._noise + _JITTER) / weight
        factor: Floats = linalg.cholesky(covariance, lower=True)
        # of few rows and very many predictions: to multiply by the inverse takes a tenth of solving
        self._whitened: Floats = linalg.lapack.dtrtri(factor, lower=1)[0]
        self._level = float(np.average(z, weights=weight))
        self._dual: Floats = linalg.cho_solve((factor, True), z - self._mean(F))

    @property
    def own(self) -> float:
        """Standard deviation of what each row has of its own."""
        return float(np.sqrt(self._own))

    @property
    def noise(self) -> float:
        """Standard deviation of one observation about the value."""
        return float(np.sqrt(self._noise))

    def _mean(self, F: Floats) -> Floats:
        mean: Floats = self._level + (F - 0.5) @ self.prior.slope
        return mean

    def _covariance(self, A: Floats, B: Floats) -> Floats:
        """Covariance of the values at features A, shape (a, m), and B, shape (b, m): shape (a, b).

        Without what equal rows have of their own.
        """
        linear = _linear(A, self.prior) @ _linear(B, self.prior).T
        amplitude = np.exp(2.0 * self.theta)
        if self.shape != "matern":
            for size, part in zip(amplitude, amplified(self.shape, A, B), strict=False):
                linear += size * part
            return np.asarray(linear)
        length = np.exp(self.theta[1:-2])
        deviations: Floats = linear + amplitude[0] * matern(_squared_distances(A / length, B / length))[0]
        return deviations

    def _variance(self, F: Floats) -> Floats:
        amplitude = np.exp(2.0 * self.theta)
        linear: Floats = np.sum(_linear(F, self.prior) ** 2, axis=1)
        if self.shape == "quadratic":
            squares, pairs = curvatures(F)
            linear += amplitude[0] * np.sum(squares**2, axis=1) + amplitude[1] * np.sum(pairs**2, axis=1)
            return linear
        linear += amplitude[0] * (F.shape[1] if self.shape == "additive" else 1.0)
        return linear

    def _with_seen(self, F: Floats) -> Floats:
        """Covariance of the values at features, shape (n, m), and at the rows conditioned on."""
        cross = self._covariance(F, self.F)
        places = rows_of(self.F, F)
        known = np.flatnonzero(places >= 0)
        cross[known, places[known]] += self._own
        return cross

    def predict(self, F: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the values (without noise) at features, shape (n, m)."""
        cross = self._with_seen(F)
        seen = cross @ self._whitened.T
        variance = self._variance(F) + self._own - np.einsum("ij,ij->i", seen, seen)
        return self._mean(F) + cross @ self._dual, np.sqrt(np.maximum(variance, _JITTER))

    def covariance(self, F: Floats) -> Floats:
        """Covariance between the values (without noise) at distinct features, shape (n, m): shape (n, n)."""
        seen = self._with_seen(F) @ self._whitened.T
        left: Floats = self._covariance(F, F) - seen @ seen.T
        np.einsum("ii->i", left)[:] += self._own
        return left

    def slopes(self) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the linear mean's slopes, shape (m,) each."""
        spread = self.prior.slope_spread
        cross = spread**2 * (self.F - 0.5)
        seen = self._whitened @ cross
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
        some = searched(len(z))
        objective = _Objective(shape, prior, F[some], z[some], weight[some], within, freedom)
        bounds = list(
            zip(
                objective.middle - _REACH * objective.spread,
                objective.middle + _REACH * objective.spread,
                strict=True,
            )
        )
        best: Any = None
        for place in objective.starts() if start is None else (start,):
            found = optimize.minimize(
                objective.loss_and_gradient,
                place,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"ftol": _PRECISE if start is None else _NEARLY},
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
            tuple(given["scatter"]),
            tuple(given["own"]),
        )
        z = np.array(row["values"], dtype=np.float64)
        F = np.array(row["features"], dtype=np.float64).reshape(len(z), len(prior.slope))
        weight = np.array(row["weights"], dtype=np.float64)
        theta = np.array(row["log_hyperparameters"], dtype=np.float64)
        return cls(row["shape"], prior, F, z, weight, theta, float(row["log_evidence"]))


def searched(rows: int) -> NDArray[np.int64]:
    """Positions of the rows, of so many, that give the hyperparameters and the evidence."""
    return _chosen(rows, _SEARCH_ROWS)


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
    """Minus the log posterior density of the hyperparameters but for a constant, and its gradient."""

    HOPELESS = 1e25

    def __init__(
        self, shape: Shape, prior: Prior, F: Floats, z: Floats, weight: Floats, within: float, freedom: float
    ) -> None:
        self.shape, self.weight, self.within, self.freedom = shape, weight, within, freedom
        level = float(np.average(z, weights=weight))
        self.deviation = z - level - (F - 0.5) @ prior.slope
        linear = _linear(F, prior)
        self.fixed = linear @ linear.T + np.diag(_JITTER / weight)
        amplitude, length, scatter = prior.amplitude, prior.length, prior.scatter
        if shape == "matern":
            self.parts = [(F[:, [j]] - F[:, j]) ** 2 for j in range(F.shape[1])]
            logs = [amplitude, *[length] * F.shape[1], scatter]
        else:
            self.parts = amplified(shape, F, F)
            logs = [*[amplitude] * len(self.parts), scatter]
        self.middle = np.insert(np.log([median for median, _ in logs]), -1, prior.own[0])
        self.spread = np.insert([spread for _, spread in logs], -1, prior.own[1])

    def starts(self) -> tuple[Floats, Floats]:
        """The beliefs; and rougher and less noisy ones, with what repeats say of the noise.

        Few rows, and few repeats, leave two modes.
        """
        rougher = self.middle - self.spread
        rougher[0] = self.middle[0] + self.spread[0]
        believed = np.exp(2.0 * self.middle[-1])
        noise = (self.within / believed + 1.0) / (self.freedom + 1.0)
        rougher[-2] = max(self.middle[-2], special.logit(max(1.0 - noise, 0.0)))
        return self.middle, rougher

    def loss_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        n = len(self.deviation)
        own, noise = divided(theta)
        covariance, derivatives = self._covariance(theta)
        np.einsum("ii->i", covariance)[:] += own + noise / self.weight
        # LAPACK itself: of so small matrices, the checks around it would take most of the time
        factor, failed = linalg.lapack.dpotrf(covariance, lower=1)
        if failed:
            return self.HOPELESS, np.zeros_like(theta)
        log_determinant = float(np.sum(np.log(np.diag(factor))))
        inverse = np.tril(linalg.lapack.dpotri(factor, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        dual = inverse @ self.deviation
        # the last part: repeated observations about their means
        loss = 0.5 * self.deviation @ dual + log_determinant + 0.5 * n * np.log(2 * np.pi)
        loss += 0.5 * self.within / noise + 0.5 * self.freedom * np.log(2 * np.pi * noise)
        pull = inverse - np.outer(dual, dual)
        # twice the derivatives of the loss by the two variances
        by_own = np.trace(pull)
        by_noise = np.sum(np.diag(pull) / self.weight) + (self.freedom - self.within / noise) / noise
        moved = own * noise / (own + noise)
        last = [0.5 * moved * (by_own - by_noise), own * by_own + noise * by_noise]
        gradient = np.array([*[0.5 * np.sum(pull * derivative) for derivative in derivatives], *last])
        belief = (theta - self.middle) / self.spread
        return float(loss + 0.5 * belief @ belief), gradient + belief / self.spread

    def _covariance(self, theta: Floats) -> tuple[Floats, list[Floats]]:
        """Covariance of what is shared, and its derivatives by all of theta but the last two."""
        amplitude = np.exp(2.0 * theta)
        if self.shape != "matern":
            sized = [size * part for size, part in zip(amplitude, self.parts, strict=False)]
            return self.fixed + sum(sized), [2.0 * part for part in sized]
        scaled = [part / np.exp(2.0 * log) for part, log in zip(self.parts, theta[1:-2], strict=True)]
        correlation, fall = matern(np.sum(scaled, axis=0) if scaled else np.zeros_like(self.fixed))
        deviations = amplitude[0] * correlation
        lengths = [amplitude[0] * fall * part for part in scaled]
        return self.fixed + deviations, [2.0 * deviations, *lengths]
