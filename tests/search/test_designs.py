from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.errors import BadInputError
from cpmodel.search.designs import DESIGNS, design
from cpmodel.space import Condition, Floats, Parameter, Space

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


def cost_of(space: Space, seed: int = 0) -> Floats:
    return np.exp(np.random.default_rng(seed).normal(0, 3, space.size))


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
    X = design("spread", space, 12, 0, cost)
    strata = np.linspace(0, np.log(400.0**3), 13)
    counts = np.histogram(np.log(X[:, 0] ** 3), strata)[0]
    filled = np.histogram(np.log(cost), strata)[0] > 0
    assert (counts[filled] >= 1).all()


def test_spread_of_equal_costs() -> None:
    assert len(design("spread", PLAIN, 9, 0, np.ones(64))) == 9
    assert len(design("spread", PLAIN, 9, 0, np.zeros(64))) == 9


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
