"""The samples table: what was trained and what came of it, one row a training.

Columns: one per parameter (empty where inactive), then `COLUMNS`, then ``metric_<name>`` for every other
metric, then whatever cost columns came with the table (``macs``, ``latency_s``, ...). A person's own CSV
needs the parameters and a precision only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import BadInputError
from cpmodel.files import read_table, replacing
from cpmodel.space import Floats, Parameter, Space, Value

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["complete", "stopped", "failed"]
Unit = Literal["auto", "fraction", "percent"]

COLUMNS = (
    "seed",
    "precision",  # fraction in [0, 1], on `split`; empty for a failed training
    "split",
    "status",  # complete; stopped (ended early, its precision extrapolated); failed
    "reason",  # why it failed or stopped
    "precision_sd",  # uncertainty added by extrapolation; 0 for a complete training
    "curve",  # JSON list: validation precision after each epoch
    "train_s",
    "family",
    "dataset",
    "data",  # hash of images, labels and splits
    "recipe",  # hash of the recipe
    "start",  # where the training began; empty for new weights
    "purpose",  # why it was trained: design, refine, verify, ...
    "plan",  # how it was executed: device, dtype, layout, threads
)
_TEXT = {*COLUMNS} - {"seed", "precision", "precision_sd", "train_s"}
_NOTHING = {"", "na", "nan"}  # what stands in an empty cell, lower case


@dataclass(frozen=True, eq=False)
class Samples:
    """A validated table of samples over a space; build it with `of` or `read_csv`, which check it."""

    space: Space
    frame: pd.DataFrame  # the columns that the module describes
    notes: tuple[str, ...] = ()  # what was decided on reading, to be said to the user

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def of(cls, space: Space, samples: Iterable[Any]) -> Samples:
        """The table of some `cpmodel.records.sample.Sample`, in their order."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for sample in samples:
            row: dict[str, Any] = dict.fromkeys(space.names, math.nan)
            row.update(space.validated(sample.configuration))
            row.update({name: getattr(sample, name) for name in COLUMNS})
            fresh = sample.start.kind == "fresh"
            row["start"] = "" if fresh else f"{sample.start.kind} {sample.start.parent}".strip()
            row["purpose"] = str(sample.purpose)
            row["precision"] = math.nan if sample.precision is None else sample.precision
            row["curve"] = json.dumps([round(p, 6) for p in sample.curve])
            row.update({f"metric_{name}": value for name, value in sample.metrics.items()})
            rows.append(row)
        extra = sorted({name for row in rows for name in row} - set(space.names) - set(COLUMNS))
        frame = pd.DataFrame(rows, columns=[*space.names, *COLUMNS, *extra])
        for parameter in space.parameters:
            if parameter.categorical:  # beside an empty cell, numbers would turn into others: 1 into 1.0
                values = [row[parameter.name] for row in rows]
                frame[parameter.name] = pd.Series(values, dtype=object, index=frame.index)
        return cls(space, frame)

    @property
    def usable(self) -> Samples:
        """The rows that have a precision."""
        return self._where(self.frame["precision"].notna())

    @property
    def measured(self) -> Samples:
        """The rows whose precision was measured, not foreseen from a part of the curve."""
        return self._where(self.frame["precision"].notna() & (self.frame["status"] != "stopped"))

    def _where(self, kept: pd.Series[bool]) -> Samples:
        return Samples(self.space, self.frame[kept].reset_index(drop=True), self.notes)

    @property
    def failed(self) -> int:
        """How many trainings failed."""
        return int((self.frame["status"] == "failed").sum())

    @property
    def X(self) -> Floats:
        """Configurations, shape (n, d), as `Space.matrix` codes them."""
        columns = []
        for parameter in self.space.parameters:
            column = self.frame[parameter.name]
            if parameter.categorical:
                codes = parameter.named_codes
                columns.append(column.map(lambda v, codes=codes: codes.get(str(v), math.nan)))
            else:
                columns.append(column)
        return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])

    @property
    def precision(self) -> Floats:
        """Precision, shape (n,), fraction; NaN where a training failed."""
        return self.frame["precision"].to_numpy(dtype=np.float64)

    @property
    def keys(self) -> list[str]:
        """The text of each row's configuration."""
        return [self.space.key(c) for c in self.space.configurations(self.X)]

    def cost(self, name: str) -> Floats:
        """A cost column, shape (n,)."""
        if name not in self.frame.columns or self.frame[name].dtype.kind not in "fiu":
            expected = "one of " + (", ".join(self.cost_names) or "the table's columns")
            raise BadInputError("complexity", expected=expected, got=name)
        return self.frame[name].to_numpy(dtype=np.float64)

    @property
    def cost_names(self) -> list[str]:
        """Columns of numbers that came with the table beside parameters, precision and the rest."""
        known = {*self.space.names, *COLUMNS}
        return [
            name
            for name in self.frame.columns
            if name not in known and not name.startswith("metric_") and self.frame[name].dtype.kind in "fiu"
        ]

    def write_csv(self, path: str | Path) -> None:
        """Write the table, all of it or nothing."""
        with replacing(path) as temporary:
            self.frame.to_csv(temporary, index=False)


