"""Parameters and the space they span: values, order, conditions, baseline, candidates, scaling, rows.

A configuration is a plain mapping from parameter name to value. Tables of configurations are float
matrices `X` of shape (n, d): a numeric parameter's column holds its value, a categorical one's the
position of the value in `Parameter.values`, an inactive one's NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.errors import BadInputError

Value = int | float | str | bool
Configuration = Mapping[str, Value]
Floats = NDArray[np.float64]

CANDIDATES = 1_000_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _finite(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


@dataclass(frozen=True)
class Condition:
    """A parameter exists only while another one takes one of these values; none: never."""

    parameter: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Parameter:
    """One control parameter.

    Parameters
    ----------
    name : str
        A Python identifier: it is a column of tables and an option of the command line.
    values : tuple
        The values it may take, in the order of their effect: ascending for numbers.
    meaning, unit : str
        For people: axis titles, help texts.
    categorical : bool
        True when the values have no order (or are not numbers).
    among : tuple
        Of a categorical one: all values that it could take, to whose positions numbers refer; `values`, some
        of them in this order, unless given.
    when : Condition or None
        The parameter is inactive (absent from a configuration) unless this holds.
    axis : bool
        True when it is no part of the network T: a parameter of the search alone (how long to train, in which
        number format), which no family sees.
    """

    name: str
    values: tuple[Value, ...]
    meaning: str = ""
    unit: str = ""
    categorical: bool = False
    when: Condition | None = None
    axis: bool = False
    among: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadInputError("parameter name", expected="letters, digits and _", got=repr(self.name))
        if not self.values:
            raise BadInputError(f"parameter {self.name}", expected="at least one value", got="none")
        # 1, 1.0 and True are one value to Python, "1" and 1 are one text in tables and keys
        if min(len(set(self.values)), len(set(map(str, self.values)))) != len(self.values):
            raise BadInputError(f"parameter {self.name}", expected="distinct values", got=self.values)
        for value in self.values:
            if isinstance(value, str) and (value != value.strip() or not value or "," in value):
                expected = "texts without commas or outer blanks"
                raise BadInputError(f"parameter {self.name}", expected=expected, got=repr(value))
        if not self.categorical and not all(map(_finite, self.values)):
            expected = "finite numbers (or a categorical one)"
            raise BadInputError(f"parameter {self.name}", expected=expected, got=self.values)
        if not self.categorical and list(self.values) != sorted(self.values, key=float):
            raise BadInputError(f"parameter {self.name}", expected="ascending values", got=self.values)

    @cached_property
    def codes(self) -> Floats:
        """The number in a matrix X for each of the values, ascending."""
        places = map((self.among or self.values).index, self.values) if self.categorical else self.values
        return np.array(list(places), dtype=np.float64)

    @property
    def named_codes(self) -> dict[str, float]:
        """The number in a matrix X for each of the values, by the text that names it in a table."""
        return {str(value): float(code) for value, code in zip(self.values, self.codes, strict=True)}

    def code(self, value: Value) -> float:
        """The number that stands for `value`, which must be one of the parameter's, in a matrix X."""
        if not self.categorical:
            for known in self.values:
                if isinstance(value, (int, float)) and float(known) == float(value):
                    return float(known)
        elif (meant := _meant(value, self.values)) in self.values:
            return float(self.codes[self.values.index(meant)])
        raise self._refused(value)

    def value(self, code: float) -> Value:
        """The value that a number in a matrix X stands for."""
        place = int(np.searchsorted(self.codes, code))
        if place == len(self.codes) or self.codes[place] != code:
            raise self._refused(code)
        return self.values[place]

    def limited(self, values: Sequence[Value]) -> Parameter:
        """The parameter with other values; a categorical one with some of its own, whose numbers stay."""
        if not self.categorical:
            return replace(self, values=_ascending(values))
        known = self.among or self.values
        wanted = [_meant(value, known) for value in values]
        for value in wanted:
            if value not in known:
                raise self._refused(value)
        return replace(self, values=tuple(v for v in known if v in wanted), among=known)

    def _refused(self, got: object) -> BadInputError:
        known = " ".join(map(str, self.values))
        return BadInputError(f"parameter {self.name}", expected=f"one of {known}", got=got)

    def parse(self, text: str) -> Value:
        """The value that `text` names.

        >>> Parameter("k", (3, 5)).parse("5")
        5
        """
        for known in self.values:
            if str(known) == text.strip():
                return known
        with suppress(ValueError):
            for known in () if self.categorical else self.values:
                if float(known) == float(text):
                    return known
        raise self._refused(repr(text))


