"""Everything a report shows, as plain values: nothing here knows a fitted model, a network or a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpmodel.errors import BadInputError
from cpmodel.optimize import Candidate, Choice, Cloud, Envelope
from cpmodel.pipeline.curve import Curve
from cpmodel.samples import Samples
from cpmodel.space import Floats, Space
from cpmodel.verify import ERROR, Comparison, Outcome, Verdict


@dataclass(frozen=True)
class DataFacts:
    """What the images are.

    Parameters
    ----------
    name : str
        What the user called them.
    image_shape : tuple of int, or None
        Height, width, channels.
    class_names : tuple of str
    split_sizes : mapping
        Images in each split.
    notes : tuple of str
        What was done to them on loading.
    """

    name: str
    image_shape: tuple[int, int, int] | None = None
    class_names: tuple[str, ...] = ()
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Saving:
    """One kind of complexity of the answer, and the same divided by the baseline's."""

    value: float
    relative: float


@dataclass(frozen=True)
class VerdictView:
    """The proof for one configuration, as the page shows it.

    Parameters
    ----------
    status : {"reached", "missed", "undecided"}
    key : str
        The configuration, ``f=8,s=28,k=3,l=2``.
    target, level : float
        Fractions.
    validation, test : tuple of float
        Precision of each fresh seed's network.
    low, high : float
        Interval of the test precision over seeds and images, at `level`.
    n_images : int
        In the test split.
    savings : mapping
        Name of a complexity (``macs``, ``latency_s``, ...) -> its `Saving`; with that of the report's own
        complexity among them the verified answer appears in the cloud.
    groups : int or None
        Independent groups (persons) among the images, where there are groups.
    opening : int
        Which opening of the study's test split it rests on, from 1.
    error : float
        The study's stated error, of which that opening spends 1 - `level`.
    comparison : Comparison or None
        With the baseline's own networks, where the target was given as a drop.
    """

    status: Outcome
    key: str
    target: float
    validation: tuple[float, ...]
    test: tuple[float, ...]
    low: float
    high: float
    level: float
    n_images: int
    savings: Mapping[str, Saving] = field(default_factory=dict)
    groups: int | None = None
    opening: int = 1
    error: float = ERROR
    comparison: Comparison | None = None

    @classmethod
    def of(cls, verdict: Verdict, savings: Mapping[str, Saving]) -> VerdictView:
        """The view of a `Verdict`."""
        return cls(
            verdict.status,
            verdict.key,
            verdict.target,
            verdict.validation,
            verdict.test,
            verdict.interval.low,
            verdict.interval.high,
            verdict.interval.level,
            verdict.test_images,
            dict(savings),
            verdict.groups,
            verdict.opening,
            verdict.error,
            verdict.comparison,
        )

    @property
    def validation_mean(self) -> float:
        """Mean over seeds; NaN without seeds."""
        return float(np.mean(self.validation)) if self.validation else math.nan

    @property
    def test_mean(self) -> float:
        """Mean over seeds; NaN without seeds."""
        return float(np.mean(self.test)) if self.test else math.nan


@dataclass(frozen=True)
class Attempt:
    """A candidate that was trained on fresh seeds, whether it stood or not; `precisions` on validation."""

    key: str
    precisions: tuple[float, ...]
    stood: bool


@dataclass(frozen=True)
class CoefficientView:
    """One fitted number; None for a standard error that cannot be told."""

    name: str
    value: float
    standard_error: float | None


