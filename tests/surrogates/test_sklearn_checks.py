"""scikit-learn's own checks of estimators, for what applies to models of a fraction."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.utils.estimator_checks import parametrize_with_checks

from cpmodel.errors import FitWarning
from cpmodel.surrogates.precision.auto import AutoPrecision
from cpmodel.surrogates.precision.explinear import ExponentialLinear
from cpmodel.surrogates.precision.logpower import LogErrorPower
from cpmodel.surrogates.precision.process import LogErrorGP, QuadraticPrecision

pytestmark = pytest.mark.filterwarnings("ignore")


class AnyTarget:
    """The real line squeezed into (0, 1) before a model, since the checks' targets are no fractions."""

    def fit(self, X, y, sample_weight=None):
        try:
            y = np.asarray(y, dtype=np.float64)
        except (TypeError, ValueError):
            return super().fit(X, y, sample_weight)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)
            self.unit_ = max(float(np.abs(y).max(initial=0.0)), 1.0)
            return super().fit(X, expit(2 * y / self.unit_), sample_weight)

    def predict(self, X, return_std=False):
        return logit(np.clip(super().predict(X), 1e-6, 1 - 1e-6)) * self.unit_ / 2


class Power(AnyTarget, LogErrorPower):
    pass


class Process(AnyTarget, LogErrorGP):
    pass


class Quadratic(AnyTarget, QuadraticPrecision):
    pass


class Exponential(AnyTarget, ExponentialLinear):
    pass


class Auto(AnyTarget, AutoPrecision):
    pass


def expected_failures(estimator) -> dict[str, str]:
    if isinstance(estimator, LogErrorPower):
        return {"check_regressors_train": "a power law cannot follow a squeezed linear target to R2 > 0.5"}
    return {}


@parametrize_with_checks(
    [Power(), Process(), Quadratic(), Exponential(), Auto(folds=2)],
    expected_failed_checks=expected_failures,
)
def test_sklearn_checks(estimator, check):
    check(estimator)
