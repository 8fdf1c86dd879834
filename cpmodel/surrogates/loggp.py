"""Gaussian process on log(1 - P) over the logs of the parameters, its mean a power law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.errors import FitError
from cpmodel.space import Floats
from cpmodel.surrogates.base import Coefficient, PrecisionModel, least_error
from cpmodel.surrogates.features import Features
from cpmodel.surrogates.gaussian import MOST_ROWS, GaussianProcess, Prior
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.link import Link
from cpmodel.surrogates.predictive import Predictive

# What the field knows: over its range a parameter seldom raises the error; a factor of 0.75 is usual
_USUAL_SLOPE = -0.3


class LogErrorGP(PrecisionModel):
    """log(1 - P - saturation) is a power law plus smooth deviations plus the noise of seeds.

    Parameters
    ----------
    saturation : fraction in [0, 1)
        The error that no configuration gets below, as a share of the least error measured.
    domain, names, categorical : as in `PrecisionModel`

    Attributes
    ----------
    coefficients_ : the linear mean: ``change over <name>``, the expected change of the log of the error over
        the whole range of each parameter, with its posterior standard deviation
    process_ : GaussianProcess

    Notes
    -----
    Deviations have a Matern-5/2 covariance with one length for each parameter. That precision seldom falls
    when a parameter grows is a belief about the linear mean, which data overrule. Repeats and the scatter
    of single trainings tell the noise together.
    """

    name = "loggp"

    features_: Features
    process_: GaussianProcess

    def __init__(
        self,
        *,
        saturation: float = 0.0,
        domain: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        categorical: Sequence[int] = (),
    ) -> None:
        super().__init__(domain=domain, names=names, categorical=categorical)
        self.saturation = saturation

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        if not 0.0 <= self.saturation < 1.0:
            raise FitError(f"saturation: expected a fraction in [0, 1), got {self.saturation}")
        asymptote = float(self.saturation * errors.min())
        return Link("log_error", asymptote=asymptote, floor=least_error(errors - asymptote))

    def _fit(self, groups: Groups) -> None:
        domain = None if self.domain is None else self._domain(groups.X)
        self.features_ = Features.of(groups.X, domain, self.categorical)
        if len(groups) > MOST_ROWS:
            self._warn(f"{len(groups)} configurations are many: {MOST_ROWS} of them are used")
        prior = Prior(slope=expected_slopes(self.features_))
        F = self.features_.encode(groups.X)
        self.process_ = GaussianProcess.fit(
            "matern", prior, F, groups.y, groups.weight, groups.within, groups.freedom, self._begin_at
        )
        self.coefficients_ = changes(self.process_, self.features_, self._column_names())

    def log_evidence(self) -> float:
        """Log posterior density at the fitted hyperparameters, per unit of log error."""
        return self.process_.evidence

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


def expected_slopes(features: Features) -> Floats:
    """Expected change of an error-like value over each feature: a fall for those with logs, else none."""
    return np.array(
        [_USUAL_SLOPE if features.columns[index].kind == "log" else 0.0 for index, _ in features.owners()]
    )


def changes(process: GaussianProcess, features: Features, names: Sequence[str]) -> tuple[Coefficient, ...]:
    """The slopes of a process's linear mean, named."""
    values, errors = process.slopes()
    labels = [
        f"change over {names[index]}" if code is None else f"effect of {names[index]}={code:g}"
        for index, code in features.owners()
    ]
    return tuple(
        Coefficient(label, float(value), float(error))
        for label, value, error in zip(labels, values, errors, strict=True)
    )
