"""What an optimisation answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cpmodel.space import Floats, Value


@dataclass(frozen=True)
class Candidate:
    """One configuration as the fitted models see it.

    Parameters
    ----------
    configuration : mapping
    key : str
        Its text, ``f=8,s=28,k=3,l=2``.
    precision : float
        Predicted P (mean over seeds), fraction in [0, 1].
    low, high : float
        Interval of the precision of a new training, at the choice's `level`.
    probability : float
        That its P reaches the target.
    complexity : float
        In the unit of the complexity asked for (macs, params, latency_s, ...).
    relative : float
        Complexity divided by the baseline's.
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
    """C(P): the least complexity that reaches each precision, a staircase; rows ascend in both.

    Every array has shape (m,); `configurations` likewise. Row i is the cheapest configuration for every
    target in (precision[i - 1], precision[i]].
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
    status : {"reachable", "unreachable"}
        Whether some configuration is predicted to reach the target.
    target : float
        Fraction in [0, 1].
    complexity : str
        Name of the cost column that was minimised.
    confidence : float
        Probability asked of the safe answer.
    level : float
        Level of the candidates' intervals.
    plain : Candidate or None
        Cheapest with predicted P >= target, the paper's answer.
    safe : Candidate or None
        Cheapest of those predicted to reach the target whose probability of it is >= confidence.
    best : Candidate
        The highest predicted P in the space (the cheapest of equals): what can be reached at all.
    baseline : Candidate
    runners_up : tuple of Candidate
        The next cheapest after the plain answer that are predicted to reach the target.
    envelope : Envelope
    space_size : int
        How many configurations were looked at.
    notes : tuple of str
        Said to the user beside the answer.
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
    notes: tuple[str, ...] = field(default=())


class Cloud(NamedTuple):
    """Configurations with their complexity and predicted precision, for a drawing.

    Parameters
    ----------
    X : shape (n, d), as `Space.matrix` codes configurations
    complexity, precision : shape (n,)
    """

    X: Floats
    complexity: Floats
    precision: Floats
