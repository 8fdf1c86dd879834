"""The terms of the exponential-plus-linear model, scaled to be of order 1 over the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from cpmodel.space import Floats
from cpmodel.surrogates.precision.separable import Basis

# The exponential may change by e to this over the domain of one parameter
_SWING = 8.0
# and b1 may differ from the exponential's size on the domain by e to this, shared by all parameters
_RANGE = 200.0
_LEAST_WIDTH = 1e-9


@dataclass(frozen=True)
class Terms:
    """Columns of the exponential and of the linear part.

    Parameters
    ----------
    scale : what gamma is relative to, one number a column
    low, high : range of gamma, one number a column
    exponential : columns with a term c / gamma
    linear : columns with a term d gamma
    codes : (column, code) with a term of its own

    Notes
    -----
    theta holds the fall of the exponent from each exponential column's greatest to its least gamma. beta
    holds the size of the exponential at the greatest gammas (if there is one), the rise over each linear
    column's range, the effect of each code, and the value where all of these are zero.
    """

    scale: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    exponential: tuple[int, ...]
    linear: tuple[int, ...]
    codes: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, X: Floats, domain: Floats, categorical: Mapping[int, Sequence[float]], scale: Floats) -> Self:
        """All terms that a table X, shape (n, d), can have, with the codes of its categorical columns."""
        low, high = (domain / scale[:, None]).T
        exponential, linear, codes = [], [], []
        for index in range(X.shape[1]):
            if index in categorical:
                codes += [(index, float(code)) for code in categorical[index][1:]]
            elif X[:, index].min() < X[:, index].max() and (
                high[index] - low[index] > _LEAST_WIDTH * max(abs(low[index]), abs(high[index]))
            ):
                linear.append(index)
                if low[index] > 0 and X[:, index].min() > 0:
                    exponential.append(index)
        return cls(
            tuple(map(float, scale)),
            tuple(map(float, low)),
            tuple(map(float, high)),
            tuple(exponential),
            tuple(linear),
            tuple(codes),
        )

    def reduced(self, *, exponential: bool, linear: Literal["all", "needed", "none"]) -> Self:
        """A smaller form: without the exponential, or with only the linear terms needed, or none."""
        kept = self.linear if linear == "all" else ()
        if linear == "needed":
            kept = tuple(index for index in self.linear if index not in self.exponential)
        return replace(
            self,
            exponential=self.exponential if exponential else (),
            linear=kept,
            codes=() if linear == "none" else self.codes,
        )

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.exponential) + bool(self.exponential) + len(self.linear) + len(self.codes) + 1

    def _inverse_width(self) -> Floats:
        """1/low - 1/high of gamma for the exponential columns."""
        return np.array([1.0 / self.low[i] - 1.0 / self.high[i] for i in self.exponential])

    def bounds(self) -> tuple[Floats, Floats]:
        """Least and greatest theta."""
        high = np.array([self.high[i] for i in self.exponential])
        # theta_i / (width_i high_i) is what it adds to log b1
        most = _RANGE / max(len(high), 1) * self._inverse_width() * high
        upper = np.minimum(_SWING, most)
        return -upper, upper

    def at_bound(self, theta: Floats) -> NDArray[np.bool_]:
        """Which of theta lie at a bound."""
        return np.abs(theta) >= self.bounds()[1] * (1.0 - 1e-6)

    def parts(self, X: Floats) -> tuple[Floats, Floats]:
        """1/gamma of the exponential columns, from 0 at the greatest to 1; the columns of the linear part."""
        exponential = list(self.exponential)
        gamma = X[:, exponential] / np.array(self.scale)[exponential]
        # a value that is not positive has no 1/gamma: it counts as one far below the domain
        gamma = np.maximum(gamma, 0.5 * np.array(self.low)[exponential])
        inverse = (1.0 / gamma - 1.0 / np.array(self.high)[exponential]) / self._inverse_width()
        columns = [
            (X[:, i] / self.scale[i] - self.low[i]) / (self.high[i] - self.low[i]) for i in self.linear
        ]
        columns += [(X[:, index] == code).astype(np.float64) for index, code in self.codes]
        return inverse, np.stack([*columns, np.ones(len(X))], axis=1)

    def basis(self, X: Floats, root_weight: Floats | None = None) -> Basis:
        """Phi(theta) and its derivatives at the rows of X, each row times its root weight."""
        inverse, linear = self.parts(X)
        root = np.ones(len(X)) if root_weight is None else root_weight
        weighted = linear * root[:, None]

        def at(theta: Floats) -> tuple[Floats, Floats]:
            if not self.exponential:
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
        q, p = len(theta), len(beta)
        labels: list[str] = []
        values: list[float] = []
        rows: list[Floats] = []

        def add(label: str, value: float, row: Floats) -> None:
            labels.append(label)
            values.append(float(value))
            rows.append(row)

        if self.exponential:
            width = self._inverse_width()
            lift = 1.0 / (width * np.array([self.high[i] for i in self.exponential]))
            size = float(np.exp(theta @ lift))
            row = np.zeros(q + p)
            row[:q], row[q] = beta[0] * size * lift, size
            add("b1", beta[0] * size, row)
            for position, index in enumerate(self.exponential):
                row = np.zeros(q + p)
                row[position] = -1.0 / width[position]
                add(f"c {names[index]}", -theta[position] / width[position], row)
        first = p - 1 - len(self.linear) - len(self.codes)
        constant, constant_row = float(beta[-1]), np.zeros(q + p)
        constant_row[-1] = 1.0
        for position, index in enumerate(self.linear, start=first):
            width_i = self.high[index] - self.low[index]
            row = np.zeros(q + p)
            row[q + position] = 1.0 / width_i
            add(f"d {names[index]}", beta[position] / width_i, row)
            constant -= beta[position] * self.low[index] / width_i
            constant_row[q + position] = -self.low[index] / width_i
        for position, (index, code) in enumerate(self.codes, start=first + len(self.linear)):
            row = np.zeros(q + p)
            row[q + position] = 1.0
            add(f"effect of {names[index]}={code:g}", beta[position], row)
        add("e", constant, constant_row)
        return labels, np.array(values), np.stack(rows)
