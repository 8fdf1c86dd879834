from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.errors import BadInputError
from cpmodel.optimize import Problem, cheapest, cloud, envelope, envelope_table, paper_grid, scan, search
from cpmodel.space import Condition, Parameter, Space

PLAIN = Space((Parameter("f", (2, 4, 8)), Parameter("s", (8, 16)), Parameter("k", (3, 5))))
CONDITIONAL = Space(
    (
        Parameter("convs", (1, 2)),
        Parameter("f1", (4, 8, 16)),
        Parameter("f2", (4, 8), when=Condition("convs", (2,))),
        Parameter("pool", ("max", "avg"), categorical=True),
    ),
    baseline={"convs": 1, "f1": 8},
)


def columns(space):
    return len(space.parameters)


@dataclass
class Scripted:
    """A model that looks its answers up by row, and counts what it is asked."""

    space: Space
    precisions: np.ndarray
    spread: np.ndarray | None = None
    asked: dict[str, int] = field(default_factory=lambda: {"predict": 0, "probability": 0, "largest": 0})

    def __post_init__(self):
        rows = self.space.filled(self.space.candidates())
        self.rows = {row.tobytes(): i for i, row in enumerate(rows)}

    def index(self, X):
        assert not np.isnan(X).any()
        return [self.rows[np.ascontiguousarray(row).tobytes()] for row in X]

    def predict(self, X):
        self.asked["predict"] += len(X)
        self.asked["largest"] = max(self.asked["largest"], len(X))
        return self.precisions[self.index(X)]

    def predict_interval(self, X, level):
        p = self.precisions[self.index(X)]
        return p - level / 10, p + level / 10

    def probability(self, X, target):
        self.asked["probability"] += len(X)
        p = self.precisions[self.index(X)]
        spread = 0.05 if self.spread is None else self.spread[self.index(X)]
        return np.clip(0.5 + (p - target) / spread, 0, 1)


def scripted_cost(space, costs):
    rows = {row.tobytes(): c for row, c in zip(space.candidates(), costs, strict=True)}
    return lambda X: np.array([rows[np.ascontiguousarray(row).tobytes()] for row in X])


def brute(space, model, costs, target, confidence, allowed):
    """The answers by the definition, over a list."""
    X = space.candidates()
    p = model.precisions
    chance = model.probability(space.filled(X), target)
    order = sorted((i for i in range(len(X)) if allowed[i]), key=lambda i: (costs[i], -p[i], i))
    reach = [i for i in order if p[i] >= target]
    safe = [i for i in reach if chance[i] >= confidence]
    curve, best = [], -np.inf
    for i in order:
        if p[i] > best:
            best = p[i]
            curve.append(i)
    return reach, safe, curve


class Power:
    """A model that takes any numbers."""

    def predict(self, X):
        return 1 - 0.5 / np.prod(X, axis=1) ** 0.1

    def predict_interval(self, X, level):
        return Power.predict(self, X) - 0.01, Power.predict(self, X) + 0.01

    def probability(self, X, target):
        return np.clip(0.5 + 10 * (Power.predict(self, X) - target), 0, 1)


def solve(space, model, cost, *, target, confidence=0.9, runners_up=5, whole=None, **problem):
    how = {"runners_up": runners_up, "whole": whole}
    return cheapest(Problem(space, model, cost, **problem), target, confidence, **how)


levels = st.sampled_from([0.2, 0.5, 0.8, 0.9, 0.95])


