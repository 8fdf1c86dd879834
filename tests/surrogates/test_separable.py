"""The least-squares core against certified fits, numerical gradients and a general solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from cpmodel.surrogates.precision.separable import (
    OneExponential,
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


def table(seed, n=20, q=3, noise=0.01):
    """Rows of a known exponential plus linear law, with root weights, and its exponents."""
    rng = np.random.default_rng(seed)
    inverse = rng.random((n, q))
    linear = np.concatenate([rng.random((n, 2)), np.ones((n, 1))], axis=1)
    theta = rng.uniform(0.5, 4.0, q)
    root = rng.uniform(0.5, 1.5, n)
    y = -0.4 * np.exp(-inverse @ theta) + linear @ [0.1, -0.05, 0.9] + noise * rng.standard_normal(n)
    return inverse, linear, y, root, theta


def least(inverse, linear, y, root, theta):
    """Least sum of squares at one theta by a general solver, all columns together."""
    phi = np.column_stack([np.exp(-inverse @ theta), linear]) * root[:, None]
    beta = np.linalg.lstsq(phi, y * root)[0]
    return float(np.sum((phi @ beta - y * root) ** 2))


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_sums_are_those_of_all_columns_together(seed):
    inverse, linear, y, root, _ = table(seed)
    problem = OneExponential.of(inverse, linear, y * root, root)
    thetas = np.random.default_rng(seed + 1).uniform(-3, 5, (6, 3))
    expected = [least(inverse, linear, y, root, theta) for theta in thetas]
    assert problem.sums(thetas) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    residuals, _ = problem.residuals(thetas)
    assert np.sum(residuals**2, axis=1) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_derivatives_are_the_numerical_ones(seed):
    inverse, linear, y, root, theta = table(seed)
    problem = OneExponential.of(inverse, linear, y * root, root)
    _, slope = problem.residuals(theta[None])
    step = 1e-6
    for i in range(3):
        moved = np.stack([theta, theta])
        moved[:, i] += [step, -step]
        above, below = problem.residuals(moved)[0]
        assert slope[0, :, i] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-7)


def test_the_law_is_found_without_noise():
    inverse, linear, y, root, theta = table(0, noise=0.0)
    problem = OneExponential.of(inverse, linear, y * root, root)
    starts = np.random.default_rng(1).uniform(-2, 5, (20, 3))
    found, sums = problem.searched(starts, (np.full(3, -8.0), np.full(3, 8.0)))
    assert sums[0] < 1e-12
    assert found[0] == pytest.approx(theta, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_no_worse_than_a_general_solver_from_the_same_starts(seed):
    inverse, linear, y, root, _ = table(seed, n=15)
    low, high = np.full(3, -8.0), np.full(3, 8.0)
    starts = np.random.default_rng(seed).uniform(-2, 5, (12, 3))
    problem = OneExponential.of(inverse, linear, y * root, root)
    found, sums = problem.searched(starts, (low, high))
    assert np.all(np.diff(sums) >= 0)
    assert np.all((low <= found) & (found <= high))
    assert sums == pytest.approx([least(inverse, linear, y, root, theta) for theta in found], rel=1e-6)

    def residual(p):
        return (p[0] * np.exp(-inverse @ p[1:4]) + linear @ p[4:] - y) * root

    solved = [
        2
        * optimize.least_squares(
            residual,
            [-0.1, *start, 0, 0, 0.5],
            bounds=([-1e4] + [-8] * 3 + [-1e4] * 3, [1e4] + [8] * 3 + [1e4] * 3),
        ).cost
        for start in starts
    ]
    assert sums[0] <= min(solved) * (1 + 1e-4)


def test_an_optimum_at_a_bound_is_kept_there():
    inverse, linear, y, root, theta = table(3, noise=0.0)
    high = theta / 2
    problem = OneExponential.of(inverse, linear, y * root, root)
    found, sums = problem.searched(np.zeros((1, 3)) + 0.1, (-high, high))
    general = optimize.minimize(
        lambda t: least(inverse, linear, y, root, t),
        0.1 * np.ones(3),
        bounds=list(zip(-high, high, strict=True)),
        method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 1e-12},
    )
    assert np.any(found[0] == high)
    assert sums[0] <= general.fun * (1 + 1e-3)


def test_an_exponential_that_is_linear_adds_nothing():
    inverse, linear, y, root, _ = table(0)
    problem = OneExponential.of(inverse, linear, y * root, root)
    plain = np.linalg.lstsq(linear * root[:, None], y * root)[1][0]
    at_zero = np.zeros((2, 3))
    assert problem.sums(at_zero) == pytest.approx([plain] * 2)
    residuals, slope = problem.residuals(at_zero)
    assert np.sum(residuals[0] ** 2) == pytest.approx(plain)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("rows", [4, 7, 12, 40])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("seed", range(5))
def test_exponents_that_act_alike_and_few_rows_end_no_search(rows, noise, seed):
    inverse, linear, y, root, _ = table(seed, n=rows, q=5, noise=noise)
    inverse[:, 3] = inverse[:, 2]  # the same at every row
    inverse[:, 4] = 0.5  # and one that no row tells
    problem = OneExponential.of(inverse, linear, y * root, root)
    starts = np.random.default_rng(seed).uniform(-4, 6, (60, 5))
    found, sums = problem.searched(starts, (np.full(5, -8.0), np.full(5, 8.0)))
    assert np.isfinite(found).all() and np.isfinite(sums).all()
    assert np.all(np.abs(found) <= 8)
    assert sums[0] <= problem.sums(np.clip(starts, -8, 8)).min() + 1e-12