@dataclass(frozen=True, eq=False)
class FitView:
    """A fitted model against what was measured.

    Parameters
    ----------
    name : str
        Of the model, in words.
    quantity : str
        What is modelled: ``precision``, or the name of a complexity (``latency_s``, ...). Unless given, it
        is precision for a precision fit, and the report's complexity for a complexity fit.
    unit : str
        Of that complexity; may be left empty for known names.
    conditions : str
        What it was measured under.
    relative_error, checked_relative_error : float
        Mean of |predicted - measured| / measured on the rows it was fitted to, and on rows it had not seen;
        NaN where unknown.
    checked_within_10 : float
        Share of the latter within 10 %; NaN where unknown or of no interest.
    checked_by : str
        How those were kept apart: ``cross-validation``, ``held-out configurations``.
    measured, predicted : shape (n,)
        Of each row; NaN where there is no prediction. In the unit of what was modelled.
    low, high : shape (n,), or None
        Interval of a new measurement at `level`.
    keys : sequence of str
        The rows' configurations; n of them, or none.
    held_out : shape (n,), bool, or None
        Rows whose prediction comes from a model that had not seen them; None: all of them.
    noise : float
        Standard deviation of one training about its mean over seeds (of one measurement about its median).
    why : str
        Why this model was chosen, a sentence.
    formula : str
        What the coefficients belong to, as text.
    notes : sequence of str
        What the data cannot support.
    """

    name: str
    relative_error: float
    checked_relative_error: float
    measured: Floats
    predicted: Floats
    low: Floats | None = None
    high: Floats | None = None
    level: float = 0.9
    keys: Sequence[str] = ()
    held_out: NDArray[np.bool_] | None = None
    checked_by: str = "cross-validation"
    checked_within_10: float = math.nan
    noise: float = math.nan
    quantity: str = ""
    unit: str = ""
    conditions: str = ""
    why: str = ""
    formula: str = ""
    coefficients: tuple[CoefficientView, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("predicted", "low", "high", "held_out"):
            _require_length(f"fit {self.name}: {name}", getattr(self, name), len(self.measured))
        _require_length(f"fit {self.name}: keys", self.keys or None, len(self.measured))


@dataclass(frozen=True, eq=False)
class CurveView:
    """P along one parameter, the others at the baseline.

    Parameters
    ----------
    parameter : str
    X : shape (m, d)
        Where P was predicted; `line` makes it.
    predicted : shape (m,)
    low, high : shape (m,), or None
        Interval at `level` of what the curve is said to be (a new training, or the mean over seeds).
    """

    parameter: str
    X: Floats
    predicted: Floats
    low: Floats | None = None
    high: Floats | None = None
    level: float = 0.9

    def __post_init__(self) -> None:
        for name in ("predicted", "low", "high"):
            _require_length(f"curve {self.parameter}: {name}", getattr(self, name), len(self.X))


@dataclass(frozen=True, eq=False)
class SurfaceView:
    """P over two parameters, the others at the baseline.

    Parameters
    ----------
    parameters : two names
        The one drawn along, and the one drawn up.
    X : shape (m, d)
        Where P was predicted, a full grid of the two.
    predicted : shape (m,)
    """

    parameters: tuple[str, str]
    X: Floats
    predicted: Floats

    def __post_init__(self) -> None:
        _require_length(f"surface {' '.join(self.parameters)}: predicted", self.predicted, len(self.X))


@dataclass(frozen=True)
class Table:
    """A table as text.

    Parameters
    ----------
    caption : str
    columns : names, d of them
    rows : n rows of d cells
    numeric : d of bool
        Columns that are set flush right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


@dataclass(frozen=True)
class CostLine:
    """One complexity of the baseline and of the answer; NaN where unknown.

    Parameters
    ----------
    name : str
        ``macs``, ``params``, ``weight_bytes``, ``activation_elements``, ``latency_s``, ...
    conditions : str
        What it was measured under; empty for what is computed.
    """

    name: str
    baseline: float
    answer: float
    conditions: str = ""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a page shows. Whatever is None, empty or NaN is left out of it.

    Parameters
    ----------
    title : str
    space : Space
    samples : Samples
    data : DataFacts or None
    family : str
    recipe : mapping
        Fields of the recipe, in words or numbers.
    machine, generated_at, command : str
        Where, when and by what the study was made.
    complexity, unit : str
        Name of the complexity that is minimised and drawn; the unit may be left empty for known names.
    conditions : str
        What it was measured under, where it is measured.
    baseline_complexity : float
        What relative complexity refers to; the choice's baseline unless given.
    sample_complexity : shape (len(samples),), or None
        Complexity of each row of `samples`; the table's own column of that name unless given.
    cloud : Cloud or None
        Configurations, their complexity and predicted precision.
    paper : Cloud or None
        The paper's own grid, where it is wanted as a drawing.
    envelope : Envelope or None
        The choice's unless given.
    choice : Choice or None
    answer : Candidate or None
        What the models say of the configuration that the page is about; unless given, the choice's
        candidate that was verified, or without a verdict its plain answer.
    verdict : VerdictView or None
    attempts : tuple of Attempt
        Candidates tried on fresh seeds, in order.
    band : Curve or None
        C(P) with its band, where the whole curve was asked for.
    precision_fit : FitView or None
    paper_fit : FitView or None
        Eq. 6 on the same trainings, to compare with.
    complexity_fits : tuple of FitView
        Models of one measured complexity (their `quantity`) beside each other, the one that is used first.
    curves : tuple of CurveView
    surfaces : tuple of SurfaceView
    costs : tuple of CostLine
    tables : tuple of Table
        Further ones, shown as they are.
    wall_s : float
        Seconds from start to end, waiting included; NaN where unknown.
    notes : tuple of str
        Warnings and remarks.
    """

    title: str
    space: Space
    samples: Samples
    data: DataFacts | None = None
    family: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""
    generated_at: str = ""
    command: str = ""
    complexity: str = "macs"
    unit: str = ""
    conditions: str = ""
    baseline_complexity: float = math.nan
    sample_complexity: Floats | None = None
    cloud: Cloud | None = None
    paper: Cloud | None = None
    envelope: Envelope | None = None
    choice: Choice | None = None
    answer: Candidate | None = None
    verdict: VerdictView | None = None
    attempts: tuple[Attempt, ...] = ()
    band: Curve | None = None
    precision_fit: FitView | None = None
    paper_fit: FitView | None = None
    complexity_fits: tuple[FitView, ...] = ()
    curves: tuple[CurveView, ...] = ()
    surfaces: tuple[SurfaceView, ...] = ()
    costs: tuple[CostLine, ...] = ()
    tables: tuple[Table, ...] = ()
    wall_s: float = math.nan
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settled: dict[str, Any] = {}
        if self.choice is not None:
            if self.envelope is None:
                settled["envelope"] = self.choice.envelope
            if self.answer is None:
                settled["answer"] = self._answer(self.choice)
            if math.isnan(self.baseline_complexity):
                settled["baseline_complexity"] = self.choice.baseline.complexity
        if self.sample_complexity is None and self.complexity in self.samples.cost_names:
            settled["sample_complexity"] = self.samples.cost(self.complexity)
        for name in ("precision_fit", "paper_fit"):
            fit: FitView | None = getattr(self, name)
            if fit is not None and not fit.quantity:
                settled[name] = replace(fit, quantity="precision")
        settled["complexity_fits"] = tuple(
            fit if fit.quantity else replace(fit, quantity=self.complexity, unit=self.unit)
            for fit in self.complexity_fits
        )
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        _require_length("sample_complexity", self.sample_complexity, len(self.samples))

    def _answer(self, choice: Choice) -> Candidate | None:
        if self.verdict is None:
            return choice.plain
        known = (choice.plain, choice.safe, *choice.runners_up, choice.best, choice.baseline)
        return next((c for c in known if c is not None and c.key == self.verdict.key), None)

    @property
    def baseline_key(self) -> str:
        """The text of the baseline's configuration."""
        return self.space.key(self.space.baseline)


def plane(space: Space, names: tuple[str, str], points: int = 24) -> Floats:
    """Where to predict a 2-D surface: X over a grid of two parameters, the others at the baseline.

    Parameters
    ----------
    points : int
        About how many along each; the parameters' own values are always among them.

    Returns
    -------
    X : shape (m, d)
        Empty where one of the two cannot vary at the baseline.
    """
    first, second = (line(space, name, points) for name in names)
    columns = [space.names.index(name) for name in names]
    X = np.repeat(first, len(second), axis=0)
    X[:, columns[1]] = np.tile(second[:, columns[1]], len(first))
    return X


def line(space: Space, name: str, points: int = 60) -> Floats:
    """Where to predict a 1-D curve: X along one parameter, the others at the baseline.

    Parameters
    ----------
    points : int
        About how many; the parameter's own values are always among them. A categorical one has only those.

    Returns
    -------
    X : shape (m, d)
        Empty where the baseline has no such parameter (it is inactive) or it takes one value only.

    Examples
    --------
    >>> from cpmodel.space import Parameter
    >>> line(Space((Parameter("f", (2, 8)), Parameter("k", (3, 5)))), "f", points=3)
    array([[2., 5.],
           [4., 5.],
           [8., 5.]])
    """
    parameter = space[name]
    codes = np.array([parameter.code(value) for value in parameter.values])
    base = space.matrix([space.baseline])
    column = space.names.index(name)
    if len(codes) < 2 or np.isnan(base[0, column]):
        return np.empty((0, len(space.parameters)))
    if not parameter.categorical:
        between = np.geomspace if codes[0] > 0 else np.linspace
        codes = np.unique(np.concatenate([codes, np.round(between(codes[0], codes[-1], points), 9)]))
    X = np.repeat(base, len(codes), axis=0)
    X[:, column] = codes
    return X


def _require_length(what: str, values: Any, n: int) -> None:
    if values is not None and len(values) != n:
        raise BadInputError(what, expected=f"{n} of them", got=len(values))
