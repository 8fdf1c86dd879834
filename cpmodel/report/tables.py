"""The tables of the page, as text: the same numbers as the figures, for those who read rather than look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cpmodel import numbers
from cpmodel.costs.describe import Described
from cpmodel.metrics import FIGURES
from cpmodel.optimize import Candidate
from cpmodel.report.agreement import Fit
from cpmodel.report.page import Page, Table
from cpmodel.report.words import comparison

MOST_ROWS = 2_000  # more are in samples.csv, which is beside the page
_KEPT_APART = "metric_"  # what columns of figures of the whole split begin with


def samples_table(page: Page) -> Table:
    """Every training in the order of the samples table, at most `MOST_ROWS`."""
    frame, total = page.samples.frame.head(MOST_ROWS), len(page.samples)
    columns: list[tuple[str, Iterable[str], bool]] = [
        (name, ["" if value != value else numbers.text_of(value) for value in frame[name]], True)
        for name in page.space.names
    ]
    columns.append(("seed", map(str, frame["seed"]), True))
    columns.append((page.metric.label, map(page.notation.P, frame["precision"]), True))
    for column in frame.columns:
        if column.startswith(_KEPT_APART):
            name = column.removeprefix(_KEPT_APART)
            unit = FIGURES[name].unit if name in FIGURES else ""
            columns.append((name, [_figure(value, unit, page) for value in frame[column]], True))
    if page.complexity is not None:
        columns.append((page.cost.name, map(page.notation.C, page.complexity[: len(frame)]), True))
    if (frame["train_s"] > 0).any():
        columns.append(("training", [f"{seconds:.1f} s" for seconds in frame["train_s"]], True))
    for name in ("split", "status", "purpose", "reason"):
        cells = [str(cell) for cell in frame[name]]
        # a column that says the same of every training says nothing, unless it says failed
        if len(set(cells)) > 1 or "failed" in cells:
            columns.append((name, cells, False))
    some = f"The first {MOST_ROWS:,} of {total:,} trainings"
    return table(some if total > MOST_ROWS else f"All {total:,} trainings", columns)


def _figure(value: float, unit: str, page: Page) -> str:
    """A figure of a whole split in its own unit."""
    if unit == "%" or not math.isfinite(value):
        return numbers.percent(value, page.notation.digits)
    return f"{value:.4g} {unit}".strip()


def envelope_table(page: Page) -> Table | None:
    """C(P): the least complexity for each precision."""
    curve, n = page.envelope, page.notation
    if curve is None or not len(curve.precision):
        return None
    return table(
        "The envelope: the least complexity that reaches each precision, predicted",
        [
            (f"{page.metric.label} up to", map(n.P, curve.precision), True),
            ("interval", map(n.between, curve.low, curve.high), True),
            (page.cost.name, map(n.C, curve.complexity), True),
            ("relative", map(numbers.share, curve.relative), True),
            ("configuration", [page.space.key(c) for c in curve.configurations], False),
        ],
    )


def band_table(page: Page) -> Table | None:
    """C(P) with its band at some precisions."""
    curve = page.curve
    if curve is None:
        return None

    def cost(value: float) -> str:
        return page.notation.C(value) if math.isfinite(value) else "none"

    ends = [f"{cost(low)} to {cost(high)}" for low, high in zip(curve.low, curve.high, strict=True)]
    return table(
        "The least complexity of each precision, and the band in which it lies",
        [
            (page.metric.label, map(page.notation.P, curve.targets), True),
            (page.cost.name, map(cost, curve.least), True),
            ("relative", [numbers.share(c / curve.unit) if c == c else "" for c in curve.least], True),
            (f"{numbers.percent(curve.level, 0)} band", ends, True),
            ("can be reached", [numbers.percent(p, 0) for p in curve.reachable], True),
            ("cheapest, predicted", [key or "none" for key in curve.keys], False),
        ],
    )


def candidates_table(page: Page) -> Table | None:
    """The choice's answers and the runners-up; None where there is none."""
    choice, n = page.choice, page.notation
    if choice is None:
        return None
    sure = f"cheapest at {numbers.percent(choice.confidence, 0)} probability"
    named: list[tuple[str, Candidate | None]] = [("cheapest predicted to reach it", choice.plain)]
    named += [("runner-up", candidate) for candidate in choice.runners_up]
    named += [(sure, choice.safe), ("highest precision", choice.best), ("baseline", choice.baseline)]
    rows = [(role, candidate) for role, candidate in named if candidate is not None]
    found = [candidate for _, candidate in rows]
    return table(
        "Candidates as the models see them",
        [
            ("", [role for role, _ in rows], False),
            ("configuration", [c.key for c in found], False),
            (page.metric.label, [n.P(c.precision) for c in found], True),
            (f"{numbers.percent(choice.level, 0)} interval", [n.between(c.low, c.high) for c in found], True),
            ("reaches target", [numbers.percent(c.probability, 0) for c in found], True),
            (page.cost.name, [n.C(c.complexity) for c in found], True),
            ("relative", [numbers.share(c.relative) for c in found], True),
        ],
    )


