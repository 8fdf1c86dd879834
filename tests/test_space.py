from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmodel.errors import BadInputError
from cpmodel.space import Condition, Parameter, Space, Value

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
    found = space.configurations(space.enumerate())
    assert [json.dumps(c) for c in found] == [json.dumps(c) for c in expected]
    assert space.size == len(expected) == len({space.key(c) for c in found})


@FEW
@given(spaces(), st.integers(1, 9))
def test_chunks_of_any_size_are_the_enumeration(space: Space, rows: int) -> None:
    chunks = list(space.chunks(rows))
    assert max(map(len, chunks)) <= rows
    assert same(np.concatenate(chunks), space.enumerate())


@FEW
@given(spaces())
def test_key_and_matrix_lead_back(space: Space) -> None:
    X = space.enumerate()
    configurations = space.configurations(X)
    assert same(space.matrix(configurations), X)
    for configuration in configurations:
        again = space.parse(space.key(configuration))
        assert json.dumps(again) == json.dumps(configuration)
        assert space.validated(configuration) == configuration


@FEW
@given(spaces())
def test_description_gives_an_equal_space(space: Space) -> None:
    again = Space.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert json.dumps(again.to_dict()) == json.dumps(space.to_dict())


@FEW
@given(spaces(), st.integers(0, 2**32))
def test_contains_is_membership(space: Space, seed: int) -> None:
    X = space.enumerate()
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
    np.testing.assert_array_equal(PLAIN.nearest(PLAIN.enumerate()), PLAIN.enumerate())


@FEW
@given(spaces())
def test_filled_and_gamma_refer_to_the_baseline(space: Space) -> None:
    baseline = space.matrix([space.baseline])
    filled = space.filled(space.enumerate())
    assert np.isfinite(filled).all()
    assert len(np.unique(filled, axis=0)) == len(filled), "two configurations look alike to a model"
    scaled = space.gamma(baseline)[0]
    for column, p in enumerate(space.parameters):
        low, high = space.domain[column]
        assert (filled[:, column] >= low).all()
        assert (filled[:, column] <= high).all()
        if not p.categorical and baseline[0, column] not in (0, math.nan) and p.name in space.baseline:
            assert scaled[column] == 1


def test_conditions_upon_conditions() -> None:
    keys = [NESTED.key(c) for c in NESTED.configurations(NESTED.enumerate()) if c["norm"]]
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
    assert middle.gamma([[64, 14, 4]]).tolist() == [[8.0, 0.5, 1.0]]
    assert Space(NESTED.parameters, {"l": 1}).baseline == {"l": 1, "norm": True}


def test_values_of_another_type_are_the_space_s_own() -> None:
    assert json.dumps(PLAIN.validated({"k": 3.0, "s": 28, "f": True + 1})) == '{"f": 2, "s": 28, "k": 3}'
    assert PLAIN.parse(" f = 8.0, s=28 ,k=3") == {"f": 8, "s": 28, "k": 3}


def test_with_values() -> None:
    changed = PLAIN.with_values({"k": [7, 3]}, {"f": 8})
    assert changed["k"].values == (3, 7)
    assert changed.baseline == {"f": 8, "s": 28, "k": 7}
    assert changed["f"] == PLAIN["f"]
    # categories have no order, so theirs is kept
    assert NESTED.with_values({"norm": [True, False]})["norm"].values == (True, False)
    for wrong in ({"z": [1]}, {"k": []}, {"k": [3, 3]}, {"k": ["wide"]}, {"k": [3, math.nan]}):
        with pytest.raises(BadInputError):
            PLAIN.with_values(wrong)


def test_a_million_configurations_in_chunks() -> None:
    space = Space(tuple(Parameter(f"p{i}", tuple(range(10))) for i in range(6)))
    seen = 0
    for chunk in space.chunks(300_000):
        assert chunk[:, -1].max() == 9
        seen += len(chunk)
    assert seen == space.size == 1_000_000


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
        (lambda: Space.from_dict({"parameters": []}), "space|parameters"),
        (lambda: Space.from_dict({"parameters": [{"name": "f"}], "baseline": {}}), "space"),
        (lambda: Space.from_dict({**PLAIN.to_dict(), "baseline": "abc"}), "space"),
        (lambda: Space.from_dict({**PLAIN.to_dict(), "parameters": None}), "space"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