@settings(deadline=None)
@given(data=st.data(), space=st.sampled_from([PLAIN, CONDITIONAL]), chunk=st.sampled_from([1, 2, 5, 1000]))
def test_small_spaces_against_the_definition(data, space, chunk):
    n = space.size
    precisions = np.array(data.draw(st.lists(levels, min_size=n, max_size=n)))
    spread = np.array(data.draw(st.lists(st.sampled_from([0.05, 0.5, 5.0]), min_size=n, max_size=n)))
    costs = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=n, max_size=n)))
    weights = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0]), min_size=n, max_size=n)))
    target, most = data.draw(levels), data.draw(st.sampled_from([1.0, 2.0]))
    model = Scripted(space, precisions, spread)
    allowed = weights <= most
    reach, safe, curve = brute(space, model, costs, target, 0.7, allowed)
    arguments = {
        "target": target,
        "complexity": "macs",
        "confidence": 0.7,
        "runners_up": 3,
        "chunk": chunk,
        "limits": {"weight": (scripted_cost(space, weights), most)},
    }
    if not allowed.any():
        with pytest.raises(BadInputError, match="weight at most 1"):
            solve(space, model, scripted_cost(space, costs), **arguments)
        return
    choice = solve(space, model, scripted_cost(space, costs), **arguments)
    keys = [space.key(c) for c in space.configurations(space.candidates())]
    assert choice.status == ("reachable" if reach else "unreachable")
    assert (choice.plain and choice.plain.key) == (keys[reach[0]] if reach else None)
    assert (choice.safe and choice.safe.key) == (keys[safe[0]] if safe else None)
    assert [c.key for c in choice.runners_up] == [keys[i] for i in reach[1:4]]
    assert choice.best.key == keys[curve[-1]]
    assert [space.key(c) for c in choice.envelope.configurations] == [keys[i] for i in curve]
    assert choice.envelope.complexity.tolist() == costs[curve].tolist()
    assert choice.envelope.precision.tolist() == precisions[curve].tolist()
    assert choice.baseline.key == space.key(space.baseline)
    assert choice.baseline.relative == 1.0
    assert choice.space_size == n
    for candidate in filter(None, (choice.plain, choice.safe, choice.best, *choice.runners_up)):
        row = keys.index(candidate.key)
        assert candidate.complexity == costs[row]
        assert candidate.relative == costs[row] / choice.baseline.complexity
        assert candidate.precision == precisions[row]
        assert (candidate.low, candidate.high) == (precisions[row] - 0.09, precisions[row] + 0.09)


@settings(deadline=None)
@given(data=st.data(), space=st.sampled_from([PLAIN, CONDITIONAL]), block=st.sampled_from([1, 2, 3, 100]))
def test_what_is_dearer_than_the_sure_answer_is_left_alone(data, space, block):
    n = space.size
    precisions = np.array(data.draw(st.lists(levels, min_size=n, max_size=n)))
    costs = np.array(data.draw(st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), min_size=n, max_size=n)))
    target = data.draw(levels)
    model = Scripted(space, precisions, np.full(n, 0.3))
    reach, safe, curve = brute(space, model, costs, target, 0.7, np.ones(n, dtype=bool))
    keys = [space.key(c) for c in space.configurations(space.candidates())]
    blocks = []

    class Watched:
        predict_interval, probability = model.predict_interval, model.probability

        @staticmethod
        def predict(X):
            blocks.append(model.index(X))
            return model.predict(X)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_BLOCK", block)
        arguments = {"target": target, "complexity": "macs", "confidence": 0.7, "chunk": 2 * block}
        choice = solve(space, Watched(), scripted_cost(space, costs), whole=False, **arguments)
    assert (choice.plain and choice.plain.key) == (keys[reach[0]] if reach else None)
    assert (choice.safe and choice.safe.key) == (keys[safe[0]] if safe else None)
    after = [c.key for c in choice.runners_up]
    assert after == [keys[i] for i in reach[1 : 1 + len(after)]]
    found = [space.key(c) for c in choice.envelope.configurations]
    assert found == [keys[i] for i in curve[: len(found)]]
    walked = [row for rows in blocks[1:] for row in rows]  # the first is the baseline
    assert len(set(walked)) == len(walked)
    assert list(costs[walked]) == sorted(costs[walked])
    if safe:
        assert all(costs[rows[0]] <= costs[safe[0]] for rows in blocks[1:])
        missing = n - len(walked)
        assert bool(missing) == any("were not predicted" in note for note in choice.notes)
        if missing:
            assert f"{missing} configurations are dearer" in choice.notes[0]
    else:
        assert len(walked) == n


