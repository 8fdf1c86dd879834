"""P(T) fitted to a samples table, with its errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cpmodel.errors import FitError, FitWarning
from cpmodel.samples import Samples
from cpmodel.space import Floats, Space
from cpmodel.surrogates.crossval import cross_validate
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.precision.model import PrecisionModel, model_class

_NOISE_MODEL = "loggp"  # tells the noise of a seed in a hundredth of a second
_LEAST_ERROR = 1e-3


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra with one thread: in matrices so small, more of them only wait for each other."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True, eq=False)
class PrecisionFit:
    """A fitted P(T) and how far it can be trusted.

    Parameters
    ----------
    relative_error : mean of |predicted - measured| / measured on the rows it was fitted to
    cv_relative_error : the same on rows it had not seen, by cross-validation over configurations
    measured, predicted, low, high : shape (n,), of each row: precision, cross-validated prediction, its 90 %
        interval for a new training
    warnings : what the data cannot support
    """

    name: str
    model: PrecisionModel
    relative_error: float
    cv_relative_error: float
    measured: Floats
    predicted: Floats
    low: Floats
    high: Floats
    warnings: tuple[str, ...]

    @property
    def why(self) -> str:
        """Why this model was chosen, in a sentence; empty when it was asked for."""
        return str(getattr(self.model, "report_", ""))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the errors and the model itself."""
        errors = {name: getattr(self, name) for name in ("relative_error", "cv_relative_error")}
        told = {"noise_std": self.model.noise_std_, "warnings": list(self.warnings)}
        return {"model": self.name, "why": self.why, **errors, **told, "fit": self.model.to_dict()}


@one_thread()
def fit_precision(samples: Samples, name: str = "auto", derived: Derived | None = None) -> PrecisionFit:
    """P(T) of a samples table; `validated` says how well it foresees.

    Parameters
    ----------
    name : one of the registry's ``precision_models``
    derived : further features, for the models that can use them
    """
    usable = samples.usable
    if not len(usable):
        raise FitError("no sample has a precision: nothing to fit")
    X, y = samples.space.filled(usable.X), usable.precision
    weight, new = weights(usable), _model(name, samples.space, derived)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FitWarning)
        model = new.fit(X, y, weight)
    said = tuple(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, FitWarning)))
    unknown = np.full(len(y), np.nan)
    error = model.relative_error_
    return PrecisionFit(name, model, error, float("nan"), y, unknown, unknown, unknown, said)


@one_thread()
def validated(fit: PrecisionFit, samples: Samples, seed: int, derived: Derived | None) -> PrecisionFit:
    """The fit with what cross-validation says of it, which costs several fits; as it is with too few rows."""
    usable = samples.usable
    X = samples.space.filled(usable.X)
    if not np.isnan(fit.cv_relative_error) or len(np.unique(X, axis=0)) < 4:
        return fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # said once, of the whole table
        new = _model(fit.name, samples.space, derived)
        found = cross_validate(new, X, usable.precision, weights(usable), seed=seed)
    error, predicted = found.relative_error, found.predicted
    return replace(fit, cv_relative_error=error, predicted=predicted, low=found.low, high=found.high)


def weights(samples: Samples) -> Floats:
    """What each training, all with a precision, tells, a whole one being 1; shape (n,).

    A training whose end was extrapolated has the variance that this added (`precision_sd`) beside that of its
    seed. Both are taken on the scale of the logarithm of the error, on which noise is even.
    """
    added = samples.frame["precision_sd"].to_numpy(dtype=np.float64)
    whole = added == 0
    if whole.all():
        return np.ones(len(added))
    rows = whole if whole.any() else np.ones(len(added), dtype=bool)
    X, y = samples.space.filled(samples.X)[rows], samples.precision[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        noise = _model(_NOISE_MODEL, samples.space).fit(X, y).noise_std_ / max(1.0 - y.mean(), _LEAST_ERROR)
    extra = added / np.maximum(1.0 - samples.precision, _LEAST_ERROR)
    weight: Floats = noise**2 / (noise**2 + extra**2)
    return weight


def _model(name: str, space: Space, derived: Derived | None = None) -> PrecisionModel:
    codes = {i: p.codes.tolist() for i, p in enumerate(space.parameters) if p.categorical}
    new = model_class(name)(domain=space.domain, names=list(space.names), categorical=codes)
    return new.set_params(derived=derived) if "derived" in new.get_params() else new
