from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.errors import BadInputError
from cpmodel.search.designs import DESIGNS, design
from cpmodel.space import Condition, Floats, Parameter, Space, rows_of

FEW = settings(max_examples=40, deadline=None)
PLAIN = Space(
    (
        Parameter("f", (2, 8, 16, 64)),
        Parameter("s", (8, 12, 20, 28)),
        Parameter("k", (3, 5)),
        Parameter("l", (1, 2)),
    )
)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    parameters: list[Parameter] = []
    for index in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 5))
        when = None
        if parameters and draw(st.booleans()):
            parent = draw(st.sampled_from(parameters))
            when = Condition(parent.name, parent.values[: draw(st.integers(1, len(parent.values)))])
        if draw(st.booleans()):
            parameters.append(Parameter(f"p{index}", tuple("abcde"[:count]), categorical=True, when=when))
        else:
            parameters.append(Parameter(f"p{index}", tuple(2**i for i in range(count)), when=when))
    space = Space(tuple(parameters))
    everything = space.configurations(space.candidates())
    return Space(space.parameters, draw(st.sampled_from(everything)))


def cost_of(space: Space, seed: int = 0) -> Callable[[Floats], Floats]:
    costs = np.exp(np.random.default_rng(seed).normal(0, 3, space.size))
    return lambda X: costs[rows_of(space.candidates(), X)]


def rows(X: Floats) -> set[bytes]:
    return {row.tobytes() for row in np.nan_to_num(X, nan=-1)}


@FEW
@given(spaces(), st.sampled_from(DESIGNS), st.integers(1, 60), st.integers(0, 5))
def test_distinct_configurations_within_the_budget(space: Space, name: str, budget: int, seed: int) -> None:
    cost = cost_of(space)
    X = design(name, space, budget, seed, cost)
    assert X.shape[1] == len(space.parameters)
    assert space.contains(X).all()
    assert len(rows(X)) == len(X)
    if name in ("sweep", "pairs"):
        assert 1 <= len(X) <= min(budget, space.size)
    else:
        assert len(X) == min(budget, space.size)
    again = design(name, space, budget, seed, cost)
    assert np.array_equal(X, again, equal_nan=True)
    if name in ("sweep", "pairs", "grid"):
        assert space.configurations(X[:1]) == [dict(space.baseline)]


