"""The terms of the exponential-plus-linear model, scaled to be of order 1 over the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from cpmodel.space import Floats
from cpmodel.surrogates.precision.separable import Basis

Form = Literal["full", "exponential", "linear", "constant"]
Columns = NDArray[np.int64]

# The exponential may change by e to this over the domain of one parameter
_SWING = 8.0
# and b1 may differ from the exponential's size on the domain by e to this, shared by all parameters
_RANGE = 200.0
_LEAST_WIDTH = 1e-9


@dataclass(frozen=True, eq=False)
class Terms:
    """Columns of the exponential and of the linear part.

    Parameters
    ----------
    scale, low, high : shape (d,): what gamma is relative to, and its range
    exponential, linear : columns with a term c / gamma, and with a term d gamma
    codes : (column, code) with a term of its own

    Notes
    -----
    theta: the fall of the exponent from each exponential column's greatest to its least gamma. beta: the size
    of the exponential at the greatest gammas (if there is one), the rise over each linear column's range, the
    effect of each code, and the value where all of these are zero.
    """

    scale: Floats
    low: Floats
    high: Floats
    exponential: Columns
    linear: Columns
    codes: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, X: Floats, domain: Floats, categorical: Mapping[int, Sequence[float]], scale: Floats) -> Self:
        """All terms that a table X, shape (n, d), can have, with the codes of its categorical columns."""
        low, high = (domain / scale[:, None]).T
        codes = tuple((at, float(code)) for at in sorted(categorical) for code in categorical[at][1:])
        least = X.min(axis=0)
        varied = (least < X.max(axis=0)) & (high - low > _LEAST_WIDTH * np.maximum(abs(low), abs(high)))
        varied[list(categorical)] = False
        exponential = np.flatnonzero(varied & (low > 0) & (least > 0))
        return cls(scale, low, high, exponential, np.flatnonzero(varied), codes)

    def of_form(self, form: Form) -> Self:
        """The terms that a form has; "exponential" has the linear ones of columns without 1/gamma."""
        none = np.empty(0, dtype=np.int64)
        if form == "constant":
            return replace(self, exponential=none, linear=none, codes=())
        if form == "exponential":
            return replace(self, linear=np.setdiff1d(self.linear, self.exponential))
        return self if form == "full" else replace(self, exponential=none)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.exponential) + (len(self.exponential) > 0) + len(self.linear) + len(self.codes) + 1

    def _inverse_width(self) -> Floats:
        """1/low - 1/high of gamma for the exponential columns."""
        return np.asarray(1.0 / self.low[self.exponential] - 1.0 / self.high[self.exponential])

    def bounds(self) -> tuple[Floats, Floats]:
        """Least and greatest theta."""
        high = self.high[self.exponential]
        # theta_i / (width_i high_i) is what it adds to log b1
        most = _RANGE / max(len(high), 1) * self._inverse_width() * high
        upper = np.minimum(_SWING, most)
        return -upper, upper

    def at_bound(self, theta: Floats) -> NDArray[np.bool_]:
        """Which of theta lie at a bound."""
        return np.abs(theta) >= self.bounds()[1] * (1.0 - 1e-6)

    def parts(self, X: Floats) -> tuple[Floats, Floats]:
        """1/gamma of the exponential columns, from 0 at the greatest to 1; the columns of the linear part."""
        at, low, high = self.exponential, self.low, self.high
        # a value that is not positive has no 1/gamma: it counts as one far below the domain
        gamma = np.maximum(X[:, at] / self.scale[at], 0.5 * low[at])
        inverse = (1.0 / gamma - 1.0 / high[at]) / self._inverse_width()
        columns = [(X[:, i] / self.scale[i] - low[i]) / (high[i] - low[i]) for i in self.linear]
        columns += [(X[:, index] == code).astype(np.float64) for index, code in self.codes]
        return inverse, np.stack([*columns, np.ones(len(X))], axis=1)

    def basis(self, X: Floats, root_weight: Floats | None = None) -> Basis:
        """Phi(theta) and its derivatives at the rows of X, each row times its root weight."""
        inverse, linear = self.parts(X)
        root = np.ones(len(X)) if root_weight is None else root_weight
        weighted = linear * root[:, None]

        def at(theta: Floats) -> tuple[Floats, Floats]:
            if not len(self.exponential):
                return weighted, np.zeros((0, *weighted.shape))
            exponential = np.exp(-inverse @ theta) * root
            phi = np.concatenate([exponential[:, None], weighted], axis=1)
            derivatives = np.zeros((len(theta), *phi.shape))
            derivatives[:, :, 0] = -(inverse * exponential[:, None]).T
            return phi, derivatives

        return at

    def jacobian(self, X: Floats, theta: Floats, beta: Floats) -> Floats:
        """Derivatives of the values at the rows of X by theta, then by beta: shape (n, size)."""
        phi, derivatives = self.basis(X)(theta)
        return np.concatenate([(derivatives @ beta).T, phi], axis=1)

    def readable(self, names: Sequence[str], theta: Floats, beta: Floats) -> tuple[list[str], Floats, Floats]:
        """Names and values of b1, c, d, e in units of gamma, and their derivatives by theta and beta."""
        q, linear = len(theta), self.linear
        labels: list[str] = []
        values: list[float] = []
        # the linear part has its columns in the same order, and codes and the constant are as they are read
        back = np.eye(q + len(beta))
        if q:
            width = self._inverse_width()
            lift = 1.0 / (width * self.high[self.exponential])
            size = float(np.exp(theta @ lift))
            labels += ["b1", *(f"c {names[i]}" for i in self.exponential)]
            values += [beta[0] * size, *(-theta / width)]
            back[: q + 1] = 0.0
            back[0, :q], back[0, q] = beta[0] * size * lift, size
            back[np.arange(1, q + 1), np.arange(q)] = -1.0 / width
        first = len(beta) - 1 - len(linear) - len(self.codes)
        rise, rises = self.high[linear] - self.low[linear], beta[first : first + len(linear)]
        place = q + first + np.arange(len(linear))
        back[place, place], back[-1, place] = 1.0 / rise, -self.low[linear] / rise
        labels += [f"d {names[i]}" for i in linear]
        labels += [f"effect of {names[i]}={code:g}" for i, code in self.codes]
        constant = np.subtract.reduce([beta[-1], *(rises * self.low[linear] / rise)])
        values += [*(rises / rise), *beta[first + len(linear) : -1], constant]
        return [*labels, "e"], np.array(values), back