def test_a_large_space_is_not_predicted_whole_unless_asked():
    space = Space(tuple(Parameter(name, tuple(range(1, 60))) for name in "abc"))
    asked = []

    class Counted(Power):
        def predict(self, X):
            asked.append(len(X))
            return super().predict(X)

    def found(**how):
        asked.clear()
        choice = solve(space, Counted(), lambda X: X.sum(axis=1), target=0.6, complexity="sum", **how)
        return choice, sum(asked)

    part, few = found(whole=False)
    everything, all_of_them = found(whole=True)
    assert few < 2 * scan._BLOCK < all_of_them == space.size + 1
    assert (part.plain, part.safe) == (everything.plain, everything.safe)
    assert everything.best.precision > part.best.precision
    assert everything.notes == ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "CANDIDATES", 1000)
        assert found()[1] == few
    assert found()[1] == all_of_them


def smooth(space):
    """A model and a cost that rise with every parameter."""
    X = space.filled(space.candidates())
    work = np.prod(X, axis=1)
    return Scripted(space, 1 - 1 / (1 + work)), scripted_cost(space, work)


def test_the_answer_and_what_stands_beside_it():
    model, cost = smooth(PLAIN)
    choice = solve(PLAIN, model, cost, target=0.988, complexity="macs", confidence=0.6, level=0.5)
    assert choice.plain is not None
    # 2 x 16 x 3 = 4 x 8 x 3: the first in the order of enumeration
    assert choice.plain.configuration == {"f": 2, "s": 16, "k": 3}
    assert choice.plain.precision == 1 - 1 / 97
    assert choice.plain.low == pytest.approx(choice.plain.precision - 0.05)
    assert choice.safe is not None
    assert choice.safe.complexity >= choice.plain.complexity
    assert choice.safe.probability >= 0.6
    assert choice.plain.complexity / choice.baseline.complexity == choice.plain.relative
    assert (choice.target, choice.confidence, choice.level, choice.complexity) == (0.988, 0.6, 0.5, "macs")
    assert choice.notes == ()


def test_unreachable():
    model, cost = smooth(PLAIN)
    choice = solve(PLAIN, model, cost, target=1.0, complexity="macs")
    assert choice.status == "unreachable"
    assert choice.plain is None
    assert choice.safe is None
    assert choice.runners_up == ()
    assert choice.best.configuration == {"f": 8, "s": 16, "k": 5}
    assert len(choice.envelope.configurations) > 3


def test_reachable_but_not_surely():
    model, cost = smooth(PLAIN)
    choice = solve(PLAIN, model, cost, target=0.998, complexity="macs", confidence=0.99)
    assert choice.status == "reachable"
    assert choice.safe is None
    assert choice.notes == ("no configuration reaches 0.998 with probability 0.99 or more",)


def test_limits_and_unknown_costs_are_said():
    model, cost = smooth(PLAIN)
    limits = {"s": (lambda X: X[:, 1], 8.0), "f": (lambda X: np.where(X[:, 0] == 2, np.nan, X[:, 0]), 100.0)}
    choice = solve(PLAIN, model, cost, target=0.9, complexity="macs", limits=limits)
    assert choice.plain is not None
    assert choice.plain.configuration["s"] == 8
    assert choice.plain.configuration["f"] != 2  # an unknown value is not known to be within its limit
    assert choice.notes == ("the limits leave 4 of 12 configurations",)
    choice = solve(
        PLAIN,
        model,
        lambda X: np.where(X[:, 2] == 3, np.nan, cost(X)),
        target=0.9,
        complexity="latency_s",
    )
    assert choice.plain is not None
    assert choice.plain.configuration["k"] == 5
    assert "6 configurations left out: no latency_s" in choice.notes[0]


