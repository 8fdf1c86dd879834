"""Searches from many starts at once, against least squares of all coefficients and numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from cpmodel.surrogates.precision.exponents import OneExponential


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
