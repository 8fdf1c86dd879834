"""The Gaussian process behind the models: linear mean, hyperparameters at their posterior mode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special

from cpmodel.errors import FitError
from cpmodel.space import Floats, rows_of
from cpmodel.surrogates.groups import Groups

Shape = Literal["matern", "quadratic", "additive", "steps"]

# Hyperparameters stay within so many standard deviations of their priors
_REACH = 4.0
# Relative change of the log density at which a search from the beliefs ends
_PRECISE = 2e-9
# and at which one ends that starts from a fit to nearly the same rows
_NEARLY = 1e-5
# Rows that give the hyperparameters: the time of the search grows with their cube, and it needs few of them
_SEARCH_ROWS = 150
# Rows that a process is conditioned on; more would change little and cost much
MOST_ROWS = 1500
# The loss where a covariance cannot be factored
HOPELESS = 1e25


@dataclass(frozen=True, eq=False)
class Prior:
    """Beliefs about values of order 1 on features that run from 0 to 1.

    Parameters
    ----------
    shape : how values deviate from the linear mean: "matern" (smoothly, with a length for each feature, once
        differentiable), "quadratic" (by squares and products of features), "additive" (roughly along each
        feature by itself) or "steps" (smoothly, twice differentiable, and by an offset for each value of the
        columns beyond the features)
    slope, slope_spread : expected change over each feature's range, shape (m,), and its standard deviation
    amplitude, length, step, scatter : median, and standard deviation of the log, of the deviations, of the
        distance over which they live, of the offsets, and of one observation about all of these
    own : mean, and standard deviation, of the logit of the share of that scatter's variance which is the
        row's own, in all its observations; the rest, all where None, is noise; only repeats tell them apart
    level : standard deviation of the mean of all values, about that of the rows where `centred`, else about 0
    jitter : added to the noise's variance, so that covariances of noiseless rows can be factored
    unit : 2 pi, so that densities of different models compare; 1 leaves out what moves no hyperparameter
    """

    shape: Shape
    slope: Floats
    slope_spread: float = 0.3
    amplitude: tuple[float, float] = (0.15, 0.7)
    length: tuple[float, float] = (1.7, 0.5)
    scatter: tuple[float, float] = (0.025, 0.6)
    step: tuple[float, float] = (0.03, 1.0)
    own: tuple[float, float] | None = (-5.0, 3.0)
    level: float = 2.0
    centred: bool = True
    jitter: float = 1e-9
    unit: float = 2 * np.pi

    def beliefs(self, columns: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each hyperparameter's log, of rows of so many columns."""
        m = len(self.slope)
        if self.shape in ("quadratic", "additive"):
            logs = [self.amplitude] * (2 if self.shape == "quadratic" else 1)
        else:
            logs = [self.amplitude, *[self.length] * m, *[self.step] * (columns - m)]
        logs.append(self.scatter)
        middle, spread = np.log([median for median, _ in logs]), np.array([spread for _, spread in logs])
        if self.own is not None:
            middle, spread = np.insert(middle, -1, self.own[0]), np.insert(spread, -1, self.own[1])
        return middle, spread

    def divided(self, theta: Floats) -> tuple[float, float]:
        """Variances of what rows have of their own, and of noise, by the last of the hyperparameters."""
        whole = np.exp(2.0 * theta[-1])
        if self.own is None:
            return 0.0, float(whole)
        share = special.expit([theta[-2], -theta[-2]])
        return float(whole * share[0]), float(whole * share[1])

    def linear(self, F: Floats) -> Floats:
        """Features whose inner products are the covariance of the level and of the linear mean."""
        level = np.full((len(F), 1), self.level)
        return np.concatenate([level, self.slope_spread * (F[:, : len(self.slope)] - 0.5)], axis=1)

    def correlation(self, r2: Floats) -> tuple[Floats, Floats]:
        """Matern's correlation of squared scaled distances, and minus twice its derivative by them."""
        r = np.sqrt((5.0 if self.shape == "steps" else 3.0) * r2)
        decay = np.exp(-r)
        if self.shape == "steps":
            return (1.0 + r + r * r / 3.0) * decay, (5.0 / 3.0) * (1.0 + r) * decay
        return (1.0 + r) * decay, 3.0 * decay

    def amplified(self, A: Floats, B: Floats) -> list[Floats]:
        """Covariances, shape (a, b), that each have an amplitude and no other hyperparameter."""
        if self.shape == "additive":
            return [own_effects(A, B)]
        return [of_a @ of_b.T for of_a, of_b in zip(curvatures(A), curvatures(B), strict=True)]


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


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """A process conditioned on rows, its hyperparameters given; `fit` finds them.

    Parameters
    ----------
    F, z, weight : shapes (n, m), (n,), (n,), of distinct rows: features (and, for "steps", columns whose
        values have offsets), mean value, number of observations
    theta : logs of the hyperparameters: amplitudes ("quadratic": of squares, of products), lengths, steps,
        scatter; before the last, where there is one, the logit of the share of the rows' own
    evidence : log density of the rows at `theta`, per unit of z, less half the square of how many standard
        deviations `theta` lies from the beliefs: hyperparameters that the rows leave alone cost nothing
    """

    prior: Prior
    F: Floats
    z: Floats
    weight: Floats
    theta: Floats
    evidence: float

    @classmethod
    def fit(
        cls,
        prior: Prior,
        rows: Groups,
        start: Floats | None = None,
        *,
        tolerance: float | None = None,
        search_rows: int = _SEARCH_ROWS,
    ) -> Self:
        """The process whose hyperparameters have the greatest posterior density, searched for from `start`.

        `search_rows` of the rows, taken at random, give the hyperparameters; 1500 are conditioned on.
        """
        objective = Objective(prior, rows, chosen(len(rows), search_rows))
        middle, reach = objective.middle, _REACH * objective.spread
        search = partial(
            optimize.minimize,
            objective.loss_and_gradient,
            jac=True,
            method="L-BFGS-B",
            bounds=optimize.Bounds(middle - reach, middle + reach),
            options={"ftol": tolerance or (_PRECISE if start is None else _NEARLY)},
        )
        found = [search(place) for place in (objective.starts() if start is None else (start,))]
        best = min(found, key=lambda result: result.fun)
        if not np.isfinite(best.fun) or best.fun >= HOPELESS:
            raise FitError("Gaussian process: no covariance of these rows can be factored")
        kept = chosen(len(rows), MOST_ROWS)
        theta = np.asarray(best.x, dtype=np.float64)
        return cls(prior, rows.X[kept], rows.y[kept], rows.weight[kept], theta, -float(best.fun))

    @property
    def own(self) -> float:
        """Standard deviation of what each row has of its own."""
        return float(np.sqrt(self.prior.divided(self.theta)[0]))

    @property
    def noise(self) -> float:
        """Standard deviation of one observation about the value."""
        return float(np.sqrt(self.prior.divided(self.theta)[1]))

    @cached_property
    def _level(self) -> float:
        return float(np.average(self.z, weights=self.weight)) if self.prior.centred else 0.0

    @cached_property
    def _solved(self) -> tuple[Floats, Floats]:
        """The inverse of the covariance's factor, and the inverse of the covariance times the residuals."""
        own, noise = self.prior.divided(self.theta)
        covariance = self._covariance(self.F, self.F)
        np.einsum("ii->i", covariance)[:] += own + (noise + self.prior.jitter) / self.weight
        try:
            factor: Floats = linalg.cholesky(covariance, lower=True)
        except linalg.LinAlgError as error:
            raise FitError("Gaussian process: the covariance of these rows cannot be factored") from error
        # of few rows and very many predictions: to multiply by the inverse takes a tenth of solving
        whitened: Floats = linalg.lapack.dtrtri(factor, lower=1)[0]
        return whitened, linalg.cho_solve((factor, True), self.z - self._mean(self.F))

    def _mean(self, F: Floats) -> Floats:
        slope = self.prior.slope
        return np.asarray(self._level + (F[:, : len(slope)] - 0.5) @ slope)

    def _covariance(self, A: Floats, B: Floats) -> Floats:
        """Covariance, (a, b), of the values at rows A and B, without what equal rows have of their own."""
        prior, m = self.prior, len(self.prior.slope)
        covariance: Floats = prior.linear(A) @ prior.linear(B).T
        size = np.exp(2.0 * self.theta)
        if prior.shape in ("quadratic", "additive"):
            for amplitude, part in zip(size, prior.amplified(A, B), strict=False):
                covariance += amplitude * part
            return covariance
        length = np.exp(self.theta[1 : 1 + m])
        of_a, of_b = A[:, :m] / length, B[:, :m] / length
        squares = np.sum(of_a * of_a, axis=1)[:, None] + np.sum(of_b * of_b, axis=1) - 2.0 * of_a @ of_b.T
        covariance = covariance + size[0] * prior.correlation(np.maximum(squares, 0.0))[0]
        for column in range(m, A.shape[1]):
            covariance += size[1 + column] * np.equal.outer(A[:, column], B[:, column])
        return covariance

    def _variance(self, F: Floats) -> Floats:
        prior, m, size = self.prior, len(self.prior.slope), np.exp(2.0 * self.theta)
        variance: Floats = np.sum(prior.linear(F) ** 2, axis=1)
        if prior.shape == "quadratic":
            squares, pairs = curvatures(F)
            variance += size[0] * np.sum(squares**2, axis=1) + size[1] * np.sum(pairs**2, axis=1)
            return variance
        variance += size[0] * (m if prior.shape == "additive" else 1.0)
        variance += np.sum(size[1 + m : 1 + F.shape[1]])
        return variance

    def _with_seen(self, F: Floats) -> Floats:
        """Covariance of the values at rows, shape (n, m), and at the rows conditioned on."""
        cross = self._covariance(F, self.F)
        if self.prior.own is not None:
            places = rows_of(self.F, F)
            known = np.flatnonzero(places >= 0)
            cross[known, places[known]] += self.prior.divided(self.theta)[0]
        return cross

    def mean(self, F: Floats) -> Floats:
        """Mean of the values at rows, shape (n, m)."""
        return self._mean(F) + self._with_seen(F) @ self._solved[1]

    def predict(self, F: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the values (without noise) at rows, shape (n, m)."""
        whitened, dual = self._solved
        cross = self._with_seen(F)
        seen = cross @ whitened.T
        own, _ = self.prior.divided(self.theta)
        variance = self._variance(F) + own - np.einsum("ij,ij->i", seen, seen)
        return self._mean(F) + cross @ dual, np.sqrt(np.maximum(variance, self.prior.jitter))

    def covariance(self, F: Floats) -> Floats:
        """Covariance between the values (without noise) at distinct rows, shape (n, m): shape (n, n)."""
        seen = self._with_seen(F) @ self._solved[0].T
        left: Floats = self._covariance(F, F) - seen @ seen.T
        np.einsum("ii->i", left)[:] += self.prior.divided(self.theta)[0]
        return left

    def slopes(self) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the linear mean's slopes, shape (m,) each."""
        whitened, dual = self._solved
        spread = self.prior.slope_spread
        cross = spread**2 * (self.F - 0.5)
        seen = whitened @ cross
        variance = spread**2 - np.sum(seen**2, axis=0)
        return self.prior.slope + cross.T @ dual, np.sqrt(np.maximum(variance, 0.0))

    def misses(self) -> Floats:
        """How far each row is from what the others say of it, in standard deviations; shape (n,)."""
        whitened, dual = self._solved
        # residual and variance of leaving one out: dual / diagonal of the inverse, and 1 / that diagonal
        return np.asarray(np.abs(dual) / np.sqrt(np.sum(whitened**2, axis=0)))


def chosen(rows: int, most: int = _SEARCH_ROWS) -> NDArray[np.int64]:
    """Positions of at most so many of the rows, the same ones every time."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False)).astype(np.int64)


class Objective:
    """Minus the log posterior density of the hyperparameters but for a constant, and its gradient."""

    def __init__(self, prior: Prior, rows: Groups, some: NDArray[np.int64]) -> None:
        F, z, self.weight = rows.X[some], rows.y[some], rows.weight[some]
        self.prior, self.within, self.freedom = prior, rows.within, rows.freedom
        level = float(np.average(z, weights=self.weight)) if prior.centred else 0.0
        m, linear = len(prior.slope), prior.linear(F)
        self.deviation = z - level - (F[:, :m] - 0.5) @ prior.slope
        self.fixed = linear @ linear.T + np.diag(prior.jitter / self.weight)
        if prior.shape in ("quadratic", "additive"):
            self.parts = prior.amplified(F, F)
        else:
            self.parts = [(F[:, [j]] - F[:, j]) ** 2 for j in range(m)]
        self.equal = [np.equal.outer(F[:, j], F[:, j]) for j in range(m, F.shape[1])]
        self.middle, self.spread = prior.beliefs(F.shape[1])

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
        """The loss at theta, and its derivatives by theta."""
        n, unit = len(self.deviation), self.prior.unit
        own, noise = self.prior.divided(theta)
        covariance, derivatives = self._covariance(theta)
        np.einsum("ii->i", covariance)[:] += own + noise / self.weight
        # LAPACK itself: of so small matrices, the checks around it would take most of the time
        factor, failed = linalg.lapack.dpotrf(covariance, lower=1)
        if failed:
            return HOPELESS, np.zeros_like(theta)
        log_determinant = float(np.sum(np.log(np.diag(factor))))
        inverse = linalg.lapack.dpotri(factor, lower=1)[0]  # its lower half: the upper one is zero
        diagonal = np.diag(inverse).copy()
        inverse = inverse + inverse.T
        np.einsum("ii->i", inverse)[:] = diagonal
        dual = inverse @ self.deviation
        # the last part: repeated observations about their means
        loss = 0.5 * self.deviation @ dual + log_determinant + 0.5 * n * np.log(unit)
        loss += 0.5 * self.within / noise + 0.5 * self.freedom * np.log(unit * noise)
        pull = inverse - np.outer(dual, dual)
        # twice the derivatives of the loss by the two variances
        by_own = np.trace(pull)
        by_noise = np.sum(np.diag(pull) / self.weight) + (self.freedom - self.within / noise) / noise
        moved = own * noise / (own + noise)
        last = [0.5 * moved * (by_own - by_noise), own * by_own + noise * by_noise]
        shared = [0.5 * np.sum(pull * derivative) for derivative in derivatives]
        gradient = np.array([*shared, *(last if self.prior.own is not None else last[1:])])
        belief = (theta - self.middle) / self.spread
        return float(loss + 0.5 * belief @ belief), gradient + belief / self.spread

    def _covariance(self, theta: Floats) -> tuple[Floats, list[Floats]]:
        """Covariance of what is shared, and its derivatives by all of theta but own share and scatter."""
        size, m = np.exp(2.0 * theta), len(self.prior.slope)
        if self.prior.shape in ("quadratic", "additive"):
            sized = [amplitude * part for amplitude, part in zip(size, self.parts, strict=False)]
            return self.fixed + sum(sized), [2.0 * part for part in sized]
        scaled = [part / np.exp(2.0 * log) for part, log in zip(self.parts, theta[1 : 1 + m], strict=True)]
        correlation, fall = self.prior.correlation(sum(scaled, np.zeros_like(self.fixed)))
        deviations = size[0] * correlation
        lengths = [size[0] * fall * part for part in scaled]
        offsets = [step * equal for step, equal in zip(size[1 + m :], self.equal, strict=False)]
        derivatives = [2.0 * deviations, *lengths, *[2.0 * offset for offset in offsets]]
        return sum(offsets, self.fixed + deviations), derivatives
