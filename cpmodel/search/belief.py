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

# Each of these weighs time against sharpness (scripts/bench/search_speed.py, scripts/bench/search.py):
# candidates that are drawn together
_MOST = 400
# draws of them
_DRAWS = 512
# rows that are predicted at a time, by rising cost
_STRIDE = 4096
# of more rows than this the dear ones are screened: a quick polynomial says which of them are predicted
_SCREENED = 65_536
# so many of the cheapest are predicted all the same
_EXACT = 32_768
# of the others the best one in so many
_SCREEN = 8
# of blocks of about equal cost, of so many rows
_BLOCK = 512
# so many standard deviations from a target are as good as any more
_FAR = 30.0
# a probability that is as good as one
_SURE = 0.998
# and one that is as good as none
_HARDLY = 0.002


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
    rows : shape (m,), of the table of configurations; distinct, ascending
    cost : shape (m,), complexity, above 0
    precision : shape (draws, m), mean over seeds of each candidate in each draw, in [0, 1]
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
        """Least cost of the candidates, or some, that reaches the target, else infinite; shape (draws,)."""
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
        candidates: int = _MOST,
        draws: int = _DRAWS,
    ) -> Belief:
        """What a fitted model believes; the same arguments give the same belief.

        Parameters
        ----------
        X : shape (n, d), every configuration that may be chosen, as the model sees it
        cost : shape (n,), above 0
        targets : fraction in [0, 1], or several; what matters is decided for each of them
        ceiling : what costs as much or more cannot matter
        always : rows that are candidates whatever the model says (those trained)
        candidates : how many of the others, at most, a target; `likeliest` chooses them
        """
        walk = Walk.of(model, X, cost, targets, ceiling=ceiling)
        return walk.belief(always=always, candidates=candidates, draws=draws)


@dataclass(frozen=True, eq=False)
class Walk:
    """What a model says of the rows that can matter, by rising cost.

    Parameters
    ----------
    X, cost : shape (n, d), (n,), the whole table, as the model sees it
    rows : shape (k,)
    probability : shape (targets, k), of reaching each target
    """

    model: JointModel
    X: Floats
    cost: Floats
    rows: Rows
    probability: Floats

    @classmethod
    def of(
        cls,
        model: JointModel,
        X: Floats,
        cost: Floats,
        targets: float | Sequence[float],
        *,
        ceiling: float = np.inf,
    ) -> Walk:
        """Rows up to one that is sure to reach all targets; arguments as for `Belief.of`.

        Notes
        -----
        What is dearer than a sure answer is never predicted. Of very many rows only the cheapest are, and
        those that a second-degree polynomial, fitted to what the model says of some, puts among the best of
        about their cost.
        """
        if not len(X) or cost.shape != (len(X),) or not np.all(cost > 0):
            raise BadInputError("candidates", expected="one cost above 0 for each of one or more rows of X")
        levels = np.atleast_1d(np.asarray(targets, dtype=np.float64))
        below = np.flatnonzero(cost < ceiling)
        order = below[np.argsort(cost[below], kind="stable")].astype(np.int64)
        screen = _Screen.of(model, X, order, levels) if len(order) > _SCREENED else None
        rows: list[Rows] = [np.empty(0, dtype=np.int64)]
        reached: list[Floats] = [np.empty((len(levels), 0))]
        seen = 0
        while seen < len(order):
            if screen is None or seen < _EXACT:
                some = order[seen : seen + _STRIDE]
                seen += len(some)
            else:
                some = order[seen : seen + _STRIDE * _SCREEN]
                seen += len(some)
                some = some[screen.best(X[some])]
            rows.append(some)
            law = model.predictive(X[some])
            reached.append(np.stack([law.probability(float(level)) for level in levels]))
            if np.any(reached[-1].min(axis=0) >= _SURE):
                break
        return cls(model, X, cost, np.concatenate(rows), np.concatenate(reached, axis=1))

    def belief(
        self,
        *,
        of: int | None = None,
        always: Sequence[int] | Rows = (),
        candidates: int = _MOST,
        draws: int = _DRAWS,
    ) -> Belief:
        """Draws of the likeliest rows for one of the targets, or for each; else as `Belief.of`."""
        levels = self.probability if of is None else self.probability[[of]]
        rows = [np.asarray(always, dtype=np.int64)]
        rows += [self.rows[likeliest(level, self.cost[self.rows], candidates)] for level in levels]
        kept = np.unique(np.concatenate(rows)).astype(np.int64)
        return Belief(kept, self.cost[kept], self.model.draws(self.X[kept], draws))


@dataclass(frozen=True, eq=False)
class _Screen:
    """A polynomial that says quickly, and roughly, how far a model puts rows above the targets."""

    logs: NDArray[np.bool_]  # columns that are above 0 everywhere
    level: Floats
    slopes: Floats
    bends: Floats

    @classmethod
    def of(cls, model: JointModel, X: Floats, order: Rows, targets: Floats) -> _Screen:
        """Fitted to what the model says of rows spread over the order."""
        logs = X.min(axis=0) > 0
        some = X[order[np.linspace(0, len(order) - 1, _STRIDE).astype(np.int64)]]
        law, x = model.predictive(some), _logs(some, logs)
        # on the link's scale, in standard deviations: smooth where probabilities are not
        above = [law.link.sign * (law.location - law.link.unheld(float(t))) / law.scale for t in targets]
        told = np.clip(np.stack(above, axis=1), -_FAR, _FAR)
        first, second = np.triu_indices(x.shape[1])
        terms = np.column_stack([np.ones(len(x)), x, x[:, first] * x[:, second]])
        fitted: Floats = np.asarray(np.linalg.lstsq(terms, told, rcond=None)[0].T, dtype=np.float64)
        d = x.shape[1]
        bends = np.zeros((len(targets), d, d))
        bends[:, first, second] = fitted[:, 1 + d :]
        return cls(logs, fitted[:, 0], fitted[:, 1 : 1 + d], bends)

    def best(self, X: Floats) -> NDArray[np.int64]:
        """Positions, ascending, of the best of every so many of the rows, for any of the targets."""
        x, kept = _logs(X, self.logs), _BLOCK // _SCREEN
        blocks = -(-len(X) // _BLOCK)
        places: list[Rows] = []
        for level, slope, bend in zip(self.level, self.slopes, self.bends, strict=True):
            above = np.full(blocks * _BLOCK, -np.inf)
            above[: len(X)] = level + x @ slope + np.einsum("ij,ij->i", x @ bend, x)
            first = np.argpartition(-above.reshape(blocks, _BLOCK), kept, axis=1)[:, :kept]
            places.append((first + _BLOCK * np.arange(blocks)[:, None]).ravel())
        best = np.unique(np.concatenate(places))
        return best[best < len(X)]


def _logs(X: Floats, logs: NDArray[np.bool_]) -> Floats:
    """The columns, some of them in logs."""
    x = X.copy()
    x[:, logs] = np.log(X[:, logs])
    return x


def likeliest(probability: Floats, cost: Floats, count: int) -> Rows:
    """Rows that can be the cheapest to reach a target, at most `count`, over the whole range of cost.

    Those dearer than a row that is sure to reach it cannot; nor can those that hardly any draw would have
    reach it. Of the others the likeliest for their cost are taken: those that no cheaper one equals in
    probability (of reaching the target, shape (n,)), then those that only these do, and so on.
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
