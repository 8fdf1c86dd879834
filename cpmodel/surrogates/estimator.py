"""What models of precision and of complexity share: checked rows, categories, and saving as readable JSON."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cpmodel import codec
from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.features import Derived


@dataclass(frozen=True)
class Coefficient:
    """One fitted number; NaN never: a standard error that cannot be told is None."""

    name: str
    value: float
    standard_error: float | None


def coefficients(
    names: Sequence[str], values: ArrayLike, errors: ArrayLike, told: ArrayLike = True
) -> tuple[Coefficient, ...]:
    """Fitted numbers with their names; a standard error that is not `told`, or not finite, is None."""
    known = np.isfinite(errors) & np.asarray(told)
    rows = zip(names, np.asarray(values).tolist(), np.asarray(errors).tolist(), known, strict=True)
    return tuple(Coefficient(name, value, error if sure else None) for name, value, error, sure in rows)


def variances(jacobian: Floats, covariance: Floats) -> Floats:
    """Variances, shape (n,), of values whose derivatives by coefficients, shape (n, p), are `jacobian`."""
    return np.asarray(np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian))


class TableModel(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base of all models of a table: dataclasses, whose constructors take their parameters.

    What is fitted has a name that ends in "_" and a type hint, by which it is saved and read.
    """

    name: ClassVar[str]
    kind: ClassVar[str]

    coefficients_: tuple[Coefficient, ...]
    names: Sequence[str] | None
    categorical: Sequence[Any] | Mapping[Any, Sequence[float]]
    # where a fit to nearly the same rows ended: a good place to start, and the only one then
    _begin_at: Floats | None = None

    # ---- what each kind of model provides

    @classmethod
    @abstractmethod
    def _called(cls, name: str) -> type[TableModel]:
        """The class of the model of that name and of this kind."""

    @abstractmethod
    def _check(self, X: Floats, y: Floats) -> None:
        """Refuse a table of finite numbers that models of this kind cannot take."""

    @abstractmethod
    def _learn(self, X: Floats, y: Floats, weight: Floats) -> None:
        """Learn from checked rows, all of weight above zero; set `coefficients_`."""

    @abstractmethod
    def _describe(self, X: Floats, y: Floats, weight: Floats) -> None:
        """Set what is told of the fit to these rows."""

    @abstractmethod
    def _said(self, X: Floats) -> Any:
        """All that cross-validation needs to know of rows."""

    def _settled(self, X: Floats) -> dict[str, Any]:
        """Parameters that parts of the table X must have in common, whichever rows they lack."""
        return {"categorical": self._codes(X)}

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to the rows of a table; one that cannot be fitted is refused (`FitError`).

        Parameters
        ----------
        X : shape (n, d), finite
            An array or a data frame. Equal rows are repeats of one configuration.
        y : shape (n,)
            Precision of each training, a fraction in [0, 1]; or complexity, in any unit, above 0.
        sample_weight : shape (n,), not negative, or None
            A weight w stands for w equal rows.
        """
        try:
            table, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
            weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        except ValueError as error:
            raise FitError(str(error)) from error
        # rows of weight 0 are as if they were not there
        used = weight > 0
        if not used.any():
            raise FitError("sample_weight: expected at least one weight above zero")
        if self.names is not None and len(self.names) != table.shape[1]:
            raise FitError(f"names: expected {table.shape[1]}, one a column, got {len(self.names)}")
        target = np.asarray(target, dtype=np.float64)
        self._check(table, target)
        self._learn(table[used], target[used], weight[used])
        self._describe(table[used], target[used], weight[used])
        return self

    def _asked(self, X: ArrayLike) -> Floats:
        """Rows to predict, of the columns that the model was fitted to."""
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False), dtype=np.float64)

    def _column_names(self) -> tuple[str, ...]:
        if self.names is not None:
            return tuple(self.names)
        if hasattr(self, "feature_names_in_"):
            return tuple(map(str, self.feature_names_in_))
        return tuple(f"x{index}" for index in range(self.n_features_in_))

    def _codes(self, X: Floats) -> dict[Any, tuple[float, ...]]:
        """The codes of each categorical column: those declared, else those in the rows of X."""
        known = self.categorical
        if not isinstance(known, Mapping):
            known = {column: np.unique(X[:, self._index(column)]).tolist() for column in known}
        return {column: tuple(map(float, codes)) for column, codes in known.items()}

    def _index(self, column: Any) -> int:
        """The position of a column of `categorical`, told by its name or by its number."""
        return self._column_names().index(column) if isinstance(column, str) else int(column)

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.kind} {self.name}: {message}", FitWarning, stacklevel=4)

    def to_dict(self) -> dict[str, Any]:
        """The fitted model, JSON-ready and readable; `from_dict` gives a model that predicts the same."""
        check_is_fitted(self)
        given = self.get_params(deep=False)
        derived = given.pop("derived", None)
        description: dict[str, Any] = {"model": self.name, "parameters": codec.dump(given)}
        if derived is not None:
            description["derived"] = list(derived.names)
        description["n_features_in"] = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            description["feature_names_in"] = list(map(str, self.feature_names_in_))
        state = {name.strip("_"): _described(getattr(self, name)) for name in self._fitted()}
        return {**description, "state": state}

    @classmethod
    def _fitted(cls) -> dict[str, Any]:
        """The fitted attributes that are saved, with their type hints."""
        return {name: hint for name, hint in get_type_hints(cls).items() if name.endswith("_")}

    @classmethod
    def from_dict(cls, description: Any, derived: Derived | None = None) -> Self:
        """The model that `to_dict` described: one of this class; of `PrecisionModel`, say, whichever it is.

        No text can hold what it was given to derive columns with; without `derived` it predicts nothing then.
        """
        if not isinstance(description, Mapping) or "model" not in description:
            raise BadInputError(cls.kind, expected="a saved fit", got=type(description).__name__)
        made: Any = cls if hasattr(cls, "name") else cls._called(str(description["model"]))
        if description["model"] != made.name:
            raise BadInputError(cls.kind, expected=made.name, got=description["model"])
        columns = tuple(description.get("derived", ()))
        if columns and derived is not None and derived.names != columns:
            raise BadInputError("derived columns", expected=", ".join(columns), got=", ".join(derived.names))
        try:
            parameters = dict(description["parameters"])
            if columns:
                parameters["derived"] = derived or Derived(columns)
            # JSON's keys are texts
            codes = get_type_hints(made)["categorical"]
            parameters["categorical"] = codec.load(codes, parameters["categorical"], what="categorical")
            model: Self = made(**parameters)
            model.n_features_in_ = int(description["n_features_in"])
            if "feature_names_in" in description:
                model.feature_names_in_ = np.array(description["feature_names_in"], dtype=object)
            for attribute, hint in made._fitted().items():
                data = description["state"][attribute.strip("_")]
                setattr(model, attribute, _read_back(hint, data, parameters.get("derived")))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(f"{cls.kind} {made.name}: {error!r}", expected="a saved fit") from error
        return model


def _described(value: Any) -> Any:
    """What was fitted, JSON-ready, models within it, too."""
    if isinstance(value, tuple):
        return [_described(each) for each in value]
    return value.to_dict() if isinstance(value, TableModel) else codec.dump(value)


def _read_back(hint: Any, data: Any, derived: Derived | None) -> Any:
    """What `_described` made of something that has this type hint."""
    kind, several = (get_args(hint)[0], True) if get_origin(hint) is tuple else (hint, False)
    if not isinstance(kind, type) or not issubclass(kind, TableModel):
        return codec.load(hint, data, what="state")
    return tuple(kind.from_dict(each, derived) for each in data) if several else kind.from_dict(data, derived)


def relative_error(y: Floats, predicted: Floats, weight: Floats | None = None) -> float:
    """Mean of |predicted - measured| / measured; rows whose measured value is 0 are left out."""
    weight = np.ones(len(y)) if weight is None else weight
    kept = (y > 0) & (weight > 0)
    if not kept.any():
        return 0.0
    return float(np.average(np.abs(predicted[kept] - y[kept]) / y[kept], weights=weight[kept]))
