"""Results on standard output: the words and tables of the page for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from cpmodel.cli.options import Given
from cpmodel.codec import dump
from cpmodel.cost import Cost
from cpmodel.costs.describe import Described
from cpmodel.costs.table import CostsTable
from cpmodel.numbers import text_of
from cpmodel.optimize import Choice
from cpmodel.pipeline import wording
from cpmodel.pipeline.answer import Answer
from cpmodel.pipeline.curve import Curve
from cpmodel.pipeline.stages import Fits
from cpmodel.report import tables
from cpmodel.report.agreement import Fit, errors_text
from cpmodel.report.build import page_of
from cpmodel.report.page import Table
from cpmodel.report.words import comparison, told
from cpmodel.samples import Samples
from cpmodel.study import Source

DONE, NOT_REACHED = 0, 1


def show(given: Given, source: Source | None, result: Any, wall_s: float) -> int:
    """Print what a command ends with, as JSON where that is wanted; its exit code."""
    if source is not None and isinstance(result, (Choice, Fits)):
        _note([*source.samples().notes, *getattr(result, "notes", ())])
    if given["json"]:
        print(json.dumps(plain(result, source), indent=2, ensure_ascii=False, allow_nan=False))
        return DONE if reached(result) else NOT_REACHED
    tell(result, source, given)
    if source is not None and isinstance(result, (Answer, Curve)):
        effort = wording.effort_text(result.trainings, result.train_s, wall_s=wall_s)
        _say(f"{effort}; report: {source.page}")
    if isinstance(result, (Choice, CostsTable)) and given["out"] is not None:
        _say(f"written: {given['out']}")
    return DONE if reached(result) else NOT_REACHED


def reached(result: Any) -> bool:
    """Whether a result is what was asked for."""
    match result:
        case Answer(status="missed" | "not proved") | Curve(keys=("", *_)) | Choice(status="unreachable"):
            return False
        case Described():
            return result.agrees
    return True


def plain(result: Any, source: Source | None) -> Any:
    """A result as JSON-ready values."""
    match result:
        case Fits():
            return result.to_dict()
        case Samples():
            return _counts(result, source)
        case CostsTable():
            return [_spread(result, cost) for cost in result.kinds]
        case Described():
            costs = [{**dump(f.cost), "value": f.value, "counted": f.counted} for f in result.figures]
            whole = {"configuration": dump(result.configuration), "costs": costs, "unseen": result.unseen}
            return whole | ({"references": result.references} if result.references else {})
    return dump(result)


def _counts(samples: Samples, source: Any) -> dict[str, Any]:
    usable = samples.usable
    best = int(usable.precision.argmax()) if len(usable) else None
    return {
        "samples": len(samples),
        "failed": samples.failed,
        "configurations": len(set(samples.keys)),
        "best": None if best is None else float(usable.precision[best]),
        "best_configuration": None if best is None else usable.keys[best],
        "train_s": float(samples.frame["train_s"].sum()),
        "file": str(source.folder / "samples.csv"),
    }


def _spread(table: CostsTable, cost: Cost) -> dict[str, Any]:
    values = table.matching(cost).values
    told = {"least": values.min(), "median": np.median(values), "most": values.max()}
    row = {"cost": cost.name, "unit": cost.unit, "conditions": str(cost.conditions)}
    return {**row, "configurations": len(values)} | {name: float(value) for name, value in told.items()}


@singledispatch
def tell(result: Any, source: Any, given: Given) -> None:
    """Print a result for people: a file, or several by their names."""
    print(*(result.values() if isinstance(result, dict) else [result]), sep="\n")


@tell.register
def _(answer: Answer, source: Source, given: Given) -> None:
    page = page_of(source.material(), answer=answer)
    if answer.verdict is None and answer.choice.plain is not None:
        _say(f"Not proved: {answer.reason}.")
    _say(*told(page)[1])
    _table(tables.comparison_table(page))
    _say(*(f"{row.label}: {row.detail}" for row in comparison(page) if row.detail))
    _table(tables.attempts_table(page))
    if answer.outlook is not None:
        _say(wording.outlook_text(answer.outlook))


@tell.register
def _(curve: Curve, source: Source, given: Given) -> None:
    page = page_of(source.material(), curve=curve, complexity=curve.complexity)
    _say(f"C(P) is {'known' if curve.status == 'settled' else 'open'}: {curve.reason}.", *told(page)[1])
    _table(tables.band_table(page))


@tell.register
def _(choice: Choice, source: Source, given: Given) -> None:
    page = page_of(source.material(), choice=choice)
    _say(*told(page)[1])
    _table(tables.candidates_table(page))


@tell.register
def _(fits: Fits, source: Source, given: Given) -> None:
    models: list[tuple[str, Fit | None]] = [("P(T)", fits.precision), ("P(T)", fits.paper)]
    if fits.latency is not None:
        what = f"C(T), {fits.latency.cost.label} ({fits.latency.cost.conditions})"
        models += [(what, fits.latency.fit), (what, fits.latency.eq1)]
    for what, fit in models:
        if fit is not None:
            warnings = (f"Warning: {warning}" for warning in fit.warnings)
            _say(f"{what}: the model {fit.name}. {errors_text(fit)}", fit.why, *warnings)
            _table(tables.coefficients_table(fit))


@tell.register
def _(samples: Samples, source: Source, given: Given) -> None:
    _say(*(f"{name.replace('_', ' ')}: {text_of(value)}" for name, value in plain(samples, source).items()))


@tell.register
def _(costs: CostsTable, source: None, given: Given) -> None:
    _table(tables.measured_table(plain(costs, source)))


@tell.register
def _(described: Described, source: None, given: Given) -> None:
    _table(tables.described_table(described, counted=given["check"]))
    if described.unseen:
        _note([f"multiplications that the count cannot see: {', '.join(described.unseen)}"])
    if not described.agrees:
        _say("What was counted on the built network is not what the family computes.")


def _table(shown: Table | None) -> None:
    """Print a table as wide as it must be: a number cut short is worse than a line that wraps."""
    if shown is None:
        return
    drawn = Grid(box=box.SIMPLE_HEAD, title=shown.caption or None, title_justify="left", pad_edge=False)
    for name, numeric in zip(shown.columns, shown.numeric, strict=True):
        drawn.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in shown.rows:
        drawn.add_row(*row)
    console = Console(highlight=False)
    whole = Measurement.get(console, console.options.update(width=1000), drawn).maximum
    console.width = max(console.width, whole)
    with console.capture() as captured:
        console.print(drawn)
    print(*map(str.rstrip, captured.get().strip("\n").splitlines()), sep="\n")


def _say(*sentences: str) -> None:
    """Print sentences, the first in bold; empty ones are left out."""
    for number, sentence in enumerate(filter(None, sentences)):
        text = Text(sentence, style="" if number else "bold")
        Console(highlight=False).print(text, soft_wrap=True)


def _note(notes: Iterable[str]) -> None:
    """Say on standard error how the data were read, and what should be known of the result."""
    for note in notes:
        Console(stderr=True, highlight=False).print(Text(note, style="dim"), soft_wrap=True)
