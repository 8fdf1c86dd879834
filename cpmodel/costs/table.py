"""The costs table: values of any cost, measured here or on another device, and under what conditions.

Complexity that follows from the configuration alone is computed by `Family.costs`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import CONDITIONS, LATENCY, Conditions, Cost
from cpmodel.errors import BadInputError
from cpmodel.files import read_table, replacing
from cpmodel.space import Configuration, Floats, Space, rows_of

if TYPE_CHECKING:
    import pandas as pd

# The fields of a `Measurement` that are columns; what is unknown is empty
MEASURED = ("cost", "value", "spread", "repeats", "measured_at")
# Tables that know run-times only call the columns by other names
_OLDER = {"value": LATENCY, "spread": "latency_spread_s"}
# Conditions that every table has; those that came later may be missing
_ALWAYS = ("device", "backend", "dtype", "batch", "threads")


@dataclass(frozen=True)
class Measurement:
    """A measured cost of one configuration, a row of the costs table.

    Parameters
    ----------
    value : the median, in the cost's unit, above 0: of a run-time the forward time of one batch, seconds
    spread : interquartile range, same unit; NaN if unknown
    repeats : how often it was measured
    measured_at : ISO 8601 (UTC unless it says otherwise), or empty
    cost : its name
    """

    configuration: Configuration
    conditions: Conditions
    value: float
    spread: float = math.nan
    repeats: int | None = None
    measured_at: str = ""
    cost: str = LATENCY

    def cells(self, space: Space) -> dict[str, str]:
        """The texts of its row, by column: empty for what is inactive or unknown."""
        row = {name: self.configuration.get(name) for name in space.names}
        row |= {name: getattr(self.conditions, name) for name in CONDITIONS}
        row |= {name: getattr(self, name) for name in MEASURED}
        return {name: "" if value is None or value != value else str(value) for name, value in row.items()}

    @property
    def key(self) -> tuple[Any, ...]:
        """What no two rows of a table share."""
        items = self.configuration.items()
        values = frozenset((name, v if isinstance(v, (int, float)) else str(v)) for name, v in items)
        return values, self.conditions, self.cost


@dataclass(frozen=True, eq=False)
class CostsTable:
    """Measured costs, one row for each configuration, cost and conditions.

    Parameters
    ----------
    space : its parameters are the first columns; rows may have values outside of it (see `for_space`)
    rows : build the table with `of` or `read_csv`, which check them
    """

    space: Space
    rows: tuple[Measurement, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, space: Space, measurements: Iterable[Measurement]) -> CostsTable:
        """The table of `measurements`, checked; of two with the same key the newest stays, see `merged`."""
        rows = []
        for number, m in enumerate(measurements, 1):
            valid = replace(m, configuration=space.validated(m.configuration))
            rows.append(_checked(space, valid.cells(space), f"measurement {number}", ""))
        return cls(space, _newest(rows))

    @cached_property
    def kinds(self) -> tuple[Cost, ...]:
        """The different costs and their conditions, in the order of their first rows."""
        different = dict.fromkeys((row.cost, row.conditions) for row in self.rows)
        return tuple(Cost.called(name, "measured", conditions) for name, conditions in different)

    @cached_property
    def X(self) -> Floats:
        """Configurations, shape (n, d), as `Space.matrix` codes them; NaN for a category unknown to it."""
        X = np.full((len(self.rows), len(self.space.parameters)), np.nan)
        for column, parameter in enumerate(self.space.parameters):
            values = [row.configuration.get(parameter.name, math.nan) for row in self.rows]
            if parameter.categorical:
                codes = parameter.named_codes
                values = [codes.get(str(value), math.nan) for value in values]
            X[:, column] = values
        return X

    @cached_property
    def values(self) -> Floats:
        """The measured values, shape (n,), each in its cost's unit."""
        return np.array([row.value for row in self.rows], dtype=np.float64)

    @property
    def frame(self) -> pd.DataFrame:
        """The table as its file has it, numbers as numbers."""
        import pandas as pd

        columns = [*self.space.names, *CONDITIONS, *MEASURED]
        rows = [{**row.configuration, **vars(row.conditions), **vars(row)} for row in self.rows]
        return pd.DataFrame(rows, columns=columns).convert_dtypes()

    def matching(self, cost: Cost) -> CostsTable:
        """The rows of exactly this cost and these conditions."""
        wanted = cost.name, cost.conditions
        return CostsTable(self.space, tuple(r for r in self.rows if (r.cost, r.conditions) == wanted))

    def for_space(self, space: Space) -> CostsTable:
        """The rows whose configurations lie in `space`, which has the same parameters."""
        if space.names != self.space.names:
            expected, got = "parameters " + ", ".join(space.names), ", ".join(self.space.names)
            raise BadInputError("costs table", expected=expected, got=got)
        inside = space.contains(CostsTable(space, self.rows).X)
        return CostsTable(space, tuple(row for row, keep in zip(self.rows, inside, strict=True) if keep))

    def lookup(self, X: ArrayLike, cost: Cost) -> Floats:
        """Values of the rows of X, shape (n, d), of this cost: shape (n,); NaN: unknown."""
        known = self.matching(cost)
        return np.append(known.values, math.nan)[rows_of(known.X, X)]

    def merged(self, other: CostsTable) -> CostsTable:
        """Both tables' rows; of two with the same key the one measured last stays (on a tie, `other`'s)."""
        theirs = other.rows if other.space == self.space else other.for_space(self.space).rows
        return CostsTable(self.space, _newest([*self.rows, *theirs]))

    def write_csv(self, path: str | Path) -> None:
        """Write the table, all of it or nothing."""
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*self.space.names, *CONDITIONS, *MEASURED], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row.cells(self.space) for row in self.rows)


