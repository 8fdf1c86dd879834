"""What a model says of configurations: one Student-t law each, on the scale on which it is smooth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special

from cpmodel.errors import BadInputError
from cpmodel.space import Floats

Kind = Literal["precision", "error", "log_error"]

# Errors are never told from smaller ones than this
_LEAST = 1e-12
# Scales beyond this, on the log of the error, say "anything is possible" already
_WIDEST = 3.0
# Share of its variance by which a row is told apart from a near twin, so that correlations can be factored
_APART = 1e-6


@dataclass(frozen=True)
class Link:
    """The scale on which a model is smooth: z = P, or (1 - P) / unit, or log(1 - P - asymptote).

    Parameters
    ----------
    unit : for "error", above 0: what counts as 1
    asymptote : for "log_error", fraction in [0, 1): the error that no configuration gets below
    floor : for "log_error", above 0: what 1 - P - asymptote is held at, so that a perfect precision is finite

    Examples
    --------
    >>> Link("log_error", asymptote=0.1).inverse(np.log([0.1, 0.9]))
    array([0.8, 0. ])
    """

    kind: Kind = "log_error"
    unit: float = 1.0
    asymptote: float = 0.0
    floor: float = 1e-3

    @property
    def sign(self) -> int:
        """1 when z rises with the precision, -1 when it falls."""
        return 1 if self.kind == "precision" else -1

    def forward(self, precision: ArrayLike) -> Floats:
        """Z of fractions of any shape."""
        precision = np.asarray(precision, dtype=np.float64)
        if self.kind == "precision":
            return precision
        if self.kind == "error":
            return (1.0 - precision) / self.unit
        return np.log(np.maximum(1.0 - precision - self.asymptote, self.floor))

    def inverse(self, z: Floats) -> Floats:
        """Precision of z, held within [0, 1]."""
        if self.kind == "precision":
            return np.clip(z, 0.0, 1.0)
        if self.kind == "error":
            return np.clip(1.0 - z * self.unit, 0.0, 1.0)
        return np.clip(1.0 - self.asymptote - self.slope(z), 0.0, 1.0)

    def unheld(self, precision: float) -> float:
        """Z of one precision wherever it lies, without `floor`: infinite where no z reaches it."""
        if self.kind != "log_error":
            return float(self.forward(precision))
        room = 1.0 - precision - self.asymptote
        return float(np.log(room)) if room > _LEAST else -np.inf

    def slope(self, z: Floats) -> Floats:
        """|dP/dz| at z; what turns a small spread of z into one of P."""
        if self.kind == "log_error":
            # z above 0 is an error above 1 already; cutting there keeps exp() finite
            return np.exp(np.minimum(z, 0.0))
        return np.full_like(z, 1.0 if self.kind == "precision" else self.unit)


def student_log_density(t: Floats, freedom: float) -> Floats:
    """Log density of Student's t with `freedom` degrees of freedom (infinite: the normal one)."""
    if np.isinf(freedom):
        return np.asarray(-0.5 * t * t - 0.5 * np.log(2.0 * np.pi))
    constant = special.gammaln((freedom + 1.0) / 2.0) - special.gammaln(freedom / 2.0)
    tails = (freedom + 1.0) / 2.0 * np.log1p(t * t / freedom)
    return np.asarray(constant - 0.5 * np.log(freedom * np.pi) - tails)


@dataclass(frozen=True)
class Predictive:
    """Laws of the precision of n configurations, each for its mean over seeds and for one new training.

    Parameters
    ----------
    location, scale : shape (n,), centre and scale of the mean over seeds, on `link`'s scale
    noise : shape (n,), scale of one training about that mean, on `link`'s scale
    freedom : degrees of freedom of the Student-t law; infinite for a normal one
    """

    link: Link
    location: Floats
    scale: Floats
    noise: Floats
    freedom: float = np.inf

    def mean(self) -> Floats:
        """Precision at the centre: its median, in [0, 1]."""
        return self.link.inverse(self.location)

    def std(self) -> Floats:
        """Standard deviation of the mean-over-seeds precision, by the slope at the centre."""
        factor = 1.0
        if np.isfinite(self.freedom):
            # below 3 degrees of freedom, where the variance of Student's t grows without bound, that of 3
            freedom = max(self.freedom, 3.0)
            factor = np.sqrt(freedom / (freedom - 2.0))
        return self.scale * factor * self.link.slope(self.location)

    def interval(self, level: float, *, new_training: bool = True) -> tuple[Floats, Floats]:
        """Central interval of `level` for one new training, or else for the mean over seeds."""
        if not 0.0 < float(level) < 1.0:
            raise BadInputError("level", expected="a fraction in (0, 1)", got=level)
        upper, normal = 0.5 + float(level) / 2.0, np.isinf(self.freedom)
        quantile = special.ndtri(upper) if normal else special.stdtrit(self.freedom, upper)
        width = float(quantile) * self.total(new_training)
        ends = self.link.inverse(self.location - width), self.link.inverse(self.location + width)
        return ends if self.link.sign > 0 else ends[::-1]

    def probability(self, target: float) -> Floats:
        """Probability that the mean over seeds reaches `target`."""
        t = self.link.sign * (self.location - self.link.unheld(target)) / self.scale
        return np.asarray(special.ndtr(t) if np.isinf(self.freedom) else special.stdtr(self.freedom, t))

    def log_density(self, precision: Floats) -> Floats:
        """Log density of one new training's precision, per unit of precision: the log score."""
        total = self.total(True)
        z = self.link.forward(precision)
        density = student_log_density((z - self.location) / total, self.freedom)
        return density - np.log(total) - np.log(self.link.slope(z))

    def total(self, new_training: bool) -> Floats:
        """Scale with the noise of one training, or without it."""
        return np.hypot(self.scale, self.noise) if new_training else self.scale

    def on(self, link: Link) -> Predictive:
        """Normal laws of the same mean and standard deviation on another link, by slopes at the centre."""
        location = link.forward(self.mean())
        slope = link.slope(location)
        noise = self.noise * self.link.slope(self.location) / slope
        return Predictive(link, location, self.std() / slope, noise)

    def stretched(self, factor: float) -> Predictive:
        """The same laws, `factor` times as wide."""
        return replace(self, scale=self.scale * factor, noise=self.noise * factor)

    def together(self, covariance: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Precisions drawn from these laws together, shape (count, n): a multivariate t.

        Of `covariance`, shape (n, n), on the link's scale, only the correlations are used.
        """
        spread = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        correlation = covariance / np.multiply.outer(spread, spread)
        np.fill_diagonal(correlation, 1.0 + _APART)
        vary = rng.standard_normal((count, len(spread))) @ linalg.cholesky(correlation, lower=True).T
        if np.isfinite(self.freedom):
            # one draw of the tails for all rows
            vary /= np.sqrt(rng.chisquare(self.freedom, (count, 1)) / self.freedom)
        return self.link.inverse(self.location + self.scale * vary)

    @classmethod
    def of(
        cls, link: Link, location: Floats, scale: Floats, noise: float, freedom: float = np.inf
    ) -> Predictive:
        """Laws of equal noise, their scale above zero and below what can mean anything."""
        return cls(link, location, np.clip(scale, 1e-9, _WIDEST), np.full_like(location, noise), freedom)

    @classmethod
    def joined(cls, parts: Sequence[Predictive]) -> Predictive:
        """The laws of several parts, of one link, as one."""
        columns = zip(*((part.location, part.scale, part.noise) for part in parts), strict=True)
        location, scale, noise = map(np.concatenate, columns)
        return replace(parts[0], location=location, scale=scale, noise=noise)