def test_a_baseline_measured_elsewhere():
    model, cost = smooth(PLAIN)
    choice = solve(PLAIN, model, cost, target=0.985, complexity="macs", baseline_cost=1000.0)
    assert choice.baseline.complexity == 1000.0
    assert choice.baseline.relative == 1.0
    assert choice.plain is not None
    assert choice.plain.relative == choice.plain.complexity / 1000
    with pytest.raises(BadInputError, match="baseline"):
        solve(PLAIN, model, lambda X: np.zeros(len(X)), target=0.9, complexity="macs")


@pytest.mark.parametrize("target", [1.7, 0, -0.1, float("nan"), 94])
def test_a_target_out_of_range(target):
    model, cost = smooth(PLAIN)
    with pytest.raises(BadInputError, match=r"target: expected a fraction in \(0, 1\]"):
        solve(PLAIN, model, cost, target=target, complexity="macs")


@pytest.mark.parametrize(
    "wrong",
    [{"confidence": 1}, {"level": 0}, {"runners_up": -1}, {"chunk": 0}, {"limits": {"a": (len, np.nan)}}],
)
def test_other_arguments_out_of_range(wrong):
    model, cost = smooth(PLAIN)
    with pytest.raises(BadInputError, match=next(iter(wrong))[:5]):
        solve(PLAIN, model, cost, target=0.9, complexity="macs", **wrong)


def test_a_cost_of_another_shape():
    model, _ = smooth(PLAIN)
    with pytest.raises(BadInputError, match="one a row"):
        solve(PLAIN, model, lambda X: X, target=0.9, complexity="macs")


def test_nothing_has_a_cost():
    model, _ = smooth(PLAIN)
    with pytest.raises(BadInputError, match="both a complexity and"):
        solve(
            PLAIN, model, lambda X: np.full(len(X), np.nan), target=0.9, complexity="macs", baseline_cost=1.0
        )


def test_little_is_held_and_asked_at_once():
    space = Space(tuple(Parameter(name, tuple(range(1, 18))) for name in "abc"))  # 4913
    model, cost = smooth(space)
    solve(space, model, cost, target=0.5, complexity="macs", chunk=500)
    assert model.asked["largest"] <= 500
    assert model.asked["probability"] < space.size / 5  # the cheap end settles it


def test_envelope_alone_and_as_a_table():
    model, cost = smooth(CONDITIONAL)
    curve = envelope(Problem(CONDITIONAL, model, cost, chunk=3))
    choice = solve(CONDITIONAL, model, cost, target=0.9, complexity="macs")
    assert curve.configurations == choice.envelope.configurations
    assert np.all(np.diff(curve.complexity) > 0)
    assert np.all(np.diff(curve.precision) > 0)
    table = envelope_table(curve, CONDITIONAL)
    assert list(table) == [
        "convs",
        "f1",
        "f2",
        "pool",
        "complexity",
        "relative",
        "precision",
        "low",
        "high",
    ]
    assert len(table) == len(curve.configurations)
    assert table["f2"].isna()[0] == ("f2" not in curve.configurations[0])


@pytest.mark.parametrize("rows", [3, 7, 12, 100])
def test_cloud(rows):
    model, cost = smooth(PLAIN)
    curve = envelope(Problem(PLAIN, model, cost))
    drawn = cloud(Problem(PLAIN, model, cost, chunk=5), rows, np.random.default_rng(0))
    keys = [PLAIN.key(c) for c in PLAIN.configurations(drawn.X)]
    assert len(set(keys)) == len(keys) <= max(rows, len(curve.configurations))
    assert {PLAIN.key(c) for c in curve.configurations} <= set(keys)
    assert drawn.complexity.tolist() == cost(drawn.X).tolist()
    assert drawn.precision.tolist() == model.precisions[model.index(drawn.X)].tolist()
    if rows >= PLAIN.size:
        assert len(keys) == PLAIN.size
    again = cloud(Problem(PLAIN, model, cost), rows, np.random.default_rng(0), curve=curve)
    assert again.X.tolist() == drawn.X.tolist()


