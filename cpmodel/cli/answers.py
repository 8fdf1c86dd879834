"""Results on standard output: short tables for people, JSON for machines; the exit code says the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cpmodel import numbers
from cpmodel.codec import dump
from cpmodel.files import write_json

if TYPE_CHECKING:
    from cpmodel.costs.describe import Described
    from cpmodel.costs.table import CostsTable
    from cpmodel.deploy.export import Exported
    from cpmodel.optimize import Candidate, Choice
    from cpmodel.pipeline.answer import Answer
    from cpmodel.pipeline.curve import Curve
    from cpmodel.pipeline.material import Material
    from cpmodel.pipeline.stages import Fits
    from cpmodel.samples import Samples
    from cpmodel.study import Study
    from cpmodel.surrogates.estimator import Coefficient

DONE, NOT_REACHED = 0, 1


def show_answer(study: Study, answer: Answer, wall_s: float, *, as_json: bool) -> int:
    """Print what a run or a verification ends with; 1 when the target was not reached."""
    from cpmodel.pipeline import wording
    from cpmodel.pipeline.costing import compared_costs
    from cpmodel.pipeline.stages import answered

    reached = answer.verdict is not None and answer.verdict.status != "missed"
    if as_json:
        _print_json(dump(answer))
        return DONE if reached else NOT_REACHED
    out = _console()
    project = study.project
    verdict, space = answer.verdict, project.space
    notation = wording.Notation.of(choice=answer.choice, verdict=verdict)
    if verdict is not None:
        _say(out, wording.verdict_text(verdict, notation))
    elif answer.choice.status == "unreachable":
        _say(out, wording.unreachable_text(answer.choice, notation))
    else:
        out.print(Text(f"Not proved: {answer.reason}.", style="bold"), soft_wrap=True)
    configuration = answered(answer)
    if configuration is not None:
        table = _table("", "baseline", "answer" if verdict else "predicted", "saving")
        table.add_row("configuration", space.key(space.baseline), space.key(configuration), "")
        table.add_row("P predicted", f"{answer.choice.baseline.precision:.4f}", _predicted(answer), "")
        if verdict is not None:
            i, against = verdict.interval, verdict.comparison
            beside = ("", "") if against is None else (_seeds(against.validation), _seeds(against.test))
            table.add_row("P validation", beside[0], _seeds(verdict.validation), "")
            table.add_row("P test", beside[1], _seeds(verdict.test), "")
            table.add_row(f"{i.level:.1%} interval", "", f"{i.low:.4f} to {i.high:.4f}", "")
            if against is not None:
                d = against.difference
                lost = f"{-d.mean:.4f}  ({-d.high:.4f} to {-d.low:.4f})"
                table.add_row("less than the baseline", "", lost, "")
                table.add_row("may be less by", "", f"{against.drop:.4f}", "")
        table.add_row("target", "", f"{answer.target:.4f}", "")
        material, first = project.material(), answer.choice.complexity
        for line in compared_costs(material, configuration, first):
            cost = line.cost
            name = cost.name if cost.conditions is None else f"{cost.name}, batch {cost.conditions.batch}"
            if cost.unit == "s":
                both = [numbers.amount(value, "s") for value in (line.baseline, line.answer)]
            else:
                both = [f"{value:,.0f}" for value in (line.baseline, line.answer)]
            saving = numbers.short_factor(wording.Pair(name, line.baseline, line.answer).relative)
            table.add_row(name, *both, saving)
        _show(out, table)
    if verdict is not None:
        out.print(wording.opening_text(verdict), soft_wrap=True)
    if verdict is not None and answer.outlook is not None:
        out.print(wording.outlook_text(answer.outlook), soft_wrap=True)
    effort = wording.effort_text(answer.trainings, answer.train_s, wall_s=wall_s)
    out.print(f"{effort}; report: {project.folder / 'report.html'}", soft_wrap=True)
    return DONE if reached else NOT_REACHED


def show_curve(study: Study, curve: Curve, wall_s: float, *, as_json: bool) -> int:
    """Print C(P) with its band; 1 when nothing is predicted to reach even the lowest precision."""
    from cpmodel.pipeline.wording import effort_text

    code = DONE if curve.keys[0] else NOT_REACHED
    if as_json:
        _print_json(dump(curve))
        return code
    console = _console()
    settled = "C(P) is known" if curve.status == "settled" else "C(P) so far"
    console.print(Text(f"{settled}: {curve.reason}.", style="bold"), soft_wrap=True)
    band = f"{curve.level:.0%} band"
    table = _table("P", "cheapest, predicted", f">{curve.complexity}", ">relative", band, ">can be reached")
    for row, target in enumerate(curve.targets):
        least = float(curve.least[row])
        table.add_row(
            f"{target:.4f}",
            curve.keys[row] or "none",
            _number(least) if curve.keys[row] else "",
            f"{least / curve.unit:.2g}" if curve.keys[row] else "",
            " to ".join(_number(v) if np.isfinite(v) else "none" for v in (curve.low[row], curve.high[row])),
            f"{curve.reachable[row]:.0%}",
        )
    _show(console, table)
    effort = effort_text(curve.trainings, curve.train_s, wall_s=wall_s)
    console.print(f"{effort}; report: {study.folder / 'report.html'}", soft_wrap=True)
    return code


def show_samples(study: Study, samples: Samples, *, as_json: bool) -> int:
    """Print what a study's samples are, by their number and range."""
    usable = samples.usable
    summary = {
        "samples": len(samples),
        "failed": samples.failed,
        "configurations": len(set(samples.keys)),
        "best": float(usable.precision.max()) if len(usable) else None,
        "best_configuration": usable.keys[int(usable.precision.argmax())] if len(usable) else None,
        "train_s": float(samples.frame["train_s"].sum()),
        "file": str(study.folder / "samples.csv"),
    }
    if as_json:
        _print_json(summary)
        return DONE
    table = _table("", "")
    table.show_header = False
    for name, value in summary.items():
        if value is not None:
            table.add_row(name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else str(value))
    _show(_console(), table)
    return DONE


