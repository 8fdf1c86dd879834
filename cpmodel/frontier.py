"""Pareto front and lower envelope of (cost, precision) points, exact, for tens of millions of them.

Cost is to be low, precision high. A point is dominated by one that is no worse in both and better in at
least one. Equal points do not dominate each other. A point with a NaN in it (a failed training, an unknown
run-time) is never on a front and dominates none; infinities are numbers like others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.errors import BadInputError

Indices = NDArray[np.intp]
Numbers = NDArray[Any]

# Points that stay in a core's cache while they are compared (this and the next: scripts/bench/frontier.py)
_BLOCK = 1 << 15
# Points that are looked at first, to find good ones
_SAMPLE = 4096
# Most of these good ones that all points are compared with
_PIVOTS = 8
# Points of a sample's staircase: few enough to find a place among them quickly
_STEPS = 32
# A staircase takes longer than a few points do by what sorting this part of all points takes
_WORTH = 0.1
# Runs of equal points that are put in order one by one, rather than all points at once
_RUNS = 100_000


def pareto_front(cost: ArrayLike, precision: ArrayLike) -> Indices:
    """Every point that no other one dominates, equal points all of them.

    Parameters
    ----------
    cost, precision : shape (n,), any real type; integers are compared as integers

    Returns
    -------
    indices : shape (m,), into the points: ascending cost, equal points by ascending index

    Examples
    --------
    >>> pareto_front([3, 1, 2, 1, 3], [0.9, 0.5, 0.4, 0.5, 0.9]).tolist()
    [1, 3, 0, 4]
    """
    front, starts = _front(*_points(cost, precision))
    if starts is None:
        return front
    ends = np.append(starts[1:], len(front))
    several = np.flatnonzero(ends - starts > 1)
    if len(several) > _RUNS:
        front.sort()
        return front[np.argsort(np.asarray(cost)[front], kind="stable")]
    for start, end in zip(starts[several], ends[several], strict=True):
        front[start:end].sort()
    return front


def lower_envelope(cost: ArrayLike, precision: ArrayLike) -> Indices:
    """The least cost that reaches each precision: a staircase that ascends strictly in both.

    Among the points that reach a precision the cheapest is taken, of equal costs the one with the highest
    precision, of equal points the one with the lowest index.

    Parameters
    ----------
    cost, precision : shape (n,), any real type

    Returns
    -------
    indices : shape (m,), into the points: point i is the answer for precisions in (P[i - 1], P[i]]

    Examples
    --------
    >>> lower_envelope([3, 1, 2, 1, 3], [0.9, 0.5, 0.4, 0.5, 0.9]).tolist()
    [1, 0]
    """
    front, starts = _front(*_points(cost, precision))
    return front if starts is None else np.minimum.reduceat(front, starts)


def _points(cost: ArrayLike, precision: ArrayLike) -> tuple[Numbers, Numbers]:
    pair = [np.asarray(values) for values in (cost, precision)]
    c, p = (values if values.dtype.kind in "fiu" else values.astype(np.float64) for values in pair)
    if c.ndim != 1 or c.shape != p.shape:
        shapes = f"{c.shape} and {p.shape}"
        raise BadInputError("cost and precision", expected="one number each for every point", got=shapes)
    return c, p


def _front(cost: Numbers, precision: Numbers) -> tuple[Indices, Indices | None]:
    """The front in ascending cost, and where its runs of equal points start (None: all are different)."""
    survivors = _prefiltered(cost, precision)
    if survivors is not None:
        cost, precision = cost[survivors], precision[survivors]
    # the least of numbers among which there is a NaN is NaN, and much faster to get than a mask
    if len(cost) and (np.isnan(cost.min()) or np.isnan(precision.min())):
        known = np.flatnonzero(~(np.isnan(cost) | np.isnan(precision)))
        survivors = known if survivors is None else survivors[known]
        cost, precision = cost[known], precision[known]
    front, starts = _staircase(cost, precision)
    return (front if survivors is None else survivors[front]), starts


def _prefiltered(cost: Numbers, precision: Numbers) -> Indices | None:
    """Points that a few good ones do not dominate, so that only these need sorting; None: all of them.

    The good ones are the front of a sample, thinned to those that dominate the most of it. Their equals stay.
    """
    n = len(cost)
    if n < 4 * _SAMPLE:
        return None
    step = n // _SAMPLE
    c, p = cost[::step], precision[::step]
    known = ~(np.isnan(c) | np.isnan(p))
    c, p = c[known], p[known]
    front, _ = _staircase(c, p)
    pivots: list[tuple[Any, Any]] = []
    alive = np.ones(len(c), dtype=bool)
    # a sample that is mostly front has no point that dominates many
    candidates = front[:: max(1, len(front) // 64)]
    while len(pivots) < _PIVOTS and len(candidates):
        beaten = (c >= c[candidates, None]) & (p <= p[candidates, None]) & alive
        counts = beaten.sum(axis=1)
        best = int(np.argmax(counts))
        if counts[best] <= max(1, len(c) // 100):
            break
        alive &= ~beaten[best]
        pivots.append((c[candidates[best]], p[candidates[best]]))
    left = float(alive.mean())
    if left > _WORTH:
        several = _above_staircase(cost, precision, c[front], p[front], left - _WORTH)
        if several is not None:
            return several
    if left > 0.75:
        return None
    kept = []
    for start in range(0, n, _BLOCK):
        c, p = cost[start : start + _BLOCK], precision[start : start + _BLOCK]
        index = np.arange(start, start + len(c))
        for pivot_cost, pivot_precision in pivots:
            # NaN in one of the two passes, and is sorted out later
            keep = (c < pivot_cost) | (p > pivot_precision) | ((c == pivot_cost) & (p == pivot_precision))
            if not keep.all():
                index, c, p = index[keep], c[keep], p[keep]
        kept.append(index)
    return np.concatenate(kept)


def _above_staircase(
    cost: Numbers, precision: Numbers, steps: Numbers, heights: Numbers, most: float
) -> Indices | None:
    """Points that a front does not dominate, some of whose points, ascending in cost and precision, are used.

    None where that leaves more than the part `most` of the points.
    """
    thin = slice(None, None, max(1, len(steps) // _STEPS))
    steps, heights = steps[thin], heights[thin]

    def above(c: Numbers, p: Numbers) -> NDArray[np.bool_]:
        place = np.searchsorted(steps, c, side="right")
        below = np.maximum(place - 1, 0)
        keep: NDArray[np.bool_] = p > heights[below]
        keep |= (p == heights[below]) & (c == steps[below])  # the staircase's own points and their equals
        keep |= place == 0
        return keep

    others = slice(len(cost) // _SAMPLE // 2, None, len(cost) // _SAMPLE)  # none that made the staircase
    if above(cost[others], precision[others]).mean() > most:
        return None
    kept = [
        start + np.flatnonzero(above(cost[start : start + _BLOCK], precision[start : start + _BLOCK]))
        for start in range(0, len(cost), _BLOCK)
    ]
    return np.concatenate(kept)


def _staircase(cost: Numbers, precision: Numbers) -> tuple[Indices, Indices | None]:
    """`_front` of points without NaN, by sorting them all."""
    order = np.argsort(cost)
    # In ascending cost whatever is below the highest precision so far is dominated. Within equal costs the
    # order is any, so that some of those that are left still have to go.
    rising = np.empty(len(order), dtype=bool)
    highest: Any = None
    for start in range(0, len(order), _BLOCK):
        p = precision[order[start : start + _BLOCK]]
        top = np.maximum.accumulate(p)
        if highest is not None:
            np.maximum(top, highest, out=top)
        np.greater_equal(p, top, out=rising[start : start + _BLOCK])
        highest = top[-1]
    if not rising.all():
        order = order[rising]
    first = _first(cost, order)
    if first.all():
        better = _first(precision, order)  # equal precisions at higher costs are all that is left to go
        return (order if better.all() else order[better]), None
    starts = np.flatnonzero(first)
    # ascending so far: the last of equal costs is their best
    tops = precision[order[np.append(starts[1:], len(order)) - 1]]
    better = np.append(True, tops[1:] > tops[:-1])
    kept = np.empty(len(order), dtype=bool)
    group = -1
    for start in range(0, len(order), _BLOCK):
        part = slice(start, start + _BLOCK)
        groups = group + np.cumsum(first[part])
        kept[part] = better[groups] & (precision[order[part]] == tops[groups])
        group = groups[-1]
    order = order[kept]
    first = _first(cost, order)
    return order, (None if first.all() else np.flatnonzero(first))


def _first(values: Numbers, order: Indices) -> NDArray[np.bool_]:
    """Where, along `order`, a run of equal values starts."""
    first = np.ones(len(order), dtype=bool)
    for start in range(0, len(order) - 1, _BLOCK):
        run = values[order[start : start + _BLOCK + 1]]
        np.not_equal(run[1:], run[:-1], out=first[start + 1 : start + len(run)])
    return first
