"""The complexity model that learns a device's steps: a readable law, and a process for what it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from cpmodel.space import Floats
from cpmodel.surrogates.complexity.model import ComplexityModel, complexity_class
from cpmodel.surrogates.features import Features
from cpmodel.surrogates.gaussian import MOST_ROWS, GaussianProcess, Prior, chosen
from cpmodel.surrogates.groups import group

# The least that the law may say, as a part of the least complexity seen
_LEAST_PRICE = 1e-12
# The least number that has a log
_LEAST = 5e-324
# Log of the largest factor between the law and the prediction
_WIDEST = 5.0
# Beliefs about log ratios to the law (medians and spreads of the logs: scripts/bench/complexity.py)
_BELIEFS = Prior(
    "steps",
    slope=np.zeros(0),
    slope_spread=0.0,
    # of the size of the smooth part
    amplitude=(0.15, 1.0),
    # of its length
    length=(0.8, 1.0),
    # of the size of the steps
    step=(0.03, 1.0),
    # of the noise of one measurement
    scatter=(0.01, 1.0),
    own=None,
    # the law before has seen to it that the mean is small
    level=0.3,
    centred=False,
    jitter=1e-8,
    unit=1.0,
)
# Relative change of the log density at which the search for hyperparameters ends
_TOLERANCE = 1e-6
# A row so many standard deviations from what the others say of it counts a quarter
_FAR = 2.5
# Rounds of finding such rows
_REWEIGHTED = 3
# Rows that are predicted at once
_ROWS_AT_ONCE = 4096


class WorkSteps(ComplexityModel):
    """C = law(T) * exp(g(T)), law linear in the work (else powers of the parameters), g a Gaussian process.

    g is a smooth function of the logs of the raw parameters (of the amounts of work where the table has no
    parameters), plus an offset for each value of a parameter that occurs in several rows, and for each code
    of a categorical one: a run-time jumps where a size stops fitting vectors, tiles or caches. The law is
    `linear` where the table has amounts of work, else `power`; `coefficients_` are the law's.
    """

    name: ClassVar[str] = "steps"

    law_: ComplexityModel
    smooth_: tuple[int, ...]
    features_: Features
    stepped_: tuple[int, ...]
    process_: GaussianProcess
    least_: float

    def _learn(self, X: Floats, c: Floats, weight: Floats) -> None:
        columns = self._column_names()
        work, parameters = self._work() if self._named() else [], self._parameters()
        law = complexity_class("linear" if work else "power")
        self.law_ = law(names=list(columns), categorical=self._codes(X)).fit(X, c, weight)
        self.coefficients_ = self.law_.coefficients_
        distinct = {at: len(np.unique(X[:, at])) for at in parameters or work}
        varied = [at for at in distinct if distinct[at] > 1]
        coded = {at for at in varied if columns[at] in self.categorical}
        often = {at for at in parameters if 2 * distinct[at] <= len(X)}
        smooth = [at for at in varied if at not in coded]
        self.smooth_, self.stepped_ = tuple(smooth), tuple(at for at in varied if at in coded | often)
        seen = X[:, smooth]
        # an amount of work is a log although some networks do none of it
        least = np.where(seen > 0, seen, np.inf).min(axis=0, initial=np.inf)
        counted = np.isin(smooth, work) & np.isfinite(least)
        self.features_ = Features.of(np.where(counted, np.maximum(seen, least), seen), None, {})
        self.least_ = float(c.min())
        self.process_ = self._process(X, np.log(c / self._lawful(X)), weight)

    def _process(self, X: Floats, ratio: Floats, weight: Floats) -> GaussianProcess:
        """The process of log ratios, in which rows far from what the others say count less."""
        rows = group(X, ratio, weight)
        kept = chosen(len(rows), MOST_ROWS)
        rows = replace(rows, X=self._features(rows.X[kept]), y=rows.y[kept], weight=rows.weight[kept])
        prior = replace(_BELIEFS, slope=np.zeros(len(self.features_.owners())))
        start, trust = prior.beliefs(rows.X.shape[1])[0], np.ones(len(rows))
        for _ in range(1 + _REWEIGHTED):
            trusted = replace(rows, weight=rows.weight * trust)
            process = GaussianProcess.fit(prior, trusted, start, tolerance=_TOLERANCE, search_rows=MOST_ROWS)
            start, trust = process.theta, 1.0 / (1.0 + (process.misses() / _FAR) ** 2) ** 2
        return process

    def _lawful(self, X: Floats) -> Floats:
        """The law's prediction, kept above zero."""
        # a law without a constant may say 0 for no work, which has no log
        return np.maximum(self.law_._said(X), _LEAST_PRICE * self.least_)

    def _features(self, X: Floats) -> Floats:
        """What the process sees of the rows of X: the smooth part's features, and the stepped columns."""
        smooth = X[:, list(self.smooth_)]
        # what has no log lies just below the least there was
        floor = [max(c.low / 2.0, _LEAST) if c.kind == "log" else -np.inf for c in self.features_.columns]
        return np.column_stack([self.features_.encode(np.maximum(smooth, floor)), X[:, list(self.stepped_)]])

    def _said(self, X: Floats) -> Floats:
        parts = [self.process_.mean(rows) for rows in self._chunks(X)]
        return self._lawful(X) * np.exp(np.clip(np.concatenate(parts), -_WIDEST, _WIDEST))

    def _std(self, X: Floats, mean: Floats) -> Floats:
        parts = [self.process_.predict(rows)[1] for rows in self._chunks(X)]
        return mean * np.hypot(np.concatenate(parts), self.process_.noise)

    def _chunks(self, X: Floats) -> Iterator[Floats]:
        """What the process sees of the rows of X, so many at once that memory stays small."""
        return map(self._features, np.split(X, range(_ROWS_AT_ONCE, len(X), _ROWS_AT_ONCE)))
