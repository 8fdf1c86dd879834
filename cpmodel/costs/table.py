"""Measured complexity: the costs table, the conditions it was measured under, and a count on a real network.

Complexity that follows from the configuration alone (multiply-accumulates, parameters, ...) is computed by
`Family.costs`. Run-time is measured, here or on another device, and kept in a table of its own: one row for
each configuration and conditions.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import CONDITIONS, Conditions
from cpmodel.errors import BadInputError
from cpmodel.files import reading_table, replacing
from cpmodel.space import Configuration, Floats, Space, rows_of

if TYPE_CHECKING:
    import pandas as pd

MEASURED = (
    "latency_s",  # median forward time of one batch, seconds
    "latency_spread_s",  # interquartile range of the forward times, seconds; empty if unknown
    "repeats",  # forward passes timed; empty if unknown
    "measured_at",  # ISO 8601, UTC; empty if unknown
)


@dataclass(frozen=True)
class Measurement:
    """The run-time of one configuration, a row of the costs table.

    Parameters
    ----------
    latency_s : float
        Median forward time of one batch, seconds, above 0.
    latency_spread_s : float
        Interquartile range, seconds; NaN if unknown.
    repeats : int or None
        Forward passes timed.
    measured_at : str
        ISO 8601 (UTC unless it says otherwise), or empty.
    """

    configuration: Configuration
    conditions: Conditions
    latency_s: float
    latency_spread_s: float = math.nan
    repeats: int | None = None
    measured_at: str = ""


@dataclass(frozen=True, eq=False)
class CostsTable:
    """Measured run-times, one row for each configuration and conditions.

    Parameters
    ----------
    space : Space
        Its parameters are the first columns; rows may have values outside of it (see `for_space`).
    frame : DataFrame
        Columns: one per parameter (empty where inactive), `CONDITIONS`, `MEASURED`. Build it with `of` or
        `read_csv`, which check it.
    """

    space: Space
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def of(cls, space: Space, measurements: Iterable[Measurement]) -> CostsTable:
        """The table of `measurements`; of two with the same key the newest stays, see `merged`.

        Raises
        ------
        BadInputError
            A configuration is not of the space, or a number is out of its range.
        """
        rows = []
        for number, m in enumerate(measurements, 1):
            row: dict[str, Any] = dict.fromkeys(space.names, "")
            row |= space.validated(m.configuration) | asdict(m.conditions)
            row |= {name: getattr(m, name) for name in MEASURED}
            rows.append(_checked(space, {n: _text(v) for n, v in row.items()}, f"measurement {number}", ""))
        return cls(space, _newest(space, _frame(space, rows)))

    @property
    def conditions(self) -> list[Conditions]:
        """The different conditions that occur, in the order of their first rows."""
        different = self.frame[list(CONDITIONS)].drop_duplicates()
        return [
            Conditions(str(device), str(backend), str(dtype), int(batch), int(threads))
            for device, backend, dtype, batch, threads in different.itertuples(index=False)
        ]

    @property
    def X(self) -> Floats:
        """Configurations, shape (n, d), as `Space.matrix` codes them; NaN for a category unknown to it."""
        X = np.full((len(self.frame), len(self.space.parameters)), np.nan)
        for column, parameter in enumerate(self.space.parameters):
            if parameter.categorical:
                codes = {str(value): float(i) for i, value in enumerate(parameter.values)}
                X[:, column] = [codes.get(str(value), math.nan) for value in self.frame[parameter.name]]
            else:
                X[:, column] = self.frame[parameter.name].to_numpy(dtype=np.float64, na_value=np.nan)
        return X

    @property
    def latency_s(self) -> Floats:
        """Median forward times, shape (n,), seconds."""
        return self.frame["latency_s"].to_numpy(dtype=np.float64)

    def matching(self, conditions: Conditions) -> CostsTable:
        """The rows measured under exactly these conditions."""
        keep = np.ones(len(self.frame), dtype=bool)
        for name, value in asdict(conditions).items():
            keep &= (self.frame[name] == value).to_numpy(dtype=bool)
        return CostsTable(self.space, self.frame[keep].reset_index(drop=True))

    def for_space(self, space: Space) -> CostsTable:
        """The rows whose configurations lie in `space`, which has the same parameters."""
        if space.names != self.space.names:
            raise BadInputError(
                "costs table",
                expected="parameters " + ", ".join(space.names),
                got=", ".join(self.space.names),
            )
        moved = CostsTable(space, self.frame)
        return CostsTable(space, self.frame[space.contains(moved.X)].reset_index(drop=True))

    def lookup(self, X: ArrayLike, conditions: Conditions) -> Floats:
        """Forward times of the rows of X, shape (n, d), under these conditions: shape (n,); NaN: unknown."""
        known = self.matching(conditions)
        return np.append(known.latency_s, math.nan)[rows_of(known.X, X)]

    def merged(self, other: CostsTable) -> CostsTable:
        """Both tables' rows; of two with the same key the one measured last stays (on a tie, `other`'s)."""
        import pandas as pd

        theirs = (
            CostsTable(self.space, other.frame) if other.space == self.space else other.for_space(self.space)
        )
        both = _typed(self.space, pd.concat([self.frame, theirs.frame], ignore_index=True))
        return CostsTable(self.space, _newest(self.space, both))

    def write_csv(self, path: str | Path) -> None:
        """Write the table, all of it or nothing."""
        with replacing(path) as temporary:
            self.frame.to_csv(temporary, index=False)


def read_csv(path: str | Path, space: Space) -> CostsTable:
    """A costs table, measured here or on another device (``cpmodel measure --out`` there).

    Columns besides the parameters of `space`, `CONDITIONS` and `MEASURED` are left out. The last three of
    `MEASURED` may be missing or empty.

    Raises
    ------
    BadInputError
        The file or one of its rows cannot be used, or two rows have the same configuration and conditions;
        the message names the line (the header is line 1).
    """
    where = str(path)
    needed = [*space.names, *CONDITIONS, MEASURED[0]]
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        # not through pandas: it shifts the columns of rows that are too long, and rounds some numbers
        with reading_table(path) as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise BadInputError("empty file", expected="a header and rows of run-times", where=where)
            for name in needed:
                if header.count(name) != 1:
                    wrong = "twice there" if name in header else "missing"
                    raise BadInputError(
                        f"column '{name}' is {wrong}", expected="once each: " + ", ".join(needed), where=where
                    )
            for cells in reader:
                if not cells:
                    continue
                place = f"line {reader.line_num}"
                if len(cells) != len(header):
                    raise BadInputError(place, expected=f"{len(header)} cells", got=len(cells), where=where)
                row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                rows.append(_checked(space, row, place, where))
                lines.append(reader.line_num)
    except OSError as error:
        raise BadInputError(f"cannot read: {error.strerror or error}", where=where) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInputError(f"not a CSV table: {error}", where=where) from error
    if not rows:
        raise BadInputError("no rows", expected="at least one run-time", where=where)
    first: dict[tuple[Any, ...], int] = {}
    for line, row in zip(lines, rows, strict=True):
        key = tuple(row[name] for name in (*space.names, *CONDITIONS))
        if first.setdefault(key, line) != line:
            raise BadInputError(
                f"line {line}",
                expected="one row for a configuration and its conditions",
                got=f"the same as line {first[key]}",
                where=where,
            )
    return CostsTable(space, _frame(space, rows))


def _text(value: object) -> str:
    """The cell for a value: empty for None and NaN."""
    return "" if value is None or value != value else str(value)


def _checked(space: Space, cells: dict[str, str], place: str, where: str) -> dict[str, Any]:
    """The row that the texts stand for; None where a cell may be empty and is."""

    def wrong(name: str, expected: str) -> BadInputError:
        got = repr(cells[name]) if cells.get(name) else "none"
        return BadInputError(f"column '{name}', {place}", expected=expected, got=got, where=where)

    def number(name: str, expected: str, valid: Callable[[float], bool]) -> float:
        try:
            value = float(cells[name])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and valid(value)):
            raise wrong(name, expected)
        return value

    def count(name: str) -> int:
        return int(number(name, "a whole number, 1 or more", lambda v: v >= 1 and v == int(v)))

    row: dict[str, Any] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not cells[name]:
            if parameter.when is None:
                raise wrong(name, "a value")
            row[name] = None
        elif parameter.categorical:
            row[name] = cells[name]
        else:
            value = number(name, "a finite number", lambda _: True)
            row[name] = int(value) if value == int(value) else value
    for name in ("device", "backend", "dtype"):
        if not cells[name]:
            raise wrong(name, "a text")
        row[name] = cells[name]
    row["batch"], row["threads"] = count("batch"), count("threads")
    row["latency_s"] = number("latency_s", "seconds, above 0", lambda v: v > 0)
    spread = "latency_spread_s"
    row[spread] = number(spread, "seconds, 0 or more", lambda v: v >= 0) if cells.get(spread) else None
    row["repeats"] = count("repeats") if cells.get("repeats") else None
    row["measured_at"] = cells.get("measured_at", "")
    try:
        _instant(row["measured_at"])
    except ValueError:
        raise wrong("measured_at", "a time like 2026-01-31T12:00:00+00:00") from None
    return row


def _instant(text: str) -> datetime:
    """The moment an ISO 8601 text names, UTC unless it says otherwise; the earliest one for none."""
    if not text:
        return datetime.min.replace(tzinfo=UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _frame(space: Space, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Checked rows as a table."""
    import pandas as pd

    return _typed(space, pd.DataFrame(rows, columns=[*space.names, *CONDITIONS, *MEASURED]))


def _typed(space: Space, frame: pd.DataFrame) -> pd.DataFrame:
    """The table with types that do not depend on which of its cells are empty."""
    import pandas as pd

    types: dict[str, Any] = {p.name: object for p in space.parameters if p.categorical}
    for parameter in space.parameters:
        if not parameter.categorical:
            numbers = pd.to_numeric(frame[parameter.name])
            # whole numbers stay whole, so that the file says 64 and not 64.0
            types[parameter.name] = "Int64" if (numbers.dropna() % 1 == 0).all() else "Float64"
    types |= {"device": object, "backend": object, "dtype": object, "measured_at": object}
    types |= {"batch": "int64", "threads": "int64", "repeats": "Int64"}
    types |= {"latency_s": "float64", "latency_spread_s": "float64"}
    return frame.astype(types)


def _newest(space: Space, frame: pd.DataFrame) -> pd.DataFrame:
    """Of rows with the same key the one measured last, else the last one; the order of the rows stays."""
    moments = [_instant(str(text)) for text in frame["measured_at"]]
    order = sorted(range(len(frame)), key=moments.__getitem__)
    last = frame.iloc[order].drop_duplicates([*space.names, *CONDITIONS], keep="last")
    return last.sort_index().reset_index(drop=True)