def comparison_table(page: Page) -> Table | None:
    """Baseline against answer; None without an answer."""
    rows = comparison(page)
    if not rows:
        return None
    columns = (
        ("baseline", [r.baseline for r in rows]),
        ("answer", [r.answer for r in rows]),
        ("difference", [r.difference for r in rows]),
    )
    return table(
        "", [("", [r.label for r in rows], False), *((name, cells, True) for name, cells in columns)]
    )


def attempts_table(page: Page) -> Table | None:
    """Candidates that were tried on fresh seeds."""
    tried, n = page.evidence, page.notation
    if not tried:
        return None
    return table(
        f"Candidates tried on fresh seeds, {page.metric.label} on validation",
        [
            ("configuration", [e.key for e in tried], False),
            ("mean", [n.P(e.mean) if e.precisions else numbers.UNKNOWN for e in tried], True),
            ("seeds", [" ".join(map(n.P, e.precisions)) for e in tried], False),
            ("", ["stood" if e.stands else "fell" if e.fallen else "open" for e in tried], False),
        ],
    )


def coefficients_table(fit: Fit) -> Table | None:
    """The coefficients of a model; None where it has none."""
    coefficients = fit.model.coefficients_
    if not coefficients:
        return None
    return table(
        f"Coefficients of {fit.name}",
        [
            ("coefficient", [c.name for c in coefficients], False),
            ("value", [numbers.number(c.value) for c in coefficients], True),
            ("standard error", [numbers.number(c.standard_error) for c in coefficients], True),
        ],
    )


def measured_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Measured costs with their conditions and how they are spread, each of `rows` one cost of a table."""
    listed = list(rows)
    columns = [(name, [str(row[name]) for row in listed], False) for name in ("cost", "conditions")]
    columns.append(("configurations", [str(row["configurations"]) for row in listed], True))
    for name in ("least", "median", "most"):
        columns.append((name, [numbers.amount(row[name], row["unit"]) for row in listed], True))
    return table("", columns)


def described_table(described: Described, *, counted: bool) -> Table:
    """The computed costs of a configuration, what was counted on its network, and well-known networks'."""
    figures = described.figures

    def beside(known: Mapping[str, float]) -> list[str]:
        return [f"{known[f.cost.name]:,.0f}" if f.cost.name in known else "" for f in figures]

    found = ["unknown" if f.counted is None else f"{f.counted:,.0f}" for f in figures]
    return table(
        ",".join(f"{name}={value}" for name, value in described.configuration.items()),
        [
            ("cost", [f.cost.name for f in figures], False),
            ("value", [f"{f.value:,.0f}" for f in figures], True),
            ("unit", [f.cost.unit for f in figures], False),
            ("", ["" if f.cost.label == f.cost.name else f.cost.label for f in figures], False),
            ("counted", found if counted else [], True),
            *((name, beside(known), True) for name, known in described.references.items()),
        ],
    )


def space_table(page: Page) -> Table:
    """The parameters, their values, and the baseline."""
    space = page.space
    ruling = {
        p.name: [v for v in space[p.when.parameter].values if v in p.when.values]
        for p in space.parameters
        if p.when is not None
    }
    there = [p for p in space.parameters if ruling.get(p.name, True)]  # others never apply
    needs = [f"{p.when.parameter} {' '.join(map(str, ruling[p.name]))}" if p.when else "" for p in there]
    return table(
        f"The space: {space.size:,} configurations",
        [
            ("parameter", [p.name for p in there], False),
            ("meaning", [", ".join(t for t in (p.meaning, p.unit) if t) for p in there], False),
            ("values", [" ".join(map(str, p.values)) for p in there], False),
            ("only at", needs, False),
            ("baseline", [str(space.baseline.get(p.name, "")) for p in there], True),
        ],
    )


def table(caption: str, columns: Sequence[tuple[str, Iterable[str], bool]]) -> Table:
    """A table of these columns: name, cells, and whether they are numbers."""
    listed = [(name, tuple(cells), numeric) for name, cells, numeric in columns]
    # a column without a single entry (no meanings, say) is left out
    kept = [column for column in listed if any(column[1])]
    return Table(
        caption,
        tuple(name for name, _, _ in kept),
        tuple(zip(*(cells for _, cells, _ in kept), strict=True)),
        tuple(numeric for _, _, numeric in kept),
    )
