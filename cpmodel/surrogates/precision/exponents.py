"""Least squares for one exponential beside linear columns: searches from many starts at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cpmodel.space import Floats

# Directions of the linear columns, or of the exponential beside them, weaker than this are rounding
_RANK = 1e-11
# Damping of the first step
_DAMPING = 1e-2
# The least damping, without which exponents that act alike could not be told apart
_LEAST_DAMPING = 1e-9
# What a good step multiplies the damping by
_BETTER = 0.2
# and a bad one
_WORSE = 5.0
# The damping at which a search has nowhere to go
_STUCK = 1e10
# Most steps of a search
_STEPS = 60
# A search ends when a good step lowers its sum of squares by less than this share of it
_SETTLED = 1e-7


@dataclass(frozen=True)
class OneExponential:
    """y = b exp(-inverse theta) + linear beta by least squares: b and beta are the best ones for each theta.

    `inverse` and `linear` have shapes (n, q) and (n, p); `y` is weighted already, by the root weights.
    The linear columns are projected out once: of each theta is left a fit by one column, many together.
    """

    inverse: Floats
    span: Floats
    y: Floats
    root_weight: Floats

    @classmethod
    def of(cls, inverse: Floats, linear: Floats, y: Floats, root_weight: Floats) -> OneExponential:
        """The problem, with what the linear columns explain taken out of y."""
        U, singular, _ = np.linalg.svd(linear * root_weight[:, None], full_matrices=False)
        span = U[:, singular > _RANK * singular[0]]
        return cls(inverse, span, y - span @ (span.T @ y), root_weight)

    def _columns(self, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Each theta's exponential, that less what is linear, its square and its factor b."""
        whole = np.exp(-theta @ self.inverse.T) * self.root_weight
        column = whole - (whole @ self.span) @ self.span.T
        square = np.sum(column**2, axis=1)
        told = square > _RANK**2 * np.sum(whole**2, axis=1)
        square = np.where(told, square, np.inf)
        return whole, column, square, column @ self.y / square

    def sums(self, theta: Floats) -> Floats:
        """Least sum of squares of each theta, shape (s,), of shape (s, q)."""
        _, _, square, factor = self._columns(theta)
        return self.y @ self.y - np.where(np.isfinite(square), square, 0.0) * factor**2

    def residuals(self, theta: Floats) -> tuple[Floats, Floats]:
        """Residuals of each theta, shape (s, n), and their exact derivatives, shape (s, n, q)."""
        whole, column, square, factor = self._columns(theta)
        residual = factor[:, None] * column - self.y
        moved = -whole[:, :, None] * self.inverse
        moved -= self.span @ (self.span.T @ moved)
        turned = np.einsum("snq,n->sq", moved, self.y)
        turned -= 2.0 * factor[:, None] * np.einsum("snq,sn->sq", moved, column)
        slope = factor[:, None, None] * moved
        slope += column[:, :, None] * (turned / square[:, None])[:, None, :]
        return residual, slope

    def searched(self, starts: Floats, bounds: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Where searches from `starts`, shape (s, q), end, and the sums of squares there; the best first.

        Steps are Levenberg and Marquardt's, with what a bound holds left out of them.
        """
        low, high = bounds
        theta = np.clip(starts, low, high)
        damping = np.full(len(theta), _DAMPING)
        residual, slope = self.residuals(theta)
        sums = np.sum(residual**2, axis=1)
        going = np.arange(len(theta))
        for _ in range(_STEPS):
            here = theta[going]
            down = np.einsum("snq,sn->sq", slope[going], residual[going])
            held = ((here <= low) & (down > 0)) | ((here >= high) & (down < 0))
            J = np.where(held[:, None, :], 0.0, slope[going])
            A = J.transpose(0, 2, 1) @ J
            diagonal = np.einsum("sqq->sq", A)
            diagonal += damping[going, None] * diagonal + 1e-300 + held
            step = np.linalg.solve(A, np.where(held, 0.0, -down)[:, :, None])[:, :, 0]
            there = np.clip(here + step, low, high)
            new_residual, new_slope = self.residuals(there)
            new_sums = np.sum(new_residual**2, axis=1)
            better = new_sums < sums[going]
            gained = sums[going] - new_sums
            took = going[better]
            settled = better & (gained <= _SETTLED * sums[going])
            theta[took], sums[took] = there[better], new_sums[better]
            residual[took], slope[took] = new_residual[better], new_slope[better]
            damping[going] = np.maximum(damping[going] * np.where(better, _BETTER, _WORSE), _LEAST_DAMPING)
            going = going[~settled & (damping[going] < _STUCK)]
            if not len(going):
                break
        order = np.argsort(sums, kind="stable")
        return theta[order], sums[order]
