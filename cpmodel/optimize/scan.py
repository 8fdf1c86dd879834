"""A walk over every candidate of a space, up the cost axis, a block at a time, with the rule for ties."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cpmodel.cost import relative
from cpmodel.errors import BadInputError
from cpmodel.optimize.results import Cloud
from cpmodel.space import CANDIDATES, Floats, Space

CostFunction = Callable[[Floats], Floats]
"""Complexity of the rows of X, shape (n, d), as `Space.matrix` codes them: shape (n,), NaN where unknown."""

Limits = Mapping[str, tuple[CostFunction, float]]
"""Further complexities that must not exceed a maximum, by name."""

CHUNK = 200_000
"""Configurations that are held at once."""

EXACT_UP_TO = 10 * CANDIDATES
"""A space of more configurations is sampled; one of fewer is walked, of which only the costs are kept."""

# The first block of a walk; each further one is twice as large, since a cheap answer needs few
_BLOCK = 8_192
# Probabilities are asked for in blocks that grow, since the first few rows often settle the matter
_FIRST_BLOCK, _LAST_BLOCK = 256, 16_384


class Predictor(Protocol):
    """What is needed of a precision model; X as `Space.filled` gives it (raw values, no NaN)."""

    def predict(self, X: Floats, /) -> Any:
        """Predicted precision, shape (n,)."""

    def predict_interval(self, X: Floats, level: float, /) -> tuple[Floats, Floats]:
        """Interval of the precision of a new training, shape (n,) each."""

    def probability(self, X: Floats, target: float, /) -> Floats:
        """Probability that the precision reaches the target, shape (n,)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is minimised, over which configurations, and what is believed of their precision.

    A space is looked at in full up to `EXACT_UP_TO` configurations; beyond that `Space.most` are drawn
    (always the same ones). Where the cost is NaN configurations are left out. Notes say so.
    """

    space: Space
    model: Predictor
    cost: CostFunction
    complexity: str = "cost"  # what the cost is called
    limits: Limits = field(default_factory=dict)  # configurations that exceed one are no candidates
    baseline_cost: float | None = None  # asked of `cost` unless given
    level: float = 0.9  # of the intervals that are told, in (0, 1)
    chunk: int = CHUNK  # configurations that are held at once
    also: Floats | None = None  # shape (m, d), rows looked at even where the space is drawn from

    def __post_init__(self) -> None:
        check_fraction("level", self.level)
        if self.chunk < 1:
            raise BadInputError("chunk", expected="1 or more", got=self.chunk)
        for name, (_, most) in self.limits.items():
            if math.isnan(most):
                raise BadInputError(f"limit of {name}", expected="a number", got=most)

    def parts(self, X: Floats) -> list[Floats]:
        """The rows of X in parts of which one is held at once."""
        return [X[start : start + self.chunk] for start in range(0, len(X), self.chunk)]

    def filled(self, X: Floats) -> Floats:
        """X as models see it: inactive parameters filled."""
        return X if all(p.when is None for p in self.space.parameters) else self.space.filled(X)

    def predicted(self, X: Floats) -> Floats:
        """Predicted precision of each row of X, shape (n,); NaN where there is none."""
        return np.asarray(self.model.predict(self.filled(X)), dtype=np.float64)

    def interval(self, X: Floats) -> tuple[Floats, Floats]:
        """Where the precision of a new training of each row of X lies, at the level; shape (n,) each."""
        low, high = self.model.predict_interval(self.filled(X), self.level)
        return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)

    def probability(self, X: Floats, target: float) -> Floats:
        """Probability that each row of X reaches the target, shape (n,)."""
        return np.asarray(self.model.probability(self.filled(X), target), dtype=np.float64)

    @cached_property
    def baseline(self) -> Cloud:
        """The space's baseline, one row, with a complexity that others can be relative to."""
        X, given = self.space.matrix([self.space.baseline]), self.baseline_cost
        unit = costs_of(self.cost, X, "cost") if given is None else np.array([given])
        relative(unit, float(unit[0]))
        return Cloud(X, unit, self.predicted(X))

    @property
    def unit(self) -> float:
        """Complexity of the baseline."""
        return float(self.baseline.complexity[0])


def safer(safe: Cloud, reaching: Cloud, problem: Problem, target: float, confidence: float) -> Cloud:
    """The better of `safe` (one row or none) and the first safe row among `reaching`."""
    if len(safe):
        better = reaching.precision > safe.precision[0]
        level = reaching.complexity == safe.complexity[0]
        reaching = reaching[(reaching.complexity < safe.complexity[0]) | (level & better)]
    reaching = reaching[reaching.order()]
    start, size = 0, _FIRST_BLOCK
    while start < len(reaching):
        block = reaching[start : start + size]
        sure = np.flatnonzero(problem.probability(block.X, target) >= confidence)
        if len(sure):
            return block[sure[:1]]
        start, size = start + size, min(2 * size, _LAST_BLOCK)
    return safe


