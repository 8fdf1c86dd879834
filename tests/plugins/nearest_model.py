"""A precision model: the mean of the nearest configuration's trainings, on the scale of log errors."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cpmodel.space import Floats
from cpmodel.surrogates.estimator import Coefficient
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.precision.model import PrecisionModel
from cpmodel.surrogates.predictive import Predictive


class NearestError(PrecisionModel):
    """What the nearest configuration has, columns in units of their range."""

    name: ClassVar[str] = "nearest"

    nearest_: Floats
    errors_: Floats
    spread_: float

    def _fit(self, groups: Groups) -> None:
        order = np.lexsort(groups.X.T)
        self.nearest_, self.errors_ = groups.X[order], groups.y[order]
        self.spread_ = float(max(self.errors_.std(), 1e-3))
        self.coefficients_ = (Coefficient("mean", float(self.errors_.mean()), None),)

    def _predictive(self, X: Floats) -> Predictive:
        reach = np.ptp(self.nearest_, axis=0)
        reach[reach == 0] = 1.0
        gaps = (((X[:, None] - self.nearest_) / reach) ** 2).sum(axis=2)
        wide = np.full(len(X), self.spread_)
        return Predictive(self.link_, self.errors_[gaps.argmin(axis=1)], wide, wide / 4)
