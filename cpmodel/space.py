"""Parameters and the space they span: values, order, conditions, baseline, enumeration, scaling.

A configuration is a plain mapping from parameter name to value. Tables of configurations are float
matrices `X` of shape (n, d): a numeric parameter's column holds its value, a categorical one's the
position of the value in `Parameter.values`, an inactive one's NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.errors import BadInputError

Value = int | float | str | bool
Configuration = Mapping[str, Value]
Floats = NDArray[np.float64]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _finite(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


@dataclass(frozen=True)
class Condition:
    """A parameter exists only while another one takes one of these values."""

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
    when : Condition or None
        The parameter is inactive (absent from a configuration) unless this holds.
    """

    name: str
    values: tuple[Value, ...]
    meaning: str = ""
    unit: str = ""
    categorical: bool = False
    when: Condition | None = None

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
                raise BadInputError(
                    f"parameter {self.name}", expected="texts without commas or outer blanks", got=repr(value)
                )
        numeric = all(map(_finite, self.values))
        if not self.categorical and not numeric:
            raise BadInputError(
                f"parameter {self.name}", expected="finite numbers (or a categorical one)", got=self.values
            )
        if not self.categorical and list(self.values) != sorted(self.values, key=float):
            raise BadInputError(f"parameter {self.name}", expected="ascending values", got=self.values)

    def code(self, value: Value) -> float:
        """The number that stands for `value` in a matrix X.

        Raises
        ------
        BadInputError
            `value` is none of the parameter's values.
        """
        if not self.categorical:
            for known in self.values:
                if isinstance(value, (int, float)) and float(known) == float(value):
                    return float(known)
        elif value in self.values:
            return float(self.values.index(value))
        raise BadInputError(
            f"parameter {self.name}", expected="one of " + " ".join(map(str, self.values)), got=value
        )

    def parse(self, text: str) -> Value:
        """The value that `text` names.

        >>> Parameter("k", (3, 5)).parse("5")
        5
        """
        for known in self.values:
            if str(known) == text.strip():
                return known
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        for known in self.values:
            if not self.categorical and float(known) == number:
                return known
        raise BadInputError(
            f"parameter {self.name}", expected="one of " + " ".join(map(str, self.values)), got=repr(text)
        )