def read_csv(path: str | Path, space: Space) -> CostsTable:
    """A costs table, measured here or on another device (``cpmodel measure --out`` there).

    Columns besides the parameters of `space`, `CONDITIONS` and `MEASURED` are left out. ``extra`` and the
    last three of `MEASURED` may be missing or empty. A table of run-times alone may call the value
    ``latency_s`` and the spread ``latency_spread_s``, and needs no column ``cost``.

    Raises
    ------
    BadInputError
        The file or one of its rows cannot be used, or two rows have the same configuration, cost and
        conditions; the message names the line (the header is line 1).
    """
    where = str(path)
    table = read_table(path, "costs")
    older = "value" not in table.header and LATENCY in table.header
    needed = [*space.names, *_ALWAYS, *((LATENCY,) if older else MEASURED[:2])]
    for name in needed:
        if name not in table.header:
            expected = "once each: " + ", ".join(needed)
            raise BadInputError(f"column '{name}' is missing", expected=expected, where=where)
    rows: list[Measurement] = []
    first: dict[tuple[Any, ...], int] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        texts = dict(zip(table.header, row, strict=True))
        rows.append(_checked(space, texts, f"line {line}", where, _OLDER if older else {}))
        before = first.setdefault(rows[-1].key, line)
        if before != line:
            expected, got = (
                "one row for a configuration, a cost and its conditions",
                f"the same as line {before}",
            )
            raise BadInputError(f"line {line}", expected=expected, got=got, where=where)
    if not rows:
        raise BadInputError("no rows", expected="at least one measured cost", where=where)
    return CostsTable(space, tuple(rows))


def _checked(
    space: Space, cells: dict[str, str], place: str, where: str, called: dict[str, str] | None = None
) -> Measurement:
    """The row that the texts stand for; `called` are the file's own names of some columns."""

    def text(name: str) -> str:
        return cells.get((called or {}).get(name, name), "")

    def wrong(name: str, expected: str) -> BadInputError:
        title, got = f"column '{(called or {}).get(name, name)}', {place}", text(name)
        return BadInputError(title, expected=expected, got=repr(got) if got else "none", where=where)

    def number(name: str, expected: str, valid: Callable[[float], bool]) -> float:
        try:
            value = float(text(name))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and valid(value)):
            raise wrong(name, expected)
        return value

    def count(name: str) -> int:
        return int(number(name, "a whole number, 1 or more", lambda v: v >= 1 and v == int(v)))

    configuration: dict[str, Any] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not text(name):
            if parameter.when is None:
                raise wrong(name, "a value")
        elif parameter.categorical:
            configuration[name] = text(name)
        else:
            value = number(name, "a finite number", lambda _: True)
            configuration[name] = int(value) if value == int(value) else value
    conditions: dict[str, Any] = {}
    for f in fields(Conditions):
        if f.name in _ALWAYS and not text(f.name) and f.type != "int":
            raise wrong(f.name, "a text")
        if f.name in _ALWAYS or text(f.name):
            conditions[f.name] = count(f.name) if f.type == "int" else text(f.name)
    cost = LATENCY if called else text("cost")
    if not cost:
        raise wrong("cost", "a name")
    value = number("value", "a number above 0", lambda v: v > 0)
    spread = number("spread", "a number, 0 or more", lambda v: v >= 0) if text("spread") else math.nan
    repeats = count("repeats") if text("repeats") else None
    try:
        _instant(text("measured_at"))
    except ValueError:
        raise wrong("measured_at", "a time like 2026-01-31T12:00:00+00:00") from None
    return Measurement(
        configuration, Conditions(**conditions), value, spread, repeats, text("measured_at"), cost
    )


def _instant(text: str) -> datetime:
    """The moment an ISO 8601 text names, UTC unless it says otherwise; the earliest one for none."""
    if not text:
        return datetime.min.replace(tzinfo=UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _newest(rows: list[Measurement]) -> tuple[Measurement, ...]:
    """Of rows with the same key the one measured last, else the last one; the order of the rows stays."""
    moments = [_instant(row.measured_at) for row in rows]
    last = {rows[place].key: place for place in sorted(range(len(rows)), key=moments.__getitem__)}
    return tuple(rows[place] for place in sorted(last.values()))