def show_measured(table: CostsTable, out: str | None, *, as_json: bool) -> int:
    """Print the range of each measured cost under its conditions."""
    rows: list[dict[str, Any]] = []
    shown = _table("cost", "conditions", ">networks", ">least", ">median", ">most")
    for cost in table.kinds:
        values = table.matching(cost).values
        told = {"least": values.min(), "median": np.median(values), "most": values.max()}
        row: dict[str, Any] = {"cost": cost.name, "unit": cost.unit, "conditions": str(cost.conditions)}
        row |= {"configurations": len(values), **{name: float(value) for name, value in told.items()}}
        rows.append(row)
        amounts = [numbers.amount(float(value), cost.unit) for value in told.values()]
        shown.add_row(cost.name, str(cost.conditions), str(len(values)), *amounts)
    if as_json:
        _print_json(rows)
        return DONE
    console = _console()
    _show(console, shown)
    if out is not None:
        console.print(f"written: {out}", soft_wrap=True)
    return DONE


def show_costs(described: Described, *, as_json: bool) -> int:
    """Print every computed cost of a configuration; 1 when a count of the built network differs."""
    rows = [
        {**dump(figure.cost), "value": figure.value, "counted": figure.counted}
        for figure in described.figures
    ]
    key = ",".join(f"{name}={value}" for name, value in described.configuration.items())
    if as_json:
        _print_json(
            {"configuration": dump(described.configuration), "costs": rows, "unseen": described.unseen}
        )
        return DONE if described.agrees else NOT_REACHED
    console, checked = _console(), any(figure.counted is not None for figure in described.figures)
    table = _table("cost", ">value", "unit", "", *([">counted"] if checked else []), title=key)
    for figure in described.figures:
        label = "" if figure.cost.label == figure.cost.name else figure.cost.label
        counted = [] if not checked else ["unknown" if figure.counted is None else f"{figure.counted:,.0f}"]
        table.add_row(figure.cost.name, f"{figure.value:,.0f}", figure.cost.unit, label, *counted)
    _show(console, table)
    if described.unseen:
        _note([f"multiplications that the count cannot see: {', '.join(described.unseen)}"])
    if not described.agrees:
        _say(console, ["What was counted on the built network is not what the family computes."])
    return DONE if described.agrees else NOT_REACHED


def show_fits(material: Material, fits: Fits, out: str | None, *, as_json: bool) -> int:
    """Print the fitted models: their errors, coefficients and warnings."""
    _note(material.samples.notes)
    if out is not None:
        write_json(out, fits.to_dict())
    if as_json:
        _print_json(fits.to_dict())
        return DONE
    console = _console()
    table = _table("model", ">samples", ">relative error", ">cross-validated", title="P(T)")
    precision = [f for f in (fits.precision, fits.paper) if f is not None]
    for fit in precision:
        n = str(len(fit.measured))
        table.add_row(fit.name, n, _percent(fit.relative_error), _percent(fit.cv_relative_error))
    _show(console, table)
    for fit in precision:
        if fit.why:
            console.print(Text(f"{fit.name}: {fit.why}"))
        _coefficients(console, fit.name, fit.model.coefficients_)
        _warnings(console, fit.warnings)
    if fits.latency is not None and fits.latency.fit is not None and fits.latency.eq1 is not None:
        title = f"C(T): run-time, {fits.latency.conditions}"
        costs = (fits.latency.fit, fits.latency.eq1)
        columns = ["model", ">networks", ">relative error", ">cross-validated", ">within 10 %"]
        if fits.latency.fit.apart is not None:
            columns += [f">{int(fits.latency.fit.apart.rows.sum())} held out", ">within 10 %"]
        table = _table(*columns, title=title)
        for cost in costs:
            shares = [cost.relative_error, cost.cv_relative_error, cost.cv_within_10]
            if cost.apart is not None:
                shares += [cost.apart.relative_error, cost.apart.within_10]
            table.add_row(cost.name, str(len(cost.measured)), *map(_percent, shares))
        _show(console, table)
        for cost in costs:
            if cost.why:
                console.print(Text(f"{cost.name}: {cost.why}"))
            _coefficients(console, cost.name, cost.model.coefficients_)
            _warnings(console, cost.warnings)
    return DONE


