"""What to train next, and what is still to be gained: where does feasibility begin along a known cost axis?

Complexity is known before training, so that only one thing is uncertain: which configurations reach the
target. Everything here is computed from a `Belief`, draws of what may be true, and is deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpmodel.search.belief import Belief, Rows
from cpmodel.space import Floats


@dataclass(frozen=True)
class Outlook:
    """What may be cheaper than what one has.

    Parameters
    ----------
    probability : that a configuration cheaper by more than the tolerance reaches the target
    saving : expected logarithm of the ratio of what one has to the cheapest that reaches the target
    """

    probability: float
    saving: float

    @property
    def fraction(self) -> float:
        """The expected saving as a fraction of the cost of what one has, in [0, 1)."""
        return float(-np.expm1(-self.saving))


def outlook(belief: Belief, target: float, has: float, tolerance: float = 0.0) -> Outlook:
    """What may be cheaper than a configuration that is proved, or believed, to reach the target.

    Parameters
    ----------
    has : its complexity, finite
    tolerance : fraction of it below which a saving does not count as cheaper, in [0, 1)
    """
    cheapest = np.minimum(belief.cheapest(target), has)
    return Outlook(float(np.mean(cheapest < has * (1.0 - tolerance))), float(np.mean(np.log(has / cheapest))))


def held(belief: Belief, target: float, rows: Sequence[int] | Rows, ceiling: float) -> Floats:
    """Cost of the cheapest of the rows that reaches the target, at most `ceiling`; shape (draws,)."""
    return np.minimum(belief.cheapest(target, belief.among(rows)), ceiling)


def expected_saving(belief: Belief, target: float, rows: Sequence[int] | Rows, ceiling: float) -> Floats:
    """Expected fall of the log cost of the cheapest that reaches the target, by each candidate; shape (m,).

    Parameters
    ----------
    rows : what has been or is being trained
    ceiling : cost of what is sure to reach the target; of the dearest where nothing is

    Notes
    -----
    Noisy expected improvement (Letham, Karrer, Ottoni, Bakshy 2019) with the objective known: whether those
    trained reach the target is as uncertain as the model says, and drawn together with the candidates.
    """
    saving = np.log(held(belief, target, rows, ceiling)[:, None] / belief.cost)
    gain: Floats = np.where(belief.precision >= target, np.maximum(saving, 0.0), 0.0).mean(axis=0)
    return gain


def suggest(
    belief: Belief,
    target: float,
    trained: Sequence[int] | Rows,
    *,
    ceiling: float,
    count: int = 1,
    barred: Sequence[int] | Rows = (),
    seconds: Floats | None = None,
) -> Rows:
    """Rows to train next, those with the most to give first; fewer than `count` when no more has any.

    Parameters
    ----------
    trained : rows that were trained, or are being trained
    ceiling : as for `expected_saving`
    barred : rows that are not to be trained
    seconds : shape (m,), expected training time of each candidate: the saving is then that per second

    Notes
    -----
    Rows of one call complete each other: each next one brings the most in the draws in which those before it
    (and those being trained) do not reach the target. So several workers do not train neighbours for the same
    reason, and no result has to be made up for what is still in training.
    """
    closed = belief.among([*trained, *barred])
    chosen: list[int] = []
    while len(chosen) < count:
        gain = np.where(closed, 0.0, expected_saving(belief, target, [*trained, *chosen], ceiling))
        if seconds is not None:
            gain = gain / seconds
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(int(belief.rows[best]))
        closed[best] = True
    return np.array(chosen, dtype=np.int64)


def least_certain(belief: Belief, targets: Sequence[float], ceiling: float) -> tuple[int, Floats]:
    """Which of the targets has the widest band of C(P), and the width of each; shape (targets,).

    The width is the standard deviation of the logarithm of the least cost that reaches the target, what no
    candidate reaches counted at `ceiling`.
    """
    widths = np.array(
        [np.std(np.log(np.minimum(belief.cheapest(float(t)), ceiling))) for t in targets], dtype=np.float64
    )
    return int(np.argmax(widths)), widths


def suggest_for_curve(
    belief: Belief,
    targets: Sequence[float],
    trained: Sequence[int] | Rows,
    *,
    ceiling: float,
    count: int = 1,
    barred: Sequence[int] | Rows = (),
) -> Rows:
    """Rows to train next for the whole curve C(P), the most to give where it is least certain; see `suggest`.

    Parameters
    ----------
    targets : fractions, a grid over the range of the curve
    """
    _, widths = least_certain(belief, targets, ceiling)
    order = np.argsort(-widths, kind="stable")
    chosen: list[int] = []
    for position in order[:count] if count < len(order) else np.resize(order, count):
        target = float(targets[position])
        chosen += suggest(belief, target, [*trained, *chosen], ceiling=ceiling, barred=barred).tolist()
    return np.array(chosen, dtype=np.int64)
