"""Stopping early: what a training will end with, foreseen from its learning curve and those of its like.

The logarithm of the final error is read from the last point of the curve (the precision of mean weights, see
`engine.average`) and from the configuration; how, is learned from the study's trainings that went to their
end, all by one schedule. A training ends where what the forecast adds to the noise of its seed is bearable;
its sample says so (status ``stopped``), and by how much (`precision_sd`).

The rule is fitted by the process that hands out trainings; a worker gets a handful of numbers for one
configuration, so that the same numbers and seed always end a training at the same epoch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpmodel.samples import Samples
from cpmodel.space import Configuration, Floats, Space
from cpmodel.surrogates.features import Features
from cpmodel.surrogates.predictive import Link

# Whole trainings that a rule needs; with fewer, coefficients and their spread cannot be told
LEAST_WHOLE = 12
# What a forecast may add to the variance of a training's seed, as a share of that: what costs surrogates less
# than a tenth of their error (scripts/bench/early.py)
SHARE = 1.5
# After one epoch so much is still to come that a law of a dozen trainings is believed where it fits by luck;
# that saved nothing more at an equal error of the surrogates
FIRST_EPOCH = 2
# Strength of the ridge, in rows: choosing it by what is left out did no better, and was too sure of itself
_STRENGTH = 3.0
# Noise of seeds as a share of the sampling deviation of as many images, before repeats speak, and what
# that is worth in repeats: the same images are seen by every seed, and most are clear to all of them
_NOISE, _NOISE_ROWS = 0.7, 4.0
# A feature that varies less says nothing
_LEAST_SCALE = 1e-9
# Student's t has a variance above two degrees of freedom
_LEAST_FREEDOM = 3.0


@dataclass(frozen=True)
class Forecast:
    """The precision that a training would have ended with, and the standard deviation of this forecast."""

    precision: float
    sd: float


@dataclass(frozen=True)
class Reading:
    """How the curve of one configuration is read after one epoch.

    With z the logarithm of the error and u = (1, z), the change that is still to come has mean
    u . `mean` and variance u' `variance` u, `variance` being 2 rows of 2 numbers.
    """

    mean: tuple[float, ...]
    variance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Stopping:
    """When the training of one configuration may end; True of a curve when it may."""

    readings: tuple[Reading, ...]  # one for each epoch from `FIRST_EPOCH` to the last but one
    noise: float  # sd of a seed's precision, as a share of the sampling deviation of as many images
    images: float  # that tell the precision, see `Metric.images_told`
    share: float = SHARE  # of the variance of a seed, what a forecast may add

    def __call__(self, curve: Sequence[float]) -> bool:
        """Whether a training with this curve may end now."""
        forecast = self.forecast(curve)
        if forecast is None:
            return False
        allowed = self.share * self.noise**2 * _sampling_variance(forecast.precision, self.images)
        return bool(forecast.sd**2 <= allowed)

    def forecast(self, curve: Sequence[float]) -> Forecast | None:
        """What a training with this curve so far would end with; None where the rule does not say."""
        at = len(curve) - FIRST_EPOCH
        if not 0 <= at < len(self.readings):
            return None
        reading, link = self.readings[at], _link(self.images)
        u = np.array([1.0, *link.forward(np.array(curve[-1:]))])
        final = np.array(u[1] + u @ np.array(reading.mean))
        spread = np.sqrt(max(float(u @ np.array(reading.variance) @ u), 0.0))
        return Forecast(float(link.inverse(final)), float(spread * link.slope(final)))


@dataclass(frozen=True, eq=False)
class Rule:
    """What the whole trainings of a study say of curves; `of` fits it. For its fields see `Stopping`."""

    space: Space
    features: Features
    laws: tuple[_Law, ...]
    noise: float
    images: float
    share: float

    @classmethod
    def of(cls, samples: Samples, epochs: int, images: float, share: float = SHARE) -> Rule | None:
        """The rule that samples of one recipe support; None where fewer than `LEAST_WHOLE` are whole.

        A whole training has so many epochs; for `images` see `Metric.images_told`.
        """
        frame = samples.frame
        whole = frame["status"].eq("complete") & frame["start"].eq("")
        found = {row: json.loads(frame["curve"].iloc[row]) for row in np.flatnonzero(whole)}
        used = [row for row, curve in found.items() if len(curve) == epochs]
        if len(used) < LEAST_WHOLE or epochs <= FIRST_EPOCH:
            return None
        curves = np.array([found[row] for row in used])
        space = samples.space
        X = space.filled(samples.X[used])
        # the order in which trainings ended must not reach the last bit of the rule
        order = np.lexsort((*curves.T, *X.T))
        X, curves = X[order], curves[order]
        codes = {i: np.unique(X[:, i]) for i, p in enumerate(space.parameters) if p.categorical}
        features = Features.of(X, space.domain, codes)
        label = np.unique(X, axis=0, return_inverse=True)[1].reshape(-1)
        z, encoded = _link(images).forward(curves), features.encode(X)
        laws = tuple(
            _Law.of(np.column_stack([now, encoded]), z[:, -1] - now, label)
            for now in z.T[FIRST_EPOCH - 1 : -1]
        )
        return cls(space, features, laws, noise_share(curves[:, -1], label, images), images, share)

    def stopping(self, configuration: Configuration) -> Stopping:
        """The rule for one configuration, as numbers that can be sent to a worker."""
        X = self.space.filled(self.space.matrix([configuration]))
        encoded = self.features.encode(X)[0]
        readings = tuple(law.reading(encoded) for law in self.laws)
        return Stopping(readings, self.noise, self.images, self.share)


@dataclass(frozen=True, eq=False)
class _Law:
    """Ridge regression of the further change on where the curve is and on the configuration."""

    centre: Floats  # of the features, shape (m,), as their scale
    scale: Floats
    coefficients: Floats  # shape (m + 1,), the intercept first
    covariance: Floats  # of the coefficients, in units of `variance`
    variance: float  # of a new training about the line

    @classmethod
    def of(cls, F: Floats, y: Floats, label: Any) -> _Law:
        """The law of y, shape (n,), by features F, shape (n, m); rows of one label are left out together.

        Notes
        -----
        Ridge regression is the posterior mean under y ~ N(0, s^2 K), K = I + F F' / strength, and r = y - H y
        is K^-1 y. What is left of a row when its label is left out, q, is r solved with that block of
        I - H, so that the mean of r q is s^2 without bias (Rasmussen, Williams 2006, section 5.4.2).
        """
        n, m = F.shape
        centre, scale = F.mean(axis=0), F.std(axis=0)
        scale = np.where(scale > _LEAST_SCALE, scale, np.inf)
        A = np.column_stack([np.ones(n), (F - centre) / scale])
        covariance = np.linalg.inv(A.T @ A + _STRENGTH * np.diag([0.0, *np.ones(m)]))
        coefficients = covariance @ A.T @ y
        residual, missed = y - A @ coefficients, np.empty(n)
        for one in np.unique(label):
            rows = np.flatnonzero(label == one)
            kept = np.eye(len(rows)) - A[rows] @ covariance @ A[rows].T
            missed[rows] = np.linalg.solve(kept, residual[rows])
        # a law fitted to few rows has the tails of Student's t: its variance
        freedom = max(n - float(np.sum((A @ covariance) * A)), _LEAST_FREEDOM)
        variance = float(residual @ missed) / n * freedom / (freedom - 2.0)
        return cls(centre, scale, coefficients, covariance, variance)

    def reading(self, encoded: Floats) -> Reading:
        """The law for one configuration: all its features but the first are given."""
        # the features as a matrix times u: only the first varies
        of_u = np.zeros((len(self.centre) + 1, 2))
        of_u[0, 0] = 1.0
        of_u[1:, 0] = (np.array([0.0, *encoded]) - self.centre) / self.scale
        of_u[1, 1] = 1.0 / self.scale[0]
        variance = self.variance * (of_u.T @ self.covariance @ of_u)
        variance[0, 0] += self.variance
        mean = of_u.T @ self.coefficients
        return Reading(tuple(mean.tolist()), tuple(map(tuple, variance.tolist())))


def noise_share(precision: Floats, label: Any, images: float) -> float:
    """Standard deviation of a seed's precision, as a share of the sampling deviation of so many images.

    The label, a whole number, is the configuration of each precision: repeats tell the noise.
    """
    count = np.bincount(label)
    mean = np.bincount(label, weights=precision) / count
    squares = (precision - mean[label]) ** 2 / _sampling_variance(mean[label], images)
    freedom = float((count - 1).sum())
    return float(np.sqrt((_NOISE_ROWS * _NOISE**2 + squares.sum()) / (_NOISE_ROWS + freedom)))


def _sampling_variance(precision: Any, images: float) -> Any:
    """Variance of the fraction that so many images give, none of them ever all right or wrong."""
    return np.maximum(precision * (1.0 - precision), 0.5 / images) / images


def _link(images: float) -> Link:
    """Logarithms of errors, held at half an image."""
    return Link("log_error", floor=0.5 / images)