def read_csv(
    path: str | Path,
    *,
    space: Space | None = None,
    parameters: Sequence[str] = (),
    precision: str = "precision",
    seed: str = "seed",
    unit: Unit = "auto",
) -> Samples:
    """Anybody's measurements as a samples table.

    A row that cannot be used is refused, and named as an editor counts it (the header is line 1).

    Parameters
    ----------
    path : str or Path
        A CSV file with a header, gzipped where its name ends in ``.gz``; one row a training.
    space : Space, optional
        The space its configurations belong to; made of the values that occur unless given.
    parameters : sequence of str
        Names of the parameter columns; by default the space's, else f, s, k and l where they are there.
    precision, seed : str
        Names of those columns. A table without the seed column is taken as one training a row.
    unit
        Whether precision is a fraction or a percentage; ``auto`` goes by the numbers, and says so in `notes`.
    """
    import pandas as pd

    where = str(path)
    read = read_table(path, "samples")
    lines = read.lines
    cells = pd.DataFrame(read.rows, columns=list(read.header), dtype=object)
    cells = cells.loc[:, [bool(name) for name in read.header]]  # a column without a name is an index
    names = list(space.names if space else parameters or [n for n in "fskl" if n in cells.columns])
    there = ", ".join(cells.columns)
    if not names:
        expected = "their columns' names (--parameters a,b)"
        raise BadInputError("parameters", expected=expected, got=there, where=where)
    for name in [*names, precision, *([seed] if seed != "seed" else [])]:
        if name not in cells.columns:
            raise BadInputError(f"column '{name}' is missing", expected=f"it among {there}", where=where)
    for name in names:
        if name in COLUMNS or name in (precision, seed):
            got = "a column of another meaning"
            raise BadInputError(f"column '{name}'", expected="a parameter", got=got, where=where)
    if not lines:
        raise BadInputError("no rows", expected="at least one sample", where=where)
    renamed = {seed: "seed"} if seed in cells.columns and seed != precision else {}
    renamed[precision] = "precision"
    # who says where the precision stands has something else in a column of that name
    displaced = [new for old, new in renamed.items() if new != old and new in cells.columns]
    cells = cells.drop(columns=displaced).rename(columns=renamed)
    for clash in cells.columns[cells.columns.duplicated()]:
        raise BadInputError(f"column '{clash}'", expected="it once", got="twice", where=where)
    table = _Cells(cells, lines, where, {new: old for old, new in renamed.items()})
    space = space or _space_of(table, names)
    frame = _with_defaults(_typed(table, space), space)
    failed = frame["status"].eq("failed").to_numpy(dtype=bool)
    for row in np.flatnonzero(frame["precision"].isna().to_numpy(dtype=bool) & ~failed):
        raise table.wrong("precision", row, "a number")
    scale, notes = _precision_scale(frame["precision"].to_numpy(dtype=np.float64), unit, table)
    frame["precision"] = frame["precision"] / scale
    left_out = tuple(f"column '{n}' left out: {n} is read from '{table.called[n]}'" for n in displaced)
    samples = Samples(space, frame, (*notes, *left_out))
    for row in np.flatnonzero(~space.contains(samples.X)):
        given = {n: v for n, v in zip(space.names, frame[list(space.names)].iloc[row], strict=True) if v == v}
        try:
            space.validated({n: v.item() if hasattr(v, "item") else v for n, v in given.items()})
        except BadInputError as error:
            raise BadInputError(f"line {lines[row]}: {error}", where=where) from error
    return samples


@dataclass(frozen=True, eq=False)
class _Cells:
    """The texts of a table as they stand in its file, and where: ``""`` is an empty cell."""

    frame: pd.DataFrame
    lines: Sequence[int]
    where: str
    called: Mapping[str, str]  # the file's own names of renamed columns

    def wrong(self, name: str, row: int | np.integer[Any], expected: str) -> BadInputError:
        what = f"column '{self.called.get(name, name)}', line {self.lines[int(row)]}"
        got = repr(cell) if (cell := self.frame[name].iloc[row]) else "none"
        return BadInputError(what, expected=expected, got=got, where=self.where)

    def empty(self, name: str) -> NDArray[np.bool_]:
        return np.array([cell.lower() in _NOTHING for cell in self.frame[name]], dtype=bool)

    def numbers(self, name: str) -> Floats:
        """A column of finite numbers, NaN where it is empty; the first cell that is neither is named."""
        values, empty = np.array([_number(cell) for cell in self.frame[name]]), self.empty(name)
        for row in np.flatnonzero(~np.isfinite(values) & ~empty):
            raise self.wrong(name, row, "a finite number")
        values[empty] = math.nan
        return values