@dataclass(frozen=True)
class Space:
    """All configurations that can be built.

    Parameters
    ----------
    parameters : tuple of Parameter
        A conditional parameter comes after the one it depends on.
    baseline : mapping, optional
        What relative complexity and gamma refer to; each parameter's last (largest) value unless given.

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

    def __post_init__(self) -> None:
        names = [p.name for p in self.parameters]
        if not names or len(set(names)) != len(names):
            raise BadInputError("space", expected="one or more parameters of different names", got=names)
        for position, parameter in enumerate(self.parameters):
            if parameter.when is None:
                continue
            if parameter.when.parameter not in names[:position]:
                raise BadInputError(
                    f"parameter {parameter.name}",
                    expected="to depend on an earlier parameter",
                    got=parameter.when.parameter,
                )
            for value in parameter.when.values:
                self[parameter.when.parameter].code(value)
        unknown = sorted(set(self.baseline) - set(names))
        if unknown:
            raise BadInputError("baseline", expected=f"only {', '.join(names)}", got=", ".join(unknown))
        whole: dict[str, Value] = {}
        for parameter in self.parameters:
            if self._active(parameter, whole):
                code = parameter.code(self.baseline.get(parameter.name, parameter.values[-1]))
                whole[parameter.name] = self._value(parameter, code)
            elif parameter.name in self.baseline:
                raise BadInputError("baseline", expected=f"no {parameter.name} (it is inactive there)")
        object.__setattr__(self, "baseline", whole)

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
        if all(p.when is None for p in self.parameters):
            return self.combinations
        return sum(len(chunk) for chunk in self.chunks())

    @staticmethod
    def _active(parameter: Parameter, configuration: Configuration) -> bool:
        condition = parameter.when
        return condition is None or configuration.get(condition.parameter) in condition.values

    def validated(self, configuration: Configuration) -> dict[str, Value]:
        """`configuration` in the order of the parameters, its values those of the space.

        Raises
        ------
        BadInputError
            A parameter is missing, unknown, inactive, or has a value outside the space.
        """
        unknown = sorted(set(configuration) - set(self.names))
        if unknown:
            raise BadInputError(
                "configuration", expected=f"only {', '.join(self.names)}", got=", ".join(unknown)
            )
        whole: dict[str, Value] = {}
        for parameter in self.parameters:
            if not self._active(parameter, whole):
                if parameter.name in configuration:
                    raise BadInputError("configuration", expected=f"no {parameter.name} (it is inactive)")
                continue
            if parameter.name not in configuration:
                raise BadInputError("configuration", expected=f"a value for {parameter.name}", got="none")
            code = parameter.code(configuration[parameter.name])
            whole[parameter.name] = self._value(parameter, code)
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
        X = np.full((len(configurations), len(self.parameters)), np.nan)
        for row, configuration in enumerate(configurations):
            whole = self.validated(configuration)
            for column, parameter in enumerate(self.parameters):
                if parameter.name in whole:
                    X[row, column] = parameter.code(whole[parameter.name])
        return X

    @staticmethod
    def _value(parameter: Parameter, code: float) -> Value:
        if parameter.categorical:
            return parameter.values[int(code)]
        for known in parameter.values:
            if float(known) == code:
                return known
        raise BadInputError(
            f"parameter {parameter.name}", expected="one of " + " ".join(map(str, parameter.values)), got=code
        )

    def configurations(self, X: ArrayLike) -> list[dict[str, Value]]:
        """The configurations that the rows of X, shape (n, d), stand for."""
        return [
            {
                p.name: self._value(p, code)
                for p, code in zip(self.parameters, row, strict=True)
                if code == code
            }
            for row in np.asarray(X, dtype=np.float64)
        ]

    @property
    def combinations(self) -> int:
        """How many configurations there would be without conditions."""
        return math.prod(len(p.values) for p in self.parameters)

    def chunks(self, rows: int = 1_000_000) -> Iterator[Floats]:
        """Every configuration once, as matrices X of at most `rows` rows, the last parameter fastest."""
        for start in range(0, self.combinations, rows):
            X, first = self.at(np.arange(start, min(start + rows, self.combinations)))
            yield X[first]

    def at(self, places: NDArray[np.integer[Any]]) -> tuple[Floats, NDArray[np.bool_]]:
        """The configurations at some places of the enumeration of all combinations.

        Parameters
        ----------
        places : shape (n,), whole numbers from 0 to below `combinations`

        Returns
        -------
        X : shape (n, d)
        first : shape (n,)
            False where an earlier place has the same configuration: all values of an inactive parameter are
            one, and the first stands for it.
        """
        rest = np.asarray(places, dtype=np.int64)
        X = np.empty((len(rest), len(self.parameters)))
        positions = np.empty(X.shape, dtype=np.int64)
        for column in reversed(range(len(self.parameters))):
            parameter = self.parameters[column]
            rest, positions[:, column] = np.divmod(rest, len(parameter.values))
            X[:, column] = np.array([parameter.code(v) for v in parameter.values])[positions[:, column]]
        inactive = self._inactive(X)
        repeated = (inactive & (positions > 0)).any(axis=1)
        X[inactive] = np.nan
        return X, np.logical_not(repeated)

    def enumerate(self) -> Floats:
        """Every configuration, X of shape (size, d)."""
        return np.concatenate(list(self.chunks()))

    def _inactive(self, codes: Floats) -> NDArray[np.bool_]:
        """Where a parameter's condition does not hold, shape (n, d)."""
        inactive = np.zeros(codes.shape, dtype=bool)
        for column, parameter in enumerate(self.parameters):
            if parameter.when is not None:
                parent = self.names.index(parameter.when.parameter)
                wanted = [self.parameters[parent].code(v) for v in parameter.when.values]
                inactive[:, column] = inactive[:, parent] | ~np.isin(codes[:, parent], wanted)
        return inactive

    def settled(self, X: ArrayLike) -> Floats:
        """X with NaN wherever a parameter is inactive."""
        codes = np.array(X, dtype=np.float64)
        codes[self._inactive(codes)] = np.nan
        return codes

    def contains(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Which rows of X, shape (n, d), are configurations of the space; shape (n,)."""
        codes = np.asarray(X, dtype=np.float64)
        inside = np.ones(len(codes), dtype=bool)
        for column, (parameter, inactive) in enumerate(
            zip(self.parameters, self._inactive(codes).T, strict=True)
        ):
            known = np.isin(codes[:, column], [parameter.code(v) for v in parameter.values])
            inside &= np.where(inactive, np.isnan(codes[:, column]), known)
        return inside

    def filled(self, X: ArrayLike) -> Floats:
        """X for models that know no NaN: an inactive parameter counts as its baseline (else last) value."""
        filled = np.array(X, dtype=np.float64)
        for column, parameter in enumerate(self.parameters):
            stand_in = parameter.code(self.baseline.get(parameter.name, parameter.values[-1]))
            filled[np.isnan(filled[:, column]), column] = stand_in
        return filled

    def nearest(self, X: ArrayLike) -> Floats:
        """X, shape (n, d) and without NaN, each code replaced by the nearest of its parameter's values."""
        near = np.array(X, dtype=np.float64)
        for column, parameter in enumerate(self.parameters):
            codes = np.sort([parameter.code(value) for value in parameter.values])
            near[:, column] = codes[np.searchsorted((codes[1:] + codes[:-1]) / 2, near[:, column])]
        return near

    def gamma(self, X: ArrayLike) -> Floats:
        """X divided by the baseline's values, shape (n, d), dimensionless; categorical codes stay."""
        scaled = self.filled(X)
        for column, parameter in enumerate(self.parameters):
            unit = parameter.code(self.baseline.get(parameter.name, parameter.values[-1]))
            if not parameter.categorical and unit != 0:
                scaled[:, column] /= unit
        return scaled

    @property
    def domain(self) -> Floats:
        """Least and largest code of each parameter, shape (d, 2)."""
        return np.array(
            [
                (0, len(p.values) - 1) if p.categorical else (float(p.values[0]), float(p.values[-1]))
                for p in self.parameters
            ],
            dtype=np.float64,
        )

    def with_values(
        self, values: Mapping[str, Sequence[Value]], baseline: Configuration | None = None
    ) -> Space:
        """The same space with other values for some parameters, and another baseline if given."""
        for name in values:
            self[name]
        parameters = tuple(
            replace(p, values=tuple(values[p.name]) if p.categorical else _ascending(values[p.name]))
            if p.name in values
            else p
            for p in self.parameters
        )
        return Space(parameters, dict(baseline or {}))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description, from which `from_dict` makes an equal space."""
        rows = []
        for p in self.parameters:
            row: dict[str, Any] = {
                "name": p.name,
                "values": list(p.values),
                "meaning": p.meaning,
                "unit": p.unit,
            }
            row["categorical"] = p.categorical
            row["when"] = (
                None if p.when is None else {"parameter": p.when.parameter, "values": list(p.when.values)}
            )
            rows.append(row)
        return {"parameters": rows, "baseline": dict(self.baseline)}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Space:
        """The space that `to_dict` described.

        Raises
        ------
        BadInputError
            The description is not one of a space.
        """
        try:
            parameters = tuple(
                Parameter(
                    row["name"],
                    tuple(row["values"]),
                    row["meaning"],
                    row["unit"],
                    bool(row["categorical"]),
                    None
                    if row["when"] is None
                    else Condition(row["when"]["parameter"], tuple(row["when"]["values"])),
                )
                for row in description["parameters"]
            )
            return cls(parameters, dict(description["baseline"]))
        except BadInputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"space: {error!r}", expected="parameters and a baseline") from error


def _ascending(values: Sequence[Value]) -> tuple[Value, ...]:
    """Numbers in ascending order; anything else as it is, for `Parameter` to refuse."""
    return tuple(sorted(values, key=float) if all(map(_finite, values)) else values)
