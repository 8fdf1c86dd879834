"""The tables of the page, as text: the same numbers as the figures, for those who read rather than look."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cpmodel.optimize import Candidate
from cpmodel.report.content import FitView, ReportContent, Table
from cpmodel.report.display import amount, number, percent, quantity, share, value_text
from cpmodel.space import Floats

MOST_ROWS = 2_000  # more are in samples.csv, which is beside the page


def samples_table(content: ReportContent, digits: int) -> Table:
    """Every training in the order of the samples table, at most `MOST_ROWS`."""
    samples = content.samples
    frame, total = samples.frame.head(MOST_ROWS), len(samples)
    names, metrics = list(samples.space.names), [n for n in frame.columns if n.startswith("metric_")]
    columns: list[tuple[str, list[str], bool]] = [
        (name, ["" if value != value else value_text(value) for value in frame[name]], True) for name in names
    ]
    columns.append(("seed", [str(seed) for seed in frame["seed"]], True))
    columns.append(("precision", [percent(p, digits) for p in frame["precision"]], True))
    for name in metrics:
        columns.append((name.removeprefix("metric_"), [percent(p, digits) for p in frame[name]], True))
    if content.sample_complexity is not None:
        unit = quantity(content.complexity, content.unit).unit
        costs = [amount(c, unit) for c in content.sample_complexity[: len(frame)]]
        columns.append((content.complexity, costs, True))
    if (frame["train_s"] > 0).any():
        columns.append(("training", [f"{seconds:.1f} s" for seconds in frame["train_s"]], True))
    for name in ("split", "status", "purpose", "reason"):
        cells = [str(cell) for cell in frame[name]]
        # a column that says the same of every training says nothing, unless it says failed
        if len(set(cells)) > 1 or "failed" in cells:
            columns.append((name, cells, False))
    caption = (
        f"All {total:,} trainings"
        if total <= MOST_ROWS
        else f"The first {MOST_ROWS:,} of {total:,} trainings"
    )
    return _table(caption, columns)


def envelope_table(content: ReportContent, digits: int) -> Table | None:
    """C(P): the least complexity for each precision."""
    curve = content.envelope
    if curve is None or not len(curve.precision):
        return None
    unit = quantity(content.complexity, content.unit).unit
    keys = [content.space.key(c).replace(",", ", ") for c in curve.configurations]
    return _table(
        "The envelope: the least complexity that reaches each precision, predicted",
        [
            ("precision up to", [percent(p, digits) for p in curve.precision], True),
            ("interval", _intervals(curve.low, curve.high, digits), True),
            (content.complexity, [amount(c, unit) for c in curve.complexity], True),
            ("relative", [share(r) for r in curve.relative], True),
            ("configuration", keys, False),
        ],
    )


def band_table(content: ReportContent, digits: int) -> Table | None:
    """C(P) with its band at some precisions."""
    curve = content.band
    if curve is None:
        return None
    unit = quantity(content.complexity, content.unit).unit

    def cost(value: float) -> str:
        return amount(value, unit) if math.isfinite(value) else "none"

    ends = [f"{cost(low)} to {cost(high)}" for low, high in zip(curve.low, curve.high, strict=True)]
    return _table(
        "The least complexity of each precision, and the band in which it lies",
        [
            ("precision", [percent(p, digits) for p in curve.targets], True),
            (content.complexity, [cost(c) for c in curve.least], True),
            ("relative", [share(c / curve.unit) if c == c else "" for c in curve.least], True),
            (f"{percent(curve.level, 0)} band", ends, True),
            ("can be reached", [percent(p, 0) for p in curve.reachable], True),
            ("cheapest, predicted", [k.replace(",", ", ") or "none" for k in curve.keys], False),
        ],
    )


def candidates_table(content: ReportContent, digits: int) -> Table | None:
    """The choice's answers and the runners-up; None where there is none."""
    choice = content.choice
    if choice is None:
        return None
    named: list[tuple[str, Candidate]] = []
    if choice.plain is not None:
        named.append(("cheapest predicted to reach it", choice.plain))
    named += [("runner-up", candidate) for candidate in choice.runners_up]
    if choice.safe is not None:
        named.append((f"cheapest at {percent(choice.confidence, 0)} probability", choice.safe))
    named += [("highest precision", choice.best), ("baseline", choice.baseline)]
    rows = [candidate for _, candidate in named]
    unit = quantity(content.complexity, content.unit).unit
    return _table(
        "Candidates as the models see them",
        [
            ("", [role for role, _ in named], False),
            ("configuration", [c.key.replace(",", ", ") for c in rows], False),
            ("precision", [percent(c.precision, digits) for c in rows], True),
            (f"{percent(choice.level, 0)} interval", [_interval(c.low, c.high, digits) for c in rows], True),
            ("reaches target", [percent(c.probability, 0) for c in rows], True),
            (content.complexity, [amount(c.complexity, unit) for c in rows], True),
            ("relative", [share(c.relative) for c in rows], True),
        ],
    )


def attempts_table(content: ReportContent, digits: int) -> Table | None:
    """Candidates that were tried on fresh seeds."""
    attempts = content.attempts
    if not attempts:
        return None
    means = [float(np.mean(a.precisions)) if a.precisions else math.nan for a in attempts]
    return _table(
        "Candidates tried on fresh seeds, precision on validation",
        [
            ("configuration", [a.key.replace(",", ", ") for a in attempts], False),
            ("mean", [percent(mean, digits) for mean in means], True),
            ("seeds", [" ".join(percent(p, digits) for p in a.precisions) for a in attempts], False),
            ("", ["stood" if a.stood else "fell" for a in attempts], False),
        ],
    )


def coefficients_table(fit: FitView) -> Table | None:
    """The coefficients of a model."""
    if not fit.coefficients:
        return None
    return _table(
        f"Coefficients of {fit.name}",
        [
            ("coefficient", [c.name for c in fit.coefficients], False),
            ("value", [number(c.value) for c in fit.coefficients], True),
            ("standard error", [number(c.standard_error) for c in fit.coefficients], True),
        ],
    )


def space_table(content: ReportContent) -> Table:
    """The parameters, their values, and the baseline."""
    space = content.space
    return _table(
        f"The space: {space.size:,} configurations",
        [
            ("parameter", [p.name for p in space.parameters], False),
            ("meaning", [", ".join(t for t in (p.meaning, p.unit) if t) for p in space.parameters], False),
            ("values", [" ".join(map(str, p.values)) for p in space.parameters], False),
            ("baseline", [str(space.baseline.get(p.name, "")) for p in space.parameters], True),
        ],
    )


def _table(caption: str, columns: Sequence[tuple[str, Sequence[str], bool]]) -> Table:
    # a column without a single entry (no meanings, say) is left out
    kept = [column for column in columns if any(column[1])]
    return Table(
        caption,
        tuple(name for name, _, _ in kept),
        tuple(zip(*(cells for _, cells, _ in kept), strict=True)),
        tuple(numeric for _, _, numeric in kept),
    )


def _intervals(low: Floats, high: Floats, digits: int) -> list[str]:
    return [_interval(a, b, digits) for a, b in zip(low, high, strict=True)]


def _interval(low: float, high: float, digits: int) -> str:
    return f"{percent(low, digits)} to {percent(high, digits)}"
