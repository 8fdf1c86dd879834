"""The interface of every precision model: an estimator whose predictions are laws, saved as readable JSON."""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.groups import Groups, group
from cpmodel.surrogates.link import Link
from cpmodel.surrogates.predictive import Predictive, check_level

# Where the model of each name is defined: loading one needs none of the others
_HOMES = {
    "auto": "cpmodel.surrogates.precision.auto:AutoPrecision",
    "explinear": "cpmodel.surrogates.precision.explinear:ExponentialLinear",
    "loggp": "cpmodel.surrogates.precision.loggp:LogErrorGP",
    "quadratic": "cpmodel.surrogates.precision.quadratic:QuadraticPrecision",
    "additive": "cpmodel.surrogates.precision.additive:AdditivePrecision",
    "logpower": "cpmodel.surrogates.precision.logpower:LogErrorPower",
}
# The least error (1 - P) that is told from a perfect precision, where no smaller one was measured
_LEAST_ERROR = 1e-3
# Rows whose covariances with the training rows stay in a processor cache
_ROWS_AT_ONCE = 1024
# Parameters of networks are far smaller; squares of larger numbers would leave the range of floats
_LARGEST = 1e100


@dataclass(frozen=True)
class Coefficient:
    """One fitted number; NaN never: a standard error that cannot be told is None."""

    name: str
    value: float
    standard_error: float | None


@dataclass(frozen=True)
class FitStatistics:
    """How well a model describes the trainings it was fitted to.

    Parameters
    ----------
    trainings, configurations : how many there were (trainings: the sum of the weights)
    coefficients : how many numbers were fitted
    r2 : share of the variance of the configurations' precision that is explained; None when there is none
    relative_error : mean of |predicted - measured| / measured over trainings
    aic, bic : Akaike's and Schwarz's criteria of a normal likelihood on the model's own scale; None where a
        model has no fixed number of coefficients
    """

    trainings: float
    configurations: int
    coefficients: int
    r2: float | None
    relative_error: float
    aic: float | None = None
    bic: float | None = None