def show_choice(material: Material, choice: Choice, envelope: str | None, *, as_json: bool) -> int:
    """Print what the models choose; 1 when no configuration is predicted to reach the target."""
    from cpmodel.optimize import envelope_table
    from cpmodel.pipeline.wording import Notation, unreachable_text

    if envelope is not None:
        from cpmodel.files import replacing

        with replacing(envelope) as temporary:
            envelope_table(choice.envelope, material.space).to_csv(temporary, index=False)
    code = DONE if choice.status == "reachable" else NOT_REACHED
    _note((*material.samples.notes, *choice.notes))
    if as_json:
        _print_json(dump(choice))
        return code
    console = _console()
    if choice.plain is None:
        _say(console, unreachable_text(choice, Notation.of(choice=choice)))
    table = _table(
        "",
        "configuration",
        ">P",
        f"{choice.level:.0%} interval",
        ">sure",
        f">{choice.complexity}",
        ">relative",
    )
    rows: list[tuple[str, Candidate | None]] = [
        ("cheapest", choice.plain),
        (f"{choice.confidence:.0%} sure", choice.safe),
        *((f"next {n}", c) for n, c in enumerate(choice.runners_up, 1)),
        ("best P", choice.best),
        ("baseline", choice.baseline),
    ]
    for name, candidate in rows:
        if candidate is not None:
            table.add_row(
                name,
                candidate.key,
                f"{candidate.precision:.4f}",
                f"{candidate.low:.3f}-{candidate.high:.3f}",
                f"{candidate.probability:.0%}",
                _number(candidate.complexity),
                f"{candidate.relative:.2g}",
            )
    _show(console, table)
    console.print(
        f"target {choice.target:.4f}, {choice.space_size:,} configurations looked at"
        + (f"; envelope: {envelope}" if envelope else ""),
        soft_wrap=True,
    )
    return code


def show_export(files: Exported, *, as_json: bool) -> int:
    """Print where the files are."""
    if files.onnx is None:
        _note(["no ONNX file: it needs pip install 'cpmodel[onnx]'"])
    if as_json:
        _print_json({name: None if path is None else str(path) for name, path in asdict(files).items()})
        return DONE
    for path in (files.onnx, files.state_dict, files.note):
        if path is not None:
            print(path)
    return DONE


def _console() -> Console:
    return Console(highlight=False)


def _table(*columns: str, title: str | None = None) -> Table:
    """An empty table; columns of numbers, named ``>name``, are aligned at the right."""
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, collapse_padding=True
    )
    for column in columns:
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        table.add_column(column.removeprefix(">"), justify=justify, no_wrap=True)
    return table


def _show(console: Console, table: Table) -> None:
    """Print a table as wide as it must be: a number cut short is worse than a line that wraps."""
    wide = Console(highlight=False, width=1000)
    wide.width = max(console.width, Measurement.get(wide, wide.options, table).maximum)
    with wide.capture() as captured:
        wide.print(table)
    text = captured.get()
    if not console.is_terminal:
        text = "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"
    console.file.write(text)


def _say(console: Console, sentences: Sequence[str]) -> None:
    """Print sentences, the first in bold."""
    for number, sentence in enumerate(sentences):
        console.print(Text(sentence, style="" if number else "bold"), soft_wrap=True)


def _note(notes: Iterable[str]) -> None:
    """Say on standard error how the data were read, and what should be known of the result."""
    console = Console(stderr=True, highlight=False)
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _predicted(answer: Answer) -> str:
    """What the models say of the configuration that the answer is about, with its interval."""
    choice = answer.choice
    known = [c for c in (choice.plain, choice.safe, *choice.runners_up, choice.best) if c is not None]
    shown = [c for c in known if answer.verdict is None or c.key == answer.verdict.key]
    return f"{shown[0].precision:.4f}  ({shown[0].low:.3f} to {shown[0].high:.3f})" if shown else ""


def _seeds(precisions: Sequence[float]) -> str:
    each = " ".join(f"{p:.4f}" for p in precisions)
    return f"{float(np.mean(precisions)):.4f}  ({each})"


def _percent(fraction: float) -> str:
    return "unknown" if fraction != fraction else f"{fraction:.2%}"


def _coefficients(console: Console, name: str, coefficients: Sequence[Coefficient]) -> None:
    told = any(c.standard_error is not None for c in coefficients)
    table = _table("coefficient", ">value", *([">standard error"] if told else []), title=name)
    for c in coefficients:
        error = "" if c.standard_error is None else f"{c.standard_error:.3g}"
        table.add_row(c.name, f"{c.value:.5g}", *([error] if told else []))
    if table.row_count:
        _show(console, table)


def _warnings(console: Console, warnings: Iterable[str]) -> None:
    for warning in warnings:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