def test_a_space_too_large_is_drawn(monkeypatch):
    monkeypatch.setattr(scan, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(Space.candidates, "__defaults__", (700,))
    space = Space(
        (
            *(Parameter(name, tuple(range(1, 9))) for name in "abcd"),
            Parameter("e", (1, 2), when=Condition("a", (2,))),
        )
    )
    choices = [
        solve(space, Power(), lambda X: np.nansum(X, axis=1), target=0.6, complexity="sum", chunk=chunk)
        for chunk in (100, 100)
    ]
    assert choices[0].plain == choices[1].plain
    assert 600 < choices[0].space_size <= 701  # each once, and the baseline
    assert "4,608 configurations are too many" in choices[0].notes[0]
    drawn = cloud(Problem(space, Power(), lambda X: np.nansum(X, axis=1)), 300, np.random.default_rng(0))
    assert space.contains(drawn.X).all()
    assert 200 < len(drawn.X) <= 300


def test_paper_grid():
    space = Space(
        (Parameter("f", (2, 8, 64)), Parameter("k", (3, 5)), Parameter("kind", ("a", "b"), categorical=True))
    )

    def cost(X):
        assert np.all((X[:, :2] == np.trunc(X[:, :2])) & (X[:, :2] >= 2))  # only what can be built
        return X[:, 0] ** 2 * X[:, 1] ** 1.5

    grid = paper_grid(Problem(space, Power(), cost, chunk=150))
    assert grid.X.shape == (400, 3)
    assert sorted(set(np.round(grid.X[:, 0] / 64, 9))) == [i / 20 for i in range(1, 21)]
    assert set(grid.X[:, 2]) == {1.0}
    np.testing.assert_allclose(grid.complexity, grid.X[:, 0] ** 2 * grid.X[:, 1] ** 1.5)
    np.testing.assert_allclose(grid.precision, Power().predict(grid.X))
    with pytest.raises(BadInputError, match="1 to 5 ordered"):
        paper_grid(Problem(Space((Parameter("f", (2,)),)), Power(), cost))


def test_what_was_trained_is_looked_at_even_in_a_space_too_large():
    space = Space(tuple(Parameter(f"p{i}", tuple(range(1, 11))) for i in range(10)))
    trained = space.matrix([dict.fromkeys(space.names, 1) | {"p3": 2}])

    def cost(X):
        return np.prod(X, axis=1)

    def found(also=None):
        problem = Problem(space, Power(), cost, also=also)
        return cheapest(problem, 0.53).plain, envelope(problem).complexity[0]

    (without, least), (seen, least_seen) = found(), found(trained)
    assert seen is not None and without is not None
    assert seen.configuration == {**dict.fromkeys(space.names, 1), "p3": 2}
    assert seen.complexity == least_seen == 2 < least <= without.complexity


def test_axes_tie_and_the_better_one_is_found():
    space = Space((Parameter("f", (2, 4, 8)), Parameter("long", (1, 2, 4), axis=True)))

    def cost(X):
        return space.networks_of(X)[:, 0] ** 2

    X = space.candidates()
    model = Scripted(space, 0.5 + 0.01 * X[:, 0] + np.select([X[:, 1] == 2, X[:, 1] == 4], [0.2, 0.1]))
    choice = solve(space, model, cost, target=0.73)
    assert choice.plain is not None
    assert choice.plain.configuration == {"f": 4, "long": 2}
    assert [c["long"] for c in choice.envelope.configurations] == [2, 2, 2]
    level = solve(space, Scripted(space, np.full(9, 0.9)), cost, target=0.73)
    assert level.plain is not None and level.plain.configuration == {"f": 2, "long": 1}, "the first of equals"
