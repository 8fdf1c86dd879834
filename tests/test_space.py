from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.space import CANDIDATES, Condition, Parameter, Space, Value, distinct, rows_of

FEW = settings(max_examples=40, deadline=None)

PLAIN = Space((Parameter("f", (2, 8, 64)), Parameter("s", (8, 28)), Parameter("k", (3, 4, 5))))
# a second convolution or none, and, with a second one, pooling between them or not
NESTED = Space(
    (
        Parameter("l", (1, 2)),
        Parameter("pool", ("none", "max", "mean"), categorical=True, when=Condition("l", (2,))),
        Parameter("rate", (0.25, 0.5), when=Condition("pool", ("max", "mean"))),
        Parameter("norm", (False, True), categorical=True),
    )
)

NUMBERS = st.lists(
    st.integers(-50, 1000) | st.floats(-1e6, 1e6).map(lambda v: round(v, 3) + 0.0),
    min_size=1,
    max_size=4,
    unique_by=lambda v: (float(v), 0),
).map(lambda values: tuple(sorted(values, key=float)))
TEXTS = st.lists(
    st.text("abcXYZ0189._=-/ é", min_size=1, max_size=5).filter(lambda t: t == t.strip()),
    min_size=1,
    max_size=4,
    unique=True,
).map(tuple)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Any space: numbers, categories, conditions upon conditions, any baseline."""
    parameters: list[Parameter] = []
    for index in range(draw(st.integers(1, 4))):
        when = None
        if parameters and draw(st.booleans()):
            parent = draw(st.sampled_from(parameters))
            chosen = draw(st.lists(st.sampled_from(parent.values), min_size=1, unique=True))
            when = Condition(parent.name, tuple(chosen))
        categorical = draw(st.booleans())
        values: tuple[Value, ...] = draw(
            TEXTS | st.just((True, False)) | st.just((3, 1, 2)) if categorical else NUMBERS
        )
        parameters.append(Parameter(f"p{index}", values, "meaning", "unit", categorical, when))
    space = Space(tuple(parameters))
    return Space(space.parameters, draw(st.sampled_from(by_hand(space))))


def by_hand(space: Space) -> list[dict[str, Value]]:
    """Every configuration, built from the definition and by nothing else."""
    found: list[dict[str, Value]] = [{}]
    for p in space.parameters:
        grown = []
        for c in found:
            active = p.when is None or (p.when.parameter in c and c[p.when.parameter] in p.when.values)
            grown += [{**c, p.name: v} for v in p.values] if active else [c]
        found = grown
    return found


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


@FEW
@given(spaces())
def test_enumeration_is_every_configuration_once(space: Space) -> None:
    expected = by_hand(space)
    found = space.configurations(space.candidates())
    assert [json.dumps(c) for c in found] == [json.dumps(c) for c in expected]
    assert space.size == len(expected) == len({space.key(c) for c in found})


@FEW
@given(spaces(), st.integers(0, 2**32))
def test_places_are_those_of_the_order_of_all(space: Space, seed: int) -> None:
    X = space.candidates()
    places = np.random.default_rng(seed).integers(space.size, size=20)
    assert same(space.at(places), X[places])
    assert same(space.ordered(X[places]), X[np.unique(places)])


@FEW
@given(spaces(), st.integers(1, 20), st.integers(0, 2**32))
def test_draws_are_configurations_with_the_baseline_and_what_is_asked_for(
    space: Space, limit: int, seed: int
) -> None:
    everything = space.candidates()
    also = np.concatenate([everything[[seed % space.size]], np.full((1, len(space.names)), -77.5)])
    X = space.candidates(limit, also=also, rng=np.random.default_rng(seed))
    assert len(X) == space.size if space.size <= limit else 0 < len(X) <= limit + 2
    rows = rows_of(everything, X)
    assert (np.diff(rows) > 0).all() and rows[0] >= 0, "each once, in the order of all"
    wanted = np.concatenate([also[:1], space.matrix([space.baseline])])
    assert (rows_of(X, wanted) >= 0).all()
    assert same(X, space.candidates(limit, also=also, rng=np.random.default_rng(seed)))


def test_draws_are_fair_and_always_the_same() -> None:
    space = Space(tuple(Parameter(f"p{i}", (1, 2, 3)) for i in range(12)))
    X = space.candidates(30_000)
    assert 25_000 < len(X) < 30_000
    assert np.abs(X.mean(axis=0) - 2).max() < 0.02
    assert same(X, space.candidates(30_000))
    assert not same(X, space.candidates(30_000, rng=np.random.default_rng(1)))


@FEW
@given(st.integers(0, 2**32))
def test_rows_are_found(seed: int) -> None:
    generator = np.random.default_rng(seed)
    known, wanted = (generator.choice([0.0, -0.0, 1.5, math.nan], (n, 3)) for n in (40, 12))
    first: dict[str, int] = {}
    for number, row in enumerate(known + 0.0):
        first.setdefault(json.dumps(row.tolist()), number)
    assert rows_of(known, wanted).tolist() == [first.get(json.dumps(r.tolist()), -1) for r in wanted + 0.0]
    assert same(distinct(known), known[sorted(first.values())])


def test_rows_of_tables_without_rows_or_columns() -> None:
    assert rows_of(np.empty((0, 2)), np.ones((2, 2))).tolist() == [-1, -1]
    assert rows_of(np.ones((2, 2)), np.empty((0, 2))).tolist() == []
    assert rows_of(np.empty((3, 0)), np.empty((2, 0))).tolist() == [0, 0]
    X = np.arange(200_000.0).reshape(-1, 2)
    assert same(distinct(np.concatenate([X, X])), X)
    assert rows_of(X, X[::-1]).tolist() == list(range(99_999, -1, -1))


def test_ten_thousand_million_configurations_take_little_memory() -> None:
    space = Space(tuple(Parameter(f"p{i}", tuple(range(1, 11))) for i in range(10)))
    assert space.size == 10**10
    tracemalloc.start()
    try:
        X = space.candidates()
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()
    assert CANDIDATES - 1000 < len(X) <= CANDIDATES + 1
    assert rows_of(X, space.matrix([space.baseline])).tolist() == [len(X) - 1]


# how long to train is no part of the network, nor is the number format of those trained long
SEARCHED = Space(
    (
        Parameter("l", (1, 2)),
        Parameter("long", (False, True), categorical=True, axis=True),
        Parameter("f2", (4, 8), when=Condition("l", (2,))),
        Parameter("bits", (8, 16), when=Condition("long", (True,)), axis=True),
    ),
    {"l": 2, "long": False},
)


def test_axes_are_no_part_of_the_network() -> None:
    networks = SEARCHED.networks
    assert networks.names == ("l", "f2") and networks.baseline == {"l": 2, "f2": 8}
    X = SEARCHED.candidates()
    assert len(X) == SEARCHED.size == 9 and networks.size == 3
    assert networks.contains(SEARCHED.networks_of(X)).all()
    bare = [SEARCHED.network(c) for c in SEARCHED.configurations(X)]
    assert bare == networks.configurations(SEARCHED.networks_of(X))
    assert [dict(c) for c in networks.configurations(networks.candidates())] == [
        c for number, c in enumerate(bare) if c not in bare[:number]
    ]
    assert PLAIN.networks is PLAIN and PLAIN.networks_of(X) is X


def test_axes_are_parameters_like_others() -> None:
    assert SEARCHED.key(SEARCHED.baseline) == "l=2,long=False,f2=8"
    assert SEARCHED.parse("l=1,long=True,bits=16") == {"l": 1, "long": True, "bits": 16}
    again = load(Space, json.loads(json.dumps(dump(SEARCHED))))
    assert again == SEARCHED and again["long"].axis and not again["l"].axis
    older = dump(PLAIN)
    for row in older["parameters"]:
        del row["axis"]  # as it was written before there were axes
    assert load(Space, older) == PLAIN
    assert [p.axis for p in SEARCHED.with_values({"bits": [4, 32]}).parameters] == [False, True, False, True]


def test_a_network_hangs_on_no_axis() -> None:
    parameters = (Parameter("long", (0, 1), axis=True), Parameter("f", (1, 2), when=Condition("long", (1,))))
    with pytest.raises(BadInputError, match="parameter f: expected to depend on no axis"):
        Space(parameters)


@FEW
@given(spaces())
def test_nearest_of_what_a_model_sees_is_the_configuration(space: Space) -> None:
    X = space.candidates()
    assert same(space.nearest(space.filled(X)), X)


@FEW
@given(spaces())
def test_key_and_matrix_lead_back(space: Space) -> None:
    X = space.candidates()
    configurations = space.configurations(X)
    assert same(space.matrix(configurations), X)
    for configuration in configurations:
        again = space.parse(space.key(configuration))
        assert json.dumps(again) == json.dumps(configuration)
        assert space.validated(configuration) == configuration


@FEW
@given(spaces())
def test_description_gives_an_equal_space(space: Space) -> None:
    again = load(Space, json.loads(json.dumps(dump(space))))
    assert again == space
    assert json.dumps(dump(again)) == json.dumps(dump(space))


@FEW
@given(spaces(), st.integers(0, 2**32))
def test_contains_is_membership(space: Space, seed: int) -> None:
    X = space.candidates()
    assert space.contains(X).all()
    members = {json.dumps(row) for row in X.tolist()}
    pool = [*sorted({v for v in X.ravel().tolist() if v == v}), math.nan, -77.5]
    rows = np.random.default_rng(seed).choice(pool, (50, len(space.names)))
    assert space.contains(rows).tolist() == [json.dumps(row) in members for row in rows.tolist()]


@FEW
@given(spaces())
def test_settled_makes_configurations_of_any_values(space: Space) -> None:
    codes = [[p.code(v) for v in p.values] for p in space.parameters]
    product = np.array(list(itertools.product(*codes)))
    settled = space.settled(product)
    assert space.contains(settled).all()
    assert len(np.unique(np.nan_to_num(settled, nan=-1e9), axis=0)) == space.size
    assert same(space.settled(settled), settled)


def test_nearest_is_a_value_of_each_parameter() -> None:
    X = [[0, 28, 3], [4.9, 17.9, 3.6], [5.1, 18.1, 9], [36.1, 8, 4]]
    np.testing.assert_array_equal(PLAIN.nearest(X), [[2, 28, 3], [2, 8, 4], [8, 28, 5], [64, 8, 4]])
    np.testing.assert_array_equal(PLAIN.nearest(PLAIN.candidates()), PLAIN.candidates())


@FEW
@given(spaces())
def test_filled_refers_to_the_baseline(space: Space) -> None:
    baseline, X = space.matrix([space.baseline])[0], space.candidates()
    filled = space.filled(X)
    assert np.isfinite(filled).all()
    assert len(np.unique(filled, axis=0)) == len(filled), "two configurations look alike to a model"
    for column, p in enumerate(space.parameters):
        low, high = space.domain[column]
        assert (filled[:, column] >= low).all()
        assert (filled[:, column] <= high).all()
        stand_in = baseline[column] if p.name in space.baseline else p.codes[-1]
        assert (filled[np.isnan(X[:, column]), column] == stand_in).all()


def test_conditions_upon_conditions() -> None:
    keys = [NESTED.key(c) for c in NESTED.configurations(NESTED.candidates()) if c["norm"]]
    assert keys == [
        "l=1,norm=True",
        "l=2,pool=none,norm=True",
        "l=2,pool=max,rate=0.25,norm=True",
        "l=2,pool=max,rate=0.5,norm=True",
        "l=2,pool=mean,rate=0.25,norm=True",
        "l=2,pool=mean,rate=0.5,norm=True",
    ]
    assert NESTED.baseline == {"l": 2, "pool": "mean", "rate": 0.5, "norm": True}
    # the pool of a network without one decides nothing
    assert not NESTED.contains([[1, 1, np.nan, 0], [1, np.nan, 0.25, 0]]).any()
    assert same(NESTED.settled([[1, 1, 0.25, 0]]), np.array([[1, np.nan, np.nan, 0]]))


def test_baseline() -> None:
    assert PLAIN.baseline == {"f": 64, "s": 28, "k": 5}
    middle = Space(PLAIN.parameters, {"f": 8.0, "k": 4})
    assert middle.key(middle.baseline) == "f=8,s=28,k=4"
    assert [type(v) for v in middle.baseline.values()] == [int, int, int]
    assert Space(NESTED.parameters, {"l": 1}).baseline == {"l": 1, "norm": True}


def test_values_of_another_type_are_the_space_s_own() -> None:
    assert json.dumps(PLAIN.validated({"k": 3.0, "s": 28, "f": True + 1})) == '{"f": 2, "s": 28, "k": 3}'
    assert PLAIN.parse(" f = 8.0, s=28 ,k=3") == {"f": 8, "s": 28, "k": 3}


def test_with_values() -> None:
    changed = PLAIN.with_values({"k": [7, 3]}, {"f": 8})
    assert changed["k"].values == (3, 7)
    assert changed.baseline == {"f": 8, "s": 28, "k": 7}
    assert changed["f"] == PLAIN["f"]
    # a category keeps its number, whichever of them are chosen
    assert NESTED.with_values({"norm": [True, False]})["norm"].values == (False, True)
    for wrong in ({"z": [1]}, {"k": []}, {"k": [3, 3]}, {"k": ["wide"]}, {"k": [3, math.nan]}):
        with pytest.raises(BadInputError):
            PLAIN.with_values(wrong)


def test_what_depends_on_a_value_that_is_gone_is_never_there() -> None:
    shallow = NESTED.with_values({"l": [1]})
    assert shallow.size == 2
    assert shallow.configurations(shallow.candidates()) == [{"l": 1, "norm": False}, {"l": 1, "norm": True}]
    assert shallow.names == NESTED.names
    np.testing.assert_array_equal(shallow.filled(shallow.candidates())[:, 1:3], [[2, 0.5], [2, 0.5]])
    kept = NESTED.with_values({"pool": ["none", "max"]})
    found = kept.configurations(kept.candidates())
    assert {c["rate"] for c in found if c.get("pool") == "max"} == {0.25, 0.5}
    assert kept.size == 2 + 2 * (1 + 2)


def test_a_million_configurations() -> None:
    space = Space(tuple(Parameter(f"p{i}", tuple(range(10))) for i in range(6)))
    assert space.size == len(space.candidates()) == 1_000_000
    place = 123_456
    assert space.at(np.array([place]))[0].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Parameter("2f", (1,)), "parameter name: expected letters"),
        (lambda: Parameter("f", ()), "f: expected at least one value"),
        (lambda: Parameter("f", (1, 1)), "distinct"),
        (lambda: Parameter("f", (1, 1.0)), "distinct"),
        (lambda: Parameter("f", (1, True), categorical=True), "distinct"),
        (lambda: Parameter("f", (1, "1"), categorical=True), "distinct"),
        (lambda: Parameter("f", ("a", "b,c"), categorical=True), "texts without commas"),
        (lambda: Parameter("f", ("a", ""), categorical=True), "texts without commas"),
        (lambda: Parameter("f", (" a",), categorical=True), "texts without commas"),
        (lambda: Parameter("f", (2, 1)), "ascending"),
        (lambda: Parameter("f", ("a",)), "finite numbers"),
        (lambda: Parameter("f", (False, True)), "finite numbers"),
        (lambda: Parameter("f", (1, math.nan)), "finite numbers"),
        (lambda: Parameter("f", (1, 10**400)), "finite numbers"),
        (lambda: Space(()), "one or more parameters"),
        (lambda: Space((Parameter("f", (1,)), Parameter("f", (2,)))), "different names"),
        (lambda: Space((Parameter("f", (1,), when=Condition("g", (1,))),)), "an earlier parameter, got g"),
        (
            lambda: Space((Parameter("g", (1,)), Parameter("f", (1,), when=Condition("g", (2,))))),
            "parameter g: expected one of 1, got 2",
        ),
        (lambda: Space(PLAIN.parameters, {"z": 1}), "baseline: expected only f, s, k, got z"),
        (lambda: Space(PLAIN.parameters, {"f": 3}), "parameter f: expected one of 2 8 64, got 3"),
        (lambda: Space(NESTED.parameters, {"l": 1, "pool": "max"}), "no pool"),
        (lambda: PLAIN["z"], "expected one of f, s, k, got z"),
        (lambda: PLAIN.parse("f=8"), "a value for s"),
        (lambda: PLAIN.parse("f8"), "name=value"),
        (lambda: PLAIN.parse("f=8,s=28,k=3,f=2"), "f once"),
        (lambda: PLAIN.parse("f=eight,s=28,k=3"), "one of 2 8 64, got 'eight'"),
        (lambda: PLAIN.parse("f=nan,s=28,k=3"), "one of 2 8 64, got 'nan'"),
        (lambda: PLAIN.parse("z=8,s=28,k=3"), "got z"),
        (lambda: PLAIN.key({"f": "8", "s": 28, "k": 3}), "one of 2 8 64"),
        (lambda: PLAIN.key({"f": 8, "s": 28, "k": 3, "l": 1}), "got l"),
        (lambda: NESTED.key({"l": 1, "pool": "max", "norm": True}), "no pool"),
        (lambda: NESTED.key({"l": 2, "norm": True}), "a value for pool"),
        (lambda: load(Space, {"parameters": []}, what="space"), "space|parameters"),
        (lambda: load(Space, {"parameters": [{"name": "f"}], "baseline": {}}, what="space"), "space"),
        (lambda: load(Space, {**dump(PLAIN), "baseline": "abc"}, what="space"), "space"),
        (lambda: load(Space, {**dump(PLAIN), "parameters": None}, what="space"), "space"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
