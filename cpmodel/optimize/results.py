"""What an optimisation answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cpmodel.frontier import lower_envelope
from cpmodel.space import Floats, Space, Value


@dataclass(frozen=True)
class Candidate:
    """One configuration as the fitted models see it.

    Parameters
    ----------
    key : text of the configuration, ``f=8,s=28,k=3,l=2``
    precision : predicted P (mean over seeds), fraction in [0, 1]
    low, high : interval of the precision of a new training, at the choice's `level`
    probability : that its P reaches the target
    complexity : in the unit of the complexity asked for (macs, params, latency_s, ...)
    relative : complexity divided by the baseline's
    """

    configuration: Mapping[str, Value]
    key: str
    precision: float
    low: float
    high: float
    probability: float
    complexity: float
    relative: float


@dataclass(frozen=True)
class Envelope:
    """C(P): the least complexity that reaches each precision, a staircase; m rows, which ascend in both.

    Row i is the cheapest configuration for every target in (precision[i - 1], precision[i]].
    """

    configurations: tuple[Mapping[str, Value], ...]
    complexity: Floats
    relative: Floats
    precision: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Choice:
    """What `cheapest` answers.

    Parameters
    ----------
    status : whether some configuration is predicted to reach the target
    target : fraction in [0, 1]
    complexity : name of the cost that was minimised
    confidence, level : probability asked of the safe answer, and level of the candidates' intervals
    plain : cheapest with predicted P >= target, the paper's answer
    safe : cheapest of those predicted to reach the target whose probability of it is >= confidence
    best : the highest predicted P in the space (the cheapest of equals): what can be reached at all
    runners_up : the next cheapest after the plain answer that are predicted to reach the target
    space_size : how many configurations were looked at
    notes : said to the user beside the answer
    """

    status: Literal["reachable", "unreachable"]
    target: float
    complexity: str
    confidence: float
    level: float
    plain: Candidate | None
    safe: Candidate | None
    best: Candidate
    baseline: Candidate
    runners_up: tuple[Candidate, ...]
    envelope: Envelope
    space_size: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cloud:
    """Configurations with their complexity and predicted precision, equals in the order of enumeration."""

    X: Floats  # shape (n, d), as `Space.matrix` codes configurations
    complexity: Floats  # shape (n,), as the precision
    precision: Floats

    @classmethod
    def none(cls, space: Space) -> Cloud:
        """No configuration at all."""
        return cls(np.empty((0, len(space.parameters))), np.empty(0), np.empty(0))

    def __len__(self) -> int:
        return len(self.complexity)

    def __getitem__(self, index: slice | NDArray[Any]) -> Cloud:
        return Cloud(self.X[index], self.complexity[index], self.precision[index])

    def __add__(self, other: Cloud) -> Cloud:
        """Both; equals of `other` are later in the order of enumeration."""
        return Cloud(
            np.concatenate([self.X, other.X]),
            np.concatenate([self.complexity, other.complexity]),
            np.concatenate([self.precision, other.precision]),
        )

    def envelope(self) -> Cloud:
        """Those on the lower envelope, ascending."""
        return self[lower_envelope(self.complexity, self.precision)]

    def cheapest(self, count: int) -> Cloud:
        """The first `count` by the rule for ties, in that order."""
        cloud = self
        if 0 < count < len(cloud):  # sort only what can be among them
            cloud = cloud[cloud.complexity <= np.partition(cloud.complexity, count - 1)[count - 1]]
        return cloud[cloud.order()[:count]]

    def order(self) -> NDArray[np.intp]:
        """Indices by the rule for ties: the sort is stable, so that equals keep their order."""
        return np.lexsort((-self.precision, self.complexity))
