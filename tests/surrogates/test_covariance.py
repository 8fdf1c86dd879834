"""The covariance between configurations agrees with the law of each, and neighbours go together."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cpmodel.errors import FitWarning
from cpmodel.surrogates.base import PrecisionModel, model_class, precision_models


@pytest.fixture(scope="module", params=precision_models())
def fitted(request: pytest.FixtureRequest) -> tuple[PrecisionModel, np.ndarray]:
    rng = np.random.default_rng(0)
    X = np.exp(rng.uniform(0, 3, (14, 3)))
    y = 1 - 0.5 * np.prod(X**-0.15, axis=1) + rng.normal(0, 0.003, 14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        model = model_class(request.param)().fit(X, y)
    return model, np.exp(rng.uniform(0, 3, (20, 3)))


def test_its_diagonal_is_the_variance_of_each(fitted: tuple[PrecisionModel, np.ndarray]) -> None:
    model, X = fitted
    covariance = model.covariance(X)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), model.predict(X, return_std=True)[1], rtol=1e-6)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-9 * np.diag(covariance).max()


def test_neighbours_are_wrong_together(fitted: tuple[PrecisionModel, np.ndarray]) -> None:
    model, X = fitted
    twins = np.concatenate([X[:1], X[:1] * 1.001, X[1:]])
    covariance = model.covariance(twins)
    correlation = covariance / np.sqrt(np.multiply.outer(np.diag(covariance), np.diag(covariance)))
    others = np.abs(correlation[0, 2:])
    assert correlation[0, 1] > np.median(others)
    if model.name in ("loggp", "quadratic", "auto"):
        assert correlation[0, 1] > 0.9