@FEW
@given(spaces())
def test_sweep_in_pairs_in_grid(space: Space) -> None:
    sweep, pairs, grid = (rows(design(name, space, None, 0)) for name in ("sweep", "pairs", "grid"))
    assert sweep <= pairs <= grid
    assert len(grid) == space.size
    part = rows(design("pairs", space, max(1, len(pairs) // 2), 3))
    assert part <= pairs


def test_sweep_moves_one_parameter() -> None:
    baseline = {"f": 16, "s": 28, "k": 5, "l": 2}
    found = Space(PLAIN.parameters, baseline)
    configurations = found.configurations(design("sweep", found, None, 0))
    assert configurations[0] == baseline
    moved = [[n for n in baseline if c[n] != baseline[n]] for c in configurations[1:]]
    assert sorted(moved) == [["f"]] * 3 + [["k"]] + [["l"]] + [["s"]] * 3


def test_pairs_move_two() -> None:
    configurations = PLAIN.configurations(design("pairs", PLAIN, None, 0))
    counts = [sum(c[n] != PLAIN.baseline[n] for n in PLAIN.names) for c in configurations]
    # 1, then 3 + 3 + 1 + 1, then every two of them
    assert np.bincount(counts).tolist() == [1, 8, 9 + 3 + 3 + 3 + 3 + 1]


def test_sweep_takes_along_what_hangs_on_the_one_that_moves() -> None:
    space = Space((Parameter("l", (1, 2)), Parameter("g", (4, 8), when=Condition("l", (2,)))))
    keys = [space.key(c) for c in space.configurations(design("sweep", space, None, 0))]
    assert keys == ["l=2,g=8", "l=1", "l=2,g=4"]
    single = Space(space.parameters, {"l": 1})
    keys = [single.key(c) for c in single.configurations(design("sweep", single, None, 0))]
    assert keys == ["l=1", "l=2,g=8"]


def test_seeds_and_designs_differ() -> None:
    cost = cost_of(PLAIN)
    for name in ("random", "sobol", "spread"):
        draws = [design(name, PLAIN, 10, seed, cost).tobytes() for seed in range(5)]
        assert len(set(draws)) == 5
    assert rows(design("random", PLAIN, 10, 0)) != rows(design("sobol", PLAIN, 10, 0))


def test_a_part_of_a_grid_is_the_baseline_and_any_of_the_others() -> None:
    whole = rows(design("grid", PLAIN, None, 0))
    drawn = [rows(design("grid", PLAIN, 5, seed)) for seed in range(120)]
    assert {len(each) for each in drawn} == {5}
    assert set.intersection(*map(set, drawn)) == set(rows(PLAIN.matrix([PLAIN.baseline])))
    assert set().union(*drawn) == set(whole)


def test_no_budget() -> None:
    assert len(design("grid", PLAIN, None, 0)) == PLAIN.size == 64
    assert len(design("random", PLAIN, None, 0)) == 40
    assert len(design("sobol", PLAIN, None, 0)) == 40


def test_sobol_is_even() -> None:
    """Each value of each parameter about equally often, where random draws stray."""
    space = Space(tuple(Parameter(f"p{i}", tuple(range(4))) for i in range(4)))
    X = design("sobol", space, 32, 0)
    counts = np.array([np.bincount(column.astype(int), minlength=4) for column in X.T])
    assert counts.min() >= 6
    assert counts.max() <= 10


def test_spread_covers_the_cost_evenly() -> None:
    space = Space((Parameter("f", tuple(range(1, 401))),))
    cost = space.candidates()[:, 0] ** 3
    X = design("spread", space, 12, 0, lambda X: X[:, 0] ** 3)
    strata = np.linspace(0, np.log(400.0**3), 13)
    counts = np.histogram(np.log(X[:, 0] ** 3), strata)[0]
    filled = np.histogram(np.log(cost), strata)[0] > 0
    assert (counts[filled] >= 1).all()


def test_spread_of_equal_costs() -> None:
    assert len(design("spread", PLAIN, 9, 0, lambda X: np.ones(len(X)))) == 9
    assert len(design("spread", PLAIN, 9, 0, lambda X: np.zeros(len(X)))) == 9


@pytest.mark.parametrize(
    ("name", "budget", "message"),
    [
        ("lattice", 5, "design: expected one of sweep, pairs, .*, got lattice"),
        ("grid", 0, "budget: expected one training or more, got 0"),
        ("random", -3, "budget"),
        ("spread", 5, "the cost of every configuration"),
    ],
)
def test_what_is_refused(name: str, budget: int, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        design(name, PLAIN, budget, 0)


@FEW
@given(spaces(), st.sampled_from(DESIGNS), st.integers(0, 5), st.data())
def test_only_some_parameters_move(space: Space, name: str, seed: int, data: st.DataObject) -> None:
    vary = data.draw(st.sets(st.sampled_from(space.names)))
    everything = space.filled(space.candidates())
    base = space.filled(space.matrix([space.baseline]))[0]
    still = [i for i, other in enumerate(space.names) if other not in vary]
    allowed = {row.tobytes() for row in everything if (row[still] == base[still]).all()}
    X = design(name, space, None, seed, cost_of(space), vary)
    found = {row.tobytes() for row in space.filled(X)}
    assert len(found) == len(X)
    assert found <= allowed
    if name == "grid":
        assert found == allowed
    elif name in ("random", "sobol", "spread"):
        assert len(found) == min(40, len(allowed))


def test_a_plane_of_the_paper() -> None:
    found = PLAIN.configurations(design("grid", PLAIN, None, 0, vary=("f", "k")))
    assert {(c["f"], c["k"]) for c in found} == {(f, k) for f in (2, 8, 16, 64) for k in (3, 5)}
    assert {(c["s"], c["l"]) for c in found} == {(28, 2)}
    assert PLAIN.configurations(design("random", PLAIN, 5, 0, vary=())) == [dict(PLAIN.baseline)]


def test_an_unknown_parameter_that_moves() -> None:
    with pytest.raises(BadInputError, match="parameter: expected one of f, s, k, l, got q"):
        design("grid", PLAIN, None, 0, vary=("f", "q"))


LARGE = Space(tuple(Parameter(f"p{i}", tuple(range(1, 7))) for i in range(12)), {"p3": 2, "p7": 1})
LARGER = Space(tuple(Parameter(f"p{i}", tuple(range(1, 11))) for i in range(10)))


@pytest.mark.parametrize("space", [LARGE, LARGER], ids=["12 of 6", "10 of 10"])
@pytest.mark.parametrize("name", [name for name in DESIGNS if name != "grid"])
def test_designs_of_a_space_beyond_all_memory(
    monkeypatch: pytest.MonkeyPatch, space: Space, name: str
) -> None:
    monkeypatch.setattr(Space.candidates, "__defaults__", (20_000,))  # the tests' time is short
    X = design(name, space, None, 0, lambda X: X.prod(axis=1))
    assert space.contains(X).all() and len(rows(X)) == len(X)
    d, values = len(space.names), len(space["p0"].values) - 1
    pairs = d * (d - 1) // 2 * values**2
    assert len(X) == {"sweep": 1 + d * values, "pairs": 1 + d * values + pairs}.get(name, 40)
    if name == "spread":
        cost = np.sort(np.log(X.prod(axis=1)))
        assert np.diff(cost).max() < 0.3 * np.ptp(cost)
    some = design(name, space, 7, 0, lambda X: X.prod(axis=1), vary=("p1", "p5"))
    assert len(some) == 7
    moved = (some != space.matrix([space.baseline])).any(axis=0)
    assert [space.names[column] for column in np.flatnonzero(moved)] == ["p1", "p5"]


def test_a_grid_beyond_all_memory_is_refused_but_not_a_part_of_it() -> None:
    expected = r"design grid: expected at most 1,000,000 configurations .*, got 10,000,000,000$"
    with pytest.raises(BadInputError, match=expected):
        design("grid", LARGER, 40, 0)
    assert len(design("grid", LARGER, None, 0, vary=("p0", "p1", "p2"))) == 1000
    few = replace(LARGER, most=1000)
    assert len(design("grid", few, None, 0, vary=("p0", "p1", "p2"))) == 1000
    with pytest.raises(BadInputError, match="at most 1,000 configurations"):
        design("grid", few, None, 0, vary=("p0", "p1", "p2", "p3"))


def test_designs_move_axes_like_other_parameters() -> None:
    space = Space((Parameter("f", (2, 4, 8)), Parameter("long", (1, 2), axis=True)))
    found = space.configurations(design("sweep", space, None, 0))
    assert found == [
        {"f": 8, "long": 2},
        {"f": 2, "long": 2},
        {"f": 4, "long": 2},
        {"f": 8, "long": 1},
    ]
    assert len(design("random", space, None, 0)) == 6