class Scan:
    """All candidates of a space in ascending cost, and what is to be said about those left out.

    The costs of all of them come first: they are cheap, exact, and take 20 bytes a configuration. Only then
    is anything predicted, as far up as the one who walks goes.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.space = problem, problem.space
        self.sampled = self.space.size > walked(self.space)
        self.seen = self.beyond = self.unknown = self.left = 0
        self.rest = math.inf
        self.least = dict.fromkeys(problem.limits, math.inf)

    def __iter__(self) -> Iterator[Cloud]:
        """Blocks in ascending cost; `rest` is the least cost of those not seen yet, `left` their number."""
        candidates, costs = self._surveyed()
        order = np.argsort(costs, kind="stable")
        start, size = 0, min(_BLOCK, self.problem.chunk)
        while start < len(order):
            block = order[start : start + size]
            start, size = start + size, min(2 * size, self.problem.chunk)
            self.left = max(len(order) - start, 0)
            self.rest = float(costs[order[start]]) if self.left else math.inf
            points = self._predicted(candidates(block), costs[block])
            self.unknown += len(block) - len(points)
            if len(points):
                yield points

    def _surveyed(self) -> tuple[Callable[[NDArray[Any]], Floats], Floats]:
        """The rows within the limits by number (in the order of enumeration), and the cost of each."""
        some = self.space.candidates(also=self.problem.also) if self.sampled else None
        at, count = (self.space.at, self.space.size) if some is None else (some.__getitem__, len(some))
        kept: list[NDArray[np.int32]] = []
        costs: list[Floats] = []
        for start in range(0, count, self.problem.chunk):
            rows = np.arange(start, min(start + self.problem.chunk, count), dtype=np.int32)
            X = at(rows)
            self.seen += len(X)
            within = np.ones(len(X), dtype=bool)
            for name, (function, most) in self.problem.limits.items():
                values = costs_of(function, X, name)
                self.least[name] = float(np.fmin.reduce(values, initial=self.least[name]))
                within &= values <= most
            self.beyond += len(X) - int(within.sum())
            cost = np.full(len(X), np.nan)
            cost[within] = costs_of(self.problem.cost, X if within.all() else X[within], "cost")
            known = ~np.isnan(cost)
            self.unknown += int(within.sum()) - int(known.sum())
            kept.append(rows[known])
            costs.append(cost[known])
        places = np.concatenate(kept)
        return lambda block: at(places[block]), np.concatenate(costs)

    def _predicted(self, X: Floats, cost: Floats) -> Cloud:
        """The rows of X that have a predicted precision."""
        points = Cloud(X, cost, self.problem.predicted(X))
        unknown = np.isnan(points.precision)
        return points[~unknown] if unknown.any() else points

    def evaluated(self, X: Floats) -> Cloud:
        """The rows of X that have a complexity and a predicted precision, in their order."""
        cost = costs_of(self.problem.cost, X, "cost")
        known = ~np.isnan(cost)
        return self._predicted(X[known], cost[known]) if known.any() else Cloud.none(self.space)

    def check(self, found: Cloud) -> None:
        """Refuse a scan that left nothing."""
        if len(found):
            return
        if self.beyond == self.seen:
            bounds = ", ".join(f"{name} at most {most:g}" for name, (_, most) in self.problem.limits.items())
            least = ", ".join(f"{name} {value:g}" for name, value in self.least.items())
            expected = f"larger limits (the least there are: {least})"
            raise BadInputError(f"no configuration has {bounds}", expected=expected)
        raise BadInputError("no configuration has both a complexity and a predicted precision")

    def notes(self) -> list[str]:
        """What to say about configurations that were not looked at, or left out."""
        notes = []
        if self.sampled:
            notes.append(
                f"{self.space.size:,} configurations are too many to look at each: "
                f"{self.seen:,} were drawn at random, so a cheaper one may exist"
            )
        if self.beyond:
            notes.append(f"the limits leave {self.seen - self.beyond:,} of {self.seen:,} configurations")
        if self.unknown:
            lacking = f"no {self.problem.complexity} or no prediction for them"
            notes.append(f"{self.unknown:,} configurations left out: {lacking}")
        if self.left:
            notes.append(
                f"{self.left:,} configurations are dearer than the sure answer and were not predicted: "
                "the envelope and the best precision are those of the others"
            )
        return notes


def walked(space: Space) -> int:
    """How many configurations a space may have to be looked at in full: fewer where costs take their time."""
    return EXACT_UP_TO if space.most >= CANDIDATES else space.most


def costs_of(cost: CostFunction, X: Floats, name: str) -> Floats:
    """Complexity of the rows of X, shape (n,), checked."""
    values = np.asarray(cost(X), dtype=np.float64)
    if values.shape != (len(X),):
        raise BadInputError(f"{name} function", expected=f"{len(X)} numbers, one a row", got=values.shape)
    return values


def check_fraction(name: str, value: float, *, last: float | None = None) -> None:
    """Refuse what is not in (0, 1), `last` itself allowed."""
    if not (0.0 < value < 1.0 or value == last):
        raise BadInputError(name, expected=f"a fraction in (0, 1{']' if last else ')'}", got=value)
