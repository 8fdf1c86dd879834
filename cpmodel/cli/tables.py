"""The commands that work on a study or on anybody's CSV: fit, optimize, report; and export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cpmodel.cli import options as o

if TYPE_CHECKING:
    from cpmodel.pipeline.options import TableOptions


def add_tables(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(epilog="Example: cpmodel fit samples.csv --parameters c1,c2,c3 --precision accuracy")(fit)
    app.command(epilog="Example: cpmodel optimize --target 0.94 --envelope curve.csv")(optimize)
    app.command(epilog="Example: cpmodel report --out page.html")(report)
    app.command(epilog="Example: cpmodel export --out model")(export)


def fit(
    source: o.Source = o.STUDY,
    model: o.Model = "auto",
    parameters: o.Parameters = None,
    precision: o.PrecisionColumn = "precision",
    seed_column: o.SeedColumn = "seed",
    unit: o.Unit = "auto",
    baseline: o.Baseline = None,
    family: o.Family = None,
    image: o.Image = None,
    classes: o.Classes = 10,
    costs: o.Costs = None,
    storage: o.Storage = None,
    out: Annotated[
        str | None, typer.Option(metavar="JSON", help="JSON file for the fits (a study keeps fit.json).")
    ] = None,
    json: o.Json = False,
) -> int:
    """Fit P(T), and C(T) to measured run-times."""
    from cpmodel.cli import answers
    from cpmodel.study import source as read

    how = _how(parameters, precision, seed_column, unit, baseline, family, image, classes)
    samples = read(source, storage, how)
    fits = samples.fit(model=model, costs=costs)
    return answers.show_fits(samples.material(), fits, out, as_json=json)


def optimize(
    source: o.Source = o.STUDY,
    target: o.Target = None,
    drop: o.Drop = None,
    complexity: Annotated[
        str | None,
        typer.Option(
            "--complexity", "-c", metavar="NAME", help="What is minimised: macs, params, a column, ..."
        ),
    ] = None,
    limit: o.Limit = None,
    confidence: o.Confidence = 0.9,
    envelope: Annotated[
        str | None, typer.Option(metavar="CSV", help="CSV file for the envelope C(P).")
    ] = None,
    model: o.Model = "auto",
    parameters: o.Parameters = None,
    precision: o.PrecisionColumn = "precision",
    seed_column: o.SeedColumn = "seed",
    unit: o.Unit = "auto",
    baseline: o.Baseline = None,
    family: o.Family = None,
    image: o.Image = None,
    classes: o.Classes = 10,
    costs: o.Costs = None,
    storage: o.Storage = None,
    json: o.Json = False,
) -> int:
    """The cheapest configuration predicted to reach the target."""
    from cpmodel.cli import answers, values
    from cpmodel.study import source as read

    how = _how(parameters, precision, seed_column, unit, baseline, family, image, classes)
    samples = read(source, storage, how)
    choice = samples.optimize(
        target=None if target is None else values.fraction(target, "--target"),
        drop=None if drop is None else values.fraction(drop, "--drop"),
        complexity=complexity or "",
        limits=values.limits(limit or []),
        confidence=confidence,
        model=model,
        costs=costs,
        whole=True if envelope is not None else None,
    )
    return answers.show_choice(samples.material(), choice, envelope, as_json=json)


def report(
    source: o.Source = o.STUDY,
    out: Annotated[
        str | None, typer.Option(metavar="HTML", help="HTML file; default: report.html, or beside the CSV.")
    ] = None,
    target: o.Target = None,
    drop: o.Drop = None,
    complexity: Annotated[
        str | None,
        typer.Option("--complexity", "-c", metavar="NAME", help="What is drawn: macs, params, a column, ..."),
    ] = None,
    confidence: o.Confidence = 0.9,
    paper_grid: Annotated[
        bool,
        typer.Option("--paper-grid", help="Draw the paper's 160,000 points, too (steps of 0.05, figure 2)."),
    ] = False,
    model: o.Model = "auto",
    parameters: o.Parameters = None,
    precision: o.PrecisionColumn = "precision",
    seed_column: o.SeedColumn = "seed",
    unit: o.Unit = "auto",
    baseline: o.Baseline = None,
    family: o.Family = None,
    image: o.Image = None,
    classes: o.Classes = 10,
    costs: o.Costs = None,
    storage: o.Storage = None,
) -> int:
    """Write the page: the answer, the curve, the fits, the trainings.

    One HTML file that works offline.
    """
    from cpmodel.cli import values
    from cpmodel.study import source as read

    how = _how(parameters, precision, seed_column, unit, baseline, family, image, classes)
    page = read(source, storage, how).report(
        out,
        target=None if target is None else values.fraction(target, "--target"),
        drop=None if drop is None else values.fraction(drop, "--drop"),
        complexity=complexity or "",
        confidence=confidence,
        model=model,
        costs=costs,
        paper_grid=paper_grid,
        command=values.command(),
    )
    typer.echo(str(page))
    return 0


def export(
    study: o.Study = o.STUDY,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Folder for the files; default: export in the study.")
    ] = None,
    storage: o.Storage = None,
    json: o.Json = False,
) -> int:
    """Write the verified network as ONNX and as a state dict.

    A JSON note beside them says how to preprocess images.
    """
    from cpmodel import study as api
    from cpmodel.cli import answers

    return answers.show_export(api.open(study, storage=storage).export(out), as_json=json)


def _how(
    parameters: str | None,
    precision: str,
    seed_column: str,
    unit: str,
    baseline: str | None,
    family: str | None,
    image: str | None,
    classes: int,
) -> TableOptions:
    """How to read the source."""
    from cpmodel.cli import values
    from cpmodel.pipeline.options import TableOptions

    return TableOptions(
        [name.strip() for name in parameters.split(",")] if parameters else (),
        precision,
        seed_column,
        values.choice(unit, ("auto", "fraction", "percent"), "--unit"),
        values.assignments(baseline.split(","), "--baseline") if baseline else None,
        family,
        image,
        classes,
    )
