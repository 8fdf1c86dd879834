"""C(T) fitted to measured complexities, with its errors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from cpmodel.errors import FitError, FitWarning
from cpmodel.space import Floats
from cpmodel.surrogates.complexity.model import ComplexityModel, complexity_class
from cpmodel.surrogates.heldout import Apart, errors, held_out, kept_apart


@dataclass(frozen=True, eq=False)
class ComplexityFit:
    """A fitted C(T) and how far it can be trusted.

    Parameters
    ----------
    name : str
        Of the model that was asked for.
    model : ComplexityModel
    relative_error, within_10 : float
        On the rows it was fitted to: mean of |predicted - measured| / measured, share of rows within 10 %.
    cv_relative_error, cv_within_10 : float
        The same on rows it had not seen, by cross-validation over configurations; NaN with fewer than 3.
    measured, predicted : shape (n,)
        Of each row: complexity, and its cross-validated prediction (NaN with fewer than 3 configurations).
    why : str
        Why this model was chosen, in a sentence; empty when it was asked for.
    warnings : tuple of str
        What the data cannot support.
    apart : Apart or None
        How it did on 50 random configurations when fitted to the others, where there are 100 or more.
    """

    name: str
    model: ComplexityModel
    relative_error: float
    within_10: float
    cv_relative_error: float
    cv_within_10: float
    measured: Floats
    predicted: Floats
    why: str
    warnings: tuple[str, ...]
    apart: Apart | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the errors (None where they could not be told) and the model itself."""
        known = np.isfinite(self.cv_relative_error)
        return {
            "model": self.name,
            "why": self.why,
            "relative_error": self.relative_error,
            "within_10": self.within_10,
            "cv_relative_error": self.cv_relative_error if known else None,
            "cv_within_10": self.cv_within_10 if known else None,
            "held_out": None
            if self.apart is None
            else {
                "rows": int(self.apart.rows.sum()),
                "relative_error": self.apart.relative_error,
                "within_10": self.apart.within_10,
            },
            "warnings": list(self.warnings),
            "fit": self.model.to_dict(),
        }


def fit_complexity(
    X: Any, c: ArrayLike, name: str = "auto", *, categorical: Sequence[str] = (), seed: int = 0
) -> ComplexityFit:
    """C(T) of measured configurations.

    Parameters
    ----------
    X : data frame of n rows
        Amounts of work, raw parameters, or (best) both, under their names.
    c : shape (n,)
        Measured complexity, above 0.
    name : str
        One of `complexity_models`.
    categorical : sequence of str
        Raw parameters whose numbers are codes without order.

    Raises
    ------
    FitError
        The table cannot be used, or lacks the columns this model needs.
    """
    measured = np.asarray(c, dtype=np.float64)
    new = complexity_class(name)(categorical=categorical)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FitWarning)
        model = clone(new).fit(X, measured)
    said = tuple(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, FitWarning)))
    predicted = getattr(model, "cv_predicted_", None)
    if predicted is None:
        try:
            predicted = held_out(new, X, measured, seed=seed)
        except FitError:
            predicted = np.full(len(measured), np.nan)
    cv_error, cv_within = errors(measured, predicted)
    return ComplexityFit(
        name,
        model,
        model.relative_error_,
        model.within_10_,
        cv_error,
        cv_within if np.isfinite(cv_error) else float("nan"),
        measured,
        predicted,
        str(getattr(model, "report_", "")),
        said,
        kept_apart(new, X, measured, seed=seed),
    )
