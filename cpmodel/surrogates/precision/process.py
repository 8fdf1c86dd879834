"""Precision models that are a Gaussian process on encoded features: each names its link, shape and prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.space import Floats
from cpmodel.surrogates.features import Derived, Features
from cpmodel.surrogates.gaussian import MOST_ROWS, GaussianProcess, Prior, Shape, searched
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.precision.model import Coefficient, PrecisionModel
from cpmodel.surrogates.predictive import Predictive

# What the field knows: over its range a parameter seldom raises the error; a factor of 0.75 is usual
_USUAL_SLOPE = -0.3
# Share of the variance of what is not known that all rows have in common in draws of them together. A process
# that is right would say so itself; ours told rows apart too far, and promised cheaper answers that were not
# there. The number is learned, not derived: see data/measured/search_calibration_steps.csv for what it does
_ALIKE = 0.7


class ProcessModel(PrecisionModel):
    """A Gaussian process with a linear mean, on the scale of the model's link.

    Parameters
    ----------
    derived : Derived, or None
        Columns that follow from those of X and are features beside them.
    domain, names, categorical : as in `PrecisionModel`

    Attributes
    ----------
    coefficients_ : the linear mean: ``change over <name>``, the expected change over the whole range of each
        parameter, and ``effect of <name>=<code>``, each with its posterior standard deviation
    process_ : GaussianProcess
    log_evidence_ : log density of the precisions that the hyperparameters were found by, comparable between
        models on any link; see `GaussianProcess` for what hyperparameters cost

    Notes
    -----
    That precision seldom falls when a parameter grows is a belief about the linear mean, which data overrule.
    Scatter about the smooth part is noise, or each configuration's own: repeats tell how much of it is which.
    """

    shape: ClassVar[Shape]

    features_: Features
    process_: GaussianProcess
    log_evidence_: float

    def __init__(
        self,
        *,
        derived: Derived | None = None,
        domain: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        categorical: Sequence[int] = (),
    ) -> None:
        super().__init__(domain=domain, names=names, categorical=categorical)
        self.derived = derived

    def _prior(self, slope: Floats) -> Prior:
        """Beliefs, given the expected change over each feature, shape (m,)."""
        return Prior(slope)

    def _fit(self, groups: Groups) -> None:
        X = self._beside(groups.X)
        # what is derived rises or falls with the parameters: its range ends in corners of theirs
        domain = None if self.domain is None else np.sort(self._beside(self._domain(groups.X).T).T, axis=1)
        derived = range(self.n_features_in_, X.shape[1])
        self.features_ = Features.of(X, domain, self.categorical, derived)
        if len(groups) > MOST_ROWS:
            self._warn(f"{len(groups)} configurations are many: {MOST_ROWS} of them are used")
        self.process_ = GaussianProcess.fit(
            self.shape,
            self._prior(self._expected_slopes()),
            self.features_.encode(X),
            groups.y,
            groups.weight,
            groups.within,
            groups.freedom,
            self._begin_at,
        )
        # from the density of values on the link's scale to that of precisions
        told = searched(len(groups))
        slopes = self.link_.slope(groups.y[told])
        self.log_evidence_ = self.process_.evidence - float(groups.weight[told] @ np.log(slopes))
        self.coefficients_ = self._changes()

    def _beside(self, X: Floats) -> Floats:
        return X if self.derived is None else self.derived.beside(X)

    def _expected_slopes(self) -> Floats:
        """Expected change of an error over each feature, shape (m,): a fall for parameters with logs."""
        columns, own = self.features_.columns, self.n_features_in_
        # what is derived rises with the parameters, whose own fall is told already
        return np.array(
            [
                _USUAL_SLOPE if i < own and columns[i].kind == "log" else 0.0
                for i, _ in self.features_.owners()
            ]
        )

    def _changes(self) -> tuple[Coefficient, ...]:
        names = self._column_names() + (() if self.derived is None else self.derived.names)
        values, errors = self.process_.slopes()
        labels = [
            f"change over {names[index]}" if code is None else f"effect of {names[index]}={code:g}"
            for index, code in self.features_.owners()
        ]
        return tuple(
            Coefficient(label, float(value), float(error))
            for label, value, error in zip(labels, values, errors, strict=True)
        )

    def _ended_at(self) -> Floats:
        return self.process_.theta

    def _predictive(self, X: Floats) -> Predictive:
        location, scale = self.process_.predict(self.features_.encode(self._beside(X)))
        return Predictive.of(self.link_, location, scale, self.process_.noise)

    def _covariance(self, X: Floats) -> Floats:
        left = self.process_.covariance(self.features_.encode(self._beside(X)))
        own = np.minimum(self.process_.own**2, np.diag(left))
        # what no process of this kind knows, its misfit, moves all rows alike but for what is each one's own
        alike = np.sqrt(np.diag(left) - own)
        shared: Floats = np.multiply.outer(alike, alike)
        np.einsum("ii->i", shared)[:] += own
        return (1.0 - _ALIKE) * left + _ALIKE * shared

    def _state(self) -> dict[str, Any]:
        return {
            "features": self.features_.to_list(),
            "process": self.process_.to_dict(),
            "log_evidence": self.log_evidence_,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.features_ = Features.from_list(state["features"])
        self.process_ = GaussianProcess.from_dict(state["process"])
        self.log_evidence_ = float(state["log_evidence"])
