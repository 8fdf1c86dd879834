"""The complexity model that chooses itself, by cross-validated relative error."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from cpmodel.errors import FitError
from cpmodel.space import Floats
from cpmodel.surrogates.complexity.model import ComplexityModel, complexity_class, errors
from cpmodel.surrogates.crossval import fold_numbers, left_out

# From the simplest to the most flexible
_CANDIDATES = ("eq1", "linear", "power", "steps")
# Errors that differ by less than this are the same, and the simpler model is taken
_SAME = 1e-4
# Parts that are left out in turn
_FOLDS = 10


def foreseen(model: ComplexityModel, X: Floats, c: Floats, weight: Floats) -> Floats:
    """Prediction of each row by a model that has not seen its configuration; shape (n,)."""
    count = len(np.unique(X, axis=0))
    if count < 3:
        raise FitError(f"cross-validation: expected 3 different configurations or more, got {count}")
    fold = fold_numbers(X, _FOLDS, seed=0, singly=True, turned=True)
    predicted = np.empty(len(c))
    for out, said in left_out(model, X, c, weight, fold):
        predicted[out] = said
    return predicted


class AutoComplexity(ComplexityModel):
    """The complexity model whose cross-validated relative error is the least; of equals the simplest.

    Attributes
    ----------
    chosen_ : the model itself, fitted to all rows
    scores_ : cross-validated relative error, and share of rows within 10 %, of each that could be fitted
    report_ : which was chosen and why, in a sentence
    cv_predicted_ : the chosen model's predictions by cross-validation; None with fewer than 3 configurations
    """

    name: ClassVar[str] = "auto"

    chosen_: ComplexityModel
    scores_: dict[str, tuple[float, float]]
    report_: str
    cv_predicted_: Floats | None

    def _learn(self, X: Floats, c: Floats, weight: Floats) -> None:
        columns = list(self._column_names()) if self._named() else None
        given: dict[str, Any] = {"names": columns, "categorical": self._codes(X)}
        self.scores_, predictions, why_not = {}, {}, ""
        for name in _CANDIDATES:
            try:
                predictions[name] = foreseen(complexity_class(name)(**given), X, c, weight)
                self.scores_[name] = errors(c, predictions[name], weight)
            except FitError as error:
                why_not = why_not or str(error)
        if self.scores_:
            least = min(error for error, _ in self.scores_.values())
            chosen = next(n for n, (e, _) in self.scores_.items() if e <= least + _SAME)
            missed, within = self.scores_[chosen]
            others = ", ".join(f"{n} {e:.2%}" for n, (e, _) in self.scores_.items() if n != chosen)
            why = f"relative error {missed:.2%} by cross-validation, {within:.0%} within 10 %"
            why += f" ({others})" if others else ""
        else:
            chosen = "linear" if columns is None or self._work() else "power"
            why = "too few rows to compare models by cross-validation"
            self._warn(f"too few rows to compare models ({why_not}); {chosen} taken unseen")
        self.report_, self.cv_predicted_ = f"{chosen}: {why}", predictions.get(chosen)
        self.chosen_ = complexity_class(chosen)(**given).fit(X, c, weight)
        self.coefficients_ = self.chosen_.coefficients_

    def _said(self, X: Floats) -> Floats:
        return self.chosen_._said(X)

    def _std(self, X: Floats, mean: Floats) -> Floats:
        return self.chosen_._std(X, mean)
