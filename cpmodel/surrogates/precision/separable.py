"""Least squares for models linear in most coefficients, under inequalities, and from many starts at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize

from cpmodel.space import Floats

# theta, shape (q,) -> Phi, shape (n, p), and its derivatives by theta, shape (q, n, p)
Basis = Callable[[Floats], tuple[Floats, Floats]]

# Directions of columns weaker than this, relative to the strongest, are rounding
_RANK = 1e-11
# Keeps a rank-deficient problem under inequalities solvable; relative to the columns' size
_RIDGE = 1e-9
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
class SeparableFit:
    """theta, shape (q,), and beta, (p,), of least ``sum((Phi(theta) beta - y)**2)``, and that sum."""

    theta: Floats
    beta: Floats
    sse: float
    converged: bool


def projected_residual(basis: Basis, theta: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Residual Phi beta - y at the best beta, its exact Jacobian by theta, and that beta.

    Source: Golub, Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose
    variables separate, SIAM J. Numer. Anal. 10 (1973), eq. 4.12; both terms are kept.
    """
    phi, derivatives = basis(theta)
    U, singular, Vt = np.linalg.svd(phi, full_matrices=False)
    kept = singular > _RANK * singular.max(initial=0.0)
    U, singular, Vt = U[:, kept], singular[kept], Vt[kept]
    beta: Floats = Vt.T @ ((U.T @ y) / singular)
    residual = phi @ beta - y
    moved = derivatives @ beta
    across = moved - (moved @ U) @ U.T
    along = ((derivatives.transpose(0, 2, 1) @ residual) @ Vt.T / singular) @ U.T
    return residual, (across - along).T, beta


def fit_separable(
    basis: Basis, y: Floats, start: Floats, bounds: tuple[Floats, Floats], **options: Any
) -> SeparableFit:
    """Best fit found from `start`, shape (q,), with theta within `bounds`, two arrays of shape (q,).

    `options` go to `scipy.optimize.least_squares`.
    """

    @lru_cache(maxsize=1)  # residual and Jacobian are asked for one after the other, at the same place
    def at(theta: bytes) -> tuple[Floats, Floats, Floats]:
        return projected_residual(basis, np.frombuffer(theta), y)

    def residual(theta: Floats) -> Floats:
        return at(theta.tobytes())[0]

    def jacobian(theta: Floats) -> Floats:
        return at(theta.tobytes())[1]

    found = optimize.least_squares(residual, np.clip(start, *bounds), jacobian, bounds, **options)
    missed, _, beta = at(found.x.tobytes())
    return SeparableFit(found.x, beta, float(missed @ missed), bool(found.status > 0))


def solve_within(phi: Floats, y: Floats, G: Floats, h: Floats) -> tuple[Floats, Floats]:
    """Beta of least ``sum((phi beta - y)**2)`` with ``G beta >= h``, and the multipliers of the inequalities.

    Source: Lawson, Hanson, Solving least squares problems, chapter 23: as least distance programming, by
    non-negative least squares. The inequalities must not contradict each other.
    """
    size = np.linalg.norm(phi, axis=0)
    padded = np.concatenate([phi, _RIDGE * np.diag(np.maximum(size, 1e-150))])
    Q, R = np.linalg.qr(padded)
    shifted = Q[: len(y)].T @ y
    A = np.linalg.solve(R.T, G.T).T
    b = h - A @ shifted
    E = np.concatenate([A.T, b[None, :]])
    target = np.zeros(len(E))
    target[-1] = 1.0
    u, _ = optimize.nnls(E, target)
    r = E @ u - target
    z = -r[:-1] / r[-1]
    return np.linalg.solve(R, z + shifted), u / -r[-1]


def fit_separable_within(
    basis: Basis,
    y: Floats,
    start: Floats,
    bounds: tuple[Floats, Floats],
    places: Basis,
    limits: tuple[float, float],
) -> SeparableFit:
    """Best fit near `start` whose values at `places`, the basis elsewhere, stay within `limits`.

    For each theta the best beta is a quadratic programme, solved exactly; the gradient by theta then follows
    from its multipliers (the envelope theorem), so that again only theta is searched.
    """

    def solved(theta: Floats) -> tuple[Floats, Floats, float]:
        (phi, derivatives), (there, derivatives_there) = basis(theta), places(theta)
        G, h = np.concatenate([there, -there]), np.repeat([limits[0], -limits[1]], len(there))
        beta, multipliers = solve_within(phi, y, G, h)
        residual = phi @ beta - y
        pressed = multipliers[: len(there)] - multipliers[len(there) :]
        gradient = (derivatives @ beta) @ residual - (derivatives_there @ beta) @ pressed
        return beta, gradient, float(residual @ residual)

    def loss_and_gradient(theta: Floats) -> tuple[float, Floats]:
        _, gradient, sse = solved(theta)
        return 0.5 * sse, gradient

    theta, converged = start, True
    if len(start):
        start, limited = np.clip(start, *bounds), optimize.Bounds(*bounds)
        found = optimize.minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=limited)
        theta, converged = found.x, bool(found.success)
    beta, _, sse = solved(theta)
    return SeparableFit(theta, beta, sse, converged)


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
