"""The whole curve on made-up truths: trainings go where they narrow it, and its band holds the true one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from made_truth import COST, FAMILY, SPACE, TASK, Truth, X

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.pipeline.costing import within
from cpmodel.pipeline.curve import TARGETS, Curve, State, check_curve, targets_of
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import CurveGoal, Effort
from cpmodel.records.sample import Request, Sample
from cpmodel.samples import Samples
from cpmodel.search.evidence import training_seed
from cpmodel.search.first import first_requests, first_size

TRAININGS = 24


def state_of(samples: Samples, goal: CurveGoal) -> State:
    return State.of(samples, goal, fit_precision(samples, "loggp"), X, COST)


def first_answers(truth: Truth, first: int) -> list[Sample]:
    asked = first_requests(SPACE, X, COST, first=first, baseline_seeds=2, study_seed=truth.seed)
    return [truth.answer(request) for request in asked]


def explored(truth: Truth, goal: CurveGoal, at_random: bool = False) -> State:
    """What is known of the curve after so many trainings."""
    rng = np.random.default_rng(truth.seed)
    rows = first_answers(truth, first_size(SPACE))
    while True:
        state = state_of(Samples.of(SPACE, rows), goal)
        if len(rows) >= TRAININGS:
            return state
        chosen = rng.choice(len(X), 4, replace=False) if at_random else state.next(4)
        assert 1 <= len(chosen) <= 4
        assert len(set(chosen.tolist())) == len(chosen)
        seed = training_seed(truth.seed, 0)
        rows += [truth.answer(Request(c, seed, "refine")) for c in SPACE.configurations(state.X[chosen])]


@pytest.fixture(scope="module")
def curves() -> list[tuple[Truth, CurveGoal, Curve, Curve]]:
    found = []
    for seed in range(8):
        truth = Truth(seed)
        low, high = np.quantile(truth.precision, [0.3, 0.95])
        goal = CurveGoal(low=low, high=high)
        both = [explored(truth, goal, at_random).curve("open", "", COST.max()) for at_random in (False, True)]
        found.append((truth, goal, *both))
    return found


def true_costs(truth: Truth, goal: CurveGoal) -> Any:
    return np.array([COST[truth.precision >= t].min() for t in targets_of(goal)])


def test_the_band_holds_the_true_curve(curves: list[tuple[Truth, CurveGoal, Curve, Curve]]) -> None:
    inside = []
    for truth, goal, curve, _ in curves:
        true = true_costs(truth, goal)
        inside.append(((curve.low <= true) & (true <= curve.high)).mean())
    assert np.mean(inside) >= 0.8  # of 90 %; the truths follow no law that the model knows


def test_trainings_go_where_they_narrow_it(curves: list[tuple[Truth, CurveGoal, Curve, Curve]]) -> None:
    searched = np.mean([curve.width.mean() for _, _, curve, _ in curves])
    drawn = np.mean([curve.width.mean() for _, _, _, curve in curves])
    assert searched < 0.85 * drawn


def test_what_a_curve_says(curves: list[tuple[Truth, CurveGoal, Curve, Curve]]) -> None:
    for _, goal, curve, _ in curves:
        assert curve.targets.tolist() == targets_of(goal).tolist()
        assert len(curve.targets) == TARGETS
        assert (curve.targets[0], curve.targets[-1]) == pytest.approx((goal.low, goal.high))
        told = ~np.isnan(curve.least)
        assert [bool(key) for key in curve.keys] == told.tolist()
        assert (np.diff(curve.least[told]) >= 0).all()
        assert (np.diff(curve.low) >= 0).all()
        assert (curve.low <= curve.high).all()
        assert ((curve.reachable >= 0) & (curve.reachable <= 1)).all()
        assert (np.diff(curve.reachable) <= 0).all()
        assert curve.trainings >= TRAININGS
        kept = load(Curve, json.loads(json.dumps(dump(curve))))
        for name in ("targets", "least", "low", "high", "reachable", "width"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(curve, name))


def test_what_cannot_be_trained_is_not_asked_for_again() -> None:
    truth = Truth(1)
    goal = CurveGoal(low=0.8, high=0.9)
    rows = first_answers(truth, 8)
    first = state_of(Samples.of(SPACE, rows), goal)
    wanted = SPACE.configurations(first.X[first.next(1)])[0]
    truth.broken = frozenset({SPACE.key(wanted)})
    again = state_of(Samples.of(SPACE, [*rows, truth.answer(Request(wanted, 0, "refine"))]), goal)
    assert wanted not in SPACE.configurations(again.X[again.next(5)])
    assert SPACE.key(wanted) not in SPACE.configurations(again.X[again.belief.rows])


def test_limits_cut_the_space_and_the_first_design() -> None:
    truth = Truth(2)
    material = Material(Samples.of(SPACE, []), FAMILY, TASK)
    allowed = within(material, {"params": 2000.0, "macs": 1e5})
    costs = FAMILY.costs(X, TASK)
    inside = (costs["params"] <= 2000) & (costs["macs"] <= 1e5)
    np.testing.assert_array_equal(allowed, X[inside])
    cost = FAMILY.costs(allowed, TASK)["macs"]
    requests = first_requests(SPACE, allowed, cost, first=6, baseline_seeds=2, study_seed=0)
    names = {row.tobytes() for row in allowed}
    for request in requests[2:]:
        assert SPACE.matrix([request.configuration])[0].tobytes() in names
    assert len(requests) >= 2 + 5
    samples = Samples.of(SPACE, [truth.answer(r) for r in requests])
    assert SPACE.contains(samples.X).all()
    with pytest.raises(BadInputError, match=r"params at most 10: expected \d+ or more, the least there is"):
        within(material, {"params": 10.0})


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.8), (0.8, 0.8), (0.0, 0.5), (0.5, 1.0), (np.nan, 0.9)])
def test_no_curve(low: float, high: float) -> None:
    with pytest.raises(
        BadInputError, match=r"curve: expected two precisions like 0\.80:0\.92|(low|high): expected"
    ):
        CurveGoal(low=low, high=high)


def test_budgets_that_are_too_small() -> None:
    with pytest.raises(BadInputError, match="budget: expected 6 trainings or more, got 5"):
        check_curve(SPACE, Effort(budget=5))
    assert check_curve(SPACE, Effort(budget=6)) == 4
    assert check_curve(SPACE, Effort(budget=None)) == first_size(SPACE)
