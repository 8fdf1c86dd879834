"""First designs: what they hold, and that they are spread."""

from __future__ import annotations

import itertools

import numpy as np
from made_truth import COST, ROW, SPACE, X

from cpmodel.search.first import _levels, first_requests, first_rows
from cpmodel.space import Parameter, Space


def test_first_requests() -> None:
    requests = first_requests(SPACE, X, COST, first=12, baseline_seeds=2, study_seed=3)
    keys = [(SPACE.key(r.configuration), r.seed) for r in requests]
    assert len(set(keys)) == len(keys)
    assert [r.purpose for r in requests[:2]] == ["baseline"] * 2
    assert [r.seed for r in requests[:2]] == [30_000, 30_001]
    costs = [COST[ROW[key]] for key, _ in keys[2:]]
    assert costs == sorted(costs, reverse=True)
    assert {r.seed for r in requests[2:]} == {30_000}
    assert first_requests(SPACE, X, COST, first=12, baseline_seeds=2, study_seed=3) == requests
    assert first_requests(SPACE, X, COST, first=12, baseline_seeds=2, study_seed=4) != requests


def test_first_rows_are_spread_over_cost_and_worth_it() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    X = np.array(list(itertools.product(values, repeat=3)))
    cost = X[:, 0] * X[:, 1] + X[:, 1] * X[:, 2]
    levels = np.log2(X) / 4
    rows = first_rows(levels, cost, 6, seed=0)
    assert len(set(rows.tolist())) == 6
    strata = np.floor(6 * (np.log(cost[rows]) - np.log(cost).min()) / np.ptp(np.log(cost)) - 1e-9)
    assert strata.tolist() == [0, 1, 2, 3, 4, 5]
    assert first_rows(levels, cost, 6, seed=0).tolist() == rows.tolist()
    assert any(first_rows(levels, cost, 6, seed=s).tolist() != rows.tolist() for s in range(1, 5))
    # few are beaten in every parameter by one of no higher cost; of random rows half are
    beaten = [
        np.any(
            (cost <= cost[row]) & np.all(levels >= levels[row], axis=1) & np.any(levels > levels[row], axis=1)
        )
        for seed in range(30)
        for row in first_rows(levels, cost, 6, seed)
    ]
    assert np.mean(beaten) < 0.2
    assert len(first_rows(levels[:2], cost[:2], 6, seed=0)) == 2


def test_a_single_row_is_the_best_of_all() -> None:
    levels = np.array(list(itertools.product([0.0, 0.5, 1.0], repeat=2)))
    cost = np.exp(levels.sum(axis=1))
    rows = [int(first_rows(levels, cost, 1, seed)[0]) for seed in range(20)]
    assert rows.count(len(cost) - 1) > 10  # by a rate of none, others are as good


def test_levels_are_even_in_logarithms_where_there_are_some() -> None:
    space = Space((Parameter("f", (1, 4, 16)), Parameter("d", (0, 1, 2)), Parameter("one", (3,))))
    levels = _levels(space, space.candidates()).reshape(3, 3, 3)
    np.testing.assert_allclose(levels[:, 0, 0], [0, 0.5, 1])
    np.testing.assert_allclose(levels[0, :, 1], [0, 0.5, 1])
    assert (levels[:, :, 2] == 0.5).all()
