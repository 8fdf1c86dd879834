"""The complexity model that learns a device's steps: a readable law, and a process for what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from cpmodel.space import Floats
from cpmodel.surrogates.complexity.model import ComplexityModel, complexity_class
from cpmodel.surrogates.groups import group
from cpmodel.surrogates.steps import StepProcess

# The least that the law may say, as a part of the least complexity seen
_LEAST_PRICE = 1e-12
# The least number that has a log
_LEAST = 5e-324
# Log of the largest factor between the law and the prediction
_WIDEST = 5.0


class WorkSteps(ComplexityModel):
    """C = law(T) * exp(g(T)), law linear in the work (else powers of the parameters), g a Gaussian process.

    Notes
    -----
    g is a smooth function of the logs of the raw parameters (of the amounts of work where the table has no
    parameters), plus an offset for each value of a parameter that occurs in several rows. The law is `linear`
    where the table has amounts of work, else `power`; `coefficients_` are the law's.
    """

    name: ClassVar[str] = "steps"

    _law: ComplexityModel
    _smooth: list[tuple[int, bool, float, float]]
    _stepped: list[int]
    _process: StepProcess
    _least: float

    def _fit(self, X: Floats, c: Floats, weight: Floats) -> None:
        columns = self._columns()
        work, parameters = self._work(), self._parameters()
        if not self._named():
            work = []
        self._law = complexity_class("linear" if work else "power")(
            names=list(columns), categorical=self.categorical
        )
        self._law.fit(X, c, weight)
        self.coefficients_ = self._law.coefficients_
        self._smooth, self._stepped = [], []
        for at in parameters or work:
            values = X[:, at]
            distinct = len(np.unique(values))
            if distinct < 2:
                continue
            if columns[at] not in self.categorical:
                positive = values[values > 0]
                log = bool(len(positive)) and (at in work or len(positive) == len(values))
                low, high = (positive.min(), values.max()) if log else (values.min(), values.max())
                low, high = (float(np.log(v)) if log else float(v) for v in (low, high))
                if high > low:
                    self._smooth.append((at, log, low, high))
            if at in parameters and 2 * distinct <= len(values):
                self._stepped.append(at)
        self._least = float(c.min())
        ratio = np.log(c / self._lawful(X))
        rows = group(X, ratio, weight)
        self._process = StepProcess.fit(
            self._features(rows.X), rows.X[:, self._stepped], rows.y, rows.weight, rows.within, rows.freedom
        )

    def _lawful(self, X: Floats) -> Floats:
        """The law's prediction, kept above zero."""
        # a law without a constant may say 0 for no work, which has no log
        return np.maximum(self._law._mean(X), _LEAST_PRICE * self._least)

    def _features(self, X: Floats) -> Floats:
        """Columns as the smooth part sees them: 0 to 1 on the rows of the fit, no further than 1 beyond."""
        if not self._smooth:
            return np.empty((len(X), 0))
        scaled = []
        for at, log, low, high in self._smooth:
            # no work at all has no log, and lies just below the least there was
            value = np.maximum(np.log(np.maximum(X[:, at], _LEAST)), low - np.log(2)) if log else X[:, at]
            width = high - low
            scaled.append((np.clip(value, low - width, high + width) - low) / width)
        return np.stack(scaled, axis=1)

    def _mean(self, X: Floats) -> Floats:
        ratio = self._process.mean(self._features(X), X[:, self._stepped])
        return self._lawful(X) * np.exp(np.clip(ratio, -_WIDEST, _WIDEST))

    def _std(self, X: Floats, mean: Floats) -> Floats:
        unsure = self._process.std(self._features(X), X[:, self._stepped])
        return mean * np.hypot(unsure, self._process.noise)

    def _state(self) -> dict[str, Any]:
        return {
            "law": self._law.to_dict(),
            "smooth": [list(row) for row in self._smooth],
            "stepped": list(self._stepped),
            "least": self._least,
            "process": self._process.to_dict(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._law = complexity_class(state["law"]["model"]).from_dict(state["law"])
        self._smooth = [(int(a), bool(log), float(b), float(t)) for a, log, b, t in state["smooth"]]
        self._stepped = [int(at) for at in state["stepped"]]
        self._least = float(state["least"])
        self._process = StepProcess.from_dict(state["process"])
