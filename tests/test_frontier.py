from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel import frontier
from cpmodel.errors import BadInputError
from cpmodel.frontier import lower_envelope, pareto_front


def brute_front(cost, precision):
    c, p = np.asarray(cost, dtype=float), np.asarray(precision, dtype=float)
    front = [
        i
        for i in range(len(c))
        if c[i] == c[i] and p[i] == p[i] and not np.any((c <= c[i]) & (p >= p[i]) & ((c < c[i]) | (p > p[i])))
    ]
    return sorted(front, key=lambda i: (c[i], i))


def brute_envelope(cost, precision):
    """The definition: for each precision that is reached, the best of those that reach it."""
    c, p = np.asarray(cost, dtype=float), np.asarray(precision, dtype=float)
    known = [i for i in range(len(c)) if c[i] == c[i] and p[i] == p[i]]
    answers = {min((j for j in known if p[j] >= p[i]), key=lambda j: (c[j], -p[j], j)): None for i in known}
    return sorted(answers, key=lambda i: (c[i], -p[i], i))


few = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, -1.0, np.nan, np.inf, -np.inf])
any_number = st.floats(width=32) | few


@given(st.lists(st.tuples(few, few), max_size=30) | st.lists(st.tuples(any_number, any_number), max_size=30))
def test_small_sets_against_the_definition(points):
    cost, precision = [c for c, _ in points], [p for _, p in points]
    assert pareto_front(cost, precision).tolist() == brute_front(cost, precision)
    assert lower_envelope(cost, precision).tolist() == brute_envelope(cost, precision)


@pytest.mark.parametrize(
    "kind",
    [
        "random",
        "line",
        "ties",
        "equal",
        "one level",
        "noise",
        "trade-off",
        "nan",
        "nan trade-off",
        "integers",
        "integer trade-off",
    ],
)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_large_sets_against_a_simple_sort(kind, seed):
    rng = np.random.default_rng(seed)
    n = 40_000  # enough for the prefilter
    cost, precision = rng.random(n), rng.random(n)
    if kind == "line":
        precision = cost.copy()
    elif kind == "ties":
        cost, precision = rng.integers(0, 200, n) * 1.0, rng.integers(0, 200, n) * 1.0
    elif kind == "equal":
        cost, precision = np.ones(n), np.zeros(n)
    elif kind == "one level":
        precision = np.ones(n)
    elif kind == "noise":
        precision = cost + 1e-3 * rng.normal(size=n)
    elif "trade-off" in kind:  # a long front with much below it
        precision = np.log(cost) - 2 * rng.random(n)
        if kind == "integer trade-off":
            cost, precision = (cost * 2**60).astype(np.int64), np.round(precision * 50)
        elif kind == "nan trade-off":
            cost[rng.random(n) < 0.1] = np.nan
            precision[rng.random(n) < 0.1] = np.nan
    elif kind == "nan":
        cost[rng.random(n) < 0.3] = np.nan
        precision[rng.random(n) < 0.3] = np.nan
        precision[rng.random(n) < 0.01] = np.inf
    elif kind == "integers":
        cost = rng.integers(2**53, 2**53 + 9, n)
    order = np.lexsort((np.arange(n), -precision, cost))
    best, envelope, front = None, [], []
    for i in order[~np.isnan(cost[order]) & ~np.isnan(precision[order])]:
        if best is None or precision[i] > precision[best]:
            best = i
            envelope.append(i)
            front.append(i)
        elif cost[i] == cost[best] and precision[i] == precision[best]:
            front.append(i)
    assert lower_envelope(cost, precision).tolist() == envelope
    assert pareto_front(cost, precision).tolist() == front


def test_many_runs_of_equal_points(monkeypatch):
    rng = np.random.default_rng(0)
    cost = rng.integers(0, 5000, 20_000) * 1.0
    expected = pareto_front(cost, cost)
    assert np.array_equal(expected, np.lexsort((np.arange(20_000), cost)))
    monkeypatch.setattr(frontier, "_RUNS", 10)
    assert np.array_equal(pareto_front(cost, cost), expected)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40), st.randoms())
def test_the_order_of_the_points_changes_only_indices(points, random):
    shuffled = list(points)
    random.shuffle(shuffled)
    for function in (pareto_front, lower_envelope):
        first, second = (
            [chosen[i] for i in function(*map(list, zip(*chosen, strict=True)))]
            for chosen in (points, shuffled)
        )
        assert first == second


def test_envelope_ascends_strictly_in_both():
    rng = np.random.default_rng(0)
    cost, precision = rng.random(100_000), rng.random(100_000)
    chosen = lower_envelope(cost, precision)
    assert np.all(np.diff(cost[chosen]) > 0)
    assert np.all(np.diff(precision[chosen]) > 0)
    assert precision[chosen[-1]] == precision.max()
    assert cost[chosen[0]] == cost.min()


@pytest.mark.parametrize("function", [pareto_front, lower_envelope])
def test_edges(function):
    assert function([], []).tolist() == []
    assert function([np.nan], [1.0]).tolist() == []
    assert function([5], [0.1]).tolist() == [0]
    with pytest.raises(BadInputError, match="one number each"):
        function([1.0], [1.0, 2.0])
    with pytest.raises(BadInputError, match="one number each"):
        function([[1.0]], [[1.0]])
