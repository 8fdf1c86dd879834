"""Precision as a second-degree polynomial in the logs of the parameters, shrunk as far as the data say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cpmodel.space import Floats
from cpmodel.surrogates.base import PrecisionModel
from cpmodel.surrogates.features import Features
from cpmodel.surrogates.gaussian import MOST_ROWS, GaussianProcess, Prior
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.link import Link
from cpmodel.surrogates.loggp import changes, expected_slopes
from cpmodel.surrogates.predictive import Predictive

# Median and log-spread of the size of squares and products, of an error in units of its mean
_CURVATURE = (0.1, 1.0)


class QuadraticPrecision(PrecisionModel):
    """P = level + sum of slopes, squares and products of the logs of the parameters.

    Attributes
    ----------
    coefficients_ : ``change over <name>``, the expected change of the error, in units of the mean error, over
        the whole range of each parameter, with its posterior standard deviation

    Notes
    -----
    How far squares, and products, are shrunk towards zero is found by their evidence; the slopes are
    believed to lower the error, which data overrule.
    """

    name = "quadratic"

    features_: Features
    process_: GaussianProcess

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        return Link("error", unit=float(max(np.average(errors, weights=weight), 1e-6)))

    def _fit(self, groups: Groups) -> None:
        domain = None if self.domain is None else self._domain(groups.X)
        self.features_ = Features.of(groups.X, domain, self.categorical)
        if len(groups) > MOST_ROWS:
            self._warn(f"{len(groups)} configurations are many: {MOST_ROWS} of them are used")
        prior = Prior(slope=expected_slopes(self.features_), amplitude=_CURVATURE)
        F = self.features_.encode(groups.X)
        self.process_ = GaussianProcess.fit(
            "quadratic", prior, F, groups.y, groups.weight, groups.within, groups.freedom, self._begin_at
        )
        self.coefficients_ = changes(self.process_, self.features_, self._column_names())

    def _ended_at(self) -> Floats:
        return self.process_.theta

    def _predictive(self, X: Floats) -> Predictive:
        location, scale = self.process_.predict(self.features_.encode(X))
        return Predictive.of(self.link_, location, scale, self.process_.noise)

    def _covariance(self, X: Floats) -> Floats:
        return self.process_.covariance(self.features_.encode(X))

    def _state(self) -> dict[str, Any]:
        return {"features": self.features_.to_list(), "process": self.process_.to_dict()}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.features_ = Features.from_list(state["features"])
        self.process_ = GaussianProcess.from_dict(state["process"])
