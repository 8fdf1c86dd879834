"""What a fitted model believes of the candidates that matter: many truths, each as likely as the others.

Neighbours are wrong together, so that probabilities of single configurations do not tell how cheap the
cheapest one that reaches a target is. Draws of all candidates at once do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import BadInputError
from cpmodel.space import Floats
from cpmodel.surrogates.predictive import Predictive

Rows = NDArray[np.int64]

# Candidates that are drawn together, and draws of them
CANDIDATES, DRAWS = 400, 512
# Rows that are predicted at a time, by rising cost
_STRIDE = 4096
# A probability that is as good as one, and one that is as good as none
_SURE, _HARDLY = 0.998, 0.002


class JointModel(Protocol):
    """What is needed of a precision model; X as `Space.filled` gives it (raw values, no NaN)."""

    def predictive(self, X: Floats, /) -> Predictive:
        """The law of the precision of each row."""

    def draws(self, X: Floats, count: int, seed: int = 0, /) -> Floats:
        """Equally likely precisions of all rows together, shape (count, n)."""


@dataclass(frozen=True, eq=False)
class Belief:
    """Equally likely truths about the candidates that matter.

    Parameters
    ----------
    rows : shape (m,)
        Of the table of configurations; distinct, ascending.
    cost : shape (m,)
        Complexity, above 0.
    precision : shape (draws, m), fractions in [0, 1]
        Mean over seeds of each candidate in each draw.
    """

    rows: Rows
    cost: Floats
    precision: Floats

    def among(self, rows: Sequence[int] | Rows) -> NDArray[np.bool_]:
        """Which candidates are among these rows of the table, shape (m,)."""
        return np.isin(self.rows, np.asarray(rows, dtype=np.int64))

    def without(self, rows: Sequence[int] | Rows) -> Belief:
        """The same belief, these rows no candidates."""
        kept = ~self.among(rows)
        return Belief(self.rows[kept], self.cost[kept], self.precision[:, kept])

    def cheapest(self, target: float, of: NDArray[np.bool_] | None = None) -> Floats:
        """Least cost that reaches the target in each draw, infinite where none does; shape (draws,).

        Parameters
        ----------
        of : shape (m,), optional
            The candidates to look at; all unless given.
        """
        at = slice(None) if of is None else of
        paid = np.where(self.precision[:, at] >= target, self.cost[at], np.inf)
        return np.asarray(paid.min(axis=1, initial=np.inf))

    @classmethod
    def of(
        cls,
        model: JointModel,
        X: Floats,
        cost: Floats,
        targets: float | Sequence[float],
        *,
        ceiling: float = np.inf,
        always: Sequence[int] | Rows = (),
        candidates: int = CANDIDATES,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Belief:
        """What a fitted model believes; the same arguments give the same belief.

        Parameters
        ----------
        X : shape (n, d)
            Every configuration that may be chosen, as the model sees it.
        cost : shape (n,), above 0
        targets : fraction in [0, 1], or several
            What matters is decided for each of them.
        ceiling : float
            What costs as much or more cannot matter.
        always : rows that are candidates whatever the model says (those trained)
        candidates : int
            How many of the others, at most, a target; `likeliest` chooses them.
        seed : int
            Of the draws.

        Raises
        ------
        BadInputError
            No configuration, or not one cost above 0 for each.
        """
        if not len(X) or cost.shape != (len(X),) or not np.all(cost > 0):
            raise BadInputError("candidates", expected="one cost above 0 for each of one or more rows of X")
        rows = [np.asarray(always, dtype=np.int64)]
        levels = np.atleast_1d(np.asarray(targets, dtype=np.float64))
        below, probability = _walked(model, X, cost, levels, ceiling)
        for level in probability:
            rows.append(below[likeliest(level, cost[below], candidates)])
        kept = np.unique(np.concatenate(rows)).astype(np.int64)
        return cls(kept, cost[kept], model.draws(X[kept], draws, seed))


def _walked(
    model: JointModel, X: Floats, cost: Floats, targets: Floats, ceiling: float
) -> tuple[Rows, Floats]:
    """Rows by rising cost up to one sure to reach all targets; probability of each, (targets, rows).

    What is dearer than a sure answer is never predicted.
    """
    order = np.argsort(cost, kind="stable")
    order = order[: int(np.searchsorted(cost[order], ceiling))]
    parts: list[Floats] = []
    seen = 0
    while seen < len(order):
        law = model.predictive(X[order[seen : seen + _STRIDE]])
        parts.append(np.stack([law.probability(float(target)) for target in targets]))
        seen += parts[-1].shape[1]
        if np.any(parts[-1].min(axis=0) >= _SURE):
            break
    reached = np.concatenate(parts, axis=1) if parts else np.empty((len(targets), 0))
    return order[:seen].astype(np.int64), reached


def likeliest(probability: Floats, cost: Floats, count: int) -> Rows:
    """Rows that can be the cheapest to reach a target, at most `count`, over the whole range of cost.

    Those dearer than a row that is sure to reach it cannot; nor can those that hardly any draw would have
    reach it. Of the others the likeliest for their cost are taken: those that no cheaper one equals in
    probability, then those that only these do, and so on.

    Parameters
    ----------
    probability : shape (n,)
        Of reaching the target.
    cost : shape (n,)
    """
    if not len(probability):
        return np.empty(0, dtype=np.int64)
    sure = cost[probability >= _SURE].min(initial=np.inf)
    left = np.flatnonzero((cost <= sure) & (probability >= min(_HARDLY, float(probability.max()))))
    left = left[np.lexsort((-probability[left], cost[left]))]
    chosen: list[Rows] = []
    while len(left) and count > 0:
        best = np.maximum.accumulate(probability[left])
        first = np.concatenate([[True], best[1:] > best[:-1]])
        layer = left[first]
        if len(layer) > count:  # thinned evenly over the costs
            layer = layer[np.linspace(0, len(layer) - 1, count).round().astype(np.int64)]
        chosen.append(layer)
        count -= len(layer)
        left = left[~first]
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
