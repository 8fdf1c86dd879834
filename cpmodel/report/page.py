"""What a page is drawn from: the results themselves, and what several of its parts ask of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from cpmodel import numbers
from cpmodel.cost import ComparedCost, Cost
from cpmodel.errors import BadInputError
from cpmodel.metrics import Accuracy, Metric
from cpmodel.optimize import Candidate, Choice, Cloud, Envelope
from cpmodel.pipeline.costing import Complexity
from cpmodel.pipeline.curve import Curve
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.wording import Notation
from cpmodel.records.settings import Settings
from cpmodel.samples import Samples
from cpmodel.search.evidence import Evidence
from cpmodel.space import Floats, Space
from cpmodel.verify import Verdict


@dataclass(frozen=True)
class Table:
    """A table as text: a caption, names of columns, rows of cells, and which columns are set flush right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Points:
    """What a figure draws in one way.

    Parameters
    ----------
    x, y : shape (n,)
    hover : n texts, Plotly's tags in them, everything of the user's escaped
    low, high : shape (n,), or None
        Ends of the bars of y.
    """

    x: Floats
    y: Floats
    hover: tuple[str, ...]
    low: Floats | None = None
    high: Floats | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def ends(self) -> tuple[Floats, ...]:
        """The values of y and the ends of their bars."""
        return tuple(part for part in (self.y, self.low, self.high) if part is not None)


@dataclass(frozen=True, eq=False)
class Means:
    """One row a configuration that has a precision, in the order of their first trainings.

    Parameters
    ----------
    X : shape (n, d)
    mean, low, high, seeds : shape (n,)
        Mean, least and greatest precision over seeds, and how many there are.
    complexity : shape (n,)
        NaN where unknown.
    """

    keys: tuple[str, ...]
    X: Floats
    mean: Floats
    low: Floats
    high: Floats
    seeds: NDArray[np.int64]
    complexity: Floats

    def of(self, key: str) -> int | None:
        """The row of a configuration."""
        return self.keys.index(key) if key in self.keys else None


