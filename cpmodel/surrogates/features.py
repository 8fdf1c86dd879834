"""Columns of a table as the log models see them: as logs, powers, numbers or one-hot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cpmodel.errors import BadInputError, FitError
from cpmodel.space import Floats, Space

Kind = Literal["log", "power", "linear", "onehot", "constant"]

# What more of a cost does to the error falls like this negative power of it. Of the tables of
# scripts/bench/surrogates.py the plain family tells it; the others hardly tell powers from 0 to 0.8 apart
_POWER = 0.4
# How far beyond the domain, in widths of it, a prediction may still follow its trend
_BEYOND = 1.0
# A range narrower than this, relative to its values, is rounding and not a range
_LEAST_WIDTH = 1e-12


@dataclass(frozen=True)
class Column:
    """One parameter: how it is encoded, over which range, and the codes of a categorical one."""

    kind: Kind
    low: float = 0.0
    high: float = 1.0
    codes: tuple[float, ...] = ()

    def _scaled(self, x: Floats) -> Floats:
        """Values on the scale on which features are linear: logs, powers or themselves."""
        if self.kind == "log":
            # a value that has no log lies below every one that has
            return np.log(np.maximum(x, self.low * 1e-9))
        if self.kind == "power":
            # grows like the log at the least value, and ever less beyond
            return np.asarray((1.0 - np.maximum(x / self.low, 1e-9) ** -_POWER) / _POWER)
        return x

    @property
    def width(self) -> float:
        """Length of the range on that scale."""
        low, high = self._scaled(np.array([self.low, self.high]))
        return float(high - low)

    def encode(self, x: Floats) -> Floats:
        """Features, 0 to 1 on the range, of the values x, shape (n,): (n, 1), (n, codes - 1) or (n, 0)."""
        if self.kind == "constant":
            return np.empty((len(x), 0))
        if self.kind == "onehot":
            table: Floats = np.equal.outer(x, np.array(self.codes)).astype(np.float64)
            # a code that was not declared counts as the mean of all that were
            table[~table.any(axis=1)] = 1.0 / len(self.codes)
            return table[:, 1:]
        if self.kind == "linear":
            x = np.clip(x, self.low - self.width, self.high + self.width)
        scaled = (self._scaled(x) - self._scaled(np.array(self.low))) / self.width
        return np.clip(scaled, -_BEYOND, 1.0 + _BEYOND)[:, None]


@dataclass(frozen=True)
class Derived:
    """Columns that follow from the parameters and say what these do to a network: its costs, say.

    Parameters
    ----------
    of : the columns, shape (n, m), of rows of parameters, shape (n, d); None where only the names are known,
        as in a model that was read from a file
    """

    names: tuple[str, ...]
    of: Callable[[Floats], Floats] | None = None

    @classmethod
    def of_space(cls, names: Sequence[str], space: Space, of: Callable[[Floats], Floats]) -> Derived:
        """Columns of the configurations of `space`, of which models see `Space.filled` rows.

        `of` gets the nearest configurations, whose inactive parameters are NaN again.
        """
        return cls(tuple(names), lambda X: of(space.nearest(X)))

    def beside(self, X: Floats) -> Floats:
        """The rows of X, shape (n, d), with their derived columns, shape (n, d + m)."""
        said = ", ".join(self.names)
        if self.of is None:
            raise BadInputError("derived columns", expected=f"what computes {said}", got="their names only")
        columns = np.asarray(self.of(X), dtype=np.float64)
        if columns.shape != (len(X), len(self.names)) or not np.isfinite(columns).all():
            raise FitError(f"derived columns {said}: expected finite, one each a row")
        return np.concatenate([X, columns], axis=1)


@dataclass(frozen=True)
class Features:
    """The encoding of a whole table.

    Examples
    --------
    >>> X = np.array([[8.0, 0, 2], [64.0, 1, 2]])
    >>> features = Features.of(X, None, {})
    >>> [column.kind for column in features.columns]
    ['log', 'linear', 'constant']
    >>> features.encode(X).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """

    columns: tuple[Column, ...]

    @classmethod
    def of(
        cls, X: Floats, domain: Floats | None, codes: Mapping[int, Iterable[float]], costs: Sequence[int] = ()
    ) -> Features:
        """Choose an encoding for each column of X, shape (n, d), scaled over its range and its domain.

        Categorical columns have `codes`. Columns that are `costs` act by powers where they can.
        """
        columns: list[Column] = []
        for index, values in enumerate(X.T):
            if index in codes:
                column = Column("onehot", codes=tuple(map(float, codes[index])))
                varies = len(column.codes) > 1
            else:
                around = values if domain is None else np.append(values, domain[index])
                low, high = float(around.min()), float(around.max())
                column = Column("linear" if low <= 0 else "power" if index in costs else "log", low, high)
                varies = _LEAST_WIDTH < column.width / max(1.0, abs(low), abs(high)) < np.inf
            columns.append(column if varies else Column("constant"))
        return cls(tuple(columns))

    def encode(self, X: Floats) -> Floats:
        """Features, shape (n, m), of the rows of X, shape (n, d)."""
        parts = [column.encode(X[:, index]) for index, column in enumerate(self.columns)]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(X), 0))

    def owners(self) -> list[tuple[int, float | None]]:
        """For every feature its column, and the code it stands for (None for a number)."""
        owners: list[tuple[int, float | None]] = []
        for index, column in enumerate(self.columns):
            if column.kind == "onehot":
                owners += [(index, code) for code in column.codes[1:]]
            elif column.kind != "constant":
                owners.append((index, None))
        return owners