class PrecisionModel(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base of the precision models P(T).

    Parameters
    ----------
    domain : shape (d, 2), or None
        Least and greatest value of each column over which predictions must stay sane; the range of the
        training rows when None.
    names : names of the columns, or None
        For coefficients and messages; ``x0``, ``x1``, ... (or a data frame's columns) when None.
    categorical : indexes of the columns whose numbers are codes without order

    Attributes
    ----------
    n_features_in_ : int
    noise_std_ : float
        Standard deviation of one training's precision about its mean over seeds, at the mean precision.
    coefficients_ : tuple of Coefficient
    statistics_ : FitStatistics

    Notes
    -----
    Equal rows of X are repeats of one configuration over seeds and tell the noise. A weight w stands for w
    equal rows. What a subclass must do: choose its link, `_fit` to groups on that scale, `_predictive` for
    rows of X, `_state` and `_restore` for the JSON.
    """

    name: ClassVar[str]

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    noise_std_: float
    coefficients_: tuple[Coefficient, ...]
    statistics_: FitStatistics
    link_: Link
    # where a fit to nearly the same rows ended: a good place to start, and the only one then
    _begin_at: Floats | None = None

    def __init__(
        self,
        *,
        domain: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        categorical: Sequence[int] = (),
    ) -> None:
        self.domain = domain
        self.names = names
        self.categorical = categorical

    # ---- what a subclass provides

    def _learn(self, X: Floats, y: Floats, weight: Floats) -> None:
        """Learn from checked rows, all of weight above zero."""
        self.link_ = self._choose_link(1.0 - y, weight)
        self._fit(group(X, self.link_.forward(y), weight))

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        """The scale to model these errors on, shape (n,): their logs unless a subclass says otherwise."""
        return Link("log_error", floor=least_error(errors))

    def _fit(self, groups: Groups) -> None:
        """Learn from distinct configurations, `groups.y` on the scale of `link_`; set `coefficients_`."""

    @abstractmethod
    def _predictive(self, X: Floats) -> Predictive:
        """The laws of the rows of X, shape (n, d)."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What `_restore` needs, JSON-ready."""

    @abstractmethod
    def _restore(self, state: Mapping[str, Any]) -> None:
        """Become the fitted model whose `_state` this is."""

    def _covariance(self, X: Floats) -> Floats:
        """Covariance of what is not known of the rows of X, on the link's scale, shape (n, n)."""
        return np.diag(self._predictive(X).scale ** 2)

    def _draws(self, X: Floats, count: int, rng: np.random.Generator, stretch: float = 1.0) -> Floats:
        """As `draws`, `stretch` times as wide."""
        return self._predictive(X).stretched(stretch).together(self._covariance(X), count, rng)

    def _ended_at(self) -> Floats | None:
        """Where the search for what is not solved exactly ended; None when there is none."""
        return None

    def _freedom_used(self) -> int | None:
        """Number of fitted coefficients for AIC and BIC; None when it is not a fixed number."""
        return None

    # ---- fitting

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to trainings.

        Parameters
        ----------
        X : shape (n, d)
            Values of the parameters, raw or as gamma; finite. Equal rows are repeats over seeds.
        y : shape (n,), fraction in [0, 1]
            Precision of each training.
        sample_weight : shape (n,), not negative, or None
            A weight w stands for w equal rows.

        Raises
        ------
        FitError
            Not numbers, not finite, not of these shapes, or precision outside [0, 1].
        """
        try:
            table, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
            weight: Floats = _check_sample_weight(
                sample_weight, table, dtype=np.float64, ensure_non_negative=True
            )
        except ValueError as error:
            raise FitError(str(error)) from error
        X, y = np.asarray(table, dtype=np.float64), np.asarray(target, dtype=np.float64)
        if np.abs(X).max() > _LARGEST:
            raise FitError(f"X: expected values up to {_LARGEST:g}, got {np.abs(X).max():g}")
        if y.min() < 0.0 or y.max() > 1.0:
            raise FitError(f"precision: expected fractions in [0, 1], got {y.min():g} to {y.max():g}")
        if not np.any(weight > 0):
            raise FitError("sample_weight: expected at least one weight above zero")
        self._check_parameters(X.shape[1])
        # rows of weight 0 are as if they were not there
        X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
        self._learn(X, y, weight)
        self._describe(X, y, weight)
        return self

    def _foresee(self, X: Floats, y: Floats, weight: Floats, new: Floats) -> Predictive:
        """Learn from rows of a table that was checked, and nothing else than to predict new ones."""
        self.n_features_in_ = X.shape[1]
        used = weight > 0
        self._learn(X[used], y[used], weight[used])
        return self._laws(new)

    def _check_parameters(self, d: int) -> None:
        """Refuse constructor arguments that do not fit a table of d columns."""
        if self.domain is not None:
            domain = np.asarray(self.domain, dtype=np.float64)
            if (
                domain.shape != (d, 2)
                or not np.all(np.isfinite(domain))
                or np.any(domain[:, 0] > domain[:, 1])
            ):
                raise FitError(
                    f"domain: expected {d} rows of least and greatest value, got {domain.tolist()}"
                )
        if self.names is not None and len(self.names) != d:
            raise FitError(f"names: expected {d}, one a column, got {len(self.names)}")
        if any(not 0 <= index < d for index in self.categorical):
            raise FitError(
                f"categorical: expected column numbers from 0 to {d - 1}, got {list(self.categorical)}"
            )

    def _domain(self, X: Floats) -> Floats:
        """The domain as given, or else the range of X; shape (d, 2)."""
        if self.domain is not None:
            return np.asarray(self.domain, dtype=np.float64)
        return np.stack([X.min(axis=0), X.max(axis=0)], axis=1)

    def _column_names(self) -> tuple[str, ...]:
        if self.names is not None:
            return tuple(self.names)
        if hasattr(self, "feature_names_in_"):
            return tuple(map(str, self.feature_names_in_))
        return tuple(f"x{index}" for index in range(self.n_features_in_))

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.name}: {message}", FitWarning, stacklevel=4)

    def _describe(self, X: Floats, y: Floats, weight: Floats) -> None:
        """Set `noise_std_` and `statistics_` from the fitted model."""
        law = self._laws(X)
        predicted = law.mean()
        mean = float(np.average(y, weights=weight))
        slope = float(law.link.slope(law.link.forward(np.array([mean])))[0])
        self.noise_std_ = group(X, y, weight).noise_of(float(np.median(law.noise)) * slope)
        residual, spread = float(weight @ (y - predicted) ** 2), float(weight @ (y - mean) ** 2)
        total, used = float(weight.sum()), self._freedom_used()
        aic = bic = None
        if used is not None:
            misfit = float(weight @ (self.link_.forward(y) - law.location) ** 2)
            deviance = total * float(np.log(max(misfit / total, 1e-300)))
            aic, bic = deviance + 2.0 * (used + 1), deviance + float(np.log(total)) * (used + 1)
        self.statistics_ = FitStatistics(
            trainings=total,
            configurations=len(np.unique(X, axis=0)),
            coefficients=len(self.coefficients_),
            r2=1.0 - residual / spread if spread > 1e-12 * total else None,
            relative_error=relative_error(y, predicted, weight),
            aic=aic,
            bic=bic,
        )

    # ---- predicting

    def _laws(self, X: Floats) -> Predictive:
        return Predictive.in_chunks(X, self._predictive, _ROWS_AT_ONCE)

    def predictive(self, X: ArrayLike) -> Predictive:
        """The laws behind all predictions for the rows of X, shape (n, d)."""
        check_is_fitted(self)
        return self._laws(np.asarray(validate_data(self, X, dtype=np.float64, reset=False)))

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Expected precision of the rows of X.

        Returns
        -------
        precision : shape (n,), fraction in [0, 1]
        std : shape (n,), only if `return_std`
            Standard deviation of the mean-over-seeds precision: what the model does not know.
        """
        law = self.predictive(X)
        return (law.mean(), law.std()) if return_std else law.mean()

    def predict_interval(self, X: ArrayLike, level: float = 0.9) -> tuple[Floats, Floats]:
        """Interval that holds the precision of one new training of each row with probability `level`."""
        check_level(level)
        return self.predictive(X).interval(level)

    def probability(self, X: ArrayLike, target: float) -> Floats:
        """Probability that the mean-over-seeds precision of each row reaches `target`, shape (n,)."""
        if not 0.0 <= float(target) <= 1.0:
            raise BadInputError("target", expected="a fraction in [0, 1]", got=target)
        return self.predictive(X).probability(float(target))

    def draws(self, X: ArrayLike, count: int, seed: int = 0) -> Floats:
        """Equally likely mean-over-seeds precisions of all rows of X together, shape (count, n).

        Neighbours are wrong together, so that the draws say what no law of single rows can: how good the
        best of them may be.
        """
        check_is_fitted(self)
        table = np.asarray(validate_data(self, X, dtype=np.float64, reset=False))
        return self._draws(table, count, np.random.default_rng(seed))

    # ---- saving

    def to_dict(self) -> dict[str, Any]:
        """The fitted model, JSON-ready and readable; `load_model` gives a model that predicts the same."""
        check_is_fitted(self)
        given = self.get_params(deep=False)
        derived = given.pop("derived", None)
        parameters = {key: _plain(value) for key, value in given.items()}
        description: dict[str, Any] = {"model": self.name, "parameters": parameters}
        if derived is not None:
            description["derived"] = list(derived.names)
        description["n_features_in"] = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            description["feature_names_in"] = list(map(str, self.feature_names_in_))
        description["noise_std"] = self.noise_std_
        description["link"] = asdict(self.link_)
        description["coefficients"] = [asdict(coefficient) for coefficient in self.coefficients_]
        description["statistics"] = asdict(self.statistics_)
        description["state"] = self._state()
        return description

    @classmethod
    def from_dict(cls, description: Mapping[str, Any], derived: Derived | None = None) -> Self:
        """The model that `to_dict` described.

        Parameters
        ----------
        derived : what the model was given to derive columns with, which no text can hold
            Without it a model that needs it says all that was fitted, but predicts nothing.

        Raises
        ------
        BadInputError
            The description is not one of this kind of model, or one of a model with other derived columns.
        """
        if description.get("model") != cls.name:
            raise BadInputError("precision model", expected=cls.name, got=description.get("model"))
        columns = tuple(description.get("derived", ()))
        if columns and derived is not None and derived.names != columns:
            raise BadInputError("derived columns", expected=", ".join(columns), got=", ".join(derived.names))
        try:
            parameters = dict(description["parameters"])
            if columns:
                parameters["derived"] = derived or Derived(columns)
            model = cls(**parameters)
            model.n_features_in_ = int(description["n_features_in"])
            if "feature_names_in" in description:
                model.feature_names_in_ = np.array(description["feature_names_in"], dtype=object)
            model.noise_std_ = float(description["noise_std"])
            model.link_ = Link(**description["link"])
            model.coefficients_ = tuple(Coefficient(**row) for row in description["coefficients"])
            model.statistics_ = FitStatistics(**description["statistics"])
            model._restore(description["state"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadInputError(f"precision model {cls.name}: {error!r}", expected="a saved fit") from error
        return model


def least_error(errors: Floats) -> float:
    """The least positive one of the errors, shape (n,), but at most `_LEAST_ERROR`."""
    positive = errors[errors > 0]
    return float(min(_LEAST_ERROR, positive.min())) if len(positive) else _LEAST_ERROR


def relative_error(y: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean of |predicted - measured| / measured; rows whose measured precision is 0 are left out."""
    y, predicted = np.asarray(y, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    kept = (y > 0) & (weight > 0)
    if not kept.any():
        return 0.0
    return float(np.average(np.abs(predicted[kept] - y[kept]) / y[kept], weights=weight[kept]))


def _plain(value: Any) -> Any:
    """Arrays as lists, numpy numbers as Python's: what JSON can hold."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def precision_models() -> tuple[str, ...]:
    """Names of the precision models."""
    return tuple(sorted(_HOMES))


def model_class(name: str) -> type[PrecisionModel]:
    """The class of the precision model `name`.

    Raises
    ------
    BadInputError
        No model has this name.
    """
    if name not in _HOMES:
        raise BadInputError("precision model", expected=f"one of {', '.join(precision_models())}", got=name)
    module, _, attribute = _HOMES[name].partition(":")
    found: type[PrecisionModel] = getattr(importlib.import_module(module), attribute)
    return found


def load_model(description: Mapping[str, Any], derived: Derived | None = None) -> PrecisionModel:
    """The fitted precision model that `to_dict` described, whichever it is; as `PrecisionModel.from_dict`.

    Raises
    ------
    BadInputError
        The description is not one of a fitted precision model.
    """
    if not isinstance(description, Mapping) or "model" not in description:
        raise BadInputError("precision model", expected="a saved fit", got=type(description).__name__)
    return model_class(str(description["model"])).from_dict(description, derived)
