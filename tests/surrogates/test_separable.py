"""The least-squares core against certified fits, numerical gradients and a general solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from cpmodel.surrogates.precision.separable import (
    fit_separable,
    fit_separable_within,
    projected_residual,
    solve_within,
)

# NIST Statistical Reference Datasets, nonlinear regression, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml:
# data, certified estimates with their standard deviations, and residual sum of squares, to 11 digits.
MISRA1A_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA1A_Y = [
    10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78
]  # fmt: skip
BOXBOD_X, BOXBOD_Y = [1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224]
MGH17_Y = [
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628,
    0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420,
    0.414, 0.411, 0.406,
]  # fmt: skip
LANCZOS3_Y = [
    2.5134, 2.0443, 1.6684, 1.3664, 1.1232, 0.9269, 0.7679, 0.6389, 0.5338, 0.4479, 0.3776, 0.3197, 0.2720,
    0.2325, 0.1997, 0.1723, 0.1493, 0.1301, 0.1138, 0.1000, 0.0883, 0.0783, 0.0698, 0.0624,
]  # fmt: skip


def decays(x, constant):
    """Basis of exponentials exp(-theta_k x), after a constant if there is one."""
    x = np.asarray(x, dtype=np.float64)

    def basis(theta):
        columns = np.exp(-np.outer(x, theta))
        phi = np.concatenate([np.ones((len(x), int(constant))), columns], axis=1)
        derivatives = np.zeros((len(theta), *phi.shape))
        for k in range(len(theta)):
            derivatives[k, :, k + constant] = -x * columns[:, k]
        return phi, derivatives

    return basis


def saturation(x):
    """Basis of b1 (1 - exp(-b2 x))."""
    x = np.asarray(x, dtype=np.float64)

    def basis(theta):
        decay = np.exp(-theta[0] * x)
        return (1 - decay)[:, None], (x * decay)[None, :, None]

    return basis


CERTIFIED = {
    "Misra1a": (
        saturation(MISRA1A_X), MISRA1A_Y, [[1e-4], [5e-4]], [1.0],
        [5.5015643181e-4, 2.3894212918e2], [7.2668688436e-6, 2.7070075241e0], 1.2455138894e-1,
    ),
    "BoxBOD": (
        saturation(BOXBOD_X), BOXBOD_Y, [[1.0], [0.75]], [10.0],
        [5.4723748542e-1, 2.1380940889e2], [1.0455993237e-1, 1.2354515176e1], 1.1680088766e3,
    ),
    "MGH17": (
        decays(10.0 * np.arange(33), True), MGH17_Y,
        [[1.0, 2.0], [0.01, 0.02]], [10.0] * 2,
        [1.2867534640e-2, 2.2122699662e-2, 3.7541005211e-1, 1.9358469127, -1.4646871366],
        [4.4861358114e-4, 8.9471996575e-4, 2.0723153551e-3, 2.2031669222e-1, 2.2175707739e-1],
        5.4648946975e-5,
    ),
    "Lanczos3": (
        decays(0.05 * np.arange(24), False), LANCZOS3_Y,
        [[0.3, 5.5, 7.6], [0.7, 3.3, 5.2]], [20.0] * 3,
        [9.5498101505e-1, 2.9515951832, 4.9863565084, 8.6816414977e-2, 8.4400777463e-1, 1.5825685901],
        [9.7041624475e-2, 1.0766312506e-1, 3.4436403035e-2, 1.7197908859e-2, 4.1488663282e-2,
         5.8371576281e-2],
        1.6117193594e-8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CERTIFIED)
def test_certified_fits(name):
    basis, y, starts, upper, values, errors, sse = CERTIFIED[name]
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    y, upper = np.array(y, dtype=np.float64), np.array(upper)
    fits = [
        fit_separable(basis, y, np.array(start), (np.zeros(len(upper)), upper), **tight) for start in starts
    ]
    fit = min(fits, key=lambda fit: fit.sse)
    q = len(fit.theta)
    found = np.concatenate([fit.theta, fit.beta])
    phi, derivatives = basis(fit.theta)
    jacobian = np.concatenate([(derivatives @ fit.beta).T, phi], axis=1)
    covariance = np.linalg.inv(jacobian.T @ jacobian) * fit.sse / (len(y) - len(found))
    if name in ("MGH17", "Lanczos3"):
        # the order of the exponentials is free
        order = np.argsort(fit.theta)
        found[:q], found[-q:] = fit.theta[order], fit.beta[-q:][order]
        whole = np.concatenate([order, np.arange(q, len(found) - q), len(found) - q + order])
        covariance = covariance[np.ix_(whole, whole)]
    np.testing.assert_allclose(found, values, rtol=2e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), errors, rtol=1e-4)
    np.testing.assert_allclose(fit.sse, sse, rtol=1e-6)


def test_jacobian_is_exact():
    basis, y = decays(np.linspace(0, 3, 20), True), np.random.default_rng(0).normal(size=20)
    theta = np.array([0.7, 2.0])
    _, jacobian, _ = projected_residual(basis, theta, y)
    for k in range(2):
        step = np.eye(2)[k] * 1e-6
        numeric = (
            projected_residual(basis, theta + step, y)[0] - projected_residual(basis, theta - step, y)[0]
        ) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], numeric, atol=1e-8)


def test_inequalities_against_a_general_solver():
    generator = np.random.default_rng(1)
    for _ in range(20):
        phi, y = generator.normal(size=(12, 4)), generator.normal(size=12)
        G, h = generator.normal(size=(6, 4)), -generator.uniform(0, 0.3, 6)
        beta, multipliers = solve_within(phi, y, G, h)
        general = optimize.minimize(
            lambda b, phi=phi, y=y: np.sum((phi @ b - y) ** 2),
            np.zeros(4),
            constraints={"type": "ineq", "fun": lambda b, G=G, h=h: G @ b - h},
            options={"ftol": 1e-13},
        )
        np.testing.assert_allclose(np.sum((phi @ beta - y) ** 2), general.fun, rtol=1e-6)
        assert np.all(G @ beta >= h - 1e-9) and np.all(multipliers >= 0)
        # stationary: the pull of the rows is carried by the inequalities that are touched
        np.testing.assert_allclose(phi.T @ (phi @ beta - y), G.T @ multipliers, atol=1e-7)


def test_limits_elsewhere_hold_and_cost_least():
    x, there = np.linspace(0, 1, 15), np.linspace(0, 3, 30)
    y = 2.0 - np.exp(-1.5 * x) + np.random.default_rng(0).normal(0, 0.01, 15)
    basis, places = decays(x, True), decays(there, True)
    bounds = (np.array([0.01]), np.array([5.0]))
    free = fit_separable(basis, y, np.array([1.0]), bounds)
    held = fit_separable_within(basis, y, free.theta, bounds, places, (-0.05, 1.7))
    assert np.max(places(held.theta)[0] @ held.beta) <= 1.7 + 1e-6 and held.sse > free.sse

    def sse_at(theta):
        beta, _ = solve_within(basis(theta)[0], y, -places(theta)[0], np.full(30, -1.7))
        return np.sum((basis(theta)[0] @ beta - y) ** 2)

    grid = np.geomspace(0.01, 5.0, 400)
    assert held.sse <= min(sse_at(np.array([rate])) for rate in grid) * (1 + 1e-3)
