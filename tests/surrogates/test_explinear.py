"""The exponential-plus-linear model: known laws, limits, forms, robust loss."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from precision_tables import DOMAIN, table
from scipy import optimize

from cpmodel.errors import FitError, FitWarning
from cpmodel.surrogates.precision.explinear import LIMITS, ExponentialLinear

F = np.array([2.0, 4, 8, 12, 16, 24, 32, 40, 48, 64])

GRID = Path(__file__).parents[2] / "data" / "measured" / "fashion_mnist_grid.csv"
GRID_DOMAIN = np.array([[2.0, 64.0], [8.0, 28.0], [3.0, 5.0], [1.0, 3.0]])


def values(model) -> dict[str, float]:
    return {c.name: c.value for c in model.coefficients_}


def law(gamma):
    """Eq. 2 with coefficients of the size the paper prints."""
    return 0.8 * np.exp(-0.03 / gamma) + 0.1 * gamma + 0.03


def test_one_parameter_law_is_found_exactly():
    model = ExponentialLinear(names=["f"]).fit(F[:, None], law(F / 64))
    found = values(model)
    assert found == pytest.approx({"b1": 0.8, "c f": -0.03, "d f": 0.1, "e": 0.03}, rel=1e-4)
    assert model.form_ == "full" and model.relative_error_ < 1e-6
    assert all(c.standard_error is not None and c.standard_error > 0 for c in model.coefficients_)


def test_raw_values_and_gamma_are_one():
    raw = ExponentialLinear(scale=[64]).fit(F[:, None], law(F / 64))
    gamma = ExponentialLinear(scale=[1]).fit(F[:, None] / 64, law(F / 64))
    assert values(raw) == pytest.approx(values(gamma), rel=1e-3)


def test_four_parameters_eq_6():
    generator = np.random.default_rng(0)
    gamma = np.stack([generator.choice(np.linspace(0.1, 1, 8), 80) for _ in range(4)], axis=1)
    P = 0.9 * np.exp(-(0.01 / gamma).sum(axis=1)) + gamma @ [0.02, -0.01, 0.03, 0.0] + 0.01
    model = ExponentialLinear(scale=np.ones(4)).fit(gamma, P)
    np.testing.assert_allclose(model.surface(gamma), P, atol=1e-5)
    assert len(model.coefficients_) == 10


def test_standard_errors_are_those_of_repeated_experiments():
    generator = np.random.default_rng(0)
    found, claimed = [], []
    for _ in range(60):
        x = np.repeat(F, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)
            model = ExponentialLinear(names=["f"]).fit(
                x[:, None], law(x / 64) + generator.normal(0, 0.002, len(x))
            )
        c = next(c for c in model.coefficients_ if c.name == "c f")
        if c.standard_error is not None:
            found.append(c.value)
            claimed.append(c.standard_error)
    assert np.std(found) == pytest.approx(np.median(claimed), rel=0.5)


@pytest.mark.filterwarnings("ignore::cpmodel.errors.FitWarning")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [8, 10, 14])
def test_no_value_leaves_the_limits(seed, n):
    generator = np.random.default_rng(seed)
    X, y = table(n, noise=0.1, seed=seed)
    X[:, :2] = np.minimum(X[:, :2], [16, 16])
    model = ExponentialLinear(domain=DOMAIN).fit(X, y)
    everywhere = np.stack([generator.uniform(low, high, 20000) for low, high in DOMAIN], axis=1)
    surface = model.surface(everywhere)
    assert surface.min() >= LIMITS[0] and surface.max() <= LIMITS[1]


@pytest.mark.parametrize("seed", range(6))
def test_squares_no_greater_than_from_many_starts_of_a_general_solver(seed):
    """Fashion-MNIST trainings of the plain family, 30 of 540; exponents bounded as the model bounds them."""
    rows = pd.read_csv(GRID).sample(30, random_state=seed)
    X, P, domain = rows[list("fskl")].to_numpy(np.float64), rows["precision"].to_numpy(), GRID_DOMAIN
    model = ExponentialLinear(domain=domain).fit(X, P)
    gamma, most = X / domain[:, 1], 8.0 / (domain[:, 1] / domain[:, 0] - 1.0)
    high = np.array([1e4, *most, 1e4, 1e4, 1e4, 1e4, 1e4])

    def residual(p):
        return p[0] * np.exp(gamma**-1 @ p[1:5]) + gamma @ p[5:9] + p[9] - P

    rng = np.random.default_rng(seed)
    found = []
    for _ in range(8):
        start = np.array([1.0, *(rng.uniform(-0.7, 0.1, 4) * most), *rng.normal(0, 0.1, 4), 0.0])
        found.append(optimize.least_squares(residual, start, bounds=(-high, high), max_nfev=400).cost * 2)
    assert model.sse_ <= min(found) * (1 + 1e-4)


def test_few_rows_take_a_smaller_form_and_say_so():
    X, y = table(200)
    X, index = np.unique(X, axis=0, return_index=True)
    y, order = y[index], np.random.default_rng(0).permutation(len(index))
    for n, form in ((7, "exponential"), (4, "linear"), (3, "constant")):
        with pytest.warns(FitWarning, match=f"form '{form}'"):
            assert ExponentialLinear().fit(X[order[:n]], y[order[:n]]).form_ == form
    with pytest.warns(FitWarning, match="form 'exponential' has 5"):
        ExponentialLinear(form="full").fit(X[order[:6]], y[order[:6]])


def test_robust_loss_forgets_an_outlier():
    P = law(F / 64)
    P[4] -= 0.3
    for loss in ("huber", "soft_l1"):
        plain, robust = (
            ExponentialLinear().fit(F[:, None], P),
            ExponentialLinear(loss=loss).fit(F[:, None], P),
        )
        others = np.delete(np.arange(len(F)), 4)
        missed = [np.abs(m.surface(F[others, None]) - law(F[others] / 64)).max() for m in (plain, robust)]
        assert missed[1] < 0.5 * missed[0]


@pytest.mark.parametrize("given", [{"form": "cubic"}, {"loss": "none"}, {"scale": [1, 2, 3]}])
def test_bad_parameters_are_refused(given):
    with pytest.raises(FitError):
        ExponentialLinear(**given).fit(F[:, None], law(F / 64))
