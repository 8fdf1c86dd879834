from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError

Value = int | float | str | bool


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    name: str
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise BadInputError("size", expected="zero or more", got=self.size)


@dataclass(frozen=True, eq=False)
class Outer:
    count: int
    inner: Inner
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    values: Mapping[str, Value] = field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    maybe: float | None = None
    either: Inner | None = None
    flag: bool = False
    array: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    whole: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rows: list[dict[str, float]] = field(default_factory=list)
    any: Any = None
    derived: int = field(init=False, default=7)


WHOLE = Outer(
    3,
    Inner("i", math.inf),
    (Inner("m"), Inner("n", 2.0)),
    (4, "x"),
    {"a": 1, "b": 1.5, "c": "t", "d": True},
    "b",
    Colour.BLUE,
    math.nan,
    Inner("e"),
    True,
    np.array([[1.0, math.nan], [math.inf, 0.1]]),
    np.array([2**60, 1]),
    [{"p": 0.5}],
    {"free": [1, None]},
)


def test_all_comes_back_through_json() -> None:
    told = dump(WHOLE)
    text = json.dumps(told, allow_nan=False)
    again = load(Outer, json.loads(text))
    assert json.dumps(dump(again)) == text
    assert again.inner == WHOLE.inner
    assert again.many == WHOLE.many
    assert again.pair == (4, "x")
    assert [type(v) for v in again.values.values()] == [int, float, str, bool]
    assert again.colour is Colour.BLUE
    # what cannot be told is null, and null where None may stand is None
    assert again.maybe is None
    assert np.array_equal(again.array, WHOLE.array, equal_nan=True)
    assert again.whole.dtype == np.int64
    assert again.whole.tolist() == [2**60, 1]
    assert again.derived == 7
    assert "derived" not in told


def test_defaults_are_left_out_on_request() -> None:
    plain = Outer(3, Inner("i"), whole=np.array([1]))
    assert dump(plain, omit_defaults=True)["inner"] == {"name": "i"}
    assert "kind" not in dump(plain, omit_defaults=True)
    assert dump(plain)["inner"] == {"name": "i", "size": 1.0}
    assert load(Outer, dump(plain, omit_defaults=True)).inner == plain.inner


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "3"}, "made: count: expected a whole number, got '3'"),
        ({"count": 3.0}, "made: count: expected a whole number, got 3.0"),
        ({"count": True}, "made: count: expected a whole number, got True"),
        ({"count": None}, "made: count: expected a whole number, got null"),
        ({"flag": 1}, "made: flag: expected true or false, got 1"),
        ({"inner": {"name": 5}}, "made: inner.name: expected a text, got 5"),
        ({"inner": {"name": "i", "size": "big"}}, "made: inner.size: expected a number, got 'big'"),
        ({"inner": {"name": "i", "size": True}}, "made: inner.size: expected a number, got True"),
        ({"inner": {"size": 1}}, "made: inner.name: expected it to be there, got nothing"),
        ({"inner": {"name": "i", "size": -1}}, "made: inner: size: expected zero or more, got -1.0"),
        ({"inner": {"name": "i", "hue": 1}}, "made: inner: expected only name, size, got 'hue'"),
        ({"inner": ["i"]}, "made: inner: expected the fields of a Inner, got ['i']"),
        ({"many": [{"name": "m"}, {"name": 1}]}, "made: many[1].name: expected a text, got 1"),
        ({"many": "mn"}, "made: many: expected a list, got 'mn'"),
        ({"pair": [1]}, "made: pair: expected a list of 2, got '1 values'"),
        ({"pair": [1, 2]}, "made: pair[1]: expected a text, got 2"),
        ({"values": [1]}, "made: values: expected names with values, got [1]"),
        ({"values": {"a": [1]}}, "made: values.a: expected a whole number or a number or a text or"),
        ({"kind": "c"}, "made: kind: expected one of a, b, got 'c'"),
        ({"colour": "green"}, "made: colour: expected one of red, blue, got 'green'"),
        ({"either": {"name": 1}}, "made: either.name: expected a text, got 1"),
        ({"array": ["x"]}, "made: array: expected a list of numbers, got ['x']"),
        ({"rows": [{"p": "x"}]}, "made: rows[0].p: expected a number, got 'x'"),
        ({"speed": 1}, "made: expected only count, inner"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load(Outer, {**dump(WHOLE), **change}, what="made", where="file.json")
    assert f"file.json: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_no_record_at_all(data: Any) -> None:
    with pytest.raises(BadInputError, match="record: expected the fields of a Inner, got"):
        load(Inner, data)


@pytest.mark.parametrize("data", [[1, 2], {"1": [2, 3]}])
def test_any_of_several_kinds_is_read(data: Any) -> None:
    kind: Any = Sequence[int] | Mapping[int, Sequence[int]]
    assert dump(load(kind, data)) == data
    with pytest.raises(BadInputError, match="expected Sequence or Mapping, got 'text'"):
        load(kind, "text")


@given(st.floats())
def test_numbers_come_back(number: float) -> None:
    again = load(Inner, json.loads(json.dumps(dump({"name": "x", "size": abs(number)}), allow_nan=False)))
    assert again.size == abs(number) or math.isnan(number)
