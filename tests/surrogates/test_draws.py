"""Draws of many configurations at once have the law of each, and neighbours go together."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cpmodel import registry
from cpmodel.errors import FitWarning
from cpmodel.surrogates.precision.auto import AutoPrecision
from cpmodel.surrogates.precision.model import PrecisionModel, model_class


@pytest.fixture(scope="module", params=registry.names("precision_models"))
def fitted(request: pytest.FixtureRequest) -> tuple[PrecisionModel, np.ndarray]:
    rng = np.random.default_rng(0)
    X = np.exp(rng.uniform(0, 3, (14, 3)))
    y = 1 - 0.5 * np.prod(X**-0.15, axis=1) + rng.normal(0, 0.003, 14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        model = model_class(request.param)().fit(X, y)
    return model, np.exp(rng.uniform(0.2, 2.8, (20, 3)))


def test_each_has_its_law(fitted: tuple[PrecisionModel, np.ndarray]) -> None:
    model, X = fitted
    draws = model.draws(X, 4000)
    assert draws.shape == (4000, 20)
    law = model.predictive(X)
    if isinstance(model, AutoPrecision):  # trainings left out narrow its laws, and not its draws
        law = law.stretched(1.0 / min(model.stretch_, 1.0))
    middle = model.link_.forward(np.median(draws, axis=0)) - model.link_.forward(law.mean())
    np.testing.assert_array_less(np.abs(middle), 0.25 * law.total(False) + 0.005)
    low, high = law.interval(0.8, new_training=False)
    inside = ((draws >= low) & (draws <= high)).mean(axis=0)
    # an average's law has the mean and the variance of its members', and not quite their shape
    np.testing.assert_allclose(inside, 0.8, atol=0.3 if model.name == "auto" else 0.04)
    assert inside.mean() == pytest.approx(0.8, abs=0.05)


def test_neighbours_are_wrong_together(fitted: tuple[PrecisionModel, np.ndarray]) -> None:
    model, X = fitted
    twins = np.concatenate([X[:1], X[:1] * 1.0001, X[1:]])
    draws = model.draws(twins, 1000)
    correlation = np.corrcoef(draws.T)
    assert correlation[0, 1] > 0.98
    assert correlation[0, 1] >= correlation[0, 2:].max() - 0.01


def test_the_same_seed_gives_the_same_draws(fitted: tuple[PrecisionModel, np.ndarray]) -> None:
    model, X = fitted
    np.testing.assert_array_equal(model.draws(X, 50, 3), model.draws(X, 50, 3))
    assert not np.array_equal(model.draws(X, 50, 3), model.draws(X, 50, 4))


@pytest.mark.parametrize("name", ["loggp", "quadratic"])
def test_misfit_moves_all_alike_and_what_is_each_ones_own_does_not(name: str) -> None:
    """The same scatter about a power law: noise, or each configuration's own, as equal repeats show."""
    rng = np.random.default_rng(1)
    X = np.exp(rng.uniform(0, 3, (30, 3)))
    law = np.log(0.4) - np.log(X) @ [0.15, 0.1, 0.05]
    X, law = np.concatenate([X, X[[0] * 5]]), np.concatenate([law, law[[0] * 5]])
    scatter = 0.02 * rng.standard_normal(35)
    equal = np.concatenate([scatter[:30], scatter[[0] * 5]])
    fresh = np.exp(rng.uniform(0.2, 2.8, (40, 3)))
    apart = []
    for deviation in (scatter, equal):
        model = model_class(name)().fit(X, 1 - np.exp(law + deviation))
        draws = np.log(1 - model.draws(fresh, 500))
        draws -= draws.mean(axis=0)
        # variance of a draw between configurations, of all its variance
        apart.append(draws.var(axis=1).mean() / (draws**2).mean())
    assert apart[0] < 0.4
    assert apart[1] > 0.6