@dataclass(frozen=True)
class Space:
    """All configurations that can be built.

    Parameters
    ----------
    parameters : tuple of Parameter
        A conditional parameter comes after the one it depends on.
    baseline : mapping, optional
        What relative complexity and gamma refer to; each parameter's last (largest) value unless given.
    most : int
        So many configurations are looked at, each; of a space with more so many are drawn.

    Examples
    --------
    >>> space = Space((Parameter("f", (2, 8)), Parameter("k", (3, 5))))
    >>> space.size, dict(space.baseline)
    (4, {'f': 8, 'k': 5})
    >>> space.key({"f": 2, "k": 5})
    'f=2,k=5'
    """

    parameters: tuple[Parameter, ...]
    baseline: Configuration = field(default_factory=dict)
    most: int = CANDIDATES

    def __post_init__(self) -> None:
        names = [p.name for p in self.parameters]
        if not names or len(set(names)) != len(names):
            raise BadInputError("space", expected="one or more parameters of different names", got=names)
        for position, parameter in enumerate(self.parameters):
            if parameter.when is None:
                continue
            what, depends_on = f"parameter {parameter.name}", parameter.when.parameter
            if depends_on not in names[:position]:
                raise BadInputError(what, expected="to depend on an earlier parameter", got=depends_on)
            parent = self[depends_on]
            if parent.axis and not parameter.axis:  # else families would have to see the axis
                raise BadInputError(what, expected="to depend on no axis")
            for value in parameter.when.values:
                parent.code(value)
        largest = {p.name: p.values[-1] for p in self.parameters}
        object.__setattr__(self, "baseline", self._whole(self.baseline, "baseline", largest))

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise BadInputError("parameter", expected=f"one of {', '.join(self.names)}", got=name)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(p.name for p in self.parameters)

    @cached_property
    def size(self) -> int:
        """How many configurations can be built."""
        free = [ways for p, ways in zip(self.parameters, self._ways, strict=True) if p.when is None]
        return math.prod(map(sum, free))

    @cached_property
    def _ways(self) -> tuple[list[int], ...]:
        """For each value of each parameter, in how many ways the parameters that depend on it can be set."""
        ways = {p.name: [1] * len(p.values) for p in self.parameters}
        for p in reversed(self.parameters):
            if p.when is not None:
                parent = self[p.when.parameter]
                for place, value in enumerate(parent.values):
                    ways[parent.name][place] *= sum(ways[p.name]) if value in p.when.values else 1
        return tuple(ways[p.name] for p in self.parameters)

    @cached_property
    def networks(self) -> Space:
        """The space of the networks T alone: the same without the axes."""
        kept = tuple(p for p in self.parameters if not p.axis)
        return self if kept == self.parameters else Space(kept, self.network(self.baseline), self.most)

    def networks_of(self, X: Floats) -> Floats:
        """The columns of X, shape (n, d), that are parameters of the network: rows of `networks`."""
        columns = [column for column, p in enumerate(self.parameters) if not p.axis]
        return X if len(columns) == len(self.parameters) else X[:, columns]

    def network(self, configuration: Configuration) -> dict[str, Value]:
        """The configuration without the axes: what a family builds."""
        return {name: value for name, value in configuration.items() if not self[name].axis}

    def validated(self, configuration: Configuration) -> dict[str, Value]:
        """`configuration` in the order of the parameters, its values those of the space; else refused."""
        return self._whole(configuration, "configuration", {})

    def _whole(self, given: Configuration, what: str, defaults: Configuration) -> dict[str, Value]:
        """What is given, as `validated`; parameters that are missing have their defaults."""
        if unknown := sorted(set(given) - set(self.names)):
            raise BadInputError(what, expected=f"only {', '.join(self.names)}", got=", ".join(unknown))
        whole: dict[str, Value] = {}
        for parameter in self.parameters:
            name, condition = parameter.name, parameter.when
            if condition is not None and whole.get(condition.parameter) not in condition.values:
                if name in given:
                    raise BadInputError(what, expected=f"no {name} (it is inactive)")
                continue
            if name not in given and name not in defaults:
                raise BadInputError(what, expected=f"a value for {name}", got="none")
            whole[name] = parameter.value(parameter.code(given[name] if name in given else defaults[name]))
        return whole

    def key(self, configuration: Configuration) -> str:
        """The one text that names a configuration, the same for equal ones: ``f=8,s=28,k=3,l=2``."""
        return ",".join(f"{name}={value}" for name, value in self.validated(configuration).items())

    def parse(self, text: str) -> dict[str, Value]:
        """The configuration that `text` (``f=8,s=28,...``) names."""
        given: dict[str, Value] = {}
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals:
                raise BadInputError("configuration", expected="name=value,name=value,...", got=repr(text))
            if name.strip() in given:
                raise BadInputError("configuration", expected=f"{name.strip()} once", got=repr(text))
            given[name.strip()] = self[name.strip()].parse(value)
        return self.validated(given)

    def matrix(self, configurations: Sequence[Configuration]) -> Floats:
        """X, shape (n, d), of the configurations; inactive parameters are NaN."""
        wholes = map(self.validated, configurations)
        rows = [
            [p.code(whole[p.name]) if p.name in whole else math.nan for p in self.parameters]
            for whole in wholes
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, len(self.parameters))

    def configurations(self, X: ArrayLike) -> list[dict[str, Value]]:
        """The configurations that the rows of X, shape (n, d), stand for."""
        return [
            # an inactive parameter's code is NaN
            {p.name: p.value(code) for p, code in zip(self.parameters, row, strict=True) if code == code}
            for row in np.asarray(X, dtype=np.float64)
        ]

    def candidates(
        self,
        limit: int | None = None,
        *,
        also: Floats | None = None,
        rng: np.random.Generator | None = None,
    ) -> Floats:
        """What there is to choose from, X of shape (n, d): each once, the last parameter fastest.

        Parameters
        ----------
        limit : int
            Of a space of more configurations so many are drawn, each parameter's value on its own, and the
            baseline is added. Those drawn twice count once, so that they may be fewer. `most` unless given.
        also : shape (m, d), optional
            Rows that are among them where configurations are drawn (those of another space left out).
        rng : Generator, optional
            What draws; unless given, the draw is always the same.
        """
        limit = self.most if limit is None else limit
        if self.size <= limit:
            return self.at(np.arange(self.size))
        rng = np.random.default_rng(0) if rng is None else rng
        known = self.matrix([self.baseline])
        if also is not None:
            known = np.concatenate([known, also[self.contains(also)]])
        X = np.empty((limit + len(known), len(self.parameters)))
        for column, parameter in enumerate(self.parameters):
            X[:limit, column] = parameter.codes[rng.integers(len(parameter.codes), size=limit)]
        X[limit:] = known
        return self.ordered(X)

    def at(self, places: NDArray[np.integer[Any]]) -> Floats:
        """The configurations at some places, whole numbers from 0 to below `size`, of the order of all."""
        rest = np.array(places, dtype=np.int64)
        X = np.full((len(rest), len(self.parameters)), np.nan)
        # how many configurations have the values that each row has so far
        left = np.full(len(rest), self.size, dtype=np.int64)
        for column, (parameter, ways) in enumerate(zip(self.parameters, self._ways, strict=True)):
            active = ~self._inactive(X, column)
            ends = np.cumsum(ways)
            each = np.maximum(left // ends[-1], 1)
            position = np.searchsorted(ends, rest // each, side="right")
            position[~active] = 0
            X[active, column] = parameter.codes[position[active]]
            chosen = np.array(ways)[position]
            rest -= np.where(active, (ends[position] - chosen) * each, 0)
            left = np.where(active, each * chosen, left)
        return X

    def ordered(self, X: ArrayLike) -> Floats:
        """The configurations that rows of X, shape (n, d), settle to, each once, in the order of all."""
        settled = self.settled(X)
        # short numbers sort fast
        kind = np.int16 if max(len(p.values) for p in self.parameters) < 2**15 else np.int64
        keys = [
            np.where(np.isnan(column), -1, np.searchsorted(p.codes, column)).astype(kind)
            for p, column in zip(self.parameters, settled.T, strict=True)
        ]
        order = np.lexsort(keys[::-1])
        new = np.arange(len(order)) == 0
        for key in keys:
            new[1:] |= key[order[1:]] != key[order[:-1]]
        return np.asarray(settled[order[new]])

    def _inactive(self, codes: Floats, column: int) -> NDArray[np.bool_]:
        """Where a parameter's condition does not hold, shape (n,); what it depends on is settled."""
        condition = self.parameters[column].when
        if condition is None:
            return np.zeros(len(codes), dtype=bool)
        parent = self.names.index(condition.parameter)
        wanted = [self.parameters[parent].code(v) for v in condition.values]
        return ~np.isin(codes[:, parent], wanted)

    def settled(self, X: ArrayLike) -> Floats:
        """X with NaN wherever a parameter is inactive."""
        codes = np.array(X, dtype=np.float64)
        for column in range(len(self.parameters)):
            codes[self._inactive(codes, column), column] = np.nan
        return codes

    def contains(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Which rows of X, shape (n, d), are configurations of the space; shape (n,)."""
        codes = np.asarray(X, dtype=np.float64)
        inside, settled = np.ones(len(codes), dtype=bool), self.settled(codes)
        for column, parameter in enumerate(self.parameters):
            known = np.isin(codes[:, column], parameter.codes)
            inside &= np.where(self._inactive(settled, column), np.isnan(codes[:, column]), known)
        return inside

    def filled(self, X: ArrayLike) -> Floats:
        """X for models that know no NaN: an inactive parameter counts as its baseline (else last) value."""
        filled = np.array(X, dtype=np.float64)
        for column, p in zip(filled.T, self.parameters, strict=True):
            column[np.isnan(column)] = p.code(self.baseline.get(p.name, p.values[-1]))
        return filled

    def nearest(self, X: ArrayLike) -> Floats:
        """The configurations nearest to the rows of X, shape (n, d), without NaN, in each parameter."""
        near = np.array(X, dtype=np.float64)
        for column, parameter in enumerate(self.parameters):
            codes = parameter.codes
            near[:, column] = codes[np.searchsorted((codes[1:] + codes[:-1]) / 2, near[:, column])]
        return self.settled(near)

    @property
    def domain(self) -> Floats:
        """Least and largest code of each parameter, shape (d, 2)."""
        return np.array([(p.codes[0], p.codes[-1]) for p in self.parameters], dtype=np.float64)

    def with_values(
        self, values: Mapping[str, Sequence[Value]], baseline: Configuration | None = None
    ) -> Space:
        """The same space with other values for some parameters, and another baseline if given.

        A parameter that depends on a value which is there no more exists in no configuration.
        """
        for name in values:
            self[name]
        parameters: dict[str, Parameter] = {}
        for p in self.parameters:
            changed = p.limited(values[p.name]) if p.name in values else p
            if p.when is not None:
                there = parameters[p.when.parameter].values
                kept = tuple(value for value in p.when.values if value in there)
                changed = replace(changed, when=Condition(p.when.parameter, kept))
            parameters[p.name] = changed
        return Space(tuple(parameters.values()), dict(baseline or {}), self.most)


def rows_of(known: ArrayLike, wanted: ArrayLike) -> NDArray[np.int64]:
    """The first row of `known`, (n, d), that equals each of `wanted`, (m, d), NaN equal to NaN; else -1."""
    numbers, first = np.unique(_numbers(known), return_index=True)
    asked = _numbers(wanted)
    place = np.searchsorted(numbers, asked)
    same = np.append(numbers, np.uint64(0))[place] == asked
    return np.where(same, np.append(first, -1)[place], -1)


def distinct(X: ArrayLike) -> Floats:
    """Every row of X, shape (n, d), once, in the order of first occurrence; NaN equals NaN."""
    _, first = np.unique(_numbers(X), return_index=True)
    return np.asarray(np.asarray(X, dtype=np.float64)[np.sort(first)])


def _numbers(X: ArrayLike) -> NDArray[np.uint64]:
    """A number of 64 bits for each row of X: the same for equal rows, another for others.

    Two of a million rows share one in one of forty million tables (SplitMix64: Steele, Lea, Flood 2014).
    """
    codes = np.array(X, dtype=np.float64, ndmin=2) + 0.0  # no negative zero
    codes[np.isnan(codes)] = np.nan  # one bit pattern
    numbers = np.zeros(len(codes), dtype=np.uint64)
    for column in codes.T:
        numbers = numbers + np.uint64(0x9E3779B97F4A7C15) + np.ascontiguousarray(column).view(np.uint64)
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        numbers ^= numbers >> np.uint64(31)
    return numbers


def _meant(value: Value, among: Sequence[Value]) -> Value:
    """The one of some values that a text names, like True; else the value as it is."""
    named = {str(one): one for one in among}
    return value if value in among else named.get(str(value), value)


def _ascending(values: Sequence[Value]) -> tuple[Value, ...]:
    """Numbers in ascending order; anything else as it is, for `Parameter` to refuse."""
    return tuple(sorted(values, key=float) if all(map(_finite, values)) else values)
