"""Least squares for models linear in most coefficients: variable projection, also under inequalities."""

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

# Directions of Phi weaker than this, relative to its strongest, are rounding
_RANK = 1e-11
# Keeps a rank-deficient problem under inequalities solvable; relative to the columns' size
_RIDGE = 1e-9


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