def _number(text: str) -> float:
    """The number that a cell holds, NaN if none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _typed(table: _Cells, space: Space) -> pd.DataFrame:
    """The table with numbers where numbers belong; columns of a person's own are numbers if they can be."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in table.frame.columns:
        texts = table.frame[name]
        if name in space.names:
            columns[name] = _parameter_column(table, space[name])
        elif name in _TEXT:
            columns[name] = texts
            for row in np.flatnonzero(~texts.isin(["", *get_args(Status)])) if name == "status" else ():
                raise table.wrong(name, row, "complete, stopped or failed")
        elif name in COLUMNS or name.startswith("metric_"):
            columns[name] = table.numbers(name)
        else:
            values, empty = np.array([_number(cell) for cell in texts]), table.empty(name)
            columns[name] = _whole(values) if (empty | ~np.isnan(values)).all() else texts
    if "seed" in columns:
        seeds = columns["seed"]
        for row in np.flatnonzero(~((seeds % 1 == 0) & (np.abs(seeds) < 2**53))):
            raise table.wrong("seed", row, "a whole number")
    return pd.DataFrame(columns, index=table.frame.index)


def _parameter_column(table: _Cells, parameter: Parameter) -> Any:
    """A parameter's values; NaN where its cell is empty."""
    import pandas as pd

    if not parameter.categorical:
        return _whole(table.numbers(parameter.name))
    known = {str(value): value for value in parameter.values}
    cells = table.frame[parameter.name]
    for row in np.flatnonzero(~cells.isin(["", *known])):
        raise table.wrong(parameter.name, row, "one of " + " ".join(known))
    return pd.Series([known.get(cell, math.nan) for cell in cells], dtype=object, index=cells.index)


def _whole(values: Floats) -> NDArray[Any]:
    """Numbers as integers where all of them are."""
    if len(values) and (np.abs(values) < 2**53).all() and (values % 1 == 0).all():
        return values.astype(np.int64)
    return values


def _precision_scale(values: Floats, unit: str, table: _Cells) -> tuple[float, tuple[str, ...]]:
    """What to divide precisions by to get fractions, and what to say about it."""
    name = table.called["precision"]
    present = values[~np.isnan(values)]
    if not len(present):
        expected = "at least one precision"
        raise BadInputError(f"column '{name}'", expected=expected, got="none", where=table.where)
    notes: tuple[str, ...] = ()
    if unit == "auto":
        unit = "percent" if np.median(present) > 1 else "fraction"
        if unit == "percent":
            for row in np.flatnonzero((values > 0) & (values <= 1)):
                expected = "a percentage above 1 like the others (or --unit percent)"
                raise table.wrong("precision", row, expected)
        note = f"column '{name}' read as {'percentages' if unit == 'percent' else 'fractions'}"
        notes = (f"{note} (they run from {present.min():g} to {present.max():g})",)
    if unit not in ("percent", "fraction"):
        raise BadInputError("unit", expected="auto, fraction or percent", got=unit)
    top = 100.0 if unit == "percent" else 1.0
    for row in np.flatnonzero((values < 0) | (values > top)):
        raise table.wrong("precision", row, f"a {unit} in [0, {top:g}] like the others")
    return top, notes


def _space_of(table: _Cells, names: Sequence[str]) -> Space:
    """The space spanned by the values that occur, the baseline its largest ones."""
    parameters = []
    for name in names:
        cells = list(table.frame[name])
        numeric = np.isnan([_number(cell) for cell in cells]).mean() < 0.5  # one text is a slip, no category
        for row in np.flatnonzero(table.empty(name)):
            if numeric or not cells[row]:
                raise table.wrong(name, row, "a value")
        if numeric:
            numbers = sorted(set(table.numbers(name).tolist()))
            values: list[Value] = [int(v) if v.is_integer() else v for v in numbers]
            parameters.append(Parameter(name, tuple(values)))
        else:
            parameters.append(Parameter(name, tuple(sorted(set(cells))), categorical=True))
    return Space(tuple(parameters))


def _with_defaults(frame: pd.DataFrame, space: Space) -> pd.DataFrame:
    """All of `COLUMNS`, parameters first; what the table did not say takes its default."""
    defaults: dict[str, Any] = dict.fromkeys(_TEXT, "")
    defaults |= {"split": "validation", "status": "complete", "curve": "[]"}
    defaults |= {"precision_sd": 0.0, "train_s": 0.0}
    frame = frame.copy()
    if "seed" not in frame.columns:
        frame["seed"] = frame.groupby(list(space.names), dropna=False).cumcount()
    for name in COLUMNS:
        if name not in frame.columns:
            frame[name] = defaults[name]
        elif name in _TEXT:
            frame[name] = frame[name].mask(frame[name] == "", defaults[name])
        elif name in defaults:
            frame[name] = frame[name].fillna(defaults[name])
    frame["seed"] = frame["seed"].astype(int)
    extra = [n for n in frame.columns if n not in {*space.names, *COLUMNS}]
    return frame[[*space.names, *COLUMNS, *extra]]