@dataclass(frozen=True, eq=False)
class Page:
    """The results that a page shows; whatever is None, empty or NaN is left out of it.

    Parameters
    ----------
    cost : Cost
        What is minimised and drawn.
    metric : Metric
        What precision means.
    family, machine, generated_at, command : str
        The family in words; where, when and by what the page was made.
    base : float
        Complexity of the baseline, to which relative complexity refers.
    complexity : shape (len(samples),), or None
        Complexity of each training.
    spent : float
        Complexity of what the verdict is about.
    outdated : bool
        Whether the verdict is about another test split than the study's of today.
    evidence : tuple of Evidence
        Candidates tried on fresh seeds, in order.
    curve : Curve or None
        C(P) with its band, where the whole curve was asked for.
    precision : tuple of PrecisionFit
        The model of P(T) that is used, and others to compare with it.
    measured_on, checked_by : tuple of str, str
        Configurations of those fits' rows (the samples' own unless given), and how they were kept apart.
    modelled : Complexity or None
        The complexity whose model is shown.
    cloud, paper : Cloud or None
        Configurations with their predicted precision; the paper's own grid.
    costs : tuple of ComparedCost
        Of the baseline and of the answer, the minimised one first.
    tables : tuple of Table
        Further ones, shown as they are.
    notes : tuple of str
        Warnings and remarks.
    """

    title: str
    samples: Samples
    cost: Cost
    metric: Metric = field(default_factory=Accuracy)
    settings: Settings | None = None
    family: str = ""
    machine: str = ""
    generated_at: str = ""
    command: str = ""
    base: float = math.nan
    complexity: Floats | None = None
    choice: Choice | None = None
    verdict: Verdict | None = None
    spent: float = math.nan
    outdated: bool = False
    evidence: tuple[Evidence, ...] = ()
    curve: Curve | None = None
    precision: tuple[PrecisionFit, ...] = ()
    measured_on: tuple[str, ...] = ()
    checked_by: str = "cross-validation"
    modelled: Complexity | None = None
    cloud: Cloud | None = None
    paper: Cloud | None = None
    envelope: Envelope | None = None
    costs: tuple[ComparedCost, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.complexity is not None and len(self.complexity) != len(self.samples):
            raise BadInputError(
                "complexity", expected=f"{len(self.samples)} of them", got=len(self.complexity)
            )

    @property
    def space(self) -> Space:
        """The configurations that there are."""
        return self.samples.space

    @property
    def baseline_key(self) -> str:
        """The text of the baseline's configuration."""
        return self.space.key(self.space.baseline)

    @property
    def chosen(self) -> Candidate | None:
        """What the models say of what the page is about: the verified configuration, else the plain one."""
        if self.choice is None or self.verdict is None:
            return None if self.choice is None else self.choice.plain
        known = (self.choice.plain, self.choice.safe, *self.choice.runners_up, self.choice.best)
        key = self.verdict.key
        return next((c for c in (*known, self.choice.baseline) if c is not None and c.key == key), None)

    @property
    def answer_key(self) -> str:
        """The text of the configuration that the page is about; empty where there is none."""
        return self.verdict.key if self.verdict else self.chosen.key if self.chosen else ""

    @property
    def target(self) -> float:
        """The precision that was asked for; NaN without one."""
        return self.verdict.target if self.verdict else self.choice.target if self.choice else math.nan

    @property
    def unit(self) -> str:
        """What stands behind a complexity."""
        return self.cost.unit or self.cost.name

    @cached_property
    def notation(self) -> Notation:
        """How precisions and complexities are written on the page."""
        known = self.samples.precision[np.isfinite(self.samples.precision)]
        best = [float(known.max())] if len(known) else []
        return Notation.of(
            choice=self.choice, verdict=self.verdict, others=best, unit=self.unit, metric=self.metric
        )

    @cached_property
    def means(self) -> Means:
        """The trainings gathered by configuration; failed ones are left out."""
        rows = np.flatnonzero(np.isfinite(self.samples.precision))
        X = self.samples.X[rows]
        known = np.full(len(self.samples), np.nan) if self.complexity is None else self.complexity
        complexity, precision = np.asarray(known, dtype=np.float64)[rows], self.samples.precision[rows]
        places: dict[str, list[int]] = {}
        for row, configuration in enumerate(self.space.configurations(X)):
            places.setdefault(self.space.key(configuration), []).append(row)
        groups = list(places.values())
        return Means(
            tuple(places),
            X[[group[0] for group in groups]],
            np.array([precision[group].mean() for group in groups]),
            np.array([precision[group].min() for group in groups]),
            np.array([precision[group].max() for group in groups]),
            np.array([len(group) for group in groups], dtype=np.int64),
            np.array([complexity[group].mean() for group in groups]),
        )

    def hover(self, key: str, said: str, complexity: float = math.nan) -> str:
        """T, P and C of a point, and C relative to the baseline, one line each, for a figure."""
        lines = [f"<b>T</b>  {plain(spaced(key))}", f"<b>P</b>  {plain(said)}"]
        if math.isfinite(complexity):
            lines.append(f"<b>C</b>  {plain(self.notation.C(complexity))}")
            if math.isfinite(self.base):
                lines.append(f"      {numbers.share(complexity / self.base)} of the baseline")
        return "<br>".join(lines)

    def measured_hover(self, row: SupportsIndex) -> str:
        """The same of a row of `means`."""
        means, n = self.means, self.notation
        said = f"{n.P(means.mean[row])} measured, {numbers.count(int(means.seeds[row]), 'training')}"
        if means.seeds[row] > 1:
            said += f" from {n.between(means.low[row], means.high[row])}"
        return self.hover(means.keys[row], said, means.complexity[row])

    def role(self, key: str) -> str:
        """``answer``, ``baseline``, or empty."""
        return "answer" if key == self.answer_key else "baseline" if key == self.baseline_key else ""

    def on_plane(self, X: Floats, columns: Sequence[int]) -> NDArray[np.bool_]:
        """Rows of X that leave the baseline in these columns at most, and in what exists only with them."""
        base = self.space.matrix([self.space.baseline])
        same = (base == X) | np.isnan(X) | np.isnan(base)
        same[:, columns] = ~np.isnan(X[:, columns])
        return np.asarray(same.all(axis=1), dtype=bool)


def plain(text: str) -> str:
    """Text that Plotly shows as it is: it takes tags and entities for its own.

    >>> plain("<b>a & b</b>")
    '&lt;b&gt;a &amp; b&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def spaced(key: str) -> str:
    """A configuration's text, or any other with one in it, with room for the ends of lines.

    >>> spaced("1,200 of f=8,s=28")
    '1,200 of f=8, s=28'
    """
    return re.sub(r",(?=[^\s,=]+=)", ", ", key)


def key_text(space: Space, row: Iterable[float]) -> str:
    """The text of one row of X, inside the space or (a drawing's grid) between its values."""
    parts = []
    for parameter, code in zip(space.parameters, row, strict=True):
        if math.isnan(code):
            continue
        if parameter.categorical and code in parameter.codes:
            parts.append(f"{parameter.name}={parameter.value(code)}")
        else:
            parts.append(f"{parameter.name}={code:.6g}")
    return ",".join(parts)
