"""Decisions on beliefs so small that every number can be worked out by hand; properties on random ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.errors import BadInputError
from cpmodel.search.acquisition import (
    expected_saving,
    least_certain,
    outlook,
    suggest,
    suggest_for_curve,
)
from cpmodel.search.belief import Belief, Walk, _Screen, likeliest
from cpmodel.space import Floats
from cpmodel.surrogates.predictive import Link, Predictive

TARGET = 0.9
# four equally likely truths about three configurations of cost 1, 2 and 4: which reach the target
BELIEF = Belief(
    np.array([10, 20, 30]),
    np.array([1.0, 2.0, 4.0]),
    np.array([[0.95, 0.95, 0.95], [0.5, 0.95, 0.95], [0.5, 0.5, 0.95], [0.5, 0.5, 0.5]]),
)


def beliefs(seed: int, m: int = 12, draws: int = 20) -> Belief:
    rng = np.random.default_rng(seed)
    return Belief(np.arange(m), np.exp(rng.uniform(0, 3, m)), rng.uniform(0.85, 0.95, (draws, m)))


def test_the_cheapest_of_each_truth() -> None:
    np.testing.assert_array_equal(BELIEF.cheapest(TARGET), [1, 2, 4, np.inf])
    np.testing.assert_array_equal(BELIEF.cheapest(TARGET, BELIEF.among([30])), [4, 4, 4, np.inf])
    np.testing.assert_array_equal(BELIEF.without([10]).cheapest(TARGET), [2, 2, 4, np.inf])


def test_outlook() -> None:
    # something cheaper than 4 exists in two truths of four: 1 and 2
    found = outlook(BELIEF, TARGET, 4.0)
    assert found.probability == 0.5
    assert found.saving == pytest.approx((np.log(4) + np.log(2)) / 4)
    assert found.fraction == pytest.approx(1 - np.exp(-found.saving))
    assert outlook(BELIEF, TARGET, 4.0, tolerance=0.6).probability == 0.25
    assert outlook(BELIEF, TARGET, 1.0).saving == 0


def test_expected_saving_counts_what_is_trained_as_uncertain() -> None:
    ceiling = 8.0
    fresh = expected_saving(BELIEF, TARGET, [], ceiling)
    np.testing.assert_allclose(fresh, [np.log(8) / 4, 2 * np.log(4) / 4, 3 * np.log(2) / 4])
    # 20 was trained: it reaches the target in two truths; the first saves there only against 2
    after = expected_saving(BELIEF, TARGET, [20], ceiling)
    np.testing.assert_allclose(after, [np.log(2) / 4, 0, np.log(2) / 4])


def test_a_batch_completes_itself() -> None:
    assert suggest(BELIEF, TARGET, [], ceiling=8.0).tolist() == [20]
    # beside 20, the cheap one and the dear one each save a factor of two in one truth: the first row wins
    assert suggest(BELIEF, TARGET, [], ceiling=8.0, count=3).tolist() == [20, 10, 30]
    # a training in hand counts like one of the same batch
    assert suggest(BELIEF, TARGET, [20], ceiling=8.0, count=2).tolist() == [10, 30]
    assert suggest(BELIEF, TARGET, [20], ceiling=8.0, barred=[10], count=5).tolist() == [30]
    assert suggest(BELIEF, TARGET, [10, 20, 30], ceiling=8.0).tolist() == []


def test_long_trainings_are_worth_less() -> None:
    assert suggest(BELIEF, TARGET, [], ceiling=8.0, seconds=np.array([1.0, 9.0, 9.0])).tolist() == [10]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(1, 4))
def test_suggestions_are_the_best_there_are(seed: int, trained: int, count: int) -> None:
    belief = beliefs(seed)
    rng = np.random.default_rng(seed + 1)
    done = rng.choice(12, trained, replace=False).tolist()
    chosen = suggest(belief, TARGET, done, ceiling=30.0, count=count).tolist()
    assert len(set(chosen)) == len(chosen)
    assert not set(chosen) & set(done)
    held = list(done)
    for row in chosen:
        # by brute force: the mean log cost of the cheapest held, with each one more
        def mean_log(rows: list[int]) -> float:
            return float(np.log(np.minimum(belief.cheapest(TARGET, belief.among(rows)), 30.0)).mean())

        least = min(mean_log([*held, other]) for other in range(12) if other not in held)
        assert mean_log([*held, row]) == pytest.approx(least)
        held.append(row)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_no_training_brings_more_than_the_outlook(seed: int) -> None:
    belief = beliefs(seed)
    has = float(np.median(belief.cost))
    whole = outlook(belief, TARGET, has).saving
    assert expected_saving(belief, TARGET, [], has).max() <= whole + 1e-12
    assert 0 <= outlook(belief, TARGET, has, 0.3).probability <= outlook(belief, TARGET, has).probability


def test_the_curve_is_worked_on_where_it_is_least_certain() -> None:
    place, widths = least_certain(BELIEF, [0.4, TARGET], ceiling=8.0)
    assert place == 1
    assert widths[0] == 0  # the cheapest reaches 0.4 in every truth
    assert widths[1] == pytest.approx(np.std(np.log([1, 2, 4, 8])))
    assert suggest_for_curve(BELIEF, [0.4, TARGET], [], ceiling=8.0).tolist() == [20]
    rows = suggest_for_curve(BELIEF, [0.4, TARGET], [], ceiling=8.0, count=3).tolist()
    assert len(set(rows)) == len(rows)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.01, 0.2, 0.5, 0.8, 0.9, 1.0]), st.integers(1, 9)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 50),
)
def test_likeliest(rows: list[tuple[float, int]], count: int) -> None:
    probability, cost = np.array([p for p, _ in rows]), np.array([float(c) for _, c in rows])
    chosen = likeliest(probability, cost, count)
    assert 1 <= len(chosen) <= count
    assert len(set(chosen.tolist())) == len(chosen)
    sure = cost[probability >= 0.998]
    if len(sure):
        assert cost[chosen].max() <= sure.min()
    # what is neither equalled by a cheaper row nor too dear nor too unlikely is there, if there is room
    if count >= len(rows):
        for row, (p, c) in enumerate(rows):
            beaten = any(q >= p and d <= c and (q, d) != (p, c) for q, d in rows)
            twin = any(rows[other] == rows[row] for other in chosen)
            if not beaten and p >= 0.002 and (not len(sure) or c <= sure.min()):
                assert twin


class Smooth:
    """Precision that rises with the logarithm of the only parameter, known to 0.01 everywhere alike."""

    def __init__(self) -> None:
        self.asked = 0

    def predictive(self, X: Floats) -> Predictive:
        self.asked += len(X)
        mean = 0.8 + 0.02 * np.log(X[:, 0])
        return Predictive.of(Link("precision"), mean, np.full(len(X), 0.01), 0.001)

    def draws(self, X: Floats, count: int, seed: int = 0) -> Floats:
        return self.predictive(X).together(np.ones((len(X), len(X))), count, np.random.default_rng(seed))


def test_a_belief_agrees_with_the_model() -> None:
    X = np.arange(1.0, 2001.0)[:, None]
    cost = X[:, 0]
    belief = Belief.of(Smooth(), X, cost, TARGET, always=[1999], draws=4000)
    assert belief.rows[-1] == 1999
    # the level is one normal number: the least cost that reaches the target is known in closed form
    expected = np.exp((TARGET - 0.8 + 0.01 * np.array([-1.0, 0.0, 1.0])) / 0.02)
    found = np.quantile(belief.cheapest(TARGET), [0.1587, 0.5, 0.8413])
    np.testing.assert_allclose(found, expected, rtol=0.06)
    again = Belief.of(Smooth(), X, cost, TARGET, always=[1999], draws=4000)
    np.testing.assert_array_equal(again.precision, belief.precision)


def test_what_is_dearer_than_a_sure_answer_is_not_predicted() -> None:
    X = np.arange(1.0, 40_001.0)[:, None]
    model = Smooth()
    easy = 0.8
    belief = Belief.of(model, X, X[:, 0], easy, draws=10)
    assert model.asked < 10_000
    assert belief.cost.max() <= np.exp((easy - 0.8 + 0.03) / 0.02) + 1
    model = Smooth()
    assert Belief.of(model, X, X[:, 0], TARGET, ceiling=100.0, draws=10).cost.max() < 100
    with pytest.raises(BadInputError, match="one cost above 0"):
        Belief.of(model, X, np.zeros(len(X)), TARGET)


class Bent:
    """log(1 - P) falls with the logs of all parameters, and waves; known to a twentieth of the error."""

    def __init__(self) -> None:
        self.asked = 0

    def predictive(self, X: Floats) -> Predictive:
        self.asked += len(X)
        logs = np.log(X)
        mean = -2.0 - logs @ [0.1, 0.05, 0.08, 0.12] + 0.03 * np.sin(3 * logs).sum(axis=1)
        return Predictive.of(Link("log_error"), mean, np.full(len(X), 0.05), 0.01)

    def draws(self, X: Floats, count: int, seed: int = 0) -> Floats:
        away = np.abs(np.log(X)[:, None] - np.log(X)).sum(axis=2)
        return self.predictive(X).together(np.exp(-away), count, np.random.default_rng(seed))


def test_of_very_many_rows_few_are_predicted_and_none_that_matters_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.arange(1.0, 20.0)
    X = np.array(list(itertools.product(values, repeat=4)))
    cost = X[:, 0] * X[:, 1] + X[:, 1] * X[:, 2] + X[:, 2] * X[:, 3]
    assert len(X) > 100_000
    hard = 0.943
    model = Bent()
    found = Belief.of(model, X, cost, hard, always=[len(X) - 1], draws=50)
    assert model.asked < len(X) / 2
    assert (cost < found.cost.max()).sum() > 60_000
    monkeypatch.setattr("cpmodel.search.belief._SCREENED", len(X))
    whole = Belief.of(Bent(), X, cost, hard, always=[len(X) - 1], draws=50)
    # the same candidates, but for some of the least likely
    assert len(found.rows) == len(whole.rows) > 300
    lost = np.setdiff1d(whole.rows, found.rows)
    assert len(lost) < 0.1 * len(whole.rows)
    assert Bent().predictive(X[lost]).probability(hard).max(initial=0.0) < 0.3


def test_a_walk_ends_where_one_row_is_sure_of_every_target() -> None:
    X = np.arange(1.0, 40_001.0)[:, None]
    easy, hard = 0.8, 0.95
    dearest = {
        targets: float(Walk.of(Smooth(), X, X[:, 0], list(targets)).rows.max())
        for targets in ((easy,), (hard,), (easy, hard))
    }
    assert dearest[easy, hard] == dearest[hard,] > dearest[easy,]


def test_the_best_of_very_many_rows_are_found_where_a_parameter_may_be_nought() -> None:
    class Rising:
        def predictive(self, X: Floats) -> Predictive:
            mean = 0.8 + 0.01 * X[:, 0] + 0.001 * np.log(X[:, 1])
            return Predictive.of(Link("precision"), mean, np.full(len(X), 0.05), 0.001)

    X = np.array(list(itertools.product(np.arange(16.0), np.arange(1.0, 65.0))))
    screen = _Screen.of(Rising(), X, np.arange(len(X)), np.array([TARGET]))
    assert screen.logs.tolist() == [False, True]
    # of two blocks of 512 rows the best eighth each
    truth = Rising().predictive(X).mean().reshape(2, -1)
    kept = np.sort(np.argsort(-truth, axis=1)[:, :64] + [[0], [512]], axis=None)
    np.testing.assert_array_equal(screen.best(X), kept)
